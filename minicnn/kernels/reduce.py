"""Sum the rows of a matrix: the gradient of a bias."""

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import add, load_tail, splat, store_tail
from minicnn.kernels.target import FULL_VECTOR, LANES
from minicnn.shapes import Array

# Rows per block. One vector of columns is read from all rows of a block before the next vector; a
# block of rows stays in L1, however wide it is.
BLOCK_ROWS = 64


@kernel
def column_sums(
    dy: Array,  # (P, F)
    dbias: Array,  # out (F,)
) -> None:
    """Compute ``dbias[f] = Σ_p dy[p, f]``.

    Loops: block of p, vector of f, p. Even and odd rows have an accumulator each.
    """
    P, F = dy.shape
    for f in range(F):
        dbias[f] = 0
    for p in range(0, P, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, P - p)
        for f in range(0, F, LANES):
            if F - f >= LANES:  # a constant, so that LLVM drops the masks
                _add_rows(dy, p * F + f, rows, dbias, f, FULL_VECTOR)
            else:
                _add_rows(dy, p * F + f, rows, dbias, f, F - f)


@device_function
def _add_rows(dy: Array, i: int, rows: int, dbias: Array, f: int, remaining: int) -> None:
    """Add one vector of columns of `rows` rows to ``dbias[f]``."""
    F = dbias.size
    even, odd = load_tail(dbias, f, remaining, LANES), splat(dy, 0, LANES)
    for _ in range(rows // 2):
        even = add(even, load_tail(dy, i, remaining, LANES))
        odd = add(odd, load_tail(dy, i + F, remaining, LANES))
        i += 2 * F
    if rows % 2:
        even = add(even, load_tail(dy, i, remaining, LANES))
    store_tail(dbias, f, add(even, odd), remaining)
