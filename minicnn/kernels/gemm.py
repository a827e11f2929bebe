"""Matrix product, and the microkernel of most products.

NumPy's ``@`` would share one BLAS among the worker threads. Its own threads compete with them, and
its rounding may depend on their number. Here each output is summed in one fixed order.
"""

import numpy as np

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.pack import round_up
from minicnn.kernels.simd import (
    Rows,
    Tile,
    clamp_rows,
    fma_tile,
    load,
    load_scalar,
    load_tail,
    load_tile,
    relu_tile,
    row_offsets,
    splat,
    splat_tile,
    store,
    store_tile,
)
from minicnn.kernels.target import NR_CHOICES, NR_SMALL, Kernel, choose_nr, specialize
from minicnn.runtime import arena
from minicnn.shapes import Array

# Rows of a microtile. With an NR of two registers the accumulators take 12 of the 16 registers of
# AVX2, which leaves two for the panel and two for the factors; a tenth faster than four rows.
MR = 6
# Values of b for one pass over the rows of a: 24 KiB stay in L1.
BLOCK = 6 * 1024
# Columns per iteration of a product with one row: whole cache lines of b.
GEMV_NR = 64


@device_function
def accumulate(
    acc: Tile,
    x: Array,
    rows: Rows,  # offset of the first term of each of the MR rows
    K: int,
    k_stride: int,
    b: Array,  # a panel of packed weights; in dweight dy itself
    v: int,  # offset of the first vector
    v_stride: int,
    NR: int,
) -> Tile:
    """Return ``acc[r] + Σ_k x[rows[r] + k·k_stride] · b[v + k·v_stride]``.

    This is the microkernel. One vector of NR lanes is loaded per k and serves MR multiply-adds.
    Convolution, its weight gradient, `gemm` and the products of Winograd differ only in offsets and
    strides.
    """
    for k in range(K):
        acc = fma_tile(acc, x, rows, k * k_stride, load(b, v + k * v_stride, NR))
    return acc


@device_function
def gemm_panel(
    a: Array,
    a_offset: int,
    K: int,
    count: int,  # rows of `a`
    panel: Array,  # (K, NR) from w on
    w: int,
    out: Array,
    out_offset: int,
    out_stride: int,  # values between two rows
    NR: int,
) -> None:
    """Compute ``out[i, j] = Σ_k a[i, k] · panel[k, j]`` for one panel."""
    zeros = splat_tile(splat(a, 0, NR), MR)
    for i in range(0, count, MR):
        rows = clamp_rows(i, count, MR)
        acc = accumulate(zeros, a, row_offsets(rows, K, a_offset), K, 1, panel, w, NR, NR)
        store_tile(out, row_offsets(rows, out_stride, out_offset), acc, NR)


def gemm(a: Array, b: Array, out: Array, bias: Array | None = None, relu: bool = False) -> None:
    """Compute ``out = a · b + bias``; without `bias`, ``out += a · b``.

    So for the product alone the caller passes zeros as the bias, as `ops.dense_backward` does.

    Parameters
    ----------
    a : ndarray (M, K)
        In C order, or the transpose of such an array.
    b : ndarray (K, N)
        In C order.
    out : ndarray (M, N)
        Overwritten if there is a bias, else added to.
    bias : ndarray (N,), optional
    relu : bool
        Set negative results to 0.
    """
    (M, K), N = a.shape, out.shape[1]
    if M == 1 and bias is not None:
        gemv_kernel(a, b, bias, relu, out)
        return
    NR = choose_nr(N)
    transposed, Np = not a.flags.c_contiguous, round_up(N, NR)
    packed = b if Np == N else arena.empty((K, Np), b.dtype)
    start = arena.constant_zeros(0, a.dtype) if bias is None else bias
    a = np.ascontiguousarray(a.T if transposed else a)
    gemm_kernel[NR](a, transposed, b, packed, start, relu, out)


def mask_and_transpose(dy: Array, y: Array | None, dbias: Array) -> tuple[Array, Array]:
    """Return dy and its transpose, 0 where y is 0; compute dbias.

    Parameters
    ----------
    dy : ndarray (N, out)
    y : ndarray (N, out), or None
        The output of a fused ReLU: dy counts as 0 where it is 0.
    dbias : ndarray (out,)
        Overwritten.

    Returns
    -------
    dy : ndarray (N, out)
    dy_transposed : ndarray (out, N)
    """
    N, outputs = dy.shape
    rows, columns = arena.allocate((((N, outputs), dy.dtype), ((outputs, N), dy.dtype)))
    mask_and_transpose_kernel(dy, dy[:0] if y is None else y, rows, columns, dbias)
    return rows, columns


@specialize(NR_CHOICES)
def gemm_kernel(NR: int) -> Kernel:
    """Loop order: block of k, i, j, k."""

    def gemm_blocked(
        a: Array,  # (M, K), or (K, M) if `transposed`
        transposed: bool,
        b: Array,  # (K, N)
        packed: Array,  # scratch (K, Np), N padded to a multiple of NR; `b` itself if N is one
        bias: Array,  # (N,), or (0,) to add the product to `out`
        relu: bool,
        out: Array,  # (M, N)
    ) -> None:
        """Compute ``out[i, j] = bias[j] + Σ_k a[i, k] · b[k, j]``.

        With an empty bias the sum is added to `out`. Every element adds its terms in the order of
        k, wherever it lies, so an image has the same result alone as in a batch.
        """
        (M, N), (K, Np) = out.shape, packed.shape
        row_stride, k_stride = (1, M) if transposed else (K, 1)
        if Np > N:
            for k in range(K):
                for j in range(0, N, NR):
                    store(packed, k * Np + j, load_tail(b, k * N + j, N - j, NR))
        block = max(1, BLOCK // Np)
        for k in range(0, K, block):
            terms = min(block, K - k)
            for i in range(0, M, MR):
                rows = clamp_rows(i, M, MR)
                a_offsets = row_offsets(rows, row_stride, k * k_stride)
                for j in range(0, N, NR):
                    out_offsets = row_offsets(rows, N, j)
                    if k == 0 and bias.size > 0:
                        acc = splat_tile(load_tail(bias, j, N - j, NR), MR)
                    else:
                        acc = load_tile(out, out_offsets, N - j, NR)
                    acc = accumulate(acc, a, a_offsets, terms, k_stride, packed, k * Np + j, Np, NR)
                    if relu and k + block >= K:
                        acc = relu_tile(acc)
                    store_tile(out, out_offsets, acc, N - j)

    return gemm_blocked


@kernel
def gemv_kernel(
    a: Array,  # (1, K)
    b: Array,  # (K, N)
    bias: Array,  # (N,)
    relu: bool,
    out: Array,  # (1, N)
) -> None:
    """Compute ``out[0, j] = bias[j] + Σ_k a[0, k] · b[k, j]``.

    Loop order: j, k. `gemm` would compute the one row MR times. Both add the terms in the same
    order.
    """
    N, whole = out.shape[1], out.shape[1] // GEMV_NR * GEMV_NR
    for j in range(0, whole, GEMV_NR):
        _gemv_panel(a, b, j, GEMV_NR, bias, relu, out, GEMV_NR)  # no masks
    for j in range(whole, N, NR_SMALL):
        _gemv_panel(a, b, j, N - j, bias, relu, out, NR_SMALL)


@device_function
def _gemv_panel(
    a: Array, b: Array, j: int, remaining: int, bias: Array, relu: bool, out: Array, NR: int
) -> None:
    """Compute columns j … j + NR - 1 of `gemv`, of which `remaining` exist."""
    K, N = b.shape
    acc = splat_tile(load_tail(bias, j, remaining, NR), 1)
    for k in range(K):
        acc = fma_tile(acc, a, (k,), 0, load_tail(b, k * N + j, remaining, NR))
    if relu:
        acc = relu_tile(acc)
    store_tile(out, (j,), acc, remaining)


@kernel
def mask_and_transpose_kernel(
    dy: Array,  # (N, out)
    y: Array,  # (N, out), the output of a fused ReLU, or (0, ...)
    rows: Array,  # out (N, out)
    columns: Array,  # out (out, N)
    dbias: Array,  # out (out,)
) -> None:
    """Copy dy in both orders, 0 where y is 0; sum ``dbias[j] = Σ_n dy[n, j]``."""
    N, outputs = dy.shape
    rows[:] = 0
    columns[:] = 0
    dbias[:] = 0
    for n in range(N):
        for j in range(outputs):
            i = n * outputs + j
            # Not "y <= 0": NaN passes no gradient either.
            if y.size == 0 or load_scalar(y, i) > 0:
                g = load_scalar(dy, i)
                rows[n, j] = g
                columns[j, n] = g
                dbias[j] += g
