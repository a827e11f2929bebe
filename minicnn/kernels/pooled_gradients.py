"""The way back through convolution, ReLU and 2×2 max-pool: only the winners are visited.

Of four pixels at most one passes a gradient on, and none where the ReLU made the output 0. A dense
kernel would multiply seven zeros in eight.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.pooled import DEAD
from minicnn.kernels.vectors import (
    at,
    broadcast,
    load,
    load_first,
    multiply_add,
    store,
    store_first,
)

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@numba.njit(inline="always")
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
) -> None:
    """Add ``target[t + q] += Σ_i value[i] · source[place[i] + shift + q]`` for q in 0 .. R - 1.

    Three vectors of 32 lanes are twelve registers where a register holds eight numbers, which
    leaves as many as it takes for the factors; then one of 32, then one of 8 for the smallest rest.
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
    while q + 8 < R:
        b = load_first(target, t + q, R - q, 32)
        for i in range(first, last):
            s = at(place, i) + shift + q
            b = multiply_add(broadcast(value, i, 32), load_first(source, s, R - q, 32), b)
        store_first(target, t + q, b, R - q)
        q += 32
    while q < R:
        c = load_first(target, t + q, R - q, 8)
        for i in range(first, last):
            s = at(place, i) + shift + q
            c = multiply_add(broadcast(value, i, 8), load_first(source, s, R - q, 8), c)
        store_first(target, t + q, c, R - q)
        q += 8


@kernel
def pooled_weight_gradient(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    dy: Array,
    winner: Bytes,
    dtransposed: Array,
    dbias: Array,
) -> None:
    """Add ``dtransposed[f, kh, q] += Σ_winners dy · x[n, corner + kh·row + q]``, and dbias.

    For each image the winners that are alive are first listed by channel. Then the loop nest is n,
    f, kh, q, winner: a stretch of one channel's dweight stays in registers while its list is
    walked, so the channels come first in `dtransposed`.

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
    dtransposed : ndarray (F, KH·R)
        Updated.
    dbias : ndarray (F,)
        Updated.
    """
    N, P, F = dy.shape
    K = dtransposed.shape[1]
    R = K // KH
    count = np.zeros(F, np.int64)
    place = np.empty(F * P + 1, np.int64)  # of channel f from f·P on; one more for the last write
    value = np.empty(F * P + 1, dy.dtype)
    for n in range(N):
        count[:] = 0
        for p in range(P):
            for f in range(F):
                i = (n * P + p) * F + f
                k = int(at(winner, i))  # as a byte it would overflow in plain Python
                end = f * P + count[f]
                # written in any case; only what is alive is kept
                place[end] = n * image + at(corners, 4 * p + (k & 3))
                value[end] = at(dy, i)
                count[f] += k < DEAD
        for f in range(F):
            first, last = f * P, f * P + count[f]
            for i in range(first, last):
                dbias[f] += value[i]
            for kh in range(KH):
                stretch = f * K + kh * R
                _add_stretches(dtransposed, stretch, value, place, first, last, x, kh * row, R)


@kernel
def pooled_input_gradient(
    dy: Array,
    winner: Bytes,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    transposed: Array,
    dx: Array,
) -> None:
    """Add ``dx[n, corner + kh·row + q] += Σ_{winners at this corner} dy · transposed[f, kh, q]``.

    The four pixels of a pooling window are taken one by one, each with the list of the channels
    that it has won: a stretch of dx stays in registers while that list is walked.

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
    transposed : ndarray (F, KH·R)
        The weights, channels first.
    dx : ndarray (N, image)
        Updated.
    """
    N, P, F = dy.shape
    K = transposed.shape[1]
    R = K // KH
    count = np.zeros(DEAD + 1, np.int64)
    place = np.empty((DEAD + 1) * F, np.int64)  # of winner k from k·F on
    value = np.empty((DEAD + 1) * F, dy.dtype)
    for n in range(N):
        for p in range(P):
            count[:] = 0
            for f in range(F):
                i = (n * P + p) * F + f
                k = int(at(winner, i))  # as a byte it would overflow in plain Python
                end = k * F + count[k]
                place[end] = f * K
                value[end] = at(dy, i)
                count[k] += 1
            for k in range(DEAD):
                first, last = k * F, k * F + count[k]
                corner = n * image + at(corners, 4 * p + k)
                for kh in range(KH):
                    stretch = corner + kh * row
                    _add_stretches(dx, stretch, value, place, first, last, transposed, kh * R, R)
