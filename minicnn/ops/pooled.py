"""Convolution and 2×2 max-pool as one op, with or without a ReLU between them."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory, shapes
from minicnn.ops import arrays, winograd
from minicnn.ops.convolution import chosen_backend
from minicnn.shapes import FloatArray, IntPair, Padding, Shape, Window

Bytes = NDArray[np.unsignedinteger[Any]]
Indices = NDArray[np.int64]


# Windows of up to so many squares of three by three numbers are small: for them all pixels are
# taken, with masks; for larger ones only the winners.
SMALL = 3


class Conv2DMaxPool2DCache(NamedTuple):
    """What `conv2d_max_pool2d_backward` needs: the arguments, and one byte for each output.

    `winner` says which of the four pixels of a pooling window was the greatest (0 to 3, in row
    order), or that the ReLU made the output 0 (4).
    """

    x: FloatArray
    weight: FloatArray
    window: Window
    winner: Bytes


def conv2d_max_pool2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: IntPair = 1,
    padding: Padding = 0,
    *,
    relu: bool = False,
    backend: str = "auto",
) -> tuple[FloatArray, Conv2DMaxPool2DCache]:
    """Convolve, cut off what is negative if asked to, and take the maximum of each 2×2 square.

    ``y = max_pool2d(relu(conv2d(x, weight, bias)), 2)``, the same numbers up to the order in which
    sums are taken; but the map before the pool is never written, and rows and columns that the pool
    drops are not computed.

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
    backend : {"auto", "direct", "winograd"}
        As in `conv2d`.

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
    C, F = weight.shape[2:]
    backend = chosen_backend("conv2d_max_pool2d", backend, window, C, F)
    # rows and columns that the pool drops need not be there
    window = window._replace(OH=2 * pool.OH, OW=2 * pool.OW)
    source = arrays.padded(x, window)
    lanes = kernels.lanes_for(F)
    y = memory.empty((len(x), pool.OH, pool.OW, F), x.dtype)
    winner = memory.empty(y.shape, np.uint8)
    if backend == "winograd":
        kernels.winograd_pooled_forward(
            source,
            winograd.transformed(weight, lanes),
            arrays.filled(bias, lanes),
            relu,
            y,
            winner,
            *winograd.room(x, C, -(-F // lanes) * lanes),
        )
    else:
        kernels.pooled_forward(
            source,
            *_layout(source, window),
            arrays.in_blocks(weight.reshape(-1, F), lanes),
            arrays.filled(bias, lanes),
            relu,
            y.reshape(len(x), -1, F),
            winner.reshape(len(x), -1, F),
        )
    return y, Conv2DMaxPool2DCache(x, weight, window, winner)


def conv2d_max_pool2d_backward(
    dy: FloatArray,
    cache: Conv2DMaxPool2DCache,
    *,
    need_dx: bool = True,
    out: tuple[FloatArray, FloatArray] | None = None,
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
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to be overwritten; new arrays where left out.

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
    source = arrays.padded(x, window)
    F = weight.shape[3]
    flat = (len(x), dy[0, :, :, 0].size, F)  # (N, P, F)
    dy, winner = np.ascontiguousarray(dy).reshape(flat), winner.reshape(flat)
    dweight, dbias = out or arrays.like(weight, dy)
    KH, KW, C, _ = weight.shape
    small = -(-KH // 3) * -(-KW * C // 3) <= SMALL
    gradient_of = _small_weight_gradient if small else _weight_gradient
    gradient_of(source, window, dy, winner, dweight.reshape(-1, F), dbias)
    if not need_dx:
        return None, dweight, dbias
    return _input_gradient(source, weight, window, dy, winner, x.shape), dweight, dbias


def _weight_gradient(
    source: FloatArray,
    window: Window,
    dy: FloatArray,
    winner: Bytes,
    dmatrix: FloatArray,
    dbias: FloatArray,
) -> None:
    """Compute dweight, as a matrix (KH·KW·C, F), and dbias."""
    P, (K, F), KH = dy.shape[1], dmatrix.shape, window.KH
    room = (
        memory.empty((F, KH, arrays.rounded(K // KH, kernels.ROW)), dy.dtype),
        memory.empty((P + 1,), np.int64),
        memory.empty((P + 1,), dy.dtype),
    )
    kernels.pooled_weight_gradient(
        source, *_layout(source, window), dy, winner, dmatrix, dbias, *room
    )


def _small_weight_gradient(
    source: FloatArray,
    window: Window,
    dy: FloatArray,
    winner: Bytes,
    dmatrix: FloatArray,
    dbias: FloatArray,
) -> None:
    """Compute what `_weight_gradient` does, for small windows."""
    K, F = dmatrix.shape
    dy, winner = arrays.filled(dy, kernels.NARROW), arrays.filled(winner, kernels.NARROW)
    dsums = memory.zeros((K, dy.shape[2]), dy.dtype)
    dtotal = memory.zeros((dy.shape[2],), dy.dtype)
    kernels.pooled_small_weight_gradient(
        source, *_layout(source, window), dy, winner, dsums, dtotal
    )
    dmatrix[...], dbias[...] = dsums[:, :F], dtotal[:F]


def _input_gradient(
    source: FloatArray,
    weight: FloatArray,
    window: Window,
    dy: FloatArray,
    winner: Bytes,
    shape: Shape,
) -> FloatArray:
    KH, KW, C, F = weight.shape
    P = dy.shape[1]
    dsource: FloatArray = memory.empty((source.size + kernels.ROW,), dy.dtype)
    room = (
        memory.empty((KH, F, arrays.rounded(KW * C, kernels.ROW)), dy.dtype),
        memory.empty((5 * P,), np.int64),
        memory.empty((5 * P * F,), np.int64),
        memory.empty((5 * P * F,), dy.dtype),
    )
    kernels.pooled_input_gradient(
        dy,
        winner,
        *_layout(source, window),
        np.ascontiguousarray(weight).reshape(-1, F),
        dsource,
        *room,
    )
    return arrays.cropped(dsource[: source.size].reshape(source.shape), window, shape)


def _layout(source: FloatArray, window: Window) -> tuple[int, Indices, int, int]:
    """Return how the windows lie in memory: (image, corners, row, KH) of the kernels."""
    row, C = source[0, 0].size, source.shape[3]
    where = _pooled_corners(window.OH, window.OW, window.SH * row, window.SW * C)
    return source[0].size, where, row, window.KH


@lru_cache(maxsize=256)
def _pooled_corners(OH: int, OW: int, down: int, right: int) -> Indices:
    """Return where the window of each pixel begins, the four of a 2×2 square one after another."""
    squares = arrays.corners(OH, OW, down, right).reshape(OH // 2, 2, OW // 2, 2)
    return np.ascontiguousarray(squares.transpose(0, 2, 1, 3).ravel())
