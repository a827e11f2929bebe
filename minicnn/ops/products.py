"""Matrix products: what their kernels need is worked out here."""

import numpy as np

from minicnn.kernels import gemm, target
from minicnn.ops import arrays
from minicnn.runtime import arena
from minicnn.shapes import FloatArray


def matmul_add(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """Add ``a · b`` to `out`.

    Parameters
    ----------
    a : ndarray (M, K)
        In C order, or the transpose of such an array.
    b : ndarray (K, N)
    out : ndarray (M, N)
        Updated.
    """
    (M, K), N = a.shape, b.shape[1]
    lanes = target.choose_nr(N)
    if a.flags.c_contiguous:
        source, row, column = a, K, 1
    else:  # the kernel takes an array in C order and the steps to walk it in
        source, row, column = np.ascontiguousarray(a.T), 1, M
    b = np.ascontiguousarray(b)
    room = arena.empty((K, arrays.round_up(N, lanes)), b.dtype) if N % lanes else b
    nothing = np.empty(0, a.dtype)
    gemm.gemm[lanes](source, row, column, K, b, room, nothing, False, out)
