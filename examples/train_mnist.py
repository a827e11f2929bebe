"""Train a convolutional network on MNIST and see how many test digits it reads.

    python examples/train_mnist.py
    python examples/train_mnist.py --data-dir FOLDER --epochs 3 --results results.json

Without a folder MNIST is downloaded once. Where that is not possible, the 5,000 digits that come
with the library are used instead.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import minicnn
from minicnn import Adam, Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential
from minicnn.schedules import cosine

# Fewer images than this are seen more often, and all of them are learned from.
FEW = 10_000


def at_least_one(text: str) -> int:
    """Read a flag's whole number; argparse puts the flag's name before the message."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a CNN on MNIST.")
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with the four MNIST files, or others in their format",
    )
    parser.add_argument(
        "--epochs",
        type=at_least_one,
        help="times that each image is seen (default: 5; 20 on the embedded sample)",
    )
    parser.add_argument(
        "--batch-size", type=at_least_one, default=64, help="images a step (default: 64)"
    )
    parser.add_argument("--lr", type=float, default=0.001, help="learning rate (default: 0.001)")
    parser.add_argument("--seed", type=int, default=0, help="decides all that is random")
    parser.add_argument(
        "--threads",
        type=at_least_one,
        default=minicnn.usable_cores(),
        help="worker threads (default: one a core); the result is the same for any number",
    )
    parser.add_argument(
        "--limit", type=at_least_one, metavar="N", help="use the first N training images only"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE.json", help="write figures and history to a file"
    )
    return parser.parse_args(argv)


def load_data(folder: str | None) -> minicnn.ImageDataset:
    """Return MNIST, or the sample and a word about it where MNIST cannot be had."""
    try:
        return minicnn.load_mnist(folder)
    except minicnn.MnistUnavailableError as error:
        print(
            f"{error}\n\n"
            "NOTE: training on the 5,000 digits that come with minicnn instead. For all 70,000 "
            "digits\nconnect to the internet once, or give a folder that holds the four files: "
            "--data-dir FOLDER\n"
        )
        return minicnn.load_mnist_sample()


def reference_cnn(seed: int) -> Sequential:
    """Assemble the network: two rounds of convolution, ReLU and pooling, then two dense layers."""
    return Sequential(
        [
            Conv2D(32, 3),  # 28×28×1 -> 26×26×32: 32 detectors of strokes, each sees 3×3 pixels
            ReLU(),
            MaxPool2D(2),  # -> 13×13×32: the strongest answer in each 2×2 square
            Conv2D(64, 3),  # -> 11×11×64: 64 detectors of combinations of strokes
            ReLU(),
            MaxPool2D(2),  # -> 5×5×64
            Flatten(),  # -> 1600 numbers
            Dense(128),
            ReLU(),
            Dense(10),  # one number for each digit: the larger, the likelier
        ],
        input_shape=(28, 28, 1),
        seed=seed,
    )


def write_json(path: Path, results: dict[str, Any]) -> None:
    """Write the whole file or none: to a temporary one first, then renamed."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8"
    ) as file:
        json.dump(results, file, indent=2)
        file.write("\n")
    os.replace(file.name, path)


def train(flags: argparse.Namespace) -> None:
    if flags.results and not flags.results.absolute().parent.is_dir():
        raise FileNotFoundError(f"--results: there is no folder {flags.results.absolute().parent}")

    # ------------------------------------------------------------ the data
    data = load_data(flags.data_dir)
    images, labels = data.train_images[: flags.limit], data.train_labels[: flags.limit]
    few = len(images) < FEW
    epochs = flags.epochs or (20 if few else 5)
    validation_split = 0.0 if few else 0.1  # watches the training; the test images stay unseen
    put_aside = round(len(images) * validation_split)
    print(
        f"{data.name}: {len(images)} training images ({put_aside} of them put aside for "
        f"validation), {len(data.test_images)} test images\n"
    )

    # ------------------------------------------------------------ the network
    model = reference_cnn(flags.seed)
    print(model.summary(), end="\n\n")

    # ------------------------------------------------------------ the training
    started = time.perf_counter()
    history = minicnn.fit(
        model,
        images,
        labels,
        optimiser=Adam(flags.lr),
        schedule=cosine,  # large steps first, small ones to settle
        epochs=epochs,
        batch_size=flags.batch_size,
        validation_split=validation_split,
        seed=flags.seed,
        threads=flags.threads,
    )
    train_seconds = time.perf_counter() - started
    print(f"\ntrained for {train_seconds:.1f} s on {flags.threads} threads")

    # ------------------------------------------------------------ the test, once, at the end
    test = minicnn.evaluate(model, data.test_images, data.test_labels, threads=flags.threads)
    print(f"test accuracy {test.accuracy:.2%} ({test.correct} of {test.total})")

    if flags.results:
        results = {
            "dataset": data.name,
            "train_images": len(images),
            "validation_images": put_aside,
            "test_images": test.total,
            "test_accuracy": test.accuracy,
            "train_seconds": train_seconds,
            "epochs": epochs,
            "batch_size": flags.batch_size,
            "learning_rate": flags.lr,
            "seed": flags.seed,
            "threads": flags.threads,
            "parameters": model.parameters.size,
            "weights_sha256": hashlib.sha256(model.parameters.tobytes()).hexdigest(),
            "history": history,
        }
        write_json(flags.results, results)
        print(f"results written to {flags.results}")


def main(argv: list[str] | None = None) -> int:
    flags = parse_flags(argv)
    try:
        train(flags)
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C; nothing was saved", file=sys.stderr)
        return 130
    except (OSError, TypeError, ValueError, ArithmeticError) as error:
        print(f"train_mnist.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
