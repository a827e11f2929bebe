"""Sums over all pixels: the gradient of a bias."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import add, splat
from minicnn.kernels.target import NR_SMALL
from minicnn.kernels.tiles import load_tail, store_tail

Array = NDArray[np.float32]

# So many rows are read for one vector of columns before the next: they stay in the first-level
# cache, however wide they are.
ROWS = 64


@kernel
def column_sums(dy: Array, dbias: Array) -> None:
    """Compute ``dbias[f] = Σ_p dy[p, f]``.

    The loop nest is block of p, f, p: a vector of channels is summed in two registers, rows of even
    and of odd number.

    Parameters
    ----------
    dy : ndarray (P, F)
    dbias : ndarray (F,)
        Overwritten.
    """
    P, F = dy.shape
    for f in range(F):
        dbias[f] = 0
    for p in range(0, P, ROWS):
        rows = min(ROWS, P - p)
        for f in range(0, F, NR_SMALL):
            if F - f >= NR_SMALL:  # a constant instead of what is left: no masks
                _add(dy, p * F + f, rows, dbias, f, NR_SMALL)
            else:
                _add(dy, p * F + f, rows, dbias, f, F - f)


@device_function
def _add(dy: Array, i: int, rows: int, dbias: Array, f: int, left: int) -> None:
    F = dbias.size
    even, odd = load_tail(dbias, f, left), splat(dy, 0, NR_SMALL)
    for _ in range(rows // 2):
        even = add(even, load_tail(dy, i, left))
        odd = add(odd, load_tail(dy, i + F, left))
        i += 2 * F
    if rows % 2:
        even = add(even, load_tail(dy, i, left))
    store_tail(dbias, f, add(even, odd), left)
