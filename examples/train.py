"""Train a network by a recipe, watch, save, resume, plot and test it.

    python examples/train.py --recipe ten_epochs
    python examples/train.py --augment --epochs 10 --save model.npz --plots figures
    python examples/train.py --save model.npz --resume
    python examples/train.py --model model.npz --data-dir FOLDER

``examples/train_mnist.py`` is the same training in a page of code.
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
from console import Help, run_script
from files import check_distinct, writable, writable_folder, writable_npz, write_file
from numpy.typing import NDArray
from recipes import MEMBER_RECIPE, RECIPES, SMALL_DATA, networks_of
from train_mnist import load_data

import minicnn
from minicnn import Augment, Classifier, TestTimeAugmentation, diagnostics, metrics
from minicnn.optim import SCHEDULES
from minicnn.runtime.archive import exclusive

# Flags of a training; --model does not accept them.
TRAINING_FLAGS = (
    "recipe", "limit", "epochs", "batch_size", "lr", "schedule", "augment", "synthetic_digits",
    "validation", "patience", "seed", "resume", "diagnose", "save",
)  # fmt: skip


# ---------------------------------------------------------------- the flags


def positive_int(text: str) -> int:
    """Parse a flag's positive integer."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def fraction(text: str) -> float:
    """Parse a flag's fraction, at least 0 and below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, not {text}")
    return value


def parse_flags(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a CNN by a recipe, or test a saved one.", formatter_class=Help
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with four files in MNIST's format (default: download MNIST)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--recipe",
        choices=RECIPES,
        default="reference",
        help="network and training settings from examples/recipes.py, which the flags below "
        "override",
    )
    training.add_argument(
        "--limit",
        type=positive_int,
        metavar="N",
        help="use the first N training images (default: all)",
    )
    training.add_argument(
        "--epochs", type=positive_int, help="passes over the images (default: the recipe's)"
    )
    training.add_argument(
        "--batch-size", type=positive_int, help="images per step (default: the recipe's)"
    )
    training.add_argument("--lr", type=float, help="learning rate (default: the recipe's)")
    training.add_argument(
        "--schedule", choices=SCHEDULES, help="learning rate schedule (default: the recipe's)"
    )
    training.add_argument(
        "--augment",
        action="store_true",
        help="augment with everything that keeps a digit readable: Augment.digits()",
    )
    training.add_argument(
        "--synthetic-digits",
        action="store_true",
        help="add one synthetic digit to every 25 images: ones with a flag, slashed zeros, crossed "
        "sevens, which are rare in MNIST",
    )
    training.add_argument(
        "--validation",
        type=fraction,
        metavar="FRACTION",
        help="fraction of the training images held out for validation (default: 0.1 with "
        "--patience, and for the reference recipe with 10,000 images or more; else 0)",
    )
    training.add_argument(
        "--patience",
        type=positive_int,
        metavar="EPOCHS",
        help="stop after this many epochs without a lower validation loss; keep the best weights "
        "(default: run all epochs)",
    )
    training.add_argument("--seed", type=int, default=0, help="seed of everything random")
    training.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted training with the same data and flags; --save NAME.npz "
        "writes a checkpoint NAME.checkpoint.npz after each epoch",
    )
    training.add_argument(
        "--diagnose",
        action="store_true",
        help="report after each epoch: scale of activations and gradients, dead ReLUs, update to "
        "weight ratio, with a warning where one is unusual",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE.npz",
        help="do not train; test a model written by --save (default: train)",
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=minicnn.cpu_count(),
        help="worker threads, one per core; the result does not depend on it",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--save", type=writable_npz, metavar="FILE.npz", help="write the trained model"
    )
    output.add_argument(
        "--plots",
        type=writable_folder,
        metavar="FOLDER",
        help="draw learning curves, confusion matrix, mistakes, filters and more",
    )
    output.add_argument(
        "--results", type=writable, metavar="FILE.json", help="write metrics and history"
    )
    flags = parser.parse_args(argv)
    check_flags(parser, flags)
    return flags


def check_flags(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    """Reject flags that do not go together, before any work is done."""
    for name in TRAINING_FLAGS:
        if flags.model and getattr(flags, name) != parser.get_default(name):
            parser.error(f"--model tests a trained model: leave out --{name.replace('_', '-')}")
    if flags.patience and flags.validation == 0:
        parser.error("--patience needs validation images: set --validation above 0")
    if flags.save and flags.recipe in MEMBER_RECIPE:
        parser.error(
            f"--save writes one network, and {flags.recipe} has several networks or views: use "
            f"--recipe {MEMBER_RECIPE[flags.recipe]}, which trains one of its networks"
        )
    if flags.resume and not flags.save:
        parser.error("--resume needs --save, which names the checkpoint")
    if flags.resume and not checkpoint_of(flags.save).exists():
        parser.error(f"--resume: there is no checkpoint {checkpoint_of(flags.save)}")
    checkpoint = checkpoint_of(flags.save) if flags.save else None
    check_distinct(
        parser,
        {
            "--results": flags.results,
            "--save": flags.save,
            "--model": flags.model,
            "the checkpoint of --save": checkpoint,
            "the earlier checkpoint of --save": checkpoint and old_checkpoint(checkpoint),
        },
    )


# ---------------------------------------------------------------- training


def train(flags: argparse.Namespace, data: minicnn.ImageDataset) -> Classifier:
    images, labels = data.train_images[: flags.limit], data.train_labels[: flags.limit]
    synthetic = len(images) // 25 if flags.synthetic_digits else 0
    if synthetic:
        print(f"adding {synthetic} synthetic digits")
        more, their_labels = minicnn.synthetic_digits(synthetic, flags.seed)
        images, labels = np.concatenate([images, more]), np.concatenate([labels, their_labels])
    run = {
        "seed": flags.seed,
        "threads": flags.threads,
        "checkpoint": new_checkpoint(flags),
        "resume": flags.resume,
        "on_epoch_end": diagnosis_printer(images, labels) if flags.diagnose else None,
        **settings_of(flags, len(images)),
    }
    print(
        f"{data.name}: {len(images)} training images "
        f"({round(len(images) * run['validation_split'])} of them for validation), "
        f"{len(data.test_images)} test images\n"
    )
    started = time.perf_counter()
    model = RECIPES[flags.recipe](images, labels, **run)
    train_seconds = time.perf_counter() - started
    networks_of(model)[0].metadata |= {
        "recipe": flags.recipe,
        "synthetic_digits": synthetic,
        "train_seconds": train_seconds,  # of this run, where the training was resumed
        "resumed": flags.resume,
    }
    return model


def settings_of(flags: argparse.Namespace, image_count: int) -> dict[str, Any]:
    """Return the settings of a recipe that the flags override."""
    overrides = {
        "epochs": flags.epochs,
        "batch_size": flags.batch_size,
        "learning_rate": flags.lr,
        "schedule": SCHEDULES.get(flags.schedule),
        "augment": Augment.digits() if flags.augment else None,
        "patience": flags.patience,
        "validation_split": flags.validation,
    }
    large = flags.recipe == "reference" and image_count >= SMALL_DATA
    validation = 0.1 if flags.patience or large else 0.0
    return {"validation_split": validation} | {
        name: value for name, value in overrides.items() if value is not None
    }


def diagnosis_printer(images: NDArray[Any], labels: NDArray[Any]) -> Callable[[Any], None]:
    """Return a callback that prints a diagnosis on 128 training images."""
    sample = np.random.default_rng(0).permutation(len(images))[:128]

    def show(state: Any) -> None:
        smoothing = state.model.metadata["label_smoothing"]
        report = diagnostics.diagnose(
            state.model, images[sample], labels[sample], state=state, label_smoothing=smoothing
        )
        print(f"\n{report}\n", flush=True)

    return show


def checkpoint_of(save: Path) -> Path:
    """Return the checkpoint's path for the model's path."""
    return save.with_name(f"{save.stem}.checkpoint.npz")


def old_checkpoint(checkpoint: Path) -> Path:
    """Return the name that a checkpoint gets if it is not resumed."""
    return checkpoint.with_suffix(".old.npz")


def new_checkpoint(flags: argparse.Namespace) -> Path | None:
    """Return the checkpoint's path; rename one that is not resumed."""
    if not flags.save:
        return None
    checkpoint = checkpoint_of(flags.save)
    if checkpoint.exists() and not flags.resume:
        old = old_checkpoint(checkpoint)
        os.replace(checkpoint, old)
        print(f"NOTE: {checkpoint} of an interrupted training is renamed to {old}\n")
    return checkpoint


def how_to_resume(flags: argparse.Namespace, argv: list[str]) -> str:
    """Return the message after a stop, with the command that resumes."""
    if not flags.save or not checkpoint_of(flags.save).exists():
        return "nothing was saved"
    words = [sys.executable, sys.argv[0], *(word for word in argv if word != "--resume")]
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return (
        f"{checkpoint_of(flags.save)} holds the last whole epoch. Resume with\n"
        f"{join([*words, '--resume'])}"
    )


# ---------------------------------------------------------------- testing and output


def test(
    flags: argparse.Namespace, model: Classifier, data: minicnn.ImageDataset
) -> minicnn.Evaluation:
    """Evaluate on the test images and add the result to the metadata."""
    found = minicnn.evaluate(model, data.test_images, data.test_labels, threads=flags.threads)
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
    return found


def save(path: Path, model: minicnn.Sequential) -> None:
    model.metadata["versions"] = {
        "minicnn": minicnn.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba")},
    }
    model.save(path)
    checkpoint_of(path).unlink(missing_ok=True)  # the training is over


def report(flags: argparse.Namespace, model: Classifier, found: minicnn.Evaluation) -> None:
    """Print the results, once everything is written."""
    count = len(networks_of(model))
    print(f"\n{networks_of(model)[0].summary()}")
    if count > 1:
        print(f"\nan ensemble of {count} such networks")
    if isinstance(model, TestTimeAugmentation):
        print(f"\ntest-time augmentation: {model.views} views of each image")
    if not flags.model:
        seconds = networks_of(model)[0].metadata["train_seconds"]
        print(f"\ntrained for {seconds:.1f} s on {flags.threads} threads")
    print(f"test accuracy {found.accuracy:.2%} ({found.correct} of {found.total})")
    if flags.save:
        print(f"model saved to {flags.save}")
    if flags.results:
        print(f"results written to {flags.results}")


def draw(
    folder: Path, model: Classifier, data: minicnn.ImageDataset, flags: argparse.Namespace
) -> None:
    """Draw a PNG file per figure; filters and maps of the first network."""
    from minicnn import plots  # importing matplotlib takes a second

    images, labels = data.test_images, data.test_labels
    probabilities = model.predict_proba(images, threads=flags.threads)  # (N, num_classes)
    matrix = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    print(f"\n{metrics.classification_report(matrix, model.class_names)}\n")
    network = networks_of(model)[0]
    seed = network.metadata.get("seed", 0)
    figures = {
        "confusion_matrix": plots.confusion_matrix(matrix, model.class_names),
        "mistakes": plots.worst_mistakes(
            images, labels, probabilities, class_names=model.class_names
        ),
        "augmentation": plots.augmentation_grid(data.train_images[:8], Augment.digits(), seed=seed),
    }
    if any(isinstance(layer, minicnn.Conv2D) for layer in network.layers):
        figures["filters"] = plots.filters(network)
        figures["feature_maps"] = plots.feature_maps(network, images[0])
    if "history" in network.metadata:
        figures["learning_curves"] = plots.learning_curves(network.metadata["history"])
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"figures drawn in {folder}: {', '.join(figures)}")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    flags, written = parse_flags(argv), False
    try:
        with exclusive(flags.save):
            saved = minicnn.load_model(flags.model) if flags.model else None
            data = load_data(flags.data_dir)
            model = saved or train(flags, data)
            found = test(flags, model, data)
            network = networks_of(model)[0]
            if flags.save:
                save(flags.save, network)
            if flags.results:
                write_file(flags.results, f"{json.dumps(network.metadata, indent=2)}\n")
            written = True
            report(flags, model, found)
            if flags.plots:
                draw(flags.plots, model, data, flags)
    except KeyboardInterrupt as stop:
        raise type(stop)(*() if written else (how_to_resume(flags, argv),)) from None
    except (OSError, TypeError, ValueError, ArithmeticError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_script(main)
