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
from minicnn.layers.base import Layer, layer_classes
from minicnn.layers.container import Container
from minicnn.model.sequential import Sequential
from minicnn.runtime import archive
from minicnn.runtime.archive import Archive, Entry, ModelFileError
from minicnn.shapes import Array, Shape

T = TypeVar("T")

DTYPES = ("float32", "float64")
INITIALIZERS = {initializer.__name__: initializer for initializer in (he_normal, glorot_uniform)}

# Limits of a description: far above any model for a CPU, far below what exhausts memory.
MAX_LAYERS = 1000  # including those inside containers
MAX_NESTING = 40  # nested lists and layers; a container is two or three levels
LARGEST_OUTPUT = 2**30  # values that a layer computes for one image


def save_model(model: Sequential, path: str | PathLike[str]) -> None:
    """Write a model to a file, atomically; see `Sequential.save`."""
    about = {"model": to_config(model), "metadata": model.metadata}
    archive.write(path, "model", about, _state_arrays(model.layers))


def load_model(path: str | PathLike[str]) -> Sequential:
    """Read a model that `Sequential.save` wrote, with its layers and weights.

    Layers of your own are found by class name: import the module that defines them first. The file
    need not be trusted: it holds no code, and the sizes of its arrays are compared with the file's
    size before an array is allocated.

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
    if not isinstance(config, list) or not 1 <= len(config) <= MAX_LAYERS:
        raise ValueError(f"layers must be a list of 1 to {MAX_LAYERS} layers")
    if (count := _count_layers(config)) > MAX_LAYERS:
        raise ValueError(f"it has {count:,} layers, more than {MAX_LAYERS}")
    layers = []
    for position, entry in enumerate(config):
        try:
            layers.append(_layer_from_config(entry))
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1}: {error}") from error
    return layers


def _count_layers(value: object, depth: int = 0) -> int:
    """Return the number of layers in a part of a description."""
    if depth > MAX_NESTING:
        raise ValueError(f"its layers are nested more than {MAX_NESTING} levels deep")
    if isinstance(value, list):
        return sum(_count_layers(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return 1 + sum(_count_layers(item, depth + 1) for item in value.values())
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
    """Return the shapes of all arrays, before any array is allocated.

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
        If the layers do not fit each other, or one computes more than 2³⁰ values for an image.
    """
    found, shape = [], input_shape
    for position, layer in enumerate(layers):
        try:
            if isinstance(layer, Container):
                for branch in layer.sequences.values():
                    state_shapes(branch.layers, shape)
            found.append(layer.parameter_shapes(shape) | layer.statistics_shapes(shape))
            shape = layer.output_shape(shape)
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {position + 1} ({layer}): {error}") from error
        if prod(shape) > LARGEST_OUTPUT:
            raise ValueError(
                f"layer {position + 1} computes {prod(shape):,} values for an image, more than "
                f"{LARGEST_OUTPUT:,}"
            )
    return found


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
