"""A network as plain values that JSON can hold, and back: layers by name, with their arguments."""

from collections.abc import Sequence
from dataclasses import fields
from math import prod
from typing import Any, Protocol

import numpy as np

from minicnn.initialisers import glorot_uniform, he_normal
from minicnn.layers import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Container,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
)
from minicnn.shapes import Shape

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        AvgPool2D,
        BatchNorm,
        Concat,
        Conv2D,
        Dense,
        DepthwiseConv2D,
        Dropout,
        Flatten,
        GlobalAvgPool2D,
        MaxPool2D,
        ReLU,
        Residual,
    )
}
INITIALISERS = {initialiser.__name__: initialiser for initialiser in (he_normal, glorot_uniform)}

# What a description may ask for: far more than anyone trains on a CPU, far less than can do harm.
MOST_LAYERS = 1000  # those inside others too
DEEPEST = 40  # lists and layers inside each other: a container is two of them, or three
LARGEST_OUTPUT = 2**30  # numbers that a layer gives for one image


class Network(Protocol):
    """What `describe` asks of a model: the arguments that it was made with."""

    layers: list[Layer]
    input_shape: Shape
    input_mean: float
    input_std: float
    class_names: tuple[str, ...] | None
    dtype: np.dtype[np.floating[Any]]


def describe(network: Network) -> dict[str, Any]:
    """Say how a network was made: all but its weights and facts.

    Parameters
    ----------
    network : Sequential

    Returns
    -------
    dict
        What JSON can hold.

    Raises
    ------
    TypeError
        If a layer or an initialiser is not one of the library's own.
    """
    names = network.class_names
    return {
        "layers": [_describe_layer(layer) for layer in network.layers],
        "input_shape": list(network.input_shape),
        "input_mean": network.input_mean,
        "input_std": network.input_std,
        "class_names": None if names is None else list(names),
        "dtype": network.dtype.name,
    }


def _describe_layer(layer: Layer) -> dict[str, Any]:
    name = type(layer).__name__
    if LAYERS.get(name) is not type(layer):
        raise TypeError(
            f"the layer {layer} cannot be saved: loading builds a model without code of yours, so "
            f"it knows {', '.join(LAYERS)} only"
        )
    arguments = {
        option.name: getattr(layer, option.name) for option in fields(layer) if option.init
    }
    return {"layer": name, **{key: _plain(layer, value) for key, value in arguments.items()}}


def _plain(layer: Layer, value: Any) -> Any:
    """Return a layer's argument as JSON has it."""
    if isinstance(value, (tuple, list)):
        return [_plain(layer, item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Layer):
        return _describe_layer(value)
    if callable(value):
        if value not in INITIALISERS.values():
            raise TypeError(
                f"the initialiser of the layer {layer} cannot be saved, for it is not the "
                f"library's own; the weights need it no more: set layer.initialiser to one of "
                f"minicnn.initialisers first"
            )
        return value.__name__
    return value


def rebuild_layers(description: object) -> list[Layer]:
    """Make the layers that a description names.

    Parameters
    ----------
    description : list of dict
        As under ``layers`` in what `describe` returns; it may come from a stranger.

    Returns
    -------
    list of Layer
        Without parameters yet.

    Raises
    ------
    TypeError, ValueError
        If it does not describe layers; the message names the one.
    """
    if not isinstance(description, list) or not 1 <= len(description) <= MOST_LAYERS:
        raise ValueError(f"layers must be a list of 1 to {MOST_LAYERS} layers")
    if (count := _count(description)) > MOST_LAYERS:
        raise ValueError(f"it has {count:,} layers, more than {MOST_LAYERS}")
    layers = []
    for position, entry in enumerate(description):
        try:
            layers.append(_rebuild_layer(entry))
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1}: {error}") from error
    return layers


def _count(value: object, depth: int = 0) -> int:
    """Return how many layers a part of a description asks for, those inside others too."""
    if depth > DEEPEST:
        raise ValueError("its layers lie too deep inside each other")
    if isinstance(value, list):
        return sum(_count(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return 1 + sum(_count(item, depth + 1) for item in value.values())
    return 0


def _rebuild_layer(entry: object) -> Layer:
    if not isinstance(entry, dict) or not isinstance(entry.get("layer"), str):
        raise ValueError("it does not say which layer it is")
    name = entry["layer"]
    if name not in LAYERS:
        raise ValueError(f"there is no layer {name!r}; known are {', '.join(LAYERS)}")
    options = {option.name for option in fields(LAYERS[name]) if option.init}
    arguments = {key: _argument(value) for key, value in entry.items() if key != "layer"}
    if unknown := sorted(set(arguments) - options):
        raise ValueError(f"{name} has no argument {unknown[0]!r}")
    if "initialiser" in arguments:
        if arguments["initialiser"] not in INITIALISERS:
            raise ValueError(f"there is no initialiser {arguments['initialiser']!r}")
        arguments["initialiser"] = INITIALISERS[arguments["initialiser"]]
    return LAYERS[name](**arguments)


def _argument(value: object) -> Any:
    """Return a value from JSON as a layer takes it: a list is a pair, or holds layers."""
    if not isinstance(value, list):
        return value
    return tuple(
        _rebuild_layer(item) if isinstance(item, dict) else _argument(item) for item in value
    )


def array_shapes(layers: Sequence[Layer], input_shape: Shape) -> list[dict[str, Shape]]:
    """Work out how large the arrays of all layers will be, before any is made.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int
        ``(H, W, C)``.

    Returns
    -------
    list of dict
        For each layer the shape of each of its parameters and statistics, by name.

    Raises
    ------
    TypeError, ValueError
        If the layers do not fit each other, or one gives more than 2³⁰ numbers for an image.
    """
    found, shape = [], input_shape
    for position, layer in enumerate(layers):
        try:
            if isinstance(layer, Container):
                for chain in layer.chains.values():
                    array_shapes(chain.layers, shape)
            found.append(layer.parameter_shapes(shape) | layer.statistics_shapes(shape))
            shape = layer.output_shape(shape)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1} ({layer}): {error}") from error
        if prod(shape) > LARGEST_OUTPUT:
            raise ValueError(
                f"layer {position + 1} gives {prod(shape):,} numbers for an image, more than "
                f"{LARGEST_OUTPUT:,}"
            )
    return found
