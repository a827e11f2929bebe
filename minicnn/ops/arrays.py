"""Arrays as the kernels want them: padded, filled up to whole tiles."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.kernels import copy, target
from minicnn.runtime import arena
from minicnn.runtime.arena import ArraySpec
from minicnn.shapes import FloatArray, IntArray, Shape
from minicnn.shapes.checks import check_out
from minicnn.shapes.window import Window


@lru_cache(maxsize=256)
def origins(rows: int, columns: int, down: int, right: int) -> NDArray[np.int64]:
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
    return outer_sum(np.arange(rows) * down, np.arange(columns) * right)


def outer_sum(rows: IntArray, columns: IntArray) -> NDArray[np.int64]:
    """Return ``rows[i] + columns[j]``, row by row.

    Parameters
    ----------
    rows, columns : ndarray of int

    Returns
    -------
    ndarray of int64 (len(rows) * len(columns),)
    """
    return np.ascontiguousarray((rows[:, None] + columns).ravel(), dtype=np.int64)


def receptive_size(window: Window) -> tuple[int, int]:
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


def padded_shape(shape: Shape, window: Window) -> Shape | None:
    """Return the shape of images with as many zeros around them as the windows reach.

    Parameters
    ----------
    shape : tuple of int
        ``(N, H, W, C)``.
    window : Window

    Returns
    -------
    tuple of int, or None
        ``(N, H', W', C)``; None if the windows stay inside.
    """
    N, H, W, C = shape
    height, width = receptive_size(window)
    if window.top == 0 and window.left == 0 and height <= H and width <= W:
        return None
    return N, height, width, C


def pad_images(x: FloatArray, window: Window) -> FloatArray:
    """Return the images with as many zeros around them as the windows reach; `x` itself if none.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    window : Window

    Returns
    -------
    ndarray (N, H', W', C), C order
    """
    shape = padded_shape(x.shape, window)
    if shape is None:
        return np.ascontiguousarray(x)
    result: FloatArray = arena.empty(shape, x.dtype)
    copy.pad_images(np.ascontiguousarray(x), window.top, window.left, result)
    return result


def round_up(count: int, lanes: int) -> int:
    """Return a number rounded up to a multiple of another.

    Parameters
    ----------
    count, lanes : int

    Returns
    -------
    int
    """
    return -(-count // lanes) * lanes


def pad_channels(matrix: NDArray[Any], lanes: int) -> NDArray[Any]:
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
    result = arena.empty((*matrix.shape[:-1], F + missing), matrix.dtype)
    copy.fill_zero(result.reshape(-1))
    rows = np.ascontiguousarray(matrix).reshape(-1, F)
    copy.copy_columns(rows, 0, result.reshape(-1, F + missing), 0, F)
    return result


def gradient_buffers(
    op: str, weight: FloatArray, dy: FloatArray, out: tuple[FloatArray, FloatArray] | None
) -> tuple[FloatArray, FloatArray]:
    """Return room for the gradients of the weights and of the bias: new, or what a caller gave.

    Parameters
    ----------
    op : str
        Name of the function that asks, for the messages.
    weight : ndarray (..., F)
    dy : ndarray
        Of the dtype that is wanted.
    out : tuple of ndarray, or None
        ``(dweight, dbias)``.

    Returns
    -------
    dweight : ndarray (..., F)
    dbias : ndarray (F,)

    Raises
    ------
    TypeError, ValueError
        If what was given is not two arrays of these shapes and this dtype, in C order.
    """
    sizes = weight.shape, weight.shape[-1:]
    if out is None:
        return arena.empty(sizes[0], dy.dtype), arena.empty(sizes[1], dy.dtype)
    check_out(op, out, sizes, dy.dtype)
    return out


def allocate_panels(K: int, F: int, dtype: DTypeLike) -> ArraySpec:
    """Return the room for weights and bias in blocks of as many channels as a tile takes.

    Parameters
    ----------
    K, F : int
        Numbers of a window, and output channels.
    dtype : dtype

    Returns
    -------
    request
        For an array (blocks, 1 + K, lanes).
    """
    lanes = target.choose_nr(F)
    return (-(-F // lanes), 1 + K, lanes), dtype


def crop_images(dpadded: FloatArray, window: Window, shape: Shape) -> FloatArray:
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
    dx: FloatArray = arena.empty(shape, dpadded.dtype)  # 0 where no window sees a pixel
    copy.crop_images(dpadded, window.top, window.left, dx)
    return dx
