"""Arrays as the kernels want them: padded, filled up to whole tiles, cut into blocks."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory
from minicnn.shapes import FloatArray, Shape, Window


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


def seen_by(window: Window) -> tuple[int, int]:
    """Return how many rows and columns of the padded image the windows see.

    Parameters
    ----------
    window : Window

    Returns
    -------
    tuple of int
    """
    KH, KW, SH, SW, _, _, OH, OW = window
    return (OH - 1) * SH + KH, (OW - 1) * SW + KW


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
    N, H, W, C = x.shape
    top, left = window.top, window.left
    height, width = seen_by(window)
    if top == 0 and left == 0 and height <= H and width <= W:
        return np.ascontiguousarray(x)
    result: FloatArray = memory.empty((N, height, width, C), x.dtype)
    kernels.pad_images(np.ascontiguousarray(x), top, left, result)
    return result


def rounded(count: int, lanes: int) -> int:
    """Return a number rounded up to a multiple of another.

    Parameters
    ----------
    count, lanes : int

    Returns
    -------
    int
    """
    return -(-count // lanes) * lanes


def filled(matrix: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Return an array with zeros added on the right up to whole tiles; itself if it fits.

    Parameters
    ----------
    matrix : ndarray (..., F)
    lanes : int

    Returns
    -------
    ndarray (..., Fp), C order
    """
    F = matrix.shape[-1]
    missing = -F % lanes
    if not missing:
        return np.ascontiguousarray(matrix)
    result = memory.empty((*matrix.shape[:-1], F + missing), matrix.dtype)
    result[..., :F] = matrix
    result[..., F:] = 0
    return result


def like(weight: FloatArray, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return room for the gradients of the weights and of the bias.

    Parameters
    ----------
    weight : ndarray (..., F)
    dy : ndarray
        Of the dtype that is wanted.

    Returns
    -------
    dweight : ndarray (..., F)
    dbias : ndarray (F,)
    """
    return memory.empty(weight.shape, dy.dtype), memory.empty(weight.shape[-1:], dy.dtype)


def in_blocks(matrix: FloatArray, lanes: int) -> FloatArray:
    """Return the columns of a matrix in blocks of so many, filled up with zeros.

    Parameters
    ----------
    matrix : ndarray (K, F)
    lanes : int

    Returns
    -------
    ndarray (blocks, K, lanes), C order
    """
    K, F = matrix.shape
    result: FloatArray = memory.zeros((-(-F // lanes), K, lanes), matrix.dtype)
    for block, columns in enumerate(result):
        part = matrix[:, block * lanes : (block + 1) * lanes]
        columns[:, : part.shape[1]] = part
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
    dx: FloatArray = memory.zeros(shape, dpadded.dtype)  # pixels that no window sees keep 0
    dx[:, : inside.shape[1], : inside.shape[2]] = inside
    return dx
