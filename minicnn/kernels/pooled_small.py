"""The weight gradient through convolution, ReLU and 2×2 max-pool, for windows of few numbers.

A first convolution on grey images sees nine numbers at a time. To list the winners, as
`minicnn.kernels.pooled_dweight` does, would take longer than the multiply-adds that it saves.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.pooled import DEAD
from minicnn.kernels.vectors import (
    add,
    at,
    broadcast,
    fill,
    load,
    matches,
    multiply_add,
    select,
    store,
)

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]
Vector = Any
Three = tuple[Vector, Vector, Vector]


@kernel
def pooled_small_weight_gradient(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    dy: Array,
    winner: Bytes,
    dweight: Array,
    dbias: Array,
) -> None:
    """Compute what `pooled_weight_gradient` computes: dweight and dbias.

    ``dweight[kh, q, f] = Σ_{n,p} x[n, corner of the winner + kh·row + q] · dy[n, p, f]``. The loop
    nest is n, f, kh, q, p: three by three numbers of the window and one vector of channels are a
    tile, whose sums stay in registers over the pixels of an image. All four pixels of a pooling
    window are taken, each with dy masked to the channels that it has won.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (4·P,)
    row : int
        Numbers from one row of the window to the next.
    KH : int
    dy : ndarray (N, PH, PW, Fp)
        Channels filled up to a multiple of NARROW.
    winner : ndarray of uint8 (N, PH, PW, Fp)
    dweight : ndarray (KH, KW, C, Fp)
        Overwritten.
    dbias : ndarray (Fp,)
        Overwritten.
    """
    N, PH, PW, F = dy.shape
    P, R = PH * PW, dweight.size // (KH * F)
    dweight[:] = 0
    dbias[:] = 0
    zero = fill(dy, 0, NARROW)
    for n in range(N):
        for f in range(0, F, NARROW):
            total = load(dbias, f, NARROW)
            for p in range(P):
                i = (n * P + p) * F + f
                dead = matches(winner, i, DEAD, NARROW)
                total = add(total, select(dead, zero, load(dy, i, NARROW)))
            store(dbias, f, total)
            for kh in range(0, KH, 3):
                # the last tile may take its last row or number more than once, to the same result
                k1, k2 = min(kh + 1, KH - 1), min(kh + 2, KH - 1)
                for q in range(0, R, 3):
                    q1, q2 = min(q + 1, R - 1), min(q + 2, R - 1)
                    steps = (q1 - q, q2 - q, (k1 - kh) * row, (k2 - kh) * row)
                    a0 = _load_three(dweight, kh * R, q, q1, q2, F, f)
                    a1 = _load_three(dweight, k1 * R, q, q1, q2, F, f)
                    a2 = _load_three(dweight, k2 * R, q, q1, q2, F, f)
                    base = n * image + kh * row + q
                    for p in range(P):
                        i = (n * P + p) * F + f
                        g = load(dy, i, NARROW)
                        c0, c1 = base + at(corners, 4 * p), base + at(corners, 4 * p + 1)
                        c2, c3 = base + at(corners, 4 * p + 2), base + at(corners, 4 * p + 3)
                        g0 = select(matches(winner, i, 0, NARROW), g, zero)
                        g1 = select(matches(winner, i, 1, NARROW), g, zero)
                        g2 = select(matches(winner, i, 2, NARROW), g, zero)
                        g3 = select(matches(winner, i, 3, NARROW), g, zero)
                        a0, a1, a2 = _add_square(x, c0, steps, g0, a0, a1, a2)
                        a0, a1, a2 = _add_square(x, c1, steps, g1, a0, a1, a2)
                        a0, a1, a2 = _add_square(x, c2, steps, g2, a0, a1, a2)
                        a0, a1, a2 = _add_square(x, c3, steps, g3, a0, a1, a2)
                    _store_three(dweight, kh * R, q, q1, q2, F, f, a0)
                    _store_three(dweight, k1 * R, q, q1, q2, F, f, a1)
                    _store_three(dweight, k2 * R, q, q1, q2, F, f, a2)


@piece
def _add_square(
    x: Array, c: int, steps: tuple[int, int, int, int], g: Vector, a0: Three, a1: Three, a2: Three
) -> tuple[Three, Three, Three]:
    """Add three by three numbers of `x`, each times `g`, to as many sums."""
    down1, down2 = steps[2], steps[3]
    return (
        _add_three(x, c, steps, g, a0),
        _add_three(x, c + down1, steps, g, a1),
        _add_three(x, c + down2, steps, g, a2),
    )


@piece
def _add_three(x: Array, c: int, steps: tuple[int, int, int, int], g: Vector, sums: Three) -> Three:
    a, b, d = sums
    return (
        multiply_add(broadcast(x, c, NARROW), g, a),
        multiply_add(broadcast(x, c + steps[0], NARROW), g, b),
        multiply_add(broadcast(x, c + steps[1], NARROW), g, d),
    )


@piece
def _load_three(array: Array, k: int, q0: int, q1: int, q2: int, F: int, f: int) -> Three:
    return (
        load(array, (k + q0) * F + f, NARROW),
        load(array, (k + q1) * F + f, NARROW),
        load(array, (k + q2) * F + f, NARROW),
    )


@piece
def _store_three(
    array: Array, k: int, q0: int, q1: int, q2: int, F: int, f: int, sums: Three
) -> None:
    store(array, (k + q0) * F + f, sums[0])
    store(array, (k + q1) * F + f, sums[1])
    store(array, (k + q2) * F + f, sums[2])
