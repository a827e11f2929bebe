"""Matrix product.

Why not NumPy's ``@``: worker threads would share one BLAS whose own threads fight with them, and
whose rounding may depend on how many there are. Here each output is summed in one fixed order.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.machine import NARROW, WIDE, WIDEST
from minicnn.kernels.tiles import four_from, four_sums, load_four, store_four, transpose
from minicnn.kernels.vectors import at, load

Array = NDArray[np.float32]

# Rows of b that one pass uses: 48 rows of 128 columns are 24 KiB and stay in the first-level cache
# while all rows of a go by.
BLOCK = 48


@kernel
def matmul(
    a: Array, row: int, column: int, K: int, b: Array, start: Array, out: Array, lanes: int
) -> None:
    """Compute ``out[i, j] = start[j] + Σ_k a[i·row + k·column] · b[k, j]``, or add that to `out`.

    The loop nest is k-block, i, j, k: four rows of `out` and one vector of columns are a tile,
    whose sums stay in registers over the rows of a block. Every element takes its terms in the
    order of k, wherever it stands, so an image gets the same numbers alone as in a batch.

    Parameters
    ----------
    a : ndarray
        In C order; with `row` and `column` exchanged it counts as transposed.
    row, column : int
        Numbers in `a` from one row of the product to the next, and from one k to the next.
    K : int
    b : ndarray (K, Np)
        Columns filled up to a multiple of `lanes`.
    start : ndarray (Np,) or (0,)
        If it is empty, the product is added to what is in `out`.
    out : ndarray (M, N)
    lanes : int
        Of a tile, from `minicnn.kernels.machine`.
    """
    if lanes == NARROW:
        _product(a, row, column, K, b, start, out, NARROW)
    elif lanes == WIDE:
        _product(a, row, column, K, b, start, out, WIDE)
    elif lanes == WIDEST:
        _product(a, row, column, K, b, start, out, WIDEST)


@kernel
def matmul_rows(
    a: Array, b: Array, start: Array, columns: Array, transposed: Array, out: Array, lanes: int
) -> None:
    """Compute ``out[i, j] = Σ_k a[i, k] · b[j, k]``, both matrices walked along their rows.

    That is ``outᵀ = b · aᵀ``: of the two only the small `a` is transposed, and the result.

    Parameters
    ----------
    a : ndarray (M, K)
    b : ndarray (N, K)
    start : ndarray (Mp,)
        Zeros, as many as M filled up to a multiple of `lanes`.
    columns : ndarray (K, Mp)
        Room for ``aᵀ``.
    transposed : ndarray (N, M)
        Room for ``outᵀ``.
    out : ndarray (M, N)
        Overwritten.
    lanes : int
        Of a tile, from `minicnn.kernels.machine`.
    """
    M, K = a.shape
    for k in range(K):
        for i in range(columns.shape[1]):
            columns[k, i] = at(a, i * K + k) if i < M else 0
    if lanes == NARROW:
        _product(b, K, 1, K, columns, start, transposed, NARROW)
    elif lanes == WIDE:
        _product(b, K, 1, K, columns, start, transposed, WIDE)
    elif lanes == WIDEST:
        _product(b, K, 1, K, columns, start, transposed, WIDEST)
    transpose(transposed, 0, out)


@numba.njit(inline="always")
def _product(
    a: Array, row: int, column: int, K: int, b: Array, start: Array, out: Array, lanes: int
) -> None:
    M, N = out.shape
    Np = b.shape[1]
    for k in range(0, K, BLOCK):
        terms = min(BLOCK, K - k)
        first = k * column
        for i in range(0, M, 4):
            i0, i1, i2, i3 = four_from(i, M)
            rows = (i0 * row + first, i1 * row + first, i2 * row + first, i3 * row + first)
            places = (i0 * N, i1 * N, i2 * N, i3 * N)
            for j in range(0, N, lanes):
                if k == 0 and start.size > 0:
                    s = load(start, j, lanes)
                    sums = (s, s, s, s)
                else:
                    sums = load_four(out, places, j, N - j, lanes)
                w = k * Np + j
                sums = four_sums(a, rows, 1, 0, terms, column, b, w, Np, sums, lanes)
                store_four(out, places, j, N - j, sums, lanes)
