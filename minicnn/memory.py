"""Room for the arrays of a training step, kept from one step to the next.

An array of some hundred kilobytes that NumPy makes anew is memory that the operating system hands
over page by page, each at a cost, and takes back again. Inside ``with workspace():`` the ops take
theirs from one buffer for each thread, which has grown to what a step needs after the first.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.shapes import Shape

# Arrays begin at multiples of so many bytes, a line of the cache: a vector that lies across two
# lines takes twice as long to load.
LINE = 64


class _Buffer:
    """Memory of one thread: how much there is, and how much was asked for since `workspace`."""

    def __init__(self) -> None:
        self.memory = _lines(0)
        self.size = 0
        self.wanted = 0
        self.active = False
        # What was given since `workspace`, or the last time, in its order: (shape, dtype), the
        # array, and where it ends. Steps that are alike ask for the same over and over.
        self.given: list[tuple[tuple[Shape, DTypeLike], NDArray[Any], int]] = []
        self.count = 0


class _Thread(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.buffer = _Buffer()


def _lines(size: int) -> memoryview:
    """Return so many bytes, beginning at a line of the cache."""
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].data


_thread = _Thread()


@contextmanager
def workspace() -> Iterator[None]:
    """Take memory from the thread's buffer inside the ``with`` block.

    Every array that `empty` and `zeros` give inside is overwritten by the next block of the same
    thread: what is to last must be copied. A block inside another changes nothing.
    """
    own = _thread.buffer
    if own.active:
        yield
        return
    own.active, own.wanted, own.count = True, 0, 0
    try:
        yield
    finally:
        own.active = False
        if own.wanted > own.size:
            own.memory, own.size = _lines(own.wanted), own.wanted
            own.given.clear()


def empty(shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of any content, as `numpy.empty`, that begins at a line of the cache.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
    """
    own = _thread.buffer
    if not own.active:
        return np.ndarray(shape, dtype, _lines(_bytes(shape, dtype)))
    number, request = own.count, (shape, dtype)
    own.count = number + 1
    if number < len(own.given):
        known, array, end = own.given[number]
        if known == request:
            own.wanted = end
            return array
        del own.given[number:]
    start = own.wanted
    own.wanted = start - (-_bytes(shape, dtype) // LINE) * LINE
    if own.wanted > own.size:  # this once; the next workspace has more room
        return np.ndarray(shape, dtype, _lines(_bytes(shape, dtype)))
    array = np.ndarray(shape, dtype, own.memory, start)
    own.given.append((request, array, own.wanted))
    return array


def _bytes(shape: Shape, dtype: DTypeLike) -> int:
    return prod(shape) * np.dtype(dtype).itemsize


def zeros(shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros, as `numpy.zeros`, that begins at a line of the cache.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
    """
    array = empty(shape, dtype)
    array.fill(0)
    return array
