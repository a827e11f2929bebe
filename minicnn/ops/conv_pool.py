"""Convolution, optional ReLU and 2×2 max-pooling as one op."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import conv_pool, conv_pool_backward, conv_winograd
from minicnn.ops.conv import select_backend
from minicnn.runtime import arena
from minicnn.shapes import Array, IntPair, Out, Padding
from minicnn.shapes.checks import check_dy
from minicnn.shapes.window import Window, conv_window, pool_window

# The backends of `conv2d` that have a fused max-pool.
FORWARD = {"direct": conv_pool.forward, "winograd": conv_winograd.forward_pool}


class Conv2DMaxPool2DCache(NamedTuple):
    """Inputs of `conv2d_max_pool2d`, not copied, and one byte per output.

    `window` is that of the convolution without the rows and columns that the pool drops. `argmax`
    is the pixel of the pooling window with the maximum (0 to 3, in row order), or 4 where the ReLU
    set the output to 0.
    """

    x: Array
    weight: Array
    window: Window
    argmax: NDArray[np.unsignedinteger[Any]]


def conv2d_max_pool2d(
    x: Array,
    weight: Array,
    bias: Array,
    stride: IntPair = 1,
    padding: Padding = 0,
    *,
    relu: bool = False,
    backend: str = "auto",
) -> tuple[Array, Conv2DMaxPool2DCache]:
    """Compute convolution, optional ReLU and 2×2 max-pooling in one pass.

    ``y = max_pool2d(relu(conv2d(x, weight, bias)), 2)`` up to rounding. The map before the pool is
    never written, and the rows and columns that the pool drops are not computed.

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
        As `conv2d`; and if the output of the convolution is smaller than 2×2.
    """
    window = conv_window("conv2d", "KH KW C F", x, weight, bias, stride, padding)
    pool = pool_window("conv2d_max_pool2d", (window.OH, window.OW), 2)
    window = window._replace(OH=2 * pool.OH, OW=2 * pool.OW)  # less those that the pool drops
    C, F = weight.shape[2:]
    backend = select_backend("conv2d_max_pool2d", backend, window, C, F, FORWARD)
    shape = len(x), pool.OH, pool.OW, F
    y, argmax = arena.allocate(((shape, x.dtype), (shape, np.dtype(np.uint8))))
    FORWARD[backend](x, weight, bias, window, relu, y, argmax)
    return y, Conv2DMaxPool2DCache(x, weight, window, argmax)


def conv2d_max_pool2d_backward(
    dy: Array, cache: Conv2DMaxPool2DCache, *, need_dx: bool = True, out: Out = None
) -> tuple[Array | None, Array, Array]:
    """Compute the gradients of `conv2d_max_pool2d`.

    Only the argmax of each pooling window passes its gradient on, and only if the ReLU let it
    through. With (h, w) the origin of its window in the padded image:
    ``dweight[:, :, :, f] += dy · x[h : h + KH, w : w + KW]``,
    ``dx[h : h + KH, w : w + KW] += dy · weight[:, :, :, f]`` and ``dbias[f] += dy``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Convolution with max-pooling".

    Parameters
    ----------
    dy : ndarray (N, OH // 2, OW // 2, F)
    cache : Conv2DMaxPool2DCache
    need_dx : bool
        False skips dx, which the first layer of a network does not use.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to overwrite instead of new arrays.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C, F)
    dbias : ndarray (F,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, weight, window, argmax = cache
    check_dy("conv2d_max_pool2d_backward", dy, argmax.shape, x.dtype)
    dy = np.ascontiguousarray(dy)
    dweight, dbias = arena.gradient_buffers("conv2d_max_pool2d_backward", weight, out)
    conv_pool_backward.backward_weight(x, dy, argmax, window, dweight, dbias)
    if not need_dx:
        return None, dweight, dbias
    dx = conv_pool_backward.backward_input(dy, argmax, weight, window, x.shape)
    return dx, dweight, dbias
