"""Max-pooling: the op pair."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory, shapes
from minicnn.ops.arrays import corners
from minicnn.shapes import FloatArray, IntPair, Padding, Shape, Window


class MaxPool2DCache(NamedTuple):
    """What `max_pool2d_backward` needs: one byte for each output.

    `winner` holds ``kh·KW + kw`` of the maximum, in the smallest unsigned type that can count the
    window: one byte up to 16 × 16. The images themselves are not kept.
    """

    shape: Shape
    winner: NDArray[np.unsignedinteger[Any]]
    window: Window


def max_pool2d(
    x: FloatArray,
    pool_size: IntPair,
    stride: IntPair | None = None,
    padding: Padding = 0,
) -> tuple[FloatArray, MaxPool2DCache]:
    """Take the maximum of each window, for each channel.

    ``y[n, oh, ow, c] = max_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]``, where x is
    -∞ outside the image. Of equal values the first in row order wins, as in PyTorch. A NaN in a
    window is its maximum, so that it is not lost on the way to the loss.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        The pool size where left out.
    padding : int, pair of int, "same" or "valid"
        Must be smaller than the window.

    Returns
    -------
    y : ndarray (N, OH, OW, C)
        Of x's dtype.
    cache : MaxPool2DCache

    Raises
    ------
    TypeError
        If x is not float32 or float64, or a size is not a whole number.
    ValueError
        If shapes do not fit.

    References
    ----------
    Scherer, Müller, Behnke, "Evaluation of pooling operations in convolutional architectures for
    object recognition" (ICANN 2010), section 3.2.
    """
    shapes.check_array("max_pool2d", "x", x, "N H W C")
    window = shapes.pool_window("max_pool2d", x.shape[1:3], pool_size, stride, padding)
    y = memory.empty((x.shape[0], window.OH, window.OW, x.shape[3]), x.dtype)
    winner = memory.empty(y.shape, np.min_scalar_type(window.KH * window.KW - 1))
    kernels.max_pool(np.ascontiguousarray(x), window, y, winner)
    return y, MaxPool2DCache(x.shape, winner, window)


def max_pool2d_backward(dy: FloatArray, cache: MaxPool2DCache) -> FloatArray:
    """Give the gradient of `max_pool2d`.

    A small change of the winner changes the output by as much, a small change of any other pixel
    not at all: ``dx[h, w] = Σ dy`` over the windows that ``(h, w)`` has won.

    Derivation: minicnn/reference/DERIVATIONS.md, "Max-pooling".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : MaxPool2DCache

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    shapes.check_array("max_pool2d_backward", "dy", dy, "N OH OW C")
    shapes.check_gradient("max_pool2d_backward", dy, cache.winner.shape, dy.dtype)
    shape, winner, window = cache
    dy = np.ascontiguousarray(dy)
    N, _, W, C = shape
    if C % kernels.NARROW == 0:
        dx = memory.empty(shape, dy.dtype)
        kernels.max_pool_backward(dy, winner, window, dx)
    else:
        dx = memory.zeros(shape, dy.dtype)
        steps = corners(window.KH, window.KW, W * C, C)
        kernels.max_pool_scatter(dy, winner, window, steps, W, dx.reshape(N, -1))
    return dx
