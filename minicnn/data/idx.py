"""Read IDX, the file format of MNIST and of data sets in its form.

An IDX file holds one array in C order::

    0  0  T  D     two zero bytes, element type (8 = uint8), number of dimensions
    n0 n1 ...      one big-endian uint32 per dimension
    ...            the elements

The first four bytes form the magic number: 2051 for images ``(N, H, W)``, 2049 for labels ``(N,)``.

A header can be wrong: downloads break off, error pages replace files, and an attacker can claim any
size. So memory is allocated for bytes that have arrived, not for the size in the header, and the
file must end exactly where the header says.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 16
_UINT8 = 8
_TYPE_NAMES = {8: "uint8", 9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
_CONTENTS = {1: "labels", 3: "images"}


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> NDArray[np.uint8]:
    """Read one IDX file of uint8, plain or gzip.

    The first two bytes decide whether the file is gzip, not its name. The peak memory is the size
    of the array plus a small constant, and at most twice the bytes that have arrived.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    ndim : int
        3 for images, 1 for labels.

    Returns
    -------
    ndarray of uint8
        With the shape in the header.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If `ndim` is neither 1 nor 3, or the file is not a valid IDX file of uint8 with `ndim`
        dimensions.

    References
    ----------
    Y. LeCun's MNIST page, http://yann.lecun.com/exdb/mnist/, describes the format at its end.
    """
    if ndim not in _CONTENTS:
        raise ValueError(f"read_idx: ndim must be 1 (labels) or 3 (images), not {ndim!r}")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give {_expected(ndim)}")
    if not path.is_file():
        raise ValueError(f"{path} is a folder or a device; give {_expected(ndim)}")
    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        if not is_gzip:
            return _read_array(file, path, ndim)
        try:
            with gzip.open(file) as stream:
                return _read_array(stream, path, ndim)
        except EOFError as error:
            raise ValueError(f"{path}: the gzip stream is truncated; download it again") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path}: the gzip stream is damaged, or followed by other bytes ({error}); "
                "download it again"
            ) from error


def read_images_and_labels(
    images_path: str | os.PathLike[str], labels_path: str | os.PathLike[str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # (N, H, W), (N,)
    """Read images and their labels, 0 to 9, from two IDX files."""
    images = read_idx(images_path, ndim=3)
    labels = read_idx(labels_path, ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels; "
            "give two files of the same data set"
        )
    invalid = np.flatnonzero(labels > 9)
    if invalid.size:
        raise ValueError(
            f"{labels_path}: labels must be 0 to 9, but label {invalid[0]} is "
            f"{labels[invalid[0]]} ({invalid.size} of {labels.size} labels are above 9); "
            "give a data set of ten classes"
        )
    return images, labels


def _expected(ndim: int) -> str:
    """Describe the expected file in an error message."""
    magic = (_UINT8 << 8) + ndim
    return f"an IDX file of {_CONTENTS[ndim]} (magic number {magic}), plain or gzip"


def _read_array(stream: io.BufferedIOBase, path: Path, ndim: int) -> NDArray[np.uint8]:
    """Read the header and exactly the elements that it announces."""
    shape = _read_header(stream, path, ndim)
    size = math.prod(shape)  # Python's int does not overflow
    data = _read_up_to(stream, size)
    if data.size < size or stream.read(1):
        length = "more" if data.size == size else data.size
        raise ValueError(
            f"{path}: the data must have {size} bytes for shape {shape} in the header, not "
            f"{length}; download the file again"
        )
    return data.reshape(shape)


def _read_header(stream: io.BufferedIOBase, path: Path, ndim: int) -> tuple[int, ...]:
    """Check the magic number and return the shape."""
    head = stream.read(4 + 4 * ndim)
    if not head:
        raise ValueError(f"{path} is empty; download it again")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise ValueError(
            f"{path} is a web page (it starts with {head!r}), not {_expected(ndim)}; download the "
            "file itself, or use another mirror"
        )
    magic = head[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(
            f"{path} starts with {magic!r}, which is not an IDX magic number; give "
            f"{_expected(ndim)}"
        )
    if magic[2] != _UINT8:
        name = _TYPE_NAMES.get(magic[2], "unknown to IDX")
        raise ValueError(
            f"{path}: the element type must be 0x08 (uint8), not 0x{magic[2]:02x} ({name}); "
            "convert the data to uint8"
        )
    if magic[3] != ndim:
        raise ValueError(
            f"{path}: the number of dimensions must be {ndim}, not {magic[3]}; give "
            f"{_expected(ndim)}; the files of images and labels may be swapped"
        )
    if len(head) < 4 + 4 * ndim:
        raise ValueError(
            f"{path} ends inside its header, after {len(head)} bytes; download it again"
        )
    shape: tuple[int, ...] = struct.unpack(f">{ndim}I", head[4:])
    if 0 in shape:
        raise ValueError(
            f"{path}: dimension {shape.index(0)} of shape {shape} must be at least 1, not 0; "
            "download the file again"
        )
    return shape


def _read_up_to(stream: io.BufferedIOBase, size: int) -> NDArray[np.uint8]:
    """Read `size` bytes, or fewer if the stream ends earlier."""
    # A bytearray grows in place; `ndarray.resize` copies all since NumPy 2.5.
    data = bytearray()
    while chunk := stream.read(min(size - len(data), _CHUNK)):
        data += chunk
    return np.frombuffer(data, np.uint8)
