"""Models from files. `Sequential.save` writes them; how a file looks stands in `archive`.

A network as plain values that JSON can hold, and back: layers by name, with their arguments.
"""

from collections.abc import Sequence
from dataclasses import fields
from math import prod
from os import PathLike
from types import NoneType
from typing import Any, Protocol

import numpy as np

from minicnn.initializers import glorot_uniform, he_normal
from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.base import Layer
from minicnn.layers.container import Container
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.merge import Concat, Residual
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from minicnn.model import parameters
from minicnn.model.sequential import Sequential
from minicnn.runtime import archive
from minicnn.runtime.archive import Archive, Entry
from minicnn.shapes import Shape

DTYPES = ("float32", "float64")


def save_model(model: Sequential, path: str | PathLike[str]) -> None:
    """Write a model to a file, whole or not at all; `load_model` reads it.

    Parameters
    ----------
    model : Sequential
    path : str or os.PathLike
        Usually ends in ``.npz``: `numpy.load` reads its arrays too.

    Raises
    ------
    TypeError, ValueError
        If a layer is not the library's own, `metadata` is not JSON, or a weight is not finite.
    OSError
        If the file cannot be written; one that was there before stays as it was.
    """
    about = {"model": to_config(model), "metadata": model.metadata}
    archive.write(path, "model", about, parameters.state_arrays(model.layers))


def load_model(path: str | PathLike[str]) -> Sequential:
    """Read a model that `Sequential.save` wrote: the same layers, weights and answers.

    The file may come from a stranger: no code in it is run, and before an array is read or made
    its size is compared with the file's.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Sequential
        With ``class_names`` (None where the model had none) and the ``metadata`` of its training.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is damaged, not a model, or of a newer format; a `ValueError`.
    """
    archive = Archive(path, "model")
    try:
        arguments, wanted = _read_description(archive.description)
    except (TypeError, ValueError) as error:
        raise archive.error(f"its description is wrong: {error}") from error
    weights = archive.arrays(wanted)
    try:
        model = Sequential(**arguments)
    except (TypeError, ValueError) as error:
        raise archive.error(f"its description is wrong: {error}") from error
    for name, array in parameters.state_arrays(model.layers).items():
        array[...] = weights[name]
    model.metadata = archive.description["metadata"]
    return model


def _read_description(
    description: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Return the arguments for `Sequential`, and what the arrays of such a model must be."""
    _check_keys(description, {"format", "version", "model", "metadata"})
    arguments, metadata = description["model"], description["metadata"]
    if not isinstance(arguments, dict) or not isinstance(metadata, dict):
        raise TypeError("model and metadata must be objects")
    _check_keys(
        arguments, {"layers", "input_shape", "input_mean", "input_std", "class_names", "dtype"}
    )
    shape = arguments["input_shape"]
    if not isinstance(shape, list) or not all(type(axis) is int and axis > 0 for axis in shape):
        raise TypeError(f"input_shape must be whole numbers above 0, not {shape!r}")
    for name in ("input_mean", "input_std"):
        if not isinstance(arguments[name], float):
            raise TypeError(f"{name} must be a number, not {arguments[name]!r}")
    if not isinstance(arguments["class_names"], (list, NoneType)):
        raise TypeError(f"class_names must be a list, not {arguments['class_names']!r}")
    if arguments["dtype"] not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {arguments['dtype']!r}")
    layers = layers_from_config(arguments["layers"])
    sizes = state_shapes(layers, tuple(shape))
    wanted = {
        name: Entry(np.dtype(arguments["dtype"]), size)
        for name, size in parameters.named_arrays(sizes).items()
    }
    return {**arguments, "layers": layers, "input_shape": tuple(shape)}, wanted


def _check_keys(found: dict[str, Any], wanted: set[str]) -> None:
    if set(found) != wanted:
        names = ", ".join(sorted(set(found) ^ wanted))
        raise ValueError(f"it lacks, or should not have, {names}")


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
INITIALIZERS = {initializer.__name__: initializer for initializer in (he_normal, glorot_uniform)}

# What a description may ask for: far more than anyone trains on a CPU, far less than can do harm.
MAX_LAYERS = 1000  # those inside others too
MAX_NESTING = 40  # lists and layers inside each other: a container is two of them, or three
LARGEST_OUTPUT = 2**30  # numbers that a layer gives for one image


class Network(Protocol):
    """What `describe` asks of a model: the arguments that it was made with."""

    layers: list[Layer]
    input_shape: Shape
    input_mean: float
    input_std: float
    class_names: tuple[str, ...] | None
    dtype: np.dtype[np.floating[Any]]


def to_config(network: Network) -> dict[str, Any]:
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
        If a layer or an initializer is not one of the library's own.
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
    return {
        "layer": name,
        **{key: _to_json_value(layer, value) for key, value in arguments.items()},
    }


def _to_json_value(layer: Layer, value: Any) -> Any:
    """Return a layer's argument as JSON has it."""
    if isinstance(value, (tuple, list)):
        return [_to_json_value(layer, item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Layer):
        return _describe_layer(value)
    if callable(value):
        if value not in INITIALIZERS.values():
            raise TypeError(
                f"the initializer of the layer {layer} cannot be saved, for it is not the "
                f"library's own; the weights need it no more: set layer.initializer to one of "
                f"minicnn.initializers first"
            )
        return value.__name__
    return value


def layers_from_config(description: object) -> list[Layer]:
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
    if not isinstance(description, list) or not 1 <= len(description) <= MAX_LAYERS:
        raise ValueError(f"layers must be a list of 1 to {MAX_LAYERS} layers")
    if (count := _count(description)) > MAX_LAYERS:
        raise ValueError(f"it has {count:,} layers, more than {MAX_LAYERS}")
    layers = []
    for position, entry in enumerate(description):
        try:
            layers.append(_rebuild_layer(entry))
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1}: {error}") from error
    return layers


def _count(value: object, depth: int = 0) -> int:
    """Return how many layers a part of a description asks for, those inside others too."""
    if depth > MAX_NESTING:
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
    if "initializer" in arguments:
        if arguments["initializer"] not in INITIALIZERS:
            raise ValueError(f"there is no initializer {arguments['initializer']!r}")
        arguments["initializer"] = INITIALIZERS[arguments["initializer"]]
    return LAYERS[name](**arguments)


def _argument(value: object) -> Any:
    """Return a value from JSON as a layer takes it: a list is a pair, or holds layers."""
    if not isinstance(value, list):
        return value
    return tuple(
        _rebuild_layer(item) if isinstance(item, dict) else _argument(item) for item in value
    )


def state_shapes(layers: Sequence[Layer], input_shape: Shape) -> list[dict[str, Shape]]:
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
                    state_shapes(chain.layers, shape)
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
