"""Room for the arrays of a training step, kept from one step to the next.

An array of some hundred kilobytes that NumPy makes anew is memory that the operating system hands
over page by page, each at a cost, and takes back again. Inside ``with workspace():`` the ops take
theirs from one buffer for each thread, which has grown to what a step needs after the first.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.shapes import Shape

ArraySpec = tuple[Shape, DTypeLike]

# Arrays begin at multiples of so many bytes, a line of the cache: a vector that lies across two
# lines takes twice as long to load.
CACHE_LINE = 64
# So many requests of a thread are kept with what was given: more than its steps make.
MAX_CACHED = 4096


class _Buffer:
    """Memory of one thread: how much there is, and how much was asked for since `scope`."""

    def __init__(self) -> None:
        self.memory = aligned_buffer(0)
        self.size = 0
        self.wanted = 0
        self.active = False
        # By where they begin and what was asked for: arrays, and where they end. Steps that are
        # alike ask for the same over and over, and get the same arrays.
        self.known: dict[tuple[int, tuple[ArraySpec, ...]], tuple[list[NDArray[Any]], int]] = {}
        self.given: list[NDArray[Any]] = []  # since `workspace`


class _Local(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.buffer = _Buffer()


def aligned_buffer(size: int) -> memoryview:
    """Return so many bytes, beginning at a line of the cache."""
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size].data


_local = _Local()


@contextmanager
def scope() -> Iterator[None]:
    """Take memory from the thread's buffer inside the ``with`` block.

    Every array that `allocate`, `empty` and `zeros` give inside is overwritten by the next block of
    the same thread: what is to last must be copied. A block inside another changes nothing.
    """
    own = _local.buffer
    if own.active:
        yield
        return
    own.active, own.wanted, own.given = True, 0, []
    try:
        yield
    finally:
        own.active = False
        if own.wanted > own.size:
            own.memory, own.size = aligned_buffer(own.wanted), own.wanted
            own.known.clear()


def allocate(requests: tuple[ArraySpec, ...]) -> list[NDArray[Any]]:
    """Return arrays of any content that begin at lines of the cache.

    Parameters
    ----------
    requests : tuple of (shape, dtype)
        What an op needs is best asked for at once: it is looked up once.

    Returns
    -------
    list of ndarray
    """
    own = _local.buffer
    if not own.active:
        return [_heap_empty(request) for request in requests]
    start = own.wanted
    known = own.known.get((start, requests))
    if known is None:
        places = [start]
        for request in requests:
            places.append(places[-1] - (-_nbytes(request) // CACHE_LINE) * CACHE_LINE)
        end = places.pop()
        if end > own.size:  # this once; the next workspace has more room
            own.wanted = end
            return [_heap_empty(request) for request in requests]
        arrays = [
            np.ndarray(*request, own.memory, place)
            for request, place in zip(requests, places, strict=True)
        ]
        if len(own.known) >= MAX_CACHED:
            own.known.clear()
        own.known[start, requests] = known = arrays, end
    arrays, own.wanted = known
    own.given += arrays
    return arrays


@lru_cache(maxsize=64)
def constant_zeros(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return zeros that are the same array for all who ask, and that nobody writes to.

    Parameters
    ----------
    count : int
    dtype : numpy.dtype

    Returns
    -------
    ndarray (count,)
    """
    return np.zeros(count, dtype)


def allocations() -> list[NDArray[Any]]:
    """Return the arrays that this thread was given since `scope`, in their order.

    Returns
    -------
    list of ndarray
        Without those for which there was no room yet.
    """
    return list(_local.buffer.given)


def _heap_empty(request: ArraySpec) -> NDArray[Any]:
    return np.ndarray(*request, aligned_buffer(_nbytes(request)))


def _nbytes(request: ArraySpec) -> int:
    shape, dtype = request
    return prod(shape) * np.dtype(dtype).itemsize


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
    return allocate(((shape, dtype),))[0]


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
