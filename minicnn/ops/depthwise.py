"""Depthwise convolution: the forward/backward pair."""

from typing import NamedTuple

import numpy as np

from minicnn.kernels import copy, depthwise
from minicnn.runtime import arena
from minicnn.shapes import Array, IntPair, Padding
from minicnn.shapes.checks import check_gradient
from minicnn.shapes.window import Window, conv_window


class DepthwiseConv2DCache(NamedTuple):
    """Inputs of `depthwise_conv2d`, by reference."""

    x: Array
    weight: Array
    window: Window


def depthwise_conv2d(
    x: Array, weight: Array, bias: Array, stride: IntPair = 1, padding: Padding = 0
) -> tuple[Array, DepthwiseConv2DCache]:
    """Convolve each channel with its own filter, as `conv2d` without flip.

    ``y[n, oh, ow, c] = bias[c] + Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]
    · weight[kh, kw, c]``, with zeros outside the image. PyTorch: ``Conv2d(C, C, groups=C)``.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    weight : ndarray (KH, KW, C)
    bias : ndarray (C,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
        "same" gives ``ceil(H / SH) × ceil(W / SW)`` outputs, "valid" is 0.

    Returns
    -------
    y : ndarray (N, OH, OW, C)
        Of x's dtype.
    cache : DepthwiseConv2DCache

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or their dtypes differ.
    ValueError
        If shapes do not match.

    References
    ----------
    Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
    applications" (2017), section 3.1, equation 3.
    """
    window = conv_window("depthwise_conv2d", "KH KW C", x, weight, bias, stride, padding)
    y: Array = arena.empty((len(x), window.OH, window.OW, x.shape[3]), x.dtype)
    depthwise.forward(x, weight, bias, window, y)
    return y, DepthwiseConv2DCache(x, weight, window)


def depthwise_conv2d_backward(
    dy: Array,
    cache: DepthwiseConv2DCache,
    *,
    need_dx: bool = True,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array | None, Array, Array]:
    """Compute the gradients of `depthwise_conv2d`.

    With (h, w) the pixel under tap (kh, kw) of window (oh, ow):
    ``dweight[kh, kw, c] = Σ_{n,oh,ow} x[n, h, w, c] · dy[n, oh, ow, c]``,
    ``dx[n, h, w, c] = Σ dy[n, oh, ow, c] · weight[kh, kw, c]`` over the windows that cover it, and
    ``dbias[c] = Σ_{n,oh,ow} dy[n, oh, ow, c]``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Depthwise convolution".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : DepthwiseConv2DCache
    need_dx : bool
        False skips dx, which the first layer of a network does not use.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to overwrite instead of new arrays.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C)
    dbias : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, weight, window = cache
    C = x.shape[3]
    check_gradient("depthwise_conv2d_backward", dy, (len(x), window.OH, window.OW, C), x.dtype)
    dy = np.ascontiguousarray(dy)
    dweight, dbias = arena.gradient_buffers("depthwise_conv2d_backward", weight, out)
    copy.column_sums(dy.reshape(-1, C), dbias)
    depthwise.backward_weight(x, dy, window, dweight)
    if not need_dx:
        return None, dweight, dbias
    dx: Array = arena.empty(x.shape, x.dtype)
    depthwise.backward_input(dy, weight, window, dx)
    return dx, dweight, dbias
