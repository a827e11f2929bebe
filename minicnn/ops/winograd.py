"""Convolution by Winograd's minimal filtering: what its kernels need is worked out here."""

import numpy as np
from numpy.typing import DTypeLike

from minicnn import kernels, memory
from minicnn.memory import Request
from minicnn.ops import arrays, direct
from minicnn.shapes import FloatArray, Window

# As many tiles as this are under way at once: each transformed weight that is loaded serves them
# all. There is room for one more, which is not used, and for one more row of the weights: with an
# odd number the sixteen parts of the transforms do not lie a power of two apart, where they would
# drive each other out of the cache.
BLOCK = 48
# Of fewer channels the transforms take longer than the multiplications that they save.
FEWEST_CHANNELS = 16


def applies(window: Window) -> bool:
    """Return whether a convolution is one of those that minimal filtering can do.

    Parameters
    ----------
    window : Window

    Returns
    -------
    bool
    """
    return (window.KH, window.KW, window.SH, window.SW) == (3, 3, 1, 1)


def pays(window: Window, C: int, F: int) -> bool:
    """Return whether minimal filtering is faster than the direct kernels.

    Parameters
    ----------
    window : Window
    C, F : int
        Channels that go in and come out.

    Returns
    -------
    bool
    """
    return applies(window) and min(C, F) >= FEWEST_CHANNELS


def conv2d(x: FloatArray, weight: FloatArray, bias: FloatArray, window: Window) -> FloatArray:
    """Return the convolution ``(N, OH, OW, F)``; arguments are those of `minicnn.ops.conv2d`.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (3, 3, C, F)
    bias : ndarray (F,)
    window : Window

    Returns
    -------
    ndarray (N, OH, OW, F)
    """
    C, F = weight.shape[2:]
    shape = (len(x), window.OH, window.OW, F)
    y, transformed, images, products = memory.several(((shape, x.dtype), *room(C, F, x.dtype)))
    kernels.winograd_weights(np.ascontiguousarray(weight), transformed)
    source, bias = arrays.padded(x, _even(window)), np.ascontiguousarray(bias)
    kernels.winograd_forward[transformed.shape[2]](source, transformed, bias, y, images, products)
    return y


def weight_gradient(x: FloatArray, dy: FloatArray, window: Window, dweight: FloatArray) -> None:
    """Compute dweight.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    dy : ndarray (N, OH, OW, F)
    window : Window
    dweight : ndarray (3, 3, C, F)
        Overwritten.
    """
    C, F = x.shape[3], dy.shape[3]
    lanes = kernels.lanes_for(F)
    dtransformed = memory.empty((16, C + 1, arrays.rounded(F, lanes)), x.dtype)
    kernels.clear(dtransformed.reshape(-1))
    images, gradients = memory.several(room(C, F, x.dtype)[1:])
    source = arrays.padded(x, _even(window))
    kernels.winograd_weight_gradient[lanes](source, dy, dtransformed, images, gradients)
    kernels.winograd_weights_gradient(dtransformed, dweight)


def input_gradient(
    dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int
) -> FloatArray:
    """Return dx ``(N, H, W, C)``: itself a convolution, of dy with the kernels turned round.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    weight : ndarray (3, 3, C, F)
    window : Window
    H, W : int
        Of the input.

    Returns
    -------
    ndarray (N, H, W, C)
    """
    return conv2d(*direct.turned_round(dy, weight, window, H, W))


def room(C: int, F: int, dtype: DTypeLike) -> tuple[Request, Request, Request]:
    """Return the room for transformed weights and, of a block of tiles, images and products.

    Parameters
    ----------
    C, F : int
        Channels that go in and come out.
    dtype : dtype

    Returns
    -------
    transformed, images, products : request
        For arrays (16, blocks·C + 1, lanes), (16, B, C) and (16, B, blocks·lanes).
    """
    lanes, B = kernels.lanes_for(F), BLOCK + 1
    blocks = -(-F // lanes)
    return (
        ((16, blocks * C + 1, lanes), dtype),
        ((16, B, C), dtype),
        ((16, B, blocks * lanes), dtype),
    )


def _even(window: Window) -> Window:
    """Return a window that sees whole tiles: an even number of rows and columns."""
    return window._replace(OH=window.OH + window.OH % 2, OW=window.OW + window.OW % 2)
