"""The arrays of all layers: made, as views of one flat vector, and by name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from minicnn.layers.base import Layer
from minicnn.layers.container import iter_layers
from minicnn.random import generator
from minicnn.shapes import FloatArray, Shape

T = TypeVar("T")

# For each layer where its arrays lie: name, start, stop, shape.
Layout = list[list[tuple[str, int, int, Shape]]]


def build(layers: Sequence[Layer], input_shape: Shape, seed: int, dtype: DTypeLike) -> Shape:
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
    tuple of int
        The shape after the last layer.

    Raises
    ------
    TypeError, ValueError
        If there are none, one stands in two places, or they do not fit each other; the message
        names the layer.
    """
    if not layers:
        raise ValueError("Sequential: give at least one layer")
    shape = input_shape
    for position, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(
                f"Sequential: layers must be layer objects such as ReLU(), not {layer!r}"
            )
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
            raise ValueError(f"Sequential: the layer {layer} stands in two places")
    return shape


def flatten(layers: Sequence[Layer], dtype: DTypeLike) -> tuple[FloatArray, FloatArray, Layout]:
    """Gather what all layers have in two vectors, and make the layers' arrays views of them.

    Parameters
    ----------
    layers : sequence of Layer
    dtype : dtype

    Returns
    -------
    parameters : ndarray (P,)
    statistics : ndarray (S,)
    layout : list
        Of the parameters, for `split`.
    """
    parameters, layout = _flat([layer.parameters for layer in layers], dtype)
    statistics, places = _flat([layer.statistics for layer in layers], dtype)
    views = zip(layers, unflatten(parameters, layout), unflatten(statistics, places), strict=True)
    for layer, learned, followed in views:
        layer.bind(learned, followed)
    return parameters, statistics, layout


def _flat(layers: Sequence[dict[str, FloatArray]], dtype: DTypeLike) -> tuple[FloatArray, Layout]:
    """Return the arrays of all layers in one vector, and where they lie in it."""
    layout, stop = [], 0
    for arrays in layers:
        places = []
        for name, array in arrays.items():
            start, stop = stop, stop + array.size
            places.append((name, start, stop, array.shape))
        layout.append(places)
    vector: FloatArray = np.empty(stop, dtype)
    for arrays, views in zip(layers, unflatten(vector, layout), strict=True):
        for name, view in views.items():
            view[...] = arrays[name]
    return vector, layout


def unflatten(vector: FloatArray, layout: Layout) -> list[dict[str, FloatArray]]:
    """Show a flat vector as each layer's arrays.

    Parameters
    ----------
    vector : ndarray (P,)
    layout : list
        From `gather`.

    Returns
    -------
    list of dict
        For each layer its arrays by name: views, no copies.
    """
    return [
        {name: vector[start:stop].reshape(shape) for name, start, stop, shape in places}
        for places in layout
    ]


def named_arrays(layers: Sequence[dict[str, T]]) -> dict[str, T]:
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


def state_arrays(layers: Sequence[Layer]) -> dict[str, FloatArray]:
    """Return all that a model file keeps of the layers: parameters and statistics, by name.

    Parameters
    ----------
    layers : sequence of Layer

    Returns
    -------
    dict of str to ndarray
    """
    return named_arrays([layer.parameters | layer.statistics for layer in layers])


def flatten_statistics(
    layers: Sequence[Layer], things: Sequence[Mapping[str, Any]], out: FloatArray
) -> FloatArray:
    """Lay out what each layer says of its statistics as the vector of all statistics is.

    Parameters
    ----------
    layers : sequence of Layer
    things : sequence of dict
        For each layer a number or an array for each of its `statistics`, by name.
    out : ndarray (S,)
        Overwritten.

    Returns
    -------
    ndarray (S,)
        `out`.
    """
    stop = 0
    for layer, found in zip(layers, things, strict=True):
        for name, array in layer.statistics.items():
            start, stop = stop, stop + array.size
            out[start:stop] = np.ravel(found[name])
    return out


def update_running_statistics(
    layers: Sequence[Layer], statistics: FloatArray, batch_statistics: FloatArray
) -> None:
    """Move running statistics by what shards of images observed, one shard after the other.

    Each is moved by ``m · (observed - running)``, with m as in `Layer.statistics_momentum`.

    Parameters
    ----------
    layers : sequence of Layer
    statistics : ndarray (S,)
        Of all layers; changed in place.
    batch_statistics : ndarray (shards, S)
        Laid out as `statistics`.
    """
    if not statistics.size:
        return
    statistics_momentum = [layer.statistics_momentum() for layer in layers]
    m = flatten_statistics(layers, statistics_momentum, np.empty_like(statistics))
    for row in batch_statistics:
        statistics += m * (row - statistics)
