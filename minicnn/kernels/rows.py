"""Numbers looked up, copied, cleared, turned round, and padded with zeros."""

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


@piece
def _exchange(weight: Array, i: int, C: int, F: int, out: Array, o: int) -> None:
    """Write the matrix (C, F) at ``weight[i]`` to ``out[o]`` and on as (F, C).

    To write here and there takes less than to read here and there; of as few rows at a time as
    NARROW, the lines that are written to stay in the cache.
    """
    for first in range(0, F, NARROW):
        for c in range(C):
            for f in range(first, min(F, first + NARROW)):
                store(out, o + f * C + c, load(weight, i + c * F + f, 1))


@kernel
def turn_round(weight: Array, turned: Array) -> None:
    """Compute ``turned[kh, kw, f, c] = weight[KH - 1 - kh, KW - 1 - kw, c, f]``.

    Parameters
    ----------
    weight : ndarray (KH, KW, C, F)
    turned : ndarray (KH, KW, F, C)
        Overwritten.
    """
    KH, KW, C, F = weight.shape
    for kh in range(KH):
        for kw in range(KW):
            i = ((KH - 1 - kh) * KW + KW - 1 - kw) * C * F
            _exchange(weight, i, C, F, turned, (kh * KW + kw) * F * C)


@kernel
def exchange_channels(weight: Array, exchanged: Array) -> None:
    """Compute ``exchanged[kh, kw, f, c] = weight[kh, kw, c, f]``; rows behind the last f are 0.

    Parameters
    ----------
    weight : ndarray (KH, KW, C, F)
    exchanged : ndarray (KH, KW, Fp, C)
        Overwritten.
    """
    KH, KW, C, F = weight.shape
    Fp = exchanged.shape[2]
    for k in range(KH * KW):
        _exchange(weight, k * C * F, C, F, exchanged, k * Fp * C)
        clear_row(exchanged, (k * Fp + F) * C, (Fp - F) * C)


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
