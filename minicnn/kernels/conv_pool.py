"""Convolution, ReLU and 2×2 max-pool as one: the unpooled map is never written.

The four pixels of a pooling window are one tile of the direct convolution, so their maximum is
taken while they are still in registers; what leaves is the pooled value and a byte for the winner.

`corners` lists four pixels for each pooled one, in row order. A winner is 0 to 3, or DEAD where the
ReLU made the output 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, inline_function
from minicnn.kernels.simd import (
    fma,
    greater_or_nan,
    load,
    load_scalar,
    load_splat,
    masked_store,
    select,
    splat,
    store,
)
from minicnn.kernels.target import SIMD_WIDTH, Kernel, specialize_nr
from minicnn.kernels.tiles import Four, Places, four_sums, pack_weights

INACTIVE = 4

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@inline_function
def max_of_four(four: Four, relu: bool, like: Array, lanes: int) -> tuple[Any, Any]:
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
    mask = greater_or_nan(a1, a0)
    best = select(mask, a1, a0)
    which = select(mask, splat(like, 1, lanes), splat(like, 0, lanes))
    mask = greater_or_nan(a2, best)
    best = select(mask, a2, best)
    which = select(mask, splat(like, 2, lanes), which)
    mask = greater_or_nan(a3, best)
    best = select(mask, a3, best)
    which = select(mask, splat(like, 3, lanes), which)
    if relu:
        alive = greater_or_nan(best, splat(like, 0, lanes))
        best = select(alive, best, splat(like, 0, lanes))
        which = select(alive, which, splat(like, INACTIVE, lanes))
    return best, which


@inline_function
def store_max(four: Four, relu: bool, y: Array, winner: Bytes, place: int, lanes: int) -> None:
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
    best, which = max_of_four(four, relu, y, lanes)
    left = y.size - place
    if left >= lanes:
        store(y, place, best)
        store(winner, place, which)
    else:
        masked_store(y, place, best, left)
        masked_store(winner, place, which, left)


@specialize_nr
def forward(lanes: int) -> Kernel:
    """Make the convolution with its pool for tiles of so many lanes.

    A multiply-add takes four times as long as until the next may begin, and two begin at once: four
    sums of one register each would leave the CPU waiting, so two windows are taken as a pair.
    """
    in_pairs = lanes <= SIMD_WIDTH

    def forward(
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
        `forward`, with a pooling window for its four pixels.

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
        pack_weights(weight, bias, blocks, lanes)
        N, PH, PW, F = y.shape
        P, rows = PH * PW, blocks.shape[1]
        R = (rows - 1) // KH
        for n in range(N):
            base, first = n * image, n * P * F
            for f in range((F - 1) // lanes * lanes, -1, -lanes):  # the last, which run over, first
                s = load(blocks, f * rows, lanes)
                w, sums = f * rows + lanes, (s, s, s, s)
                for p in range(0, P, 2 if in_pairs else 1):
                    pixels = _pixels_of(corners, p, base)
                    if in_pairs:
                        q = min(p + 1, P - 1)  # the last may be taken twice, to the same result
                        others = _pixels_of(corners, q, base)
                        four, other = _eight_sums(
                            x, pixels, others, KH, row, R, blocks, w, sums, lanes
                        )
                        store_max(four, relu, y, winner, first + p * F + f, lanes)
                        store_max(other, relu, y, winner, first + q * F + f, lanes)
                    else:
                        four = four_sums(x, pixels, KH, row, R, 1, blocks, w, lanes, sums, lanes)
                        store_max(four, relu, y, winner, first + p * F + f, lanes)

    return forward


@device_function
def _pixels_of(corners: Indices, p: int, base: int) -> Places:
    """Return where the windows of the four pixels of pooling window p begin."""
    return (
        base + load_scalar(corners, 4 * p),
        base + load_scalar(corners, 4 * p + 1),
        base + load_scalar(corners, 4 * p + 2),
        base + load_scalar(corners, 4 * p + 3),
    )


@inline_function
def _eight_sums(
    x: Array,
    first: Places,
    second: Places,
    KH: int,
    row: int,
    R: int,
    blocks: Array,
    w: int,
    start: Four,
    lanes: int,
) -> tuple[Four, Four]:
    """Return the sums of two pooling windows, as `four_sums` those of one."""
    p0, p1, p2, p3 = first
    q0, q1, q2, q3 = second
    a0, a1, a2, a3 = start
    b0, b1, b2, b3 = start
    for kh in range(KH):
        i = kh * row
        for _ in range(R):
            v = load(blocks, w, lanes)
            a0 = fma(load_splat(x, p0 + i, lanes), v, a0)
            a1 = fma(load_splat(x, p1 + i, lanes), v, a1)
            a2 = fma(load_splat(x, p2 + i, lanes), v, a2)
            a3 = fma(load_splat(x, p3 + i, lanes), v, a3)
            b0 = fma(load_splat(x, q0 + i, lanes), v, b0)
            b1 = fma(load_splat(x, q1 + i, lanes), v, b1)
            b2 = fma(load_splat(x, q2 + i, lanes), v, b2)
            b3 = fma(load_splat(x, q3 + i, lanes), v, b3)
            i += 1
            w += lanes
    return (a0, a1, a2, a3), (b0, b1, b2, b3)
