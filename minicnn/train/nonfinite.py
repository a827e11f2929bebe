"""Locate the layer where infinity or NaN first arises."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.layers.base import Layer
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
        steps = (_arrays(model, *part, label_smoothing) for part in microbatches)
        found = (name for name, array in chain.from_iterable(steps) if not np.isfinite(array).all())
        culprit = next(found, "no layer on its own, only the sum over the batch,")
    return f"{culprit} holds infinity or NaN. {ADVICE}."


def _arrays(
    model: Sequential, images: Array, labels: IntArray, key: RandomKey, label_smoothing: float
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each array of a step, as they are computed."""
    x = model.preprocess(images)
    names = [f"layer {number} ({layer})" for number, layer in enumerate(model.layers, start=1)]
    for name, layer in zip(names, model.layers, strict=True):
        for parameter, array in layer.parameters.items():
            yield f"the {parameter} of {name}", array
    caches = {}
    for name, y, cache in _outputs(model.layers, names, x, key):
        yield f"the output of {name}", y
        caches[name] = cache
    loss, loss_cache = softmax_cross_entropy(y, labels, label_smoothing=label_smoothing)
    yield "the loss, though the logits are finite (they lie too far apart): it", loss
    dy: Any = softmax_cross_entropy_backward(1.0, loss_cache)
    for name, layer in reversed(list(zip(names, model.layers, strict=True))):
        dy, gradients = layer.backward(dy, caches[name])
        for argument, gradient in {"x": dy, **gradients}.items():
            yield f"the gradient d{argument} of {name}", gradient


def _outputs(
    layers: Sequence[Layer], names: Sequence[str], x: Array, key: RandomKey
) -> Iterator[tuple[str, Array, Any]]:
    """Yield name, output and cache of each layer, inner ones first."""
    for position, (layer, name) in enumerate(zip(layers, names, strict=True)):
        own = key.fold_in(position)
        if isinstance(layer, Container):
            for branch, (prefix, sequence) in enumerate(layer.sequences.items()):
                inner = sequence.layers
                inside = [f"{i}, which is {prefix}{n} inside {layer}" for n, i in enumerate(inner)]
                yield from _outputs(inner, inside, x, own.fold_in(branch))
        x, cache = layer.forward(x, key=own)
        yield name, x, cache
