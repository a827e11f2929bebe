"""minicnn's side of `kernels.py`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from compare import Timed
from kernel_cases import IMAGES, Arrays, Case, arrays, as_list

from minicnn import Adam, ops, softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.ops.conv import BACKENDS
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import ThreadPool

Forward = Callable[..., tuple[Any, Any]]  # (y, cache)
Backward = Callable[..., Any]


class MinicnnTimed(Timed):
    """The work of one thread: `step` reuses its arena, `call` allocates."""

    def __init__(self, call: Callable[[], Any], results: int | None = None) -> None:
        self.call, self.results = call, results
        super().__init__(self._in_arena, self._copies)

    def _in_arena(self) -> Any:
        with arena.scope():
            return self.call()

    def _copies(self) -> Any:
        # The next step overwrites the arrays of this one.
        return [np.array(part) for part in as_list(self._in_arena())[: self.results]]


def input_gradient(case: Case, data: Arrays, cache: Any) -> Callable[[], Any] | None:
    """Return a call that computes dx only; None if not a convolution."""
    if case.operation != "conv":
        return None
    backend, x = BACKENDS[cache.backend], data["x"]

    def call() -> Any:
        dx = arena.empty(x.shape, x.dtype)
        backend.backward_input(data["dy"], data["weight"], cache.window, dx)
        return dx

    return call


def auto_backend(case: Case) -> str | None:
    """Return the backend that "auto" selects; None for other ops."""
    if not case.operation.startswith("conv"):
        return None
    data = arrays(case, 1)
    x, weight, bias = data["x"], data["weight"], data["bias"]
    cache = minicnn_op(case, "auto")[0](x, weight, bias)[1]
    if not hasattr(cache, "backend"):  # the op with a pool selects as the one without
        cache = ops.conv2d(x, weight, bias, case.stride, case.padding)[1]
    return str(cache.backend)


def backends(case: Case) -> tuple[str, ...]:
    """Return the library's backends that compute a case, except the reference."""
    if case.operation == "conv":
        by_tiles = (case.KH, case.KW, case.stride) == (3, 3, 1)
        return ("direct", "winograd", "im2col") if by_tiles else ("direct", "im2col")
    if case.operation == "conv + ReLU + pool":
        return ("direct", "winograd") if (case.KH, case.KW) == (3, 3) else ("direct",)
    return ()


def minicnn_op(case: Case, backend: str) -> tuple[Forward, Backward]:
    """Return the op pair, with the case's options."""
    where: dict[str, Any] = {"stride": case.stride, "padding": case.padding}
    pairs: dict[str, tuple[Forward, Backward]] = {
        "conv": (lambda *a: ops.conv2d(*a, **where, backend=backend), ops.conv2d_backward),
        "conv + ReLU + pool": (
            lambda *a: ops.conv2d_max_pool2d(*a, **where, relu=True, backend=backend),
            ops.conv2d_max_pool2d_backward,
        ),
        "pool": (
            lambda x: ops.max_pool2d(x, (case.KH, case.KW), case.stride),
            ops.max_pool2d_backward,
        ),
        "average pool": (
            lambda x: ops.avg_pool2d(x, (case.KH, case.KW), case.stride),
            ops.avg_pool2d_backward,
        ),
        "global average": (ops.global_avg_pool2d, ops.global_avg_pool2d_backward),
        "depthwise": (lambda *a: ops.depthwise_conv2d(*a, **where), ops.depthwise_conv2d_backward),
        "ReLU": (ops.relu, ops.relu_backward),
        "norm": (ops.batch_norm, ops.batch_norm_backward),
        "norm + ReLU": (lambda *a: ops.batch_norm(*a, relu=True), ops.batch_norm_backward),
        "dense": (ops.dense, ops.dense_backward),
    }
    return pairs[case.operation]


def threaded_side(case: Case, direction: str, backend: str, images: int, threads: int) -> Timed:
    """Return a convolution on several threads, each with its own images.

    Gradients of the weights are summed over the slices, as in training.
    """
    data, pool = arrays(case, images), ThreadPool(threads)
    parts = zip(*(np.array_split(data[name], threads) for name in ("x", "dy")), strict=True)
    sides = [
        minicnn_side(case, direction, backend, data=data | {"x": x, "dy": dy}) for x, dy in parts
    ]

    def answer() -> Any:
        join = sum if direction == "dweight" else np.concatenate
        results = pool.map(lambda side: side.answer(), sides)
        return [join(arrays) for arrays in zip(*results, strict=True)]

    def step() -> Any:
        return answer() if direction == "dweight" else pool.map(lambda side: side.step(), sides)

    return Timed(step, answer)


def minicnn_side(
    case: Case,
    direction: str,
    backend: str = "auto",
    images: int = IMAGES,
    data: Arrays | None = None,
) -> MinicnnTimed:
    """Return minicnn's side of a case on one thread."""
    data = arrays(case, images) if data is None else data
    if case.operation == "Adam":
        return _adam(data)
    if case.operation == "loss":
        return MinicnnTimed(lambda: _loss(data))
    dy = data["dy"]
    inputs = [array for name, array in data.items() if name != "dy"]
    forward, backward = minicnn_op(case, backend)
    if direction == "forward":
        return MinicnnTimed(lambda: forward(*inputs)[0])
    _, cache = forward(*inputs)
    if direction == "dweight":
        return MinicnnTimed(lambda: backward(dy, cache, need_dx=False)[1:])
    if direction == "dx":
        dx = input_gradient(case, data, cache)
        return MinicnnTimed(dx or (lambda: backward(dy, cache)), results=1)
    return MinicnnTimed(lambda: backward(dy, cache))


def _adam(data: Arrays) -> MinicnnTimed:
    optimizer, parameters = Adam(), data["parameters"]

    def step() -> Any:
        optimizer.step(parameters, data["g"])
        return parameters

    return MinicnnTimed(step)


def _loss(data: Arrays) -> Any:
    loss, cache = softmax_cross_entropy(data["x"], data["labels"])
    return loss, softmax_cross_entropy_backward(1.0, cache)


def gflop(case: Case, direction: str, images: int = IMAGES) -> float | None:
    """Return the GFLOP of a case, two per multiply-add; None if it has none.

    A convolution with a pool counts forward the outputs that the pool reads, backward the active
    ones.
    """
    if not case.F:
        return None
    macs = images * case.macs
    if case.operation == "conv + ReLU + pool":
        data = arrays(case, images)
        inputs = data["x"], data["weight"], data["bias"]
        y, cache = ops.conv2d_max_pool2d(*inputs, case.stride, case.padding, relu=True)
        used = 4 * y.size if direction == "forward" else int((cache.argmax < 4).sum())
        macs = case.KH * case.KW * case.C * used
    if direction == "backward":  # dx and dweight
        macs *= 2
    return 2 * macs / 1e9


def bytes_moved(case: Case, direction: str, images: int = IMAGES) -> int:
    """Return the bytes of what a case reads and writes, each array once."""
    size = {name: array.nbytes for name, array in arrays(case, images).items()}
    every = sum(size.values())
    if direction == "dx":
        return every - size["bias"]
    if direction == "backward":  # all are read but the bias; dx, dweight and dbias are written
        return 2 * every - size["dy"] - size["bias"]
    return every  # y is of dy's shape, dweight and dbias of weight's and bias's
