"""Sums over the rows of a matrix."""

from collections.abc import Callable
from typing import Any

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import add, load_tail, splat, store_tail
from minicnn.kernels.target import BLOCK_ROWS, FULL_VECTOR, LANES
from minicnn.shapes import Array

SUM_LANES = 32  # lanes per iteration of `reduce_gradients`: a few registers


@device_function
def for_each_vector(body: Callable[..., None], P: int, F: int, *arguments: Any) -> None:
    """Call `body` for each vector of columns of each block of rows (P, F).

    Its arguments are the index of the vector in each row of the block, its first column, the number
    of columns from there on, and `arguments`.
    """
    for p in range(0, P, BLOCK_ROWS):
        end = min(p + BLOCK_ROWS, P) * F
        for f in range(0, F, LANES):
            rows = range(p * F + f, end, F)
            if F - f >= LANES:  # a constant, so that LLVM drops the masks
                body(rows, f, FULL_VECTOR, *arguments)
            else:
                body(rows, f, F - f, *arguments)


@kernel
def column_sums(
    dy: Array,  # (P, F)
    dbias: Array,  # out (F,)
) -> None:
    """Compute ``dbias[f] = Σ_p dy[p, f]``.

    Loops: block of p, vector of f, p. Even and odd rows have an accumulator each.
    """
    P, F = dy.shape
    dbias[:] = 0
    for_each_vector(_add_rows, P, F, dy, dbias)


@device_function
def _add_rows(rows: range, f: int, remaining: int, dy: Array, dbias: Array) -> None:
    """Add one vector of columns of `rows` to ``dbias[f]``."""
    even, odd = load_tail(dbias, f, remaining, LANES), splat(dy, 0, LANES)
    i, count, F = rows.start, len(rows), dbias.size
    for _ in range(count // 2):
        even = add(even, load_tail(dy, i, remaining, LANES))
        odd = add(odd, load_tail(dy, i + F, remaining, LANES))
        i += 2 * F
    if count % 2:
        even = add(even, load_tail(dy, i, remaining, LANES))
    store_tail(dbias, f, add(even, odd), remaining)


@kernel
def reduce_gradients(
    rows: Array,  # (R, P)
    count: int,  # at least 1
    overwrite: bool,
    total: Array,  # out (P,)
) -> None:
    """Compute ``total[i] = rows[0, i] + rows[1, i] + …`` in this order.

    Without `overwrite` the sum begins with the present ``total[i]``.
    """
    P = total.size
    for i in range(0, P, SUM_LANES):
        remaining = P - i
        s = load_tail(rows, i, remaining, SUM_LANES)
        if not overwrite:
            s = add(load_tail(total, i, remaining, SUM_LANES), s)
        for row in range(1, count):
            s = add(s, load_tail(rows, row * P + i, remaining, SUM_LANES))
        store_tail(total, i, s, remaining)
