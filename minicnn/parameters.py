"""The arrays of all layers as views of one flat vector."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from minicnn.layers import Layer
from minicnn.shapes import FloatArray, Shape

# For each layer where its arrays lie: name, start, stop, shape.
Layout = list[list[tuple[str, int, int, Shape]]]


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
