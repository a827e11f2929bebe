"""Stroke width, sharpness, brightness and erasing, in place."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.shapes import Array

# float32 constants. They are exact; unlike Python floats they do not promote float32 to float64.
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
# The weights (1, 4, 6, 4, 1) / 16.
FAR, NEAR, CENTER = np.float32(1 / 16), np.float32(1 / 4), np.float32(3 / 8)


@kernel
def dilate_or_erode(
    images: Array,  # updated (N, C, H, W)
    amounts: Array,  # (N,) pixels; negative erodes
    padded: Array,  # scratch (H + 2, W + 2)
    column: Array,  # scratch (W + 2,)
) -> None:
    """Move the edges of bright strokes outwards, or inwards.

    One pixel outwards is D(x), the mean of two maxima: of a pixel and its four neighbors, and of
    all nine pixels. A fraction of a pixel interpolates: ``x + amount · (D(x) - x)``. Loops: n, c,
    pixel outwards, h, w.
    """
    N, C = images.shape[:2]
    for n in range(N):
        sign = ONE if amounts[n] > 0 else -ONE  # erosion is dilation of -x
        for c in range(C):
            remaining = abs(amounts[n])
            while remaining > 0:
                _repeat_border(images, n, c, 1, sign, padded)
                dilate_3x3(padded, column, min(remaining, ONE) * sign, images, n, c)
                remaining -= ONE


@device_function
def dilate_3x3(padded: Array, column: Array, share: Any, images: Array, n: int, c: int) -> None:
    """Interpolate between each pixel and the maximum of its neighborhood."""
    _, _, H, W = images.shape
    for h in range(H):
        for w in range(W + 2):
            column[w] = max(max(padded[h, w], padded[h + 1, w]), padded[h + 2, w])
        for w in range(W):
            row = max(padded[h + 1, w], padded[h + 1, w + 2])
            cross = max(column[w + 1], row)
            square = max(cross, max(column[w], column[w + 2]))
            x = padded[h + 1, w + 1]
            dilated = abs(share) * (HALF * (cross + square) - x) + x
            images[n, c, h, w] = dilated if share > 0 else -dilated


@kernel
def blur(
    images: Array,  # updated (N, C, H, W)
    amounts: Array,  # (N,) at most 1; negative sharpens
    padded: Array,  # scratch (H + 4, W + 4)
    column: Array,  # scratch (W + 4,)
) -> None:
    """Blur images, or sharpen them by unsharp masking.

    ``x + amount · (B(x) - x)``, clipped to 0..1. B has the weights (1, 4, 6, 4, 1) / 16 in both
    directions, nearly a Gaussian with a standard deviation of one pixel. Loops: n, c, h, w.
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
    """Copy an image times a factor; repeat its outermost pixels `by` times."""
    _, _, H, W = images.shape
    for h in range(H + 2 * by):
        row = min(max(h - by, 0), H - 1)
        for w in range(W):
            padded[h, w + by] = factor * images[n, c, row, w]
        for w in range(by):
            padded[h, w] = padded[h, by]
            padded[h, W + by + w] = padded[h, W + by - 1]


@kernel
def adjust_brightness(
    images: Array,  # updated (N, C, H, W)
    factors: Array,  # (N,)
) -> None:
    """Compute ``factor · x``, clipped to 0..1."""
    N, C, H, W = images.shape
    for n in range(N):
        for c in range(C if factors[n] != ONE else 0):
            for h in range(H):
                for w in range(W):
                    x = factors[n] * images[n, c, h, w] + ZERO  # erosion leaves -0, this gives 0
                    images[n, c, h, w] = min(max(x, ZERO), ONE)


@kernel
def random_erase(
    images: Array,  # updated (N, C, H, W)
    erase_boxes: NDArray[np.int64],  # (N, 4): top, bottom, left, right, inside the image
) -> None:
    """Set ``images[n, :, top:bottom, left:right]`` to 0."""
    N, C, _, _ = images.shape
    for n in range(N):
        for c in range(C):
            for h in range(erase_boxes[n, 0], erase_boxes[n, 1]):
                for w in range(erase_boxes[n, 2], erase_boxes[n, 3]):
                    images[n, c, h, w] = ZERO
