"""ReLU and dropout."""

from dataclasses import dataclass
from typing import Any

from minicnn import ops
from minicnn.layers.base import Layer
from minicnn.random import RandomKey
from minicnn.shapes import Array
from minicnn.shapes.checks import check_range


@dataclass(eq=False, repr=False)
class ReLU(Layer):
    """Rectified linear unit: ``y = max(x, 0)``."""

    ops = ops.relu, ops.relu_backward
    replayable = True


def _dropout(x: Array, *, rate: float, key: RandomKey | None) -> tuple[Array, Any]:
    """Drop elements in training; the cache is None at inference, where y is x."""
    return (x, None) if key is None else ops.dropout(x, rate, key)


def _dropout_backward(dy: Array, cache: Any) -> Array:
    """Compute the gradient of `_dropout`."""
    return dy if cache is None else ops.dropout_backward(dy, cache)


@dataclass(eq=False, repr=False)
class Dropout(Layer):
    """Zero random elements in training; scale the others to keep the mean.

    Elements that are kept are multiplied by ``1 / (1 - rate)``. At inference y is x.

    Parameters
    ----------
    rate : float
        Probability of dropping an element, 0 to below 1; see `minicnn.ops.dropout`.

    Raises
    ------
    TypeError, ValueError
        If `rate` is not a number in that range.
    """

    rate: float

    ops = _dropout, _dropout_backward
    options = ("rate",)
    uses_key = True
    example = (0.4,), (3, 4, 2)
    replayable = True

    def __post_init__(self) -> None:
        self.rate = check_range("Dropout", "rate", self.rate, high=1)
