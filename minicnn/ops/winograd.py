"""Convolution by Winograd's minimal filtering: what its kernels need is worked out here."""

import numpy as np
from numpy.typing import DTypeLike

from minicnn.kernels import conv_winograd, conv_winograd_backward, copy, target, transpose
from minicnn.ops import arrays
from minicnn.runtime import arena
from minicnn.runtime.arena import ArraySpec
from minicnn.shapes import FloatArray
from minicnn.shapes.window import Window

# As many tiles as this are under way at once: each transformed weight that is loaded serves them
# all. There is room for one more, which is not used, and for one more vector of the weights: with
# an odd number the sixteen parts of the transforms do not lie a power of two apart, where they
# would drive each other out of the cache.
BLOCK = 48
# Of fewer channels the transforms take longer than the multiplications that they save.
FEWEST_CHANNELS = 16


def supports(window: Window) -> bool:
    """Return whether a convolution is one of those that minimal filtering can do.

    Parameters
    ----------
    window : Window

    Returns
    -------
    bool
    """
    return (window.KH, window.KW, window.SH, window.SW) == (3, 3, 1, 1)


def is_faster(window: Window, C: int, F: int) -> bool:
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
    return supports(window) and min(C, F) >= FEWEST_CHANNELS


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
    y, transformed, images, products = arena.allocate(((shape, x.dtype), *room(C, F, x.dtype)))
    conv_winograd.transform_weight(np.ascontiguousarray(weight), lanes, transformed)
    source, bias = arrays.pad_images(x, _even(window)), np.ascontiguousarray(bias)
    conv_winograd.forward[lanes](source, transformed, bias, y, images, products)
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
    dtransformed = arena.empty((16, C + 1, arrays.round_up(F, target.NR_SMALL)), x.dtype)
    copy.fill_zero(dtransformed.reshape(-1))
    images, gradients = arena.allocate(room(C, F, x.dtype)[1:])
    source, kernel = (
        arrays.pad_images(x, _even(window)),
        conv_winograd_backward.backward_weight[lanes_of(F)],
    )
    kernel(source, dy, dtransformed, images, gradients)
    conv_winograd.transform_weight_backward(dtransformed, dweight)


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
    Fp, window, shape = arrays.round_up(F, target.NR_SMALL), _even(window), (len(dy), H, W, C)
    exchanged, dsource, transformed, gradients, products = arena.allocate(
        (
            ((3, 3, Fp, C), dy.dtype),
            (arrays.padded_shape(shape, window) or shape, dy.dtype),
            *room(Fp, C, dy.dtype),
        )
    )
    transpose.swap_channel_axes(np.ascontiguousarray(weight), exchanged)
    conv_winograd.transform_weight(exchanged, lanes_of(C), transformed)
    kernel = conv_winograd_backward.backward_input[lanes_of(C)]
    kernel(dy, transformed, dsource, gradients, products)
    return arrays.crop_images(dsource, window, shape)


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
    wide = (target.NR_LARGE, target.NR_MEDIUM)
    Fp = arrays.round_up(F, target.NR_SMALL)
    lanes = min(wide, key=lambda lanes: Fp % lanes)  # the first of equals
    return lanes if lanes <= Fp else target.NR_SMALL


def room(C: int, F: int, dtype: DTypeLike) -> tuple[ArraySpec, ArraySpec, ArraySpec]:
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
    B, Fp = BLOCK + 1, arrays.round_up(F, target.NR_SMALL)
    return (
        ((16, C * Fp + target.NR_SMALL), dtype),
        ((16, B, C), dtype),
        ((16, B, Fp), dtype),
    )


def _even(window: Window) -> Window:
    """Return a window that sees whole tiles: an even number of rows and columns."""
    return window._replace(OH=window.OH + window.OH % 2, OW=window.OW + window.OW % 2)
