"""How deep inside a shape each of its pixels lies."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import kernel


@kernel
def squared_distances(
    inside: NDArray[np.bool_], column: NDArray[np.int64], d2: NDArray[np.int64]
) -> None:
    """Write each pixel's squared distance to the nearest pixel that is not inside.

    ``d2[i, j] = min over (a, b) not inside of (i - a)² + (j - b)²``; what lies beyond the picture
    is not inside. The loop nest is column, row down and up again (the nearest one in the same
    column), then row, column, columns near by (the nearest of those, by Pythagoras), which ends
    when the way to the column alone is longer than what was found.

    Parameters
    ----------
    inside : ndarray of bool (H, W)
    column : ndarray of int64 (H, W)
        Room for the distances within the columns.
    d2 : ndarray of int64 (H, W)
        Overwritten.
    """
    H, W = inside.shape
    for j in range(W):
        steps = 0
        for i in range(H):
            steps = steps + 1 if inside[i, j] else 0
            column[i, j] = steps
        steps = 0
        for i in range(H - 1, -1, -1):
            steps = steps + 1 if inside[i, j] else 0
            column[i, j] = min(column[i, j], steps)
    for i in range(H):
        for j in range(W):
            # Beyond the picture is not inside, so the search never gets there.
            best = min(column[i, j] ** 2, (j + 1) ** 2, (W - j) ** 2)
            way = 1
            while way * way < best:
                best = min(best, way * way + column[i, j - way] ** 2)
                best = min(best, way * way + column[i, j + way] ** 2)
                way += 1
            d2[i, j] = best
