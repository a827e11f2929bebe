"""Where the pixels of a varied image come from: maps, smooth displacements and rectangles."""

from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn import kernels
from minicnn.shapes import FloatArray

Pair = tuple[FloatArray, FloatArray]  # of something downwards and to the right, (N,) each


def inverse_maps(angle: FloatArray, slant: FloatArray, zoom: Pair, shift: Pair) -> FloatArray:
    """Return where each pixel of an image that is zoomed, sheared, turned and shifted comes from.

    All that happens to an image is undone here, the last first.

    Parameters
    ----------
    angle : ndarray (N,)
        Anticlockwise, in radians.
    slant : ndarray (N,)
        Pixels to the right for each pixel upwards.
    zoom : pair of ndarray (N,)
        Of the height and of the width; negative ones also flip.
    shift : pair of ndarray (N,)
        Pixels down and to the right.

    Returns
    -------
    ndarray (N, 2, 3)
        ``maps[n] · (h, w, 1)`` is where (h, w) comes from; both count from the image's middle.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    maps = np.empty((len(angle), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos / zoom[0], sin / zoom[0]
    maps[:, 1, 0] = (slant * cos - sin) / zoom[1]
    maps[:, 1, 1] = (slant * sin + cos) / zoom[1]
    for axis in range(2):
        maps[:, axis, 2] = -(maps[:, axis, 0] * shift[0] + maps[:, axis, 1] * shift[1])
    return maps


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
    filled = np.pad(columns, ((0, 0), (0, -W % kernels.WARP_LANES)))
    # 1/3 is the variance of a number, and the squares of a pixel's weights sum to 1
    return (strength * 3**0.5 * rows).astype(dtype, order="C"), filled.astype(dtype, order="C")


def _gaussians(size: int, sigma: float) -> FloatArray:
    """Return (size, K): the weight of each random number at each pixel."""
    count = int(np.ceil((size - 1) / sigma)) + 7
    distances = np.arange(size)[:, None] / sigma - (np.arange(count) - 3)
    weights: FloatArray = np.exp(-(distances**2) / 2)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return weights


def rectangles(
    area: FloatArray, aspect: FloatArray, place: Pair, H: int, W: int
) -> NDArray[np.int64]:
    """Return rectangles somewhere in an image.

    Parameters
    ----------
    area : ndarray (N,)
        As a share of the image's.
    aspect : ndarray (N,)
        Height by width; a side that would be longer than the image's is as long.
    place : pair of ndarray (N,)
        0 to below 1: how far down and how far to the right, of what is possible.
    H, W : int
        Of the image.

    Returns
    -------
    ndarray of int64 (N, 4)
        Top, bottom, left and right.
    """
    boxes = np.empty((len(area), 4), np.int64)
    sides = (np.sqrt(area * H * W * aspect), np.sqrt(area * H * W / aspect))
    for axis, (side, longest) in enumerate(zip(sides, (H, W), strict=True)):
        length = np.minimum(np.rint(side), longest)
        first = np.floor((longest + 1 - length) * place[axis])
        boxes[:, 2 * axis] = first
        boxes[:, 2 * axis + 1] = first + length
    return boxes
