"""Max-pooling and average pooling in loops."""

from itertools import product
from math import isnan

import numpy as np

from minicnn.shapes import Array, Cache, IntPair, Padding
from minicnn.shapes.checks import check_array, check_dy
from minicnn.shapes.window import pool_window


def max_pool2d(
    x: Array, pool_size: IntPair, stride: IntPair | None = None, padding: Padding = 0
) -> tuple[Array, Cache]:
    """Take the maximum of each window.

    ``y[n, oh, ow, c] = max_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]``, where x is
    -∞ outside the image. Among equal values the
    first in row order is the argmax. NaN is greater than any number.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    pool_size : int or pair of int
    stride : int or pair of int, optional
        Default: the pool size.
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    y : ndarray (N, OH, OW, C)
    cache : tuple
        ``(x.shape, argmax, window)``; ``argmax[n, oh, ow, c]`` is the ``(h, w)`` of the maximum.

    Raises
    ------
    TypeError, ValueError
        As the op of this name in `minicnn.ops`.
    """
    check_array("max_pool2d", "x", x, "N H W C")
    window = pool_window("max_pool2d", x.shape[1:3], pool_size, stride, padding)
    N, H, W, C = x.shape
    y = np.empty((N, window.OH, window.OW, C), x.dtype)
    argmax = np.empty((*y.shape, 2), np.int64)
    for n, oh, ow, c in product(*map(range, y.shape)):
        best = None
        for _, _, h, w in window.pixels(oh, ow, H, W):
            value = x[n, h, w, c]
            if best is None or value > best or isnan(value):
                best = value
                argmax[n, oh, ow, c] = h, w
        y[n, oh, ow, c] = best
    return y, (x.shape, argmax, window)


def max_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Compute the gradient of `max_pool2d`: add each dy to its argmax.

    Derivation: minicnn/reference/DERIVATIONS.md, "Max-pooling".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : tuple
        From `max_pool2d`.

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    shape, argmax, _ = cache
    check_dy("max_pool2d_backward", dy, argmax.shape[:-1], dy.dtype)
    dx = np.zeros(shape)
    for n, oh, ow, c in product(*map(range, dy.shape)):
        h, w = argmax[n, oh, ow, c]
        dx[n, h, w, c] += float(dy[n, oh, ow, c])
    return dx.astype(dy.dtype)


def avg_pool2d(
    x: Array, pool_size: IntPair, stride: IntPair | None = None, padding: Padding = 0
) -> tuple[Array, Cache]:
    """Take the mean of each window.

    ``y[n, oh, ow, c] = Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c] / (KH·KW)``, where x
    is 0 outside the image: padding counts.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    pool_size : int or pair of int
    stride : int or pair of int, optional
        Default: the pool size.
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    y : ndarray (N, OH, OW, C)
    cache : tuple
        ``(x.shape, window)``.

    Raises
    ------
    TypeError, ValueError
        As the op of this name in `minicnn.ops`.
    """
    check_array("avg_pool2d", "x", x, "N H W C")
    window = pool_window("avg_pool2d", x.shape[1:3], pool_size, stride, padding)
    N, H, W, C = x.shape
    y = np.empty((N, window.OH, window.OW, C), x.dtype)
    for n, oh, ow, c in product(*map(range, y.shape)):
        total = 0.0
        for _, _, h, w in window.pixels(oh, ow, H, W):
            total += float(x[n, h, w, c])
        y[n, oh, ow, c] = total / (window.KH * window.KW)
    return y, (x.shape, window)


def avg_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Compute the gradient of `avg_pool2d`: add dy / (KH·KW) to each pixel.

    Derivation: minicnn/reference/DERIVATIONS.md, "Average pooling".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : tuple
        From `avg_pool2d`.

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    shape, window = cache
    N, H, W, C = shape
    check_dy("avg_pool2d_backward", dy, (N, window.OH, window.OW, C), dy.dtype)
    dx = np.zeros(shape)
    for n, oh, ow, c in product(*map(range, dy.shape)):
        for _, _, h, w in window.pixels(oh, ow, H, W):
            dx[n, h, w, c] += float(dy[n, oh, ow, c]) / (window.KH * window.KW)
    return dx.astype(dy.dtype)


def global_avg_pool2d(x: Array) -> tuple[Array, Cache]:
    """Take the mean of each channel over the whole image.

    ``y[n, c] = Σ_{h,w} x[n, h, w, c] / (H·W)``.

    Parameters
    ----------
    x : ndarray (N, H, W, C)

    Returns
    -------
    y : ndarray (N, C)
    cache : tuple
        ``(x.shape,)``.

    Raises
    ------
    TypeError, ValueError
        As the op of this name in `minicnn.ops`.
    """
    check_array("global_avg_pool2d", "x", x, "N H W C")
    N, H, W, C = x.shape
    y = np.empty((N, C), x.dtype)
    for n, c in product(range(N), range(C)):
        total = 0.0
        for h, w in product(range(H), range(W)):
            total += float(x[n, h, w, c])
        y[n, c] = total / (H * W)
    return y, (x.shape,)


def global_avg_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Compute the gradient of `global_avg_pool2d`.

    ``dx[n, h, w, c] = dy[n, c] / (H·W)``

    Derivation: minicnn/reference/DERIVATIONS.md, "Average pooling".

    Parameters
    ----------
    dy : ndarray (N, C)
    cache : tuple
        From `global_avg_pool2d`.

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    ((N, H, W, C),) = cache
    check_dy("global_avg_pool2d_backward", dy, (N, C), dy.dtype)
    dx = np.empty((N, H, W, C), dy.dtype)
    for n, h, w, c in product(range(N), range(H), range(W), range(C)):
        dx[n, h, w, c] = float(dy[n, c]) / (H * W)
    return dx
