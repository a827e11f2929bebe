"""Time each step from seven Python loops to the fused kernel.

    python benchmarks/ladder.py --json benchmarks/results/ladder.json
    python benchmarks/ladder.py --quick

Every step computes the same: forward of the reference CNN's second convolution (13×13×32, 64
filters of 3×3), its ReLU and its 2×2 pool, on 32 images and one thread. Plain Python is timed once
on one image and multiplied by 32; --quick skips it. The other steps run in turns, round by round.
minicnn's ops run inside `arena.scope`, PyTorch's three operators in a process of their own. All
steps must return equal integers before they are timed.

`gflops` counts the multiply-adds of the direct convolution, each as two operations. Winograd
computes fewer, and a convolution fused with its pool skips the last row and column, which the pool
drops.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from compare import (
    OtherSide,
    Results,
    best_of,
    check_equal,
    flag_parser,
    need,
    ratios,
    set_torch_threads,
    take_turns,
)
from kernel_cases import IMAGES, Case, arrays
from kernels_minicnn import MinicnnTimed
from kernels_torch import torch_side
from script import run_script

from minicnn import ops, reference
from minicnn.shapes import Array

CASE = Case("conv + ReLU + pool", "reference CNN, second", 13, 13, 32, 64, 3, 3)
SECONDS = 0.1  # per step and round
PLAIN = "seven loops in plain Python"
TORCH = {"PyTorch, contiguous": "contiguous", "PyTorch, channels_last": "channels_last"}


def seven_loops(x: Array, weight: Array, bias: Array) -> Array:
    """Convolve with the loops of the reference, at stride 1 without padding."""
    N, H, W, C = x.shape
    KH, KW, _, F = weight.shape
    OH, OW = H - KH + 1, W - KW + 1
    y = np.empty((N, OH, OW, F), x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for f in range(F):
                    total = float(bias[f])
                    for kh in range(KH):
                        for kw in range(KW):
                            for c in range(C):
                                h = oh + kh
                                w = ow + kw
                                if 0 <= h < H and 0 <= w < W:
                                    total += float(x[n, h, w, c]) * float(weight[kh, kw, c, f])
                    y[n, oh, ow, f] = total
    return y


compiled: Any = numba.njit(seven_loops)


def plain(x: Array, weight: Array, bias: Array) -> Array:
    """Compute the result of all steps with the reference ops."""
    y, _ = reference.conv.conv2d(x, weight, bias)
    y, _ = reference.activations.relu(y)
    return reference.pooling.max_pool2d(y, 2)[0]


def steps(x: Array, weight: Array, bias: Array) -> dict[str, MinicnnTimed]:
    """Return the steps of minicnn after the first, in order."""

    def with_relu_and_pool(convolve: Callable[[], Array]) -> MinicnnTimed:
        return MinicnnTimed(lambda: ops.max_pool2d(ops.relu(convolve())[0], 2)[0])

    def separate(backend: str) -> MinicnnTimed:
        return with_relu_and_pool(lambda: ops.conv2d(x, weight, bias, backend=backend)[0])

    def fused(backend: str) -> MinicnnTimed:
        return MinicnnTimed(
            lambda: ops.conv2d_max_pool2d(x, weight, bias, relu=True, backend=backend)[0]
        )

    return {
        "the seven loops compiled by Numba": with_relu_and_pool(lambda: compiled(x, weight, bias)),
        "im2col and GEMM": separate("im2col"),
        "direct: accumulators in registers": separate("direct"),
        "Winograd: fewer multiplications": separate("winograd"),
        "direct, ReLU and pool in one kernel": fused("direct"),
        "Winograd, ReLU and pool in one kernel": fused("winograd"),
    }


def first_step(case: Case, images: int) -> tuple[float, Array]:
    """Run plain Python on one image; return the time of all and its result."""
    data = arrays(case, images)
    started = time.perf_counter()
    y = plain(data["x"][:1], data["weight"], data["bias"])
    return images * 1000 * (time.perf_counter() - started), y


def compare(
    other: OtherSide, case: Case, rounds: int, *, quick: bool = False, images: int = IMAGES
) -> list[dict[str, Any]]:
    """Check that all steps return equal results, then time them in turns."""
    data = arrays(case, images)
    own = steps(data["x"], data["weight"], data["bias"])
    results = {name: side.answer()[0] for name, side in own.items()}
    runners: dict[str, Callable[[float], float]] = {name: side.run for name, side in own.items()}
    for name, layout in TORCH.items():
        results[name] = other.warmed_up(name, torch_side, case, "forward", layout, images)[0][0]
        runners[name] = other.runner(name)
    expected = next(iter(results.values()))
    for name, result in results.items():
        check_equal("the ladder", name, expected, result, 0)
    plain_ms = None
    if not quick:
        plain_ms, y = first_step(case, images)
        check_equal("the ladder", PLAIN, expected[:1], y, 0)
    times = take_turns(runners, rounds, SECONDS)
    theirs = best_of(times, list(TORCH))
    gflop = 2 * images * case.macs / 1e9
    cases: list[dict[str, Any]] = [
        record(name, statistics.median(row), plain_ms, gflop) | ratios("torch", theirs, row)
        for name, row in times.items()
    ]
    if plain_ms is not None:
        cases.insert(0, record(PLAIN, plain_ms, plain_ms, gflop) | {"once": True})
    return cases


def record(name: str, ms: float, plain_ms: float | None, gflop: float) -> dict[str, Any]:
    """Return a step's record; `times_faster` is None without plain Python."""
    return {
        "step": name,
        "ms": ms,
        "times_faster": None if plain_ms is None else plain_ms / ms,
        "gflops": 1000 * gflop / ms,
    }


def line(case: dict[str, Any]) -> str:
    """Return a step in one line."""
    text = f"{case['step']}: {case['ms']:.3f} ms, {case['gflops']:.4g} GFLOP/s"
    if case["times_faster"]:
        text += f", {case['times_faster']:,.0f} times as fast as plain Python"
    if "ratio_torch" in case:
        text += f"; ratio to PyTorch's best {case['ratio_torch']:.2f}"
    return text


def main(argv: list[str] | None = None) -> int:
    parser = flag_parser("Time a convolution from seven loops to the fused kernel.", rounds=10)
    flags = parser.parse_args(argv)
    need("torch")
    results = Results(flags.json, images=IMAGES, threads=1, shape=CASE._asdict())
    with OtherSide() as other:
        other.make("threads", set_torch_threads, 1)
        for case in compare(other, CASE, flags.rounds, quick=flags.quick):
            results.add(case)
            print(line(case), flush=True)
    return 0


if __name__ == "__main__":
    run_script(main)
