"""Recipes: networks, and how each is trained to read digits as well as it can.

    python examples/train_mnist.py --recipe ten_epochs

A recipe is a function from training images and their labels to a trained model. What decides how
accurate the model becomes stands in it. Whoever calls adds how it is run: ``seed``, ``threads``,
``progress``, ``checkpoint``, ``resume``, as in `minicnn.fit`; what the caller says goes before the
recipe. All images given are learned from.

What stands here was chosen on parts of the training set that were put aside
(``benchmarks/accuracy.py --split``, ``benchmarks/ablation.py``), never on the test set.
"""

import warnings
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

import minicnn
from minicnn import (
    Adam,
    Augment,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Ensemble,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    TestTimeAugmentation,
)
from minicnn.model.classifier import Classifier
from minicnn.shapes import IntArray

Images = NDArray[Any]

# Fewer images than this are seen more often.
FEW = 10_000


def network(layers: list[Layer], seed: int) -> Sequential:
    """Assemble a network for digits."""
    return Sequential(layers, input_shape=(28, 28, 1), class_names="0123456789", seed=seed)


def networks_of(model: Classifier) -> list[Sequential]:
    """Return the networks that a recipe has trained: one, or those that vote."""
    if isinstance(model, TestTimeAugmentation):
        return networks_of(model.model)
    members = model.models if isinstance(model, Ensemble) else [model]
    return [member for member in members if isinstance(member, Sequential)]


def train(
    layers: list[Layer], images: Images, labels: IntArray, run: dict[str, Any], **recipe: Any
) -> Sequential:
    """Assemble a network and train it on all images.

    Small second moments (β2 = 0.99) let Adam follow what changes within one epoch.
    """
    settings = {
        "seed": 0, "weight_decay": 0.0, "batch_norm": True, "dropout": 0.0, **recipe, **run
    }  # fmt: skip
    rate, decay = settings.pop("learning_rate"), settings.pop("weight_decay")
    if not settings.pop("batch_norm"):  # to see what it is worth
        layers = [layer for layer in layers if not isinstance(layer, BatchNorm)]
        for layer in layers:
            if isinstance(layer, Conv2D | Dense):
                layer.bias = True  # where the norm had one
    dropout = settings.pop("dropout")
    if dropout:
        layers = [*layers[:-1], Dropout(dropout), layers[-1]]
    model = network(layers, settings["seed"])
    optimizer = Adam(rate, beta2=0.99, weight_decay=decay)
    minicnn.fit(
        model,
        images,
        labels,
        **{"optimizer": optimizer, "schedule": warm_up, "validation_split": 0.0, **settings},
    )
    return model


def warm_up(progress: float) -> float:
    """Let the learning rate rise evenly over the first quarter, and fall evenly to 0 from there."""
    return max(4 * progress, 0.04) if progress < 0.25 else (1 - progress) / 0.75


def other_hands() -> Augment:
    """Return what other hands do to a digit: they turn, move, slant, size and bend it a little."""
    return Augment(rotation=10.0, shift=1.5, shear=10.0, zoom=0.1, elastic=0.6)


def moved_a_little() -> Augment:
    """Return what makes a digit new without making it another hand's: less than `other_hands`."""
    return Augment(rotation=8.0, shift=1.0, shear=6.0, zoom=0.08)


# ---------------------------------------------------------------- plain networks


def reference_layers() -> list[Layer]:
    """Return two rounds of convolution and pooling, then two dense layers."""
    return [
        Conv2D(32, 3, bias=False),  # 28×28×1 -> 26×26×32: 32 detectors of strokes
        MaxPool2D(2),  # -> 13×13×32: the strongest answer in each 2×2 square
        BatchNorm(),
        ReLU(),
        Conv2D(64, 3, bias=False),  # -> 11×11×64: 64 detectors of combinations of strokes
        MaxPool2D(2),  # -> 5×5×64
        BatchNorm(),
        ReLU(),
        Flatten(),  # -> 1600 numbers
        Dense(128, bias=False),
        BatchNorm(),
        ReLU(),
        Dense(10),  # one number for each digit: the larger, the likelier
    ]


def pooled(filters: int) -> list[Layer]:
    """Return a convolution and what follows it where its output is halved.

    A batch norm stands behind the pool rather than before it: it has a quarter of the work, and
    convolution and pool stay one kernel. It has a bias, so the convolution needs none.
    """
    return [Conv2D(filters, 3, bias=False), MaxPool2D(2), BatchNorm(), ReLU()]


def plain_layers() -> list[Layer]:
    """Return two pairs of convolutions, a fifth, and two dense layers."""
    return [
        Conv2D(32, 3),  # 28×28×1 -> 26×26×32
        ReLU(),
        *pooled(32),  # -> 24×24×32 -> 12×12×32
        Conv2D(64, 3),  # -> 10×10×64
        ReLU(),
        *pooled(64),  # -> 8×8×64 -> 4×4×64
        Conv2D(128, 3, bias=False),  # -> 2×2×128
        BatchNorm(),
        ReLU(),
        Flatten(),  # -> 512 numbers
        Dense(128, bias=False),
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
    return train(plain_layers(), images, labels, run, **in_ten_epochs())


def in_ten_epochs() -> dict[str, Any]:
    """Return how `ten_epochs` and the networks that are compared with it are trained."""
    return {
        "learning_rate": 0.004,
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "augment": moved_a_little(),
        "epochs": 10,
        "batch_size": 64,
    }


def nine_views(images: Images, labels: IntArray, **run: Any) -> TestTimeAugmentation:
    """Train the network of `ten_epochs`, and let it look at each image nine times."""
    return in_views(ten_epochs(images, labels, **run))


def in_views(model: Classifier) -> TestTimeAugmentation:
    """Let a model look at an image as it is, and moved as far as `moved_a_little` has taught it."""
    return TestTimeAugmentation(model, shift=1.0, rotation=8.0, zoom=0.08)


def ensemble(
    images: Images, labels: IntArray, *, seed: int = 0, **run: Any
) -> TestTimeAugmentation:
    """Let five networks of `ten_epochs` vote, which differ in nothing but their seeds."""
    return in_views(
        Ensemble([ten_epochs(images, labels, seed=5 * seed + number, **run) for number in range(5)])
    )


def tiny(images: Images, labels: IntArray, **run: Any) -> Sequential:
    """Do with fewer than 5,000 parameters: filter each channel by itself, then mix the channels."""

    def separable(filters: int) -> list[Layer]:
        filtered = DepthwiseConv2D(3, padding=1, bias=False)
        return [filtered, Conv2D(filters, 1, bias=False), BatchNorm(), ReLU()]

    layers = [
        *pooled(16),  # 28×28×1 -> 26×26×16 -> 13×13×16
        *separable(30),  # -> 13×13×30
        *separable(30),
        MaxPool2D(2),  # -> 6×6×30
        *separable(30),
        *separable(30),
        GlobalAvgPool2D(),  # -> 30 numbers
        Dense(10),
    ]
    return train(
        layers,
        images,
        labels,
        run,
        learning_rate=0.01,
        augment=moved_a_little(),
        epochs=40,
        batch_size=64,
    )


def fashion(images: Images, labels: IntArray, **run: Any) -> Sequential:
    """Train a network on Fashion-MNIST that keeps the edges of the images: clothes reach them."""

    def normed(filters: int) -> list[Layer]:
        return [Conv2D(filters, 3, padding=1, bias=False), BatchNorm(), ReLU()]

    def halved(filters: int) -> list[Layer]:
        return [Conv2D(filters, 3, padding=1, bias=False), MaxPool2D(2), BatchNorm(), ReLU()]

    layers = [
        *normed(32),  # 28×28×1 -> 28×28×32
        *halved(32),  # -> 14×14×32
        *normed(64),
        *halved(64),  # -> 7×7×64
        *normed(128),
        *halved(128),  # -> 3×3×128
        Flatten(),  # -> 1152 numbers
        Dense(256, bias=False),
        BatchNorm(),
        ReLU(),
        Dense(10),
    ]
    return train(
        layers,
        images,
        labels,
        run,
        learning_rate=0.005,
        weight_decay=0.02,
        label_smoothing=0.1,
        augment=mirrored(),
        epochs=5,
        batch_size=64,
    )


def mirrored() -> Augment:
    """Return what may be done to clothes: a mirrored shirt is a shirt, unlike a digit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Augment(horizontal_flip=True)


# ---------------------------------------------------------------- networks with branches


def resnet(images: Images, labels: IntArray, **run: Any) -> Sequential:
    """Train a small residual network as `ten_epochs` trains a plain one."""

    def block(filters: int) -> list[Layer]:
        inner = [Conv2D(filters, 3, padding=1, bias=False), BatchNorm(), ReLU()]
        return [Residual([*inner, Conv2D(filters, 3, padding=1, bias=False), BatchNorm()]), ReLU()]

    layers = [
        *pooled(32),  # 28×28×1 -> 13×13×32
        *block(32),
        *pooled(64),  # -> 5×5×64
        *block(64),
        *block(64),
        Conv2D(128, 3, bias=False),  # -> 3×3×128
        BatchNorm(),
        ReLU(),
        Flatten(),
        Dense(10),
    ]
    return train(layers, images, labels, run, **in_ten_epochs())


def densenet(images: Images, labels: IntArray, **run: Any) -> Sequential:
    """Train a small densely connected network as `ten_epochs` trains a plain one."""

    def grown(channels: int = 16) -> Layer:
        return Concat([[], [Conv2D(channels, 3, padding=1, bias=False), BatchNorm(), ReLU()]])

    layers = [
        *pooled(32),  # 28×28×1 -> 13×13×32
        *[grown() for _ in range(3)],  # -> 13×13×80
        *pooled(64),  # -> 5×5×64
        *[grown() for _ in range(3)],  # -> 5×5×112
        Conv2D(128, 3, bias=False),  # -> 3×3×128
        BatchNorm(),
        ReLU(),
        Flatten(),
        Dense(10),
    ]
    return train(layers, images, labels, run, **in_ten_epochs())


RECIPES: dict[str, Callable[..., Classifier]] = {
    recipe.__name__: recipe
    for recipe in (
        reference,
        one_epoch,
        ten_epochs,
        nine_views,
        ensemble,
        tiny,
        resnet,
        densenet,
        fashion,
    )
}
# Where a model is more than a network that reads an image once: the recipe of such a network.
MADE_OF = {"nine_views": "ten_epochs", "ensemble": "ten_epochs"}
