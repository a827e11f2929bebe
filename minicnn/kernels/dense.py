"""What a dense layer's way back needs besides matrix products."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.vectors import at

Array = NDArray[np.float32]


@kernel
def dense_upstream(dy: Array, y: Array, rows: Array, columns: Array, dbias: Array) -> None:
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
            if y.size == 0 or at(y, i) > 0:  # not "y <= 0": NaN passes no gradient either
                g = at(dy, i)
                rows[n, j] = g
                columns[j, n] = g
                dbias[j] += g
