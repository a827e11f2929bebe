"""Copy, fill, pad, look up, add and transpose arrays."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import (
    add,
    load,
    load_tile,
    row_offsets,
    splat,
    store,
    store_tile,
    transpose_tile,
)
from minicnn.kernels.target import LANES
from minicnn.shapes import Array


@device_function
def copy_range(a: Array, a_offset: int, count: int, out: Array, out_offset: int) -> None:
    """Compute ``out[out_offset + q] = a[a_offset + q]`` for q below `count`."""
    for q in range(0, count - LANES + 1, LANES):
        store(out, out_offset + q, load(a, a_offset + q, LANES))
    for q in range(count - count % LANES, count):
        store(out, out_offset + q, load(a, a_offset + q, 1))


@device_function
def add_range(a: Array, a_offset: int, count: int, out: Array, out_offset: int) -> None:
    """Compute ``out[out_offset + q] += a[a_offset + q]`` for q below `count`."""
    i, o = a_offset, out_offset
    for q in range(0, count - LANES + 1, LANES):
        store(out, o + q, add(load(out, o + q, LANES), load(a, i + q, LANES)))
    for q in range(count - count % LANES, count):
        store(out, o + q, add(load(out, o + q, 1), load(a, i + q, 1)))


@device_function
def fill_zero_range(out: Array, out_offset: int, count: int) -> None:
    """Set `count` values from ``out[out_offset]`` on to 0."""
    for q in range(0, count - LANES + 1, LANES):
        store(out, out_offset + q, splat(out, 0, LANES))
    for q in range(count - count % LANES, count):
        store(out, out_offset + q, splat(out, 0, 1))


@kernel
def pad_or_crop(
    x: Array,  # (N, H, W, C)
    top: int,
    left: int,
    padded: Array,  # out (N, H', W', C)
) -> None:
    """Copy images into others, at (top, left), with zeros around them.

    Loops: n, h, w. Each value is written once. Rows and columns that do not fit are cropped; a
    negative `top` or `left` crops the first ones.
    """
    N, H, W, C = x.shape
    _, height, width, _ = padded.shape
    # From here on in values: all channels of all pixels of a row.
    row, padded_row = W * C, width * C
    before, first = min(max(0, left), width) * C, max(0, -left) * C
    count = max(0, min(row - first, padded_row - before))
    o = 0
    for n in range(N):
        for h in range(height):
            if top <= h < top + H:
                fill_zero_range(padded, o, before)
                copy_range(x, (n * H + h - top) * row + first, count, padded, o + before)
                fill_zero_range(padded, o + before + count, padded_row - before - count)
            else:
                fill_zero_range(padded, o, padded_row)
            o += padded_row


@kernel
def copy_columns(
    source: Array,  # (rows, …)
    source_column: int,
    out: Array,  # updated (rows, …)
    out_column: int,
    count: int,
) -> None:
    """Copy `count` columns of a matrix to columns of another matrix."""
    rows, width = out.shape
    for r in range(rows):
        i = r * source.shape[1] + source_column
        copy_range(source, i, count, out, r * width + out_column)


@kernel
def fill_zero(
    out: Array,  # out (size,)
) -> None:
    """Set all values to 0."""
    out[:] = 0


@kernel
def apply_lut(
    table: Array,  # (256,)
    pixels: NDArray[np.uint8],  # (size,)
    x: Array,  # out (size,)
) -> None:
    """Compute ``x[i] = table[pixels[i]]``."""
    for i in range(pixels.size):
        x[i] = table[pixels[i]]


@kernel
def add_arrays(
    a: Array,  # (size,)
    b: Array,  # (size,)
    y: Array,  # out (size,)
) -> None:
    """Compute ``y[i] = a[i] + b[i]``."""
    for i in range(y.size):
        y[i] = a[i] + b[i]


# ---------------------------------------------------------------- transposition

# In 8×8 blocks of registers. Value by value, with one store each, it takes three times as long.
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
    matrices: Array,  # (…, rows, columns)
    transposed: Array,  # out (…, columns or more, rows), zeros in the rows beyond
) -> None:
    """Compute ``transposed[…, j, i] = matrices[…, i, j]``."""
    rows, columns, padded = matrices.shape[-2], matrices.shape[-1], transposed.shape[-2]
    for k in range(matrices.size // (rows * columns)):
        i, o = k * rows * columns, k * padded * rows
        transpose_block(matrices, i, rows, columns, transposed, o, rows)
        fill_zero_range(transposed, o + columns * rows, (padded - columns) * rows)


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
