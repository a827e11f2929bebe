"""What is wrong with a network whose loss is infinite or NaN, and where it began."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.layers.container import Container
from minicnn.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.model.sequential import Sequential
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, IntArray

ADVICE = (
    "The usual cause is a learning rate that is too high (try a tenth of it); others are first "
    "weights that are too large, or inputs far outside 0..1"
)


class NonFiniteError(ArithmeticError):
    """Training met an infinite or NaN loss or gradient. The weights are those before the step."""


def find_non_finite(
    model: Sequential,
    shards: Iterable[tuple[NDArray[Any], IntArray, RandomKey | None]],
    label_smoothing: float = 0.0,
) -> str:
    """Run the shards of a batch through a model and say where the first infinity or NaN arises.

    Parameters
    ----------
    model : Sequential
    shards : iterable
        Of each the images (N, H, W, C), as in `Sequential.preprocess`, the labels (N,) and the
        draws, which may be None where no layer is random.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.

    Returns
    -------
    str
        One sentence that names the layer, forward before backward, and one of advice.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        places = (
            _first_place(model, model.preprocess(images), labels, draws, label_smoothing)
            for images, labels, draws in shards
        )
        found = next((place for place in places if place), None)
    place = found or "no layer on its own, only the sum over the batch,"
    return f"{place} holds infinity or NaN. {ADVICE}."


def _first_place(
    model: Sequential,
    x: FloatArray,
    labels: IntArray,
    draws: RandomKey | None,
    label_smoothing: float,
) -> str | None:
    names = [f"layer {number} ({layer})" for number, layer in enumerate(model.layers, start=1)]
    caches = []
    for position, (name, layer) in enumerate(zip(names, model.layers, strict=True)):
        for parameter, array in layer.parameters.items():
            if not np.isfinite(array).all():
                return f"the {parameter} of {name}"
        own = None if draws is None else draws.fold_in(position)
        y, cache = layer.forward(x, training=True, draws=own)
        caches.append(cache)
        if not np.isfinite(y).all():
            inside = _first_inside(layer, x, own) if isinstance(layer, Container) else None
            return f"the output of {inside or name}"
        x = y
    loss, loss_cache = softmax_cross_entropy(x, labels, label_smoothing=label_smoothing)
    if not np.isfinite(loss):
        return "the loss, though the logits are finite (they lie too far apart): it"
    dy: FloatArray | None = softmax_cross_entropy_backward(1.0, loss_cache)
    for name, layer, cache in reversed(list(zip(names, model.layers, caches, strict=True))):
        dy, gradients = layer.backward(dy, cache)
        for argument, array in {"x": dy, **gradients}.items():
            if not np.isfinite(array).all():
                return f"the gradient d{argument} of {name}"
    return None


def _first_inside(container: Container, x: FloatArray, draws: RandomKey | None) -> str | None:
    """Return the first layer inside a container whose output is not finite, if there is one."""
    for branch, (prefix, chain) in enumerate(container.chains.items()):
        part = x
        for position, layer in enumerate(chain.layers):
            own = None if draws is None else draws.fold_in(branch).fold_in(position)
            y, _ = layer.forward(part, training=True, draws=own)
            if not np.isfinite(y).all():
                inside = _first_inside(layer, part, own) if isinstance(layer, Container) else None
                return inside or f"{layer}, which is {prefix}{position} inside {container}"
            part = y
    return None
