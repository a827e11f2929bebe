"""Time every kernel beside PyTorch's, on one thread: convolutions of many shapes, and the rest.

    python benchmarks/kernels.py --json benchmarks/results/kernels.json
    python benchmarks/kernels.py --quick

Each convolution is timed forward, for the gradient of its input (dx) and for that of its weights
(dweight, dbias with it), on 32 images. Ours is `backend="auto"`, what a user gets; `auto_backend`
says what it has chosen. Beside it stand, for comparison, "direct", "winograd" where it can be used,
"im2col", which gives dx only together with dweight, and the loops of "reference": plain Python,
timed once on one image, times 32, and left out where even that takes long. Of two ways that are the
same one is timed. Our ops run inside `minicnn.memory.workspace()`, as in training: memory is kept
from call to call, as PyTorch's allocator keeps its own. PyTorch's operators are called without
autograd, contiguous and channels_last, in a process of its own; the faster of the two is what we
are compared with. The two sides take turns, round by round, and a ratio is the median over the
rounds of PyTorch's time by ours: above 1 we are faster.

Before the clock starts all must agree; the numbers are chosen so that rounding does not matter.
`gflop` counts a multiply-add of the direct convolution as two, and products with the zeros of the
padding too; of a convolution under a pool only what the pool reads, and backward only the winners.
`bytes` is every array that is read or written, once. `peak_bytes` is the most memory that a call
holds beyond its inputs and results, what forward keeps for backward included: ours as NumPy tells
tracemalloc, without a workspace, PyTorch's as its allocator tells its profiler.
`bandwidth_gb_per_s` is that of a copy too large for the caches, read and written both counted.
"""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import kernels_here
from compare import (
    OtherSide,
    Results,
    best_of,
    check_equal,
    flag_parser,
    medians,
    need,
    ratios,
    set_torch_threads,
    take_turns,
)
from kernel_cases import CONVOLUTIONS, IMAGES, OTHERS, Case, copy_bandwidth, peak_bytes
from kernels_torch import torch_side

LAYOUTS = ("contiguous", "channels_last")
SECONDS = 0.05  # of each side in each round
TOLERANCE = 1e-5
# PyTorch adds the thousands of numbers of a channel one after another where channels come last.
LONG_SUMS = 1e-4
# Multiply-adds of one image up to which the reference is timed: some seconds of plain Python.
REFERENCE_LIMIT = 2_500_000


def directions(case: Case) -> tuple[str, ...]:
    """Return what of a case is timed."""
    if case.operation == "conv":
        return "forward", "dx", "dweight"
    if case.operation == "conv + ReLU + pool" and case.C == 1:
        return "forward", "dweight"  # the first layer of a network: nobody asks for its dx
    one = {"loss": "forward and backward", "Adam": "step"}.get(case.operation)
    return (one,) if one else ("forward", "backward")


def compare(
    other: OtherSide,
    case: Case,
    direction: str,
    rounds: int,
    peak_gflops: float,
    images: int = IMAGES,
) -> dict[str, Any]:
    """Time one direction of a case: check that all sides agree, then let them take turns."""
    title = f"{case.operation}, {case.name}, {direction}"
    own = kernels_here.minicnn_side(case, direction, images=images)
    wanted = own.answer()
    runners: dict[str, Callable[[float], float]] = {"minicnn": own.run}
    memory: dict[str, int] = {"minicnn": peak_bytes(own.call)}
    auto = kernels_here.auto_backend(case)
    others = [backend for backend in kernels_here.backends(case) if backend != auto]
    for backend in others:
        side = kernels_here.minicnn_side(case, direction, backend, images)
        check_all(title, backend, wanted, side.answer())
        runners[backend] = side.run
        memory[backend] = peak_bytes(side.call)
    for layout in LAYOUTS:
        theirs, _ = other.warmed_up(layout, torch_side, case, direction, layout, images)
        tolerance = LONG_SUMS if case.operation.startswith("norm") else TOLERANCE
        check_all(title, f"PyTorch {layout}", wanted, theirs, tolerance)
        runners[layout] = other.runner(layout)
        memory[layout] = other.call(layout, "peak_bytes")
    times = take_turns(runners, rounds, SECONDS)
    return {
        "operation": case.operation,
        "name": case.name,
        "direction": direction,
        "shape": case._asdict(),
        "images": images,
        "threads": 1,
        "auto_backend": auto,
        "minicnn_ms": statistics.median(times["minicnn"]),
        "backends_ms": medians(times, others),
        "torch_ms": medians(times, LAYOUTS),
        **ratios("best", best_of(times, LAYOUTS), times["minicnn"]),
        **speeds(case, direction, times, images, peak_gflops),
        "peak_bytes": memory,
    }


def check_all(title: str, side: str, own: Any, theirs: Any, tolerance: float = TOLERANCE) -> None:
    """Compare one array after another."""
    if len(own) != len(theirs):
        raise SystemExit(f"{title}: minicnn gives {len(own)} results, {side} {len(theirs)}")
    for ours, other in zip(own, theirs, strict=True):
        check_equal(title, side, ours, other, tolerance)


def speeds(
    case: Case, direction: str, times: dict[str, list[float]], images: int, peak_gflops: float
) -> dict[str, Any]:
    """Return the GFLOP/s of each side, and our share of what a core reaches."""
    gflop = kernels_here.gflop(case, direction, images)
    if gflop is None:
        return {"gflop": None}
    found = {name: 1000 * gflop / ms for name, ms in medians(times, list(times)).items()}
    return {
        "gflop": gflop,
        "bytes": kernels_here.bytes_moved(case, direction, images),
        "gflops": found,
        "share_of_peak": found["minicnn"] / peak_gflops,
    }


def reference_ms(case: Case, direction: str) -> dict[str, Any]:
    """Time the loops of the reference: one image, once, times `IMAGES`."""
    if case.operation != "conv":
        return {}
    if case.macs > REFERENCE_LIMIT:
        return {"reference_ms": None, "reference": "left out: plain Python takes too long"}
    side = kernels_here.minicnn_side(case, direction, "reference", images=1)
    started = time.perf_counter()
    side.step()
    each = 1000 * (time.perf_counter() - started)
    return {"reference_ms": IMAGES * each, "reference": f"one image, once, times {IMAGES}"}


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the geometric mean of the ratios in each direction, and where we are slower."""
    found = defaultdict(list)
    for case in cases:
        if case["operation"] == "conv":
            found[case["direction"]].append(case["ratio_best"])
    return {
        "geometric_mean": {d: statistics.geometric_mean(row) for d, row in found.items()},
        "slower": [
            f"{case['operation']}, {case['name']}, {case['direction']}: {case['ratio_best']:.2f}"
            for case in cases
            if case["ratio_best"] < 1
        ],
    }


def line(case: dict[str, Any]) -> str:
    """Return a case in one line."""
    low, high = case["ratio_best_range"]
    theirs = ", ".join(f"{name} {ms:.3f}" for name, ms in case["torch_ms"].items())
    others = "".join(f", {name} {ms:.3f}" for name, ms in case["backends_ms"].items())
    auto = f"{case['auto_backend']} " if case["auto_backend"] else ""
    share = f" ({case['share_of_peak']:.0%} of peak)" if case["gflop"] else ""
    return (
        f"{case['operation']}, {case['name']}, {case['direction']}: minicnn "
        f"{auto}{case['minicnn_ms']:.3f} ms{share}{others}; PyTorch {theirs}; ratio to its best "
        f"{case['ratio_best']:.2f} ({low:.2f} to {high:.2f})"
    )


def main(argv: list[str] | None = None) -> int:
    parser = flag_parser("Compare kernels with PyTorch's, one thread.", rounds=10)
    flags = parser.parse_args(argv)
    need("torch")
    plan = [
        (case, direction) for case in (*CONVOLUTIONS, *OTHERS) for direction in directions(case)
    ]
    if flags.quick:
        plan = plan[:3]  # the first convolution, in its three directions
    results = Results(flags.json, bandwidth_gb_per_s=copy_bandwidth())
    with OtherSide() as other:
        other.make("threads", set_torch_threads, 1)
        for case, direction in plan:
            found = compare(other, case, direction, flags.rounds, results.peak_gflops)
            if not flags.quick:
                found |= reference_ms(case, direction)
            results.all["summary"] = summary([*results.cases, found])
            results.add(found)
            print(line(found), flush=True)
    for direction, ratio in results.all["summary"]["geometric_mean"].items():
        print(f"geometric mean over all convolutions, {direction}: {ratio:.2f}")
    print("slower than PyTorch:", *(results.all["summary"]["slower"] or ["none"]), sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
