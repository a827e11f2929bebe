"""Register a convolution backend of your own, and check it.

    python examples/own_backend.py
    python benchmarks/kernels.py --module examples/own_backend.py --backend own \\
        --case "LeNet-5, second" --threads 1

The first command compares it with the seven loops of `minicnn.reference` on whole numbers, where
every correct sum is exact, and its gradients with central differences. The second prints its time
beside minicnn's and PyTorch's. `Conv2D(6, 5, backend="own")` uses it in a network.
"""

import sys
from collections.abc import Iterator

import numba
import numpy as np
from console import run_script
from numpy.typing import NDArray

from minicnn import gradcheck, ops, reference

# Shapes: x and dx (N, H, W, C), weight (KH, KW, C, F), bias (F,), y and dy (N, OH, OW, F).
Array = NDArray[np.float64]


@numba.njit(nogil=True)
def taps(x: Array, window: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield (n, oh, ow, kh, kw, h, w) of every tap inside the image."""
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, _ = x.shape
    for n, oh, ow, kh, kw in np.ndindex(N, OH, OW, KH, KW):
        h, w = oh * SH - top + kh, ow * SW - left + kw
        if 0 <= h < H and 0 <= w < W:
            yield n, oh, ow, kh, kw, h, w


@numba.njit(nogil=True, fastmath={"contract"})
def forward(x: Array, weight: Array, bias: Array, window: tuple[int, ...], y: Array) -> None:
    """Compute ``y[n, oh, ow] = bias + Σ x[n, h, w, c] · weight[kh, kw, c]``."""
    y[:] = bias
    for n, oh, ow, kh, kw, h, w in taps(x, window):
        for c in range(x.shape[3]):
            for f in range(y.shape[3]):
                y[n, oh, ow, f] += x[n, h, w, c] * weight[kh, kw, c, f]


@numba.njit(nogil=True, fastmath={"contract"})
def backward_weight(x: Array, dy: Array, window: tuple[int, ...], dweight: Array) -> None:
    """Compute ``dweight[kh, kw, c, f] = Σ x[n, h, w, c] · dy[n, oh, ow, f]``."""
    dweight[:] = 0
    for n, oh, ow, kh, kw, h, w in taps(x, window):
        for c in range(x.shape[3]):
            for f in range(dy.shape[3]):
                dweight[kh, kw, c, f] += x[n, h, w, c] * dy[n, oh, ow, f]


@numba.njit(nogil=True, fastmath={"contract"})
def backward_input(dy: Array, weight: Array, window: tuple[int, ...], dx: Array) -> None:
    """Compute ``dx[n, h, w, c] = Σ dy[n, oh, ow, f] · weight[kh, kw, c, f]``."""
    dx[:] = 0
    for n, oh, ow, kh, kw, h, w in taps(dx, window):
        for c in range(dx.shape[3]):
            for f in range(dy.shape[3]):
                dx[n, h, w, c] += dy[n, oh, ow, f] * weight[kh, kw, c, f]


ops.register_backend("own", sys.modules[__name__])


def main() -> int:
    rng = np.random.default_rng(0)
    for stride, padding in ((1, 0), (2, 1), ((1, 2), "same")):
        x, weight, bias = (rng.integers(-4, 5, s) * 1.0 for s in ((2, 7, 6, 3), (3, 2, 3, 4), (4,)))
        y, cache = ops.conv2d(x, weight, bias, stride, padding, backend="own")
        wanted, loops = reference.conv.conv2d(x, weight, bias, stride, padding)
        dy = rng.integers(-4, 5, y.shape) * 1.0
        own = (y, *ops.conv2d_backward(dy, cache))
        for one, other in zip(
            own, (wanted, *reference.conv.conv2d_backward(dy, loops)), strict=True
        ):
            np.testing.assert_array_equal(one, other)
        print(f"stride {stride}, padding {padding}: equal to the reference")
    shapes = {"x": (2, 5, 4, 2), "weight": (3, 3, 2, 3), "bias": (3,)}
    checks = gradcheck.check_gradients(
        "own",
        lambda **arrays: ops.conv2d(**arrays, padding=1, backend="own"),
        lambda *given: dict(zip(shapes, map(np.asarray, ops.conv2d_backward(*given)), strict=True)),
        {name: rng.standard_normal(shape) for name, shape in shapes.items()},
        rng,
    )
    print(gradcheck.format_report(checks))
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":
    run_script(main)
