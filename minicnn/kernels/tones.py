"""Pixels made lighter or darker, noisy, or blank."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.strokes import ONE, ZERO

Array = NDArray[Any]
Words = NDArray[np.int32]

BYTE = np.int32(255)
# The sum of four random bytes has a mean of 510 and a variance of 4 · (256² - 1) / 12.
MEAN = np.int32(510)
SPREAD = np.float32((4 * (256**2 - 1) / 12) ** -0.5)


@kernel
def shade(images: Array, brightness: Array, contrast: Array) -> None:
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
def erase(images: Array, boxes: NDArray[np.int64]) -> None:
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
