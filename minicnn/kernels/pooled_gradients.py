"""The way back through convolution, ReLU and 2×2 max-pool: only the winners are visited.

Of four pixels at most one passes a gradient on, and none where the ReLU made the output 0. A dense
kernel would multiply seven zeros in eight.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.pooled import DEAD
from minicnn.kernels.vectors import (
    at,
    broadcast,
    load,
    load_first,
    multiply_add,
    store,
)

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


# Rows of sums are filled up to a multiple of so many numbers, and read and written whole. Where
# rows of the image are read so too, the last vector takes in what lies behind the row.
ROW = 8


@piece
def _add_stretches(
    target: Array,
    t: int,
    value: Array,
    place: Indices,
    first: int,
    last: int,
    source: Array,
    shift: int,
    R: int,
    Rp: int,
) -> None:
    """Add ``target[t + q] += Σ_i value[i] · source[place[i] + shift + q]`` for q in 0 .. Rp - 1.

    Three vectors of 32 lanes are twelve registers where a register holds eight numbers, which
    leaves as many as it takes for the factors; then one of 32, then one of 8. Of `source` nothing
    is read behind the first R numbers of a row if R is less than Rp.
    """
    q = 0
    while q + 96 <= R:
        a0, a1 = load(target, t + q, 32), load(target, t + q + 32, 32)
        a2 = load(target, t + q + 64, 32)
        for i in range(first, last):
            s = at(place, i) + shift + q
            g = broadcast(value, i, 32)
            a0 = multiply_add(g, load(source, s, 32), a0)
            a1 = multiply_add(g, load(source, s + 32, 32), a1)
            a2 = multiply_add(g, load(source, s + 64, 32), a2)
        store(target, t + q, a0)
        store(target, t + q + 32, a1)
        store(target, t + q + 64, a2)
        q += 96
    while q + 32 <= R:
        b = load(target, t + q, 32)
        for i in range(first, last):
            s = at(place, i) + shift + q
            b = multiply_add(broadcast(value, i, 32), load(source, s, 32), b)
        store(target, t + q, b)
        q += 32
    while q + ROW <= R:
        c = load(target, t + q, ROW)
        for i in range(first, last):
            s = at(place, i) + shift + q
            c = multiply_add(broadcast(value, i, ROW), load(source, s, ROW), c)
        store(target, t + q, c)
        q += ROW
    if q < Rp:
        d = load(target, t + q, ROW)
        for i in range(first, last):
            s = at(place, i) + shift + q
            d = multiply_add(broadcast(value, i, ROW), load_first(source, s, R - q, ROW), d)
        store(target, t + q, d)


@piece
def _add_rows(
    target: Array,
    t: int,
    value: Array,
    place: Indices,
    alive: int,
    source: Array,
    row: int,
    KH: int,
    R: int,
) -> None:
    """Add what `_add_stretches` adds, for KH rows of at most ROW numbers, three of them at once.

    One row by itself is one chain of multiply-adds, of which each waits for the last.
    """
    for kh in range(0, KH, 3):
        # the last three may be the same row more than once, to the same result
        k1, k2 = min(kh + 1, KH - 1), min(kh + 2, KH - 1)
        a, b = load(target, t + kh * ROW, ROW), load(target, t + k1 * ROW, ROW)
        c = load(target, t + k2 * ROW, ROW)
        for i in range(alive):
            s = at(place, i)
            g = broadcast(value, i, ROW)
            a = multiply_add(g, load_first(source, s + kh * row, R, ROW), a)
            b = multiply_add(g, load_first(source, s + k1 * row, R, ROW), b)
            c = multiply_add(g, load_first(source, s + k2 * row, R, ROW), c)
        store(target, t + kh * ROW, a)
        store(target, t + k1 * ROW, b)
        store(target, t + k2 * ROW, c)


@kernel
def pooled_weight_gradient(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    dy: Array,
    winner: Bytes,
    dweight: Array,
    dbias: Array,
    dtransposed: Array,
    place: Indices,
    value: Array,
) -> None:
    """Compute ``dweight[kh, q, f] = Σ_winners dy · x[n, corner + kh·row + q]``, and dbias.

    The loop nest is n, f, kh, q, winner. The winners of a channel that are alive are first listed;
    a stretch of its dweight then stays in registers while the list is walked.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (4·P,)
    row : int
        Numbers from one row of the window to the next.
    KH : int
    dy : ndarray (N, P, F)
    winner : ndarray of uint8 (N, P, F)
    dweight : ndarray (KH·R, F)
        Overwritten.
    dbias : ndarray (F,)
        Overwritten.
    dtransposed : ndarray (F, KH, Rp)
        Room for dweight with the channels first; its rows filled up to a multiple of ROW.
    place : ndarray of int (P,)
        Room for the list: where the window of each winner begins.
    value : ndarray (P,)
        Room for the list: its gradient.
    """
    N, P, F = dy.shape
    R, Rp = dweight.shape[0] // KH, dtransposed.shape[2]
    begin: Any = np.int64(
        0
    )  # of the list; as a mere constant it would compile `_add_stretches` anew
    dtransposed[:] = 0
    dbias[:] = 0
    for n in range(N):
        # a vector may read a little behind a row; but nothing behind the last image
        length = Rp if n < N - 1 else R
        for f in range(F):
            alive = 0
            i = n * P * F + f
            for p in range(P):
                k = int(at(winner, i))  # as a byte it would overflow in plain Python
                # written in any case; only what is alive is kept
                place[alive] = n * image + at(corners, 4 * p + (k & 3))
                value[alive] = at(dy, i)
                alive += k < DEAD
                i += F
            for i in range(alive):
                dbias[f] += value[i]
            t = f * KH * Rp
            if Rp == ROW:
                _add_rows(dtransposed, t, value, place, alive, x, row, KH, length)
            else:
                for kh in range(KH):
                    stretch = t + kh * Rp
                    _add_stretches(
                        dtransposed, stretch, value, place, begin, alive, x, kh * row, length, Rp
                    )
    for f in range(F):
        for kh in range(KH):
            for q in range(R):
                dweight[kh * R + q, f] = dtransposed[f, kh, q]


@kernel
def pooled_input_gradient(
    dy: Array,
    winner: Bytes,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    weight: Array,
    dx: Array,
    transposed: Array,
    end: Indices,
    place: Indices,
    value: Array,
) -> None:
    """Compute dx: for each winner ``dx[n, corner + kh·row + q] += dy · weight[kh, q, f]``.

    The loop nest is n, kh, p, winner, q. The four pixels of each pooling window get a list of the
    channels that they have won; a stretch of dx then stays in registers while that list is walked.
    One row of the kernels, of all channels, fits in the first-level cache: so kh stands before p.

    Parameters
    ----------
    dy : ndarray (N, P, F)
    winner : ndarray of uint8 (N, P, F)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (4·P,)
    row : int
        Numbers from one row of the window to the next.
    KH : int
    weight : ndarray (KH·R, F)
    dx : ndarray (N·image + ROW,)
        Overwritten.
    transposed : ndarray (KH, F, Rp)
        Room for the weights with the channels first in each row of the kernel; filled up with
        zeros to a multiple of ROW.
    end : ndarray of int (5·P,)
        Room for the lists: where that of each pixel ends; every fifth is of what is not alive.
    place : ndarray of int (5·P·F,)
        Room for the lists: ``f·Rp`` of each winner; that of pixel i begins at ``i·F``.
    value : ndarray (5·P·F,)
        Room for the lists: its gradient.
    """
    N, P, F = dy.shape
    R, Rp = weight.shape[0] // KH, transposed.shape[2]
    for kh in range(KH):
        for q in range(Rp):
            for f in range(F):
                transposed[kh, f, q] = at(weight, (kh * R + q) * F + f) if q < R else 0
    for n in range(N):
        # what is added behind a row is 0; behind the image it goes where the next has not begun
        dx[n * image : (n + 1) * image] = 0
        for f in range(0, F, MOST):
            _list_winners(dy, winner, n, f, min(F, f + MOST), Rp, end, place, value)
            for kh in range(KH):
                for p in range(P):
                    for k in range(DEAD):
                        pixel = 5 * p + k
                        target = n * image + at(corners, 4 * p + k) + kh * row
                        _add_stretches(
                            dx,
                            target,
                            value,
                            place,
                            pixel * F,
                            end[pixel],
                            transposed,
                            kh * F * Rp,
                            Rp,
                            Rp,
                        )


# Twelve bits count to so many: the lengths of the five lists of a pooling window fit in one number,
# which stays in a register, where an array would be written and read back for each winner.
BITS, MOST = 12, 4095


@piece
def _list_winners(
    dy: Array,
    winner: Bytes,
    n: int,
    first: int,
    last: int,
    Rp: int,
    end: Indices,
    place: Indices,
    value: Array,
) -> None:
    """List the winners of image n among the channels from `first` to `last`, by pixel."""
    _, P, F = dy.shape
    for p in range(P):
        lengths = 0
        for f in range(first, last):
            i = (n * P + p) * F + f
            k = int(at(winner, i))
            free = (5 * p + k) * F + ((lengths >> (BITS * k)) & MOST)
            place[free] = f * Rp
            value[free] = at(dy, i)
            lengths += 1 << (BITS * k)
        for k in range(DEAD):
            end[5 * p + k] = (5 * p + k) * F + ((lengths >> (BITS * k)) & MOST)
