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

from minicnn.kernels.compilation import kernel
from minicnn.kernels.direct import NARROW, WIDE, _four_pixels
from minicnn.kernels.vectors import (
    at,
    beats,
    fill,
    load,
    select,
    store,
    store_first,
)

DEAD = 4

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@numba.njit(inline="always")
def _strongest(
    a0: Any, a1: Any, a2: Any, a3: Any, relu: bool, like: Array, lanes: int
) -> tuple[Any, Any]:
    """Return the greatest of four, and which it was; the first of equals, and NaN beats all."""
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


@kernel
def pooled_forward(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    weight: Array,
    bias: Array,
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
    weight : ndarray (KH·R, Fp)
        Columns filled with zeros up to a multiple of NARROW.
    bias : ndarray (Fp,)
    relu : bool
    y : ndarray (N, P, F)
        Overwritten.
    winner : ndarray of uint8 (N, P, F)
        Overwritten.
    """
    N, P, F = y.shape
    Fp = weight.shape[1]
    R = weight.shape[0] // KH
    for n in range(N):
        base = n * image
        for p in range(P):
            p0, p1 = base + at(corners, 4 * p), base + at(corners, 4 * p + 1)
            p2, p3 = base + at(corners, 4 * p + 2), base + at(corners, 4 * p + 3)
            out = (n * P + p) * F
            f = 0
            while f + WIDE <= F:
                a0, a1, a2, a3 = _four_pixels(
                    x,
                    p0,
                    p1,
                    p2,
                    p3,
                    row,
                    weight,
                    f,
                    KH,
                    R,
                    Fp,
                    load(bias, f, WIDE),
                    WIDE,
                )
                best, which = _strongest(a0, a1, a2, a3, relu, x, WIDE)
                store(y, out + f, best)
                store(winner, out + f, which)
                f += WIDE
            while f < F:
                b0, b1, b2, b3 = _four_pixels(
                    x,
                    p0,
                    p1,
                    p2,
                    p3,
                    row,
                    weight,
                    f,
                    KH,
                    R,
                    Fp,
                    load(bias, f, NARROW),
                    NARROW,
                )
                rest, which_rest = _strongest(b0, b1, b2, b3, relu, x, NARROW)
                store_first(y, out + f, rest, F - f)
                store_first(winner, out + f, which_rest, F - f)
                f += NARROW
