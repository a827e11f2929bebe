"""Arrays added up, and put side by side."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.rows import clear_row, copy_row

Array = NDArray[np.float32]


@kernel
def add_arrays(a: Array, b: Array, y: Array) -> None:
    """Compute ``y[i] = a[i] + b[i]``.

    Parameters
    ----------
    a, b : ndarray (size,)
    y : ndarray (size,)
        Overwritten.
    """
    for i in range(y.size):
        y[i] = a[i] + b[i]


@kernel
def copy_columns(source: Array, column: int, target: Array, place: int, count: int) -> None:
    """Compute ``target[r, place + c] = source[r, column + c]`` for c below `count`.

    Parameters
    ----------
    source : ndarray (rows, …)
    column : int
    target : ndarray (rows, …)
        Updated.
    place : int
    count : int
    """
    rows, width = target.shape
    for r in range(rows):
        copy_row(source, r * source.shape[1] + column, count, target, r * width + place)


@kernel
def crop_images(x: Array, top: int, left: int, inside: Array) -> None:
    """Copy images into smaller ones, from row `top` and column `left` on; zeros behind their end.

    Parameters
    ----------
    x : ndarray (N, H', W', C)
    top, left : int
    inside : ndarray (N, H, W, C)
        Overwritten.
    """
    N, height, width, _ = x.shape
    _, H, W, C = inside.shape
    count = max(0, min(W, width - left)) * C
    for n in range(N):
        for h in range(H):
            o = (n * H + h) * W * C
            if top + h < height:
                copy_row(x, ((n * height + top + h) * width + left) * C, count, inside, o)
                clear_row(inside, o + count, W * C - count)
            else:
                clear_row(inside, o, W * C)
