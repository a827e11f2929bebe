"""Layers that are computed as one.

Only the library's own: a subclass may do something else than the layer that it comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minicnn import ops
from minicnn.layers.activations import ReLU
from minicnn.layers.base import Gradients, Layer
from minicnn.layers.convolution import Conv2D
from minicnn.layers.dense import Dense
from minicnn.layers.normalisation import BatchNorm
from minicnn.layers.pooling import MaxPool2D
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray, Shape

FUSIBLE = ("auto", "direct", "winograd")


@dataclass(eq=False, repr=False)
class FusedConvPool(Layer):
    """A convolution, a ReLU if there is one, and a 2×2 max-pool, in one pass.

    Parameters
    ----------
    conv : Conv2D
        Its parameters are used as they are, not copied.
    relu : bool
        Whether a ReLU stands between the two.
    """

    conv: Conv2D
    relu: bool

    def __post_init__(self) -> None:
        self.parameters = self.conv.parameters

    def build(self, input_shape: Shape, rng: Any, dtype: Any = "float32") -> None:
        self.conv.build(input_shape, rng, dtype)
        self.parameters = self.conv.parameters

    def adopt(self, parameters: Gradients, statistics: Gradients) -> None:
        super().adopt(parameters, statistics)
        self.conv.adopt(parameters, statistics)

    def output_shape(self, input_shape: Shape) -> Shape:
        return MaxPool2D(2).output_shape(self.conv.output_shape(input_shape))

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.conv2d_max_pool2d(
            x,
            *self.conv.weights(),
            self.conv.stride,
            self.conv.padding,
            relu=self.relu,
            backend=self.conv.backend,
        )

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return self.conv.gradients_by(ops.conv2d_max_pool2d_backward, dy, cache, need_dx, gradients)


@dataclass(eq=False, repr=False)
class FusedConvReLU(Layer):
    """A convolution and the ReLU behind it.

    Parameters
    ----------
    conv : Conv2D
        Its parameters are used as they are, not copied.
    """

    conv: Conv2D

    def __post_init__(self) -> None:
        self.parameters = self.conv.parameters

    def build(self, input_shape: Shape, rng: Any, dtype: Any = "float32") -> None:
        self.conv.build(input_shape, rng, dtype)
        self.parameters = self.conv.parameters

    def adopt(self, parameters: Gradients, statistics: Gradients) -> None:
        super().adopt(parameters, statistics)
        self.conv.adopt(parameters, statistics)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.conv.output_shape(input_shape)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.conv2d(
            x,
            *self.conv.weights(),
            self.conv.stride,
            self.conv.padding,
            relu=True,
            backend=self.conv.backend,
        )

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return self.conv.backward(dy, cache, need_dx=need_dx, gradients=gradients)


@dataclass(eq=False, repr=False)
class FusedDenseReLU(Layer):
    """A dense layer and the ReLU behind it.

    Parameters
    ----------
    dense : Dense
        Its parameters are used as they are, not copied.
    """

    dense: Dense

    def __post_init__(self) -> None:
        self.parameters = self.dense.parameters

    def build(self, input_shape: Shape, rng: Any, dtype: Any = "float32") -> None:
        self.dense.build(input_shape, rng, dtype)
        self.parameters = self.dense.parameters

    def adopt(self, parameters: Gradients, statistics: Gradients) -> None:
        super().adopt(parameters, statistics)
        self.dense.adopt(parameters, statistics)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.dense.output_shape(input_shape)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.dense(x, *self.dense.weights(), relu=True)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return self.dense.backward(dy, cache, need_dx=need_dx, gradients=gradients)


@dataclass(eq=False, repr=False)
class FusedNormReLU(BatchNorm):
    """A batch normalisation and the ReLU behind it, in one pass.

    Parameters
    ----------
    momentum, epsilon : float
        As those of the `BatchNorm` whose work it does, and whose arrays it adopts.
    """

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, Any]:
        return self.normalise(x, training=training, relu=True)


class Step(NamedTuple):
    """One step of a network: a layer, which does the work of `length` layers from `first` on."""

    layer: Layer
    first: int
    length: int


def fuse(layers: Sequence[Layer]) -> list[Step]:
    """Find the layers of a network that can be computed as one.

    Parameters
    ----------
    layers : sequence of Layer

    Returns
    -------
    list of Step
    """
    steps, position = [], 0
    while position < len(layers):
        step = (
            _conv_pool(layers, position)
            or _with_relu(layers, position)
            or Step(layers[position], position, 1)
        )
        steps.append(step)
        position += step.length
    return steps


def _conv_pool(layers: Sequence[Layer], first: int) -> Step | None:
    conv, *rest = layers[first : first + 3]
    if type(conv) is not Conv2D or conv.backend not in FUSIBLE:
        return None
    relu = len(rest) == 2 and type(rest[0]) is ReLU
    pool = rest[-1] if relu else (rest[0] if rest else None)
    if type(pool) is not MaxPool2D or not pool.is_two_by_two():
        return None
    return Step(FusedConvPool(conv, relu), first, 3 if relu else 2)


def _with_relu(layers: Sequence[Layer], first: int) -> Step | None:
    layer, *rest = layers[first : first + 2]
    if not rest or type(rest[0]) is not ReLU:
        return None
    if type(layer) is Conv2D and layer.backend in FUSIBLE:
        return Step(FusedConvReLU(layer), first, 2)
    if type(layer) is BatchNorm:
        step = FusedNormReLU(layer.momentum, layer.epsilon)
        step.adopt(layer.parameters, layer.statistics)
        return Step(step, first, 2)
    return Step(FusedDenseReLU(layer), first, 2) if type(layer) is Dense else None
