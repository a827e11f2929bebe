"""Matrix transposition in 8×8 blocks of registers.

Value by value, with one store each, it takes three times as long.
"""

from typing import Any

from minicnn.kernels.copy import fill_zero_range
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import interleave_high, interleave_low, load, store
from minicnn.shapes import Array

Vector = Any
EightVectors = tuple[Vector, Vector, Vector, Vector, Vector, Vector, Vector, Vector]

SIDE = 8  # rows and columns of a block


@device_function
def transpose_block(
    a: Array,
    a_offset: int,
    rows: int,
    columns: int,
    out: Array,
    out_offset: int,
    out_stride: int,  # values between two rows of the transposed matrix
) -> None:
    """Transpose a row-major matrix inside flat arrays."""
    i, o, step = a_offset, out_offset, out_stride
    whole_rows, whole_columns = rows - rows % SIDE, columns - columns % SIDE
    for f in range(0, whole_columns, SIDE):
        for c in range(0, whole_rows, SIDE):
            _transpose_tile(a, i + c * columns + f, columns, out, o + f * step + c, step)
    for c in range(rows):
        for f in range(whole_columns if c < whole_rows else 0, columns):
            store(out, o + f * step + c, load(a, i + c * columns + f, 1))


@device_function
def _transpose_tile(a: Array, i: int, columns: int, out: Array, o: int, step: int) -> None:
    """Transpose one 8×8 block in registers.

    Each interleaving moves the value in lane c₂c₁c₀ of vector r₂r₁r₀ (bits of the indices) to lane
    c₁c₀r₂ of vector r₁r₀c₂. After three interleavings lane and vector are exchanged.
    """
    eight = (
        load(a, i, SIDE),
        load(a, i + columns, SIDE),
        load(a, i + 2 * columns, SIDE),
        load(a, i + 3 * columns, SIDE),
        load(a, i + 4 * columns, SIDE),
        load(a, i + 5 * columns, SIDE),
        load(a, i + 6 * columns, SIDE),
        load(a, i + 7 * columns, SIDE),
    )
    a0, a1, a2, a3, a4, a5, a6, a7 = _interleave_all(_interleave_all(_interleave_all(eight)))
    store(out, o, a0)
    store(out, o + step, a1)
    store(out, o + 2 * step, a2)
    store(out, o + 3 * step, a3)
    store(out, o + 4 * step, a4)
    store(out, o + 5 * step, a5)
    store(out, o + 6 * step, a6)
    store(out, o + 7 * step, a7)


@device_function
def _interleave_all(eight: EightVectors) -> EightVectors:
    """Interleave the lanes of vectors k and k + 4 into vectors 2k and 2k + 1."""
    a0, a1, a2, a3, a4, a5, a6, a7 = eight
    return (
        interleave_low(a0, a4),
        interleave_high(a0, a4),
        interleave_low(a1, a5),
        interleave_high(a1, a5),
        interleave_low(a2, a6),
        interleave_high(a2, a6),
        interleave_low(a3, a7),
        interleave_high(a3, a7),
    )


@kernel
def transpose(
    matrix: Array,  # (rows, columns)
    transposed: Array,  # out (columns, rows)
) -> None:
    """Compute ``transposed[j, i] = matrix[i, j]``."""
    rows, columns = matrix.shape
    transpose_block(matrix, 0, rows, columns, transposed, 0, rows)


@kernel
def rotate180_swap_channels(
    weight: Array,  # (KH, KW, C, F)
    rotated: Array,  # out (KH, KW, F, C)
) -> None:
    """Rotate each filter by 180° and swap its channel axes.

    ``rotated[kh, kw, f, c] = weight[KH - 1 - kh, KW - 1 - kw, c, f]``.
    """
    KH, KW, C, F = weight.shape
    for k in range(KH * KW):
        transpose_block(weight, (KH * KW - 1 - k) * C * F, C, F, rotated, k * F * C, C)


@kernel
def swap_channel_axes(
    weight: Array,  # (KH, KW, C, F)
    swapped: Array,  # out (KH, KW, Fp, C), zeros from row F on
) -> None:
    """Compute ``swapped[kh, kw, f, c] = weight[kh, kw, c, f]``."""
    KH, KW, C, F = weight.shape
    Fp = swapped.shape[2]
    for k in range(KH * KW):
        transpose_block(weight, k * C * F, C, F, swapped, k * Fp * C, C)
        fill_zero_range(swapped, (k * Fp + F) * C, (Fp - F) * C)
