"""Winograd's minimal filtering: the sixteen matrix products.

Channels are taken in blocks of as many as a tile has lanes; what is left over, in blocks of
`NARROW`.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.machine import NARROW
from minicnn.kernels.six import load_six, six_from, six_sums, store_six
from minicnn.kernels.vectors import fill

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
    Fp = products.shape[2]
    whole = Fp - Fp % lanes
    for e in range(16):
        for f in range(0, whole, lanes):
            _multiply_block(tiles, weight, e, f, count, products, lanes)
        for f in range(whole, Fp, NARROW):
            _multiply_block(tiles, weight, e, f, count, products, NARROW)


@numba.njit(inline="always")
def _multiply_block(
    tiles: Array, weight: Array, e: int, f: int, count: int, products: Array, lanes: int
) -> None:
    _, B, C = tiles.shape
    Fp = products.shape[2]
    b, w = e * B, e * weight.shape[1] + f * C
    z: Any = fill(tiles, 0, lanes)
    for t in range(0, count, 6):
        i0, i1, i2, i3, i4, i5 = six_from(t, count)
        rows = (
            (b + i0) * C,
            (b + i1) * C,
            (b + i2) * C,
            (b + i3) * C,
            (b + i4) * C,
            (b + i5) * C,
        )
        sums = six_sums(tiles, rows, C, 1, weight, w, lanes, (z, z, z, z, z, z), lanes)
        places = (
            (b + i0) * Fp,
            (b + i1) * Fp,
            (b + i2) * Fp,
            (b + i3) * Fp,
            (b + i4) * Fp,
            (b + i5) * Fp,
        )
        store_six(products, places, f, lanes, sums, lanes)


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
    b, k, first = e * B * C, e * dweight.shape[1], e * B * Fp + f
    c0, c1, c2, c3, c4, c5 = six_from(c, C)
    numbers = (b + c0, b + c1, b + c2, b + c3, b + c4, b + c5)
    places = (
        (k + c0) * Fp,
        (k + c1) * Fp,
        (k + c2) * Fp,
        (k + c3) * Fp,
        (k + c4) * Fp,
        (k + c5) * Fp,
    )
    sums = load_six(dweight, places, f, lanes, lanes)
    sums = six_sums(images, numbers, count, C, gradients, first, Fp, sums, lanes)
    store_six(dweight, places, f, lanes, sums, lanes)
