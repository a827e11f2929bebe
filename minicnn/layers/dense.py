"""The dense and the flatten layer."""

from dataclasses import dataclass
from math import prod
from typing import Any

from minicnn import ops
from minicnn.initializers import he_normal
from minicnn.layers.base import Gradients, Initializer, Layer
from minicnn.layers.weighted import Weighted
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, Shape
from minicnn.shapes.checks import check_bool, check_flat_shape, check_image_shape, positive_int


@dataclass(eq=False, repr=False)
class Dense(Weighted):
    """Every input connected with every output: ``y = x · weight + bias``.

    Parameters
    ----------
    units : int
        How many outputs.
    initializer : callable
        From `minicnn.initializers`; the biases start at 0.
    bias : bool
        False where a `BatchNorm` follows, which takes any constant off again: ``y = x · weight``.

    Raises
    ------
    TypeError, ValueError
        If `units` is no whole number of at least 1.
    """

    replayable = True

    units: int
    initializer: Initializer = he_normal
    bias: bool = True

    def __post_init__(self) -> None:
        self.units = positive_int("Dense", "units", self.units)
        check_bool("Dense", "bias", self.bias)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        features = check_flat_shape("Dense", input_shape)
        weight = (features, self.units)
        return {"weight": weight, "bias": (self.units,)} if self.bias else {"weight": weight}

    def output_shape(self, input_shape: Shape) -> Shape:
        check_flat_shape("Dense", input_shape)
        return (self.units,)

    def macs(self, input_shape: Shape) -> int:
        return check_flat_shape("Dense", input_shape) * self.units

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.dense(x, *self.weights())

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return self._backward(ops.dense_backward, dy, cache, need_dx, gradients)


@dataclass(eq=False, repr=False)
class Flatten(Layer):
    """Each image as one row, for the dense layers."""

    replayable = True

    def output_shape(self, input_shape: Shape) -> Shape:
        return (prod(check_image_shape("Flatten", input_shape)),)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.flatten(x)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return ops.flatten_backward(dy, cache), {}
