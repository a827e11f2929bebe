"""Winograd's minimal filtering: the sixteen matrix products.

Channels are taken in blocks of as many as a tile has lanes; what is left over, in blocks of
`NARROW`.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.machine import NARROW
from minicnn.kernels.six import load_six, multiply_rows, six_from, six_sums, six_times, store_six

Array = NDArray[np.float32]


@numba.njit(inline="always")
def multiply(tiles: Array, weight: Array, count: int, products: Array, lanes: int) -> None:
    """Compute ``products[e, t, f] = Σ_c tiles[e, t, c] · weight[e, c, f]`` for all 16 elements e.

    The loop nest is e, block of f, t, c: six tiles and a block of channels are a tile of the
    product.

    Parameters
    ----------
    tiles : ndarray (16, B, C)
    weight : ndarray (16, C·Fp + NARROW)
        Of each element one block of channels after another, (C, channels of the block).
    count : int
        Tiles that are in use, at most B.
    products : ndarray (16, B, Fp)
        Overwritten.
    lanes : int
        A constant.
    """
    _, B, C = tiles.shape
    Fp = products.shape[2]
    whole = Fp - Fp % lanes
    for e in range(16):
        i, j, w = e * B * C, e * B * Fp, e * weight.shape[1]
        for f in range(0, whole, lanes):
            multiply_rows(tiles, i, C, count, weight, w + f * C, products, j + f, Fp, lanes)
        for f in range(whole, Fp, NARROW):
            multiply_rows(tiles, i, C, count, weight, w + f * C, products, j + f, Fp, NARROW)


@numba.njit(inline="always")
def correlate(images: Array, gradients: Array, count: int, dweight: Array, lanes: int) -> None:
    """Add ``dweight[e, c, f] += Σ_t images[e, t, c] · gradients[e, t, f]`` for all 16 elements e.

    Parameters
    ----------
    images : ndarray (16, B, C)
    gradients : ndarray (16, B, Fp)
    count : int
        Tiles that are in use, at most B.
    dweight : ndarray (16, C + 1, Fp)
        Updated.
    lanes : int
        A constant.
    """
    C, Fp = images.shape[2], gradients.shape[2]
    whole = Fp - Fp % lanes
    for e in range(16):
        for c in range(0, C, 6):
            for f in range(0, whole, lanes):
                _correlate_block(images, gradients, e, c, f, count, dweight, lanes)
            for f in range(whole, Fp, NARROW):
                _correlate_block(images, gradients, e, c, f, count, dweight, NARROW)


@numba.njit(inline="always")
def _correlate_block(
    images: Array,
    gradients: Array,
    e: int,
    c: int,
    f: int,
    count: int,
    dweight: Array,
    lanes: int,
) -> None:
    _, B, C = images.shape
    Fp = gradients.shape[2]
    six = six_from(c, C)
    places = six_times(six, Fp, e * dweight.shape[1] * Fp)
    sums = load_six(dweight, places, f, lanes, lanes)
    numbers, first = six_times(six, 1, e * B * C), e * B * Fp + f
    sums = six_sums(images, numbers, count, C, gradients, first, Fp, sums, lanes)
    store_six(dweight, places, f, lanes, sums, lanes)
