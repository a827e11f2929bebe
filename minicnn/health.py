"""What is wrong with a network whose loss is infinite or NaN, and where it began."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.model import Sequential
from minicnn.shapes import FloatArray, IntArray

ADVICE = (
    "The usual cause is a learning rate that is too high (try a tenth of it); others are first "
    "weights that are too large, or inputs far outside 0..1"
)


class NonFiniteError(ArithmeticError):
    """Training met an infinite or NaN loss or gradient. The weights are those before the step."""


def find_non_finite(model: Sequential, images: NDArray[Any], labels: IntArray) -> str:
    """Run a batch through a model and say where the first infinity or NaN arises.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C)
        As in `Sequential.prepare`.
    labels : ndarray of int (N,)

    Returns
    -------
    str
        One sentence that names the layer, forward before backward, and one of advice.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        place = _first_place(model, model.prepare(images), labels)
    return f"{place} holds infinity or NaN. {ADVICE}."


def _first_place(model: Sequential, x: FloatArray, labels: IntArray) -> str:
    names = [f"layer {number} ({layer})" for number, layer in enumerate(model.layers, start=1)]
    caches = []
    for name, layer in zip(names, model.layers, strict=True):
        for parameter, array in layer.parameters.items():
            if not np.isfinite(array).all():
                return f"the {parameter} of {name}"
        x, cache = layer.forward(x, training=True)
        caches.append(cache)
        if not np.isfinite(x).all():
            return f"the output of {name}"
    loss, loss_cache = softmax_cross_entropy(x, labels)
    if not np.isfinite(loss):
        return "the loss, though the logits are finite (they lie too far apart): it"
    dy: FloatArray | None = softmax_cross_entropy_backward(1.0, loss_cache)
    for name, layer, cache in reversed(list(zip(names, model.layers, caches, strict=True))):
        dy, gradients = layer.backward(dy, cache)
        for argument, array in {"x": dy, **gradients}.items():
            if not np.isfinite(array).all():
                return f"the gradient d{argument} of {name}"
    return "no layer on its own, only the sum over the batch,"
