"""The cases of `kernels.py`, their arrays, and how memory is counted."""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.runtime import arena

IMAGES = 32
REFERENCE_CNN_SIZES = (288, 32, 18432, 64, 204800, 128, 1280, 10)  # of its parameters

Arrays = dict[str, NDArray[Any]]  # by name; "dy" is no input


class Case(NamedTuple):
    """An operation on images (H, W, C), and its F filters (KH, KW) if any.

    A dense layer has C inputs and F outputs.
    """

    operation: str
    name: str
    H: int
    W: int
    C: int
    F: int = 0
    KH: int = 2
    KW: int = 2
    stride: int = 1
    padding: tuple[int, int] = (0, 0)

    @property
    def output(self) -> tuple[int, int]:
        """OH and OW, of the operation or of the convolution in it."""
        top, left = self.padding
        return (
            (self.H + 2 * top - self.KH) // self.stride + 1,
            (self.W + 2 * left - self.KW) // self.stride + 1,
        )

    @property
    def macs(self) -> int:
        """Multiply-adds of one direction, for one image."""
        OH, OW = self.output
        return OH * OW * self.F * self.KH * self.KW * self.C


def conv(name: str, size: Any, F: int, kernel: Any, stride: int = 1, padding: Any = 0) -> Case:
    """Return a convolution; sizes that are the same both ways are given once."""
    H, W, C = size
    KH, KW = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (padding, padding) if isinstance(padding, int) else padding
    return Case("conv", name, H, W, C, F, KH, KW, stride, padding)


CONVOLUTIONS = (
    conv("Keras' MNIST example, second", (13, 13, 32), 64, 3),
    conv("Keras' and PyTorch's MNIST examples, first", (28, 28, 1), 32, 3),
    conv("PyTorch's MNIST example, second", (26, 26, 32), 64, 3),
    conv("LeNet-5, first", (28, 28, 1), 6, 5),
    conv("LeNet-5, second", (12, 12, 6), 16, 5),
    conv("VGG, first", (32, 32, 3), 64, 3, padding=1),
    conv("VGG, 64 channels", (32, 32, 64), 64, 3, padding=1),
    conv("VGG, 128 channels", (16, 16, 128), 128, 3, padding=1),
    conv("VGG, 256 channels", (8, 8, 256), 256, 3, padding=1),
    conv("1×1", (14, 14, 64), 128, 1),
    conv("1×1 to fewer channels", (14, 14, 256), 64, 1),
    conv("1×1, stride 2", (28, 28, 64), 128, 1, stride=2),
    conv("5×5", (16, 16, 32), 64, 5, padding=2),
    conv("7×7, 1 channel", (28, 28, 1), 16, 7),
    conv("7×7, 3 channels, stride 2", (56, 56, 3), 64, 7, stride=2, padding=3),
    conv("3×3, stride 2", (28, 28, 32), 64, 3, stride=2, padding=1),
    conv("3×3, stride 2, 64 channels", (14, 14, 64), 128, 3, stride=2),
    conv("5×5, stride 2", (28, 28, 16), 32, 5, stride=2, padding=2),
    conv("image not square", (20, 40, 16), 32, 3),
    conv("kernel not square", (24, 24, 16), 32, (3, 5), padding=(1, 2)),
    conv("kernel of one row", (24, 24, 16), 32, (1, 7), padding=(0, 3)),
    conv("odd channels, few", (15, 15, 7), 13, 3, padding=1),
    conv("odd channels, many", (14, 14, 33), 65, 3, padding=1),
    conv("one filter", (28, 28, 16), 1, 3, padding=1),
)
# Shapes as in networks for MNIST.
DEPTHWISE = tuple(
    Case("depthwise", name, H, W, C, 0, k, k, stride, (k // 2, k // 2))
    for H, W, C in ((28, 28, 16), (14, 14, 32), (7, 7, 64))
    for k, stride in ((3, 1), (3, 2), (5, 1), (5, 2))
    for name in (f"{H}×{W}×{C}, {k}×{k}" + (", stride 2" if stride == 2 else ""),)
)
OTHERS = (
    Case("conv + ReLU + pool", "reference CNN, first", 28, 28, 1, 32, 3, 3),
    Case("conv + ReLU + pool", "reference CNN, second", 13, 13, 32, 64, 3, 3),
    Case("conv + ReLU + pool", "LeNet-5, first", 28, 28, 1, 6, 5, 5),
    Case("conv + ReLU + pool", "LeNet-5, second", 12, 12, 6, 16, 5, 5),
    Case("pool", "2×2", 26, 26, 32, stride=2),
    Case("pool", "3×3, stride 2", 26, 26, 32, 0, 3, 3, stride=2),
    Case("average pool", "2×2", 28, 28, 16, stride=2),
    Case("average pool", "2×2, 64 channels", 14, 14, 64, stride=2),
    Case("average pool", "3×3, stride 1", 14, 14, 32, 0, 3, 3),
    Case("global average", "7×7×64", 7, 7, 64),
    *DEPTHWISE,
    Case("ReLU", "26×26×32", 26, 26, 32),
    Case("norm", "13×13×32", 13, 13, 32),
    Case("norm", "26×26×32", 26, 26, 32),
    Case("norm + ReLU", "13×13×32", 13, 13, 32),
    Case("norm + ReLU", "26×26×32", 26, 26, 32),
    Case("dense", "1600 to 128", 1, 1, 1600, 128, 1, 1),
    Case("dense", "128 to 10", 1, 1, 128, 10, 1, 1),
    Case("loss", "10 classes", 1, 1, 10),
    Case("Adam", "reference CNN", 1, 1, sum(REFERENCE_CNN_SIZES)),
)


def arrays(case: Case, images: int) -> Arrays:
    """Return the inputs and the upstream gradient, equal in each call.

    They are small integers where sums are taken: float32 adds them without rounding in any order,
    so both sides must agree to the last digit. Each array begins at a cache line, as the arrays of
    a network do on both sides.
    """
    rng = np.random.default_rng(1)
    if case.operation == "Adam":
        return {name: rng.standard_normal(case.C, np.float32) for name in ("parameters", "g")}
    if case.operation == "loss":
        x = rng.standard_normal((images, case.C), np.float32)
        return {"x": x, "labels": rng.integers(0, case.C, images)}
    return {
        name: _at_a_line(rng.integers(-4, 5, shape).astype(np.float32))
        for name, shape in shapes(case, images).items()
    }


def _at_a_line(array: NDArray[Any]) -> NDArray[Any]:
    copy = arena.empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def shapes(case: Case, images: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs and of the upstream gradient."""
    _, _, H, W, C, F, KH, KW, _, _ = case
    OH, OW = case.output
    if case.operation == "dense":
        return {"x": (images, C), "weight": (C, F), "bias": (F,), "dy": (images, F)}
    x = (images, H, W, C)
    if case.operation == "ReLU":
        return {"x": x, "dy": x}
    if case.operation.startswith("norm"):
        return {"x": x, "weight": (C,), "bias": (C,), "dy": x}
    if case.operation == "global average":
        return {"x": x, "dy": (images, C)}
    if case.operation in ("pool", "average pool"):
        return {"x": x, "dy": (images, OH, OW, C)}
    if case.operation == "depthwise":
        return {"x": x, "weight": (KH, KW, C), "bias": (C,), "dy": (images, OH, OW, C)}
    if case.operation == "conv + ReLU + pool":
        OH, OW = OH // 2, OW // 2
    return {"x": x, "weight": (KH, KW, C, F), "bias": (F,), "dy": (images, OH, OW, F)}


def peak_bytes(step: Callable[[], Any]) -> int:
    """Return the peak memory of a call beyond its inputs and its result.

    NumPy tells tracemalloc of every array; kernels allocate nothing of their own.
    """
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    result = step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return max(0, peak - before - size(result))


def size(result: Any) -> int:
    """Return the bytes of the arrays or tensors in a result."""
    return sum(int(getattr(part, "nbytes", 0)) for part in as_list(result))


def as_list(result: Any) -> list[Any]:
    """Return what a call gave, one thing or several, as a list."""
    return list(result) if isinstance(result, tuple | list) else [result]


def copy_bandwidth(megabytes: int = 64, runs: int = 15) -> float:
    """Return the best GB/s of a copy on one core, read and written."""
    source = np.ones(megabytes * 1_000_000, np.uint8)
    target, best = np.zeros_like(source), np.inf
    for _ in range(runs):
        started = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - started)
    return float(2 * source.nbytes / best / 1e9)
