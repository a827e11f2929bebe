"""Check every layer's hand-written gradient by central differences.

    python examples/check_gradients.py           # a table; exit code 1 if a gradient is wrong
    python examples/check_gradients.py --break   # plant errors; exit code 1 if one is missed

Layers are found, not listed: every layer class is checked with its `example`.
"""

import argparse
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from console import Help, run_script

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
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
)
from minicnn.gradcheck import (
    GradientCheck,
    away_from_kinks,
    check_gradients,
    check_layer,
    format_report,
)
from minicnn.layers.base import layer_classes, make_example
from minicnn.random import RandomKey
from minicnn.shapes import Array

BATCH = 2

# More variants than the `example` of each layer class, each with the shape of its input. Containers
# compute their branches in fused steps, so they check the fused ops too.
VARIANTS: list[tuple[Layer, tuple[int, ...]]] = [
    (Conv2D(3, (3, 2), stride=(2, 1), padding=(1, 2)), (7, 5, 2)),
    (Conv2D(2, 4, stride=3, padding="same"), (5, 8, 2)),
    (Conv2D(3, 3, padding=1, backend="winograd"), (5, 4, 2)),
    (Conv2D(2, 3, backend="im2col"), (4, 5, 2)),
    (Conv2D(2, 2, backend="reference"), (4, 3, 2)),
    (Conv2D(3, 2, bias=False), (4, 3, 2)),
    (DepthwiseConv2D((3, 2), stride=(2, 1), padding=(1, 2)), (7, 5, 9)),
    (DepthwiseConv2D(2, stride=3, padding="same", bias=False), (5, 8, 2)),
    (MaxPool2D((3, 2), stride=(1, 2), padding=1), (5, 6, 2)),
    (Dense(5, bias=False), (7,)),
    (AvgPool2D((3, 2), stride=(1, 2), padding=1), (5, 6, 2)),
    (BatchNorm(epsilon=0.5), (5,)),
    (Residual([Conv2D(4, 3, padding=1)], shortcut=[BatchNorm(), Conv2D(4, 1)]), (3, 4, 2)),
    (Concat([[], [Conv2D(3, 3, padding=1), Dropout(0.3)]]), (3, 4, 2)),
    (Concat([[Residual([Dense(6)]), ReLU()], [Dense(2)]]), (6,)),
    (Concat([[Conv2D(3, 3), ReLU(), MaxPool2D(2)]]), (6, 6, 2)),
    (Concat([[Conv2D(9, (2, 3), stride=(2, 1), padding=1), MaxPool2D(2)]]), (6, 5, 3)),
    (Concat([[Conv2D(3, (3, 2)), ReLU()]]), (5, 4, 2)),
    (Concat([[Dense(5), ReLU()]]), (7,)),
    (Concat([[BatchNorm(), ReLU()]]), (3, 4, 2)),
]

# A function from a gradient to a slightly wrong one.
Damage = Callable[[Array], Array]


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
    "shifted by one element": shifted,
}


def library_layers() -> list[tuple[Layer, tuple[int, ...]]]:
    """Return the example of every library layer, with its input shape."""
    classes = [cls for cls in layer_classes() if cls.__module__.startswith("minicnn.")]
    return [make_example(cls) for cls in classes]


def spoil(layer: Layer, argument: str, damage: Damage) -> None:
    """Make a layer return a wrong gradient of one argument."""
    backward = layer.backward

    def wrong(dy: Array, cache: Any) -> tuple[Array, dict[str, Array]]:
        dx, gradients = backward(dy, cache)
        found = gradients if dx is None else {"x": dx, **gradients}
        found[argument] = damage(found[argument])
        return found.pop("x"), found

    vars(layer)["backward"] = wrong


def check_loss() -> list[GradientCheck]:
    """Check softmax, and the loss on class indices and probabilities."""
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
    """Check the gradients of a network's images and flat parameters."""
    rng = np.random.default_rng(3)
    model = Sequential(
        [Conv2D(3, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(6), ReLU(), Dense(10)],
        input_shape=(8, 8, 1),
        dtype=np.float64,
    )

    def forward(images: Array, parameters: Array) -> tuple[Array, Any]:
        model.parameters[...] = parameters
        return model.forward(images, key=RandomKey(0, 0, np.arange(BATCH)))

    def backward(dy: Array, caches: Any) -> dict[str, Array]:
        dx, gradients = model.backward(dy, caches, need_dx=True)
        found = {} if dx is None else {"images": dx}
        return found | {"parameters": gradients}

    images = away_from_kinks(rng, (BATCH, 8, 8, 1))
    arguments = {"images": images, "parameters": model.parameters.copy()}
    return check_gradients("a whole network", forward, backward, arguments, rng)


def plant_errors() -> int:
    """Damage every gradient in each way; return the number of misses."""
    missed = 0
    for layer, input_shape in library_layers():
        for argument in [check.argument for check in check_layer(layer, input_shape)]:
            for name, damage in DAMAGES.items():
                wrong = deepcopy(layer)
                spoil(wrong, argument, damage)
                checks = check_layer(wrong, input_shape)
                failed = [check for check in checks if not check.passed]
                caught = [check.argument for check in failed] == [argument]
                missed += not caught
                print(
                    f"\nplanted: d{argument} of {layer} {name}: {'caught' if caught else 'MISSED'}"
                )
                print(format_report(failed))
    return missed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Check every hand-written gradient of minicnn.", formatter_class=Help
    )
    parser.add_argument(
        "--break", dest="plant", action="store_true", help="plant errors to see them caught"
    )
    options = parser.parse_args(argv)

    if options.plant:
        missed = plant_errors()
        print(
            f"\n{missed} planted errors were missed" if missed else "\nevery planted error caught"
        )
        return 1 if missed else 0

    checks = [
        check
        for layer, input_shape in library_layers() + VARIANTS
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
    run_script(main)
