"""Measure how accurate a recipe is: trained anew from each of several seeds, tested once each.

    python benchmarks/accuracy.py --recipe ten_epochs --seeds 20 \\
        --json benchmarks/results/accuracy-ten_epochs.json
    python benchmarks/accuracy.py --recipe tiny --seeds 3 --split 0

The test images are read once for each seed, by the network as the last epoch left it: no epoch and
no seed is picked. Each seed is a training on one thread in a process of its own, so that as many
run at once as there are cores (`--processes`); its seconds are those that the CPU spent on it.

The file is whole after each seed. The same command goes on from there, for as many seeds as it
says; a file of another recipe, of other images or of a recipe that has changed is refused.

`--split K` never opens the test images: the Kth sixth of the training images is put aside and
stands in for them. Recipes are chosen by it. A sixth in their order, because MNIST's lie in that of
their writers, two sources taking turns (the slant of a digit and of the next but one correlate by
0.48, a thousand further on by 0.18): so it is mostly by other people than the rest, as the test
images are. In a random sixth nearly every writer would be known, and to vary the images less would
look better than it is.

`--epochs N` trains for as many epochs as it says, instead of the recipe's own number.

`--keep FOLDER` keeps each network of `ten_epochs`, and trains none that is there: what
`ten_epochs_tta` and `ensemble` take need not be trained for both.

`--figure` draws the images that were missed most often, each with its number, its label and how
many of the seeds missed it.
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
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Results

import minicnn
from minicnn import ImageDataset

Case = dict[str, Any]
Recipe = Callable[..., Any]
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RECIPES_FILE = runpy.run_path(str(EXAMPLES / "recipes.py"))
RECIPES: dict[str, Recipe] = RECIPES_FILE["RECIPES"]
SPLITS = 6  # each of 10,000 of MNIST's training images
SHOWN = 24
VOTERS = set(RECIPES_FILE["MEMBER_RECIPE"].values())  # whose networks another recipe takes


# ---------------------------------------------------------------- one seed


def load(folder: str | None, split: int | None) -> ImageDataset:
    """Return MNIST or what a folder holds; with a split, without the test images."""
    data = minicnn.load_mnist_sample() if folder == "sample" else minicnn.load_mnist(folder)
    return data if split is None else held_out(data, split)


def held_out(data: ImageDataset, split: int) -> ImageDataset:
    """Return the training images only, with a sixth of them in the place of the test images."""
    images, labels, count = data.train_images, data.train_labels, len(data.train_images)
    aside = np.zeros(count, np.bool_)
    aside[split * count // SPLITS : (split + 1) * count // SPLITS] = True
    return ImageDataset(
        name=f"{data.name}, split {split} of the training images",
        train_images=images[~aside],
        train_labels=labels[~aside],
        test_images=images[aside],
        test_labels=labels[aside],
    )


def measured(
    name: str,
    folder: str | None,
    split: int | None,
    keep: Path | None,
    epochs: int | None,
    seed: int,
) -> Case:
    """Train by a recipe and test once."""
    data, recipe = load(folder, split), RECIPES[name]
    if epochs:
        recipe = partial(recipe, epochs=epochs)
    if not keep:
        return tested(recipe, data, seed)
    voters = {voter: kept(RECIPES[voter], keep, data) for voter in VOTERS}
    names = recipe.__globals__  # where an ensemble looks up whom it lets vote
    names.update(voters)
    try:
        return tested(voters.get(name, recipe), data, seed)
    finally:  # or the next digest would be taken of these
        names.update({voter: RECIPES[voter] for voter in VOTERS})


def kept(recipe: Recipe, folder: Path, data: ImageDataset) -> Recipe:
    """Return a recipe that trains no network that a folder has; others are added to it."""
    about = [digest_of(recipe), data.name, len(data.train_images)]

    def taken_or_trained(images: Any, labels: Any, *, seed: int, **run: Any) -> Any:
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

    return taken_or_trained


def tested(recipe: Recipe, data: ImageDataset, seed: int) -> Case:
    """Train on one thread, then read the test images, once."""
    started = time.process_time()
    model = recipe(data.train_images, data.train_labels, seed=seed, threads=1, progress=False)
    seconds = time.process_time() - started
    known = [each.metadata.get("train_seconds") for each in RECIPES_FILE["networks_of"](model)]
    if known and None not in known:  # some may have been trained before
        seconds = sum(known)
    missed = np.flatnonzero(model.predict(data.test_images, threads=1) != data.test_labels)
    return {
        "seed": seed,
        "accuracy": 1 - len(missed) / len(data.test_images),
        "missed": missed.tolist(),
        "train_seconds": seconds,
        "parameters": sum(each.parameters.size for each in RECIPES_FILE["networks_of"](model)),
    }


# ---------------------------------------------------------------- all seeds


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Return what the seeds have in common; deviations are of a sample, so they need two seeds."""
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
    """Return the SHA-256 of a recipe's code and of the functions of its file that it calls.

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
    """Remove the docstring of every function of a syntax tree, and return the tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


class Kept(Results):
    """Figures in a file that a stopped run goes on from, if they are of the same things."""

    def __init__(self, path: Path | None, **about: Any) -> None:
        super().__init__(path, **about)
        if path and path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            for name, wanted in about.items():
                if kept.get(name) != wanted:
                    raise SystemExit(
                        f"{path} has another {name} ({kept.get(name)!r}, not {wanted!r}): "
                        f"give another --json, or delete it"
                    )
            self.all |= kept


def run_all(
    jobs: Sequence[tuple[Any, ...]], work: Callable[..., Case], processes: int
) -> Iterator[Case]:
    """Yield what each job came to as soon as it is done, from so many processes; 1 is this one."""
    if min(processes, len(jobs)) <= 1:
        yield from (work(*job) for job in jobs)
        return
    # spawn: nothing of this process's threads and memory
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
    """Draw the images that most seeds missed."""
    from minicnn import plots

    counts = Counter(number for case in cases for number in case["missed"])
    most = sorted(counts, key=lambda number: (-counts[number], number))[:SHOWN]
    captions = [
        f"{number}: {data.test_labels[number]}, {counts[number]} of {len(cases)}" for number in most
    ]
    plots.image_grid(data.test_images[most], captions, columns=6).savefig(path)


# ---------------------------------------------------------------- the command


def line(case: Case) -> str:
    return (
        f"seed {case['seed']}: {case['accuracy']:.2%} ({len(case['missed'])} missed), "
        f"trained for {case['train_seconds']:.0f} s"
    )


def sentence(name: str, found: dict[str, Any]) -> str:
    spread = ""
    if found["standard_deviation"] is not None:
        spread = (
            f" (standard deviation {100 * found['standard_deviation']:.3f}, "
            f"standard error {100 * found['standard_error']:.3f} points)"
        )
    return (
        f"{name}: {found['mean']:.3%} over {found['seeds']} seeds{spread}, "
        f"{found['lowest']:.2%} to {found['highest']:.2%}, {found['parameters']:,} parameters, "
        f"{found['train_seconds']:.0f} s a training"
    )


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how accurate a recipe is.")
    parser.add_argument("--recipe", choices=RECIPES, required=True)
    parser.add_argument("--seeds", type=int, default=20, help="0, 1, 2, ...; default: 20")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures are kept")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="most missed images")
    parser.add_argument(
        "--data-dir", metavar="FOLDER", help="folder with MNIST's four files; or 'sample'"
    )
    parser.add_argument("--epochs", type=int, help="default: as many as the recipe says")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where networks are kept")
    parser.add_argument(
        "--split", type=int, choices=range(SPLITS), help="put a sixth aside; no test images"
    )
    parser.add_argument(
        "--processes", type=int, default=minicnn.cpu_count(), help="default: one a core"
    )
    flags = parser.parse_args(argv)
    epochs = 1 if flags.epochs is None else flags.epochs
    if min(flags.seeds, flags.processes, epochs) < 1:
        parser.error("--seeds, --epochs and --processes must be at least 1")
    if flags.keep and flags.epochs:
        parser.error("--keep keeps networks of the recipe as it is: leave out --epochs")
    return flags


def main(argv: list[str] | None = None) -> int:
    flags = parse_flags(argv)
    data = load(flags.data_dir, flags.split)
    results = Kept(
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
    for case in run_all(jobs, measured, flags.processes):
        results.all["summary"] = summary([*results.cases, case])
        results.add(case)
        print(line(case), flush=True)
    print(sentence(flags.recipe, summary(results.cases)))
    if flags.figure:
        draw_missed(flags.figure, data, results.cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
