"""Matrix products: what their kernels need is worked out here."""

import numpy as np

from minicnn import kernels, memory
from minicnn.ops.arrays import filled
from minicnn.shapes import FloatArray


def matmul(
    a: FloatArray, b: FloatArray, start: FloatArray, out: FloatArray | None = None
) -> FloatArray:
    """Return ``a · b + start``, start added to each row.

    Parameters
    ----------
    a : ndarray (M, K)
        In C order, or the transpose of such an array.
    b : ndarray (K, N)
    start : ndarray (N,)
    out : ndarray (M, N), optional
        Overwritten and returned; a new array where left out.

    Returns
    -------
    ndarray (M, N)
    """
    if out is None:
        out = memory.empty((a.shape[0], b.shape[1]), a.dtype)
    _multiply(a, b, start, out)
    return out


def matmul_rows(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a · bᵀ``.

    Parameters
    ----------
    a : ndarray (M, K)
        The smaller of the two.
    b : ndarray (N, K)

    Returns
    -------
    ndarray (M, N)
    """
    (M, K), N = a.shape, b.shape[0]
    lanes = kernels.lanes_for(M)
    Mp = -(-M // lanes) * lanes
    columns, transposed = memory.empty((K, Mp), a.dtype), memory.empty((N, M), a.dtype)
    out: FloatArray = memory.empty((M, N), a.dtype)
    start = np.zeros(Mp, a.dtype)
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    kernels.matmul_rows(a, b, start, columns, transposed, out, lanes)
    return out


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
    _multiply(a, b, np.empty(0, a.dtype), out)


def _multiply(a: FloatArray, b: FloatArray, start: FloatArray, out: FloatArray) -> None:
    (M, K), N = a.shape, b.shape[1]
    lanes = kernels.lanes_for(N)
    if a.flags.c_contiguous:
        source, row, column = a, K, 1
    else:  # the kernel takes an array in C order and the steps to walk it in
        source, row, column = np.ascontiguousarray(a.T), 1, M
    kernels.matmul(source, row, column, K, filled(b, lanes), filled(start, lanes), out, lanes)
