"""Matrix product in plain loops that the compiler turns into vector code.

Why not NumPy's ``@``: worker threads would share one BLAS whose own threads fight with them, and
whose rounding may depend on how many there are. Here each output is summed in one fixed order.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel

# Rows of b that one pass uses: 64 rows of 64 columns are 16 KiB and stay in the first-level cache.
BLOCK = 64


@kernel
def matmul_add(a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Add a matrix product to what is there: ``out[i, j] += Σ_k a[i, k] · b[k, j]``.

    The loop nest is i, k, j: the innermost runs along rows of `b` and `out`, so eight or sixteen
    columns are one vector. Four rows of `out` and two of `b` are taken at once: a loaded vector
    of `b` then serves four multiply-adds and one of `out` two, where the bare nest loads and
    stores for each.. Every
    element of `out` still takes its terms one by one in the order of k, wherever it stands, so an
    image gets the same numbers alone as in a batch.

    Parameters
    ----------
    a : ndarray (M, K)
        Any layout: a transposed view does as well.
    b : ndarray (K, N)
        C order.
    out : ndarray (M, N)
        C order; updated.
    """
    M, K = a.shape
    N = b.shape[1]
    rows = M - M % 4
    for first in range(0, K, BLOCK):
        last = min(first + BLOCK, K)
        even = last - (last - first) % 2
        for i in range(0, rows, 4):
            for k in range(first, even, 2):
                a00, a01 = a[i, k], a[i, k + 1]
                a10, a11 = a[i + 1, k], a[i + 1, k + 1]
                a20, a21 = a[i + 2, k], a[i + 2, k + 1]
                a30, a31 = a[i + 3, k], a[i + 3, k + 1]
                for j in range(N):
                    b0, b1 = b[k, j], b[k + 1, j]
                    out[i, j] = out[i, j] + a00 * b0 + a01 * b1
                    out[i + 1, j] = out[i + 1, j] + a10 * b0 + a11 * b1
                    out[i + 2, j] = out[i + 2, j] + a20 * b0 + a21 * b1
                    out[i + 3, j] = out[i + 3, j] + a30 * b0 + a31 * b1
            for k in range(even, last):  # the odd row of b, if any
                for r in range(4):
                    for j in range(N):
                        out[i + r, j] += a[i + r, k] * b[k, j]
        for i in range(rows, M):  # the last rows, fewer than four
            for k in range(first, last):
                for j in range(N):
                    out[i, j] += a[i, k] * b[k, j]
