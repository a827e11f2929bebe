"""Time every kernel beside PyTorch's.

    python benchmarks/kernels.py --json benchmarks/results/kernels.json
    python benchmarks/kernels.py --quick
    python benchmarks/kernels.py --module examples/own_backend.py --backend own \\
        --case "LeNet-5" --threads 2

The last command times one backend of `conv2d`, here your own, beside "auto" and PyTorch. `--module`
imports the Python file that registers it; `--case` selects cases by a part of their name.

Each convolution is timed forward, for the input gradient (dx) and for the weight gradient (dweight
with dbias), on 32 images. minicnn's side is `backend="auto"`, the default; `auto_backend` is the
backend that it selects. The other backends are timed for comparison: "direct", "winograd" where it
can be used, "im2col", and "reference", plain Python that is timed on one image, times 32,
and left out above `REFERENCE_LIMIT`. minicnn's ops run inside `arena.scope()`, as in training:
memory is reused from call to call, as PyTorch's allocator does. PyTorch's operators are called
without autograd, contiguous and channels_last, in their own process; a ratio compares with the
faster of the two. The sides take turns, round by round, and a ratio is the median over the rounds
of PyTorch's time by minicnn's: above 1 minicnn is faster. With `--threads`, convolutions run on
several threads: PyTorch's own, and in minicnn a slice of the images for each.

Before the clock starts all sides must agree; the values are small integers, so that sums are exact.
`gflop` counts a multiply-add of the direct convolution as two operations, and products with zeros
of the padding too; of a convolution with a pool it counts forward the outputs that the pool reads,
backward the active ones. `bytes` is every array that is read or written, once. `peak_bytes` is the
most memory that a call holds beyond its inputs and results, the cache of forward included: minicnn
as tracemalloc counts it, outside an arena, PyTorch as its profiler counts it.
`bandwidth_gb_per_s` is that of a copy too large for the caches, read and written both counted.
"""

import importlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kernels_minicnn
from compare import (
    OtherSide,
    Results,
    Timed,
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
from script import run_script

from minicnn.ops.conv import BACKENDS

LAYOUTS = ("contiguous", "channels_last")
SECONDS = 0.05  # of each side in each round
TOLERANCE = 1e-5
# PyTorch adds the thousands of numbers of a channel one after another where channels come last.
LONG_SUMS = 1e-4
# Multiply-adds of one image up to which the reference is timed: some seconds of plain Python.
REFERENCE_LIMIT = 2_500_000


def directions(case: Case) -> tuple[str, ...]:
    """Return the directions of a case that are timed."""
    if case.operation == "conv":
        return "forward", "dx", "dweight"
    if case.operation == "conv + ReLU + pool" and case.C == 1:
        return "forward", "dweight"  # the first layer of a network computes no dx
    one = {"loss": "forward and backward", "Adam": "step"}.get(case.operation)
    return (one,) if one else ("forward", "backward")


def compare(
    other: OtherSide,
    case: Case,
    direction: str,
    rounds: int,
    peak_gflops: float,
    images: int = IMAGES,
    backend: str | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Check that all sides of a case agree, then time them in turns."""
    title = f"{case.operation}, {case.name}, {direction}"
    auto = kernels_minicnn.auto_backend(case)
    others = [name for name in kernels_minicnn.backends(case) if name != auto]
    if backend is not None:
        others = [backend]
    runners: dict[str, Callable[[float], float]] = {}
    memory: dict[str, int] = {}
    wanted: Any = None
    for name, chosen in (("minicnn", "auto"), *((other, other) for other in others)):
        single = kernels_minicnn.minicnn_side(case, direction, chosen, images)
        side: Timed = single
        if threads > 1:
            side = kernels_minicnn.threaded_side(case, direction, chosen, images, threads)
        answer = side.answer()  # before any other call: Adam changes its parameters
        memory[name] = peak_bytes(single.call)
        wanted = answer if wanted is None else wanted
        check_all(title, name, wanted, answer)
        runners[name] = side.run
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
        "threads": threads,
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
    gflop = kernels_minicnn.gflop(case, direction, images)
    if gflop is None:
        return {"gflop": None}
    found = {name: 1000 * gflop / ms for name, ms in medians(times, list(times)).items()}
    return {
        "gflop": gflop,
        "bytes": kernels_minicnn.bytes_moved(case, direction, images),
        "gflops": found,
        "share_of_peak": found["minicnn"] / peak_gflops,
    }


def reference_ms(case: Case, direction: str) -> dict[str, Any]:
    """Time the loops of the reference: one image, once, times `IMAGES`."""
    if case.operation != "conv":
        return {}
    if case.macs > REFERENCE_LIMIT:
        return {"reference_ms": None, "reference": "left out: plain Python takes too long"}
    side = kernels_minicnn.minicnn_side(case, direction, "reference", images=1)
    started = time.perf_counter()
    side.step()
    each = 1000 * (time.perf_counter() - started)
    return {"reference_ms": IMAGES * each, "reference": f"one image, once, times {IMAGES}"}


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the geometric means per direction, and the slower cases."""
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
    parser = flag_parser("Compare kernels with PyTorch's.", rounds=10)
    parser.add_argument("--backend", metavar="NAME", help="backend beside auto (default: all)")
    parser.add_argument(
        "--module", type=Path, metavar="FILE", help="registers --backend (default: none)"
    )
    parser.add_argument("--case", default="", metavar="NAME", help="a part of the cases' name")
    parser.add_argument("--threads", type=int, default=1, help="above 1: convolutions only")
    flags = parser.parse_args(argv)
    if flags.module:
        sys.path.insert(0, str(flags.module.resolve().parent))
        importlib.import_module(flags.module.stem)
    if flags.backend and flags.backend not in BACKENDS:
        parser.error(f"--backend must be one of {', '.join(BACKENDS)}, not {flags.backend}")
    convolutions_only = flags.backend or flags.threads > 1
    cases = CONVOLUTIONS if convolutions_only else (*CONVOLUTIONS, *OTHERS)
    cases = tuple(case for case in cases if flags.case in case.name)
    if not cases:
        parser.error(f"no case has {flags.case!r} in its name")
    need("torch")
    plan = [(case, direction) for case in cases for direction in directions(case)]
    if flags.quick:
        plan = plan[:3]  # the first convolution, in its three directions
    results = Results(flags.json, bandwidth_gb_per_s=copy_bandwidth())
    with OtherSide() as other:
        other.make("threads", set_torch_threads, flags.threads)
        for case, direction in plan:
            found = compare(
                other,
                case,
                direction,
                flags.rounds,
                results.peak_gflops,
                backend=flags.backend,
                threads=flags.threads,
            )
            if not flags.quick and not convolutions_only:
                found |= reference_ms(case, direction)
            results.all["summary"] = summary([*results.cases, found])
            results.add(found)
            print(line(found), flush=True)
    for direction, ratio in results.all["summary"]["geometric_mean"].items():
        print(f"geometric mean over all convolutions, {direction}: {ratio:.2f}")
    print("slower than PyTorch:", *(results.all["summary"]["slower"] or ["none"]), sep="\n  ")
    return 0


if __name__ == "__main__":
    run_script(main)
