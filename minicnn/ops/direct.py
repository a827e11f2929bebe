"""Convolution on the direct kernels: what they need is worked out here."""

import numpy as np

from minicnn import kernels, memory
from minicnn.ops.arrays import corners, filled, in_blocks, padded
from minicnn.shapes import FloatArray, Window


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
    N, row, F = len(x), x[0, 0].size, weight.shape[3]
    lanes = kernels.lanes_for(F)
    y = memory.empty((N, window.OH, window.OW, F), x.dtype)
    kernels.direct_forward(
        x,
        x[0].size,
        corners(window.OH, window.OW, window.SH * row, window.SW * x.shape[3]),
        row,
        window.KH,
        in_blocks(weight.reshape(-1, F), lanes),
        filled(bias, lanes),
        y.reshape(N, -1, F),
    )
    return y


def weight_gradient(x: FloatArray, dy: FloatArray, window: Window, dweight: FloatArray) -> None:
    """Compute dweight.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    dy : ndarray (N, OH, OW, F)
    window : Window
    dweight : ndarray (KH, KW, C, F)
        Overwritten.
    """
    x = padded(x, window)
    N, row, C, F = len(x), x[0, 0].size, x.shape[3], dy.shape[3]
    lanes = kernels.lanes_for(F)
    dy = filled(dy, lanes)
    dweight.fill(0)
    kernels.direct_weight_gradient(
        x,
        x[0].size,
        row,
        window.KH,
        window.OH,
        window.SH * row,
        window.OW,
        window.SW * C,
        dy.reshape(N, -1, dy.shape[3]),
        dweight.reshape(-1, F),
        lanes,
    )


def input_gradient(
    dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int
) -> FloatArray:
    """Return dx ``(N, H, W, C)``: itself a convolution, of dy with the kernels turned round.

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
    return conv2d(*turned_round(dy, weight, window, H, W))


def turned_round(
    dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int
) -> tuple[FloatArray, FloatArray, FloatArray, Window]:
    """Return the arguments of the convolution that is the gradient of the input.

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
    grid : ndarray (N, H + KH - 1, W + KW - 1, F)
    turned : ndarray (KH, KW, F, C)
    bias : ndarray (C,)
        Zeros.
    window : Window
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, F = dy.shape[0], dy.shape[3]
    grid = memory.zeros((N, H + KH - 1, W + KW - 1, F), dy.dtype)
    rows, rows_of_dy = _places(OH, SH, KH - 1 - top, grid.shape[1])
    columns, columns_of_dy = _places(OW, SW, KW - 1 - left, grid.shape[2])
    grid[:, rows, columns] = dy[:, rows_of_dy, columns_of_dy]
    turned = np.ascontiguousarray(weight[::-1, ::-1].transpose(0, 1, 3, 2))  # (KH, KW, F, C)
    bias = np.zeros(weight.shape[2], dy.dtype)
    return grid, turned, bias, Window(KH, KW, 1, 1, 0, 0, H, W)


def _places(count: int, stride: int, first: int, size: int) -> tuple[slice, slice]:
    """Return where ``first + i * stride`` lies in 0 .. size - 1, and for which i of `count`."""
    low = max(0, -(first // stride))
    high = min(count, (size - 1 - first) // stride + 1)
    start = first + low * stride
    return slice(start, start + (high - low - 1) * stride + 1, stride), slice(low, high)
