"""Models from files. `Sequential.save` writes them; how a file looks stands in `archive`."""

from os import PathLike
from types import NoneType
from typing import Any

import numpy as np

from minicnn import architecture, parameters
from minicnn.archive import Archive, Entry
from minicnn.model import Sequential

DTYPES = ("float32", "float64")


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
        With ``class_names`` (None where the model had none) and the ``facts`` of its training.

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
    for name, array in parameters.arrays_of(model.layers).items():
        array[...] = weights[name]
    model.facts = archive.description["facts"]
    return model


def _read_description(
    description: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Return the arguments for `Sequential`, and what the arrays of such a model must be."""
    _check_keys(description, {"format", "version", "model", "facts"})
    arguments, facts = description["model"], description["facts"]
    if not isinstance(arguments, dict) or not isinstance(facts, dict):
        raise TypeError("model and facts must be objects")
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
    layers = architecture.rebuild_layers(arguments["layers"])
    sizes = architecture.array_shapes(layers, tuple(shape))
    wanted = {
        name: Entry(np.dtype(arguments["dtype"]), size)
        for name, size in parameters.by_name(sizes).items()
    }
    return {**arguments, "layers": layers, "input_shape": tuple(shape)}, wanted


def _check_keys(found: dict[str, Any], wanted: set[str]) -> None:
    if set(found) != wanted:
        names = ", ".join(sorted(set(found) ^ wanted))
        raise ValueError(f"it lacks, or should not have, {names}")
