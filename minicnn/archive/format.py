"""What writing and reading have in common: the version of the format, and limits."""

from typing import NamedTuple

from numpy.typing import DTypeLike

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
