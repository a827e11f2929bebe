"""Writing a file, whole or not at all."""

import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from minicnn.archive.format import LARGEST_FILE, LONGEST_DESCRIPTION, LONGEST_HEADER, VERSION


def check_writable(path: str | PathLike[str]) -> Path:
    """Check that a file can be written there, before work is done that it shall keep.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Path
        Where it will be: a link is followed, so that it stays a link.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written to, or `path` is itself a folder.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}")
    if target.is_dir():
        raise IsADirectoryError(f"{path} cannot be written: it is a folder; name a file in it")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"{path} cannot be written: {target.parent} does not let you")
    return target


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file whole or not at all: a new one in the same folder, renamed once it is on disk.

    Parameters
    ----------
    path : str or os.PathLike
        A file that is there already stays as it was until then, and after any error.

    Yields
    ------
    file
        To write bytes to.

    Raises
    ------
    OSError
        As `check_writable`, or if the disk is full.
    """
    target = check_writable(path)
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the new name on disk as well, where folders can be synchronised
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(
    path: str | PathLike[str],
    kind: str,
    description: dict[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a file; `Archive` reads it.

    Parameters
    ----------
    path : str or os.PathLike
    kind : {"model", "checkpoint"}
    description : dict
        What JSON can hold.
    arrays : dict of str to ndarray
        Numbers, all of them finite.

    Raises
    ------
    TypeError
        If the description holds what JSON cannot.
    ValueError
        If a number is infinite or NaN, or the file would be larger than `Archive` reads.
    OSError
        As `replacing`.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path} was not written: {name} holds infinity or NaN")
    whole = {"format": f"minicnn {kind}", "version": VERSION, **description}
    try:
        text = json.dumps(whole)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"{path} was not written: its facts must be of what JSON can hold, "
            f"such as dict, list, str, int and float ({error})"
        ) from error
    size = 4 * len(text) + sum(array.nbytes for array in arrays.values())
    if len(text) > LONGEST_DESCRIPTION or size > LARGEST_FILE - LONGEST_HEADER * (len(arrays) + 2):
        raise ValueError(
            f"{path} was not written: {size:,} bytes, {len(text):,} of them of description, are "
            f"more than is read again ({LARGEST_FILE:,} and {LONGEST_DESCRIPTION:,})"
        )
    with replacing(path) as file, zipfile.ZipFile(file, "w") as members:
        for name, array in {"description": np.array(text), **arrays}.items():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
            with members.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)
