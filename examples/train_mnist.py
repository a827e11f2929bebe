"""Train a convolutional network on MNIST and test it.

    python examples/train_mnist.py
    python examples/train_mnist.py --augment --epochs 10 --save model.npz

MNIST is downloaded once. Without a connection, the 5,000 digits of the package replace it.
``examples/train.py`` adds recipes, schedules, checkpoints, diagnosis and figures.
"""

import argparse
import hashlib
import json
import time

from console import Help, run_script
from files import check_distinct, writable, writable_npz, write_file

import minicnn
from minicnn import Adam, Augment, BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential
from minicnn.optim import warmup_linear


def network(seed: int) -> Sequential:
    """Build the network: two convolution blocks, a hidden layer, ten logits."""
    layers = [
        # Each batch norm has a bias, so the layer before it needs none.
        Conv2D(32, 3, bias=False), MaxPool2D(2), BatchNorm(), ReLU(),  # 28×28×1 -> 13×13×32
        Conv2D(64, 3, bias=False), MaxPool2D(2), BatchNorm(), ReLU(),  # -> 5×5×64
        Flatten(),  # -> 1600
        Dense(128, bias=False), BatchNorm(), ReLU(),  # -> 128
        Dense(10),  # -> 10, one logit per digit
    ]  # fmt: skip
    return Sequential(layers, input_shape=(28, 28, 1), class_names="0123456789", seed=seed)


def load_data(folder: str | None) -> minicnn.ImageDataset:
    """Load MNIST, or the sample in the package when MNIST is unavailable."""
    try:
        return minicnn.load_mnist(folder)
    except minicnn.MnistUnavailableError as error:
        print(f"{error}\n\nNOTE: using the 5,000 digits that come with minicnn instead of 70,000.")
        print("Connect to the internet once, or name a folder with the files: --data-dir FOLDER\n")
        return minicnn.load_mnist_sample()


def train(data: minicnn.ImageDataset, flags: argparse.Namespace) -> Sequential:
    """Train the network and print the loss of each epoch."""
    images, labels = data.train_images[: flags.limit], data.train_labels[: flags.limit]
    augment = Augment(rotation=10.0, shift=1.5, shear=10.0, zoom=0.1, elastic=0.6)
    small = len(images) < 10_000  # small data needs more epochs, and all images for training
    model = network(flags.seed)
    print(f"{data.name}: {len(images)} training images\n\n{model.summary()}\n")
    minicnn.fit(
        model, images, labels,
        epochs=(60 if small else 5) if flags.epochs is None else flags.epochs,
        batch_size=flags.batch_size,
        # β2 = 0.99 instead of 0.999: the second moments follow changes within one epoch.
        optimizer=Adam(flags.lr, beta2=0.99, weight_decay=0.01), schedule=warmup_linear,
        label_smoothing=0.1,
        augment=Augment.digits() if flags.augment else augment,
        validation_split=0.0 if small else 0.1,
        seed=flags.seed, threads=flags.threads,
    )  # fmt: skip
    return model


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a CNN on MNIST.", formatter_class=Help)
    add = parser.add_argument
    add("--data-dir", help="folder with the four MNIST files (default: download them once)")
    add("--epochs", type=int, help="passes (default: 5, or 60 with fewer than 10,000 images)")
    add("--batch-size", type=int, default=64, help="images per step")
    add("--lr", type=float, default=0.004, help="learning rate")
    add("--seed", type=int, default=0, help="seed of everything random")
    add("--threads", type=int, default=minicnn.cpu_count(), help="worker threads, one per core")
    add("--limit", type=int, help="use the first N training images (default: all)")
    add("--augment", action="store_true", help="use every augmentation for digits")
    add("--save", type=writable_npz, help="write the model to this .npz file")
    add("--results", type=writable, help="write metrics and history to this .json file")
    flags = parser.parse_args(argv)
    check_distinct(parser, {"--save": flags.save, "--results": flags.results})
    try:
        data, started = load_data(flags.data_dir), time.perf_counter()
        model = train(data, flags)
    except (OSError, TypeError, ValueError, ArithmeticError) as error:
        parser.error(str(error))
    except KeyboardInterrupt as stop:
        raise type(stop)("nothing was saved") from None
    seconds = time.perf_counter() - started
    result = minicnn.evaluate(model, data.test_images, data.test_labels, threads=flags.threads)
    sha256 = hashlib.sha256(model.parameters.tobytes()).hexdigest()
    model.metadata |= {"recipe": "reference", "dataset": data.name, "threads": flags.threads}
    model.metadata |= {"test_images": result.total, "test_accuracy": result.accuracy}
    model.metadata |= {"parameters": model.parameters.size, "train_seconds": seconds}
    model.metadata |= {"weights_sha256": sha256}
    if flags.save:
        model.save(flags.save)
    if flags.results:
        write_file(flags.results, f"{json.dumps(model.metadata, indent=2)}\n")
    print(f"\nmodel saved to {flags.save}\n" if flags.save else "")
    print(f"trained for {seconds:.1f} s on {flags.threads} threads")
    print(f"test accuracy {result.accuracy:.2%} ({result.correct} of {result.total})")


if __name__ == "__main__":
    run_script(main)
