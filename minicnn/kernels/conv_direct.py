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
from numpy.typing import NDArray

from minicnn.kernels import conv_col2im, copy
from minicnn.kernels.copy import pad_image
from minicnn.kernels.gemm import MR, accumulate
from minicnn.kernels.jit import kernel
from minicnn.kernels.pack import (
    outer_sum,
    pack_weights,
    pad_channels,
    pad_images,
    padded_shape,
    panels_spec,
    round_up,
    window_origins,
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
from minicnn.kernels.transpose import rotate180_swap_channels
from minicnn.runtime import arena
from minicnn.shapes import Array
from minicnn.shapes.window import Window

Offsets = NDArray[np.int64]

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
    """Compute y (N, OH, OW, F)."""
    _, H, W, C = x.shape
    KH, KW, _, F = weight.shape
    if conv_col2im.forward_is_faster(window, H, W, C, F):
        conv_col2im.forward(x, weight, bias, window, y)
        return
    shape = padded_shape(x.shape, window)
    row_stride = (W if shape is None else shape[2]) * C
    padded_size = 0 if shape is None else shape[1] * row_stride
    padded, panels = arena.allocate(
        (((padded_size,), x.dtype), panels_spec(KH * KW * C, F, x.dtype))
    )
    forward_kernel[choose_nr(F)](
        np.ascontiguousarray(x).reshape(-1),
        (H, W * C, window.top, window.left * C),
        padded,
        row_stride,
        window_origins(window.OH, window.OW, window.SH * row_stride, window.SW * C),
        KH,
        np.ascontiguousarray(weight),
        np.ascontiguousarray(bias),
        panels,
        y,
    )


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight (KH, KW, C, F)."""
    x = pad_images(x, window)
    KH, KW, SH, SW, _, _, OH, OW = window
    N, C, F = len(x), x.shape[3], dy.shape[3]
    row_stride = x[0, 0].size
    if _prefers_row_vectors(KH, KW * C, F):
        _backward_weight_few_filters(x, dy, window, dweight)
        return
    h_stride, w_stride = SH * row_stride, SW * C
    if h_stride == OW * w_stride:  # rows follow each other without a gap: treat them as one
        OH, OW = 1, OH * OW
    NR = choose_nr(F)
    block = max(MIN_BLOCK_PIXELS, BLOCK_BYTES // (x.itemsize * (F + X_VALUES_PER_PIXEL)))
    copy.fill_zero(dweight.reshape(-1))
    # Vectors may read past the last channel of a pixel. At the end of dy that would be past the
    # array, so the last images take a copy with padded channels.
    tail = 0 if F % NR == 0 else min(N, -(-NR // (OH * OW * F)))
    for images, gradients in (
        (x[: N - tail], dy),
        (x[N - tail :], pad_channels(dy[N - tail :], NR)),
    ):
        backward_weight_kernel[NR](
            images,
            x[0].size,
            window_origins(KH, KW * C, row_stride, 1),
            OH,
            h_stride,
            OW,
            w_stride,
            block,
            gradients.reshape(len(gradients), OH * OW, gradients.shape[3]),
            dweight.reshape(-1, F),
        )


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C).

    dy is convolved with the kernel rotated by 180°, unless col2im is faster. dy takes KH - 1 - top
    rows of zeros before it. If that is negative, its first rows have no pixel of the image in their
    windows and are cut off. Columns likewise.
    """
    KH, KW, C, F = weight.shape
    N, H, W, _ = dx.shape
    if conv_col2im.is_faster(window, H * W, C, F):
        conv_col2im.backward_input(dy, weight, window, dx)
        return
    rotated = arena.empty((KH, KW, F, C), dy.dtype)
    rotate180_swap_channels(np.ascontiguousarray(weight), rotated)
    top, left = KH - 1 - window.top, KW - 1 - window.left
    if min(top, left) < 0:
        cut_top, cut_left = max(0, -top), max(0, -left)
        whole = dy
        dy = arena.empty((N, window.OH - cut_top, window.OW - cut_left, F), dy.dtype)
        copy.crop_images(whole, cut_top, cut_left, dy)
    transposed = Window(KH, KW, 1, 1, max(0, top), max(0, left), H, W)
    forward(dy, rotated, arena.constant_zeros(C, dy.dtype), transposed, dx)


def _prefers_row_vectors(KH: int, K_row: int, F: int) -> bool:
    """Return whether dweight takes fewer vectors along window rows."""
    vectors = F * round_up(KH * -(-K_row // NR_SMALL), MR)
    return F < NR_SMALL <= K_row and vectors < round_up(KH * K_row, MR)


def _backward_weight_few_filters(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight where F is below the lanes of a vector."""
    KH, KW, SH, SW, _, _, OH, OW = window
    N, row_stride, C, F = len(x), x[0, 0].size, x.shape[3], dy.shape[3]
    K_row = KW * C
    chunks = np.minimum(np.arange(0, K_row, NR_SMALL), K_row - NR_SMALL)  # the last may overlap
    offsets = outer_sum(np.arange(KH) * row_stride, chunks)
    sums = arena.empty((F, len(offsets), NR_SMALL), x.dtype)
    backward_weight_few_filters_kernel(
        x,
        x[0].size,
        offsets,
        OH,
        SH * row_stride,
        OW,
        SW * C,
        dy.reshape(N, OH * OW, F),
        sums,
        dweight.reshape(KH, K_row, F),
    )


# ---------------------------------------------------------------- kernels


@specialize(NR_CHOICES)
def forward_kernel(NR: int) -> Kernel:
    """Loop order: image, panel, microtile, window row, k."""
    rows = MR_NARROW if NR <= SIMD_WIDTH else MR

    def conv_direct_forward(
        x: Array,  # (N * H * W * C,)
        image: tuple[int, int, int, int],  # H, W * C, top padding, left padding * C
        padded: Array,  # scratch for one padded image, which stays in L2; empty if none is needed
        row_stride: int,  # values between two rows of `padded`, or of `x`
        origins: Offsets,  # (OH * OW,) first value of each window
        KH: int,
        weight: Array,  # (KH, KW, C, F)
        bias: Array,  # (F,)
        panels: Array,  # scratch (ceil(F / NR), 1 + KH * KW * C, NR); one panel stays in L1
        y: Array,  # out (N, OH, OW, F)
    ) -> None:
        """Compute the formula at the top of this file."""
        pack_weights(weight, bias, panels, NR)
        H, row, top, left = image
        N, OH, OW, F = y.shape
        P, panel_rows = OH * OW, panels.shape[1]
        K_row = (panel_rows - 1) // KH  # values of one window row: KW * C
        source = padded if padded.size > 0 else x
        for n in range(N):
            base = n * H * row
            if padded.size > 0:
                height = padded.size // row_stride
                pad_image(x, base, H, row, top, left, padded, 0, height, row_stride)
                base = 0
            for f in range(0, F, NR):
                panel = f * panel_rows
                bias_tile = splat_tile(load(panels, panel, NR), rows)
                for p in range(0, P, rows):
                    pixels, acc = clamp_rows(p, P, rows), bias_tile
                    for kh in range(KH):
                        windows = gather_offsets(origins, pixels, base + kh * row_stride)
                        w = panel + (1 + kh * K_row) * NR
                        acc = accumulate(acc, source, windows, K_row, 1, panels, w, NR, NR)
                    store_tile(y, row_offsets(pixels, F, n * P * F + f), acc, F - f)

    return conv_direct_forward


@specialize(NR_CHOICES)
def backward_weight_kernel(NR: int) -> Kernel:
    """Loop order: image, block of pixels, k, f, pixel."""

    def conv_direct_backward_weight(
        x: Array,  # (N, H, W, C), padded
        image_stride: int,
        taps: Offsets,  # (KH * KW * C,) offset of each value of a window
        OH: int,
        h_stride: int,  # values between window origins, downwards
        OW: int,
        w_stride: int,  # and to the right
        block: int,  # pixels whose x and dy stay in L1: several rows, or a part of one
        dy: Array,  # (N or more, OH * OW, F or more): a vector may end past a pixel of image N - 1
        dweight: Array,  # (KH * KW * C, F), accumulated
    ) -> None:
        """Add ``dweight[k, f] += Σ x[n, origin[p] + taps[k]] · dy[n, p, f]``."""
        _, P, dy_stride = dy.shape
        K, F = dweight.shape
        block_h, block_w = max(1, block // OW), min(block, OW)
        for n in range(x.shape[0]):
            for oh in range(0, OH, block_h):
                for ow in range(0, OW, block_w):
                    origin = n * image_stride + oh * h_stride + ow * w_stride
                    g = (n * P + oh * OW + ow) * dy_stride
                    height, width = min(block_h, OH - oh), min(block_w, OW - ow)
                    for k in range(0, K, MR):
                        rows = clamp_rows(k, K, MR)
                        for f in range(0, F, NR):
                            out = row_offsets(rows, F, f)
                            acc = load_tile(dweight, out, F - f, NR)
                            for h in range(height):
                                windows = gather_offsets(taps, rows, origin + h * h_stride)
                                v = g + h * OW * dy_stride + f
                                acc = accumulate(
                                    acc, x, windows, width, w_stride, dy, v, dy_stride, NR
                                )
                            store_tile(dweight, out, acc, F - f)

    return conv_direct_backward_weight


@kernel
def backward_weight_few_filters_kernel(
    x: Array,  # (N, H, W, C), padded
    image_stride: int,
    offsets: Offsets,  # (V,) offset of each vector inside a window
    OH: int,
    h_stride: int,
    OW: int,
    w_stride: int,
    dy: Array,  # (N, OH * OW, F)
    sums: Array,  # scratch (F, V, NR_SMALL)
    dweight: Array,  # out (KH, KW * C, F)
) -> None:
    """Compute dweight with vectors along window rows.

    ``Σ dy[n, p, f] · x[n, origin[p] + offsets[v] + lane]``. Loop order: n, f, v, oh, ow.
    """
    N, P, F = dy.shape
    V = len(offsets)
    sums[:] = 0
    for n in range(N):
        for f in range(F):
            for v in range(0, V, MR):
                rows = clamp_rows(v, V, MR)
                out = row_offsets(rows, NR_SMALL, f * V * NR_SMALL)
                acc = load_tile(sums, out, NR_SMALL, NR_SMALL)
                vectors = gather_offsets(offsets, rows, 0)
                g = n * P * F + f
                for oh in range(OH):
                    i = n * image_stride + oh * h_stride
                    for _ in range(OW):
                        tile = load_tile(x, row_offsets(vectors, 1, i), NR_SMALL, NR_SMALL)
                        acc = axpy_tile(acc, load_splat(dy, g, NR_SMALL), tile)
                        i += w_stride
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
