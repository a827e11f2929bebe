"""Convolution, ReLU and 2×2 max-pool as one: the unpooled map is never written.

The four pixels of a pooling window are one tile of the direct convolution, so their maximum is
taken while they are still in registers; what leaves is the pooled value and a byte for the winner.

`corners` lists four pixels for each pooled one, in row order. A winner is 0 to 3, or DEAD where the
ReLU made the output 0.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.machine import Kernel, for_each_tile
from minicnn.kernels.tiles import Four, cut_in_blocks, four_sums
from minicnn.kernels.vectors import at, beats, fill, load, select, store, store_first

DEAD = 4

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@numba.njit(inline="always")
def strongest(four: Four, relu: bool, like: Array, lanes: int) -> tuple[Any, Any]:
    """Return the greatest of four, and which it was; the first of equals, and NaN beats all.

    Parameters
    ----------
    four : tuple of vector
    relu : bool
    like : ndarray
        Of the dtype of the vectors.
    lanes : int
        A constant.

    Returns
    -------
    best : vector
        At least 0 if there is a ReLU.
    which : vector
        0 to 3, or DEAD.
    """
    a0, a1, a2, a3 = four
    mask = beats(a1, a0)
    best = select(mask, a1, a0)
    which = select(mask, fill(like, 1, lanes), fill(like, 0, lanes))
    mask = beats(a2, best)
    best = select(mask, a2, best)
    which = select(mask, fill(like, 2, lanes), which)
    mask = beats(a3, best)
    best = select(mask, a3, best)
    which = select(mask, fill(like, 3, lanes), which)
    if relu:
        alive = beats(best, fill(like, 0, lanes))
        best = select(alive, best, fill(like, 0, lanes))
        which = select(alive, which, fill(like, DEAD, lanes))
    return best, which


@numba.njit(inline="always")
def store_strongest(
    four: Four, relu: bool, y: Array, winner: Bytes, place: int, lanes: int
) -> None:
    """Write the greatest of four and which it was, from `place` on, as far as the array goes.

    A whole vector, even where fewer channels are left: what runs over the end of a pixel is to be
    overwritten afterwards. To write part of a vector takes ten times as long on some CPUs.

    Parameters
    ----------
    four : tuple of vector
    relu : bool
    y : ndarray
    winner : ndarray of uint8
    place : int
    lanes : int
        A constant.
    """
    best, which = strongest(four, relu, y, lanes)
    left = y.size - place
    if left >= lanes:
        store(y, place, best)
        store(winner, place, which)
    else:
        store_first(y, place, best, left)
        store_first(winner, place, which, left)


@for_each_tile
def pooled_forward(lanes: int) -> Kernel:
    """Make the convolution with its pool for tiles of so many lanes."""

    def pooled_forward(
        x: Array,
        image: int,
        corners: Indices,
        row: int,
        KH: int,
        weight: Array,
        bias: Array,
        blocks: Array,
        relu: bool,
        y: Array,
        winner: Bytes,
    ) -> None:
        """Convolve, and keep the greatest of each four pixels.

        ``y[n, p, f] = max_{j=0..3} (bias[f] + Σ_{kh,q} x[n, corners[4p + j] + kh·row + q] ·
        weight[kh, q, f])``, and not below 0 if there is a ReLU. The loop nest is that of
        `direct_forward`, with a pooling window for its four pixels.

        Parameters
        ----------
        x : ndarray (N, image)
        image : int
            Numbers from one image to the next.
        corners : ndarray of int (4·P,)
        row : int
            Numbers from one row of the window to the next.
        KH : int
        weight : ndarray (KH, KW, C, F)
        bias : ndarray (F,)
        blocks : ndarray (blocks, 1 + KH·R, lanes)
            Room for both in blocks of channels.
        relu : bool
        y : ndarray (N, PH, PW, F)
            Overwritten.
        winner : ndarray of uint8 (N, PH, PW, F)
            Overwritten.
        """
        cut_in_blocks(weight, bias, blocks, lanes)
        N, PH, PW, F = y.shape
        P, rows = PH * PW, blocks.shape[1]
        R = (rows - 1) // KH
        for n in range(N):
            base, first = n * image, n * P * F
            for f in range((F - 1) // lanes * lanes, -1, -lanes):  # the last, which run over, first
                s = load(blocks, f * rows, lanes)
                w = f * rows + lanes
                for p in range(P):
                    pixels = (
                        base + at(corners, 4 * p),
                        base + at(corners, 4 * p + 1),
                        base + at(corners, 4 * p + 2),
                        base + at(corners, 4 * p + 3),
                    )
                    four = four_sums(
                        x, pixels, KH, row, R, 1, blocks, w, lanes, (s, s, s, s), lanes
                    )
                    store_strongest(four, relu, y, winner, first + p * F + f, lanes)

    return pooled_forward
