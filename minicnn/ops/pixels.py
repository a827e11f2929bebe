"""Pixels as the first layer gets them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory, shapes
from minicnn.shapes import FloatArray


def scale_pixels(
    pixels: NDArray[Any], mean: float, std: float, dtype: np.dtype[np.floating[Any]]
) -> FloatArray:
    """Return ``(pixels - mean) / std`` of pixels in 0..1; of uint8 ones after division by 255.

    Parameters
    ----------
    pixels : ndarray of uint8 or float
    mean, std : float
        In units of the 0..1 range.
    dtype : numpy.dtype
        Wanted.

    Returns
    -------
    ndarray of `dtype`, as `pixels`
        In the workspace, where there is one.

    Raises
    ------
    ValueError
        If a float pixel is not in 0..1.
    """
    x: FloatArray = memory.empty(pixels.shape, dtype)
    centre, width = dtype.type(mean), dtype.type(std)
    if pixels.dtype == np.uint8:
        levels = np.arange(256, dtype=dtype) / dtype.type(255)
        levels = (levels - centre) / width
        kernels.look_up(levels, np.ascontiguousarray(pixels).reshape(-1), x.reshape(-1))
        return x
    shapes.check_pixel_range("Sequential", pixels)
    x[...] = pixels
    x -= centre
    x /= width
    return x
