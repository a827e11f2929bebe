"""Measure the cost of augmentation in the reference CNN's training step.

    python benchmarks/augmentation.py --json benchmarks/results/augmentation.json
    python benchmarks/augmentation.py --quick

Batches of 128 images of 28×28, minicnn alone. Steps with and without augmentation alternate in
rounds; `share` is the additional time of a step, the median over the rounds. Each transform is
measured at the strength of `Augment.digits`; one that the preset leaves out at a strength below.
"""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from compare import Results, flag_parser, take_turns, timer
from networks import MODELS, digits, minicnn_model
from script import run_script

import minicnn
from minicnn import Adam, Augment
from minicnn.train.data_parallel import BatchGradient

SECONDS = 0.2  # for each side in each round
BATCH = 128
PRESET = Augment.digits()
# Transform -> its strengths, used if the preset has none.
PARTS: dict[str, dict[str, float]] = {
    "rotation, shift, shear, zoom": {"rotation": 10, "shift": 1, "shear": 10, "zoom": 0.1},
    "elastic distortion": {"elastic": 0.5},
    "thin, thicken": {"thin": 0.5, "thicken": 0.5},
    "blur, sharpen": {"blur": 0.5, "sharpen": 0.5},
    "brightness": {"brightness": 0.2},
    "erase": {"erase": 0.5},
}


def augmentations() -> dict[str, Augment]:
    """Return the preset, each transform alone, and no augmentation."""
    chosen = {"Augment.digits()": PRESET}
    for name, strengths in PARTS.items():
        own = {field: getattr(PRESET, field) for field in strengths}
        chosen[name] = Augment(**(own if any(own.values()) else strengths))
    return {**chosen, "nothing: Augment()": Augment()}


def training_step(augment: Augment | None, batch: int, threads: int) -> Callable[[], object]:
    """Return a training step with new transforms in each call."""
    model = minicnn_model(MODELS["reference CNN"])
    images, labels = digits(batch)
    run_batch = BatchGradient(model, images, labels, augment, threads=threads)
    optimizer, image_ids, epochs = Adam(), np.arange(batch), iter(range(2**32))

    def step() -> None:
        optimizer.step(model.parameters, run_batch(image_ids, next(epochs)).gradient)

    return step


def measure(
    name: str, augment: Augment, threads: int, rounds: int, batch: int = BATCH
) -> dict[str, Any]:
    """Time a step with and without augmentation."""
    steps = {
        "without": training_step(None, batch, threads),
        "with": training_step(augment, batch, threads),
    }
    for step in steps.values():
        step()  # compiles
    times = take_turns({side: timer(step) for side, step in steps.items()}, rounds, SECONDS)
    shares = [w / wo - 1 for w, wo in zip(times["with"], times["without"], strict=True)]
    changed = {
        field.name: getattr(augment, field.name)
        for field in dataclasses.fields(augment)
        if getattr(augment, field.name) != field.default
    }
    return {
        "augment": name,
        "strengths": changed,
        "batch": batch,
        "threads": threads,
        "without_ms": statistics.median(times["without"]),
        "with_ms": statistics.median(times["with"]),
        "share": statistics.median(shares),
        "share_range": [min(shares), max(shares)],
    }


def line(case: dict[str, Any]) -> str:
    """Return a case in one line."""
    low, high = case["share_range"]
    return (
        f"{case['augment']}, threads {case['threads']}: {case['without_ms']:.2f} ms -> "
        f"{case['with_ms']:.2f} ms, {case['share']:+.1%} ({low:+.1%} to {high:+.1%})"
    )


def main(argv: list[str] | None = None) -> int:
    flags = flag_parser("Measure what augmentation costs.", 10).parse_args(argv)
    chosen = augmentations()
    if flags.quick:
        chosen = {name: chosen[name] for name in list(chosen)[:1]}
    results = Results(flags.json)
    for threads in (1, 2):
        if threads > minicnn.cpu_count():
            continue
        for name, augment in chosen.items():
            case = measure(name, augment, threads, flags.rounds)
            results.add(case)
            print(line(case), flush=True)
    return 0


if __name__ == "__main__":
    run_script(main)
