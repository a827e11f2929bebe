"""Locate the layer where infinity or NaN first arises."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.layers.container import Container
from minicnn.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.model.sequential import Sequential
from minicnn.random import RandomKey
from minicnn.shapes import Array, IntArray

ADVICE = (
    "The usual cause is a learning rate that is too high (try a tenth of it); others are first "
    "weights that are too large, or inputs far outside 0..1"
)


class NonFiniteError(ArithmeticError):
    """Infinite or NaN loss or gradient; weights are those before the step."""


def find_non_finite(
    model: Sequential,
    microbatches: Iterable[tuple[NDArray[Any], IntArray, RandomKey]],
    label_smoothing: float = 0.0,
) -> str:
    """Name the first layer with infinity or NaN in a batch.

    Parameters
    ----------
    model : Sequential
    microbatches : iterable of (images, labels, key)
        Images (N, H, W, C) as in `Sequential.preprocess`, labels (N,), and a `RandomKey`.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.

    Returns
    -------
    str
        One sentence that names the layer, forward before backward, and one of advice.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        culprits = (
            _first_in_step(model, model.preprocess(images), labels, key, label_smoothing)
            for images, labels, key in microbatches
        )
        culprit = next((culprit for culprit in culprits if culprit), None)
    culprit = culprit or "no layer on its own, only the sum over the batch,"
    return f"{culprit} holds infinity or NaN. {ADVICE}."


def _first_in_step(
    model: Sequential, x: Array, labels: IntArray, key: RandomKey, label_smoothing: float
) -> str | None:
    """Name the first non-finite array of a step, or return None."""
    names = [f"layer {number} ({layer})" for number, layer in enumerate(model.layers, start=1)]
    caches = []
    for position, (name, layer) in enumerate(zip(names, model.layers, strict=True)):
        for parameter, array in layer.parameters.items():
            if not np.isfinite(array).all():
                return f"the {parameter} of {name}"
        own = key.fold_in(position)
        y, cache = layer.forward(x, key=own)
        caches.append(cache)
        if not np.isfinite(y).all():
            inside = _first_inside(layer, x, own) if isinstance(layer, Container) else None
            return f"the output of {inside or name}"
        x = y
    loss, loss_cache = softmax_cross_entropy(x, labels, label_smoothing=label_smoothing)
    if not np.isfinite(loss):
        return "the loss, though the logits are finite (they lie too far apart): it"
    dy: Array | None = softmax_cross_entropy_backward(1.0, loss_cache)
    for name, layer, cache in reversed(list(zip(names, model.layers, caches, strict=True))):
        dy, gradients = layer.backward(dy, cache)
        for argument, array in {"x": dy, **gradients}.items():
            if not np.isfinite(array).all():
                return f"the gradient d{argument} of {name}"
    return None


def _first_inside(container: Container, x: Array, key: RandomKey) -> str | None:
    """Name the first layer inside with a non-finite output, or return None."""
    for branch, (prefix, chain) in enumerate(container.sequences.items()):
        part = x
        for position, layer in enumerate(chain.layers):
            own = key.fold_in(branch).fold_in(position)
            y, _ = layer.forward(part, key=own)
            if not np.isfinite(y).all():
                inside = _first_inside(layer, part, own) if isinstance(layer, Container) else None
                return inside or f"{layer}, which is {prefix}{position} inside {container}"
            part = y
    return None
