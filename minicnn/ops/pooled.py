"""Convolution and 2×2 max-pool as one op, with or without a ReLU between them."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, shapes
from minicnn.ops import direct
from minicnn.shapes import FloatArray, IntPair, Padding, Window


class Conv2DMaxPool2DCache(NamedTuple):
    """What `conv2d_max_pool2d_backward` needs: the arguments, and one byte for each output.

    `winner` says which of the four pixels of a pooling window was the greatest (0 to 3, in row
    order), or that the ReLU made the output 0 (4).
    """

    x: FloatArray
    weight: FloatArray
    window: Window
    winner: NDArray[np.unsignedinteger[Any]]


def conv2d_max_pool2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: IntPair = 1,
    padding: Padding = 0,
    *,
    relu: bool = False,
) -> tuple[FloatArray, Conv2DMaxPool2DCache]:
    """Convolve, cut off what is negative if asked to, and take the maximum of each 2×2 square.

    ``y = max_pool2d(relu(conv2d(x, weight, bias)), 2)``, the same numbers to the last bit; but the
    map before the pool is never written, and rows and columns that the pool drops are not computed.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    stride : int or pair of int
        Of the convolution.
    padding : int, pair of int, "same" or "valid"
        Of the convolution.
    relu : bool

    Returns
    -------
    y : ndarray (N, OH // 2, OW // 2, F)
        Of x's dtype.
    cache : Conv2DMaxPool2DCache

    Raises
    ------
    TypeError, ValueError
        As `conv2d`; and if the convolution's output is smaller than 2×2.
    """
    window = shapes.conv2d_window(x, weight, bias, stride, padding)
    pool = shapes.pool_window("conv2d_max_pool2d", (window.OH, window.OW), 2)
    F = weight.shape[3]
    source = direct.padded(x, window)
    y = np.empty((len(x), pool.OH, pool.OW, F), x.dtype)
    winner = np.empty(y.shape, np.uint8)
    kernels.pooled_forward(
        source,
        *direct.layout(source, window, _pooled_corners),
        direct.whole_tiles(weight.reshape(-1, F)),
        direct.whole_tiles(bias),
        relu,
        y.reshape(len(x), -1, F),
        winner.reshape(len(x), -1, F),
    )
    return y, Conv2DMaxPool2DCache(x, weight, window, winner)


def conv2d_max_pool2d_backward(
    dy: FloatArray, cache: Conv2DMaxPool2DCache, *, need_dx: bool = True
) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    """Give the gradients of `conv2d_max_pool2d`.

    Only a winner that the ReLU let through passes its gradient on. With (h, w) the corner of the
    winner's window: ``dweight[:, :, :, f] += dy · x[h : h + KH, w : w + KW]`` and
    ``dx[h : h + KH, w : w + KW] += dy · weight[:, :, :, f]``.

    Parameters
    ----------
    dy : ndarray (N, OH // 2, OW // 2, F)
    cache : Conv2DMaxPool2DCache
    need_dx : bool
        False leaves dx out: the first layer of a network has no use for it.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C, F)
    dbias : ndarray (F,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    x, weight, window, winner = cache
    shapes.check_gradient("conv2d_max_pool2d_backward", dy, winner.shape, x.dtype)
    source = direct.padded(x, window)
    N, F = len(x), weight.shape[3]
    flat = (N, dy[0, :, :, 0].size, F)  # (N, P, F)
    dy, winner = np.ascontiguousarray(dy).reshape(flat), winner.reshape(flat)
    layout = direct.layout(source, window, _pooled_corners)
    dtransposed = np.zeros((F, weight.size // F), x.dtype)  # (F, KH*KW*C)
    dbias = np.zeros(F, x.dtype)
    kernels.pooled_weight_gradient(source, *layout, dy, winner, dtransposed, dbias)
    dweight = np.ascontiguousarray(dtransposed.T).reshape(weight.shape)
    if not need_dx:
        return None, dweight, dbias
    dsource = np.zeros(source.shape, x.dtype)
    transposed = np.ascontiguousarray(weight.reshape(-1, F).T)
    kernels.pooled_input_gradient(dy, winner, *layout, transposed, dsource)
    return direct.cropped(dsource, window, x.shape), dweight, dbias


@lru_cache(maxsize=256)
def _pooled_corners(OH: int, OW: int, down: int, right: int) -> NDArray[np.int64]:
    """Return where the window of each pixel begins, the four of a 2×2 square one after another."""
    grid = direct.corners(OH, OW, down, right).reshape(OH, OW)
    squares = grid[: OH // 2 * 2, : OW // 2 * 2].reshape(OH // 2, 2, OW // 2, 2)
    return np.ascontiguousarray(squares.transpose(0, 2, 1, 3).ravel())
