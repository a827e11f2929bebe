"""The arrays of all layers, as views of one flat vector and by name."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from minicnn.layers.base import Layer
from minicnn.layers.container import iter_layers
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
    for position, layer in enumerate(layers):
        if any(inner.parameters for inner in iter_layers([layer])):
            raise ValueError(
                f"Sequential: layer {position + 1} ({layer}) already belongs to a model, "
                f"or stands twice in this one; give each place a layer of its own"
            )
        rng = generator(seed, "initial weights", index=position)
        try:
            after = layer.output_shape(shape)
            layer.build(shape, rng, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1} ({layer}): {error}") from error
        shape = after
    every = list(iter_layers(layers))
    for layer in every:
        if layer.parameters and every.count(layer) > 1:
            raise ValueError(f"Sequential: the layer {layer} occurs twice")
    return shape


def flatten(arrays: Sequence[dict[str, Array]], dtype: DTypeLike) -> tuple[Array, Layout]:
    """Copy the arrays of all layers to one vector; return it and its layout."""
    layout, stop = [], 0
    for named in arrays:
        own = []
        for name, array in named.items():
            start, stop = stop, stop + array.size
            own.append((name, start, stop, array.shape))
        layout.append(own)
    return fill(np.empty(stop, dtype), layout, arrays), layout


def unflatten(vector: Array, layout: Layout) -> list[dict[str, Array]]:
    """Return views of a flat vector as the arrays of each layer, by name."""
    return [
        {name: vector[start:stop].reshape(shape) for name, start, stop, shape in own}
        for own in layout
    ]


def fill(vector: Array, layout: Layout, values: Sequence[Mapping[str, Any]]) -> Array:
    """Write a number or an array for each array of each layer to the vector."""
    for views, own in zip(unflatten(vector, layout), values, strict=True):
        for name, view in views.items():
            view[...] = own[name]
    return vector
