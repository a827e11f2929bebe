"""The dropout layer."""

from dataclasses import dataclass
from typing import Any

from minicnn import ops, shapes
from minicnn.layers.base import Gradients, Layer
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray


@dataclass(eq=False, repr=False)
class Dropout(Layer):
    """Drop numbers at random in training, scaling up the others; pass everything in use.

    Parameters
    ----------
    rate : float
        How likely a number is dropped, 0 to 0.9999; see `minicnn.ops.dropout`.

    Raises
    ------
    TypeError, ValueError
        If `rate` is no such number.
    """

    rate: float

    def __post_init__(self) -> None:
        self.rate = shapes.check_rate("Dropout", self.rate)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, Any]:
        if not training:
            return x, None
        if draws is None:
            raise ValueError(
                "Dropout: training needs draws to be random by, such as "
                "Draws(seed, epoch, numbers of the images) of minicnn.randomness"
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
