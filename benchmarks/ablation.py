"""Measure the effect of each training feature, over several seeds.

    python benchmarks/ablation.py --seeds 5 --json benchmarks/results/ablation.json

The base is a recipe, `reference` by default, in few epochs, so that all rows take an hour and not a
day; each row changes one thing in it. Each seed holds out its own sixth of the training images, as
`accuracy.py --split` does, and reads it once at the end; it has its own initial weights and its own
order of the images. All three are the same in every row: the result is the difference to the base,
seed by seed. No network reads the test images.

The file is complete after each training, and the same command continues from there.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from typing import Any

from accuracy import (
    RECIPES,
    RECIPES_FILE,
    SPLITS,
    Case,
    ResumableResults,
    digest_of,
    held_out,
    load,
    run_all,
    train_and_test,
)
from script import Help, run_script, writable

import minicnn
from minicnn import Augment, optim

EPOCHS = 3
BASE = "the recipe as it is"
VIEWS = "views"
# The changes of a row: arguments of the recipe or of `minicnn.fit`, or test-time augmentation.
CHANGES: dict[str, dict[str, Any]] = {
    BASE: {},
    "without batch norm": {"batch_norm": False},
    "without augmentation": {"augment": None},
    "less augmentation": {"augment": RECIPES_FILE["light_augmentation"]()},
    "augmentation of all kinds": {"augment": Augment.digits()},
    "a constant rate": {"schedule": optim.constant},
    "a cosine": {"schedule": optim.cosine},
    "without label smoothing": {"label_smoothing": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "dropout": {"dropout": 0.3},
    "nine views of each image": {VIEWS: RECIPES_FILE["with_tta"]},
}


def measure(name: str, change: str, epochs: int, folder: str | None, seed: int) -> Case:
    """Train with one change; test once on the held-out sixth of the seed."""

    def recipe(*images_and_labels: Any, **run: Any) -> Any:
        changes = dict(CHANGES[change])
        views = changes.pop(VIEWS, None)
        model = RECIPES[name](*images_and_labels, epochs=epochs, **changes, **run)
        return views(model) if views else model

    case = train_and_test(recipe, held_out(load(folder, None), split=seed), seed)
    return {"change": change, **case, "missed": len(case["missed"])}


def rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return mean accuracy and mean difference to the base of each change.

    Differences are in percentage points.
    """
    accuracies = {(case["change"], case["seed"]): case["accuracy"] for case in cases}
    table = []
    for change in CHANGES:
        own = {seed: accuracies[name, seed] for name, seed in accuracies if name == change}
        pairs = [
            100 * (accuracy - accuracies[BASE, seed])
            for seed, accuracy in own.items()
            if (BASE, seed) in accuracies
        ]
        if own and pairs:
            error = statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else None
            table.append(
                {
                    "change": change,
                    "seeds": len(pairs),
                    "mean": statistics.fmean(own.values()),
                    "points": statistics.fmean(pairs),
                    "standard_error": error,
                }
            )
    return table


def line(case: Case) -> str:
    return (
        f"{case['change']}, seed {case['seed']}: {case['accuracy']:.2%}, "
        f"trained for {case['train_seconds']:.0f} s"
    )


def sentence(row: dict[str, Any]) -> str:
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
    return f"{row['change']}: {row['mean']:.3%}, {row['points']:+.3f}{error} percentage points"


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure the effect of each training feature.", formatter_class=Help
    )
    parser.add_argument("--recipe", choices=RECIPES, default="reference")
    parser.add_argument(
        "--seeds", type=int, choices=range(1, SPLITS + 1), default=5, help="0, 1, ...; default: 5"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"default: {EPOCHS}")
    parser.add_argument(
        "--only", nargs="+", choices=CHANGES, metavar="ROW", help="only these rows (default: all)"
    )
    parser.add_argument("--json", type=writable, metavar="FILE", help="the file of the results")
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with MNIST's four files (default: download them)",
    )
    parser.add_argument(
        "--processes", type=int, default=minicnn.cpu_count(), help="default: one for each core"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    flags = parse_flags(argv)
    results = ResumableResults(
        flags.json,
        recipe=flags.recipe,
        recipe_sha256=digest_of(RECIPES[flags.recipe]),
        epochs=flags.epochs,
        held_out="a sixth, in order",  # results of a random sixth must not be mixed in
    )
    done = {(case["change"], case["seed"]) for case in results.cases}
    jobs = [
        (flags.recipe, change, flags.epochs, flags.data_dir, seed)
        for seed in range(flags.seeds)
        for change in CHANGES
        if (change, seed) not in done and (not flags.only or change in flags.only)
    ]
    for case in run_all(jobs, measure, flags.processes):
        results.all["summary"] = rows([*results.cases, case])
        results.add(case)
        print(line(case), flush=True)
    for row in rows(results.cases):
        print(sentence(row))
    return 0


if __name__ == "__main__":
    run_script(main)
