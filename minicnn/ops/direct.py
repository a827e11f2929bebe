"""Convolution and matrix product on the direct kernels: what they need is worked out here."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels
from minicnn.shapes import FloatArray, Shape, Window

Places = Callable[[int, int, int, int], NDArray[np.int64]]


def conv2d(x: FloatArray, weight: FloatArray, bias: FloatArray, window: Window) -> FloatArray:
    """Return the convolution ``(N, OH, OW, F)``; arguments are those of `minicnn.ops.conv2d`.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    window : Window

    Returns
    -------
    ndarray (N, OH, OW, F)
    """
    x = padded(x, window)
    N, F = len(x), weight.shape[3]
    y = np.empty((N, window.OH, window.OW, F), x.dtype)
    kernels.direct_forward(
        x,
        *layout(x, window, corners),
        whole_tiles(weight.reshape(-1, F)),
        whole_tiles(bias),
        y.reshape(N, -1, F),
    )
    return y


def weight_gradient(x: FloatArray, dy: FloatArray, window: Window) -> FloatArray:
    """Return dweight ``(KH, KW, C, F)``.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    dy : ndarray (N, OH, OW, F)
    window : Window

    Returns
    -------
    ndarray (KH, KW, C, F)
    """
    x = padded(x, window)
    N, F = len(x), dy.shape[3]
    dweight = np.zeros((window.KH, window.KW, x.shape[3], F), x.dtype)
    kernels.direct_weight_gradient(
        x,
        *layout(x, window, corners),
        np.ascontiguousarray(dy).reshape(N, -1, F),
        dweight.reshape(-1, F),
    )
    return dweight


def input_gradient(
    dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int
) -> FloatArray:
    """Return dx ``(N, H, W, C)``: itself a convolution, of dy with the kernels turned round.

    dy is laid on a grid so that ``h + KH - 1 - kh`` is the row of the output that saw row h through
    row kh of the kernel. Between its pixels are S - 1 zeros, around it KH - 1 less the padding.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    weight : ndarray (KH, KW, C, F)
    window : Window
    H, W : int
        Of the input.

    Returns
    -------
    ndarray (N, H, W, C)
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, F = dy.shape[0], dy.shape[3]
    grid = np.zeros((N, H + KH - 1, W + KW - 1, F), dy.dtype)
    rows, rows_of_dy = _places(OH, SH, KH - 1 - top, grid.shape[1])
    columns, columns_of_dy = _places(OW, SW, KW - 1 - left, grid.shape[2])
    grid[:, rows, columns] = dy[:, rows_of_dy, columns_of_dy]
    turned = np.ascontiguousarray(weight[::-1, ::-1].transpose(0, 1, 3, 2))  # (KH, KW, F, C)
    return conv2d(
        grid,
        turned,
        np.zeros(weight.shape[2], dy.dtype),
        Window(KH, KW, 1, 1, 0, 0, H, W),
    )


def _places(count: int, stride: int, first: int, size: int) -> tuple[slice, slice]:
    """Return where ``first + i * stride`` lies in 0 .. size - 1, and for which i of `count`."""
    low = max(0, -(first // stride))
    high = min(count, (size - 1 - first) // stride + 1)
    start = first + low * stride
    return slice(start, start + (high - low - 1) * stride + 1, stride), slice(low, high)


def matmul(a: FloatArray, b: FloatArray, start: FloatArray) -> FloatArray:
    """Return ``a · b + start``, start added to each row: a convolution whose windows are rows.

    Parameters
    ----------
    a : ndarray (M, K)
    b : ndarray (K, N)
    start : ndarray (N,)

    Returns
    -------
    ndarray (M, N)
    """
    M, K = a.shape
    y = np.empty((1, M, b.shape[1]), a.dtype)
    kernels.direct_forward(
        np.ascontiguousarray(a),
        0,
        corners(1, M, 0, K),
        0,
        1,
        whole_tiles(b),
        whole_tiles(start),
        y,
    )
    product: FloatArray = y[0]
    return product


def matmul_transposed(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``aᵀ · b``.

    Parameters
    ----------
    a : ndarray (M, K)
    b : ndarray (M, N)

    Returns
    -------
    ndarray (K, N)
    """
    M, K = a.shape
    y = np.zeros((K, b.shape[1]), a.dtype)
    kernels.direct_weight_gradient(
        np.ascontiguousarray(a),
        0,
        corners(1, M, 0, K),
        0,
        1,
        np.ascontiguousarray(b)[None],
        y,
    )
    return y


def layout(
    x: FloatArray, window: Window, places: Places
) -> tuple[int, NDArray[np.int64], int, int]:
    """Return how the windows lie in memory, as the kernels want to know it.

    Parameters
    ----------
    x : ndarray (N, H', W', C)
        From `padded`.
    window : Window
    places : callable
        `corners`, or another order of the same.

    Returns
    -------
    image : int
        Numbers from one image to the next.
    corners : ndarray of int64
        Where each window begins in its image.
    row : int
        Numbers from one row to the next.
    KH : int
        Rows of a window.
    """
    row, C = x[0, 0].size, x.shape[3]
    where = places(window.OH, window.OW, window.SH * row, window.SW * C)
    return x[0].size, where, row, window.KH


@lru_cache(maxsize=256)
def corners(rows: int, columns: int, down: int, right: int) -> NDArray[np.int64]:
    """Return where each window begins in the flat image: ``oh · down + ow · right``.

    Parameters
    ----------
    rows, columns : int
        How many windows.
    down, right : int
        Numbers from one window to the next.

    Returns
    -------
    ndarray of int64 (rows * columns,)
    """
    table = np.arange(rows)[:, None] * down + np.arange(columns) * right
    return np.ascontiguousarray(table.ravel(), dtype=np.int64)


def padded(x: FloatArray, window: Window) -> FloatArray:
    """Return the images with as many zeros around them as the windows reach; `x` itself if none.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    window : Window

    Returns
    -------
    ndarray (N, H', W', C), C order
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    height, width = (OH - 1) * SH + KH, (OW - 1) * SW + KW  # what the windows see
    if top == 0 and left == 0 and height <= H and width <= W:
        return np.ascontiguousarray(x)
    bottom, right = min(H, height - top), min(W, width - left)
    result = np.zeros((N, height, width, C), x.dtype)
    result[:, top : top + bottom, left : left + right] = x[:, :bottom, :right]
    return result


def whole_tiles(matrix: FloatArray) -> FloatArray:
    """Return a matrix or row with zeros added on the right up to whole tiles; itself if it fits.

    Parameters
    ----------
    matrix : ndarray (..., F)

    Returns
    -------
    ndarray (..., Fp), C order
    """
    F = matrix.shape[-1]
    missing = -F % kernels.NARROW
    if not missing:
        return np.ascontiguousarray(matrix)
    result = np.zeros((*matrix.shape[:-1], F + missing), matrix.dtype)
    result[..., :F] = matrix
    return result


def cropped(dpadded: FloatArray, window: Window, shape: Shape) -> FloatArray:
    """Return the gradient of the images that `padded` took, from that of what it gave.

    Parameters
    ----------
    dpadded : ndarray (N, H', W', C)
    window : Window
    shape : tuple of int
        ``(N, H, W, C)``.

    Returns
    -------
    ndarray (N, H, W, C)
    """
    if dpadded.shape == shape and window.top == 0 and window.left == 0:
        return dpadded
    H, W = shape[1:3]
    inside = dpadded[:, window.top : window.top + H, window.left : window.left + W]
    dx = np.zeros(shape, dpadded.dtype)  # pixels that no window sees keep 0
    dx[:, : inside.shape[1], : inside.shape[2]] = inside
    return dx
