"""Measure what each feature of training is worth: with it and without it, over several seeds.

    python benchmarks/ablation.py --seeds 5 --json benchmarks/results/ablation.json

The base is a recipe, `reference` unless told otherwise, in few epochs so that all rows together
take an hour and not a day; each row changes one thing in it. Every seed has its own split of the
training images (a sixth is put aside, as `accuracy.py --split` does, and read once at the end), its
own first weights and its own order of the images, all of them the same in every row: what counts is
the difference to the base, seed by seed. No network reads the test images.

A row's seed is on disk as soon as it is trained, and the same command goes on from there.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accuracy import (
    RECIPES,
    RECIPES_FILE,
    SPLITS,
    Case,
    Kept,
    digest_of,
    held_out,
    load,
    run_all,
    tested,
)

import minicnn
from minicnn import Augment, optim

EPOCHS = 3
BASE = "the recipe as it is"
VIEWS = "views"
# What a row changes: arguments of the recipe, or of `minicnn.fit`; or how a trained model looks at
# the images.
CHANGES: dict[str, dict[str, Any]] = {
    BASE: {},
    "without batch norm": {"batch_norm": False},
    "without augmentation": {"augment": None},
    "less augmentation": {"augment": RECIPES_FILE["light_augmentation"]()},
    "a quarter of the images untouched": {
        "augment": replace(RECIPES_FILE["digit_augmentation"](), untouched=0.25)
    },
    "augmentation of all kinds": {"augment": Augment.digits()},
    "a constant rate": {"schedule": optim.constant},
    "a cosine": {"schedule": optim.cosine},
    "a warm-up, then a cosine": {"schedule": optim.SCHEDULES["cosine-warm-up"]},
    "one cycle": {"schedule": optim.one_cycle},
    "without label smoothing": {"label_smoothing": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "a moving average of the weights": {"ema_decay": 0.99},
    "dropout": {"dropout": 0.3},
    "nine views of each image": {VIEWS: RECIPES_FILE["with_tta"]},
}


def measured(name: str, change: str, epochs: int, folder: str | None, seed: int) -> Case:
    """Train with one thing changed on a seed's split, and read the images put aside, once."""

    def recipe(*images_and_labels: Any, **run: Any) -> Any:
        changes = dict(CHANGES[change])
        look = changes.pop(VIEWS, None)
        model = RECIPES[name](*images_and_labels, epochs=epochs, **changes, **run)
        return look(model) if look else model

    case = tested(recipe, held_out(load(folder, None), split=seed), seed)
    return {"change": change, **case, "missed": len(case["missed"])}


def rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return for each change its mean accuracy, and its mean difference to the base in points."""
    accuracies = {(case["change"], case["seed"]): case["accuracy"] for case in cases}
    found = []
    for change in CHANGES:
        own = {seed: accuracies[name, seed] for name, seed in accuracies if name == change}
        pairs = [
            100 * (accuracy - accuracies[BASE, seed])
            for seed, accuracy in own.items()
            if (BASE, seed) in accuracies
        ]
        if own and pairs:
            error = statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else None
            found.append(
                {
                    "change": change,
                    "seeds": len(pairs),
                    "mean": statistics.fmean(own.values()),
                    "points": statistics.fmean(pairs),
                    "standard_error": error,
                }
            )
    return found


def line(case: Case) -> str:
    return (
        f"{case['change']}, seed {case['seed']}: {case['accuracy']:.2%}, "
        f"trained for {case['train_seconds']:.0f} s"
    )


def sentence(row: dict[str, Any]) -> str:
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
    return f"{row['change']}: {row['mean']:.3%}, {row['points']:+.3f}{error} points"


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what each feature of training is worth.")
    parser.add_argument("--recipe", choices=RECIPES, default="reference")
    parser.add_argument(
        "--seeds", type=int, choices=range(1, SPLITS + 1), default=5, help="0, 1, ...; default: 5"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default: {EPOCHS}")
    parser.add_argument("--only", nargs="+", choices=CHANGES, metavar="ROW", help="these rows only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures are kept")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder with MNIST's four files")
    parser.add_argument(
        "--processes", type=int, default=minicnn.cpu_count(), help="default: one a core"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    flags = parse_flags(argv)
    results = Kept(
        flags.json,
        recipe=flags.recipe,
        recipe_sha256=digest_of(RECIPES[flags.recipe]),
        epochs=flags.epochs,
        put_aside="a sixth, in order",  # figures of a random sixth are not mixed with these
    )
    done = {(case["change"], case["seed"]) for case in results.cases}
    jobs = [
        (flags.recipe, change, flags.epochs, flags.data_dir, seed)
        for seed in range(flags.seeds)
        for change in CHANGES
        if (change, seed) not in done and (not flags.only or change in flags.only)
    ]
    for case in run_all(jobs, measured, flags.processes):
        results.all["summary"] = rows([*results.cases, case])
        results.add(case)
        print(line(case), flush=True)
    for row in rows(results.cases):
        print(sentence(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
