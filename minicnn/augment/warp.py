"""Images turned, moved, sheared, zoomed, flipped and bent: each pixel looked up.

Smooth displacements, from random numbers and Gaussians.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import load_scalar, splat
from minicnn.kernels.target import NR_MEDIUM
from minicnn.kernels.tiles import four_from, four_sums, load_four, store_four
from minicnn.shapes import FloatArray

Array = NDArray[Any]
Words = NDArray[np.int32]

# Numbers that are exact in float32 and do not turn float32 into float64, as Python's own would.
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
WARP_LANES = NR_MEDIUM
UNIT = np.float32(2.0**-31)  # brings a random word into -1..1


@kernel
def warp(
    images: Array,
    maps: Array,
    words: Words,
    rows: Array,
    columns: Array,
    numbers: Array,
    places: Array,
    corners: NDArray[np.int32],
    padded: Array,
    out: Array,
) -> None:
    """Look up each pixel where it came from: ``out[n, c, h, w] = images[n, c, y, x]``.

    Counted from the middle of the image, in pixels, (y, x) is ``maps[n] · (h, w, 1)`` and what
    Simard's elastic distortion adds: ``rows · u · columns`` for random u in -1..1, the convolution
    of random numbers with a Gaussian. Between pixels the four neighbors are mixed (bilinear), and
    outside is 0. The loop nest is n, c, h, w, with the places worked out once for each n.

    Parameters
    ----------
    images : ndarray (N, C, H, W)
    maps : ndarray (N, 2, 3)
    words : ndarray of int32 (N, M)
        At least 2·K·J random words for each image.
    rows : ndarray (H, K)
        How far each row of random numbers moves each row of pixels; K is 0 where nothing is bent.
    columns : ndarray (J, Wp)
        The same for columns; zeros from W on.
    numbers : ndarray (K·J + K·WARP_LANES,)
        Room for u and for its product with a vector of columns.
    places : ndarray (2, H, Wp)
        Room for the y and x of an image. Wp is W rounded up to whole vectors of
        ``WARP_LANES``.
    corners : ndarray of int32 (H, Wp)
        Room for the pixel above and left of each.
    padded : ndarray (H + 3, W + 3)
        Room for an image with zeros around it.
    out : ndarray (N, C, H, W)
        Overwritten.
    """
    N, C, H, W = images.shape
    width = W + 3
    for h in range(H + 3):
        for w in range(width):
            padded[h, w] = ZERO
    for n in range(N):
        _map(maps, n, W, places)
        _add_elastic(words, n, rows, columns, numbers, places)
        _split(places, W, corners)
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    padded[h + 1, w + 1] = images[n, c, h, w]
            for h in range(H):
                for w in range(W):
                    i = load_scalar(corners, h * places.shape[2] + w)
                    right = places[1, h, w]
                    p, q = load_scalar(padded, i), load_scalar(padded, i + width)
                    p += right * (load_scalar(padded, i + 1) - p)
                    q += right * (load_scalar(padded, i + width + 1) - q)
                    out[n, c, h, w] = p + places[0, h, w] * (q - p)


@device_function
def _map(maps: Array, n: int, W: int, places: Array) -> None:
    """Write where each pixel came from, in rows and columns of the image."""
    _, H, Wp = places.shape
    middle_h, middle_w = np.float32(H - 1) * HALF, np.float32(W - 1) * HALF
    for a in range(2):
        middle = middle_w if a else middle_h
        for h in range(H):
            first = maps[n, a, 0] * (np.float32(h) - middle_h) + maps[n, a, 2]
            for w in range(Wp):
                right = np.float32(np.int32(w)) - middle_w  # vectors have no int64 to float32
                places[a, h, w] = first + maps[n, a, 1] * right + middle


@device_function
def _add_elastic(
    words: Words, n: int, rows: Array, columns: Array, numbers: Array, places: Array
) -> None:
    """Add ``rows · u · columns``, first for y and then for x."""
    _, H, Wp = places.shape
    K, J = rows.shape[1], columns.shape[0]
    room, zero = K * J, splat(numbers, 0, NR_MEDIUM)
    for a in range(2 if K else 0):
        for i in range(room):
            numbers[i] = words[n, a * room + i] * UNIT
        for w in range(0, Wp, NR_MEDIUM):
            sums = (zero, zero, zero, zero)
            for k in range(0, K, 4):
                k0, k1, k2, k3 = four_from(k, K)
                u = (k0 * J, k1 * J, k2 * J, k3 * J)
                to = (k0 * NR_MEDIUM, k1 * NR_MEDIUM, k2 * NR_MEDIUM, k3 * NR_MEDIUM)
                four = four_sums(numbers, u, 1, 0, J, 1, columns, w, Wp, sums, NR_MEDIUM)
                store_four(numbers, to, room, NR_MEDIUM, four, NR_MEDIUM)
            for h in range(0, H, 4):
                h0, h1, h2, h3 = four_from(h, H)
                shares = (h0 * K, h1 * K, h2 * K, h3 * K)
                to = ((a * H + h0) * Wp, (a * H + h1) * Wp, (a * H + h2) * Wp, (a * H + h3) * Wp)
                four = load_four(places, to, w, NR_MEDIUM, NR_MEDIUM)
                four = four_sums(
                    rows, shares, 1, 0, K, 1, numbers, room, NR_MEDIUM, four, NR_MEDIUM
                )
                store_four(places, to, w, NR_MEDIUM, four, NR_MEDIUM)


@device_function
def _split(places: Array, W: int, corners: NDArray[np.int32]) -> None:
    """Write the pixel above and left of each place, in the padded image; leave what is beyond."""
    _, H, Wp = places.shape
    width = np.int32(W + 3)
    bottom, side = np.float32(H + 1), np.float32(W + 1)
    for h in range(H):
        for w in range(Wp):
            # at most in the zeros around the image: further out it is no different
            y = min(max(places[0, h, w] + ONE, ZERO), bottom)
            x = min(max(places[1, h, w] + ONE, ZERO), side)
            top, left = np.int32(y), np.int32(x)
            corners[h, w] = top * width + left
            places[0, h, w] = y - np.float32(top)
            places[1, h, w] = x - np.float32(left)


@lru_cache(maxsize=16)
def smoothing(
    H: int, W: int, strength: float, sigma: float, dtype: DTypeLike
) -> tuple[FloatArray, FloatArray]:
    """Return what makes smooth displacements of random numbers u of -1..1: ``rows · u · columns``.

    The numbers stand `sigma` pixels apart and reach three of them beyond the image. Closer together
    they would be more, but the smoothed field would be the same within 0.01 %.

    Parameters
    ----------
    H, W : int
        Of the image.
    strength : float
        Standard deviation of the displacement, in pixels.
    sigma : float
        Standard deviation of the Gaussian, in pixels.
    dtype : dtype

    Returns
    -------
    rows : ndarray (H, K)
    columns : ndarray (J, W filled up with zeros to whole vectors)
        K and J are 0 where the strength is 0.
    """
    rows, columns = _gaussians(H, sigma), _gaussians(W, sigma).T
    if not strength:
        rows, columns = rows[:, :0], columns[:0]
    filled = np.pad(columns, ((0, 0), (0, -W % WARP_LANES)))
    # 1/3 is the variance of a number, and the squares of a pixel's weights sum to 1
    return (strength * 3**0.5 * rows).astype(dtype, order="C"), filled.astype(dtype, order="C")


def _gaussians(size: int, sigma: float) -> FloatArray:
    """Return (size, K): the weight of each random number at each pixel."""
    count = int(np.ceil((size - 1) / sigma)) + 7
    distances = np.arange(size)[:, None] / sigma - (np.arange(count) - 3)
    weights: FloatArray = np.exp(-(distances**2) / 2)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return weights
