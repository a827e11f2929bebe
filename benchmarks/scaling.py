"""Measure how a training step scales with image, batch and threads.

    python benchmarks/scaling.py --json benchmarks/results/scaling.json
    python benchmarks/scaling.py --quick

minicnn alone. Image size and channels vary in a small network of two blocks of convolution, ReLU
and pool (C and 2·C filters, 3×3, padding 1) and a dense layer; batch and threads vary in the
reference CNN. `growth` is the time of a case / that of the case before it, `work_growth` the same
for the multiply-adds: if the first is greater, there is a cost beyond the work. The cases of a
sweep alternate in rounds, and the result is the median over the rounds.

`peak_bytes` is the peak memory of training from the making of the model on, as NumPy reports it to
tracemalloc: an arena for a microbatch of 32 images on each thread, a gradient vector for each of up
to 16 microbatches, the parameters and Adam's two vectors. With the batch only the data should grow.
"""

import gc
import statistics
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from compare import Results, flag_parser, ratios, take_turns, timer
from networks import MODELS, Spec, minicnn_model
from script import run_script

import minicnn
from minicnn import Adam
from minicnn.train.data_parallel import BatchGradient

SECONDS = 0.2  # for each case in each round
STEPS = 5  # before memory is constant
TRIALS = 3  # of the memory: that of Numba and of capture varies by 0.1 MB and more


class Case(NamedTuple):
    """One training step; `channels` is None for the reference CNN."""

    size: int = 28
    channels: int | None = None
    batch: int = 64
    threads: int = 1


SWEEPS: dict[str, list[Case]] = {
    "image size": [Case(size=size, channels=16) for size in (14, 28, 56, 112)],
    "channels": [Case(channels=channels) for channels in (8, 16, 32, 64, 128)],
    "batch": [Case(batch=batch) for batch in (32, 64, 128, 256, 512)],
    "threads": [Case(batch=128, threads=threads) for threads in (1, 2)],
}


def specs_of(case: Case) -> list[Spec]:
    if case.channels is None:
        return MODELS["reference CNN"]
    relu, pool, C = ("relu",), ("pool",), case.channels
    first, second = ("conv", C, 3, 1), ("conv", 2 * C, 3, 1)
    return [first, relu, pool, second, relu, pool, ("flatten",), ("dense", 10)]


def training_step(case: Case) -> tuple[Callable[[], object], int]:
    """Return a training step and the multiply-adds of its forward pass."""
    model = minicnn_model(specs_of(case), (case.size, case.size, 1))
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (case.batch, case.size, case.size, 1), np.uint8)
    labels = rng.integers(0, 10, case.batch)
    run_batch = BatchGradient(model, images, labels, threads=case.threads)
    optimizer, image_ids = Adam(), np.arange(case.batch)

    def step() -> None:
        optimizer.step(model.parameters, run_batch(image_ids).gradient)

    macs, shape = 0, model.input_shape
    for layer in model.layers:
        macs += layer.macs(shape)
        shape = layer.output_shape(shape)
    return step, macs * case.batch


def peak_bytes(case: Case) -> int:
    """Return the peak memory of training, with compilation left out."""
    step, _ = training_step(case)
    for _ in range(STEPS):  # compilation and capture allocate memory only once
        step()
    return min(traced_peak(case) for _ in range(TRIALS))


def traced_peak(case: Case) -> int:
    gc.collect()
    tracemalloc.start()

    def train() -> None:
        step, _ = training_step(case)
        for _ in range(STEPS):
            step()

    thread = threading.Thread(target=train)  # a new thread has no arena yet
    thread.start()
    thread.join()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def sweep(name: str, cases: list[Case], rounds: int) -> list[dict[str, Any]]:
    """Time the cases of a sweep in alternating rounds."""
    steps = [training_step(case) for case in cases]
    memory = [peak_bytes(case) for case in cases]
    runners = {str(i): timer(step) for i, (step, _) in enumerate(steps)}
    times = list(take_turns(runners, rounds, SECONDS).values())
    results = []
    for i, case in enumerate(cases):
        own: dict[str, Any] = {
            "sweep": name,
            **case._asdict(),
            "minicnn_ms": statistics.median(times[i]),
            "ms_per_image": statistics.median(times[i]) / case.batch,
            "multiply_adds": steps[i][1],
            "peak_bytes": memory[i],
        }
        if name == "threads":
            own |= ratios("to_one_thread", times[0], times[i])
        elif i:
            own |= ratios("growth", times[i], times[i - 1])
            own["work_growth"] = steps[i][1] / steps[i - 1][1]
        results.append(own)
    return results


def line(case: dict[str, Any]) -> str:
    """Return a case in one line."""
    text = (
        f"{case['sweep']}: image {case['size']}, channels {case['channels'] or 'reference CNN'}, "
        f"batch {case['batch']}, threads {case['threads']}: {case['minicnn_ms']:.2f} ms, "
        f"{1000 * case['ms_per_image']:.1f} µs an image, "
        f"peak {case['peak_bytes'] / 2**20:.2f} MiB"
    )
    if "ratio_growth" in case:
        text += f"; {case['ratio_growth']:.2f} times the time, {case['work_growth']:.2f} the work"
    if "ratio_to_one_thread" in case:
        text += f"; {case['ratio_to_one_thread']:.2f} times as fast as one thread"
    return text


def main(argv: list[str] | None = None) -> int:
    flags = flag_parser("Measure how the cost of a training step grows.", 10).parse_args(argv)
    sweeps = {**SWEEPS}
    sweeps["threads"] = [c for c in SWEEPS["threads"] if c.threads <= minicnn.cpu_count()]
    if flags.quick:
        sweeps = {"image size": SWEEPS["image size"][:2]}
    results = Results(flags.json)
    for name, cases in sweeps.items():
        for case in sweep(name, cases, flags.rounds):
            results.add(case)
            print(line(case), flush=True)
    return 0


if __name__ == "__main__":
    run_script(main)
