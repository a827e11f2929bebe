"""Recipes: networks, and how each is trained to read digits as well as it can.

    python examples/train_mnist.py --recipe ten_epochs

A recipe is a function from training images and their labels to a trained model. What decides how
accurate the model becomes stands in it. Whoever calls adds how it is run: ``seed``, ``threads``,
``progress``, ``checkpoint``, ``resume``, as in `minicnn.fit`; what the caller says goes before the
recipe. All images given are learned from.

What stands here was chosen on parts of the training set that were put aside
(``benchmarks/accuracy.py --split``, ``benchmarks/ablation.py``), never on the test set.
"""

from typing import Any

from numpy.typing import NDArray

import minicnn
from minicnn import (
    Adam,
    Augment,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
)
from minicnn.shapes import IntArray

Images = NDArray[Any]

# Fewer images than this are seen more often.
FEW = 10_000


def network(layers: list[Layer], seed: int) -> Sequential:
    """Assemble a network for digits."""
    return Sequential(layers, input_shape=(28, 28, 1), class_names="0123456789", seed=seed)


def train(
    layers: list[Layer], images: Images, labels: IntArray, run: dict[str, Any], **recipe: Any
) -> Sequential:
    """Assemble a network and train it on all images.

    Small second moments (β2 = 0.99) let Adam follow what changes within one epoch.
    """
    settings = {"seed": 0, "weight_decay": 0.0, "batch_norm": True, **recipe, **run}
    rate, decay = settings.pop("learning_rate"), settings.pop("weight_decay")
    if not settings.pop("batch_norm"):  # to see what it is worth
        layers = [layer for layer in layers if not isinstance(layer, BatchNorm)]
    model = network(layers, settings["seed"])
    optimiser = Adam(rate, beta2=0.99, weight_decay=decay)
    minicnn.fit(
        model,
        images,
        labels,
        **{"optimiser": optimiser, "schedule": warm_up, "validation_split": 0.0, **settings},
    )
    return model


def warm_up(progress: float) -> float:
    """Let the learning rate rise evenly over the first quarter, and fall evenly to 0 from there."""
    return max(4 * progress, 0.04) if progress < 0.25 else (1 - progress) / 0.75


def other_hands() -> Augment:
    """Return what other hands do to a digit: they turn, move, slant, size and bend it a little."""
    return Augment(rotation=10.0, shift=1.5, shear=10.0, zoom=0.1, elastic=0.6)


# ---------------------------------------------------------------- plain networks


def reference_layers() -> list[Layer]:
    """Return two rounds of convolution and pooling, then two dense layers.

    A batch norm stands behind the pool rather than before it: it has a quarter of the work, and
    convolution and pool stay one kernel.
    """
    return [
        Conv2D(32, 3),  # 28×28×1 -> 26×26×32: 32 detectors of strokes, each sees 3×3 pixels
        MaxPool2D(2),  # -> 13×13×32: the strongest answer in each 2×2 square
        BatchNorm(),
        ReLU(),
        Conv2D(64, 3),  # -> 11×11×64: 64 detectors of combinations of strokes
        MaxPool2D(2),  # -> 5×5×64
        BatchNorm(),
        ReLU(),
        Flatten(),  # -> 1600 numbers
        Dense(128),
        BatchNorm(),
        ReLU(),
        Dense(10),  # one number for each digit: the larger, the likelier
    ]


def plain_layers() -> list[Layer]:
    """Return two pairs of convolutions, a fifth, and two dense layers."""
    return [
        Conv2D(32, 3),  # 28×28×1 -> 26×26×32
        ReLU(),
        Conv2D(32, 3),  # -> 24×24×32
        MaxPool2D(2),  # -> 12×12×32
        BatchNorm(),
        ReLU(),
        Conv2D(64, 3),  # -> 10×10×64
        ReLU(),
        Conv2D(64, 3),  # -> 8×8×64
        MaxPool2D(2),  # -> 4×4×64
        BatchNorm(),
        ReLU(),
        Conv2D(128, 3),  # -> 2×2×128
        BatchNorm(),
        ReLU(),
        Flatten(),  # -> 512 numbers
        Dense(128),
        BatchNorm(),
        ReLU(),
        Dense(10),
    ]


def reference(images: Images, labels: IntArray, **run: Any) -> Sequential:
    """Train the smallest of the networks in the shortest time, for a good part of the accuracy."""
    return train(
        reference_layers(),
        images,
        labels,
        run,
        learning_rate=0.004,
        weight_decay=0.01,
        label_smoothing=0.1,
        augment=other_hands(),
        epochs=5 if len(images) >= FEW else 60,
        batch_size=64,
    )


def reference_cnn(seed: int) -> Sequential:
    """Return the network of `reference` as it is before it is trained."""
    return network(reference_layers(), seed)


def one_epoch(images: Images, labels: IntArray, **run: Any) -> Sequential:
    """See every image once, as it is: in one epoch variations cost more than they bring."""
    return train(
        plain_layers(),
        images,
        labels,
        run,
        learning_rate=0.005,
        label_smoothing=0.1,
        epochs=1,
        batch_size=64,
    )


def ten_epochs(images: Images, labels: IntArray, **run: Any) -> Sequential:
    """See every image ten times, each time varied."""
    return train(
        plain_layers(),
        images,
        labels,
        run,
        learning_rate=0.004,
        weight_decay=0.01,
        label_smoothing=0.1,
        augment=other_hands(),
        epochs=10,
        batch_size=64,
    )


RECIPES = {"reference": reference, "one_epoch": one_epoch, "ten_epochs": ten_epochs}
