"""Strict reader of IDX, the file format of MNIST and of the data sets made in its image.

An IDX file is a header followed by the elements of one array in C order::

    0  0  T  D     two zero bytes, element type (8 = uint8), number of dimensions
    n0 n1 ...      one big-endian uint32 per dimension
    ...            the elements

Read as one number, the first four bytes are the magic number: 2051 for images ``(N, H, W)``,
2049 for labels ``(N,)``.

A header is a claim, not a fact: files are cut short by broken downloads, replaced by error pages,
or made to hurt. So memory is taken as data arrives, never on the header's word, and the stream
must end exactly where the header says.
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
import numpy.typing as npt

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 16
_UINT8 = 0x08
_TYPE_NAMES = {
    0x08: "uint8",
    0x09: "int8",
    0x0B: "int16",
    0x0C: "int32",
    0x0D: "float32",
    0x0E: "float64",
}
_CONTENTS = {1: "labels", 3: "images"}


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> npt.NDArray[np.uint8]:
    """Read one IDX file of uint8, plain or gzip.

    Whether the file is gzip is decided by its first two bytes, not by its name. The memory in use
    never exceeds the array's size by more than a small constant, and never twice the data that has
    really arrived, whatever the header promises.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    ndim : int
        Number of dimensions wanted: 3 for images, 1 for labels.

    Returns
    -------
    ndarray of uint8
        The array, with the shape given by the header.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If `ndim` is neither 1 nor 3, or if the file is anything but a sound IDX file of uint8 with
        `ndim` dimensions.

    References
    ----------
    The format is described at the end of Y. LeCun's MNIST page, http://yann.lecun.com/exdb/mnist/
    """
    if ndim not in _CONTENTS:
        raise ValueError(f"read_idx: ndim must be 1 (labels) or 3 (images), got {ndim!r}")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {_wanted(ndim)} is wanted here")
    if not path.is_file():
        raise ValueError(f"{path} is a folder or a device, not a file; {_wanted(ndim)} is wanted")
    with path.open("rb") as file:
        gzipped = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        return _read_gzip(file, path, ndim) if gzipped else _read_array(file, path, ndim)


def read_images_and_labels(
    images_path: str | os.PathLike[str], labels_path: str | os.PathLike[str]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read an IDX file of images and the IDX file of their labels.

    Parameters
    ----------
    images_path : str or os.PathLike
        IDX file of N images.
    labels_path : str or os.PathLike
        IDX file of N labels, each 0 to 9.

    Returns
    -------
    images : ndarray of uint8, shape (N, H, W)
        The images; 0 is background, 255 is ink.
    labels : ndarray of uint8, shape (N,)
        The class of each image.

    Raises
    ------
    FileNotFoundError
        If one of the files does not exist.
    ValueError
        If a file is not sound (see `read_idx`), the counts differ, or a label is above 9.
    """
    images = read_idx(images_path, ndim=3)
    labels = read_idx(labels_path, ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images but {labels_path} holds {len(labels)} "
            "labels; there must be one label per image, so the files are not a pair"
        )
    wrong = np.flatnonzero(labels > 9)
    if wrong.size:
        raise ValueError(
            f"{labels_path}: label {wrong[0]} is {labels[wrong[0]]} ({wrong.size} of {labels.size} "
            "labels are above 9); labels must be 0 to 9, so this is another kind of data set"
        )
    return images, labels


def _wanted(ndim: int) -> str:
    """Say what kind of file would have been right."""
    magic = (_UINT8 << 8) + ndim
    return f"an IDX file of {_CONTENTS[ndim]} (magic number {magic}), plain or gzip,"


def _read_gzip(file: io.BufferedReader, path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Read the array through gzip, and say which way the gzip stream is broken."""
    try:
        with gzip.open(file) as stream:
            return _read_array(stream, path, ndim)
    except EOFError as error:
        raise ValueError(
            f"{path}: the gzip stream is cut short; {_wanted(ndim)} is wanted: download it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: the gzip stream is damaged, or followed by bytes that are not gzip ({error});"
            f" {_wanted(ndim)} is wanted: download it again"
        ) from error


def _read_array(stream: io.BufferedIOBase, path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Read header and elements, and insist that nothing follows."""
    shape = _read_header(stream, path, ndim)
    size = math.prod(shape)  # Python ints: four billion cubed does not wrap
    data = _read_up_to(stream, size)
    claim = f"{path}: the header promises {size} bytes of data (shape {shape})"
    if data.size < size:
        raise ValueError(f"{claim} but only {data.size} follow it; download the file again")
    if stream.read(1):
        raise ValueError(f"{claim} but more bytes follow them; download the file again")
    return data.reshape(shape)


def _read_header(stream: io.BufferedIOBase, path: Path, ndim: int) -> tuple[int, ...]:
    """Check the magic number and return the shape."""
    head = stream.read(4 + 4 * ndim)
    if not head:
        raise ValueError(f"{path} is empty; {_wanted(ndim)} is wanted: download it again")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise ValueError(
            f"{path} is a web page saved under the file's name (it starts with {head!r}); "
            f"{_wanted(ndim)} is wanted: download the file itself, or try another mirror"
        )
    _check_magic(head[:4], path, ndim)
    if len(head) < 4 + 4 * ndim:
        raise ValueError(
            f"{path} ends inside its header, after {len(head)} bytes; {_wanted(ndim)} is wanted: "
            "download it again"
        )
    shape: tuple[int, ...] = struct.unpack(f">{ndim}I", head[4:])
    if 0 in shape:
        raise ValueError(
            f"{path}: dimension {shape.index(0)} of shape {shape} is 0, but every dimension must "
            "be at least 1; the file holds no data or is damaged: download it again"
        )
    return shape


def _check_magic(magic: bytes, path: Path, ndim: int) -> None:
    """Insist on two zero bytes, uint8 and `ndim` dimensions."""
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(
            f"{path} starts with {magic!r}, which is no IDX magic number; {_wanted(ndim)} is "
            "wanted: check that this is the right file"
        )
    if magic[2] != _UINT8:
        name = _TYPE_NAMES.get(magic[2], "unknown to IDX")
        raise ValueError(
            f"{path}: the element type is 0x{magic[2]:02x} ({name}), but 0x08 (uint8) is wanted; "
            "convert the data to uint8"
        )
    if magic[3] != ndim:
        raise ValueError(
            f"{path}: the number of dimensions is {magic[3]}, but {ndim} is wanted, as in "
            f"{_wanted(ndim)}; perhaps the files of images and labels are swapped"
        )


def _read_up_to(stream: io.BufferedIOBase, size: int) -> npt.NDArray[np.uint8]:
    """Read `size` bytes, or fewer if the stream ends before."""
    data = np.empty(min(size, _CHUNK), dtype=np.uint8)
    filled = 0
    while count := stream.readinto(data.data[filled : filled + _CHUNK]):
        filled += count
        if filled == data.size:
            # Doubling keeps the cost linear; the bound keeps the memory exact. No view of `data`
            # is alive here, which is what refcheck guards, too timidly under a debugger.
            data.resize(min(size, 2 * filled), refcheck=False)
    return data[:filled]
