"""Train a convolutional network on MNIST and see how many test digits it reads.

    python examples/train_mnist.py
    python examples/train_mnist.py --augment --epochs 10 --save model.npz --plots pictures
    python examples/train_mnist.py --recipe ten_epochs
    python examples/train_mnist.py --model model.npz --data-dir FOLDER

Without a folder MNIST is downloaded once. Where that is not possible, the 5,000 digits that come
with the library are used instead.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recipes import FEW, MADE_OF, RECIPES, networks_of

import minicnn
from minicnn import Augment, Conv2D, Sequential, TestTimeAugmentation, diagnostics, metrics
from minicnn.model.classifier import Classifier
from minicnn.optim import SCHEDULES
from minicnn.runtime.archive import atomic_write, check_writable
from minicnn.shapes import IntArray
from minicnn.train.state import TrainingState

# Flags that say how to train, so not where a trained model is tested.
ONLY_TRAINING = (
    "recipe", "limit", "epochs", "batch_size", "lr", "schedule", "augment", "validation",
    "patience", "seed", "resume", "health", "save",
)  # fmt: skip


# ---------------------------------------------------------------- the flags


def at_least_one(text: str) -> int:
    """Read a flag's whole number; argparse puts the flag's name before the message."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def share(text: str) -> float:
    """Read a flag's share of the whole."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must lie in 0 .. 1, below 1, not {text}")
    return number


def writable(text: str) -> Path:
    """Read the name of a file that will be written once all is done."""
    try:
        check_writable(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


def parse_flags(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a CNN on MNIST, or test a trained one.")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with the four MNIST files, or others in their format",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--recipe",
        choices=RECIPES,
        default="reference",
        help="a network and how it is trained, from examples/recipes.py (default: reference); "
        "the flags that follow go before what it says",
    )
    training.add_argument(
        "--limit", type=at_least_one, metavar="N", help="use the first N training images only"
    )
    training.add_argument(
        "--epochs",
        type=at_least_one,
        help="times that each image is seen",
    )
    training.add_argument("--batch-size", type=at_least_one, help="images a step")
    training.add_argument("--lr", type=float, help="learning rate")
    training.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help="how the learning rate changes from there",
    )
    training.add_argument(
        "--augment",
        action="store_true",
        help="turn, shift, bend, thin and thicken the images, in each epoch in another way; to "
        "every 25 digits add one that is drawn, as other people than MNIST's write them",
    )
    training.add_argument(
        "--validation",
        type=share,
        metavar="SHARE",
        help="share of the training images put aside to watch the training (default: 0.1 with "
        "--patience, and by the reference recipe of 10,000 images or more; else 0)",
    )
    training.add_argument(
        "--patience",
        type=at_least_one,
        metavar="EPOCHS",
        help="stop when the loss on the images put aside has not been lower for so many epochs, "
        "and take the best weights",
    )
    training.add_argument("--seed", type=int, default=0, help="decides all that is random")
    training.add_argument(
        "--resume",
        action="store_true",
        help="go on with a training that was stopped; data and training flags must be the same "
        "(after each epoch, --save NAME.npz keeps a checkpoint in NAME.checkpoint.npz)",
    )
    training.add_argument(
        "--health",
        action="store_true",
        help="report after each epoch what each layer does: scale of its numbers, dead ReLUs, size "
        "of a step beside the weights; with a warning where something is unusual",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE.npz",
        help="do not train: test a model that --save has written",
    )
    parser.add_argument(
        "--threads",
        type=at_least_one,
        default=minicnn.cpu_count(),
        help="worker threads (default: one a core); the result is the same for any number",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--save", type=writable, metavar="FILE.npz", help="write the trained model")
    output.add_argument(
        "--plots",
        type=Path,
        metavar="FOLDER",
        help="draw learning curves, confusion matrix, mistakes, filters and more",
    )
    output.add_argument(
        "--results", type=writable, metavar="FILE.json", help="write figures and history to a file"
    )
    flags = parser.parse_args(argv)
    check_flags(parser, flags)
    return flags


def check_flags(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    """End with a message, before any work is done, where flags do not go together."""
    for name in ONLY_TRAINING:
        if flags.model and getattr(flags, name) != parser.get_default(name):
            parser.error(f"--model tests a trained model: leave out --{name.replace('_', '-')}")
    if flags.patience and flags.validation == 0:
        parser.error("--patience watches images put aside: give a --validation above 0")
    if flags.save and flags.recipe in MADE_OF:
        parser.error(
            f"--save keeps one network, that reads an image once: give it --recipe "
            f"{MADE_OF[flags.recipe]}, which trains what {flags.recipe} is made of"
        )
    if flags.resume and not flags.save:
        parser.error("--resume needs --save, which says where the checkpoint is")
    if flags.resume and not checkpoint_of(flags.save).exists():
        parser.error(f"--resume: there is no checkpoint {checkpoint_of(flags.save)} to go on from")
    if flags.plots and flags.plots.exists() and not flags.plots.is_dir():
        parser.error(f"--plots: {flags.plots} is not a folder")


# ---------------------------------------------------------------- the data


def load_data(folder: str | None) -> minicnn.ImageDataset:
    """Return MNIST, or the sample and a word about it where MNIST cannot be had."""
    try:
        return minicnn.load_mnist(folder)
    except minicnn.MnistUnavailableError as error:
        print(
            f"{error}\n\n"
            "NOTE: taking the 5,000 digits that come with minicnn instead. For all 70,000 "
            "digits\nconnect to the internet once, or give a folder that holds the four files: "
            "--data-dir FOLDER\n"
        )
        return minicnn.load_mnist_sample()


# ---------------------------------------------------------------- training


def train(flags: argparse.Namespace, data: minicnn.ImageDataset) -> Classifier:
    images, labels = data.train_images[: flags.limit], data.train_labels[: flags.limit]
    drawn = len(images) // 25 if flags.augment else 0
    if drawn:
        print(f"drawing {drawn} digits in other forms than MNIST's, to learn from them too")
        more, their_labels = minicnn.synthetic_digits(drawn, flags.seed)
        images, labels = np.concatenate([images, more]), np.concatenate([labels, their_labels])
    run = {
        "seed": flags.seed,
        "threads": flags.threads,
        "checkpoint": new_checkpoint(flags),
        "resume": flags.resume,
        "on_epoch_end": health_of(images, labels) if flags.health else None,
        **settings_of(flags, len(images)),
    }
    print(
        f"{data.name}: {len(images)} training images "
        f"({round(len(images) * run['validation_split'])} of them put aside for validation), "
        f"{len(data.test_images)} test images\n"
    )
    started = time.perf_counter()
    model = RECIPES[flags.recipe](images, labels, **run)
    train_seconds = time.perf_counter() - started
    first, *others = networks_of(model)
    print(f"\n{first.summary()}")
    if others:
        print(f"\nand {len(others)} more like it, which vote")
    if isinstance(model, TestTimeAugmentation):
        print(f"\neach image is looked at {model.views} times, moved a little")
    print(f"\ntrained for {train_seconds:.1f} s on {flags.threads} threads")
    # after a stop the seconds are those since then
    first.metadata |= {
        "recipe": flags.recipe,
        "drawn_images": drawn,
        "train_seconds": train_seconds,
        "resumed": flags.resume,
    }
    return model


def settings_of(flags: argparse.Namespace, images: int) -> dict[str, Any]:
    """Return what the flags change of a recipe."""
    changed = {
        "epochs": flags.epochs,
        "batch_size": flags.batch_size,
        "learning_rate": flags.lr,
        "schedule": SCHEDULES.get(flags.schedule),
        "augment": Augment.digits() if flags.augment else None,
        "patience": flags.patience,
        "validation_split": flags.validation,
    }
    # those put aside watch the training; the test images stay unseen
    watched = 0.1 if flags.patience or (flags.recipe == "reference" and images >= FEW) else 0.0
    return {"validation_split": watched} | {
        name: value for name, value in changed.items() if value is not None
    }


def health_of(images: NDArray[Any], labels: IntArray) -> Callable[[TrainingState], None]:
    """Return what prints, after an epoch, how the network does on 128 of the training images."""
    some = np.random.default_rng(0).permutation(len(images))[:128]

    def show(state: TrainingState) -> None:
        smoothing = state.model.metadata["label_smoothing"]
        found = diagnostics.diagnose(
            state.model, images[some], labels[some], state=state, label_smoothing=smoothing
        )
        print(f"\n{found}\n", flush=True)

    return show


def checkpoint_of(save: Path) -> Path:
    """Return where a training is kept until the model is saved."""
    return save.with_name(f"{save.stem}.checkpoint.npz")


def new_checkpoint(flags: argparse.Namespace) -> Path | None:
    """Return where to keep the training; one that nobody goes on with is put out of the way."""
    if not flags.save:
        return None
    checkpoint = checkpoint_of(flags.save)
    if checkpoint.exists() and not flags.resume:
        old = checkpoint.with_suffix(".old.npz")
        os.replace(checkpoint, old)
        print(f"NOTE: {checkpoint} of a training that was stopped is {old} now\n")
    return checkpoint


def how_to_go_on(flags: argparse.Namespace, argv: list[str]) -> str:
    """Say after Ctrl-C what is kept, and by which command the training goes on."""
    if not flags.save or not checkpoint_of(flags.save).exists():
        return "stopped by Ctrl-C; nothing was saved"
    words = [sys.executable, sys.argv[0], *(word for word in argv if word != "--resume")]
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return (
        f"stopped by Ctrl-C; {checkpoint_of(flags.save)} keeps what was done up to the last whole "
        f"epoch. Go on with\n{join([*words, '--resume'])}"
    )


# ---------------------------------------------------------------- testing, and what is left behind


def test(flags: argparse.Namespace, model: Classifier, data: minicnn.ImageDataset) -> None:
    """Let the model read the test images, once; write what came out into its facts."""
    found = minicnn.evaluate(model, data.test_images, data.test_labels, threads=flags.threads)
    print(f"test accuracy {found.accuracy:.2%} ({found.correct} of {found.total})")
    networks = networks_of(model)
    weights = b"".join(network.parameters.tobytes() for network in networks)
    networks[0].metadata |= {
        "dataset": data.name,
        "test_images": found.total,
        "test_accuracy": found.accuracy,
        "threads": flags.threads,
        "parameters": sum(network.parameters.size for network in networks),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }


def save(path: Path, model: Sequential) -> None:
    model.metadata["versions"] = {
        "minicnn": minicnn.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba")},
    }
    model.save(path)
    checkpoint_of(path).unlink(missing_ok=True)  # the training is over
    print(f"model saved to {path}")


def draw(
    folder: Path, model: Classifier, data: minicnn.ImageDataset, flags: argparse.Namespace
) -> None:
    """Draw what was learned and what was not, one PNG file for each picture; of the first network
    what is inside.
    """
    from minicnn import plots  # matplotlib takes a second: only where pictures are wanted

    images, labels = data.test_images, data.test_labels
    likely = model.predict_proba(images, threads=flags.threads)  # (N, classes)
    matrix = metrics.confusion_matrix(labels, likely.argmax(axis=1), likely.shape[1])
    print(f"\n{metrics.classification_report(matrix, model.class_names)}\n")
    network = networks_of(model)[0]
    seed = network.metadata.get("seed", 0)
    figures = {
        "confusion_matrix": plots.confusion_matrix(matrix, model.class_names),
        "mistakes": plots.worst_mistakes(images, labels, likely, class_names=model.class_names),
        "augmentation": plots.augmentation_grid(data.train_images[:8], Augment.digits(), seed=seed),
    }
    if any(isinstance(layer, Conv2D) for layer in network.layers):
        figures["filters"] = plots.filters(network)
        figures["feature_maps"] = plots.feature_maps(network, images[0])
    if "history" in network.metadata:
        figures["learning_curves"] = plots.learning_curves(network.metadata["history"])
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"pictures drawn in {folder}: {', '.join(figures)}")


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write the whole file or none."""
    with atomic_write(path) as file:
        file.write(f"{json.dumps(results, indent=2)}\n".encode())
    print(f"results written to {path}")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    flags = parse_flags(argv)
    try:
        if flags.plots:
            flags.plots.mkdir(parents=True, exist_ok=True)
        kept = minicnn.load_model(flags.model) if flags.model else None
        data = load_data(flags.data_dir)
        model = kept or train(flags, data)
        test(flags, model, data)
        network = networks_of(model)[0]
        if flags.save:
            save(flags.save, network)
        if flags.plots:
            draw(flags.plots, model, data, flags)
        if flags.results:
            write_results(flags.results, network.metadata)
    except KeyboardInterrupt:
        print(f"\n{how_to_go_on(flags, argv)}", file=sys.stderr)
        return 130
    except (OSError, TypeError, ValueError, ArithmeticError) as error:
        print(f"train_mnist.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
