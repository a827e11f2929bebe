"""Check data and network before a training, in seconds.

    python examples/tools/sanity_checks.py                        # MNIST and the reference network
    python examples/tools/sanity_checks.py --recipe resnet --data-dir FOLDER
    python examples/tools/sanity_checks.py --model model.npz

A network with your own layers is checked from Python:

    from sanity_checks import check
    verdicts = check(model, data)  # data: a minicnn.ImageDataset

1. Data: the number of images per class, constant images, test images in the training set.
2. Loss before training: that of chance, ln(num_classes).
3. Overfitting: the network learns twenty images by heart.
4. Gradients: backward computes the slope of forward.

These checks cannot detect wrong labels, because any labels of twenty images can be learned by
heart. A validation accuracy at chance shows wrong labels. The network is not changed. A trained
network is checked with new initial weights.

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
from minicnn.gradcheck import GradientCheck, check_gradients, check_layer, format_report
from minicnn.kernels import jit
from minicnn.layers.base import Layer
from minicnn.layers.container import Container, iter_layers
from minicnn.random import RandomKey
from minicnn.serialization import named_arrays
from minicnn.shapes import Array
from minicnn.table import lay_out

sys.path.insert(0, str(Path(__file__).parents[1]))
from console import Help, run_script
from recipes import RECIPES, networks_of
from train_mnist import load_data

BAR = 40  # characters of the longest bar

# Relative to equal classes. MNIST's rarest class has 0.90.
MIN_CLASS_FRACTION = 0.5
# Initial logits have a standard deviation s of about 1, which adds s²/2 = 0.5 to ln(num_classes).
# The networks of recipes.py are 0.0 to 0.7 above it.
LOSS_TOLERANCE = 1.0
# A loss of 0.01 is a probability of 99 % for each of the twenty labels.
OVERFIT_IMAGES, OVERFIT_LOSS = 20, 0.01
STEPS, STEPS_PER_FIT = 300, 10
# Kinks, curvature and rounding leave five correct digits in a deep network. A large step crosses
# kinks, a small one is lost in rounding, and both depend on the random direction. A failed check is
# therefore repeated and the best result counts. A wrong gradient fails every time.
GRADIENT_IMAGES, GRADIENT_TOLERANCE = 3, 1e-5
EPSILONS = (1e-6, 1e-7, 1e-8) * 3


class Verdict(NamedTuple):
    """Result of one check, with its explanation."""

    ok: bool
    words: str


def check(model: Sequential, data: minicnn.ImageDataset) -> list[Verdict]:
    """Run all checks, print their findings, and return their verdicts."""
    checks: dict[str, Callable[[], Verdict]] = {
        "Data": lambda: check_data(data, model.output_shape[0]),
        "Loss before training": lambda: check_first_loss(model, data),
        "Overfitting twenty images": lambda: check_overfit(model, data),
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
    repeated = sum(image.tobytes() in known for image in data.test_images)
    if repeated:
        faults.append(f"{repeated} test images are in the training set; remove them")
    return Verdict(
        not faults,
        "; ".join(faults) or "every class is present, and no test image is in the training set",
    )


def histogram(training: Array | Any, test: Array | Any) -> str:
    """Return a table of images per class, with a bar for training."""
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
    if counts.min() < MIN_CLASS_FRACTION * fair:
        return (
            f"few {name} images of class {counts.argmin()}: {counts.min()}, where {fair:.0f} are "
            f"expected"
        )
    return None


def faults_of(name: str, images: Any) -> str | None:
    span = int(images.max()) - int(images.min())
    if span < 128:
        return (
            f"the {name} images use only {span + 1} of 256 gray levels; pass pixels that are not "
            f"scaled"
        )
    flat = images.reshape(len(images), -1)
    constant = int((flat.max(axis=1) == flat.min(axis=1)).sum())
    return f"{constant} {name} images are constant" if constant else None


# ---------------------------------------------------------------- 2. the loss before training


def check_first_loss(model: Sequential, data: minicnn.ImageDataset) -> Verdict:
    fresh = untrained(model)
    sample = np.random.default_rng(0).permutation(len(data.train_images))[:256]
    x = fresh.preprocess(data.train_images[sample])
    logits, _ = fresh.forward(x, key=RandomKey(0, 0, sample))
    loss = float(minicnn.softmax_cross_entropy(logits, data.train_labels[sample])[0])
    classes = fresh.output_shape[0]
    expected = log(classes)
    print(f"expected ln({classes}) = {expected:.3f}")
    print(
        f"found    {loss:.3f} on {len(sample)} images; standard deviation of logits "
        f"{logits.std():.2g}"
    )
    ok = abs(loss - expected) <= LOSS_TOLERANCE
    if ok:
        return Verdict(True, f"chance, within {LOSS_TOLERANCE:g} for random logits")
    return Verdict(
        False,
        f"more than {LOSS_TOLERANCE:g} from chance: the untrained network is confident. Check the "
        f"scale of initial weights and inputs",
    )


# ---------------------------------------------------------------- 3. overfitting


def check_overfit(model: Sequential, data: minicnn.ImageDataset) -> Verdict:
    """Train on twenty images, equally many per class.

    There is no augmentation, dropout, weight decay, label smoothing or learning rate schedule.
    """
    fresh = untrained(model)
    rank = np.empty(len(data.train_labels))  # of an image within its class
    for label in np.unique(data.train_labels):
        own = np.flatnonzero(data.train_labels == label)
        rank[own] = np.arange(len(own))
    few = rank.argsort(kind="stable")[:OVERFIT_IMAGES]
    optimizer, losses = Adam(0.003), [float("inf")]
    while losses[-1] >= OVERFIT_LOSS and len(losses) <= STEPS:
        losses += minicnn.fit(
            fresh, data.train_images[few], data.train_labels[few], optimizer=optimizer,
            epochs=STEPS_PER_FIT, batch_size=len(few), validation_split=0, progress=False,
        )["loss"]  # fmt: skip
    losses = losses[1:]
    shown = [step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step < len(losses)]
    most = max(losses)
    rows = [
        (str(step), f"{losses[step - 1]:.4f}", "#" * round(BAR * losses[step - 1] / most))
        for step in [*shown, len(losses)]
    ]
    print(lay_out([("Step", "Loss", ""), *rows], ">><"))
    if losses[-1] < OVERFIT_LOSS:
        return Verdict(
            True, f"{len(few)} images are learned by heart, without augmentation or dropout"
        )
    return Verdict(
        False,
        f"{len(few)} images are not learned by heart in {STEPS} steps of Adam. Check that initial "
        f"weights are not all 0, and see the gradients below",
    )


# ---------------------------------------------------------------- 4. the gradients


def check_backward(model: Sequential) -> Verdict:
    """Check the gradient of each parameter through the whole network."""
    checks = check_parameters(model)
    print(format_report(checks))
    failed = [found for found in checks if not found.passed]
    if failed:
        return Verdict(
            False,
            f"{len(failed)} of {len(checks)} gradients are wrong; check the backward of "
            f"{culprit(model) or f'{failed[-1].name} and of the layer after it'}",
        )
    worst = max(found.relative_error for found in checks)
    return Verdict(
        True,
        f"{len(checks)} gradients are correct; the largest relative error is {worst:.0e}, allowed "
        f"{GRADIENT_TOLERANCE:.0e}",
    )


def culprit(model: Sequential) -> str | None:
    """Return the first user-defined layer with a wrong gradient."""
    for name, layer, shape in named_layers(untrained(model).layers, model.input_shape):
        if type(layer).__module__.startswith("minicnn."):
            continue  # check_gradients.py checks it
        wrong = [f"d{found.argument}" for found in check_layer(layer, shape) if not found.passed]
        if wrong:
            return f"{name}, whose {' and '.join(wrong)} is wrong"
    return None


def named_layers(
    layers: Any, shape: tuple[int, ...], before: str = ""
) -> list[tuple[str, Layer, tuple[int, ...]]]:
    """Return each layer, also in containers, with name and input shape."""
    found: list[tuple[str, Layer, tuple[int, ...]]] = []
    for position, layer in enumerate(layers, start=0 if before else 1):
        if isinstance(layer, Container):
            for prefix, chain in layer.sequences.items():
                found += named_layers(chain.layers, shape, f"{before}{position}: {prefix}")
        else:
            found.append((f"{before}{position} {layer}", layer, shape))
        shape = layer.output_shape(shape)
    return found


def check_parameters(model: Sequential) -> list[GradientCheck]:
    """Check the gradient of each parameter through the network in float64."""
    # Nonzero pixels and weights keep every ReLU off its kink.
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

        def backward(dy: Array, caches: Any, names: Any = again) -> dict[str, Array]:
            found = named_arrays(fresh.unflatten(fresh.backward(dy, caches)[1]))
            return {name: found[name] for name in names}

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
    """Return a copy with initial weights and without dropout.

    An untrained network keeps its weights, which its owner may have set.
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
    if not model.metadata:  # fit fills it
        fresh.parameters[...], fresh.statistics[...] = model.parameters, model.statistics
    return fresh


def network_of(recipe: str, data: minicnn.ImageDataset) -> Sequential:
    """Return the network of a recipe, trained on two images."""
    images, labels = data.train_images[:2], data.train_labels[:2]
    options: dict[str, Any] = {"epochs": 1, "batch_size": 2, "progress": False}
    return networks_of(RECIPES[recipe](images, labels, **options))[0]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Check data and network before training.", formatter_class=Help
    )
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with four files in MNIST's format (default: download MNIST)",
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--recipe", choices=RECIPES, default="reference", help="the network of examples/recipes.py"
    )
    network.add_argument(
        "--model",
        type=Path,
        metavar="FILE.npz",
        help="the network of a file, with initial weights (default: that of --recipe)",
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
    print(f"wrong: {', '.join(map(str, wrong))}" if wrong else "all checks passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    run_script(main)
