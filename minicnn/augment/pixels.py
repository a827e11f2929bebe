"""Bright strokes made thicker or thinner, softer or harder.

Pixels made lighter or darker, noisy, or blank.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel

Array = NDArray[Any]

# Numbers that are exact in float32 and do not turn float32 into float64, as Python's own would.
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
FAR, NEAR, CENTER = np.float32(1 / 16), np.float32(1 / 4), np.float32(3 / 8)


@kernel
def dilate_or_erode(images: Array, amounts: Array, padded: Array, column: Array) -> None:
    """Move the edges of bright strokes outwards, or inwards where an amount is negative.

    One pixel outwards is ``D(x)``, the mean of the largest number among a pixel and its four
    neighbors and of the largest among all eight; between is mixed, ``x + amount · (D(x) - x)``,
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
                dilate_3x3(padded, column, min(left, ONE) * sign, images, n, c)
                left -= ONE


@device_function
def dilate_3x3(padded: Array, column: Array, share: Any, images: Array, n: int, c: int) -> None:
    """Mix each pixel with the largest in its neighborhood."""
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
                    column[w] = FAR * far + NEAR * near + CENTER * padded[h + 2, w]
                for w in range(W):
                    far, near = column[w] + column[w + 4], column[w + 1] + column[w + 3]
                    blurred = FAR * far + NEAR * near + CENTER * column[w + 2]
                    x = padded[h + 2, w + 2]
                    images[n, c, h, w] = min(max(x + amounts[n] * (blurred - x), ZERO), ONE)


@device_function
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


Words = NDArray[np.int32]

BYTE = np.int32(255)
# The sum of four random bytes has a mean of 510 and a variance of 4 · (256² - 1) / 12.
MEAN = np.int32(510)
SPREAD = np.float32((4 * (256**2 - 1) / 12) ** -0.5)


@kernel
def adjust_brightness_contrast(images: Array, brightness: Array, contrast: Array) -> None:
    """Compute ``brightness · (m + contrast · (x - m))``, kept in 0..1; m is the image's mean.

    Parameters
    ----------
    images : ndarray (N, C, H, W)
        Updated.
    brightness, contrast : ndarray (N,)
        1 changes nothing.
    """
    N, C, H, W = images.shape
    for n in range(N):
        if brightness[n] == ONE and contrast[n] == ONE:
            continue
        factor = brightness[n] * contrast[n]
        more = ZERO * factor
        if contrast[n] != ONE:  # else the mean, a sum one after another, need not be known
            total = 0.0
            for c in range(C):
                for h in range(H):
                    for w in range(W):
                        total += images[n, c, h, w]
            more = images.dtype.type(total / (C * H * W)) * (brightness[n] - factor)
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    images[n, c, h, w] = min(max(factor * images[n, c, h, w] + more, ZERO), ONE)


@kernel
def add_noise(images: Array, amounts: Array, words: Words) -> None:
    """Compute ``x + amount · e``, kept in 0..1, for random e of mean 0 and variance 1.

    e is a sum of four random bytes, which is nearly normally distributed, and at most 3.45.

    Parameters
    ----------
    images : ndarray (N, C, H, W)
        Updated.
    amounts : ndarray (N,)
    words : ndarray of int32 (N, M)
        At least C·H·W random words for each image.
    """
    N, C, H, W = images.shape
    for n in range(N):
        amount = amounts[n] * SPREAD
        for c in range(C if amount > 0 else 0):
            for h in range(H):
                for w in range(W):
                    word = words[n, (c * H + h) * W + w]
                    low = (word & BYTE) + ((word >> 8) & BYTE)
                    total = low + ((word >> 16) & BYTE) + ((word >> 24) & BYTE) - MEAN
                    x = images[n, c, h, w] + amount * np.float32(np.int32(total))
                    images[n, c, h, w] = min(max(x, ZERO), ONE)


@kernel
def random_erase(images: Array, boxes: NDArray[np.int64]) -> None:
    """Write 0 into ``images[n, :, top:bottom, left:right]``.

    Parameters
    ----------
    images : ndarray (N, C, H, W)
        Updated.
    boxes : ndarray of int64 (N, 4)
        Top, bottom, left and right of each image's; inside the image.
    """
    N, C, _, _ = images.shape
    for n in range(N):
        for c in range(C):
            for h in range(boxes[n, 0], boxes[n, 1]):
                for w in range(boxes[n, 2], boxes[n, 3]):
                    images[n, c, h, w] = ZERO
