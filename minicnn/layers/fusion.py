"""Operator fusion: consecutive layers computed by one op pair.

Only the library's own layers are fused: a subclass may compute something else. A convolution with
the backend im2col, reference or a registered one is never fused with a ReLU or pool. At inference a
batch norm is folded into the layer before it, and dropout is removed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minicnn import ops
from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.base import Arrays, Layer, OpPair
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import MaxPool2D
from minicnn.random import RandomKey
from minicnn.shapes import Array

CONV_POOL: OpPair = (ops.conv2d_max_pool2d, ops.conv2d_max_pool2d_backward)
FUSIBLE_BACKENDS = ("auto", "direct", "winograd")
FOLDABLE = (Conv2D, Dense, DepthwiseConv2D)  # a batch norm can be folded into their weights


class Step(NamedTuple):
    """One layer, or consecutive layers computed as one.

    `layer` is at position `first` and the step does the work of `length` layers. A fused step calls
    `ops` with the parameters that the layer has at the call, and with `extra` options. `norm` is a
    batch norm that is folded into them.
    """

    layer: Layer
    first: int
    length: int = 1
    ops: OpPair | None = None
    extra: Mapping[str, Any] = {}
    norm: BatchNorm | None = None

    def forward(self, x: Array, key: RandomKey | None) -> tuple[Array, Any]:
        """Compute output and cache."""
        if self.ops is None:
            return self.layer.forward(x, key=key)
        inputs = self.layer._op_inputs()
        if self.norm is not None:
            # Folded at each call, a few microseconds, so that the weights are up to date.
            inputs = self.norm.fold(*inputs)
        y, cache = self.ops[0](x, *inputs, **self.layer._op_options(key), **self.extra)
        return y, cache

    def infer(self, x: Array) -> Array:
        """Compute the output at inference."""
        return self.layer.infer(x) if self.ops is None else self.forward(x, None)[0]

    def backward(self, dy: Array, cache: Any, need_dx: bool, gradients: Arrays) -> Array | None:
        """Return dx and write the parameters' gradients."""
        if self.ops is None:
            return self.layer.backward(dy, cache, need_dx=need_dx, gradients=gradients)[0]
        return self.layer._call_backward(self.ops[1], dy, cache, need_dx, gradients)[0]


def fuse(layers: Sequence[Layer], *, inference: bool = False) -> list[Step]:
    """Return the steps that compute a sequence of layers.

    Parameters
    ----------
    layers : sequence of Layer
    inference : bool
        Whether to fold batch norms and to remove dropout.

    Returns
    -------
    list of Step
    """
    if inference:
        layers = [layer for layer in layers if type(layer) is not Dropout]
    steps, position = [], 0
    while position < len(layers):
        # At most four layers are one step: convolution, batch norm, ReLU, pool.
        step = _first_step(layers[position : position + 4], position, inference)
        steps.append(step)
        position += step.length + (step.norm is not None)
    return steps


def _first_step(layers: Sequence[Layer], first: int, inference: bool) -> Step:
    """Fuse a layer with the batch norm, ReLU and 2×2 max-pool after it."""
    layer, *rest = layers
    step = Step(layer, first)
    if inference and type(layer) in FOLDABLE and rest and type(rest[0]) is BatchNorm:
        step, rest = step._replace(ops=layer.ops, norm=rest[0]), rest[1:]
    relu = bool(rest) and type(rest[0]) is ReLU
    fusible = type(layer) in (Dense, BatchNorm)
    if type(layer) is Conv2D and layer.backend in FUSIBLE_BACKENDS:
        fusible = True
        pool = next(iter(rest[relu:]), None)
        if type(pool) is MaxPool2D and pool.is_two_by_two():
            return step._replace(length=2 + relu, ops=CONV_POOL, extra={"relu": relu})
    if fusible and relu:
        return step._replace(length=2, ops=layer.ops, extra={"relu": True})
    return step


class FusedSequence:
    """Consecutive layers, computed in the fused steps of `fuse`.

    Parameters
    ----------
    layers : sequence of Layer
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.steps = fuse(layers)
        self._inference_steps = fuse(layers, inference=True)

    def forward(self, x: Array, *, key: RandomKey | None = None) -> tuple[Array, list[Any]]:
        """Compute the output of all layers, and the cache of each step.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        key : RandomKey, optional
            Present in training; each layer gets the key of its position.

        Returns
        -------
        y : ndarray (N, *output_shape)
        caches : list
        """
        caches = []
        for step in self.steps:
            x, cache = step.forward(x, None if key is None else key.fold_in(step.first))
            caches.append(cache)
        return x, caches

    def infer(self, x: Array) -> Array:
        """Compute the output at inference, with batch norms folded.

        Parameters
        ----------
        x : ndarray (N, *input_shape)

        Returns
        -------
        ndarray (N, *output_shape)
            As `forward` returns it, up to rounding.
        """
        for step in self._inference_steps:
            x = step.infer(x)
        return x

    def backward(
        self, dy: Array, caches: Sequence[Any], gradients: Sequence[Arrays], *, need_dx: bool
    ) -> Array | None:
        """Compute the gradients of all layers, from the last to the first.

        Parameters
        ----------
        dy : ndarray (N, *output_shape)
        caches : sequence
            From `forward`.
        gradients : sequence of dict of str to ndarray
            For each layer the arrays to write its parameters' gradients to.
        need_dx : bool
            Whether the gradient of x is used.

        Returns
        -------
        dx : ndarray (N, *input_shape), or None
        """
        dx: Array | None = dy
        for step, cache in zip(reversed(self.steps), reversed(caches), strict=True):
            dx = step.backward(dy, cache, need_dx or step.first > 0, gradients[step.first])
            if dx is not None:  # None after the first step only, if need_dx is False
                dy = dx
        return dx

    def batch_statistics(self, caches: Sequence[Any]) -> list[dict[str, Array]]:
        """Return the batch statistics of each layer.

        Parameters
        ----------
        caches : sequence
            From `forward` with a key.

        Returns
        -------
        list of dict of str to ndarray
            For each layer the result of `Layer.batch_statistics`.
        """
        found: list[dict[str, Array]] = [{} for _ in self.layers]
        for step, cache in zip(self.steps, caches, strict=True):
            found[step.first] = step.layer.batch_statistics(cache)
        return found
