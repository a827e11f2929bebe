"""The arrays of all layers: made, as views of one flat vector, and by name."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

from minicnn.layers import Layer
from minicnn.randomness import keyed_generator
from minicnn.shapes import FloatArray, Shape

T = TypeVar("T")

# For each layer where its arrays lie: name, start, stop, shape.
Layout = list[list[tuple[str, int, int, Shape]]]


def build(layers: Sequence[Layer], input_shape: Shape, seed: int, dtype: DTypeLike) -> list[Shape]:
    """Make every layer's arrays.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int
        ``(H, W, C)``.
    seed : int
        Decides the first weights.
    dtype : dtype

    Returns
    -------
    list of tuple of int
        The shape before the first layer and after each.

    Raises
    ------
    TypeError, ValueError
        If there are none, or they do not fit each other; the message names the layer.
    """
    if not layers:
        raise ValueError("Sequential: give at least one layer")
    found = [input_shape]
    for position, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(
                f"Sequential: layers must be layer objects such as ReLU(), not {layer!r}"
            )
        if layer.parameters:
            raise ValueError(
                f"Sequential: layer {position + 1} ({layer}) already belongs to a model; "
                f"give every model layers of its own"
            )
        rng = keyed_generator(seed, "initial weights", index=position)
        try:
            found.append(layer.output_shape(found[-1]))
            layer.build(found[-2], rng, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1} ({layer}): {error}") from error
    return found


def flatten(layers: Sequence[Layer], dtype: DTypeLike) -> tuple[FloatArray, Layout]:
    """Gather the arrays of all layers in one vector, and make them views of it.

    Parameters
    ----------
    layers : sequence of Layer
    dtype : dtype

    Returns
    -------
    vector : ndarray (P,)
    layout : list
        For `split`.
    """
    layout, stop = [], 0
    for layer in layers:
        places = []
        for name, array in layer.parameters.items():
            start, stop = stop, stop + array.size
            places.append((name, start, stop, array.shape))
        layout.append(places)
    vector: FloatArray = np.empty(stop, dtype)
    for layer, views in zip(layers, split(vector, layout), strict=True):
        for name, view in views.items():
            view[...] = layer.parameters[name]
        layer.parameters = views
    return vector, layout


def split(vector: FloatArray, layout: Layout) -> list[dict[str, FloatArray]]:
    """Show a flat vector as each layer's arrays.

    Parameters
    ----------
    vector : ndarray (P,)
    layout : list
        From `flatten`.

    Returns
    -------
    list of dict
        For each layer its arrays by name: views, no copies.
    """
    return [
        {name: vector[start:stop].reshape(shape) for name, start, stop, shape in places}
        for places in layout
    ]


def by_name(layers: Sequence[dict[str, T]]) -> dict[str, T]:
    """Name what each layer has by the layer's place and its own name, such as ``0.weight``.

    Parameters
    ----------
    layers : sequence of dict
        For each layer something by name: arrays, or their shapes.

    Returns
    -------
    dict
    """
    return {
        f"{position}.{name}": thing
        for position, things in enumerate(layers)
        for name, thing in things.items()
    }
