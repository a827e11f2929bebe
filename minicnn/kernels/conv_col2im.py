"""GEMM + col2im: the input gradient of a convolution at any stride.

A matrix product gives the gradient of each window, ``dy · weightᵀ`` (OH·OW, KH·KW·C), block by
block; col2im adds it to the pixels of the window. The columns of the product are all values of the
window, so few input channels waste no lanes; and at a stride above 1 no product is taken with the
zeros between the pixels of dy. `conv_direct` calls it where that is faster. A convolution at stride
1 is the input gradient of its transpose, so the same serves forward where the filters are few.
"""

import numpy as np

from minicnn.kernels.copy import copy_range, fill_zero_range
from minicnn.kernels.gemm import gemm_panel
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import add, load, store
from minicnn.kernels.target import NR_CHOICES, NR_SMALL, Kernel, choose_nr, specialize
from minicnn.kernels.transpose import rotate180_swap_channels, transpose_block
from minicnn.runtime import arena
from minicnn.shapes import Array
from minicnn.shapes.window import Window

PIXELS_PER_BLOCK = 24  # of dy, whose products are held in scratch: four microtiles


def is_faster(window: Window, pixels: int, C: int, F: int) -> bool:
    """Return whether col2im is faster than direct convolution for dx.

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
    return window.SH * window.SW > 1 or additions < pixels * -(-C // NR_SMALL) * NR_SMALL * F


def forward_is_faster(window: Window, H: int, W: int, C: int, F: int) -> bool:
    """Return whether `forward` is possible and faster than `conv_direct`."""
    KH, KW, SH, SW, top, left, OH, OW = window
    if SH * SW > 1 or top >= KH or left >= KW:
        return False
    return is_faster(_transpose_window(window, H, W), OH * OW, F, C)


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, F): dx of the transposed convolution."""
    KH, KW, C, F = weight.shape
    rotated = arena.empty((KH, KW, F, C), weight.dtype)
    rotate180_swap_channels(np.ascontiguousarray(weight), rotated)
    backward_input(x, rotated, _transpose_window(window, *x.shape[1:3]), y)
    add_bias(np.ascontiguousarray(bias), y.reshape(-1, F))


def _transpose_window(window: Window, H: int, W: int) -> Window:
    """Return the window of the transposed convolution, at stride 1."""
    KH, KW, _, _, top, left, _, _ = window
    return Window(KH, KW, 1, 1, KH - 1 - top, KW - 1 - left, H, W)


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C)."""
    KH, KW, SH, SW, top, left, OH, OW = window
    (N, H, W, C), F = dx.shape, dy.shape[3]
    K = KH * KW * C
    NR = choose_nr(K)
    panels = -(-K // NR)
    height, width = max(H + top, (OH - 1) * SH + KH), max(W + left, (OW - 1) * SW + KW)
    row = width * C
    packed, image, dcolumns = arena.allocate(
        (
            ((panels, F, NR), dy.dtype),
            ((height, row), dy.dtype),
            ((PIXELS_PER_BLOCK, panels * NR), dy.dtype),
        )
    )
    backward_input_kernel[NR](
        np.ascontiguousarray(dy).reshape(N, OH * OW, F),
        np.ascontiguousarray(weight).reshape(K, F),
        packed,
        KH,
        OW,
        SH * row,
        SW * C,
        top * row + left * C,
        dx.reshape(N, H, W * C),
        image,
        dcolumns,
    )


@specialize(NR_CHOICES)
def backward_input_kernel(NR: int) -> Kernel:
    """Loop order: image, block of pixels, panel, pixel, f; then pixel, kh, q."""

    def conv_col2im_backward_input(
        dy: Array,  # (N, OH * OW, F)
        weight: Array,  # (KH * KW * C, F)
        packed: Array,  # scratch (panels, F, NR): the transpose of `weight` in panels of columns
        KH: int,
        OW: int,
        h_stride: int,  # values between window origins in `image`, downwards
        w_stride: int,  # and to the right
        inside: int,  # offset of the first pixel of dx in `image`
        dx: Array,  # out (N, H, W * C)
        image: Array,  # scratch (H', W' * C): dx of one image with its padding
        dcolumns: Array,  # scratch (B, panels * NR): dy · weightᵀ of a block of pixels
    ) -> None:
        """Add the gradient of each window to its pixels.

        ``dx[n, oh·SH + kh, ow·SW·C + q] += Σ_f dy[n, oh, ow, f] · weight[kh, q, f]``.
        """
        N, P, F = dy.shape
        height, row = image.shape
        _, H, width = dx.shape
        B, M = dcolumns.shape
        K = len(weight)
        fill_zero_range(packed, 0, packed.size)
        for k in range(0, K, NR):
            transpose_block(weight, k * F, min(NR, K - k), F, packed, k * F, NR)
        K_row = K // KH
        for n in range(N):
            fill_zero_range(image, 0, height * row)  # one image stays in the L2 cache
            for first in range(0, P, B):
                count = min(B, P - first)
                i = (n * P + first) * F
                for m in range(0, M, NR):
                    gemm_panel(dy, i, F, count, packed, m * F, dcolumns, m, M, NR)
                for p in range(count):
                    oh, ow = divmod(first + p, OW)
                    i, s = oh * h_stride + ow * w_stride, p * M
                    for _ in range(KH):
                        _add_row(dcolumns, s, K_row, image, i)
                        i += row
                        s += K_row
            for h in range(H):
                copy_range(image, inside + h * row, width, dx, (n * H + h) * width)

    return conv_col2im_backward_input


@kernel
def add_bias(bias: Array, y: Array) -> None:
    """Add ``bias[f]`` to ``y[p, f]``."""
    P, F = y.shape
    for p in range(P):
        for f in range(F):
            y[p, f] += bias[f]


@device_function
def _add_row(dcolumns: Array, s: int, count: int, image: Array, i: int) -> None:
    """Add `count` values of `dcolumns` to `image`."""
    for q in range(0, count - NR_SMALL + 1, NR_SMALL):
        store(image, i + q, add(load(image, i + q, NR_SMALL), load(dcolumns, s + q, NR_SMALL)))
    for q in range(count - count % NR_SMALL, count):
        store(image, i + q, add(load(image, i + q, 1), load(dcolumns, s + q, 1)))
