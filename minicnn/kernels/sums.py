"""Sums over all pixels: the gradient of a bias."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.tiles import load_some, store_some
from minicnn.kernels.vectors import add, fill

Array = NDArray[np.float32]

# So many rows are read for one vector of columns before the next: they stay in the first-level
# cache, however wide they are.
ROWS = 64


@kernel
def sum_rows(dy: Array, dbias: Array) -> None:
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
        for f in range(0, F, NARROW):
            if F - f >= NARROW:  # a constant instead of what is left: no masks
                _add(dy, p * F + f, rows, dbias, f, NARROW)
            else:
                _add(dy, p * F + f, rows, dbias, f, F - f)


@piece
def _add(dy: Array, i: int, rows: int, dbias: Array, f: int, left: int) -> None:
    F = dbias.size
    even, odd = load_some(dbias, f, left), fill(dy, 0, NARROW)
    for _ in range(rows // 2):
        even = add(even, load_some(dy, i, left))
        odd = add(odd, load_some(dy, i + F, left))
        i += 2 * F
    if rows % 2:
        even = add(even, load_some(dy, i, left))
    store_some(dbias, f, add(even, odd), left)
