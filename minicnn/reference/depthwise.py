"""Depthwise convolution in six loops."""

from itertools import product
from typing import Any

import numpy as np

from minicnn.shapes import Array, IntPair, Padding
from minicnn.shapes.checks import check_gradient
from minicnn.shapes.window import conv_window

Cache = tuple[Any, ...]


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
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    y = np.empty((N, OH, OW, C), x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for c in range(C):
                    total = float(bias[c])
                    for kh in range(KH):
                        for kw in range(KW):
                            h = oh * SH - top + kh
                            w = ow * SW - left + kw
                            if 0 <= h < H and 0 <= w < W:
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
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    check_gradient("depthwise_conv2d_backward", dy, (N, OH, OW, C), x.dtype)
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(C)
    for n, oh, ow, c in product(range(N), range(OH), range(OW), range(C)):
        upstream = float(dy[n, oh, ow, c])
        dbias[c] += upstream
        for kh, kw in product(range(KH), range(KW)):
            h = oh * SH - top + kh
            w = ow * SW - left + kw
            if 0 <= h < H and 0 <= w < W:
                dx[n, h, w, c] += upstream * float(weight[kh, kw, c])
                dweight[kh, kw, c] += upstream * float(x[n, h, w, c])
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)
