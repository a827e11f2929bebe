"""The ReLU layer.

The dropout layer.
"""

from dataclasses import dataclass
from typing import Any

from minicnn import ops
from minicnn.layers.base import Gradients, Layer
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray
from minicnn.shapes.checks import check_rate


@dataclass(eq=False, repr=False)
class ReLU(Layer):
    """``y = max(x, 0)``."""

    replayable = True

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.relu(x)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return ops.relu_backward(dy, cache), {}


@dataclass(eq=False, repr=False)
class Dropout(Layer):
    """Drop numbers at random in training, scaling up the others; pass everything in use.

    Parameters
    ----------
    rate : float
        How likely a number is dropped, 0 to 0.9999; see `minicnn.ops.activations`.

    Raises
    ------
    TypeError, ValueError
        If `rate` is no such number.
    """

    replayable = True

    rate: float

    def __post_init__(self) -> None:
        self.rate = check_rate("Dropout", self.rate)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        if not training:
            return x, None
        if draws is None:
            raise ValueError(
                "Dropout: training needs draws to be random by, such as "
                "RandomKey(seed, epoch, image_ids) of minicnn.random"
            )
        return ops.dropout(x, self.rate, draws)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return (dy if cache is None else ops.dropout_backward(dy, cache)), {}
