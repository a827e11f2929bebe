"""Max-pooling: the op pair.

Average pooling, over windows and over whole images: the op pairs.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import copy, pooling, target
from minicnn.kernels.pack import window_origins
from minicnn.runtime import arena
from minicnn.shapes import FloatArray, IntPair, Padding, Shape
from minicnn.shapes.checks import check_array, check_gradient
from minicnn.shapes.window import Window, pool_window


class MaxPool2DCache(NamedTuple):
    """What `max_pool2d_backward` needs: one byte for each output.

    `argmax` holds ``kh·KW + kw`` of the maximum, in the smallest unsigned type that can count the
    window: one byte up to 16 × 16. The images themselves are not kept.
    """

    shape: Shape
    argmax: NDArray[np.unsignedinteger[Any]]
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
    check_array("max_pool2d", "x", x, "N H W C")
    window = pool_window("max_pool2d", x.shape[1:3], pool_size, stride, padding)
    y = arena.empty((x.shape[0], window.OH, window.OW, x.shape[3]), x.dtype)
    argmax = arena.empty(y.shape, np.min_scalar_type(window.KH * window.KW - 1))
    pooling.max_pool(np.ascontiguousarray(x), window, y, argmax)
    return y, MaxPool2DCache(x.shape, argmax, window)


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
    check_array("max_pool2d_backward", "dy", dy, "N OH OW C")
    check_gradient("max_pool2d_backward", dy, cache.argmax.shape, dy.dtype)
    shape, argmax, window = cache
    dy = np.ascontiguousarray(dy)
    N, _, W, C = shape
    if C % target.LANES == 0:
        dx = arena.empty(shape, dy.dtype)
        pooling.max_pool_backward(dy, argmax, window, dx)
    else:
        dx = arena.empty(shape, dy.dtype)
        copy.fill_zero(dx.reshape(-1))
        steps = window_origins(window.KH, window.KW, W * C, C)
        pooling.max_pool_backward_any_c(dy, argmax, window, steps, W, dx.reshape(N, -1))
    return dx


class AvgPool2DCache(NamedTuple):
    """What `avg_pool2d_backward` needs: shapes alone, no numbers."""

    shape: Shape
    window: Window


class GlobalAvgPool2DCache(NamedTuple):
    """What `global_avg_pool2d_backward` needs: a shape, no numbers."""

    shape: Shape


def avg_pool2d(
    x: FloatArray,
    pool_size: IntPair,
    stride: IntPair | None = None,
    padding: Padding = 0,
) -> tuple[FloatArray, AvgPool2DCache]:
    """Take the mean of each window, for each channel.

    ``y[n, oh, ow, c] = Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c] / (KH·KW)``, where x
    is 0 outside the image. So padding counts, as in PyTorch (its ``count_include_pad=True``, the
    default): the same divisor everywhere keeps the op a convolution with constant weights. Keras
    leaves padding out of its means.

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
    cache : AvgPool2DCache

    Raises
    ------
    TypeError
        If x is not float32 or float64, or a size is not a whole number.
    ValueError
        If shapes do not fit.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proc. IEEE 86 (1998), section II.A, whose sub-sampling layers take such means.
    """
    check_array("avg_pool2d", "x", x, "N H W C")
    window = pool_window("avg_pool2d", x.shape[1:3], pool_size, stride, padding)
    N, _, W, C = x.shape
    y, row = arena.allocate((((N, window.OH, window.OW, C), x.dtype), ((W * C,), x.dtype)))
    pooling.avg_pool(np.ascontiguousarray(x), window, y, row)
    return y, AvgPool2DCache(x.shape, window)


def avg_pool2d_backward(dy: FloatArray, cache: AvgPool2DCache) -> FloatArray:
    """Give the gradient of `avg_pool2d`.

    Each of the KH·KW pixels of a window moves its mean by 1/(KH·KW) of its own change:
    ``dx[h, w] = Σ dy / (KH·KW)`` over the windows that hold ``(h, w)``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Average pooling".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : AvgPool2DCache

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    check_array("avg_pool2d_backward", "dy", dy, "N OH OW C")
    (N, _, W, C), window = cache
    shape = N, window.OH, window.OW, C
    check_gradient("avg_pool2d_backward", dy, shape, dy.dtype)
    dx, row = arena.allocate(((cache.shape, dy.dtype), (((W + window.OW) * C,), dy.dtype)))
    pooling.avg_pool_backward(np.ascontiguousarray(dy), window, dx, row)
    return dx


def global_avg_pool2d(x: FloatArray) -> tuple[FloatArray, GlobalAvgPool2DCache]:
    """Take the mean of each channel over the whole image.

    ``y[n, c] = Σ_{h,w} x[n, h, w, c] / (H·W)``: in place of `flatten` before the last dense layer
    it makes its weights as many as there are channels, whatever the size of the images.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.

    Returns
    -------
    y : ndarray (N, C)
        Of x's dtype.
    cache : GlobalAvgPool2DCache

    Raises
    ------
    TypeError
        If x is not float32 or float64.
    ValueError
        If it has not four axes, or one of length 0.

    References
    ----------
    Lin, Chen, Yan, "Network in network" (ICLR 2014), section 3.2.
    """
    check_array("global_avg_pool2d", "x", x, "N H W C")
    N, H, W, C = x.shape
    y: FloatArray = arena.empty((N, C), x.dtype)
    pooling.global_avg_pool(np.ascontiguousarray(x).reshape(N, H * W, C), y)
    return y, GlobalAvgPool2DCache(x.shape)


def global_avg_pool2d_backward(dy: FloatArray, cache: GlobalAvgPool2DCache) -> FloatArray:
    """Give the gradient of `global_avg_pool2d`: ``dx[n, h, w, c] = dy[n, c] / (H·W)``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Average pooling".

    Parameters
    ----------
    dy : ndarray (N, C)
    cache : GlobalAvgPool2DCache

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    check_array("global_avg_pool2d_backward", "dy", dy, "N C")
    N, H, W, C = cache.shape
    check_gradient("global_avg_pool2d_backward", dy, (N, C), dy.dtype)
    dx: FloatArray = arena.empty(cache.shape, dy.dtype)
    pooling.global_avg_pool_backward(np.ascontiguousarray(dy), dx.reshape(N, H * W, C))
    return dx
