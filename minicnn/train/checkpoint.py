"""A training saved to a file after each epoch, to resume it after a stop."""

import hashlib
import json
import re
from os import PathLike
from textwrap import shorten
from typing import Any, TypeGuard

from numpy.typing import NDArray

from minicnn.model.sequential import Sequential
from minicnn.optim import Schedule
from minicnn.runtime.archive import Archive, Entry, write
from minicnn.shapes import IntArray
from minicnn.train.state import History, TrainingState


class Checkpoint:
    """The file of a training: its configuration and latest state.

    A resumed training gives the same bytes as one that was never stopped, provided that the
    configuration is the same; `load` requires it. (Another version of the library or of Numba, or
    another kind of CPU, may round differently.)

    Parameters
    ----------
    path : str or os.PathLike
    state : TrainingState
        `save` writes it, `load` fills it.
    config : dict
        All that decides the result of the training, as JSON values.

    Raises
    ------
    TypeError
        If the optimizer has no ``state_dict``.
    """

    def __init__(
        self, path: str | PathLike[str], state: TrainingState, config: dict[str, Any]
    ) -> None:
        self.path, self.state = path, state
        self.config: dict[str, Any] = json.loads(json.dumps(config))
        state.arrays()  # raises here, rather than after the first epoch

    def save(self) -> None:
        """Write the state atomically: the file is the old one or the new one.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        description = {"settings": self.config, "history": self.state.history}
        write(self.path, "checkpoint", description, self.state.arrays())

    def load(self) -> None:
        """Read the state of the file into `state`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If it is damaged, not a checkpoint, or of a newer format.
        ValueError
            If the checkpoint has another configuration; the message names the differences.
        """
        archive = Archive(self.path, "checkpoint")
        self._check_config(archive.description.get("settings"))
        history = archive.description.get("history")
        epochs = self.config["epochs"]
        if not _is_history(history, epochs, self.config["validation_images"] > 0):
            raise archive.error(f"its history is not one of up to {epochs} epochs")
        arrays = self.state.arrays()
        entries = {name: Entry(array.dtype, array.shape) for name, array in arrays.items()}
        for name, value in archive.arrays(entries).items():
            arrays[name][...] = value
        self.state.history.update(history)

    def _check_config(self, saved: Any) -> None:
        """Raise unless the file has the same configuration."""
        saved = saved if isinstance(saved, dict) else {}
        differences = [
            f"{name} ({_short(saved.get(name))} there, {_short(self.config.get(name))} here)"
            for name in sorted(set(saved) | set(self.config))
            if saved.get(name) != self.config.get(name)
        ]
        if differences:
            raise ValueError(
                f"{self.path} is the checkpoint of a training with other settings; "
                f"resume it with the same: {', '.join(differences)}"
            )


def _short(value: Any) -> str:
    """Return a value as text of at most 100 characters."""
    return shorten(str(value), 100, placeholder=" …")


def _is_history(history: Any, epochs: int, validated: bool) -> TypeGuard[History]:
    """Return whether this is a history of 1 to `epochs` epochs."""
    names = {"loss", "accuracy"} | ({"val_loss", "val_accuracy"} if validated else set())
    return (
        isinstance(history, dict)
        and set(history) == names
        and all(isinstance(values, list) for values in history.values())
        and all(type(value) is float for values in history.values() for value in values)
        and len({len(values) for values in history.values()}) == 1
        and 1 <= len(history["loss"]) <= epochs
    )


def describe(value: object) -> object:
    """Return a number or None itself, a function's name, else the repr."""
    if value is None or isinstance(value, (int, float)):
        return value
    # An object's address differs from run to run.
    return getattr(value, "__qualname__", re.sub(" at 0x[0-9A-Fa-f]+", "", repr(value)))


def fingerprint(
    model: Sequential, images: NDArray[Any], labels: IntArray, schedule: Schedule
) -> dict[str, Any]:
    """Identify a network, a data set and a schedule by JSON values."""
    factors = [f"{schedule(eighth / 8):.6g}" for eighth in range(9)]
    return {
        "layers": [str(layer) for layer in model.layers],
        "input": f"{model.input_shape}, less {model.input_mean}, by {model.input_std}",
        "dtype": model.dtype.name,
        "schedule's factors": " ".join(factors),
        "images": _hash(images),
        "labels": _hash(labels),
    }


def _hash(array: NDArray[Any]) -> str:
    """Return dtype, shape and the beginning of the SHA-256 of an array."""
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return f"{array.dtype} {array.shape} SHA-256 {digest[:16]}"
