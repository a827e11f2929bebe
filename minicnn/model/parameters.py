"""The arrays of all layers, as views of one flat vector and by name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from minicnn.layers.base import Layer
from minicnn.layers.container import check_layers, iter_layers
from minicnn.random import generator
from minicnn.shapes import Array, Shape

T = TypeVar("T")

# For each layer (name, start, stop, shape) of each array in the flat vector.
Layout = list[list[tuple[str, int, int, Shape]]]


def build(layers: Sequence[Layer], input_shape: Shape, seed: int, dtype: DTypeLike) -> Shape:
    """Initialize the arrays of all layers; return the output shape.

    Raises a `TypeError` or `ValueError` that names the layer, if there are no layers, one occurs
    twice, or they do not fit each other.
    """
    if not layers:
        raise ValueError("Sequential: give at least one layer")
    shape = input_shape
    for position, layer in enumerate(check_layers("Sequential", layers)):
        if any(inner.parameters for inner in iter_layers([layer])):
            raise ValueError(
                f"Sequential: layer {position + 1} ({layer}) already belongs to a model; "
                f"give every model layers of its own"
            )
        rng = generator(seed, "initial weights", index=position)
        try:
            after = layer.output_shape(shape)
            layer.build(shape, rng, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1} ({layer}): {error}") from error
        shape = after
    counted = Counter(id(layer) for layer in iter_layers(layers) if layer.parameters)
    for layer in iter_layers(layers):
        if counted[id(layer)] > 1:
            raise ValueError(f"Sequential: the layer {layer} occurs twice")
    return shape


def flatten(layers: Sequence[Layer], dtype: DTypeLike) -> tuple[Array, Array, Layout]:
    """Move all arrays to two flat vectors, of which they become views.

    Returns the vectors of parameters (P,) and statistics (S,), and the layout of the parameters.
    """
    parameters, layout = _flatten([layer.parameters for layer in layers], dtype)
    statistics, statistics_layout = _flatten([layer.statistics for layer in layers], dtype)
    views = unflatten(parameters, layout), unflatten(statistics, statistics_layout)
    for layer, own_parameters, own_statistics in zip(layers, *views, strict=True):
        layer.bind(own_parameters, own_statistics)
    return parameters, statistics, layout


def _flatten(layers: Sequence[dict[str, Array]], dtype: DTypeLike) -> tuple[Array, Layout]:
    """Return the arrays of all layers in one vector, and its layout."""
    layout, stop = [], 0
    for arrays in layers:
        own = []
        for name, array in arrays.items():
            start, stop = stop, stop + array.size
            own.append((name, start, stop, array.shape))
        layout.append(own)
    vector: Array = np.empty(stop, dtype)
    for arrays, views in zip(layers, unflatten(vector, layout), strict=True):
        for name, view in views.items():
            view[...] = arrays[name]
    return vector, layout


def unflatten(vector: Array, layout: Layout) -> list[dict[str, Array]]:
    """Return views of a flat vector as the arrays of each layer, by name."""
    return [
        {name: vector[start:stop].reshape(shape) for name, start, stop, shape in own}
        for own in layout
    ]


def flatten_statistics(
    layers: Sequence[Layer],
    values: Sequence[Mapping[str, Any]],  # for each layer a number or array per statistic
    out: Array,  # (S,)
) -> Array:
    """Write a value for each running statistic to a vector like theirs."""
    stop = 0
    for layer, own in zip(layers, values, strict=True):
        for name, array in layer.statistics.items():
            start, stop = stop, stop + array.size
            out[start:stop] = np.ravel(own[name])
    return out


def update_running_statistics(
    layers: Sequence[Layer],
    statistics: Array,  # (S,), changed in place
    batch_statistics: Array,  # (microbatches, S)
) -> None:
    """Apply ``running += m · (batch - running)`` per microbatch, in order."""
    if not statistics.size:
        return
    momentum = [layer.statistics_momentum() for layer in layers]
    m = flatten_statistics(layers, momentum, np.empty_like(statistics))
    for row in batch_statistics:
        statistics += m * (row - statistics)
