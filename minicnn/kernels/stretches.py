"""Sums of rows, each times a number: what the way back through a pool consists of."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import piece
from minicnn.kernels.vectors import at, broadcast, load, load_first, multiply_add, store

Array = NDArray[np.float32]
Indices = NDArray[np.int64]

# Rows of sums are filled up to a multiple of so many numbers, and read and written whole. Where
# rows of the image are read so too, the last vector takes in what lies behind the row.
ROW = 8


@piece
def add_stretches(
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
    leaves as many as it takes for the factors; then one of 32, then one of 8.

    Parameters
    ----------
    target : ndarray
    t : int
        Where the sums begin in the flat `target`.
    value : ndarray
    place : ndarray of int
    first, last : int
        The part of the list that counts.
    source : ndarray
    shift : int
    R : int
        Numbers of a row; if less than Rp, nothing of `source` is read behind them.
    Rp : int
        The same or more, a multiple of ROW: so many sums there are.
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
def add_rows_at_once(
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
    """Add what `add_stretches` adds, for KH rows of at most ROW numbers, three of them at once.

    One row by itself is one chain of multiply-adds, of which each waits for the last.

    Parameters
    ----------
    target : ndarray
    t : int
        Where the sums begin in the flat `target`, ROW of each row.
    value : ndarray
    place : ndarray of int
    alive : int
        Length of the list.
    source : ndarray
    row : int
        Numbers from one row of `source` to the next.
    KH : int
        How many rows.
    R : int
        Numbers of a row that are read.
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
