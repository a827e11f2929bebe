"""Direct convolution: no matrix of patches, the sums kept in registers.

A convolution is described by few numbers: where each window's corner lies in the flat image
(`corners`, one index for each output pixel), how far apart the window's rows are (`row`), how many
there are (KH) and how many numbers each has (R = KW·C, which lie side by side). Stride and padding
are in the corners and in the image. A dense layer is the same with one row in each window.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.vectors import (
    at,
    broadcast,
    load,
    load_first,
    multiply_add,
    store,
    store_first,
)

# Lanes of a tile of output channels, and of the tile for what is left over.
WIDE, NARROW = 16, 8

Array = NDArray[np.float32]
Indices = NDArray[np.int64]


@numba.njit(inline="always")
def _four_pixels(
    x: Array,
    p0: int,
    p1: int,
    p2: int,
    p3: int,
    row: int,
    weight: Array,
    f: int,
    KH: int,
    R: int,
    F: int,
    start: Any,
    lanes: int,
) -> tuple[Any, Any, Any, Any]:
    """Return four sums ``start + Σ_{kh,q} x[p + kh·row + q] · weight[kh, q, f]``."""
    a0 = a1 = a2 = a3 = start
    w = f
    for kh in range(KH):
        k = kh * row
        for q in range(R):
            v = load(weight, w, lanes)
            a0 = multiply_add(broadcast(x, p0 + k + q, lanes), v, a0)
            a1 = multiply_add(broadcast(x, p1 + k + q, lanes), v, a1)
            a2 = multiply_add(broadcast(x, p2 + k + q, lanes), v, a2)
            a3 = multiply_add(broadcast(x, p3 + k + q, lanes), v, a3)
            w += F
    return a0, a1, a2, a3


@kernel
def direct_forward(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    weight: Array,
    bias: Array,
    y: Array,
) -> None:
    """Compute ``y[n, p, f] = bias[f] + Σ_{kh,q} x[n, corners[p] + kh·row + q] · weight[kh, q, f]``.

    The loop nest is n, p, f, kh, q. Four pixels and 16 channels are one tile: its eight vectors of
    sums stay in registers over kh and q, a loaded vector of weights serves four multiply-adds.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (P,)
    row : int
    KH : int
    weight : ndarray (KH·R, Fp)
        Columns filled with zeros up to a multiple of NARROW.
    bias : ndarray (Fp,)
    y : ndarray (N, P, F)
        Overwritten.
    """
    N, P, F = y.shape
    Fp = weight.shape[1]
    R = weight.shape[0] // KH
    for n in range(N):
        base = n * image
        for p in range(0, P, 4):
            # the last tile may take its last pixel more than once, to the same result
            i1, i2, i3 = min(p + 1, P - 1), min(p + 2, P - 1), min(p + 3, P - 1)
            p0, p1 = base + at(corners, p), base + at(corners, i1)
            p2, p3 = base + at(corners, i2), base + at(corners, i3)
            y0, y1 = (n * P + p) * F, (n * P + i1) * F
            y2, y3 = (n * P + i2) * F, (n * P + i3) * F
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
                store(y, y0 + f, a0)
                store(y, y1 + f, a1)
                store(y, y2 + f, a2)
                store(y, y3 + f, a3)
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
                store_first(y, y0 + f, b0, F - f)
                store_first(y, y1 + f, b1, F - f)
                store_first(y, y2 + f, b2, F - f)
                store_first(y, y3 + f, b3, F - f)
                f += NARROW


@kernel
def direct_weight_gradient(
    x: Array, image: int, corners: Indices, row: int, KH: int, dy: Array, dweight: Array
) -> None:
    """Add ``dweight[kh, q, f] += Σ_{n,p} x[n, corners[p] + kh·row + q] · dy[n, p, f]``.

    The loop nest is n, kh, q, f, p: four weights in a row of the window and 16 channels stay in
    registers over all pixels of an image.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (P,)
    row : int
    KH : int
    dy : ndarray (N, P, F)
    dweight : ndarray (KH·R, F)
        Updated.
    """
    N, P, F = dy.shape
    R = dweight.shape[0] // KH
    for n in range(N):
        base, first = n * image, n * P * F
        for kh in range(KH):
            for q in range(0, R, 4):
                # the last tile may take its last weight more than once, to the same result
                q1, q2, q3 = min(q + 1, R - 1), min(q + 2, R - 1), min(q + 3, R - 1)
                x0 = base + kh * row + q
                w0, w1 = (kh * R + q) * F, (kh * R + q1) * F
                w2, w3 = (kh * R + q2) * F, (kh * R + q3) * F
                f = 0
                while f + WIDE <= F:
                    a0, a1 = load(dweight, w0 + f, WIDE), load(dweight, w1 + f, WIDE)
                    a2, a3 = load(dweight, w2 + f, WIDE), load(dweight, w3 + f, WIDE)
                    for p in range(P):
                        g = load(dy, first + p * F + f, WIDE)
                        c = x0 + at(corners, p)
                        a0 = multiply_add(broadcast(x, c, WIDE), g, a0)
                        a1 = multiply_add(broadcast(x, c + q1 - q, WIDE), g, a1)
                        a2 = multiply_add(broadcast(x, c + q2 - q, WIDE), g, a2)
                        a3 = multiply_add(broadcast(x, c + q3 - q, WIDE), g, a3)
                    store(dweight, w0 + f, a0)
                    store(dweight, w1 + f, a1)
                    store(dweight, w2 + f, a2)
                    store(dweight, w3 + f, a3)
                    f += WIDE
                while f < F:
                    left = F - f
                    b0 = load_first(dweight, w0 + f, left, NARROW)
                    b1 = load_first(dweight, w1 + f, left, NARROW)
                    b2 = load_first(dweight, w2 + f, left, NARROW)
                    b3 = load_first(dweight, w3 + f, left, NARROW)
                    for p in range(P):
                        h = load_first(dy, first + p * F + f, left, NARROW)
                        c = x0 + at(corners, p)
                        b0 = multiply_add(broadcast(x, c, NARROW), h, b0)
                        b1 = multiply_add(broadcast(x, c + q1 - q, NARROW), h, b1)
                        b2 = multiply_add(broadcast(x, c + q2 - q, NARROW), h, b2)
                        b3 = multiply_add(broadcast(x, c + q3 - q, NARROW), h, b3)
                    store_first(dweight, w0 + f, b0, left)
                    store_first(dweight, w1 + f, b1, left)
                    store_first(dweight, w2 + f, b2, left)
                    store_first(dweight, w3 + f, b3, left)
                    f += NARROW
