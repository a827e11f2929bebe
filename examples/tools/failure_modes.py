"""Train with one thing wrong at a time, to know each fault by its curves.

    python examples/tools/failure_modes.py               # a table
    python examples/tools/failure_modes.py --out FOLDER  # and a figure, failure-modes.png

Each fault is put in from outside into the same plain training loop, on digits that come with the
library. The network is that of the reference recipe without its batch norms, trained by plain SGD:
batch norm and Adam forgive much, so that a fault may stay unseen for long. What batch norm makes of
pixels that are not scaled is shown beside it.
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
from minicnn._table import lay_out
from minicnn.model.parameters import update_running_statistics
from minicnn.plots.style import BLUE, INK, VERMILION, Sheet, own_style
from minicnn.random import RandomKey

sys.path.insert(0, str(Path(__file__).parents[1]))
from recipes import network, reference_layers

LEARNING_RATE = 0.05
BATCH = 32
PUT_ASIDE = 1000  # training images that are not trained on; the test images are not touched
LOOKS = 10  # times in an epoch that accuracy is measured
LOWEST, HIGHEST = 0.02, 1e4  # of the axis of the loss

Images = NDArray[Any]


@dataclass
class Setup:
    """All that a training needs; a fault changes one thing of it."""

    model: Sequential
    optimizer: SGD
    images: Images
    labels: NDArray[Any]
    shuffle: bool = True


class Curves(NamedTuple):
    """A training: the loss of each step, and accuracy on images put aside after some of them.

    `finite` says whether it came to its end: it stops where a loss or gradient is infinite or NaN.
    """

    losses: list[float]
    steps: list[int]
    accuracies: list[float]
    finite: bool


# ---------------------------------------------------------------- the faults


def nothing(setup: Setup) -> None:
    """Leave all as it should be."""


def no_shuffling(setup: Setup) -> None:
    order = setup.labels.argsort(kind="stable")
    setup.images, setup.labels, setup.shuffle = setup.images[order], setup.labels[order], False


def rate_times_100(setup: Setup) -> None:
    setup.optimizer.learning_rate *= 100


def zero_weights(setup: Setup) -> None:
    setup.model.parameters[...] = 0


def unscaled(setup: Setup) -> None:
    setup.model.input_std = 1 / 255  # takes back the division by 255: pixels are 0 to 255


def mirrored(setup: Setup) -> None:
    setup.images = setup.images[..., ::-1]


class Fault(NamedTuple):
    """What is wrong, how it is done, and what one sees and why."""

    name: str
    apply: Callable[[Setup], None]
    sentence: str


RIGHT = Fault("Nothing wrong", nothing, "Loss falls, and accuracy rises.")
FAULTS = [
    Fault(
        "No shuffling, images sorted by class",
        no_shuffling,
        "Within a class the loss falls to almost nothing, for there is one answer to give, and "
        "leaps up when the next class begins. In the end the network takes most images for the "
        "class that it saw last.",
    ),
    Fault(
        "Learning rate × 100",
        rate_times_100,
        "The first steps leap across the valley, and the loss shoots up by powers of ten, at times "
        "to infinity, where the curve ends. If it comes down again, every ReLU is dead, and the "
        "network says the same of every image.",
    ),
    Fault(
        "All first weights 0",
        zero_weights,
        "The loss stays at ln 10 = 2.30, that of a guess. Every layer gives 0 and passes nothing "
        "back; only the last bias learns, how frequent each digit is.",
    ),
    Fault(
        "Pixels 0 to 255, not scaled to 0 to 1",
        unscaled,
        "Numbers and gradients are hundreds of times too large, so that the steps are too. Soon "
        "all is infinite, where the curve ends, or every ReLU is dead. With batch norm it does not "
        "show: that takes any scale off again.",
    ),
    Fault(
        "Trained on mirrored digits",
        mirrored,
        "The training loss is as good as the right one: the fault is only seen on images that look "
        "like those in use. Of these the 4 and the 8, which are much like their mirror images, "
        "mostly still pass.",
    ),
]


WITH_NORM = "Pixels 0 to 255, with batch norm"


# ---------------------------------------------------------------- the training


def plain_network(seed: int) -> Sequential:
    """Return the network of the reference recipe without batch norm."""
    layers = [layer for layer in reference_layers() if not isinstance(layer, BatchNorm)]
    for layer in layers:
        if isinstance(layer, Conv2D | Dense):
            layer.bias = True  # where the norm had one
    return network(layers, seed)


def normed_network(seed: int) -> Sequential:
    return network(reference_layers(), seed)


def learn(setup: Setup, images: Images, labels: NDArray[Any], epochs: int, seed: int) -> Curves:
    """Do what `minicnn.fit` does at its core, and look at images put aside in between."""
    model, optimizer, rng = setup.model, setup.optimizer, np.random.default_rng(seed)
    batches = len(setup.images) // BATCH
    look_after = max(batches // LOOKS, 1)
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
            update_running_statistics(
                model.layers, model.statistics, model.batch_statistics(caches)[None]
            )
            curves.losses.append(float(loss))
            if len(curves.losses) % look_after == 0:
                curves.steps.append(len(curves.losses))
                curves.accuracies.append(minicnn.evaluate(model, images, labels).accuracy)
    return curves


def train_each(data: minicnn.ImageDataset, epochs: int, seed: int) -> dict[str, Curves]:
    """Train rightly, with each fault, and with batch norm on pixels that are not scaled."""
    order = np.random.default_rng(seed).permutation(len(data.train_images))
    images, labels = data.train_images[order], data.train_labels[order]

    def curves(make: Callable[[int], Sequential], apply: Callable[[Setup], None]) -> Curves:
        setup = Setup(make(seed), SGD(LEARNING_RATE), images[PUT_ASIDE:], labels[PUT_ASIDE:])
        apply(setup)
        return learn(setup, images[:PUT_ASIDE], labels[:PUT_ASIDE], epochs, seed)

    found = {fault.name: curves(plain_network, fault.apply) for fault in [RIGHT, *FAULTS]}
    return found | {WITH_NORM: curves(normed_network, unscaled)}


# ---------------------------------------------------------------- what comes out


def table(found: dict[str, Curves]) -> str:
    rows = [("", "Steps", "Highest loss", "Last loss", "Accuracy"), *map(row, found.items())]
    return lay_out(rows, "<>>>>")


def row(item: tuple[str, Curves]) -> tuple[str, ...]:
    name, curves = item
    last = f"{np.mean(curves.losses[-LOOKS:]):.3f}" if curves.finite else "not finite"
    accuracy = f"{curves.accuracies[-1]:.1%}" if curves.finite else "none"
    highest = f"{max(curves.losses):.3g}"
    return name, str(len(curves.losses)), highest, last, accuracy


@own_style
def draw(found: dict[str, Curves]) -> Sheet:
    """Draw loss and accuracy of each fault beside those of the right training, and say why."""
    sheet = Sheet(10, 1.8 * len(FAULTS) + 0.4, arranged=True)
    grid = sheet.subplots(len(FAULTS), 3, width_ratios=[1.05, 1, 1])
    length = len(found[RIGHT.name].losses)
    for fault, (words, loss, accuracy) in zip(FAULTS, grid, strict=True):
        words.set_axis_off()
        words.text(0, 1, fault.name, va="top", fontweight="bold", transform=words.transAxes)
        text = textwrap.fill(fault.sentence, 48)
        words.text(0, 0.85, text, va="top", linespacing=1.3, transform=words.transAxes)
        drawn = [
            ("right", found[RIGHT.name], BLUE, "-"),
            ("wrong", found[fault.name], VERMILION, "-"),
        ]
        if fault.apply is unscaled:
            drawn.append(("wrong, with batch norm", found[WITH_NORM], INK, ":"))
        for label, curves, color, line in drawn:
            draw_loss(loss, curves, color, line)
            accuracy.plot(
                curves.steps, curves.accuracies, line, color=color, label=label, linewidth=1.8
            )
        loss.set(yscale="log", ylim=(LOWEST, HIGHEST), xlim=(0, length))
        accuracy.set(ylim=(0, 1.02), xlim=(0, length))
        accuracy.yaxis.set_major_formatter(PercentFormatter(1))
        for axes in (loss, accuracy):
            axes.grid()
            axes.tick_params(labelbottom=fault is FAULTS[-1])
        if len(drawn) > 2:
            handles, labels = accuracy.get_legend_handles_labels()
            sheet.legend(handles, labels, loc="outside upper right", ncols=3)
    grid[0, 1].set_title("loss of each step")
    grid[0, 2].set_title("accuracy on images put aside")
    for axes in grid[-1, 1:]:
        axes.set_xlabel("step")
    return sheet


def draw_loss(axes: Axes, curves: Curves, color: str, line: str) -> None:
    steps = np.arange(1, len(curves.losses) + 1)
    axes.plot(steps, curves.losses, line, color=color, linewidth=1.1)
    if not curves.finite:
        end = f"infinite after {len(steps)} steps"
        axes.annotate(
            end, (len(steps), HIGHEST), xytext=(8, -8), textcoords="offset points", color=color,
            va="top",
        )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train with one thing wrong at a time.")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="draw the curves there")
    parser.add_argument("--seed", type=int, default=0, help="decides all that is random")
    flags = parser.parse_args(argv)
    try:
        if flags.out:
            flags.out.mkdir(parents=True, exist_ok=True)
        found = train_each(minicnn.load_mnist_sample(), 3, flags.seed)
        print(table(found))
        for fault in FAULTS:
            print(f"\n{fault.name}:\n{textwrap.fill(fault.sentence, 90)}")
        if flags.out:
            path = flags.out / "failure-modes.png"
            draw(found).savefig(path, dpi=100)
            print(f"\ncurves drawn in {path}")
    except (OSError, ValueError) as error:
        print(f"failure_modes.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
