"""The kernels of augmentation with the room that they need; images are planes, (N, C, H, W)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory
from minicnn.shapes import FloatArray


def planes(images: NDArray[Any]) -> FloatArray:
    """Return a copy of images as floats, 0 to 1, channels first.

    Parameters
    ----------
    images : ndarray (N, H, W, C) or (N, H, W)
        uint8, or float.

    Returns
    -------
    ndarray (N, C, H, W)
        float64 if the images are, else float32.
    """
    batch = images[..., None] if images.ndim == 3 else images
    N, H, W, C = batch.shape
    dtype = np.float64 if images.dtype == np.float64 else np.float32
    x: FloatArray = memory.empty((N, C, H, W), dtype)
    if images.dtype == np.uint8:
        np.divide(batch.transpose(0, 3, 1, 2), dtype(255), out=x)
    else:
        x[...] = batch.transpose(0, 3, 1, 2)
    return x


def channels_last(x: FloatArray) -> FloatArray:
    """Return planes as images (N, H, W, C).

    Parameters
    ----------
    x : ndarray (N, C, H, W)

    Returns
    -------
    ndarray (N, H, W, C)
        `x` itself, seen otherwise, where there is one channel.
    """
    N, C, H, W = x.shape
    if C == 1:
        return x.reshape(N, H, W, 1)
    out: FloatArray = memory.empty((N, H, W, C), x.dtype)
    out[...] = x.transpose(0, 2, 3, 1)
    return out


def warp(
    x: FloatArray,
    maps: FloatArray,
    words: NDArray[np.int32],
    rows: FloatArray,
    columns: FloatArray,
) -> FloatArray:
    """Return images of which each pixel is looked up where it came from.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    maps : ndarray (N, 2, 3)
        From `minicnn.data.geometry.inverse_maps`.
    words : ndarray of int32 (N, M)
        At least 2·K·J random words for each image.
    rows, columns : ndarray (H, K) and (J, W filled up)
        From `minicnn.data.geometry.smoothing`.

    Returns
    -------
    ndarray (N, C, H, W)
    """
    H, W = x.shape[2:]
    K, J, width = rows.shape[1], *columns.shape
    out: FloatArray = memory.empty(x.shape, x.dtype)
    kernels.warp(
        x,
        maps.astype(x.dtype, copy=False),
        words,
        rows,
        columns,
        memory.empty((K * (J + kernels.WARP_LANES),), x.dtype),
        memory.empty((2, H, width), x.dtype),
        memory.empty((H, width), np.int32),
        memory.empty((H + 3, W + 3), x.dtype),
        out,
    )
    return out


def thicken(x: FloatArray, amounts: FloatArray) -> None:
    """Move the edges of bright strokes outwards, in place.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    amounts : ndarray (N,)
        In pixels; negative ones make strokes thinner.
    """
    H, W = x.shape[2:]
    padded, column = memory.empty((H + 2, W + 2), x.dtype), memory.empty((W + 2,), x.dtype)
    kernels.thicken(x, amounts.astype(x.dtype), padded, column)


def blur(x: FloatArray, amounts: FloatArray) -> None:
    """Mix images with their blurred selves, in place.

    Parameters
    ----------
    x : ndarray (N, C, H, W)
    amounts : ndarray (N,)
        At most 1; negative ones sharpen.
    """
    H, W = x.shape[2:]
    padded, column = memory.empty((H + 4, W + 4), x.dtype), memory.empty((W + 4,), x.dtype)
    kernels.blur(x, amounts.astype(x.dtype), padded, column)
