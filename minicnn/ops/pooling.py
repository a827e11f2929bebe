"""Max, average and global average pooling: the forward/backward pairs."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import copy, pooling, target
from minicnn.kernels.pack import grid_offsets
from minicnn.runtime import arena
from minicnn.shapes import Array, IntPair, Padding, Shape
from minicnn.shapes.checks import check_array, check_dy
from minicnn.shapes.window import Window, pool_window


class MaxPool2DCache(NamedTuple):
    """One integer per output, and the shapes; the images are not kept.

    `argmax` is ``kh·KW + kw`` of the maximum, in the smallest unsigned type that holds it: one byte
    for windows up to 16 × 16.
    """

    shape: Shape
    argmax: NDArray[np.unsignedinteger[Any]]
    window: Window


def max_pool2d(
    x: Array, pool_size: IntPair, stride: IntPair | None = None, padding: Padding = 0
) -> tuple[Array, MaxPool2DCache]:
    """Take the maximum of each window, for each channel.

    ``y[n, oh, ow, c] = max_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]``, where x is
    -∞ outside the image. Among equal values the first in row order is the argmax, as in
    PyTorch. A NaN in a window is its maximum, so that it reaches the loss.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        Default: the pool size.
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
        If shapes do not match.

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


def max_pool2d_backward(dy: Array, cache: MaxPool2DCache) -> Array:
    """Compute the gradient of `max_pool2d`.

    Only the argmax of a window receives its gradient: ``dx[h, w] = Σ dy`` over the windows whose
    argmax is ``(h, w)``.

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
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    check_array("max_pool2d_backward", "dy", dy, "N OH OW C")
    check_dy("max_pool2d_backward", dy, cache.argmax.shape, dy.dtype)
    shape, argmax, window = cache
    dy = np.ascontiguousarray(dy)
    N, _, W, C = shape
    dx = arena.empty(shape, dy.dtype)
    if C % target.LANES == 0:
        pooling.max_pool_backward(dy, argmax, window, dx)
    else:
        copy.fill_zero(dx.reshape(-1))
        steps = grid_offsets(window.KH, window.KW, W * C, C)
        pooling.max_pool_backward_any_c(dy, argmax, window, steps, W, dx.reshape(N, -1))
    return dx


class AvgPool2DCache(NamedTuple):
    """Shapes only."""

    shape: Shape
    window: Window


class GlobalAvgPool2DCache(NamedTuple):
    """The shape of x."""

    shape: Shape


def avg_pool2d(
    x: Array, pool_size: IntPair, stride: IntPair | None = None, padding: Padding = 0
) -> tuple[Array, AvgPool2DCache]:
    """Take the mean of each window, for each channel.

    ``y[n, oh, ow, c] = Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c] / (KH·KW)``, with
    zeros outside the image. Padding counts, as in PyTorch (``count_include_pad=True``, the
    default), so that the op is a convolution with constant weights. Keras excludes padding.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        Default: the pool size.
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
        If shapes do not match.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proc. IEEE 86 (1998), section II.A (sub-sampling layers).
    """
    check_array("avg_pool2d", "x", x, "N H W C")
    window = pool_window("avg_pool2d", x.shape[1:3], pool_size, stride, padding)
    N, _, W, C = x.shape
    y, row = arena.allocate((((N, window.OH, window.OW, C), x.dtype), ((W * C,), x.dtype)))
    pooling.avg_pool(np.ascontiguousarray(x), window, y, row)
    return y, AvgPool2DCache(x.shape, window)


def avg_pool2d_backward(dy: Array, cache: AvgPool2DCache) -> Array:
    """Compute the gradient of `avg_pool2d`.

    ``dx[h, w] = Σ dy / (KH·KW)`` over the windows that contain ``(h, w)``.

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
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    check_array("avg_pool2d_backward", "dy", dy, "N OH OW C")
    (N, _, W, C), window = cache
    shape = N, window.OH, window.OW, C
    check_dy("avg_pool2d_backward", dy, shape, dy.dtype)
    dx, row = arena.allocate(((cache.shape, dy.dtype), (((W + window.OW) * C,), dy.dtype)))
    pooling.avg_pool_backward(np.ascontiguousarray(dy), window, dx, row)
    return dx


def global_avg_pool2d(x: Array) -> tuple[Array, GlobalAvgPool2DCache]:
    """Take the mean of each channel over the whole image.

    ``y[n, c] = Σ_{h,w} x[n, h, w, c] / (H·W)``. In place of `flatten` before the last dense layer,
    the number of its weights does not depend on the size of the images.

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
        If it does not have four axes, or one has length 0.

    References
    ----------
    Lin, Chen, Yan, "Network in network" (ICLR 2014), section 3.2.
    """
    check_array("global_avg_pool2d", "x", x, "N H W C")
    N, H, W, C = x.shape
    y: Array = arena.empty((N, C), x.dtype)
    pooling.global_avg_pool(np.ascontiguousarray(x).reshape(N, H * W, C), y)
    return y, GlobalAvgPool2DCache(x.shape)


def global_avg_pool2d_backward(dy: Array, cache: GlobalAvgPool2DCache) -> Array:
    """Compute the gradient of `global_avg_pool2d`.

    ``dx[n, h, w, c] = dy[n, c] / (H·W)``

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
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    check_array("global_avg_pool2d_backward", "dy", dy, "N C")
    N, H, W, C = cache.shape
    check_dy("global_avg_pool2d_backward", dy, (N, C), dy.dtype)
    dx: Array = arena.empty(cache.shape, dy.dtype)
    pooling.global_avg_pool_backward(np.ascontiguousarray(dy), dx.reshape(N, H * W, C))
    return dx
