"""Smooth displacements, from random numbers and Gaussians."""

from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike

from minicnn import kernels
from minicnn.shapes import FloatArray


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
