"""A training kept in a file from epoch to epoch, so that it can go on after it was stopped."""

import hashlib
import json
import re
from os import PathLike
from textwrap import shorten
from typing import Any, TypeGuard

from numpy.typing import NDArray

from minicnn.model.sequential import Sequential
from minicnn.optim import Schedule
from minicnn.runtime.archive import Archive, Entry, check_writable, write
from minicnn.shapes import IntArray
from minicnn.train.state import History, TrainingState


class Checkpoint:
    """The file of a training: its state after the last whole epoch, and its settings.

    A training that goes on from it comes to the same bytes as one that was never stopped, provided
    that the settings are the same, and so they must be. (Another version of the library or of
    Numba, or another kind of CPU, may round in another way.)

    Parameters
    ----------
    path : str or os.PathLike
    state : TrainingState
        What is saved, and filled by `load`.
    settings : dict
        All that decides how the training goes, as JSON has it.

    Raises
    ------
    TypeError
        If the optimizer does not show its state.
    OSError
        If no file can be written there.
    """

    def __init__(
        self, path: str | PathLike[str], state: TrainingState, settings: dict[str, Any]
    ) -> None:
        check_writable(path)
        self.path, self.state = path, state
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        state.arrays()  # raises here, rather than after the first epoch

    def save(self) -> None:
        """Write the state; the file is the old one or the new one, never half of each.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        about = {"settings": self.settings, "history": self.state.history}
        write(self.path, "checkpoint", about, self.state.arrays())

    def load(self) -> None:
        """Put the state of the file into `state`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If it is damaged, not a checkpoint, or of a newer format.
        ValueError
            If it is the checkpoint of a training with other settings; the message names them.
        """
        archive = Archive(self.path, "checkpoint")
        self._check_settings(archive.description.get("settings"))
        history = archive.description.get("history")
        epochs = self.settings["epochs"]
        if not _is_history(history, epochs, self.settings["validation_images"] > 0):
            raise archive.error(f"its history is not one of up to {epochs} epochs")
        arrays = self.state.arrays()
        wanted = {name: Entry(array.dtype, array.shape) for name, array in arrays.items()}
        for name, found in archive.arrays(wanted).items():
            arrays[name][...] = found
        self.state.history.update(history)

    def _check_settings(self, found: Any) -> None:
        found = found if isinstance(found, dict) else {}
        differing = [
            f"{name} ({_short(found.get(name))} there, {_short(self.settings.get(name))} here)"
            for name in sorted(set(found) | set(self.settings))
            if found.get(name) != self.settings.get(name)
        ]
        if differing:
            raise ValueError(
                f"{self.path} is the checkpoint of a training with other settings, and can only "
                f"go on with the same: {', '.join(differing)}"
            )


def _short(value: Any) -> str:
    return shorten(str(value), 100, placeholder=" …")


def _is_history(history: Any, epochs: int, validated: bool) -> TypeGuard[History]:
    names = {"loss", "accuracy"} | ({"val_loss", "val_accuracy"} if validated else set())
    return (
        isinstance(history, dict)
        and set(history) == names
        and all(isinstance(values, list) for values in history.values())
        and all(type(value) is float for values in history.values() for value in values)
        and len({len(values) for values in history.values()}) == 1
        and 1 <= len(history["loss"]) <= epochs
    )


def describe_object(thing: object) -> str | None:
    """Return what tells an optimizer, schedule or augmentation from others of its kind.

    Parameters
    ----------
    thing : object

    Returns
    -------
    str, or None
        A function's name, else what the object shows, less its place in memory; None for None.
    """
    if thing is None:
        return None
    return getattr(thing, "__qualname__", re.sub(" at 0x[0-9A-Fa-f]+", "", repr(thing)))


def fingerprint(
    model: Sequential, images: NDArray[Any], labels: IntArray, schedule: Schedule
) -> dict[str, Any]:
    """Tell a network, a data set and a schedule from others, in few words.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
    labels : ndarray of int (N,)
    schedule : callable

    Returns
    -------
    dict
        What JSON can hold.
    """
    factors = [f"{schedule(eighth / 8):.6g}" for eighth in range(9)]
    return {
        "layers": [str(layer) for layer in model.layers],
        "input": f"{model.input_shape}, less {model.input_mean}, by {model.input_std}",
        "dtype": model.dtype.name,
        "schedule's factors": " ".join(factors),
        "images": _hash_of(images),
        "labels": _hash_of(labels),
    }


def _hash_of(array: NDArray[Any]) -> str:
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return f"{array.dtype} {array.shape} SHA-256 {digest[:16]}"
