"""The dense and the flatten layer."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn import ops, shapes
from minicnn.initialisers import he_normal
from minicnn.layers.base import Gradients, Initialiser, Layer
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray, Shape


@dataclass(eq=False, repr=False)
class Dense(Layer):
    """Every input connected with every output: ``y = x · weight + bias``.

    Parameters
    ----------
    units : int
        How many outputs.
    initialiser : callable
        From `minicnn.initialisers`; the biases start at 0.

    Raises
    ------
    TypeError, ValueError
        If `units` is no whole number of at least 1.
    """

    units: int
    initialiser: Initialiser = he_normal

    def __post_init__(self) -> None:
        self.units = shapes.positive_int("Dense", "units", self.units)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        features = shapes.check_flat_shape("Dense", input_shape)
        return {"weight": (features, self.units), "bias": (self.units,)}

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        sizes = self.parameter_shapes(input_shape)
        self.parameters = {
            "weight": self.initialiser(rng, sizes["weight"], dtype),
            "bias": np.zeros(sizes["bias"], dtype),
        }

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes.check_flat_shape("Dense", input_shape)
        return (self.units,)

    def multiply_adds(self, input_shape: Shape) -> int:
        return shapes.check_flat_shape("Dense", input_shape) * self.units

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.dense(x, self._parameter("weight"), self._parameter("bias"))

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        out = (gradients["weight"], gradients["bias"]) if gradients else None
        dx, dweight, dbias = ops.dense_backward(dy, cache, need_dx=need_dx, out=out)
        return dx, {"weight": dweight, "bias": dbias}


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
