"""What a network does with one image, number by number: forward, backward, and one update."""

from minicnn.explanation.cell import Cell
from minicnn.explanation.explain import explain
from minicnn.explanation.step import Step
from minicnn.explanation.trace import Tensor, Trace

__all__ = ["Cell", "Step", "Tensor", "Trace", "explain"]
