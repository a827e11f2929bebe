"""Recipes: networks and training settings for the best accuracy on digits.

    python examples/train.py --recipe ten_epochs

A recipe is a function of training images and labels that returns a trained model. It fixes every
setting that affects accuracy. The caller's keyword arguments (``seed``, ``threads``, ``progress``,
``checkpoint``, ``resume``; see `minicnn.fit`) override the recipe's. A recipe trains on all images.

Settings were chosen on parts of the training set (``benchmarks/accuracy.py --split``,
``benchmarks/ablation.py``), never on the test set.
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
    Classifier,
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
from minicnn.optim import warmup_linear

Images = NDArray[Any]
Labels = NDArray[Any]

SMALL_DATA = 10_000  # fewer training images need more epochs


def network(layers: list[Layer], seed: int) -> Sequential:
    """Build a network for ten classes of 28×28 images."""
    return Sequential(layers, input_shape=(28, 28, 1), class_names="0123456789", seed=seed)


def networks_of(model: Classifier) -> list[Sequential]:
    """Return the network of a model, or the members of an ensemble."""
    if isinstance(model, TestTimeAugmentation):
        return networks_of(model.model)
    members = model.models if isinstance(model, Ensemble) else [model]
    return [member for member in members if isinstance(member, Sequential)]


def train(
    layers: list[Layer], images: Images, labels: Labels, run: dict[str, Any], **recipe: Any
) -> Sequential:
    """Build a network and train it on all images.

    `recipe` and `run` are arguments of `minicnn.fit`, and of the ablation: ``batch_norm=False``
    removes the batch norms, ``dropout`` adds a dropout layer before the last layer.
    """
    settings = {
        "seed": 0, "weight_decay": 0.0, "batch_norm": True, "dropout": 0.0, **recipe, **run
    }  # fmt: skip
    rate, decay = settings.pop("learning_rate"), settings.pop("weight_decay")
    if not settings.pop("batch_norm"):
        layers = [layer for layer in layers if not isinstance(layer, BatchNorm)]
        for layer in layers:
            if isinstance(layer, Conv2D | Dense):
                layer.bias = True  # the batch norm's bias is gone
    dropout = settings.pop("dropout")
    if dropout:
        layers = [*layers[:-1], Dropout(dropout), layers[-1]]
    model = network(layers, settings["seed"])
    # β2 = 0.99 instead of 0.999: the second moments follow changes within one epoch.
    optimizer = Adam(rate, beta2=0.99, weight_decay=decay)
    minicnn.fit(
        model,
        images,
        labels,
        **{"optimizer": optimizer, "schedule": warmup_linear, "validation_split": 0.0, **settings},
    )
    return model


def digit_augmentation() -> Augment:
    """Return rotation, shift, shear, zoom and elastic distortion."""
    return Augment(rotation=10.0, shift=1.5, shear=10.0, zoom=0.1, elastic=0.6)


def light_augmentation() -> Augment:
    """Return weaker rotation, shift, shear and zoom."""
    return Augment(rotation=8.0, shift=1.0, shear=6.0, zoom=0.08)


# ---------------------------------------------------------------- plain networks


def reference_layers() -> list[Layer]:
    """Return two convolution blocks and two dense layers."""
    return [
        Conv2D(32, 3, bias=False),  # 28×28×1 -> 26×26×32: 32 stroke detectors
        MaxPool2D(2),  # -> 13×13×32
        BatchNorm(),
        ReLU(),
        Conv2D(64, 3, bias=False),  # -> 11×11×64: 64 detectors of stroke combinations
        MaxPool2D(2),  # -> 5×5×64
        BatchNorm(),
        ReLU(),
        Flatten(),  # -> 1600
        Dense(128, bias=False),
        BatchNorm(),
        ReLU(),
        Dense(10),  # one logit per digit
    ]


def pooled(filters: int) -> list[Layer]:
    """Return a convolution, a 2×2 max-pool, a batch norm and a ReLU."""
    # After the pool the batch norm has a quarter of the work, and convolution and pool stay one
    # kernel. Its bias replaces the convolution's.
    return [Conv2D(filters, 3, bias=False), MaxPool2D(2), BatchNorm(), ReLU()]


def plain_layers() -> list[Layer]:
    """Return five convolutions and two dense layers."""
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
        Flatten(),  # -> 512
        Dense(128, bias=False),
        BatchNorm(),
        ReLU(),
        Dense(10),
    ]


def reference(images: Images, labels: Labels, **run: Any) -> Sequential:
    """Train the reference CNN: a good accuracy in the shortest time."""
    return train(
        reference_layers(),
        images,
        labels,
        run,
        learning_rate=0.004,
        weight_decay=0.01,
        label_smoothing=0.1,
        augment=digit_augmentation(),
        epochs=5 if len(images) >= SMALL_DATA else 60,
        batch_size=64,
    )


def reference_cnn(seed: int) -> Sequential:
    """Return the untrained network of `reference`."""
    return network(reference_layers(), seed)


def one_epoch(images: Images, labels: Labels, **run: Any) -> Sequential:
    """Train for one epoch, without augmentation, which costs accuracy there."""
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


def ten_epochs(images: Images, labels: Labels, **run: Any) -> Sequential:
    """Train for ten epochs with light augmentation."""
    return train(plain_layers(), images, labels, run, **ten_epoch_settings())


def ten_epoch_settings() -> dict[str, Any]:
    """Return the settings of `ten_epochs`, `resnet` and `densenet`."""
    return {
        "learning_rate": 0.004,
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "augment": light_augmentation(),
        "epochs": 10,
        "batch_size": 64,
    }


def ten_epochs_tta(images: Images, labels: Labels, **run: Any) -> TestTimeAugmentation:
    """Train `ten_epochs` and average nine views of each image."""
    return with_tta(ten_epochs(images, labels, **run))


def with_tta(model: Classifier) -> TestTimeAugmentation:
    """Add test-time augmentation within the range of `light_augmentation`."""
    return TestTimeAugmentation(model, shift=1.0, rotation=8.0, zoom=0.08)


def ensemble(images: Images, labels: Labels, *, seed: int = 0, **run: Any) -> TestTimeAugmentation:
    """Train an ensemble of five `ten_epochs` networks with different seeds."""
    return with_tta(
        Ensemble([ten_epochs(images, labels, seed=5 * seed + member, **run) for member in range(5)])
    )


def tiny(images: Images, labels: Labels, **run: Any) -> Sequential:
    """Train fewer than 5,000 parameters: depthwise separable convolutions."""

    def separable(filters: int) -> list[Layer]:
        depthwise = DepthwiseConv2D(3, padding=1, bias=False)
        return [depthwise, Conv2D(filters, 1, bias=False), BatchNorm(), ReLU()]

    layers = [
        *pooled(16),  # 28×28×1 -> 26×26×16 -> 13×13×16
        *separable(30),  # -> 13×13×30
        *separable(30),
        MaxPool2D(2),  # -> 6×6×30
        *separable(30),
        *separable(30),
        GlobalAvgPool2D(),  # -> 30
        Dense(10),
    ]
    return train(
        layers,
        images,
        labels,
        run,
        learning_rate=0.01,
        augment=light_augmentation(),
        epochs=40,
        batch_size=64,
    )


def fashion(images: Images, labels: Labels, **run: Any) -> Sequential:
    """Train on Fashion-MNIST; padded, because clothes reach the image border."""

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
        Flatten(),  # -> 1152
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
        augment=flip_augmentation(),
        epochs=5,
        batch_size=64,
    )


def flip_augmentation() -> Augment:
    """Return horizontal flips, which keep the class of clothes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Augment(horizontal_flip=True)


# ---------------------------------------------------------------- networks with branches


def resnet(images: Images, labels: Labels, **run: Any) -> Sequential:
    """Train a small ResNet with the settings of `ten_epochs`."""

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
    return train(layers, images, labels, run, **ten_epoch_settings())


def densenet(images: Images, labels: Labels, **run: Any) -> Sequential:
    """Train a small DenseNet with the settings of `ten_epochs`."""

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
    return train(layers, images, labels, run, **ten_epoch_settings())


RECIPES: dict[str, Callable[..., Classifier]] = {
    recipe.__name__: recipe
    for recipe in (
        reference,
        one_epoch,
        ten_epochs,
        ten_epochs_tta,
        ensemble,
        tiny,
        resnet,
        densenet,
        fashion,
    )
}
# Recipes of several networks or views, and the recipe that trains one of the networks.
MEMBER_RECIPE = {"ten_epochs_tta": "ten_epochs", "ensemble": "ten_epochs"}
