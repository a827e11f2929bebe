"""What writing and reading have in common: the version of the format, and limits.

Writing a file, whole or not at all.

Reading a file as if a stranger had sent it.
"""

import io
import json
import math
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

VERSION = 1  # of the format; a file of a higher one is refused
LARGEST_FILE = 2**30
LONGEST_DESCRIPTION = 2**24  # characters
LONGEST_MESSAGE = 400  # characters
LONGEST_HEADER = 2**12  # of a .npy member; those written here have 128 bytes


class ModelFileError(ValueError):
    """A file is not a sound model or checkpoint of this version: damaged, foreign or too new."""


class Entry(NamedTuple):
    """What an array in a file must be: its dtype (of any byte order) and shape."""

    dtype: DTypeLike
    shape: tuple[int, ...]


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
def atomic_write(path: str | PathLike[str]) -> Iterator[BinaryIO]:
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
        As `atomic_write`.
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
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as members:
        for name, array in {"description": np.array(text), **arrays}.items():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
            with members.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)


class Archive:
    """A file, opened: its description is read, its arrays are not yet.

    Parameters
    ----------
    path : str or os.PathLike
    kind : {"model", "checkpoint"}
        What it must be.

    Attributes
    ----------
    description : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is damaged, something else, or of a newer format.
    """

    def __init__(self, path: str | PathLike[str], kind: str) -> None:
        self.path = path
        data = _bytes_of(path)
        if not data:
            raise self.error("it is empty")
        if data.startswith(b"\x93NUMPY"):
            raise self.error(f"it is a single NumPy array, not a minicnn {kind}")
        if not data.startswith(b"PK"):
            raise self.error("it is not a .npz file, or its beginning is damaged")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self._members = self._zip.infolist()
        except Exception as error:  # zipfile raises of every sort for what it cannot make sense of
            raise self.error(f"it is cut off or damaged ({error})") from error
        names = [member.filename for member in self._members]
        if "description.npy" not in names:
            raise self.error(f"it is a zip without a description, so not a minicnn {kind}")
        self._check_members(names)
        self.description = self._read_description(kind)

    def error(self, what: str) -> ModelFileError:
        """Make an error that names the file.

        Parameters
        ----------
        what : str
            What is wrong with it.

        Returns
        -------
        ModelFileError
        """
        # what is wrong may be long, or hold codes that a terminal obeys
        shown = "".join(c if c.isprintable() else "?" for c in what[:LONGEST_MESSAGE])
        more = " …" if len(what) > LONGEST_MESSAGE else ""
        return ModelFileError(f"{self.path} cannot be loaded: {shown}{more}")

    def arrays(self, wanted: Mapping[str, Entry]) -> dict[str, NDArray[Any]]:
        """Read all arrays.

        Parameters
        ----------
        wanted : dict of str to Entry
            What must be there: exactly these.

        Returns
        -------
        dict of str to ndarray
            Finite numbers, in this machine's byte order.

        Raises
        ------
        ModelFileError
            If names, dtypes, shapes or sizes are others, or a number is infinite or NaN.
        """
        found = {member.filename.removesuffix(".npy") for member in self._members}
        found.remove("description")
        if missing := sorted(set(wanted) - found):
            raise self.error(f"it lacks {_listed(missing)}")
        if strange := sorted(found - set(wanted)):
            raise self.error(f"it holds {_listed(strange)}, which does not belong there")
        arrays = {}
        for name, entry in wanted.items():
            dtype = np.dtype(entry.dtype)
            self._check_size(name, math.prod(entry.shape) * dtype.itemsize)
            arrays[name] = self._array(name, dtype.newbyteorder("<"), entry.shape).astype(dtype)
            if not np.isfinite(arrays[name]).all():
                raise self.error(f"{name} holds infinity or NaN")
        return arrays

    def _check_members(self, names: list[str]) -> None:
        if len(set(names)) < len(names):
            raise self.error("it holds two members of one name")
        for member in self._members:
            if not member.filename.endswith(".npy"):
                raise self.error(f"it holds {member.filename!r}, which does not belong there")
            # bit 0 of the flags: encrypted
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise self.error(f"{member.filename} is compressed or encrypted; minicnn does not")
            if member.file_size != member.compress_size:
                raise self.error(
                    f"{member.filename} has {member.compress_size:,} bytes but declares "
                    f"{member.file_size:,}"
                )

    def _read_description(self, kind: str) -> dict[str, Any]:
        size = self._zip.getinfo("description.npy").file_size
        if size > 4 * LONGEST_DESCRIPTION + LONGEST_HEADER:
            raise self.error(f"its description of {size:,} bytes is too long")
        text = self._array("description", None, ())
        try:  # decoded by Python: for numbers that are no characters NumPy raises a SystemError
            description = json.loads(text.tobytes().decode("utf-32-le").rstrip("\0"))
        except (ValueError, RecursionError) as error:
            raise self.error(f"its description is not JSON ({error})") from error
        form = description.get("format") if isinstance(description, dict) else None
        version = description.get("version") if isinstance(description, dict) else None
        if form not in ("minicnn model", "minicnn checkpoint") or type(version) is not int:
            raise self.error("its description does not say that it is minicnn's")
        if version > VERSION:
            raise self.error(
                f"it is of format {version}, this minicnn reads {VERSION}; update minicnn"
            )
        if version < 1:
            raise self.error(f"there is no format {version}")
        if form != f"minicnn {kind}":
            raise self.error(f"it is a {form.removeprefix('minicnn ')}, not a {kind}")
        return dict(description)

    def _check_size(self, name: str, wanted: int) -> None:
        """Check, before anything is read, that the array and its header fill the member."""
        size = self._zip.getinfo(f"{name}.npy").file_size
        if not wanted < size <= wanted + LONGEST_HEADER:
            raise self.error(
                f"{name} should hold {wanted:,} bytes after a header of at most "
                f"{LONGEST_HEADER:,}, but declares {size:,}"
            )

    def _array(
        self, name: str, wanted: np.dtype[Any] | None, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Read one array of a dtype (None: a string) and shape; the file's checksum is compared."""
        try:
            member = io.BytesIO(self._zip.read(f"{name}.npy"))
            if np.lib.format.read_magic(member) != (1, 0):
                raise ValueError("not version 1.0 of .npy")
            found, by_columns, dtype = np.lib.format.read_array_header_1_0(
                member, max_header_size=LONGEST_HEADER
            )
        except Exception as error:  # as above; and NumPy parses the header as a Python literal
            raise self.error(f"{name} is cut off or damaged ({error})") from error
        right = dtype == wanted if wanted else dtype.kind == "U" and dtype.byteorder in "<="
        if not right or found != shape or by_columns:
            raise self.error(
                f"{name} should be {wanted or 'a string'} of shape {shape}, in rows, "
                f"not {dtype} of shape {found}{', in columns' if by_columns else ''}"
            )
        try:
            return np.frombuffer(member.read(), dtype).reshape(shape)
        except ValueError as error:
            raise self.error(f"{name} has more or less data than it declares ({error})") from error


def _bytes_of(path: str | PathLike[str]) -> bytes:
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"{path} cannot be loaded: there is no such file")
    if not file.is_file():
        raise ModelFileError(f"{path} cannot be loaded: it is not a file")
    size = file.stat().st_size
    if size > LARGEST_FILE:
        raise ModelFileError(
            f"{path} cannot be loaded: it has {size:,} bytes, more than the {LARGEST_FILE:,} of "
            f"the largest model"
        )
    return file.read_bytes()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
