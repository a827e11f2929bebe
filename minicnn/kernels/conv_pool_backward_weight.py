"""The weight gradient through convolution, ReLU and 2×2 max-pooling.

At most one of the four pixels of an output passes a gradient on, and none where the ReLU made the
output 0. A dense kernel multiplies by 0 at least three times in four, and seven times in eight if a
ReLU makes half of the outputs 0. `backward_weight_sparse` lists the active pixels. For windows of
few values, as on gray images, the list takes longer than the multiply-adds it saves;
`backward_weight_dense` masks all pixels instead.

A window is KH rows of K_row = KW·C values. The sparse kernel cuts each row into chunks of one
vector, V in all; their offsets from the window origin are `chunk_offsets`.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import copy
from minicnn.kernels.conv_pool import INACTIVE, window_layout
from minicnn.kernels.conv_pool_chunks import (
    NINE_ROWS,
    VECTOR_WIDTHS,
    choose_width,
    nine_fit_in_registers,
)
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.pack import Offsets, outer_sum, pad_channels, pad_images
from minicnn.kernels.simd import (
    Rows,
    Tile,
    Vector,
    add,
    axpy_tile,
    clamp_rows,
    equals,
    fma_tile,
    gather_offsets,
    load,
    load_scalar,
    load_splat,
    load_tile,
    row_offsets,
    select,
    splat,
    store,
    store_tile,
)
from minicnn.kernels.target import L1_BYTES, NR_SMALL, Kernel, specialize
from minicnn.runtime import arena
from minicnn.shapes import Array
from minicnn.shapes.window import Window

Bytes = NDArray[np.uint8]


# Microtiles of 3×3 weights up to which `backward_weight_dense` is faster: it multiplies all pixels,
# with masks, where `backward_weight_sparse` first lists the active ones.
DENSE_MAX_TILES = 3


def backward_weight(
    x: Array, dy: Array, argmax: Bytes, window: Window, dweight: Array, dbias: Array
) -> None:
    """Compute dweight (KH, KW, C, F) and dbias (F,)."""
    KH, KW, C, F = dweight.shape
    x = pad_images(x, window)
    if -(-KH // 3) * -(-KW * C // 3) <= DENSE_MAX_TILES:
        _backward_weight_dense(x, dy, argmax, window, dweight, dbias)
        return
    image_stride, origins, row_stride, _ = window_layout(x.shape, window)
    width, offsets = _overlapping_chunks(KH, KW * C, row_stride)
    block = dy.shape[2] * _rows_per_block(window, dy.shape[1], row_stride * x.itemsize)
    sums_spec = (F * offsets.size * width,), x.dtype
    list_specs = ((block + 1,), np.dtype(np.int64)), ((block + 1,), x.dtype)
    scratch = arena.allocate((sums_spec, *list_specs))
    rows = dweight.reshape(KH, KW * C, F)
    backward_weight_sparse[width](
        x.reshape(-1), image_stride, origins, offsets, dy, argmax, rows, dbias, *scratch
    )


def _backward_weight_dense(
    x: Array, dy: Array, argmax: Bytes, window: Window, dweight: Array, dbias: Array
) -> None:
    layout, F = window_layout(x.shape, window), len(dbias)
    dy, argmax = pad_channels(dy, NR_SMALL), pad_channels(argmax, NR_SMALL)
    Fp = dy.shape[3]
    if Fp == F:
        backward_weight_dense(x, *layout, dy, argmax, dweight, dbias)
        return
    dweights, dbiases = arena.allocate((((*dweight.shape[:3], Fp), dy.dtype), ((Fp,), dy.dtype)))
    backward_weight_dense(x, *layout, dy, argmax, dweights, dbiases)
    copy.copy_columns(dweights.reshape(-1, Fp), 0, dweight.reshape(-1, F), 0, F)
    copy.copy_columns(dbiases[None], 0, dbias[None], 0, F)


@lru_cache(maxsize=256)
def _overlapping_chunks(KH: int, K_row: int, row_stride: int) -> tuple[int, Offsets]:
    """Cut a window into vectors; the last two of a row may overlap."""
    fitting = (width for width in VECTOR_WIDTHS if width <= K_row)
    width = choose_width(KH, K_row, fitting, nine_fit_in_registers)
    chunks: Offsets = np.minimum(np.arange(0, K_row, width), K_row - width)
    return width, outer_sum(np.arange(KH) * row_stride, chunks)


def _rows_per_block(window: Window, rows: int, row_bytes: int) -> int:
    """Return the rows of outputs whose rows of the image fit in L1."""
    fitting = L1_BYTES // row_bytes - (window.KH - window.SH)  # windows overlap in these rows
    return min(rows, max(1, fitting // (2 * window.SH)))


@specialize(VECTOR_WIDTHS)
def backward_weight_sparse(width: int) -> Kernel:
    """Loop order: image, block of outputs, f, chunks, active output."""
    nine_fit = nine_fit_in_registers(width)

    def backward_weight_sparse(
        x: Array,  # (N * image_stride,), padded
        image_stride: int,
        origins: Offsets,  # (4 * P,): the four windows of an output follow each other
        chunk_offsets: Offsets,  # (V,) from the origin; each chunk lies inside its window row
        dy: Array,  # (N, PH, PW, F)
        argmax: Bytes,  # (N, PH, PW, F)
        dweight: Array,  # out (KH, KW * C, F)
        dbias: Array,  # out (F,)
        sums: Array,  # scratch (F * V * width,): dweight with the filters first
        offsets: Offsets,  # scratch (block + 1,): the list of window origins
        values: Array,  # scratch (block + 1,): and of their gradients
    ) -> None:
        """Compute dweight and dbias over the active outputs.

        ``dweight[kh, q, f] = Σ dy · x[n, origin + kh·row_stride + q]`` runs over the active outputs
        of filter f; the origin is that of the maximum.
        """
        N, PH, PW, F = dy.shape
        P, V, block = PH * PW, chunk_offsets.size, offsets.size - 1
        sums[:] = 0
        _sum_active(dy, argmax, dbias)
        for n in range(N):
            for p in range(0, P, block):  # the rows of the image that a block reads stay in L1
                end = min(P, p + block)
                for f in range(F):
                    active = _list_active(
                        dy, argmax, n, p, end, f, image_stride, origins, offsets, values
                    )
                    j, t = 0, f * V * width
                    if nine_fit:
                        while j + 9 <= V:
                            chunks = row_offsets(NINE_ROWS, 1, j)
                            _accumulate_active(
                                values, offsets, active, x, chunk_offsets, chunks, sums, t, width
                            )
                            j += 9
                    while j < V:
                        few_chunks = clamp_rows(j, V, 3)
                        _accumulate_active(
                            values, offsets, active, x, chunk_offsets, few_chunks, sums, t, width
                        )
                        j += 3
        KH, K_row, _ = dweight.shape
        J = V // KH  # chunks of a window row; the last may overlap the one before
        for kh in range(KH):
            for j in range(J):
                start = min(j * width, K_row - width)
                for f in range(F):
                    s = (f * V + kh * J + j) * width - start
                    for q in range(j * width, start + width):
                        dweight[kh, q, f] = load_scalar(sums, s + q)

    return backward_weight_sparse


@device_function
def _accumulate_active(
    values: Array,
    offsets: Offsets,
    active: int,
    x: Array,
    chunk_offsets: Offsets,
    chunks: Rows,
    sums: Array,
    f_offset: int,
    width: int,
) -> None:
    """Add ``values[i] · x[offsets[i] + chunk]`` to MR chunks of a filter."""
    out = row_offsets(chunks, width, f_offset)
    shifts = gather_offsets(chunk_offsets, chunks, 0)
    acc = load_tile(sums, out, width, width)
    for i in range(active):
        rows = row_offsets(shifts, 1, load_scalar(offsets, i))
        acc = axpy_tile(acc, load_splat(values, i, width), load_tile(x, rows, width, width))
    store_tile(sums, out, acc, width)


@device_function
def _sum_active(dy: Array, argmax: Bytes, dbias: Array) -> None:
    """Compute ``dbias[f] = Σ_{n,p} dy[n, p, f]`` over the active outputs."""
    F = dbias.size
    dbias[:] = 0
    for p in range(0, dy.size, F):
        for f in range(F):
            if load_scalar(argmax, p + f) < INACTIVE:
                dbias[f] += load_scalar(dy, p + f)


@device_function
def _list_active(
    dy: Array,
    argmax: Bytes,
    n: int,
    first: int,
    last: int,
    f: int,
    image_stride: int,
    origins: Offsets,
    offsets: Offsets,
    values: Array,
) -> int:
    """List origin and gradient of the active outputs; return their count."""
    _, PH, PW, F = dy.shape
    active = 0
    i = (n * PH * PW + first) * F + f
    for p in range(first, last):
        k = int(load_scalar(argmax, i))  # a byte would overflow in plain Python
        # Without a branch: every output is written, and an inactive one is overwritten.
        offsets[active] = n * image_stride + load_scalar(origins, 4 * p + (k & 3))
        values[active] = load_scalar(dy, i)
        active += k < INACTIVE
        i += F
    return active


@kernel
def backward_weight_dense(
    x: Array,  # (N, image_stride), padded
    image_stride: int,
    origins: Offsets,  # (4 * P,)
    row_stride: int,
    KH: int,
    dy: Array,  # (N, PH, PW, Fp), the filters padded to a multiple of NR_SMALL
    argmax: Bytes,  # (N, PH, PW, Fp)
    dweight: Array,  # out (KH, KW, C, Fp)
    dbias: Array,  # out (Fp,)
) -> None:
    """Compute dweight and dbias over all four pixels of each output.

    dy is masked to the filters whose maximum is the pixel. Loop order: n, f, kh, q, p. A microtile
    is 3×3 weights and one vector of filters.
    """
    N, PH, PW, F = dy.shape
    P, K_row = PH * PW, dweight.size // (KH * F)
    dweight[:] = 0
    dbias[:] = 0
    zero = splat(dy, 0, NR_SMALL)
    for n in range(N):
        for f in range(0, F, NR_SMALL):
            total = load(dbias, f, NR_SMALL)
            for p in range(P):
                i = (n * P + p) * F + f
                inactive = equals(load(argmax, i, NR_SMALL), splat(argmax, INACTIVE, NR_SMALL))
                total = add(total, select(inactive, zero, load(dy, i, NR_SMALL)))
            store(dbias, f, total)
            for kh in range(0, KH, 3):
                kh0, kh1, kh2 = clamp_rows(kh, KH, 3)
                for q in range(0, K_row, 3):
                    columns = clamp_rows(q, K_row, 3)
                    out0 = row_offsets(columns, F, kh0 * K_row * F + f)
                    out1 = row_offsets(columns, F, kh1 * K_row * F + f)
                    out2 = row_offsets(columns, F, kh2 * K_row * F + f)
                    tiles = (
                        load_tile(dweight, out0, NR_SMALL, NR_SMALL),
                        load_tile(dweight, out1, NR_SMALL, NR_SMALL),
                        load_tile(dweight, out2, NR_SMALL, NR_SMALL),
                    )
                    windows = (
                        row_offsets(columns, 1, n * image_stride + kh0 * row_stride),
                        row_offsets(columns, 1, n * image_stride + kh1 * row_stride),
                        row_offsets(columns, 1, n * image_stride + kh2 * row_stride),
                    )
                    for p in range(P):
                        i = (n * P + p) * F + f
                        g, position = load(dy, i, NR_SMALL), load(argmax, i, NR_SMALL)
                        k0, k1, k2, k3 = gather_offsets(origins, clamp_rows(4 * p, 4 * P, 4), 0)
                        g0 = select(equals(position, splat(argmax, 0, NR_SMALL)), g, zero)
                        g1 = select(equals(position, splat(argmax, 1, NR_SMALL)), g, zero)
                        g2 = select(equals(position, splat(argmax, 2, NR_SMALL)), g, zero)
                        g3 = select(equals(position, splat(argmax, 3, NR_SMALL)), g, zero)
                        tiles = _fma_square(tiles, x, windows, k0, g0)
                        tiles = _fma_square(tiles, x, windows, k1, g1)
                        tiles = _fma_square(tiles, x, windows, k2, g2)
                        tiles = _fma_square(tiles, x, windows, k3, g3)
                    store_tile(dweight, out0, tiles[0], NR_SMALL)
                    store_tile(dweight, out1, tiles[1], NR_SMALL)
                    store_tile(dweight, out2, tiles[2], NR_SMALL)


@device_function
def _fma_square(
    tiles: tuple[Tile, Tile, Tile], x: Array, windows: tuple[Rows, Rows, Rows], k: int, v: Vector
) -> tuple[Tile, Tile, Tile]:
    """Return `fma_tile` of three rows of a window."""
    return (
        fma_tile(tiles[0], x, windows[0], k, v),
        fma_tile(tiles[1], x, windows[1], k, v),
        fma_tile(tiles[2], x, windows[2], k, v),
    )
