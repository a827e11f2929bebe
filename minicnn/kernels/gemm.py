"""Matrix product.

Why not NumPy's ``@``: worker threads would share one BLAS whose own threads fight with them, and
whose rounding may depend on how many there are. Here each output is summed in one fixed order.

What a dense layer's way back needs besides matrix products.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import inline_function, kernel
from minicnn.kernels.simd import (
    fma,
    greater_or_nan,
    load,
    load_scalar,
    load_splat,
    select,
    splat,
    store,
)
from minicnn.kernels.six import load_six, positive_six, six_from, six_sums, six_times, store_six
from minicnn.kernels.target import NR_SMALL, Kernel, specialize_nr
from minicnn.kernels.tiles import load_tail, load_tail_lanes, store_tail

Array = NDArray[np.float32]
Vector = Any

# Numbers of b that one pass uses: 24 KiB stay in the first-level cache while all rows of a go by.
BLOCK = 6 * 1024
# Columns that a product of a single row takes at once: whole lines of b.
STRETCH = 64


@specialize_nr
def gemm(lanes: int) -> Kernel:
    """Make the matrix product for tiles of so many lanes."""

    def gemm(
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
                    room[k, j] = load_scalar(b, k * N + j)
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
                        s = load_tail_lanes(start, j, left, lanes)
                        sums = (s, s, s, s, s, s)
                    else:
                        sums = load_six(out, places, j, left, lanes)
                    w = k * Np + j
                    sums = six_sums(a, rows, terms, column, room, w, Np, sums, lanes)
                    if relu and k + block >= K:
                        sums = positive_six(sums, a, lanes)
                    store_six(out, places, j, left, sums, lanes)

    return gemm


@kernel
def gemv(a: Array, b: Array, start: Array, relu: bool, out: Array) -> None:
    """Compute ``out[0, j] = start[j] + Σ_k a[0, k] · b[k, j]``: the dense layer of one image.

    The loop nest is j, k: a tile of six rows would compute the one row six times. The order of
    the terms is that of `gemm`, so the numbers are the same.

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
        s = load_tail(start, j, N - j)
        store_tail(out, j, _row_sums(a, b, j, N - j, s, relu, NR_SMALL), N - j)
        j += NR_SMALL


@inline_function
def _row_sums(a: Array, b: Array, j: int, left: int, s: Vector, relu: bool, lanes: int) -> Vector:
    K, N = b.shape
    for k in range(K):
        w = load_tail_lanes(b, k * N + j, left, lanes)
        s = fma(load_splat(a, k, lanes), w, s)
    zero = splat(a, 0, lanes)
    return select(greater_or_nan(s, zero), s, zero) if relu else s


@kernel
def mask_and_transpose_dy(dy: Array, y: Array, rows: Array, columns: Array, dbias: Array) -> None:
    """Lay the gradient out as the products want it, and sum it: ``dbias[j] = Σ_n dy[n, j]``.

    If the output went through a ReLU, dy counts as 0 where that made it 0.

    Parameters
    ----------
    dy : ndarray (N, out)
    y : ndarray (N, out) or (0, …)
        The output behind the ReLU; empty where there is none.
    rows : ndarray (N, out filled up)
        Overwritten: dy, filled up with zeros.
    columns : ndarray (out, N filled up)
        Overwritten: its transpose, filled up with zeros.
    dbias : ndarray (out,)
        Overwritten.
    """
    N, outputs = dy.shape
    rows[:] = 0
    columns[:] = 0
    dbias[:] = 0
    for n in range(N):
        for j in range(outputs):
            i = n * outputs + j
            if y.size == 0 or load_scalar(y, i) > 0:  # not "y <= 0": NaN passes no gradient either
                g = load_scalar(dy, i)
                rows[n, j] = g
                columns[j, n] = g
                dbias[j] += g
