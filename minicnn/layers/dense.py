"""Dense and flatten."""

from dataclasses import dataclass
from math import prod

from minicnn import ops
from minicnn.initializers import he_normal
from minicnn.layers.base import Initializer, Layer, WeightedLayer
from minicnn.shapes import Shape
from minicnn.shapes.checks import check_flat_shape, check_image_shape, positive_int


@dataclass(eq=False, repr=False)
class Dense(WeightedLayer):
    """Fully connected layer: ``y = x · weight + bias``.

    Parameters
    ----------
    units : int
        Number of outputs.
    initializer : callable
        From `minicnn.initializers`; biases start at 0.
    bias : bool
        False if a `BatchNorm` follows, which subtracts any constant.

    Raises
    ------
    TypeError, ValueError
        If `units` is not an integer of at least 1, or `bias` is not a bool.
    """

    units: int
    initializer: Initializer = he_normal
    bias: bool = True

    ops = ops.dense, ops.dense_backward
    example = (5,), (7,)
    replayable = True

    def __post_init__(self) -> None:
        self.units = positive_int("Dense", "units", self.units)
        super().__post_init__()

    def _weight_shape(self, input_shape: Shape) -> Shape:
        return check_flat_shape("Dense", input_shape), self.units

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._weight_shape(input_shape)[-1:]


@dataclass(eq=False, repr=False)
class Flatten(Layer):
    """Reshape each image to a row, for `Dense`."""

    ops = ops.flatten, ops.flatten_backward
    replayable = True

    def output_shape(self, input_shape: Shape) -> Shape:
        return (prod(check_image_shape("Flatten", input_shape)),)
