"""Convolution by Winograd's minimal filtering: what its kernels need is worked out here."""

import numpy as np

from minicnn import kernels, memory
from minicnn.ops import arrays, direct
from minicnn.shapes import FloatArray, Window

# As many tiles as this are under way at once: each transformed weight that is loaded serves them
# all. There is room for one more, which is not used: with an odd number the sixteen parts of the
# transforms do not lie a power of two apart, where they would drive each other out of the cache.
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
    N, C, F = len(x), x.shape[3], weight.shape[3]
    lanes = kernels.lanes_for(F)
    y: FloatArray = memory.empty((N, window.OH, window.OW, F), x.dtype)
    kernels.winograd_forward(
        arrays.padded(x, _even(window)),
        transformed(weight, lanes),
        arrays.filled(bias, lanes),
        y,
        *room(x, C, -(-F // lanes) * lanes),
    )
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
    Fp = -(-F // lanes) * lanes
    dtransformed = memory.zeros((16, C, Fp), x.dtype)
    kernels.winograd_weight_gradient(
        arrays.padded(x, _even(window)), dy, dtransformed, *room(x, C, Fp), lanes
    )
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


def transformed(weight: FloatArray, lanes: int) -> FloatArray:
    """Return ``G w Gᵀ``, in blocks of as many output channels as a tile takes.

    Parameters
    ----------
    weight : ndarray (3, 3, C, F)
    lanes : int

    Returns
    -------
    ndarray (16, blocks, C, lanes)
    """
    _, _, C, F = weight.shape
    result: FloatArray = memory.empty((16, -(-F // lanes), C, lanes), weight.dtype)
    kernels.winograd_weights(np.ascontiguousarray(weight), result)
    return result


def room(x: FloatArray, C: int, Fp: int) -> tuple[FloatArray, FloatArray]:
    """Return room for a block of tiles: transformed images, and products or gradients.

    Parameters
    ----------
    x : ndarray
        Of the dtype that is wanted.
    C, Fp : int
        Channels, those of the output filled up to whole tiles.

    Returns
    -------
    images : ndarray (16, B, C)
    products : ndarray (16, B, Fp)
    """
    B = BLOCK + 1
    return memory.empty((16, B, C), x.dtype), memory.empty((16, B, Fp), x.dtype)


def _even(window: Window) -> Window:
    """Return a window that sees whole tiles: an even number of rows and columns."""
    return window._replace(OH=window.OH + window.OH % 2, OW=window.OW + window.OW % 2)
