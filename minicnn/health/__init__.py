"""What is wrong with a network: where infinity or NaN began, and what its layers do meanwhile."""

from minicnn.health.examination import examine
from minicnn.health.non_finite import NonFiniteError, find_non_finite
from minicnn.health.report import HealthReport, LayerHealth, ParameterHealth

__all__ = [
    "HealthReport",
    "LayerHealth",
    "NonFiniteError",
    "ParameterHealth",
    "examine",
    "find_non_finite",
]
