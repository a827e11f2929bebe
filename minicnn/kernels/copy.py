"""Copy, fill, pad or crop, look up and add arrays."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import add, load, splat, store
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
def pad_images(
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
    before, first = min(max(0, left), width), max(0, -left)
    count = max(0, min(W - first, width - before))
    for n in range(N):
        for h in range(height):
            o = (n * height + h) * width * C
            if top <= h < top + H:
                i, middle = ((n * H + h - top) * W + first) * C, o + before * C
                fill_zero_range(padded, o, before * C)
                copy_range(x, i, count * C, padded, middle)
                fill_zero_range(padded, middle + count * C, (width - before - count) * C)
            else:
                fill_zero_range(padded, o, width * C)


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
