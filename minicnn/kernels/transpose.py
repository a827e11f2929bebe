"""Matrix transposition in 8×8 blocks of registers.

Value by value, with one store each, it takes three times as long.
"""

from minicnn.kernels.copy import fill_zero_range
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import load, load_tile, row_offsets, store, store_tile, transpose_tile
from minicnn.shapes import Array

SIDE = 8  # rows and columns of a block
ROWS = tuple(range(SIDE))


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
            tile = load_tile(a, row_offsets(ROWS, columns, i + c * columns + f), SIDE, SIDE)
            store_tile(out, row_offsets(ROWS, step, o + f * step + c), transpose_tile(tile), SIDE)
    for c in range(rows):
        for f in range(whole_columns if c < whole_rows else 0, columns):
            store(out, o + f * step + c, load(a, i + c * columns + f, 1))


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
