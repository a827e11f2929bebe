"""Numbers looked up, copied, cleared, and padded with zeros.

Arrays added up, and put side by side.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import load, splat, store
from minicnn.kernels.target import NR_SMALL

Array = NDArray[np.float32]


@device_function
def copy_range(a: Array, i: int, count: int, out: Array, o: int) -> None:
    """Copy so many numbers from ``a[i]`` on to ``out[o]`` and on.

    Parameters
    ----------
    a : ndarray
    i, count : int
    out : ndarray
    o : int
    """
    for q in range(0, count - NR_SMALL + 1, NR_SMALL):
        store(out, o + q, load(a, i + q, NR_SMALL))
    for q in range(count - count % NR_SMALL, count):
        store(out, o + q, load(a, i + q, 1))


@device_function
def fill_zero_range(out: Array, o: int, count: int) -> None:
    """Write so many zeros to ``out[o]`` and on.

    Parameters
    ----------
    out : ndarray
    o, count : int
    """
    for q in range(0, count - NR_SMALL + 1, NR_SMALL):
        store(out, o + q, splat(out, 0, NR_SMALL))
    for q in range(count - count % NR_SMALL, count):
        store(out, o + q, splat(out, 0, 1))


@device_function
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
            fill_zero_range(padded, o, before)
            copy_range(x, i + (h - top) * W, count, padded, o + before)
            fill_zero_range(padded, o + before + count, width - before - count)
        else:
            fill_zero_range(padded, o, width)
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
def fill_zero(array: Array) -> None:
    """Write zeros.

    Parameters
    ----------
    array : ndarray (size,)
        Overwritten.
    """
    array[:] = 0


@kernel
def apply_lut(levels: Array, pixels: NDArray[np.uint8], x: Array) -> None:
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


@kernel
def add_arrays(a: Array, b: Array, y: Array) -> None:
    """Compute ``y[i] = a[i] + b[i]``.

    Parameters
    ----------
    a, b : ndarray (size,)
    y : ndarray (size,)
        Overwritten.
    """
    for i in range(y.size):
        y[i] = a[i] + b[i]


@kernel
def copy_columns(source: Array, column: int, target: Array, place: int, count: int) -> None:
    """Compute ``target[r, place + c] = source[r, column + c]`` for c below `count`.

    Parameters
    ----------
    source : ndarray (rows, …)
    column : int
    target : ndarray (rows, …)
        Updated.
    place : int
    count : int
    """
    rows, width = target.shape
    for r in range(rows):
        copy_range(source, r * source.shape[1] + column, count, target, r * width + place)


@kernel
def crop_images(x: Array, top: int, left: int, inside: Array) -> None:
    """Copy images into smaller ones, from row `top` and column `left` on; zeros behind their end.

    Parameters
    ----------
    x : ndarray (N, H', W', C)
    top, left : int
    inside : ndarray (N, H, W, C)
        Overwritten.
    """
    N, height, width, _ = x.shape
    _, H, W, C = inside.shape
    count = max(0, min(W, width - left)) * C
    for n in range(N):
        for h in range(H):
            o = (n * H + h) * W * C
            if top + h < height:
                copy_range(x, ((n * height + top + h) * width + left) * C, count, inside, o)
                fill_zero_range(inside, o + count, W * C - count)
            else:
                fill_zero_range(inside, o, W * C)
