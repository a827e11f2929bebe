"""Measure the test accuracy of a recipe over several seeds.

    python benchmarks/accuracy.py --recipe ten_epochs --seeds 20 \\
        --json benchmarks/results/accuracy-ten_epochs.json
    python benchmarks/accuracy.py --recipe tiny --seeds 3 --split 0

Each seed reads the test images once, with the network after the last epoch: no epoch and no seed is
selected by them. Each seed trains on one thread in its own process, as many at a time as there are
cores (`--processes`). Its seconds are CPU time.

The file is complete after each seed. The same command continues from there, up to its number of
seeds. It rejects a file of another recipe, of other images or of a recipe that has changed since.

`--split K` never opens the test images: the Kth sixth of the training images replaces them. Recipes
are chosen by it. MNIST's training images lie in the order of their writers, from two alternating
sources: the slant of a digit correlates by 0.48 with that of the next but one, and by 0.18 a
thousand images later. So a sixth of consecutive images is mostly by writers absent from the other
five, as the test images are. In a random sixth nearly every writer would be known, and less
augmentation would look better than it is.

`--epochs N` trains for N epochs instead of the recipe's own number.

`--keep FOLDER` stores each network of `ten_epochs`, and reads those that exist, so that recipes
that combine networks of `ten_epochs` need not train them again.

`--figure` draws the images that are misclassified most often, each with its index, its label and
the number of seeds that misclassify it.
"""

import argparse
import ast
import hashlib
import inspect
import json
import math
import multiprocessing
import runpy
import statistics
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from compare import Results
from script import Help, run_script, writable

import minicnn
from minicnn import ImageDataset

Case = dict[str, Any]
Recipe = Callable[..., Any]
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RECIPES_FILE = runpy.run_path(str(EXAMPLES / "recipes.py"))
RECIPES: dict[str, Recipe] = RECIPES_FILE["RECIPES"]
SPLITS = 6  # each of 10,000 of MNIST's training images
SHOWN = 24  # misclassified images in the figure
MEMBERS = set(RECIPES_FILE["MEMBER_RECIPE"].values())  # recipes whose networks others combine


# ---------------------------------------------------------------- one seed


def load(folder: str | None, split: int | None) -> ImageDataset:
    """Load MNIST, the data of a folder, or the sample; with a split hold out."""
    data = minicnn.load_mnist_sample() if folder == "sample" else minicnn.load_mnist(folder)
    return data if split is None else held_out(data, split)


def held_out(data: ImageDataset, split: int) -> ImageDataset:
    """Return the training images, with a sixth of them as the test images."""
    images, labels, count = data.train_images, data.train_labels, len(data.train_images)
    held = np.zeros(count, np.bool_)
    held[split * count // SPLITS : (split + 1) * count // SPLITS] = True
    return ImageDataset(
        name=f"{data.name}, split {split} of the training images",
        train_images=images[~held],
        train_labels=labels[~held],
        test_images=images[held],
        test_labels=labels[held],
    )


def measure(
    name: str,
    folder: str | None,
    split: int | None,
    keep: Path | None,
    epochs: int | None,
    seed: int,
) -> Case:
    """Train by a recipe from one seed, and test once."""
    data, recipe = load(folder, split), RECIPES[name]
    if epochs:
        recipe = partial(recipe, epochs=epochs)
    if not keep:
        return train_and_test(recipe, data, seed)
    members = {member: stored(RECIPES[member], keep, data) for member in MEMBERS}
    names = recipe.__globals__  # an ensemble looks up the recipe of its members here
    names.update(members)
    try:
        return train_and_test(members.get(name, recipe), data, seed)
    finally:  # digest_of must find the recipes themselves
        names.update({member: RECIPES[member] for member in MEMBERS})


def stored(recipe: Recipe, folder: Path, data: ImageDataset) -> Recipe:
    """Return the recipe with its networks read from, or added to, a folder."""
    about = [digest_of(recipe), data.name, len(data.train_images)]

    def load_or_train(images: Any, labels: Any, *, seed: int, **run: Any) -> Any:
        path = folder / f"{recipe.__name__}-{seed}.npz"
        if path.exists():
            model = minicnn.load_model(path)
            if model.metadata.get("about") == about:
                return model
        started = time.process_time()
        model = recipe(images, labels, seed=seed, **run)
        model.metadata |= {"about": about, "train_seconds": time.process_time() - started}
        folder.mkdir(parents=True, exist_ok=True)
        model.save(path)
        return model

    return load_or_train


def train_and_test(recipe: Recipe, data: ImageDataset, seed: int) -> Case:
    """Train on one thread, then predict the test images once."""
    started = time.process_time()
    model = recipe(data.train_images, data.train_labels, seed=seed, threads=1, progress=False)
    seconds = time.process_time() - started
    stored_seconds = [
        network.metadata.get("train_seconds") for network in RECIPES_FILE["networks_of"](model)
    ]
    if stored_seconds and None not in stored_seconds:  # read from a folder instead of trained
        seconds = sum(stored_seconds)
    missed = np.flatnonzero(model.predict(data.test_images, threads=1) != data.test_labels)
    return {
        "seed": seed,
        "accuracy": 1 - len(missed) / len(data.test_images),
        "missed": missed.tolist(),
        "train_seconds": seconds,
        "parameters": sum(
            network.parameters.size for network in RECIPES_FILE["networks_of"](model)
        ),
    }


# ---------------------------------------------------------------- all seeds


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Summarize the seeds; sample deviations need at least two of them."""
    accuracies = [case["accuracy"] for case in cases]
    deviation = statistics.stdev(accuracies) if len(cases) > 1 else None
    return {
        "seeds": len(cases),
        "mean": statistics.fmean(accuracies),
        "standard_deviation": deviation,
        "standard_error": None if deviation is None else deviation / math.sqrt(len(cases)),
        "lowest": min(accuracies),
        "highest": max(accuracies),
        "train_seconds": statistics.fmean(case["train_seconds"] for case in cases),
        "parameters": cases[0]["parameters"],
    }


def digest_of(recipe: Recipe) -> str:
    """Return the SHA-256 of the code of a recipe and the functions it calls.

    Comments and docstrings do not count: an edit of the prose keeps the measurements valid.
    """
    code: dict[str, str] = {}

    def visit(function: Recipe) -> None:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        code[function.__name__] = ast.unparse(without_docstrings(tree))
        for node in ast.walk(tree):
            callee = function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
            if (
                inspect.isfunction(callee)
                and callee.__code__.co_filename == function.__code__.co_filename
                and callee.__name__ not in code
            ):
                visit(callee)

    visit(recipe)
    return hashlib.sha256("\n".join(code[name] for name in sorted(code)).encode()).hexdigest()


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove the docstrings of the functions of a syntax tree; return it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


class ResumableResults(Results):
    """Results that continue a file of the same measurement."""

    def __init__(self, path: Path | None, **about: Any) -> None:
        super().__init__(path, **about)
        if path and path.exists():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            for name, value in about.items():
                if earlier.get(name) != value:
                    raise SystemExit(
                        f"{path} has another {name} ({earlier.get(name)!r}, not {value!r}): "
                        f"give another --json, or delete it"
                    )
            self.all |= earlier


def run_all(
    jobs: Sequence[tuple[Any, ...]], work: Callable[..., Case], processes: int
) -> Iterator[Case]:
    """Yield the result of each job when it is done; one process is this one."""
    if min(processes, len(jobs)) <= 1:
        yield from (work(*job) for job in jobs)
        return
    # spawn: a forked process would share this one's threads and memory.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context) as pool:
        futures = [pool.submit(work, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def draw_missed(path: Path, data: ImageDataset, cases: Sequence[Case]) -> None:
    """Draw the images that most seeds misclassify."""
    from minicnn import plots

    counts = Counter(index for case in cases for index in case["missed"])
    worst = sorted(counts, key=lambda index: (-counts[index], index))[:SHOWN]
    captions = [
        f"{index}: {data.test_labels[index]}, {counts[index]} of {len(cases)}" for index in worst
    ]
    plots.image_grid(data.test_images[worst], captions, columns=6).savefig(path)


# ---------------------------------------------------------------- the command


def line(case: Case) -> str:
    return (
        f"seed {case['seed']}: {case['accuracy']:.2%} ({len(case['missed'])} missed), "
        f"trained for {case['train_seconds']:.0f} s"
    )


def sentence(name: str, summary: dict[str, Any]) -> str:
    deviation = ""
    if summary["standard_deviation"] is not None:
        deviation = (
            f" (standard deviation {100 * summary['standard_deviation']:.3f}, "
            f"standard error {100 * summary['standard_error']:.3f}) percentage points"
        )
    return (
        f"{name}: {summary['mean']:.3%} over {summary['seeds']} seeds{deviation}, "
        f"{summary['lowest']:.2%} to {summary['highest']:.2%}, "
        f"{summary['parameters']:,} parameters, {summary['train_seconds']:.0f} s a training"
    )


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure the accuracy of a recipe.", formatter_class=Help
    )
    parser.add_argument("--recipe", choices=RECIPES, required=True)
    parser.add_argument("--seeds", type=int, default=20, help="0, 1, 2, ...; default: 20")
    parser.add_argument("--json", type=writable, metavar="FILE", help="the file of the results")
    parser.add_argument(
        "--figure", type=writable, metavar="FILE.png", help="draw the most missed images"
    )
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with MNIST's four files; or 'sample' (default: download MNIST)",
    )
    parser.add_argument("--epochs", type=int, help="default: those of the recipe")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="store and reuse networks")
    parser.add_argument(
        "--split",
        type=int,
        choices=range(SPLITS),
        help="test on this sixth of the training images (default: on the test images)",
    )
    parser.add_argument(
        "--processes", type=int, default=minicnn.cpu_count(), help="default: one for each core"
    )
    flags = parser.parse_args(argv)
    epochs = 1 if flags.epochs is None else flags.epochs
    if min(flags.seeds, flags.processes, epochs) < 1:
        parser.error("--seeds, --epochs and --processes must be at least 1")
    if flags.keep and flags.epochs:
        parser.error("--keep stores networks of the unchanged recipe: leave out --epochs")
    return flags


def main(argv: list[str] | None = None) -> int:
    flags = parse_flags(argv)
    data = load(flags.data_dir, flags.split)
    results = ResumableResults(
        flags.json,
        recipe=flags.recipe,
        recipe_sha256=digest_of(RECIPES[flags.recipe]),
        dataset=data.name,
        train_images=len(data.train_images),
        test_images=len(data.test_images),
        epochs=flags.epochs,
    )
    done = {case["seed"] for case in results.cases}
    jobs = [
        (flags.recipe, flags.data_dir, flags.split, flags.keep, flags.epochs, seed)
        for seed in range(flags.seeds)
        if seed not in done
    ]
    for case in run_all(jobs, measure, flags.processes):
        results.all["summary"] = summary([*results.cases, case])
        results.add(case)
        print(line(case), flush=True)
    print(sentence(flags.recipe, summary(results.cases)))
    if flags.figure:
        draw_missed(flags.figure, data, results.cases)
    return 0


if __name__ == "__main__":
    run_script(main)
