"""Scratch memory for the arrays of a step: one arena per thread.

The operating system hands NumPy's large arrays over page by page, and each page costs a fault.
Inside ``with arena.scope():`` ops allocate from one buffer per thread instead. After the first step
the buffer has the size that a step needs, and equal steps get the same arrays.

Arrays returned inside `arena.scope()` die with it: the next scope of the same thread overwrites
them. Copy the arrays that must outlive the scope.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.shapes import Array, Out, Shape
from minicnn.shapes.checks import check_out

ArraySpec = tuple[Shape, DTypeLike]

# Arrays begin at multiples of this many bytes: a vector that crosses two cache lines takes twice as
# long to load.
CACHE_LINE = 64
# Maximum number of cached allocations per thread; more than one training step needs.
MAX_CACHED = 4096


class _Arena:
    """The buffer of one thread."""

    def __init__(self) -> None:
        self.memory = aligned_buffer(0)
        self.top = 0  # offset of the next allocation; beyond the buffer where it overflowed
        self.active = False
        # (start offset, requested specs) -> (arrays, end offset)
        self.cached: dict[tuple[int, tuple[ArraySpec, ...]], tuple[list[NDArray[Any]], int]] = {}


class _Local(threading.local):
    """The arena of each thread."""

    def __init__(self) -> None:
        self.arena = _Arena()


def aligned_buffer(size: int) -> NDArray[np.uint8]:
    """Return `size` bytes that begin at a cache line."""
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size]


_local = _Local()


@contextmanager
def scope() -> Iterator[None]:
    """Allocate from this thread's arena inside the ``with`` block.

    The next scope of the same thread overwrites all arrays that `allocate` and `empty` return
    inside. A scope inside another one has no effect.
    """
    own = _local.arena
    if own.active:
        yield
        return
    own.active, own.top = True, 0
    try:
        yield
    finally:
        own.active = False
        if own.top > own.memory.size:
            own.memory = aligned_buffer(own.top)
            own.cached.clear()


def allocate(specs: tuple[ArraySpec, ...]) -> list[NDArray[Any]]:
    """Return arrays of undefined content that begin at cache lines.

    Parameters
    ----------
    specs : tuple of (shape, dtype)
        All arrays of an op: one lookup finds them together.

    Returns
    -------
    list of ndarray
        Outside of a scope, and where the arena is still too small, from NumPy's heap.
    """
    own = _local.arena
    if not own.active:
        return [_heap_empty(spec) for spec in specs]
    start = own.top
    cached = own.cached.get((start, specs))
    if cached is None:
        offsets = [start]
        for spec in specs:
            offsets.append(offsets[-1] - (-_nbytes(spec) // CACHE_LINE) * CACHE_LINE)
        end = offsets.pop()
        if end > own.memory.size:  # the scope grows the arena when it ends
            own.top = end
            return [_heap_empty(spec) for spec in specs]
        arrays = [
            np.ndarray(*spec, own.memory.data, offset)
            for spec, offset in zip(specs, offsets, strict=True)
        ]
        if len(own.cached) >= MAX_CACHED:
            own.cached.clear()
        own.cached[start, specs] = cached = arrays, end
    arrays, own.top = cached
    return arrays


def top() -> int:
    """Return the offset of this thread's next allocation."""
    return _local.arena.top


def overflowed() -> bool:
    """Return whether this scope needs more memory than the arena has."""
    own = _local.arena
    return own.top > own.memory.size


def memory(start: int, stop: int) -> NDArray[np.uint8]:
    """Return the bytes between two offsets of this thread's arena."""
    return _local.arena.memory[start:stop]


@lru_cache(maxsize=64)
def constant_zeros(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return zeros (count,) that all callers share and none may write."""
    return np.zeros(count, dtype)


def _heap_empty(spec: ArraySpec) -> NDArray[Any]:
    """Return an array in memory of its own."""
    return np.ndarray(*spec, aligned_buffer(_nbytes(spec)).data)


def _nbytes(spec: ArraySpec) -> int:
    """Return the size of an array in bytes."""
    shape, dtype = spec
    return prod(shape) * np.dtype(dtype).itemsize


def empty(shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of undefined content that begins at a cache line.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
    """
    return allocate(((shape, dtype),))[0]


def gradient_buffers(op: str, weight: Array, out: Out) -> tuple[Array, Array]:
    """Return arrays for (dweight, dbias): new ones, or the checked `out`."""
    sizes = weight.shape, weight.shape[-1:]
    if out is None:
        dweight, dbias = allocate(((sizes[0], weight.dtype), (sizes[1], weight.dtype)))
        return dweight, dbias
    check_out(op, out, sizes, weight.dtype)
    return out
