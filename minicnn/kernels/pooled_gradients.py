"""The way back through convolution, ReLU and 2×2 max-pool: only the winners are visited.

Of four pixels at most one passes a gradient on, and none where the ReLU made the output 0. A dense
kernel would multiply seven zeros in eight.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.pooled import DEAD
from minicnn.kernels.stretches import ROW, add_rows_at_once, add_stretches
from minicnn.kernels.vectors import at

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


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
    x : ndarray (N·image,)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (4·P,)
    row : int
        Numbers from one row of the window to the next.
    KH : int
    dy : ndarray (N, PH, PW, F)
    winner : ndarray of uint8 (N, PH, PW, F)
    dweight : ndarray (KH, KW, C, F)
        Overwritten.
    dbias : ndarray (F,)
        Overwritten.
    dtransposed : ndarray (F·KH·Rp,)
        Room for dweight with the channels first; its rows filled up to a multiple of ROW.
    place : ndarray of int (P,)
        Room for the list: where the window of each winner begins.
    value : ndarray (P,)
        Room for the list: its gradient.
    """
    N, PH, PW, F = dy.shape
    P, R, Rp = PH * PW, dweight.size // (KH * F), dtransposed.size // (KH * F)
    begin: Any = np.int64(0)  # of the list; for a mere constant the pieces would be compiled anew
    dtransposed[:] = 0
    dbias[:] = 0
    for n in range(N):
        # a vector may read a little behind a row; but nothing behind the last image
        length = Rp if n < N - 1 else R
        for f in range(F):
            alive = begin
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
                add_rows_at_once(dtransposed, t, value, place, alive, x, row, KH, length)
            else:
                for kh in range(KH):
                    stretch = t + kh * Rp
                    add_stretches(
                        dtransposed, stretch, value, place, begin, alive, x, kh * row, length, Rp
                    )
    _, KW, C, _ = dweight.shape
    for f in range(F):
        for kh in range(KH):
            for kw in range(KW):
                for c in range(C):
                    dweight[kh, kw, c, f] = at(dtransposed, (f * KH + kh) * Rp + kw * C + c)


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
    dy : ndarray (N, PH, PW, F)
    winner : ndarray of uint8 (N, PH, PW, F)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (4·P,)
    row : int
        Numbers from one row of the window to the next.
    KH : int
    weight : ndarray (KH, KW, C, F)
    dx : ndarray (N·image + ROW,)
        Overwritten.
    transposed : ndarray (KH·F·Rp,)
        Room for the weights with the channels first in each row of the kernel; filled up with
        zeros to a multiple of ROW.
    end : ndarray of int (5·P,)
        Room for the lists: where that of each pixel ends; every fifth is of what is not alive.
    place : ndarray of int (5·P·F,)
        Room for the lists: ``f·Rp`` of each winner; that of pixel i begins at ``i·F``.
    value : ndarray (5·P·F,)
        Room for the lists: its gradient.
    """
    N, PH, PW, F = dy.shape
    P, R, Rp = PH * PW, weight.size // (KH * F), transposed.size // (KH * F)
    for kh in range(KH):
        for q in range(Rp):
            for f in range(F):
                i = (kh * F + f) * Rp + q
                transposed[i] = at(weight, (kh * R + q) * F + f) if q < R else 0
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
                        add_stretches(
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
    _, PH, PW, F = dy.shape
    P = PH * PW
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
