"""Prove every layer's hand-written gradient by central differences.

    python examples/check_gradients.py           # a table; exit code 1 if a gradient is wrong
    python examples/check_gradients.py --break   # plant errors first, and see each one caught

Layers are found, not listed: one that is added to the library and has no case here is an error.
"""

import argparse
import sys
from collections.abc import Callable
from inspect import isabstract
from math import prod
from typing import Any

import numpy as np

import minicnn
from minicnn import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
)
from minicnn.gradcheck import Array, GradientCheck, away_from_kinks, check_gradients, format_report
from minicnn.layers.fusion import FusedConvPool, FusedConvReLU, FusedDenseReLU, FusedNormReLU
from minicnn.random import RandomKey

BATCH = 2

# For each layer: the variants to check, each with the shape of its input.
CASES: dict[type[Layer], list[tuple[Layer, tuple[int, ...]]]] = {
    Conv2D: [
        (Conv2D(4, 3), (6, 5, 3)),
        (Conv2D(3, (3, 2), stride=(2, 1), padding=(1, 2)), (7, 5, 2)),
        (Conv2D(2, 4, stride=3, padding="same"), (5, 8, 2)),
        (Conv2D(3, 3, padding=1, backend="winograd"), (5, 4, 2)),
        (Conv2D(2, 3, backend="im2col"), (4, 5, 2)),
        (Conv2D(2, 2, backend="reference"), (4, 3, 2)),
        (Conv2D(3, 2, bias=False), (4, 3, 2)),
    ],
    DepthwiseConv2D: [
        (DepthwiseConv2D(3), (6, 5, 3)),
        (DepthwiseConv2D((3, 2), stride=(2, 1), padding=(1, 2)), (7, 5, 9)),
        (DepthwiseConv2D(2, stride=3, padding="same", bias=False), (5, 8, 2)),
    ],
    MaxPool2D: [
        (MaxPool2D(2), (6, 4, 3)),
        (MaxPool2D((3, 2), stride=(1, 2), padding=1), (5, 6, 2)),
    ],
    Dense: [(Dense(5), (7,)), (Dense(5, bias=False), (7,))],
    AvgPool2D: [
        (AvgPool2D(2), (6, 4, 3)),
        (AvgPool2D((3, 2), stride=(1, 2), padding=1), (5, 6, 2)),
    ],
    GlobalAvgPool2D: [(GlobalAvgPool2D(), (4, 3, 2))],
    BatchNorm: [(BatchNorm(), (3, 2, 4)), (BatchNorm(epsilon=0.5), (5,))],
    Dropout: [(Dropout(0.4), (3, 4, 2))],
    Residual: [
        (Residual([Conv2D(2, 3, padding=1), ReLU()]), (3, 4, 2)),
        (Residual([Conv2D(4, 3, padding=1)], shortcut=[BatchNorm(), Conv2D(4, 1)]), (3, 4, 2)),
    ],
    Concat: [
        (Concat([[], [Conv2D(3, 3, padding=1), Dropout(0.3)]]), (3, 4, 2)),
        (Concat([[Residual([Dense(6)]), ReLU()], [Dense(2)]]), (6,)),
    ],
    FusedConvPool: [
        (FusedConvPool(Conv2D(3, 3), relu=True), (6, 6, 2)),
        (FusedConvPool(Conv2D(9, (2, 3), stride=(2, 1), padding=1), relu=False), (6, 5, 3)),
    ],
    FusedConvReLU: [(FusedConvReLU(Conv2D(3, (3, 2))), (5, 4, 2))],
    FusedDenseReLU: [(FusedDenseReLU(Dense(5)), (7,))],
    FusedNormReLU: [(FusedNormReLU(), (3, 4, 2))],
    ReLU: [(ReLU(), (4, 3, 2))],
    Flatten: [(Flatten(), (3, 4, 2))],
}

# A gradient in, a slightly wrong one out.
Damage = Callable[[Array], Array]


def no_damage(gradient: Array) -> Array:
    return gradient


def too_large(gradient: Array) -> Array:
    return gradient * 1.001


def one_dropped(gradient: Array) -> Array:
    wrong = gradient.copy()
    wrong.flat[np.abs(gradient).argmax()] = 0
    return wrong


def shifted(gradient: Array) -> Array:
    return np.roll(gradient, 1, axis=gradient.ndim - 1)


DAMAGES: dict[str, Damage] = {
    "0.1 % too large": too_large,
    "one element dropped": one_dropped,
    "shifted by one place": shifted,
}


def library_layers() -> list[type[Layer]]:
    """Return every layer class of the library that can be used, derived ones included."""
    found, waiting = [], Layer.__subclasses__()
    while waiting:
        cls = waiting.pop(0)
        waiting.extend(cls.__subclasses__())
        if cls.__module__.startswith("minicnn.") and not isabstract(cls):
            found.append(cls)
    return sorted(found, key=lambda cls: cls.__name__)


def check_layer(
    layer: Layer,
    input_shape: tuple[int, ...],
    damaged: str = "",
    damage: Damage = no_damage,
) -> list[GradientCheck]:
    """Check the gradient of the input and of each parameter; `damage` spoils that of `damaged`."""
    rng = np.random.default_rng(1)
    layer.build(input_shape, rng, np.float64)
    draws = RandomKey(seed=0, epoch=0, image_ids=np.arange(BATCH))
    values = {name: rng.standard_normal(p.shape) for name, p in layer.parameters.items()}

    def forward(x: Array, **parameters: Array) -> tuple[Array, Any]:
        layer.bind(parameters, layer.statistics)
        return layer.forward(x, training=True, draws=draws)

    def backward(dy: Array, cache: Any) -> dict[str, Array]:
        dx, gradients = layer.backward(dy, cache)
        found = {} if dx is None else {"x": dx}
        found |= gradients
        return {name: damage(g) if name == damaged else g for name, g in found.items()}

    shape = (BATCH, *input_shape)
    # values of more than ±50 would make the rounding of large layers too coarse to compare
    x = away_from_kinks(rng, shape, min(0.05, 100 / prod(shape)))
    return check_gradients(str(layer), forward, backward, {"x": x, **values}, rng)


def check_loss() -> list[GradientCheck]:
    """Check the loss on integer labels and on rows of probabilities, and softmax."""
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((4, 10))
    rows = rng.dirichlet(np.ones(10), 4)
    checks = []
    for name, labels in {"labels": np.array([3, 0, 9, 3]), "probabilities": rows}.items():
        checks += check_gradients(
            f"softmax_cross_entropy, {name}",
            lambda logits, labels=labels: minicnn.softmax_cross_entropy(logits, labels),
            lambda dloss, cache: {"logits": minicnn.softmax_cross_entropy_backward(dloss, cache)},
            {"logits": logits},
            rng,
        )
    return checks + check_gradients(
        "softmax",
        minicnn.ops.softmax,
        lambda dy, cache: {"logits": minicnn.ops.softmax_backward(dy, cache)},
        {"logits": logits},
        rng,
    )


def check_network() -> list[GradientCheck]:
    """Check a whole network end to end: its images, and all parameters as one vector."""
    rng = np.random.default_rng(3)
    model = Sequential(
        [Conv2D(3, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(6), ReLU(), Dense(10)],
        input_shape=(8, 8, 1),
        dtype=np.float64,
    )

    def forward(images: Array, parameters: Array) -> tuple[Array, Any]:
        model.parameters[...] = parameters
        return model.forward(images, training=True)

    def backward(dy: Array, caches: Any) -> dict[str, Array]:
        dx, gradients = model.backward(dy, caches, need_dx=True)
        found = {} if dx is None else {"images": dx}
        return found | {"parameters": gradients}

    images = away_from_kinks(rng, (BATCH, 8, 8, 1))
    arguments = {"images": images, "parameters": model.parameters.copy()}
    return check_gradients("a whole network", forward, backward, arguments, rng)


def plant_errors() -> int:
    """Spoil each gradient of each layer in each way; return how many were not caught."""
    missed = 0
    for cls in library_layers():
        layer, input_shape = CASES[cls][0]
        for argument in [check.argument for check in check_layer(layer, input_shape)]:
            for name, damage in DAMAGES.items():
                checks = check_layer(layer, input_shape, argument, damage)
                failed = [check for check in checks if not check.passed]
                caught = [check.argument for check in failed] == [argument]
                missed += not caught
                print(
                    f"\nplanted: d{argument} of {layer} {name}: {'caught' if caught else 'MISSED'}"
                )
                print(format_report(failed))
    return missed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check every hand-written gradient of minicnn.")
    parser.add_argument(
        "--break", dest="plant", action="store_true", help="plant errors to see them caught"
    )
    options = parser.parse_args(argv)

    unchecked = [cls.__name__ for cls in library_layers() if cls not in CASES]
    if unchecked:
        print(f"no gradient check for {', '.join(unchecked)}: add a case to CASES in this file")
        return 1
    if options.plant:
        missed = plant_errors()
        print(
            f"\n{missed} planted errors were missed" if missed else "\nevery planted error caught"
        )
        return 2 if missed else 1

    checks = [
        check
        for cls in library_layers()
        for layer, input_shape in CASES[cls]
        for check in check_layer(layer, input_shape)
    ]
    checks += check_loss() + check_network()
    print(format_report(checks))
    failed = sum(not check.passed for check in checks)
    worst = max(checks, key=lambda check: check.relative_error)
    print(
        f"\n{len(checks)} gradients checked in float64, {failed} wrong; largest relative error "
        f"{worst.relative_error:.1e} (d{worst.argument} of {worst.name}), "
        f"allowed {worst.tolerance:.0e}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
