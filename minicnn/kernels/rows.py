"""Rows of images: copied, and padded with zeros."""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.machine import NARROW
from minicnn.kernels.vectors import fill, load, store

Array = NDArray[np.float32]


@numba.njit(inline="always")
def copy_row(a: Array, i: int, count: int, out: Array, o: int) -> None:
    """Copy so many numbers from ``a[i]`` on to ``out[o]`` and on.

    Parameters
    ----------
    a : ndarray
    i, count : int
    out : ndarray
    o : int
    """
    for q in range(0, count - NARROW + 1, NARROW):
        store(out, o + q, load(a, i + q, NARROW))
    for q in range(count - count % NARROW, count):
        store(out, o + q, load(a, i + q, 1))


@numba.njit(inline="always")
def clear_row(out: Array, o: int, count: int) -> None:
    """Write so many zeros to ``out[o]`` and on.

    Parameters
    ----------
    out : ndarray
    o, count : int
    """
    for q in range(0, count - NARROW + 1, NARROW):
        store(out, o + q, fill(out, 0, NARROW))
    for q in range(count - count % NARROW, count):
        store(out, o + q, fill(out, 0, 1))


@kernel
def pad_images(x: Array, top: int, left: int, padded: Array) -> None:
    """Copy images into larger ones, from row `top` and column `left` on, with zeros around them.

    The loop nest is n, h, w: each number is written once. What does not fit is left out.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    top, left : int
    padded : ndarray (N, H', W', C)
        Overwritten.
    """
    N, H, W, C = x.shape
    _, height, width, _ = padded.shape
    row = width * C
    count = max(0, min(W, width - left)) * C
    before = min(left, width) * C
    for n in range(N):
        for h in range(height):
            o = (n * height + h) * row
            if top <= h < top + H:
                clear_row(padded, o, before)
                copy_row(x, (n * H + h - top) * W * C, count, padded, o + before)
                clear_row(padded, o + before + count, row - before - count)
            else:
                clear_row(padded, o, row)
