"""Convolution by Winograd's minimal filtering: what its kernels need is worked out here."""

import numpy as np
from numpy.typing import DTypeLike

from minicnn import kernels, memory
from minicnn.memory import Request
from minicnn.ops import arrays
from minicnn.shapes import FloatArray, Window

# As many tiles as this are under way at once: each transformed weight that is loaded serves them
# all. There is room for one more, which is not used, and for one more vector of the weights: with
# an odd number the sixteen parts of the transforms do not lie a power of two apart, where they
# would drive each other out of the cache.
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
    lanes, shape = lanes_of(F), (len(x), window.OH, window.OW, F)
    y, transformed, images, products = memory.several(((shape, x.dtype), *room(C, F, x.dtype)))
    kernels.winograd_weights(np.ascontiguousarray(weight), lanes, transformed)
    source, bias = arrays.padded(x, _even(window)), np.ascontiguousarray(bias)
    kernels.winograd_forward[lanes](source, transformed, bias, y, images, products)
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
    dtransformed = memory.empty((16, C + 1, arrays.rounded(F, kernels.NARROW)), x.dtype)
    kernels.clear(dtransformed.reshape(-1))
    images, gradients = memory.several(room(C, F, x.dtype)[1:])
    source, kernel = arrays.padded(x, _even(window)), kernels.winograd_weight_gradient[lanes_of(F)]
    kernel(source, dy, dtransformed, images, gradients)
    kernels.winograd_weights_gradient(dtransformed, dweight)


def input_gradient(
    dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int
) -> FloatArray:
    """Return dx ``(N, H, W, C)``.

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
    C, F = weight.shape[2:]
    Fp, window, shape = arrays.rounded(F, kernels.NARROW), _even(window), (len(dy), H, W, C)
    exchanged, dsource, transformed, gradients, products = memory.several(
        (
            ((3, 3, Fp, C), dy.dtype),
            (arrays.padded_shape(shape, window) or shape, dy.dtype),
            *room(Fp, C, dy.dtype),
        )
    )
    kernels.exchange_channels(np.ascontiguousarray(weight), exchanged)
    kernels.winograd_weights(exchanged, lanes_of(C), transformed)
    kernel = kernels.winograd_input_gradient[lanes_of(C)]
    kernel(dy, transformed, dsource, gradients, products)
    return arrays.cropped(dsource, window, shape)


def lanes_of(F: int) -> int:
    """Return the lanes of a block of channels; what is left over takes blocks of NARROW.

    Parameters
    ----------
    F : int
        Output channels.

    Returns
    -------
    int
        Those with which the fewest are left over, and of several the most.
    """
    wide = (kernels.WIDEST, kernels.WIDE)
    Fp = arrays.rounded(F, kernels.NARROW)
    lanes = min(wide, key=lambda lanes: Fp % lanes)  # the first of equals
    return lanes if lanes <= Fp else kernels.NARROW


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
        For arrays (16, C·Fp + NARROW), (16, B, C) and (16, B, Fp).
    """
    B, Fp = BLOCK + 1, arrays.rounded(F, kernels.NARROW)
    return (
        ((16, C * Fp + kernels.NARROW), dtype),
        ((16, B, C), dtype),
        ((16, B, Fp), dtype),
    )


def _even(window: Window) -> Window:
    """Return a window that sees whole tiles: an even number of rows and columns."""
    return window._replace(OH=window.OH + window.OH % 2, OW=window.OW + window.OW % 2)
