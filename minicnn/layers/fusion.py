"""Layers that need not be there in use; only the library's own, as in `minicnn.layers.fusion`.

Layers that are computed as one.

Only the library's own: a subclass may do something else than the layer that it comes from.

Layers in a row, computed in as few steps as they can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minicnn import ops
from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.base import Gradients, Layer
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import MaxPool2D
from minicnn.layers.weighted import Weighted
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, Shape


def fold(layers: Sequence[Layer]) -> list[Layer]:
    """Fold every batch normalization into the layer right before it, and leave out every dropout.

    A convolution or a dense layer can take a normalization in: in use mean and variance are given,
    so that what it does is one more sum of products. What follows can then be computed together
    with the layer, as if there had been no normalization.

    Parameters
    ----------
    layers : sequence of Layer
        With the parameters that they are to keep.

    Returns
    -------
    list of Layer
        On the same arrays; for use only, not for training.
    """
    found: list[Layer] = []
    for layer in layers:
        before = found[-1] if found else None
        if (
            type(layer) is BatchNorm
            and isinstance(before, Weighted)
            and type(before) in (Conv2D, Dense, DepthwiseConv2D)
            and before.norm is None
        ):
            found[-1] = before.folded(layer)
        elif type(layer) is not Dropout:
            found.append(layer)
    return found


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

    replayable = True

    conv: Conv2D
    relu: bool

    def __post_init__(self) -> None:
        self.parameters = self.conv.parameters

    def build(self, input_shape: Shape, rng: Any, dtype: Any = "float32") -> None:
        self.conv.build(input_shape, rng, dtype)
        self.parameters = self.conv.parameters

    def bind(self, parameters: Gradients, statistics: Gradients) -> None:
        super().bind(parameters, statistics)
        self.conv.bind(parameters, statistics)

    def output_shape(self, input_shape: Shape) -> Shape:
        return MaxPool2D(2).output_shape(self.conv.output_shape(input_shape))

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
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
        return self.conv._backward(ops.conv2d_max_pool2d_backward, dy, cache, need_dx, gradients)


@dataclass(eq=False, repr=False)
class FusedConvReLU(Layer):
    """A convolution and the ReLU behind it.

    Parameters
    ----------
    conv : Conv2D
        Its parameters are used as they are, not copied.
    """

    replayable = True

    conv: Conv2D

    def __post_init__(self) -> None:
        self.parameters = self.conv.parameters

    def build(self, input_shape: Shape, rng: Any, dtype: Any = "float32") -> None:
        self.conv.build(input_shape, rng, dtype)
        self.parameters = self.conv.parameters

    def bind(self, parameters: Gradients, statistics: Gradients) -> None:
        super().bind(parameters, statistics)
        self.conv.bind(parameters, statistics)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.conv.output_shape(input_shape)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
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

    replayable = True

    dense: Dense

    def __post_init__(self) -> None:
        self.parameters = self.dense.parameters

    def build(self, input_shape: Shape, rng: Any, dtype: Any = "float32") -> None:
        self.dense.build(input_shape, rng, dtype)
        self.parameters = self.dense.parameters

    def bind(self, parameters: Gradients, statistics: Gradients) -> None:
        super().bind(parameters, statistics)
        self.dense.bind(parameters, statistics)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.dense.output_shape(input_shape)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
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
    """A batch normalization and the ReLU behind it, in one pass.

    Parameters
    ----------
    momentum, epsilon : float
        As those of the `BatchNorm` whose work it does, and whose arrays it adopts.
    """

    replayable = True

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return self.normalize(x, training=training, relu=True)


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
        step.bind(layer.parameters, layer.statistics)
        return Step(step, first, 2)
    return Step(FusedDenseReLU(layer), first, 2) if type(layer) is Dense else None


class FusedSequence:
    """Layers in a row; those that can be computed as one are one step.

    Parameters
    ----------
    layers : sequence of Layer
        With the parameters that they are to keep.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.steps = fuse(layers)
        self._in_use = [step.layer for step in fuse(fold(layers))]

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, list[Any]]:
        """Send images down through all layers.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        training : bool
            Whether this is a training step.
        draws : Draws, optional
            Each layer gets those of its position.

        Returns
        -------
        y : ndarray (N, *output_shape)
        caches : list
            One of each step.
        """
        caches = []
        for layer, first, _ in self.steps:
            own = None if draws is None else draws.fold_in(first)
            x, cache = layer.forward(x, training=training, draws=own)
            caches.append(cache)
        return x, caches

    def infer(self, x: FloatArray) -> FloatArray:
        """Send images down through all layers, in use: with what can be folded away left out.

        Parameters
        ----------
        x : ndarray (N, *input_shape)

        Returns
        -------
        ndarray (N, *output_shape)
            As `forward` gives, but for rounding.
        """
        for layer in self._in_use:
            x = layer.infer(x)
        return x

    def backward(
        self,
        dy: FloatArray,
        caches: Sequence[Any],
        gradients: Sequence[Gradients],
        *,
        need_dx: bool,
    ) -> FloatArray | None:
        """Send a gradient back up: forward read upside down.

        Parameters
        ----------
        dy : ndarray (N, *output_shape)
        caches : sequence
            From `forward`.
        gradients : sequence of dict of str to ndarray
            For each layer where to write the gradients of its parameters.
        need_dx : bool
            Whether the gradient of the images is wanted.

        Returns
        -------
        dx : ndarray (N, *input_shape), or None
        """
        dx: FloatArray | None = dy
        for step, cache in zip(reversed(self.steps), reversed(caches), strict=True):
            dx, _ = step.layer.backward(
                dy, cache, need_dx=need_dx or step.first > 0, gradients=gradients[step.first]
            )
            if dx is not None:
                dy = dx
        return dx

    def batch_statistics(self, caches: Sequence[Any]) -> list[dict[str, FloatArray]]:
        """Return what each layer's statistics are to follow.

        Parameters
        ----------
        caches : sequence
            From `forward`, with ``training=True``.

        Returns
        -------
        list of dict of str to ndarray
            For each layer what `Layer.batch_statistics` gives.
        """
        found: list[dict[str, FloatArray]] = [{} for _ in self.layers]
        for step, cache in zip(self.steps, caches, strict=True):
            found[step.first] = step.layer.batch_statistics(cache)
        return found
