"""Model files: save a `Sequential`, load it again.

The file holds the arrays and, as JSON, the layers by class name with their arguments;
`minicnn.runtime.archive` defines the format.
"""

from collections.abc import Sequence
from dataclasses import fields
from inspect import signature
from math import prod
from os import PathLike
from types import NoneType
from typing import Any, TypeVar

import numpy as np

from minicnn.initializers import glorot_uniform, he_normal
from minicnn.kernels.pack import receptive_size
from minicnn.layers.base import Layer, layer_classes
from minicnn.layers.container import Container
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.pooling import AvgPool2D, MaxPool2D
from minicnn.model.sequential import Sequential
from minicnn.runtime import archive
from minicnn.runtime.archive import Archive, Entry, ModelFileError
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import positive_int

T = TypeVar("T")

DTYPES = ("float32", "float64")
INITIALIZERS = {initializer.__name__: initializer for initializer in (he_normal, glorot_uniform)}

# Limits of a description: far above any model that a CPU can train, far below hours and all memory.
MAX_LAYERS = 1000
MAX_PARTS = 4 * MAX_LAYERS  # layers, also inside containers, and lists in their arguments
MAX_NESTING = 40  # nested lists and layers; a container is two or three levels
MAX_VALUES = 2**26  # in all arrays of one image; a training step of 32 images takes 8 GB per array
MAX_STEPS = 2**35  # multiply-adds for one image, a few seconds; VGG-16 at 224×224 has 2^33.8


def save_model(model: Sequential, path: str | PathLike[str]) -> None:
    """Write a model to a file, atomically; see `Sequential.save`."""
    about = {"model": to_config(model), "metadata": model.metadata}
    _checked_parts(about["model"]["layers"])  # raises here what `load_model` would raise
    state_shapes(model.layers, model.input_shape)
    archive.write(path, "model", about, _state_arrays(model.layers))


def load_model(path: str | PathLike[str]) -> Sequential:
    """Read a model that `Sequential.save` wrote, with its layers and weights.

    Layers of your own are found by class name: import the module that defines them first. The file
    need not be trusted: it holds no code, and its size, its layers, and the memory and time that
    they take for an image have limits, which are checked before an array is allocated.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Sequential
        With ``class_names`` and ``metadata`` of the saved model.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ModelFileError
        If the file is damaged, not a model, of a newer format, or has a layer whose class is not
        imported; a `ValueError`.
    """
    file = Archive(path, "model")
    try:
        arguments, entries = _read_description(file.description)
        weights = file.arrays(entries)
        model = Sequential(**arguments)
    except ModelFileError:  # a ValueError, of `arrays`
        raise
    except (TypeError, ValueError) as error:
        raise file.error(f"its description is wrong: {error}") from error
    for name, array in _state_arrays(model.layers).items():
        array[...] = weights[name]
    model.metadata = file.description["metadata"]
    return model


def _read_description(description: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Return the arguments of `Sequential`, and an `Entry` for each array."""
    _check_keys(description, {"format", "version", "model", "metadata"})
    arguments, metadata = description["model"], description["metadata"]
    if not isinstance(arguments, dict) or not isinstance(metadata, dict):
        raise TypeError("model and metadata must be objects")
    _check_keys(
        arguments, {"layers", "input_shape", "input_mean", "input_std", "class_names", "dtype"}
    )
    shape = arguments["input_shape"]
    if not isinstance(shape, list):
        raise TypeError(f"input_shape must be a list, not {shape!r}")
    shape = [positive_int("Sequential", "input_shape", axis) for axis in shape]
    if not isinstance(arguments["class_names"], (list, NoneType)):
        raise TypeError(f"class_names must be a list, not {arguments['class_names']!r}")
    if arguments["dtype"] not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {arguments['dtype']!r}")
    layers = layers_from_config(arguments["layers"])
    shapes = state_shapes(layers, tuple(shape))
    entries = {
        name: Entry(np.dtype(arguments["dtype"]), size)
        for name, size in named_arrays(shapes).items()
    }
    return {**arguments, "layers": layers, "input_shape": tuple(shape)}, entries


def named_arrays(layers: Sequence[dict[str, T]]) -> dict[str, T]:
    """Merge the dicts of all layers; names become ``0.weight`` and so on."""
    return {
        f"{position}.{name}": value
        for position, own in enumerate(layers)
        for name, value in own.items()
    }


def _state_arrays(layers: Sequence[Layer]) -> dict[str, Array]:
    """Return parameters and statistics by name, as in a model file."""
    return named_arrays([layer.parameters | layer.statistics for layer in layers])


def _check_keys(found: dict[str, Any], expected: set[str]) -> None:
    """Raise a ValueError if the keys are not exactly the expected ones."""
    if set(found) != expected:
        names = ", ".join(sorted(set(found) ^ expected))
        raise ValueError(f"it lacks, or should not have, {names}")


# ---------------------------------------------------------------- model to JSON


def to_config(model: Sequential) -> dict[str, Any]:
    """Return the arguments that make the model, as JSON values.

    Parameters
    ----------
    model : Sequential

    Returns
    -------
    dict

    Raises
    ------
    TypeError
        If an argument of a layer has no JSON form.
    """
    return {
        "layers": [_layer_to_config(layer) for layer in model.layers],
        "input_shape": list(model.input_shape),
        "input_mean": model.input_mean,
        "input_std": model.input_std,
        "class_names": model.class_names and list(model.class_names),
        "dtype": model.dtype.name,
    }


def _layer_to_config(layer: Layer) -> dict[str, Any]:
    """Return class name and arguments of a layer."""
    names = [option.name for option in fields(layer) if option.init]
    if names != list(signature(type(layer)).parameters):
        raise TypeError(
            f"the layer {layer} cannot be saved: the arguments of its class are not dataclass "
            f"fields; write @dataclass(eq=False, repr=False) above class {type(layer).__name__}"
        )
    arguments = {name: _to_json_value(layer, getattr(layer, name)) for name in names}
    return {"layer": _layer_name(type(layer)), **arguments}


def _to_json_value(layer: Layer, value: Any) -> Any:
    """Return an argument of a layer as a JSON value."""
    if isinstance(value, (tuple, list)):
        return [_to_json_value(layer, item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Layer):
        return _layer_to_config(value)
    if callable(value):
        if value not in INITIALIZERS.values():
            raise TypeError(
                f"the layer {layer} cannot be saved: its initializer is not the library's own; the "
                f"weights do not need it any more, so set layer.initializer to one of "
                f"minicnn.initializers"
            )
        return value.__name__
    return value


# ---------------------------------------------------------------- JSON to layers


def layers_from_config(config: object) -> list[Layer]:
    """Make the layers that `to_config` described, without parameters.

    Parameters
    ----------
    config : list of dict
        Need not be trusted.

    Returns
    -------
    list of Layer

    Raises
    ------
    TypeError, ValueError
        If it does not describe layers; the message names the layer.
    """
    layers = []
    for position, entry in enumerate(_checked_parts(config)):
        try:
            layers.append(_layer_from_config(entry))
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1}: {error}") from error
    return layers


def _checked_parts(config: object) -> list[Any]:
    """Return a list of layers; raise a ValueError if it has too many parts."""
    if not isinstance(config, list) or not 1 <= len(config) <= MAX_LAYERS:
        raise ValueError(f"layers must be a list of 1 to {MAX_LAYERS} layers")
    if (count := _count_parts(config)) > MAX_PARTS:
        raise ValueError(f"its {count:,} layers and lists are more than {MAX_PARTS}")
    return config


def _count_parts(value: object, depth: int = 0) -> int:
    """Return the number of layers and lists in a part of a description."""
    if depth > MAX_NESTING:
        raise ValueError(f"its layers are nested more than {MAX_NESTING} levels deep")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return 1 + sum(_count_parts(item, depth + 1) for item in value)
    return 0


def _layer_from_config(entry: object) -> Layer:
    """Make one layer."""
    if not isinstance(entry, dict) or not isinstance(entry.get("layer"), str):
        raise ValueError("it does not name its layer")
    name = entry["layer"]
    cls = _find_layer(name)
    options = {option.name for option in fields(cls) if option.init}
    arguments = {key: _from_json_value(value) for key, value in entry.items() if key != "layer"}
    if unknown := sorted(set(arguments) - options):
        raise ValueError(f"{name} has no argument {unknown[0]!r}")
    if "initializer" in arguments:
        if arguments["initializer"] not in INITIALIZERS:
            raise ValueError(f"there is no initializer {arguments['initializer']!r}")
        arguments["initializer"] = INITIALIZERS[arguments["initializer"]]
    return cls(**arguments)


def _from_json_value(value: object) -> Any:
    """Return a JSON value as an argument of a layer; lists become tuples."""
    if not isinstance(value, list):
        return value
    return tuple(
        _layer_from_config(item) if isinstance(item, dict) else _from_json_value(item)
        for item in value
    )


def state_shapes(layers: Sequence[Layer], input_shape: Shape) -> list[dict[str, Shape]]:
    """Return the shapes of all arrays, and check the cost of the layers.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int
        ``(H, W, C)``.

    Returns
    -------
    list of dict
        For each layer the shape of each array, by name.

    Raises
    ------
    TypeError, ValueError
        If the layers do not fit each other, or compute more than 2²⁶ values or 2³⁵ multiply-adds
        for an image.
    """
    found, shape, values, steps = [], input_shape, prod(input_shape), 0
    for position, layer in enumerate(layers):
        try:
            found.append(layer.parameter_shapes(shape) | layer.statistics_shapes(shape))
            more_values, more_steps = _cost(layer, shape)
            shape = layer.output_shape(shape)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1} ({layer}): {error}") from error
        values, steps = values + more_values, steps + more_steps
        if values > MAX_VALUES or steps > MAX_STEPS:
            raise ValueError(
                f"layers 1 to {position + 1} compute {values:,} values in the time of {steps:,} "
                f"multiply-adds for an image; the limits are {MAX_VALUES:,} and {MAX_STEPS:,}"
            )
    return found


def _cost(layer: Layer, shape: Shape) -> tuple[int, int]:
    """Return values of a layer for one image, and its time in multiply-adds."""
    values, steps = prod(layer.output_shape(shape)), layer.macs(shape)
    if isinstance(layer, Container):
        costs = [_cost(inner, before) for _, inner, before in layer._inside(shape)]
        return values + sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
    if isinstance(layer, (Conv2D, DepthwiseConv2D, MaxPool2D, AvgPool2D)):
        window, C = layer.window(shape), shape[2]
        reads = window.OH * window.OW * window.KH * window.KW * C
        backend = getattr(layer, "backend", "auto")
        # The padded image, and the matrix of all windows.
        values += prod(receptive_size(window)) * C + reads * (backend == "im2col")
        # With one channel a read takes a vector of up to 16 lanes. The reference loops in Python.
        steps = max(steps, 16 * reads) * (1000 if backend == "reference" else 1)
    return values, steps


def _layer_name(cls: type[Layer]) -> str:
    """Return ``Name`` of a class of minicnn, ``module.Name`` of another."""
    module = cls.__module__
    return cls.__name__ if module.startswith("minicnn.") else f"{module}.{cls.__name__}"


def _find_layer(name: str) -> type[Layer]:
    """Return the layer class of a name; ValueError if none or several fit."""
    module, _, short = name.rpartition(".")
    exact = [cls for cls in layer_classes() if _layer_name(cls) == name]
    # A script's own module is __main__: the class may be in another module now.
    found = exact or [cls for cls in layer_classes() if module and cls.__name__ == short]
    if len(found) == 1:
        return found[0]
    if found:
        where = " and ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in found)
        raise ValueError(f"the layer {name!r} is ambiguous: it may be {where}; rename one of them")
    known = ", ".join(sorted(map(_layer_name, layer_classes())))
    fix = f"; known are {known}"
    if module:
        line = f"from {module if module != '__main__' else 'your_module'} import {short}"
        fix = f": import the module that defines it first, as in `{line}`"
    raise ValueError(f"there is no layer {name!r}{fix}")
