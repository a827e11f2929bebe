"""Named arrays and a JSON description in one file: a .npz without pickle.

Writing is atomic: a file is complete or it keeps its old content. Reading trusts nothing: a damaged
or hostile file raises `ModelFileError` before much memory is used.
"""

import glob
import io
import json
import math
import os
import secrets
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

VERSION = 1  # of the format; files of a later version are rejected
LARGEST_FILE = 2**30  # bytes
MOST_MEMBERS = 20_000  # more than any model has arrays; zipfile lists a million in 15 s
LONGEST_DESCRIPTION = 2**22  # characters; they take less than a second to parse
LONGEST_MESSAGE = 400  # characters
LONGEST_HEADER = 2**12  # bytes of a .npy header; `write` makes headers of 128 bytes


class ModelFileError(ValueError):
    """A file is damaged, too new, or not a model or checkpoint of minicnn."""


class Entry(NamedTuple):
    """Expected dtype (of any byte order) and shape of an array in a file."""

    dtype: DTypeLike
    shape: tuple[int, ...]


def check_writable(path: str | PathLike[str]) -> Path:
    """Raise OSError unless a file can be written; return its path.

    Call it before a long computation. Links are followed, so that they stay links.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{path} cannot be written: there is no folder {target.parent}; create it"
        )
    if target.is_dir():
        raise IsADirectoryError(f"{path} cannot be written: it is a folder; name a file in it")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(
            f"{path} cannot be written: {target.parent} does not let you; choose another folder"
        )
    return target


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` once it is on disk.

    The new file lies in the same folder under another name until then. It gets the mode of the old
    one. After an error `path` is unchanged.
    """
    target = check_writable(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            with suppress(FileNotFoundError):
                shutil.copymode(target, part)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:  # Ctrl-C too
        part.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the new name too, where the system can flush folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def exclusive(path: str | PathLike[str] | None) -> Iterator[None]:
    """Keep other processes from writing a file that takes long to compute.

    Raises BlockingIOError if another one does. The operating system releases the lock of a killed
    process; the parts of files that it left are removed. None locks nothing.
    """
    if path is None:
        yield
        return
    target = check_writable(path)
    lock = target.with_name(f".{target.name}.lock")
    with open(lock, "ab") as file:
        if not _holds(file, lock):
            raise BlockingIOError(
                f"{path} is being written by another training; wait for its end or name another"
            )
        for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
            part.unlink(missing_ok=True)
        try:
            yield
        finally:
            with suppress(PermissionError):  # Windows keeps open files
                lock.unlink()


def _holds(file: BinaryIO, lock: Path) -> bool:
    """Lock an open file; return False if another process has locked it."""
    try:
        if sys.platform == "win32":  # pragma: no cover
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its owner may have removed the file since it was opened.
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    except (BlockingIOError, PermissionError, FileNotFoundError):
        return False


def write(
    path: str | PathLike[str],
    kind: str,
    description: dict[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a JSON description and finite arrays; `Archive` reads them.

    Raises TypeError for a description that JSON cannot represent, and ValueError for infinity, NaN
    or a file larger than `Archive` reads.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path} was not written: {name} holds infinity or NaN")
    whole = {"format": f"minicnn {kind}", "version": VERSION, **description}
    try:
        text = json.dumps(whole)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"{path} was not written: its metadata must be JSON types: "
            f"dict, list, str, int, float, bool or None ({error})"
        ) from error
    size = 4 * len(text) + sum(array.nbytes for array in arrays.values())
    if len(text) > LONGEST_DESCRIPTION or size > LARGEST_FILE - LONGEST_HEADER * (len(arrays) + 2):
        raise ValueError(
            f"{path} was not written: {size:,} bytes with a description of {len(text):,} "
            f"characters exceed the limits of {LARGEST_FILE:,} and {LONGEST_DESCRIPTION:,}"
        )
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as members:
        for name, array in {"description": np.array(text), **arrays}.items():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
            with members.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)


class Archive:
    """Reader of a file of `write`: checks everything, parses the description.

    `kind` is "model" or "checkpoint". Raises FileNotFoundError, or ModelFileError for any other
    file.
    """

    def __init__(self, path: str | PathLike[str], kind: str) -> None:
        self.path = path
        data = self._read_bytes()
        if not data:
            raise self.error("it is empty")
        if data.startswith(b"\x93NUMPY"):
            raise self.error(f"it is a single NumPy array, not a minicnn {kind}")
        if not data.startswith(b"PK"):
            raise self.error("it is not a .npz file, or its beginning is damaged")
        # The directory has one such mark for each member; weights hold it by rare chance only.
        if data.count(b"PK\x01\x02") > MOST_MEMBERS:
            raise self.error(f"it holds more than {MOST_MEMBERS:,} members")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self._members = self._zip.infolist()
        except Exception as error:  # damaged files can make zipfile raise anything
            raise self.error(f"it is cut off or damaged ({error})") from error
        names = [member.filename for member in self._members]
        if "description.npy" not in names:
            raise self.error(f"it is a zip without a description, so not a minicnn {kind}")
        self._check_members(names)
        if sum(member.file_size for member in self._members) > len(data):
            raise self.error("its members declare more bytes than the file has")
        self.description = self._read_description(kind)

    def error(self, problem: str) -> ModelFileError:
        """Return an error that names the file and the problem."""
        # The text may come from the file: too long, or with control codes of a terminal.
        if len(problem) > LONGEST_MESSAGE:  # the end says what is wrong
            problem = f"{problem[: LONGEST_MESSAGE // 2]} … {problem[-LONGEST_MESSAGE // 2 :]}"
        shown = "".join(c if c.isprintable() else "?" for c in problem)
        return ModelFileError(f"{self.path} cannot be loaded: {shown}")

    def arrays(self, expected: Mapping[str, Entry]) -> dict[str, NDArray[Any]]:
        """Read all arrays, in this machine's byte order.

        Raises ModelFileError if names, dtypes or shapes are not exactly the expected ones, or if a
        value is infinite or NaN.
        """
        present = {member.filename.removesuffix(".npy") for member in self._members}
        present.remove("description")
        if missing := sorted(set(expected) - present):
            raise self.error(f"it lacks {_listed(missing)}")
        if unexpected := sorted(present - set(expected)):
            raise self.error(f"it holds {_listed(unexpected)}, which does not belong there")
        arrays = {}
        for name, entry in expected.items():
            dtype = np.dtype(entry.dtype)
            nbytes = math.prod(entry.shape) * dtype.itemsize
            size = self._zip.getinfo(f"{name}.npy").file_size  # checked before it is read
            if not nbytes < size <= nbytes + LONGEST_HEADER:
                raise self.error(
                    f"{name} should hold {nbytes:,} bytes after a header of at most "
                    f"{LONGEST_HEADER:,}, but declares {size:,}"
                )
            arrays[name] = self._array(name, dtype.newbyteorder("<"), entry.shape).astype(dtype)
            if not np.isfinite(arrays[name]).all():
                raise self.error(f"{name} holds infinity or NaN")
        return arrays

    def _read_bytes(self) -> bytes:
        file = Path(self.path)
        if not file.exists():
            raise FileNotFoundError(f"{self.path} cannot be loaded: there is no such file")
        if not file.is_file():
            raise self.error("it is not a file")
        size = file.stat().st_size
        if size > LARGEST_FILE:
            raise self.error(f"it has {size:,} bytes, more than the limit of {LARGEST_FILE:,}")
        return file.read_bytes()

    def _check_members(self, names: list[str]) -> None:
        if len(set(names)) < len(names):
            raise self.error("it holds two members of one name")
        for member in self._members:
            if not member.filename.endswith(".npy"):
                raise self.error(f"it holds {member.filename!r}, which does not belong there")
            # Bit 0 of the flags means encrypted.
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
        try:  # Python decodes, because NumPy raises SystemError for invalid code points.
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

    def _array(
        self, name: str, expected: np.dtype[Any] | None, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Read one array of a dtype (None: a string) and shape; check its CRC."""
        try:
            member = io.BytesIO(self._zip.read(f"{name}.npy"))
            if np.lib.format.read_magic(member) != (1, 0):
                raise ValueError("not version 1.0 of .npy")
            actual, fortran_order, dtype = np.lib.format.read_array_header_1_0(
                member, max_header_size=LONGEST_HEADER
            )
        except Exception as error:  # damaged headers, too, can make NumPy raise anything
            raise self.error(f"{name} is cut off or damaged ({error})") from error
        matches = dtype == expected if expected else dtype.kind == "U" and dtype.byteorder in "<="
        if not matches or actual != shape or fortran_order:
            raise self.error(
                f"{name} should be {expected or 'a string'} of shape {shape} in C order, "
                f"not {dtype} of shape {actual}{' in Fortran order' if fortran_order else ''}"
            )
        try:
            return np.frombuffer(member.read(), dtype).reshape(shape)
        except ValueError as error:
            raise self.error(f"{name} does not have the size it declares ({error})") from error


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
