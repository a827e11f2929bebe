"""The dense and the flatten layer."""

from dataclasses import dataclass
from math import prod
from typing import Any

from minicnn import ops, shapes
from minicnn.initialisers import he_normal
from minicnn.layers.affine import Affine
from minicnn.layers.base import Gradients, Initialiser, Layer
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray, Shape


@dataclass(eq=False, repr=False)
class Dense(Affine):
    """Every input connected with every output: ``y = x · weight + bias``.

    Parameters
    ----------
    units : int
        How many outputs.
    initialiser : callable
        From `minicnn.initialisers`; the biases start at 0.
    bias : bool
        False where a `BatchNorm` follows, which takes any constant off again: ``y = x · weight``.

    Raises
    ------
    TypeError, ValueError
        If `units` is no whole number of at least 1.
    """

    units: int
    initialiser: Initialiser = he_normal
    bias: bool = True

    def __post_init__(self) -> None:
        self.units = shapes.positive_int("Dense", "units", self.units)
        shapes.check_flag("Dense", "bias", self.bias)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        features = shapes.check_flat_shape("Dense", input_shape)
        weight = (features, self.units)
        return {"weight": weight, "bias": (self.units,)} if self.bias else {"weight": weight}

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes.check_flat_shape("Dense", input_shape)
        return (self.units,)

    def multiply_adds(self, input_shape: Shape) -> int:
        return shapes.check_flat_shape("Dense", input_shape) * self.units

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
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
        return self.gradients_by(ops.dense_backward, dy, cache, need_dx, gradients)


@dataclass(eq=False, repr=False)
class Flatten(Layer):
    """Each image as one row, for the dense layers."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return (prod(shapes.check_image_shape("Flatten", input_shape)),)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
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
