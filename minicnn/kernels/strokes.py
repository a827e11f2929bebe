"""Bright strokes made thicker or thinner, softer or harder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece

Array = NDArray[Any]

# Numbers that are exact in float32 and do not turn float32 into float64, as Python's own would.
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
FAR, NEAR, CENTRE = np.float32(1 / 16), np.float32(1 / 4), np.float32(3 / 8)


@kernel
def thicken(images: Array, amounts: Array, padded: Array, column: Array) -> None:
    """Move the edges of bright strokes outwards, or inwards where an amount is negative.

    One pixel outwards is ``D(x)``, the mean of the largest number among a pixel and its four
    neighbours and of the largest among all eight; between is mixed, ``x + amount · (D(x) - x)``,
    as a smooth edge between two pixels is. Inwards it is the smallest. The nest is n, c, pixel
    by pixel outwards, h, w.

    Parameters
    ----------
    images : ndarray (N, C, H, W)
        Updated.
    amounts : ndarray (N,)
        In pixels.
    padded : ndarray (H + 2, W + 2)
        Room for an image with its border repeated.
    column : ndarray (W + 2,)
        Room for the largest of three pixels above each other.
    """
    N, C = images.shape[:2]
    for n in range(N):
        sign = ONE if amounts[n] > 0 else -ONE  # the smallest is minus the largest of -x
        for c in range(C):
            left = abs(amounts[n])
            while left > 0:
                _repeat_border(images, n, c, 1, sign, padded)
                _grow(padded, column, min(left, ONE) * sign, images, n, c)
                left -= ONE


@piece
def _grow(padded: Array, column: Array, share: Any, images: Array, n: int, c: int) -> None:
    """Mix each pixel with the largest in its neighbourhood."""
    _, _, H, W = images.shape
    for h in range(H):
        for w in range(W + 2):
            column[w] = max(max(padded[h, w], padded[h + 1, w]), padded[h + 2, w])
        for w in range(W):
            row = max(padded[h + 1, w], padded[h + 1, w + 2])
            cross = max(column[w + 1], row)
            square = max(cross, max(column[w], column[w + 2]))
            x = padded[h + 1, w + 1]
            grown = abs(share) * (HALF * (cross + square) - x) + x
            images[n, c, h, w] = grown if share > 0 else -grown


@kernel
def blur(images: Array, amounts: Array, padded: Array, column: Array) -> None:
    """Mix images with their blurred selves, or sharpen them where an amount is negative.

    ``x + amount · (B(x) - x)``, kept in 0..1, where B has the weights (1, 4, 6, 4, 1) / 16 in both
    directions: nearly a Gaussian with a standard deviation of one pixel. A negative amount is known
    as unsharp masking. The loop nest is n, c, h, w.

    Parameters
    ----------
    images : ndarray (N, C, H, W)
        Updated.
    amounts : ndarray (N,)
        At most 1.
    padded : ndarray (H + 4, W + 4)
        Room for an image with its border repeated.
    column : ndarray (W + 4,)
        Room for the mean of five pixels above each other.
    """
    N, C, H, W = images.shape
    for n in range(N):
        for c in range(C if amounts[n] != 0 else 0):
            _repeat_border(images, n, c, 2, ONE, padded)
            for h in range(H):
                for w in range(W + 4):
                    far = padded[h, w] + padded[h + 4, w]
                    near = padded[h + 1, w] + padded[h + 3, w]
                    column[w] = FAR * far + NEAR * near + CENTRE * padded[h + 2, w]
                for w in range(W):
                    far, near = column[w] + column[w + 4], column[w + 1] + column[w + 3]
                    blurred = FAR * far + NEAR * near + CENTRE * column[w + 2]
                    x = padded[h + 2, w + 2]
                    images[n, c, h, w] = min(max(x + amounts[n] * (blurred - x), ZERO), ONE)


@piece
def _repeat_border(images: Array, n: int, c: int, by: int, factor: Any, padded: Array) -> None:
    """Copy an image times a factor, with its outermost pixels repeated `by` times."""
    _, _, H, W = images.shape
    for h in range(H + 2 * by):
        row = min(max(h - by, 0), H - 1)
        for w in range(W):
            padded[h, w + by] = factor * images[n, c, row, w]
        for w in range(by):
            padded[h, w] = padded[h, by]
            padded[h, W + by + w] = padded[h, W + by - 1]
