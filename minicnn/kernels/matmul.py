"""Matrix product.

Why not NumPy's ``@``: worker threads would share one BLAS whose own threads fight with them, and
whose rounding may depend on how many there are. Here each output is summed in one fixed order.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.machine import NARROW, Kernel, for_each_tile
from minicnn.kernels.six import load_six, positive_six, six_from, six_sums, six_times, store_six
from minicnn.kernels.tiles import load_some, load_up_to, store_some
from minicnn.kernels.vectors import (
    at,
    beats,
    broadcast,
    fill,
    load,
    multiply_add,
    select,
    store,
)

Array = NDArray[np.float32]
Vector = Any

# Numbers of b that one pass uses: 24 KiB stay in the first-level cache while all rows of a go by.
BLOCK = 6 * 1024
# Columns that a product of a single row takes at once: whole lines of b.
STRETCH = 64


@for_each_tile
def matmul(lanes: int) -> Kernel:
    """Make the matrix product for tiles of so many lanes."""

    def matmul(
        a: Array,
        row: int,
        column: int,
        K: int,
        b: Array,
        room: Array,
        start: Array,
        relu: bool,
        out: Array,
    ) -> None:
        """Multiply, or add to a product.

        ``out[i, j] = start[j] + Σ_k a[i·row + k·column] · b[k, j]``, or ``out[i, j] += Σ…``.

        The loop nest is k-block, i, j, k: six rows of `out` and one vector of columns are a tile,
        whose sums stay in registers over the rows of a block. Every element takes its terms in the
        order of k, wherever it stands, so an image gets the same numbers alone as in a batch.

        Parameters
        ----------
        a : ndarray
            In C order; with `row` and `column` exchanged it counts as transposed.
        row, column : int
            Numbers in `a` from one row of the product to the next, and from one k to the next.
        K : int
        b : ndarray (K, N) or (K, Np)
        room : ndarray (K, Np)
            Room for `b` with its columns filled up to a multiple of `lanes`; where there is nothing
            to fill up, or `b` is filled up already, `b` itself.
        start : ndarray (N,) or (0,)
            If it is empty, the product is added to what is in `out`.
        relu : bool
            Whether negative results become 0.
        out : ndarray (M, N)
        """
        (M, N), Np = out.shape, room.shape[1]
        if Np > b.shape[1]:
            for k in range(K):
                for j in range(N):
                    room[k, j] = at(b, k * N + j)
                for j in range(N, Np):
                    room[k, j] = 0
        block = max(1, BLOCK // Np)
        for k in range(0, K, block):
            terms = min(block, K - k)
            first = k * column
            for i in range(0, M, 6):
                six = six_from(i, M)
                rows, places = six_times(six, row, first), six_times(six, N, 0)
                for j in range(0, N, lanes):
                    left = N - j
                    if k == 0 and start.size > 0:
                        s = load_up_to(start, j, left, lanes)
                        sums = (s, s, s, s, s, s)
                    else:
                        sums = load_six(out, places, j, left, lanes)
                    w = k * Np + j
                    sums = six_sums(a, rows, terms, column, room, w, Np, sums, lanes)
                    if relu and k + block >= K:
                        sums = positive_six(sums, a, lanes)
                    store_six(out, places, j, left, sums, lanes)

    return matmul


@kernel
def multiply_row(a: Array, b: Array, start: Array, relu: bool, out: Array) -> None:
    """Compute ``out[0, j] = start[j] + Σ_k a[0, k] · b[k, j]``: the dense layer of one image.

    The loop nest is j, k: a tile of six rows would compute the one row six times. The order of
    the terms is that of `matmul`, so the numbers are the same.

    Parameters
    ----------
    a : ndarray (1, K)
    b : ndarray (K, N)
    start : ndarray (N,)
    relu : bool
        Whether negative results become 0.
    out : ndarray (1, N)
    """
    N, j = out.shape[1], 0
    while j + STRETCH <= N:
        store(out, j, _row_sums(a, b, j, STRETCH, load(start, j, STRETCH), relu, STRETCH))
        j += STRETCH
    while j < N:
        s = load_some(start, j, N - j)
        store_some(out, j, _row_sums(a, b, j, N - j, s, relu, NARROW), N - j)
        j += NARROW


@numba.njit(inline="always")
def _row_sums(a: Array, b: Array, j: int, left: int, s: Vector, relu: bool, lanes: int) -> Vector:
    K, N = b.shape
    for k in range(K):
        w = load_up_to(b, k * N + j, left, lanes)
        s = multiply_add(broadcast(a, k, lanes), w, s)
    zero = fill(a, 0, lanes)
    return select(beats(s, zero), s, zero) if relu else s
