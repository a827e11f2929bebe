"""Check data and network before the first training: four things that go wrong, each in seconds.

    python examples/tools/sanity_checks.py                        # MNIST and the reference network
    python examples/tools/sanity_checks.py --recipe resnet --data-dir FOLDER
    python examples/tools/sanity_checks.py --model model.npz

A network of your own, with layers of your own, is checked from Python:

    from check_setup import check
    verdicts = check(model, data)                         # data: a minicnn.ImageDataset

1. Data: what there is of each class, and what should not be there.
2. Loss before training: that of a guess, ln(classes).
3. Twenty images are learned by heart: a network that cannot do this will learn nothing.
4. Gradients: those of backward are the slopes of what forward computes.

Whether labels belong to their images no such check can tell: any labels of twenty images can be
learned by heart. `train_mnist.py` shows it, by an accuracy that stays at a guess on images put
aside. The network given is not changed; a trained one is checked with first weights, drawn anew.

References
----------
Karpathy, Li, Johnson, CS231n notes, "Neural networks part 3: before learning, sanity checks
tips/tricks" (2016).
"""

import argparse
import sys
from collections.abc import Callable
from copy import deepcopy
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

import minicnn
from minicnn import Adam, Dropout, Sequential
from minicnn._table import lay_out
from minicnn.gradcheck import (
    Array,
    GradientCheck,
    check_gradients,
    check_layer,
    format_report,
)
from minicnn.kernels import jit
from minicnn.layers.base import Layer
from minicnn.layers.container import Container, iter_layers
from minicnn.model.parameters import named_arrays
from minicnn.random import RandomKey

sys.path.insert(0, str(Path(__file__).parents[1]))
from recipes import RECIPES, networks_of
from train_mnist import load_data

BAR = 40  # signs of the longest bar

# A class with less than half of its fair share counts less than half in the loss. MNIST's rarest
# class has 0.90 of its share.
LEAST_SHARE = 0.5
# First weights make logits differ by about 1, the scale of numbers everywhere in the network. With
# a standard deviation of s the loss of a guess is about s²/2 more than ln(classes): 0.5. The
# networks of recipes.py have 0.0 to 0.7 more; 1 more or less is allowed.
LOSS_TOLERANCE = 1.0
# Learned by heart: each of the twenty right with a probability of 99 % and more.
BY_HEART, LOSS_BY_HEART = 20, 0.01
STEPS, STEPS_AT_ONCE = 300, 10
# Kinks, curvature and rounding leave five digits in a deep network. A large step meets kinks, a
# small one is lost in rounding, and both are accidents of the direction taken; so what fails is
# tried again, and the best counts. A gradient that is wrong, by 0.1 % say, is so each time.
GRADIENT_IMAGES, GRADIENT_TOLERANCE = 3, 1e-5
EPSILONS = (1e-6, 1e-7, 1e-8) * 3


class Verdict(NamedTuple):
    """What one check came to."""

    ok: bool
    words: str


def check(model: Sequential, data: minicnn.ImageDataset) -> list[Verdict]:
    """Run all checks, print what they find, and return their verdicts, one for each."""
    checks: dict[str, Callable[[], Verdict]] = {
        "Data": lambda: check_data(data, model.output_shape[0]),
        "Loss before training": lambda: check_first_loss(model, data),
        "Twenty images by heart": lambda: check_by_heart(model, data),
        "Gradients": lambda: check_backward(model),
    }
    verdicts = []
    for number, (title, run) in enumerate(checks.items(), start=1):
        print(f"{number}. {title}\n")
        try:
            verdict = run()
        except (TypeError, ValueError, ArithmeticError) as error:
            verdict = Verdict(False, str(error))
        print(f"\n{'OK' if verdict.ok else 'WRONG'}: {verdict.words}\n")
        verdicts.append(verdict)
    return verdicts


# ---------------------------------------------------------------- 1. the data


def check_data(data: minicnn.ImageDataset, classes: int) -> Verdict:
    parts = {
        "training": (data.train_images, data.train_labels),
        "test": (data.test_images, data.test_labels),
    }
    print(data.name)
    for name, (images, _) in parts.items():
        print(
            f"{len(images)} {name} images {images.shape[1:]}, {images.dtype}, "
            f"{images.min()} to {images.max()}, mean {images.mean():.1f}"
        )
    highest = max(classes - 1, *(int(labels.max()) for _, labels in parts.values()))
    counts = {
        name: np.bincount(labels, minlength=highest + 1) for name, (_, labels) in parts.items()
    }
    print(f"\n{histogram(counts['training'], counts['test'])}")
    faults = [
        fault
        for name, (images, _) in parts.items()
        for fault in (faults_of_classes(name, counts[name], classes), faults_of(name, images))
        if fault
    ]
    known = {image.tobytes() for image in data.train_images}
    met = sum(image.tobytes() in known for image in data.test_images)
    if met:
        faults.append(f"{met} test images are among the training images: they test nothing")
    return Verdict(
        not faults, "; ".join(faults) or "every class is there, and no test image is known"
    )


def histogram(training: Array | Any, test: Array | Any) -> str:
    """Lay out how many images there are of each class, with a bar for those to train on."""
    most = max(training.max(), 1)
    rows = [
        (str(label), str(count), str(also), "#" * round(BAR * count / most))
        for label, (count, also) in enumerate(zip(training, test, strict=True))
    ]
    return lay_out([("Class", "Training", "Test", ""), *rows], "<>><")


def faults_of_classes(name: str, counts: Any, classes: int) -> str | None:
    if counts[classes:].any():
        last = np.flatnonzero(counts)[-1]
        return f"{name} labels go up to {last}, but there are {classes} outputs"
    counts = counts[:classes]
    missing = np.flatnonzero(counts == 0)
    if len(missing):
        return f"no {name} images of class {', '.join(map(str, missing))}"
    fair = counts.sum() / classes
    if counts.min() < LEAST_SHARE * fair:
        return (
            f"few {name} images of class {counts.argmin()}: {counts.min()}, where {fair:.0f} would "
            f"be its share"
        )
    return None


def faults_of(name: str, images: Any) -> str | None:
    span = int(images.max()) - int(images.min())
    if span < 128:
        return f"the {name} images use only {span + 1} of 256 shades: are pixels scaled already?"
    flat = images.reshape(len(images), -1)
    constant = int((flat.max(axis=1) == flat.min(axis=1)).sum())
    return f"{constant} {name} images are of one shade all over" if constant else None


# ---------------------------------------------------------------- 2. the loss before training


def check_first_loss(model: Sequential, data: minicnn.ImageDataset) -> Verdict:
    fresh = untrained(model)
    some = np.random.default_rng(0).permutation(len(data.train_images))[:256]
    x = fresh.preprocess(data.train_images[some])
    logits, _ = fresh.forward(x, key=RandomKey(0, 0, some))
    loss = float(minicnn.softmax_cross_entropy(logits, data.train_labels[some])[0])
    classes = fresh.output_shape[0]
    expected = log(classes)
    print(f"expected ln({classes}) = {expected:.3f}")
    print(
        f"found    {loss:.3f} on {len(some)} images; logits have a deviation of {logits.std():.2g}"
    )
    ok = abs(loss - expected) <= LOSS_TOLERANCE
    if ok:
        return Verdict(True, f"a guess, give or take {LOSS_TOLERANCE:g} for random logits")
    return Verdict(
        False,
        f"more than {LOSS_TOLERANCE:g} from a guess: before it has learned anything the network is "
        f"sure of what it says. Are first weights or inputs too large?",
    )


# ---------------------------------------------------------------- 3. twenty images by heart


def check_by_heart(model: Sequential, data: minicnn.ImageDataset) -> Verdict:
    """Train on a few images, of all classes alike; nothing makes it harder: no augmentation, no
    dropout, no weight decay, no label smoothing, the same learning rate throughout.
    """
    fresh = untrained(model)
    turns = np.empty(len(data.train_labels))  # the how manieth of its class an image is
    for label in np.unique(data.train_labels):
        own = np.flatnonzero(data.train_labels == label)
        turns[own] = np.arange(len(own))
    few = turns.argsort(kind="stable")[:BY_HEART]
    optimizer, losses = Adam(0.003), [float("inf")]
    while losses[-1] >= LOSS_BY_HEART and len(losses) <= STEPS:
        losses += minicnn.fit(
            fresh, data.train_images[few], data.train_labels[few], optimizer=optimizer,
            epochs=STEPS_AT_ONCE, batch_size=len(few), validation_split=0, progress=False,
        )["loss"]  # fmt: skip
    losses = losses[1:]
    shown = [step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step < len(losses)]
    most = max(losses)
    rows = [
        (str(step), f"{losses[step - 1]:.4f}", "#" * round(BAR * losses[step - 1] / most))
        for step in [*shown, len(losses)]
    ]
    print(lay_out([("Step", "Loss", ""), *rows], ">><"))
    if losses[-1] < LOSS_BY_HEART:
        return Verdict(
            True, f"{len(few)} images are known by heart, without augmentation or dropout"
        )
    return Verdict(
        False,
        f"{len(few)} images are not learned by heart in {STEPS} steps of Adam: something in the "
        f"network keeps the labels from reaching the weights. Are all first weights 0? See the "
        f"gradients below",
    )


# ---------------------------------------------------------------- 4. the gradients


def check_backward(model: Sequential) -> Verdict:
    """Check the gradient of each parameter through all that stands behind it."""
    checks = check_parameters(model)
    print(format_report(checks))
    failed = [found for found in checks if not found.passed]
    if failed:
        return Verdict(
            False,
            f"{len(failed)} of {len(checks)} gradients are wrong: look at the backward of "
            f"{culprit(model) or f'{failed[-1].name}, and of what stands right behind it'}",
        )
    worst = max(found.relative_error for found in checks)
    return Verdict(
        True,
        f"{len(checks)} gradients are right; the largest relative error is {worst:.0e}, allowed "
        f"{GRADIENT_TOLERANCE:.0e}",
    )


def culprit(model: Sequential) -> str | None:
    """Return the first layer that is not the library's and has a wrong gradient by itself."""
    for name, layer, shape in places_of(untrained(model).layers, model.input_shape):
        if type(layer).__module__.startswith("minicnn."):
            continue  # check_gradients.py has proven it
        wrong = [f"d{found.argument}" for found in check_layer(layer, shape) if not found.passed]
        if wrong:
            return f"{name}, whose {' and '.join(wrong)} is wrong by itself"
    return None


def places_of(
    layers: Any, shape: tuple[int, ...], before: str = ""
) -> list[tuple[str, Layer, tuple[int, ...]]]:
    """Return each layer, those in containers too, with its place and the shape of its input."""
    found: list[tuple[str, Layer, tuple[int, ...]]] = []
    for position, layer in enumerate(layers, start=0 if before else 1):
        if isinstance(layer, Container):
            for prefix, chain in layer.sequences.items():
                found += places_of(chain.layers, shape, f"{before}{position}: {prefix}")
        else:
            found.append((f"{before}{position} {layer}", layer, shape))
        shape = layer.output_shape(shape)
    return found


def check_parameters(model: Sequential) -> list[GradientCheck]:
    """Check the gradient of each parameter through all that stands behind it, in float64.

    No pixel and no first weight is exactly 0, so that no ReLU stands exactly at its kink.
    """
    fresh = untrained(model, np.float64)
    rng = np.random.default_rng(0)
    fresh.parameters += 0.01 * rng.standard_normal(fresh.parameters.shape)
    x = rng.random((GRADIENT_IMAGES, *fresh.input_shape))
    key = RandomKey(0, 0, np.arange(GRADIENT_IMAGES))
    names = [f"{position} {layer}" for position, layer in enumerate(fresh.layers, start=1)]
    views = named_arrays(fresh.unflatten(fresh.parameters))

    def forward(**values: Array) -> tuple[Array, Any]:
        for name, value in values.items():
            views[name][...] = value
        return fresh.forward(x, key=key)

    best: dict[str, GradientCheck] = {}
    again = list(views)
    for epsilon in EPSILONS:
        if not again:
            break

        def backward(dy: Array, caches: Any, wanted: Any = again) -> dict[str, Array]:
            found = named_arrays(fresh.unflatten(fresh.backward(dy, caches)[1]))
            return {name: found[name] for name in wanted}

        for found in check_gradients(
            "", forward, backward, {name: views[name].copy() for name in again}, rng,
            epsilon=epsilon, tolerance=GRADIENT_TOLERANCE, max_elements=0,
        ):  # fmt: skip
            known = best.get(found.argument, found)
            best[found.argument] = min(known, found, key=lambda each: each.relative_error)
        again = [name for name in again if not best[name].passed]
    checks = []
    for full, found in best.items():
        position, _, name = full.partition(".")
        checks.append(found._replace(name=names[int(position)], argument=name))
    return checks


# ---------------------------------------------------------------- the network


def untrained(model: Sequential, dtype: DTypeLike = np.float32) -> Sequential:
    """Return a copy of a network with first weights and without dropout.

    A network that has not been trained keeps its weights, whoever has set them.
    """
    layers = deepcopy(model.layers)
    for layer in iter_layers(layers):
        layer.parameters, layer.statistics = {}, {}
        if isinstance(layer, Dropout):
            layer.rate = 0.0
    fresh = Sequential(
        layers, model.input_shape, dtype=dtype,
        input_mean=model.input_mean, input_std=model.input_std,
    )  # fmt: skip
    if not model.metadata:  # fit fills them
        fresh.parameters[...], fresh.statistics[...] = model.parameters, model.statistics
    return fresh


def network_of(recipe: str, data: minicnn.ImageDataset) -> Sequential:
    """Return the network of a recipe, which comes only trained: so it is, on two images."""
    images, labels = data.train_images[:2], data.train_labels[:2]
    options: dict[str, Any] = {"epochs": 1, "batch_size": 2, "progress": False}
    return networks_of(RECIPES[recipe](images, labels, **options))[0]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check data and network before training.")
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with the four MNIST files, or others in their format",
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--recipe", choices=RECIPES, default="reference", help="the network of examples/recipes.py"
    )
    network.add_argument(
        "--model", type=Path, metavar="FILE.npz", help="the network of a file, with new weights"
    )
    flags = parser.parse_args(argv)
    try:
        data = load_data(flags.data_dir)
        with jit.announce_compilation(print):
            kept = minicnn.load_model(flags.model) if flags.model else None
            verdicts = check(kept or network_of(flags.recipe, data), data)
    except (OSError, TypeError, ValueError) as error:
        print(f"sanity_checks.py: error: {error}", file=sys.stderr)
        return 2
    wrong = [number for number, verdict in enumerate(verdicts, start=1) if not verdict.ok]
    print(f"wrong: {', '.join(map(str, wrong))}" if wrong else "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
