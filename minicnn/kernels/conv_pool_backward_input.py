"""The input gradient through convolution, ReLU and 2×2 max-pooling.

Only the active pixels pass a gradient on, as in `minicnn.kernels.conv_pool_backward_weight`; the
window is cut into chunks as there.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import copy
from minicnn.kernels.conv_pool import window_layout
from minicnn.kernels.conv_pool_chunks import (
    NINE_ROWS,
    VECTOR_WIDTHS,
    choose_width,
    nine_fit_in_registers,
)
from minicnn.kernels.copy import transpose_block
from minicnn.kernels.jit import device_function
from minicnn.kernels.pack import Offsets, outer_sum, padded_shape, round_up
from minicnn.kernels.simd import (
    Rows,
    axpy_tile,
    clamp_rows,
    clear_lowest_bit,
    count_trailing_zeros,
    equals,
    gather_offsets,
    load,
    load_scalar,
    load_splat,
    load_tile,
    movemask,
    row_offsets,
    splat,
    store_tile,
)
from minicnn.kernels.target import L1_BYTES, Kernel, specialize
from minicnn.runtime import arena
from minicnn.shapes import Array, Shape
from minicnn.shapes.window import Window

Bytes = NDArray[np.uint8]

CHANNELS = 64  # per bit mask: the bits of an integer


def backward_input(dy: Array, argmax: Bytes, weight: Array, window: Window, shape: Shape) -> Array:
    """Return dx, of the given shape (N, H, W, C).

    It lies in a longer array, because the last vector of the last image may end past it: so it is
    made here, and copied only if there is padding to be cut off.
    """
    KH, KW, C, F = weight.shape
    image_stride, origins, row_stride, _ = window_layout(shape, window)
    width, offsets, use_nine_rows = _padded_chunks(KH, KW * C, row_stride, F * dy.itemsize)
    dpadded, panels = arena.allocate(
        (((shape[0] * image_stride + width,), dy.dtype), ((offsets.size, F, width), dy.dtype))
    )
    weight = np.ascontiguousarray(weight)
    backward_input_sparse[width](
        dy, argmax, image_stride, origins, offsets, weight, dpadded, panels, use_nine_rows
    )
    padded = padded_shape(shape, window)
    if padded is None:
        return dpadded[:-width].reshape(shape)
    dx: Array = arena.empty(shape, dy.dtype)
    copy.pad_images(dpadded[:-width].reshape(padded), -window.top, -window.left, dx)
    return dx


class WindowChunks(NamedTuple):
    """A window cut into vectors."""

    width: int  # lanes of a vector
    offsets: Offsets  # from the window's origin to each vector
    use_nine_rows: bool  # whether nine vectors are accumulated together, or three


@lru_cache(maxsize=256)
def _padded_chunks(KH: int, K_row: int, row_stride: int, bytes_per_lane: int) -> WindowChunks:
    """Cut a window into vectors without overlap.

    The last of a row may end past it, but does not reach the next row of the window. Nine vectors
    are accumulated together only if their weights, `bytes_per_lane` for each lane, stay in L1.
    """

    def nine_fit(width: int) -> bool:
        return nine_fit_in_registers(width) and 9 * width * bytes_per_lane <= L1_BYTES

    fitting = (w for w in VECTOR_WIDTHS if KH == 1 or round_up(K_row, w) <= row_stride)
    width = choose_width(KH, K_row, fitting, nine_fit)
    offsets = outer_sum(np.arange(KH) * row_stride, np.arange(0, K_row, width))
    return WindowChunks(width, offsets, nine_fit(width))


@specialize(VECTOR_WIDTHS)
def backward_input_sparse(width: int) -> Kernel:
    """Loop order: image, chunks, output, pixel, active filter."""
    nine_fit = nine_fit_in_registers(width)

    def backward_input_sparse(
        dy: Array,  # (N, PH, PW, F)
        argmax: Bytes,  # (N, PH, PW, F)
        image_stride: int,
        origins: Offsets,  # (4 * P,): the four windows of an output follow each other
        chunk_offsets: Offsets,  # (V,) from the origin; the last of a window row may end past it
        weight: Array,  # (KH, KW, C, F)
        dx: Array,  # out (N * image_stride + width,), padded
        panels: Array,  # scratch (V, F, width): the weights, 0 past a window row
        use_nine_rows: bool,  # nine chunks per microtile, not three
    ) -> None:
        """Add the weights of each active pixel to its window.

        ``dx[n, origin + kh·row_stride + q] += dy · weight[kh, q, f]``.
        """
        N, _, _, F = dy.shape
        KH, V = weight.shape[0], chunk_offsets.size
        K_row, J = weight.size // (KH * F), V // KH
        panels[:] = 0
        for j in range(V):
            kh, q = j // J, j % J * width
            count, o = min(width, K_row - q), j * F * width
            transpose_block(weight, (kh * K_row + q) * F, count, F, panels, o, width)
        for n in range(N):
            # Vectors that end past a window row add zeros. Past the image they write into the next
            # one, which is cleared later.
            base = n * image_stride
            dx[base : base + image_stride] = 0
            j = 0
            if nine_fit and use_nine_rows:
                while j + 9 <= V:
                    chunks = row_offsets(NINE_ROWS, 1, j)
                    _scatter_add_rows(
                        dy, argmax, n, dx, base, origins, chunk_offsets, chunks, panels, width
                    )
                    j += 9
            while j < V:
                few_chunks = clamp_rows(j, V, 3)
                _scatter_add_rows(
                    dy, argmax, n, dx, base, origins, chunk_offsets, few_chunks, panels, width
                )
                j += 3

    return backward_input_sparse


@device_function
def _scatter_add_rows(
    dy: Array,
    argmax: Bytes,
    n: int,
    dx: Array,
    base: int,  # offset of image n in dx
    origins: Offsets,
    chunk_offsets: Offsets,
    chunks: Rows,
    panels: Array,
    width: int,
) -> None:
    """Add the active filters of each pixel to MR chunks of its window."""
    _, PH, PW, F = dy.shape
    weights = row_offsets(chunks, F * width, 0)
    for pixel in range(origins.size):
        p = (n * PH * PW + (pixel >> 2)) * F
        rows = gather_offsets(chunk_offsets, chunks, base + load_scalar(origins, pixel))
        acc = load_tile(dx, rows, width, width)
        for first in range(0, F, CHANNELS):
            active = _argmax_bitmask(argmax, p + first, pixel & 3, F - first)
            while active:
                f = first + count_trailing_zeros(active)
                active = clear_lowest_bit(active)
                tile = load_tile(panels, row_offsets(weights, 1, f * width), width, width)
                acc = axpy_tile(acc, load_splat(dy, p + f, width), tile)
        store_tile(dx, rows, acc, width)


@device_function
def _argmax_bitmask(argmax: Bytes, i: int, k: int, remaining: int) -> int:
    """Return a bit for each filter from ``argmax[i]`` on: is pixel k active?"""
    if i + CHANNELS <= argmax.size:
        equal = equals(load(argmax, i, CHANNELS), splat(argmax, k, CHANNELS))
        active = movemask(equal)
    else:  # a vector would read past the array
        active = 0
        for c in range(argmax.size - i):
            active |= int(load_scalar(argmax, i + c) == k) << c
    return active if remaining >= CHANNELS else active & ((1 << remaining) - 1)
