"""Direct convolution in NHWC.

An implicit GEMM whose accumulators stay in registers. For output pixel p and filter f::

    y[n, p, f] = bias[f] + Σ_{kh,q} x[n, origin[p] + kh·row_stride + q] · weight[kh, q, f]

q runs over the KW·C contiguous values of one window row. Stride and padding are hidden in the
window origins and in the padded copy of the image, so the inner loops know neither.

Blocking, in the terms of BLIS and XNNPACK:

- microtile: MR pixels x NR filters of y, held in MR vectors of NR lanes;
- panel: the weights of NR filters, packed as ``(1 + KH * KW * C, NR)`` with the bias first, so that
  the microkernel reads them with stride 1;
- edges: the last microtile repeats its last pixel, which stores the same value twice; the last
  panel is padded with zeros and stored with a mask.

The file reads top down: the backend interface that `minicnn.ops.conv` calls, then the kernels.
"""

import numpy as np

from minicnn.kernels import copy, im2col
from minicnn.kernels.copy import rotate180_swap_channels
from minicnn.kernels.gemm import MR, accumulate
from minicnn.kernels.jit import kernel
from minicnn.kernels.pack import (
    Offsets,
    empty_panels,
    grid_offsets,
    outer_sum,
    pack_weights,
    pad_channels,
    pad_images,
    round_up,
)
from minicnn.kernels.simd import (
    axpy_tile,
    clamp_rows,
    gather_offsets,
    load,
    load_splat,
    load_tile,
    row_offsets,
    splat_tile,
    store_tile,
)
from minicnn.kernels.target import NR_CHOICES, NR_SMALL, SIMD_WIDTH, Kernel, choose_nr, specialize
from minicnn.runtime import arena
from minicnn.shapes import Array
from minicnn.shapes.window import Window

# L1 bytes for a block of pixels while its weight gradient is summed: all channels of dy, and one or
# two cache lines of x per pixel.
BLOCK_BYTES = 32 * 1024
X_VALUES_PER_PIXEL = 32
MIN_BLOCK_PIXELS = 16  # below this, loading and storing the accumulators dominates
# Two FMAs start per cycle and each takes four cycles, so eight must be in flight. MR vectors of one
# register are too few. With twelve, the offsets of the pixels exceed the general registers of x86,
# which takes 1.9 times as long.
MR_NARROW = 10


# ---------------------------------------------------------------- backend interface


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, F).

    At stride 1 that is the input gradient of the transposed convolution, so with few filters col2im
    is faster here too.
    """
    _, H, W, C = x.shape
    F = weight.shape[3]
    weight, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    transposed = _transpose_window(window, H, W)
    possible = window.SH * window.SW == 1 and min(transposed.top, transposed.left) >= 0
    if possible and col2im_is_faster(transposed, window.OH * window.OW, F, C):
        im2col.backward_input(x, _transpose_weight(weight), transposed, y)
        add_bias(bias, y.reshape(-1, F))
        return
    x = pad_images(x, window)
    row_stride = x.shape[2] * C
    origins = grid_offsets(window.OH, window.OW, window.SH * row_stride, window.SW * C)
    forward_kernel[choose_nr(F)](x, origins, weight, bias, empty_panels(weight), y)


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight (KH, KW, C, F)."""
    x = pad_images(x, window)
    KH, KW, C, F = dweight.shape
    if _prefers_row_vectors(KH, KW * C, F):
        _backward_weight_few_filters(x, dy, window, dweight)
        return
    N, NR = len(x), choose_nr(F)
    taps = grid_offsets(KH, KW * C, x[0, 0].size, 1)
    copy.fill_zero(dweight.reshape(-1))
    # Vectors may read past the last channel of a pixel. At the end of dy that would be past the
    # array, so the last images take a copy with padded channels. One of the two calls may get no
    # images.
    copied = 0 if F % NR == 0 else min(N, -(-NR // dy[0].size))
    backward_weight_kernel[NR](x[: N - copied], window, taps, dy, dweight)
    last = pad_channels(dy[N - copied :], NR)
    backward_weight_kernel[NR](x[N - copied :], window, taps, last, dweight)


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C).

    dy is convolved with the kernel rotated by 180°, unless col2im is faster. dy takes KH - 1 - top
    rows of zeros before it. If that is negative, its first rows have no pixel of the image in their
    windows and are cut off. Columns likewise.
    """
    _, H, W, C = dx.shape
    if col2im_is_faster(window, H * W, C, dy.shape[3]):
        im2col.backward_input(dy, weight, window, dx)
        return
    zeros = arena.constant_zeros(C, dy.dtype)
    forward(dy, _transpose_weight(weight), zeros, _transpose_window(window, H, W), dx)


def col2im_is_faster(window: Window, pixels: int, C: int, F: int) -> bool:
    """Return whether `im2col.backward_input` is the faster way to dx.

    Parameters
    ----------
    window : Window
    pixels : int
        H · W of the input.
    C, F : int
        Input and output channels.
    """
    # At a stride above 1 the direct way multiplies the zeros between the pixels of dy. At stride 1
    # it wastes the lanes that C leaves empty; col2im adds each product in memory instead.
    additions = window.OH * window.OW * C * (F + NR_SMALL)
    return window.SH * window.SW > 1 or additions < pixels * round_up(C, NR_SMALL) * F


def _transpose_window(window: Window, H: int, W: int) -> Window:
    """Return the window of the transposed convolution, at stride 1."""
    KH, KW, _, _, top, left, _, _ = window
    return Window(KH, KW, 1, 1, KH - 1 - top, KW - 1 - left, H, W)


def _transpose_weight(weight: Array) -> Array:
    """Return the weights of the transposed convolution: (KH, KW, F, C)."""
    KH, KW, C, F = weight.shape
    rotated: Array = arena.empty((KH, KW, F, C), weight.dtype)
    rotate180_swap_channels(np.ascontiguousarray(weight), rotated)
    return rotated


def _prefers_row_vectors(KH: int, K_row: int, F: int) -> bool:
    """Return whether vectors along window rows are possible and fewer."""
    vectors = F * round_up(KH * -(-K_row // NR_SMALL), MR)
    return F < NR_SMALL <= K_row and vectors < round_up(KH * K_row, MR)


def _backward_weight_few_filters(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight with vectors along window rows, because F is small."""
    KH, KW, C, F = dweight.shape
    K_row = KW * C
    chunks = np.minimum(np.arange(0, K_row, NR_SMALL), K_row - NR_SMALL)  # the last may overlap
    offsets = outer_sum(np.arange(KH) * x[0, 0].size, chunks)
    sums = arena.empty((F, len(offsets), NR_SMALL), x.dtype)
    rows = dweight.reshape(KH, K_row, F)
    backward_weight_few_filters_kernel(x, window, offsets, dy, sums, rows)


# ---------------------------------------------------------------- kernels


@specialize(NR_CHOICES)
def forward_kernel(NR: int) -> Kernel:
    """Loop order: image, panel, microtile, window row, k."""
    rows = MR_NARROW if NR <= SIMD_WIDTH else MR

    def conv_direct_forward(
        x: Array,  # (N, H, W, C), padded
        origins: Offsets,  # (OH * OW,) first value of each window
        weight: Array,  # (KH, KW, C, F)
        bias: Array,  # (F,)
        panels: Array,  # scratch (ceil(F / NR), 1 + KH * KW * C, NR); one panel stays in L1
        y: Array,  # out (N, OH, OW, F)
    ) -> None:
        """Compute the formula at the top of this file."""
        pack_weights(weight, bias, panels, NR)
        _, H, W, C = x.shape
        KH, KW, _, F = weight.shape
        K_row, row_stride = KW * C, W * C  # values of a row of the window, and of the image
        N, P, panel_rows = len(y), origins.size, panels.shape[1]
        for n in range(N):
            base = n * H * row_stride
            for f in range(0, F, NR):
                panel = f * panel_rows
                bias_tile = splat_tile(load(panels, panel, NR), rows)
                for p in range(0, P, rows):
                    pixels, acc = clamp_rows(p, P, rows), bias_tile
                    for kh in range(KH):
                        window_rows = gather_offsets(origins, pixels, base + kh * row_stride)
                        w = panel + (1 + kh * K_row) * NR
                        acc = accumulate(acc, x, window_rows, K_row, 1, panels, w, NR, NR)
                    store_tile(y, row_offsets(pixels, F, n * P * F + f), acc, F - f)

    return conv_direct_forward


@specialize(NR_CHOICES)
def backward_weight_kernel(NR: int) -> Kernel:
    """Loop order: image, block of pixels, k, f, pixel."""

    def conv_direct_backward_weight(
        x: Array,  # (N, H, W, C), padded
        window: Window,
        taps: Offsets,  # (KH * KW * C,) offset of each value of a window
        dy: Array,  # (N or more, OH, OW, F or more): a vector may end past a pixel of image N - 1
        dweight: Array,  # (KH, KW, C, F), accumulated
    ) -> None:
        """Add ``dweight[k, f] += Σ x[n, origin[p] + taps[k]] · dy[n, p, f]``."""
        _, _, SH, SW, _, _, OH, OW = window
        N, H, W, C = x.shape
        h_stride, w_stride = SH * W * C, SW * C  # values between window origins
        K, P, F, dy_stride = taps.size, OH * OW, dweight.shape[3], dy.shape[3]
        if h_stride == OW * w_stride:  # rows follow each other without a gap: treat them as one
            OH, OW = 1, P
        # The x and dy of a block of pixels stay in L1: several rows, or a part of one.
        block = max(MIN_BLOCK_PIXELS, BLOCK_BYTES // (x.itemsize * (F + X_VALUES_PER_PIXEL)))
        block_h, block_w = max(1, block // OW), min(block, OW)
        for n in range(N):
            for oh in range(0, OH, block_h):
                for ow in range(0, OW, block_w):
                    origin = n * H * W * C + oh * h_stride + ow * w_stride
                    g = (n * P + oh * OW + ow) * dy_stride
                    height, width = min(block_h, OH - oh), min(block_w, OW - ow)
                    for k in range(0, K, MR):
                        # The last microtile repeats its last tap. The tile is loaded before any row
                        # is stored, so equal rows start equal and store the same sum, not twice it.
                        rows = clamp_rows(k, K, MR)
                        for f in range(0, F, NR):
                            out = row_offsets(rows, F, f)
                            acc = load_tile(dweight, out, F - f, NR)
                            for h in range(height):
                                tap_rows = gather_offsets(taps, rows, origin + h * h_stride)
                                v = g + h * OW * dy_stride + f
                                acc = accumulate(
                                    acc, x, tap_rows, width, w_stride, dy, v, dy_stride, NR
                                )
                            store_tile(dweight, out, acc, F - f)

    return conv_direct_backward_weight


@kernel
def backward_weight_few_filters_kernel(
    x: Array,  # (N, H, W, C), padded
    window: Window,
    offsets: Offsets,  # (V,) offset of each vector inside a window
    dy: Array,  # (N, OH, OW, F)
    sums: Array,  # scratch (F, V, NR_SMALL)
    dweight: Array,  # out (KH, KW * C, F)
) -> None:
    """Compute dweight with vectors along window rows.

    ``Σ dy[n, p, f] · x[n, origin[p] + offsets[v] + lane]``. Loop order: n, f, v, oh, ow.
    """
    _, H, W, C = x.shape
    N, OH, OW, F = dy.shape
    V = len(offsets)
    sums[:] = 0
    for n in range(N):
        for f in range(F):
            for v in range(0, V, MR):
                rows = clamp_rows(v, V, MR)
                out = row_offsets(rows, NR_SMALL, f * V * NR_SMALL)
                acc = load_tile(sums, out, NR_SMALL, NR_SMALL)
                vectors = gather_offsets(offsets, rows, 0)
                g = n * OH * OW * F + f
                for oh in range(OH):
                    i = (n * H + oh * window.SH) * W * C
                    for _ in range(OW):
                        tile = load_tile(x, row_offsets(vectors, 1, i), NR_SMALL, NR_SMALL)
                        acc = axpy_tile(acc, load_splat(dy, g, NR_SMALL), tile)
                        i += window.SW * C
                        g += F
                store_tile(sums, out, acc, NR_SMALL)
    KH, K_row, _ = dweight.shape
    chunks = V // KH  # vectors of a window row; the last one overlaps the one before
    for kh in range(KH):
        for j in range(chunks):
            q = min(j * NR_SMALL, K_row - NR_SMALL)
            for lane in range(NR_SMALL):
                for f in range(F):
                    dweight[kh, q + lane, f] = sums[f, kh * chunks + j, lane]


@kernel
def add_bias(bias: Array, y: Array) -> None:
    """Add ``bias[f]`` to ``y[p, f]``."""
    P, F = y.shape
    for p in range(P):
        for f in range(F):
            y[p, f] += bias[f]
