"""Train with one fault at a time and compare the curves.

    python examples/tools/failure_modes.py               # a table
    python examples/tools/failure_modes.py --out FOLDER  # and a figure, failure-modes.png

Each fault changes one thing in the same training loop, on the digits of the package. The network is
that of the reference recipe without batch norm, trained by SGD, because batch norm and Adam hide
faults. Unscaled pixels are also shown with batch norm.
"""

import argparse
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

import minicnn
from minicnn import SGD, BatchNorm, Conv2D, Dense, Sequential
from minicnn.plots.style import BLUE, INK, VERMILION, Sheet, own_style
from minicnn.random import RandomKey
from minicnn.table import lay_out

sys.path.insert(0, str(Path(__file__).parents[1]))
from console import Help, run_script
from files import writable_folder
from recipes import network, reference_layers

LEARNING_RATE = 0.05
BATCH = 32
VALIDATION_IMAGES = 1000  # held out from the training images; the test images are not used
EVALUATIONS = 10  # per epoch
LOSS_RANGE = 0.02, 1e4  # of the axis

Images = NDArray[Any]


@dataclass
class Setup:
    """Model, optimizer and data of a training; a fault changes one."""

    model: Sequential
    optimizer: SGD
    images: Images
    labels: NDArray[Any]
    shuffle: bool = True


class Curves(NamedTuple):
    """Loss of each step, and validation accuracy at the steps `steps`.

    `finite` is False if the training stopped at an infinite or NaN loss or gradient.
    """

    losses: list[float]
    steps: list[int]
    accuracies: list[float]
    finite: bool


# ---------------------------------------------------------------- the faults


def nothing(setup: Setup) -> None:
    """Change nothing."""


def no_shuffling(setup: Setup) -> None:
    order = setup.labels.argsort(kind="stable")
    setup.images, setup.labels, setup.shuffle = setup.images[order], setup.labels[order], False


def rate_times_100(setup: Setup) -> None:
    setup.optimizer.learning_rate *= 100


def zero_weights(setup: Setup) -> None:
    setup.model.parameters[...] = 0


def unscaled(setup: Setup) -> None:
    setup.model.input_std = 1 / 255  # undoes the division by 255


def mirrored(setup: Setup) -> None:
    setup.images = setup.images[..., ::-1]


class Fault(NamedTuple):
    """Name of a fault, its change, and an explanation of its curves."""

    name: str
    apply: Callable[[Setup], None]
    explanation: str


CORRECT = Fault("No fault", nothing, "The loss falls and the accuracy rises.")
FAULTS = [
    Fault(
        "No shuffling, images sorted by class",
        no_shuffling,
        "Within a class the loss falls to almost 0, because one answer is always correct. It "
        "jumps when the next class begins. In the end the network predicts the last class for "
        "most images.",
    ),
    Fault(
        "Learning rate × 100",
        rate_times_100,
        "The first steps overshoot, and the loss grows by powers of ten. The curve ends where it "
        "is infinite. If it falls again, every ReLU is dead, and the network predicts the same "
        "for every image.",
    ),
    Fault(
        "All initial weights 0",
        zero_weights,
        "The loss stays at ln 10 = 2.30, that of chance. Every layer outputs 0 and passes no "
        "gradient. Only the last bias learns: the frequency of each digit.",
    ),
    Fault(
        "Pixels 0 to 255, not scaled to 0 to 1",
        unscaled,
        "Values, gradients and steps are hundreds of times too large. Soon the loss is infinite, "
        "where the curve ends, or every ReLU is dead. Batch norm hides the fault, because it "
        "normalizes any scale.",
    ),
    Fault(
        "Trained on mirrored digits",
        mirrored,
        "The training loss is as low as without the fault. Only the accuracy on images that are "
        "not mirrored shows it. Digits that resemble their mirror images, such as 8, are mostly "
        "still correct.",
    ),
]


WITH_NORM = "Pixels 0 to 255, with batch norm"


# ---------------------------------------------------------------- the training


def plain_network(seed: int) -> Sequential:
    """Return the network of the reference recipe without batch norm."""
    layers = [layer for layer in reference_layers() if not isinstance(layer, BatchNorm)]
    for layer in layers:
        if isinstance(layer, Conv2D | Dense):
            layer.bias = True  # the batch norm's bias is gone
    return network(layers, seed)


def normed_network(seed: int) -> Sequential:
    return network(reference_layers(), seed)


def learn(setup: Setup, images: Images, labels: NDArray[Any], epochs: int, seed: int) -> Curves:
    """Train as `minicnn.fit` does, with validation during the epochs."""
    model, optimizer, rng = setup.model, setup.optimizer, np.random.default_rng(seed)
    batches = len(setup.images) // BATCH
    interval = max(batches // EVALUATIONS, 1)
    curves = Curves([], [], [], True)
    for _ in range(epochs):
        order = np.arange(len(setup.images))
        if setup.shuffle:
            rng.shuffle(order)
        for batch in order[: batches * BATCH].reshape(batches, BATCH):
            with np.errstate(over="ignore", invalid="ignore"):
                x = model.preprocess(setup.images[batch])
                logits, caches = model.forward(x, key=RandomKey(seed, 0, batch))
                loss, cache = minicnn.softmax_cross_entropy(logits, setup.labels[batch])
                dlogits = minicnn.softmax_cross_entropy_backward(1.0, cache)
                _, gradient = model.backward(dlogits, caches)
            if not (np.isfinite(loss) and np.isfinite(gradient).all()):
                return curves._replace(finite=False)
            optimizer.step(model.parameters, gradient)
            model.update_statistics(model.batch_statistics(caches)[None])
            curves.losses.append(float(loss))
            if len(curves.losses) % interval == 0:
                curves.steps.append(len(curves.losses))
                curves.accuracies.append(minicnn.evaluate(model, images, labels).accuracy)
    return curves


def train_each(data: minicnn.ImageDataset, epochs: int, seed: int) -> dict[str, Curves]:
    """Train without a fault, with each fault, and unscaled with norm."""
    order = np.random.default_rng(seed).permutation(len(data.train_images))
    images, labels = data.train_images[order], data.train_labels[order]

    def curves(make: Callable[[int], Sequential], apply: Callable[[Setup], None]) -> Curves:
        setup = Setup(
            make(seed), SGD(LEARNING_RATE), images[VALIDATION_IMAGES:], labels[VALIDATION_IMAGES:]
        )
        apply(setup)
        return learn(setup, images[:VALIDATION_IMAGES], labels[:VALIDATION_IMAGES], epochs, seed)

    found = {fault.name: curves(plain_network, fault.apply) for fault in [CORRECT, *FAULTS]}
    return found | {WITH_NORM: curves(normed_network, unscaled)}


# ---------------------------------------------------------------- output


def table(found: dict[str, Curves]) -> str:
    rows = [("", "Steps", "Highest loss", "Last loss", "Accuracy"), *map(row, found.items())]
    return lay_out(rows, "<>>>>")


def row(item: tuple[str, Curves]) -> tuple[str, ...]:
    name, curves = item
    last = f"{np.mean(curves.losses[-EVALUATIONS:]):.3f}" if curves.finite else "not finite"
    accuracy = f"{curves.accuracies[-1]:.1%}" if curves.finite else "none"
    highest = f"{max(curves.losses):.3g}"
    return name, str(len(curves.losses)), highest, last, accuracy


@own_style
def draw(found: dict[str, Curves]) -> Sheet:
    """Draw loss and accuracy of each fault beside the correct training."""
    sheet = Sheet(10, 1.8 * len(FAULTS) + 0.4, arranged=True)
    grid = sheet.subplots(len(FAULTS), 3, width_ratios=[1.05, 1, 1])
    length = len(found[CORRECT.name].losses)
    for fault, (words, loss, accuracy) in zip(FAULTS, grid, strict=True):
        words.set_axis_off()
        words.text(0, 1, fault.name, va="top", fontweight="bold", transform=words.transAxes)
        text = textwrap.fill(fault.explanation, 48)
        words.text(0, 0.85, text, va="top", linespacing=1.3, transform=words.transAxes)
        series = [
            ("correct", found[CORRECT.name], BLUE, "-"),
            ("faulty", found[fault.name], VERMILION, "-"),
        ]
        if fault.apply is unscaled:
            series.append(("faulty, with batch norm", found[WITH_NORM], INK, ":"))
        for label, curves, color, line in series:
            draw_loss(loss, curves, color, line)
            accuracy.plot(
                curves.steps, curves.accuracies, line, color=color, label=label, linewidth=1.8
            )
        loss.set(yscale="log", ylim=LOSS_RANGE, xlim=(0, length))
        accuracy.set(ylim=(0, 1.02), xlim=(0, length))
        accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        for axes in (loss, accuracy):
            axes.grid()
            axes.tick_params(labelbottom=fault is FAULTS[-1])
        if len(series) > 2:
            handles, labels = accuracy.get_legend_handles_labels()
            sheet.legend(handles, labels, loc="outside upper right", ncols=3)
    grid[0, 1].set_title("loss of each step")
    grid[0, 2].set_title("validation accuracy")
    for axes in grid[-1, 1:]:
        axes.set_xlabel("step")
    return sheet


def draw_loss(axes: Axes, curves: Curves, color: str, line: str) -> None:
    steps = np.arange(1, len(curves.losses) + 1)
    axes.plot(steps, curves.losses, line, color=color, linewidth=1.1)
    if not curves.finite:
        end = f"infinite after {len(steps)} steps"
        axes.annotate(
            end, (len(steps), LOSS_RANGE[1]), xytext=(8, -8), textcoords="offset points",
            color=color, va="top",
        )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Train with one fault at a time.", formatter_class=Help
    )
    parser.add_argument(
        "--out", type=writable_folder, metavar="FOLDER", help="draw the curves there"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    flags = parser.parse_args(argv)
    try:
        found = train_each(minicnn.load_mnist_sample(), 3, flags.seed)
        print(table(found))
        for fault in FAULTS:
            print(f"\n{fault.name}:\n{textwrap.fill(fault.explanation, 90)}")
        if flags.out:
            path = flags.out / "failure-modes.png"
            draw(found).savefig(path, dpi=100)
            print(f"\ncurves drawn in {path}")
    except (OSError, ValueError) as error:
        print(f"failure_modes.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_script(main)
