"""Convolution in loops: the backend "reference" and its op pair.

`forward` writes out its seven loops; the gradients and depthwise convolution walk over the pixels
of a window by `Window.pixels`.
"""

from itertools import product

import numpy as np

from minicnn.shapes import Array, Cache, IntPair, Padding
from minicnn.shapes.checks import check_dy
from minicnn.shapes.window import Window, conv_window


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, F)."""
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    F = weight.shape[3]
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for f in range(F):
                    total = float(bias[f])
                    for kh in range(KH):
                        for kw in range(KW):
                            for c in range(C):
                                h = oh * SH - top + kh
                                w = ow * SW - left + kw
                                if 0 <= h < H and 0 <= w < W:
                                    total += float(x[n, h, w, c]) * float(weight[kh, kw, c, f])
                    y[n, oh, ow, f] = total


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Set each weight's gradient to its sum of ``dy · x``."""
    H, W, C = x.shape[1:]
    total = np.zeros(dweight.shape)
    for n, oh, ow, f in product(*map(range, dy.shape)):
        for kh, kw, h, w in window.pixels(oh, ow, H, W):
            for c in range(C):
                total[kh, kw, c, f] += float(dy[n, oh, ow, f]) * float(x[n, h, w, c])
    dweight[...] = total


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Set each pixel's gradient to its sum of ``dy · weight``."""
    H, W, C = dx.shape[1:]
    total = np.zeros(dx.shape)
    for n, oh, ow, f in product(*map(range, dy.shape)):
        for kh, kw, h, w in window.pixels(oh, ow, H, W):
            for c in range(C):
                total[n, h, w, c] += float(dy[n, oh, ow, f]) * float(weight[kh, kw, c, f])
    dx[...] = total


def conv2d(
    x: Array, weight: Array, bias: Array, stride: IntPair = 1, padding: Padding = 0
) -> tuple[Array, Cache]:
    """Convolve images with F filters, in seven loops.

    ``y[n, oh, ow, f] = bias[f] + Σ_{kh,kw,c} x[n, oh·SH - top + kh, ow·SW - left + kw, c]
    · weight[kh, kw, c, f]``, with zeros outside the image.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    y : ndarray (N, OH, OW, F)
    cache : tuple
        ``(x, weight, window)``.

    Raises
    ------
    TypeError, ValueError
        As `minicnn.ops.conv2d`.
    """
    window = conv_window("conv2d", "KH KW C F", x, weight, bias, stride, padding)
    y: Array = np.empty((len(x), window.OH, window.OW, weight.shape[3]), x.dtype)
    forward(x, weight, bias, window, y)
    return y, (x, weight, window)


def conv2d_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Compute dx, dweight and dbias of `conv2d`.

    From ``y = Σ x · weight`` follows for every term of every sum: ``dx += dy · weight`` and
    ``dweight += dy · x``; and ``dbias[f] = Σ_{n,oh,ow} dy[n, oh, ow, f]``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Convolution".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    cache : tuple
        From `conv2d`.

    Returns
    -------
    dx : ndarray (N, H, W, C)
    dweight : ndarray (KH, KW, C, F)
    dbias : ndarray (F,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, weight, window = cache
    F = weight.shape[3]
    check_dy("conv2d_backward", dy, (len(x), window.OH, window.OW, F), x.dtype)
    dx, dweight, dbias = np.empty_like(x), np.empty_like(weight), np.zeros(F)
    backward_input(dy, weight, window, dx)
    backward_weight(x, dy, window, dweight)
    for n, oh, ow, f in product(*map(range, dy.shape)):
        dbias[f] += float(dy[n, oh, ow, f])
    return dx, dweight, dbias.astype(x.dtype)


def depthwise_conv2d(
    x: Array, weight: Array, bias: Array, stride: IntPair = 1, padding: Padding = 0
) -> tuple[Array, Cache]:
    """Convolve each channel with its own filter, in six loops.

    ``y[n, oh, ow, c] = bias[c] + Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]
    · weight[kh, kw, c]``, where x is 0 outside the image.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C)
    bias : ndarray (C,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    y : ndarray (N, OH, OW, C)
    cache : tuple
        ``(x, weight, window)`` for `depthwise_conv2d_backward`.

    Raises
    ------
    TypeError, ValueError
        As `minicnn.ops.depthwise_conv2d`.

    References
    ----------
    Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
    applications" (2017), section 3.1, equation 3.
    """
    window = conv_window("depthwise_conv2d", "KH KW C", x, weight, bias, stride, padding)
    N, H, W, C = x.shape
    y = np.empty((N, window.OH, window.OW, C), x.dtype)
    for n, oh, ow, c in product(*map(range, y.shape)):
        total = float(bias[c])
        for kh, kw, h, w in window.pixels(oh, ow, H, W):
            total += float(x[n, h, w, c]) * float(weight[kh, kw, c])
        y[n, oh, ow, c] = total
    return y, (x, weight, window)


def depthwise_conv2d_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Compute the gradients of `depthwise_conv2d`.

    From ``y = Σ x · weight`` follows for every term of every sum: ``dx += dy · weight`` and
    ``dweight += dy · x``; and ``dbias[c] = Σ_{n,oh,ow} dy[n, oh, ow, c]``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Depthwise convolution".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : tuple
        From `depthwise_conv2d`.

    Returns
    -------
    dx : ndarray (N, H, W, C)
    dweight : ndarray (KH, KW, C)
    dbias : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, weight, window = cache
    N, H, W, C = x.shape
    check_dy("depthwise_conv2d_backward", dy, (N, window.OH, window.OW, C), x.dtype)
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(C)
    for n, oh, ow, c in product(*map(range, dy.shape)):
        upstream = float(dy[n, oh, ow, c])
        dbias[c] += upstream
        for kh, kw, h, w in window.pixels(oh, ow, H, W):
            dx[n, h, w, c] += upstream * float(weight[kh, kw, c])
            dweight[kh, kw, c] += upstream * float(x[n, h, w, c])
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)
