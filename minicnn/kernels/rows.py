"""Numbers looked up, copied, cleared, and padded with zeros."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.vectors import fill, load, store

Array = NDArray[np.float32]


@piece
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


@piece
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


@piece
def pad_image(
    x: Array,
    i: int,
    H: int,
    W: int,
    top: int,
    left: int,
    padded: Array,
    o: int,
    height: int,
    width: int,
) -> None:
    """Copy an image of H rows of W numbers into one of `height` rows of `width` numbers.

    Parameters
    ----------
    x : ndarray
    i : int
        Where the image begins in the flat `x`.
    H, W : int
    top, left : int
        Rows and numbers of zeros before it.
    padded : ndarray
    o : int
        Where the image begins in the flat `padded`.
    height, width : int
    """
    count = max(0, min(W, width - left))
    before = min(left, width)
    for h in range(height):
        if top <= h < top + H:
            clear_row(padded, o, before)
            copy_row(x, i + (h - top) * W, count, padded, o + before)
            clear_row(padded, o + before + count, width - before - count)
        else:
            clear_row(padded, o, width)
        o += width


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
    for n in range(N):
        i, o = n * H * W * C, n * height * width * C
        pad_image(x, i, H, W * C, top, left * C, padded, o, height, width * C)


@kernel
def clear(array: Array) -> None:
    """Write zeros.

    Parameters
    ----------
    array : ndarray (size,)
        Overwritten.
    """
    array[:] = 0


@kernel
def look_up(levels: Array, pixels: NDArray[np.uint8], x: Array) -> None:
    """Compute ``x[i] = levels[pixels[i]]``.

    Parameters
    ----------
    levels : ndarray (256,)
    pixels : ndarray of uint8 (size,)
    x : ndarray (size,)
        Overwritten.
    """
    for i in range(pixels.size):
        x[i] = levels[pixels[i]]
