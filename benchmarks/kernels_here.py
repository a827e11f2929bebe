"""minicnn's side of `kernels.py`.

Each call is timed inside `minicnn.memory.workspace`, as in training: what it makes keeps its memory
from call to call, as PyTorch's results do by its allocator.
"""

from collections.abc import Callable
from typing import Any

from kernel_cases import IMAGES, Arrays, Case, arrays, as_list
from side_by_side import Timed, milliseconds

from minicnn import Adam, memory, ops, softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.ops import direct, winograd

# Not public, but the only way to time dx alone.
INPUT_GRADIENT: dict[str, Callable[..., Any]] = {
    "direct": direct.input_gradient,
    "winograd": winograd.input_gradient,
}


class InWorkspace(Timed):
    """Our side of a case."""

    def run(self, seconds: float) -> float:
        """Return the milliseconds of the fastest of the steps that fit into so many seconds."""

        def step() -> None:
            with memory.workspace():
                self.step()

        return milliseconds(step, seconds)


Forward = Callable[..., tuple[Any, Any]]  # (y, cache)
Backward = Callable[..., Any]


def minicnn_op(case: Case, backend: str) -> tuple[Forward, Backward]:
    """Return the op pair, with the case's options."""
    where: dict[str, Any] = {"stride": case.stride, "padding": case.padding}
    pairs: dict[str, tuple[Forward, Backward]] = {
        "conv": (lambda *a: ops.conv2d(*a, **where, backend=backend), ops.conv2d_backward),
        "conv + ReLU + pool": (
            lambda *a: ops.conv2d_max_pool2d(*a, **where, relu=True),
            ops.conv2d_max_pool2d_backward,
        ),
        "pool": (
            lambda x: ops.max_pool2d(x, (case.KH, case.KW), case.stride),
            ops.max_pool2d_backward,
        ),
        "ReLU": (ops.relu, ops.relu_backward),
        "dense": (ops.dense, ops.dense_backward),
    }
    return pairs[case.operation]


def minicnn_side(case: Case, direction: str, backend: str = "auto", images: int = IMAGES) -> Timed:
    """Return our side of a case."""
    data = arrays(case, images)
    if case.operation == "Adam":
        return _adam(data)
    if case.operation == "loss":
        return _loss(data)
    dy = data["dy"]
    inputs = [array for name, array in data.items() if name != "dy"]
    forward, backward = minicnn_op(case, backend)
    if direction == "forward":
        return InWorkspace(lambda: forward(*inputs)[0], lambda: [forward(*inputs)[0]])
    _, cache = forward(*inputs)
    if direction == "dweight":

        def step() -> Any:
            return backward(dy, cache, need_dx=False)[1:]

        return InWorkspace(step, step)
    if direction == "dx" and cache.backend in INPUT_GRADIENT:
        window, weight, alone = cache.window, data["weight"], INPUT_GRADIENT[cache.backend]

        def dx() -> Any:
            return alone(dy, weight, window, case.H, case.W)

        return InWorkspace(dx, lambda: [dx()])
    wanted = 1 if direction == "dx" else 3  # im2col gives dx with the others or not at all
    return InWorkspace(lambda: backward(dy, cache), lambda: as_list(backward(dy, cache))[:wanted])


def _adam(data: Arrays) -> Timed:
    optimiser, parameters = Adam(), data["parameters"]

    def step() -> None:
        optimiser.step(parameters, data["g"])

    def answer() -> Any:
        step()
        return [parameters.copy()]

    return InWorkspace(step, answer)


def _loss(data: Arrays) -> Timed:
    def step() -> Any:
        loss, cache = softmax_cross_entropy(data["x"], data["labels"])
        return loss, softmax_cross_entropy_backward(1.0, cache)

    return InWorkspace(step, step)


def gflop(case: Case, direction: str, images: int = IMAGES) -> float | None:
    """Return the GFLOP that a case needs, a multiply-add counted as two; None if it has none.

    Of a convolution under a pool: forward what the pool reads, backward the winners that the ReLU
    let through.
    """
    if not case.F:
        return None
    multiply_adds = images * case.multiply_adds
    if case.operation == "conv + ReLU + pool":
        data = arrays(case, images)
        inputs = data["x"], data["weight"], data["bias"]
        y, cache = ops.conv2d_max_pool2d(*inputs, relu=True)
        used = 4 * y.size if direction == "forward" else int((cache.winner < 4).sum())
        multiply_adds = case.KH * case.KW * case.C * used
    if direction == "backward":  # dx and dweight
        multiply_adds *= 2
    return 2 * multiply_adds / 1e9
