"""The gradients through convolution, ReLU and 2×2 max-pooling.

An output here is a pooled one, the maximum of four pixels. A pixel is active for a filter if it
passes the gradient of its output on: at most one of the four is, the argmax, and none where the
ReLU made the output 0. A dense kernel multiplies by 0 at least three times in four, and seven times
in eight if a ReLU makes half of the outputs 0. The sparse kernels visit the active pixels only. For
windows of few values, such as 3×3 pixels of gray or RGB images, the list of active pixels takes
longer than the multiply-adds it saves; `backward_weight_dense_kernel` masks all pixels instead.

A window is KH rows of K_row = KW·C values. The sparse kernels cut each row into chunks of one
vector, V in all; their offsets from the window origin are `chunk_offsets`. Nine or three chunks are
accumulated together, which are one microtile.

The file is no `Backend` of `ops.conv2d`, although two functions have the same names: they take the
argmax too, the kernel of dweight also sums dbias, and `backward_input` allocates dx.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from minicnn.kernels import copy
from minicnn.kernels.conv_pool import INACTIVE, Bytes, pool_origins
from minicnn.kernels.copy import transpose_block
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.pack import (
    Offsets,
    grid_offsets,
    outer_sum,
    pad_channels,
    pad_images,
    padded_shape,
    round_up,
)
from minicnn.kernels.simd import (
    Rows,
    add,
    axpy_tile,
    clamp_rows,
    clear_lowest_bit,
    count_trailing_zeros,
    equals,
    fma_tile,
    gather_offsets,
    load,
    load_scalar,
    load_splat,
    load_tail,
    load_tile,
    movemask,
    row_offsets,
    select,
    splat,
    store_tail,
    store_tile,
)
from minicnn.kernels.target import (
    ACCUMULATOR_REGISTERS,
    L1_BYTES,
    NR_SMALL,
    SIMD_WIDTH,
    Kernel,
    specialize,
)
from minicnn.runtime import arena
from minicnn.shapes import Array, Shape
from minicnn.shapes.window import Window

Active = tuple[int, Offsets, Array]  # count, window origins and gradients of active pixels

VECTOR_WIDTHS = (1, 2, 4, 8, 16, 32)
CHANNELS = 64  # per bit mask: the bits of an integer
# 3×3 blocks of a window's KH rows of KW·C values up to which `backward_weight_dense_kernel` is
# faster: it multiplies all pixels, with masks, where `backward_weight_sparse_kernel` first lists
# the active ones. 3×3 windows of gray images have one block, of RGB images three; 5×5 windows of
# gray images have four and are sparse.
DENSE_MAX_BLOCKS = 3


def backward_weight(
    x: Array, dy: Array, argmax: Bytes, window: Window, dweight: Array, dbias: Array
) -> None:
    """Compute dweight (KH, KW, C, F) and dbias (F,)."""
    KH, KW, C, F = dweight.shape
    x = pad_images(x, window)
    row_stride = x.shape[2] * C
    origins = pool_origins(window, row_stride, C)
    if -(-KH // 3) * -(-KW * C // 3) <= DENSE_MAX_BLOCKS:
        taps = grid_offsets(KH, KW * C, row_stride, 1)
        dy, argmax = pad_channels(dy, NR_SMALL), pad_channels(argmax, NR_SMALL)
        backward_weight_dense_kernel(x, origins, taps, dy, argmax, dweight.reshape(-1, F), dbias)
        return
    width, chunks = _overlapping_chunks(KH, KW * C, row_stride)
    block = dy.shape[2] * _rows_per_block(window, dy.shape[1], row_stride * x.itemsize)
    sums = arena.empty((F, chunks.size, width), x.dtype)
    lists = arena.empty((block + 1,), np.int64), arena.empty((block + 1,), x.dtype)
    rows = dweight.reshape(KH, KW * C, F)
    backward_weight_sparse_kernel[width](x, origins, chunks, dy, argmax, rows, dbias, sums, *lists)


def backward_input(dy: Array, argmax: Bytes, weight: Array, window: Window, shape: Shape) -> Array:
    """Return dx, of the given shape (N, H, W, C).

    It lies in a longer array, because the last vector of the last image may end past it: so it is
    made here, and copied only if there is padding to be cut off.
    """
    KH, KW, C, F = weight.shape
    padded = padded_shape(shape, window)
    N, H, W, _ = padded or shape
    width, chunk_offsets, use_nine_rows = _padded_chunks(KH, KW * C, W * C, F * dy.itemsize)
    dpadded, panels = arena.allocate(
        (((N * H * W * C + width,), dy.dtype), ((chunk_offsets.size, F, width), dy.dtype))
    )
    origins, weight = pool_origins(window, W * C, C), np.ascontiguousarray(weight)
    backward_input_kernel[width](
        dy, argmax, origins, chunk_offsets, weight, dpadded, panels, use_nine_rows
    )
    if padded is None:
        return dpadded[:-width].reshape(shape)
    dx: Array = arena.empty(shape, dy.dtype)
    copy.pad_or_crop(dpadded[:-width].reshape(padded), -window.top, -window.left, dx)
    return dx


# ---------------------------------------------------------------- chunks


@lru_cache(maxsize=256)
def _overlapping_chunks(KH: int, K_row: int, row_stride: int) -> tuple[int, Offsets]:
    """Return lanes and offsets of chunks; the last two of a row may overlap."""
    fitting = (width for width in VECTOR_WIDTHS if width <= K_row)
    width = choose_width(KH, K_row, fitting, nine_fit_in_registers)
    chunks: Offsets = np.minimum(np.arange(0, K_row, width), K_row - width)
    return width, outer_sum(np.arange(KH) * row_stride, chunks)


@lru_cache(maxsize=256)
def _padded_chunks(
    KH: int, K_row: int, row_stride: int, lane_bytes: int
) -> tuple[int, Offsets, bool]:
    """Cut a window into vectors without overlap.

    The last of a row may end past it, but does not reach the next row of the window. The result is
    lanes, offsets, and whether nine vectors are accumulated together: only if their weights,
    `lane_bytes` per lane, stay in L1.
    """

    def nine_fit(width: int) -> bool:
        return nine_fit_in_registers(width) and 9 * width * lane_bytes <= L1_BYTES

    fitting = (w for w in VECTOR_WIDTHS if KH == 1 or round_up(K_row, w) <= row_stride)
    width = choose_width(KH, K_row, fitting, nine_fit)
    offsets = outer_sum(np.arange(KH) * row_stride, np.arange(0, K_row, width))
    return width, offsets, nine_fit(width)


def choose_width(
    KH: int, K_row: int, fitting: Iterable[int], nine_fit: Callable[[int], bool]
) -> int:
    """Return the width with the fewest accumulator registers.

    If several have, return the one with the fewest microtiles, which each read all gradients, then
    the largest. `nine_fit` returns whether a microtile of a width may have nine chunks.
    """

    def cost(width: int) -> tuple[int, int, int]:
        chunks = KH * -(-K_row // width)
        nines = chunks // 9 if nine_fit(width) else 0
        threes = -(-(chunks - 9 * nines) // 3)
        registers = (9 * nines + 3 * threes) * -(-width // SIMD_WIDTH)
        return registers, nines + threes, -width

    return min(fitting, key=cost)


def nine_fit_in_registers(width: int) -> bool:
    """Return whether nine accumulators of a width fit in the registers."""
    return 9 * -(-width // SIMD_WIDTH) <= ACCUMULATOR_REGISTERS


def _rows_per_block(window: Window, rows: int, row_bytes: int) -> int:
    """Return the number of output rows whose rows of the image fit in L1."""
    fitting = L1_BYTES // row_bytes - (window.KH - window.SH)  # windows overlap in these rows
    return min(rows, max(1, fitting // (2 * window.SH)))


# ---------------------------------------------------------------- weight gradient


@specialize(VECTOR_WIDTHS)
def backward_weight_sparse_kernel(width: int) -> Kernel:
    """Loop order: image, block of outputs, f, chunks, active pixel."""
    nine_fit = nine_fit_in_registers(width)

    def conv_pool_backward_weight_sparse(
        x: Array,  # (N, H, W, C), padded
        origins: Offsets,  # (4 * P,): the four windows of an output follow each other
        chunk_offsets: Offsets,  # (V,) from the origin; each chunk lies inside its window row
        dy: Array,  # (N, PH, PW, F)
        argmax: Bytes,  # (N, PH, PW, F)
        dweight: Array,  # out (KH, KW * C, F)
        dbias: Array,  # out (F,)
        sums: Array,  # scratch (F, V, width): dweight with the filters first
        offsets: Offsets,  # scratch (block + 1,): the list of window origins
        values: Array,  # scratch (block + 1,): and of their gradients
    ) -> None:
        """Compute dweight and dbias over the active pixels.

        ``dweight[kh, q, f] = Σ dy · x[n, origin + kh·row_stride + q]`` runs over the active pixels
        of filter f; dy is that of their output.
        """
        N, PH, PW, F = dy.shape
        P, V, block = PH * PW, chunk_offsets.size, offsets.size - 1
        image_stride = x.size // N
        sums[:] = 0
        dbias[:] = 0
        for n in range(N):
            for f in range(0, F, NR_SMALL):
                _sum_active(dy, argmax, n, f, dbias)
            for first in range(0, P, block):  # the rows of the image that a block reads stay in L1
                for f in range(F):
                    active, i = 0, (n * P + first) * F + f
                    for p in range(first, min(P, first + block)):
                        # Not a byte: in plain Python 4 * p plus a byte would overflow from 256 on.
                        position = int(load_scalar(argmax, i))
                        # No branch: every output writes a pixel; if that is inactive, the next
                        # output overwrites it. INACTIVE & 3 is 0, a position inside the array.
                        origin = load_scalar(origins, 4 * p + (position & 3))
                        offsets[active] = n * image_stride + origin
                        values[active] = load_scalar(dy, i)
                        active += position < INACTIVE
                        i += F
                    pixels, j = (active, offsets, values), 0
                    if nine_fit:
                        while j + 9 <= V:
                            nine = clamp_rows(j, V, 9)
                            _accumulate_active(pixels, x, chunk_offsets, nine, sums, f, width)
                            j += 9
                    while j < V:
                        three = clamp_rows(j, V, 3)
                        _accumulate_active(pixels, x, chunk_offsets, three, sums, f, width)
                        j += 3
        KH, K_row, _ = dweight.shape
        for v in range(V):
            kh, j = divmod(v, V // KH)
            q = min(j * width, K_row - width)  # the last chunk of a row may overlap the one before
            for lane in range(width):
                for f in range(F):
                    dweight[kh, q + lane, f] = sums[f, v, lane]

    return conv_pool_backward_weight_sparse


@device_function
def _accumulate_active(
    pixels: Active, x: Array, chunk_offsets: Offsets, chunks: Rows, sums: Array, f: int, width: int
) -> None:
    """Add ``values[i] · x[offsets[i] + chunk]`` to the chunks of filter f."""
    active, offsets, values = pixels
    out = row_offsets(chunks, width, f * chunk_offsets.size * width)
    shifts = gather_offsets(chunk_offsets, chunks, 0)
    acc = load_tile(sums, out, width, width)
    for i in range(active):
        rows = row_offsets(shifts, 1, load_scalar(offsets, i))
        acc = axpy_tile(acc, load_splat(values, i, width), load_tile(x, rows, width, width))
    store_tile(sums, out, acc, width)


@device_function
def _sum_active(dy: Array, argmax: Bytes, n: int, f: int, dbias: Array) -> None:
    """Add ``Σ_p dy[n, p, f]`` over outputs with an active pixel to dbias."""
    _, PH, PW, stride = dy.shape
    i, remaining = n * PH * PW * stride + f, dbias.size - f
    zero, inactive = splat(dy, 0, NR_SMALL), splat(argmax, INACTIVE, NR_SMALL)
    total = load_tail(dbias, f, remaining, NR_SMALL)
    for _ in range(PH * PW):
        mask = equals(load_tail(argmax, i, remaining, NR_SMALL), inactive)
        total = add(total, select(mask, zero, load_tail(dy, i, remaining, NR_SMALL)))
        i += stride
    store_tail(dbias, f, total, remaining)


@kernel
def backward_weight_dense_kernel(
    x: Array,  # (N, H, W, C), padded
    origins: Offsets,  # (4 * P,): the four windows of an output follow each other
    taps: Offsets,  # (KH * KW * C,) offset of each value of a window
    dy: Array,  # (N, PH, PW, Fp), the filters padded to a multiple of NR_SMALL
    argmax: Bytes,  # (N, PH, PW, Fp)
    dweight: Array,  # out (KH * KW * C, F)
    dbias: Array,  # out (F,)
) -> None:
    """Compute dweight and dbias over all four pixels of each output.

    dy is masked to the filters whose maximum is the pixel. Loop order: n, f, k, p. A microtile is
    nine weights and one vector of filters.
    """
    N, PH, PW, Fp = dy.shape
    P = PH * PW
    K, F = dweight.shape
    dweight[:] = 0
    dbias[:] = 0
    zero = splat(dy, 0, NR_SMALL)
    for n in range(N):
        for f in range(0, F, NR_SMALL):
            for k in range(0, K, 9):
                nine = clamp_rows(k, K, 9)
                out = row_offsets(nine, F, f)
                tap_rows = gather_offsets(taps, nine, n * (x.size // N))
                acc = load_tile(dweight, out, F - f, NR_SMALL)
                i = n * P * Fp + f
                for p in range(P):
                    g, position = load(dy, i, NR_SMALL), load(argmax, i, NR_SMALL)
                    o0, o1, o2, o3 = gather_offsets(origins, clamp_rows(4 * p, 4 * P, 4), 0)
                    # Not a loop over the four: LLVM's code for it is a sixth slower on AVX2.
                    g0 = select(equals(position, splat(argmax, 0, NR_SMALL)), g, zero)
                    g1 = select(equals(position, splat(argmax, 1, NR_SMALL)), g, zero)
                    g2 = select(equals(position, splat(argmax, 2, NR_SMALL)), g, zero)
                    g3 = select(equals(position, splat(argmax, 3, NR_SMALL)), g, zero)
                    acc = fma_tile(acc, x, tap_rows, o0, g0)
                    acc = fma_tile(acc, x, tap_rows, o1, g1)
                    acc = fma_tile(acc, x, tap_rows, o2, g2)
                    acc = fma_tile(acc, x, tap_rows, o3, g3)
                    i += Fp
                store_tile(dweight, out, acc, F - f)
            _sum_active(dy, argmax, n, f, dbias)


# ---------------------------------------------------------------- input gradient


@specialize(VECTOR_WIDTHS)
def backward_input_kernel(width: int) -> Kernel:
    """Loop order: image, chunks, output, pixel, active filter."""
    nine_fit = nine_fit_in_registers(width)

    def conv_pool_backward_input(
        dy: Array,  # (N, PH, PW, F)
        argmax: Bytes,  # (N, PH, PW, F)
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
        N, F = dy.shape[0], dy.shape[3]
        KH, V = weight.shape[0], chunk_offsets.size
        K_row = weight.size // (KH * F)
        image_stride = (dx.size - width) // N
        panels[:] = 0
        for v in range(V):
            kh, j = divmod(v, V // KH)
            q = j * width
            count, o = min(width, K_row - q), v * F * width
            transpose_block(weight, (kh * K_row + q) * F, count, F, panels, o, width)
        for n in range(N):
            # Vectors that end past a window row add zeros. Past the image they write into the next
            # one, which is cleared later.
            base = n * image_stride
            dx[base : base + image_stride] = 0
            j = 0
            if nine_fit and use_nine_rows:
                while j + 9 <= V:
                    nine = clamp_rows(j, V, 9)
                    _scatter_add(dy, argmax, n, dx, origins, chunk_offsets, nine, panels, width)
                    j += 9
            while j < V:
                three = clamp_rows(j, V, 3)
                _scatter_add(dy, argmax, n, dx, origins, chunk_offsets, three, panels, width)
                j += 3

    return conv_pool_backward_input


@device_function
def _scatter_add(
    dy: Array,
    argmax: Bytes,
    n: int,
    dx: Array,
    origins: Offsets,
    chunk_offsets: Offsets,
    chunks: Rows,
    panels: Array,
    width: int,
) -> None:
    """Add the active filters of each pixel to these chunks of its window."""
    N, PH, PW, F = dy.shape
    base = (dx.size - width) // N * n
    weights = row_offsets(chunks, F * width, 0)
    for pixel in range(origins.size):  # 4 · output + position
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
def _argmax_bitmask(argmax: Bytes, i: int, position: int, remaining: int) -> int:
    """Return a bit for each filter from ``argmax[i]`` on: is it `position`?"""
    v = load_tail(argmax, i, argmax.size - i, CHANNELS)  # a whole one could end past the array
    active = movemask(equals(v, splat(argmax, position, CHANNELS)))
    return active if remaining >= CHANNELS else active & ((1 << remaining) - 1)
