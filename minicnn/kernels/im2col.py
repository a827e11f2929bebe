"""Convolution as a matrix product: im2col copies windows to rows.

A row of the matrix, the values of one window, is a patch. With P the matrix of patches
``(N·OH·OW, KH·KW·C)``, W the weights as ``(KH·KW·C, F)`` and dY as ``(N·OH·OW, F)``:
``Y = P W + bias``, ``dW = Pᵀ dY`` and ``dP = dY Wᵀ``. col2im, the adjoint of im2col, adds dP to the
pixels that were copied.

`conv_direct` calls `backward_input` where that is faster. Few input channels waste no lanes,
because a row of dP holds all values of the window. At a stride above 1 no product is taken with the
zeros between the pixels of dy.

Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing"
(2006), section 2.
"""

from collections.abc import Iterator

import numpy as np

from minicnn.kernels import copy
from minicnn.kernels.copy import add_range, copy_range, fill_zero_range, transpose_block
from minicnn.kernels.gemm import gemm, gemm_panel
from minicnn.kernels.jit import kernel
from minicnn.kernels.pack import receptive_size
from minicnn.kernels.target import NR_CHOICES, Kernel, choose_nr, specialize
from minicnn.runtime import arena
from minicnn.shapes import Array
from minicnn.shapes.window import Window

# The patches of a part of the images stay in the L2 cache until the matrix product reads them.
PATCHES_BYTES = 256 * 1024
PIXELS_PER_BLOCK = 24  # of dy, whose products are held in scratch: four microtiles


# ---------------------------------------------------------------- backend interface


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, F)."""
    matrix = np.ascontiguousarray(weight).reshape(-1, weight.shape[3])
    bias = np.ascontiguousarray(bias)
    for part, patches in _patches(x, window):
        gemm(patches, matrix, y[part].reshape(-1, y.shape[3]), bias)


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight (KH, KW, C, F)."""
    F = dy.shape[3]
    copy.fill_zero(dweight.reshape(-1))
    for part, patches in _patches(x, window):
        gemm(patches.T, dy[part].reshape(-1, F), dweight.reshape(-1, F))


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C)."""
    KH, KW, C, F = weight.shape
    _, H, W, _ = dx.shape
    NR = choose_nr(KH * KW * C)
    panels = -(-KH * KW * C // NR)
    rows, columns = receptive_size(window)
    image_shape = max(H + window.top, rows), max(W + window.left, columns), C
    packed = arena.empty((panels, F, NR), dy.dtype)
    image = arena.empty(image_shape, dy.dtype)
    dpatches = arena.empty((PIXELS_PER_BLOCK, panels * NR), dy.dtype)
    dy, weight = np.ascontiguousarray(dy), np.ascontiguousarray(weight)
    backward_input_kernel[NR](dy, weight, window, dx, packed, image, dpatches)


def _patches(x: Array, window: Window) -> Iterator[tuple[slice, Array]]:
    """Yield parts of the images, with the matrix of their windows (reused)."""
    KH, KW, _, _, _, _, OH, OW = window
    C = x.shape[3]
    image_bytes = OH * OW * KH * KW * C * x.itemsize
    count = min(len(x), max(1, PATCHES_BYTES // image_bytes))
    x = np.ascontiguousarray(x)
    buffer: Array = arena.empty((count, OH, OW, KH, KW, C), x.dtype)
    for n in range(0, len(x), count):
        part = slice(n, min(n + count, len(x)))
        patches = buffer[: part.stop - n]
        im2col(x[part], window, patches)
        yield part, patches.reshape(-1, KH * KW * C)


# ---------------------------------------------------------------- kernels


@kernel
def im2col(
    x: Array,  # (N, H, W, C)
    window: Window,
    patches: Array,  # out (N, OH, OW, KH, KW, C)
) -> None:
    """Copy the pixels of each window; 0 outside the image.

    ``patches[n, oh, ow, kh, kw, c] = x[n, oh·SH - top + kh, ow·SW - left + kw, c]``. As a matrix
    ``(N·OH·OW, KH·KW·C)`` its product with the weights ``(KH·KW·C, F)`` is the convolution.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for kh in range(KH):
                    h = oh * SH - top + kh
                    for kw in range(KW):
                        w = ow * SW - left + kw
                        if 0 <= h < H and 0 <= w < W:
                            for c in range(C):
                                patches[n, oh, ow, kh, kw, c] = x[n, h, w, c]
                        else:
                            for c in range(C):
                                patches[n, oh, ow, kh, kw, c] = 0


@specialize(NR_CHOICES)
def backward_input_kernel(NR: int) -> Kernel:
    """Loop order: image, block of pixels, panel, pixel, f; then pixel, kh, q."""

    def im2col_backward_input(
        dy: Array,  # (N, OH, OW, F)
        weight: Array,  # (KH, KW, C, F)
        window: Window,
        dx: Array,  # out (N, H, W, C)
        packed: Array,  # scratch (panels, F, NR): the transpose of `weight` in panels of columns
        image: Array,  # scratch (H', W', C): dx of one image with its padding
        dpatches: Array,  # scratch (B, panels * NR): dy · weightᵀ of a block of pixels
    ) -> None:
        """Add the gradient of each window to its pixels: the adjoint of `im2col`.

        ``dx[n, oh·SH - top + kh, ow·SW - left + kw, c] += Σ_f dy[n, oh, ow, f] · weight[kh, kw, c,
        f]``: a pixel that was copied k times receives k gradients.
        """
        KH, KW, SH, SW, top, left, OH, OW = window
        N, H, W, C = dx.shape
        B, M = dpatches.shape
        P, K_row, F = OH * OW, KW * C, dy.shape[3]
        K, row = KH * K_row, image.shape[1] * C
        h_stride, w_stride = SH * row, SW * C  # values between window origins in `image`
        fill_zero_range(packed, 0, packed.size)
        for k in range(0, K, NR):
            transpose_block(weight, k * F, min(NR, K - k), F, packed, k * F, NR)
        for n in range(N):
            fill_zero_range(image, 0, image.size)  # one image stays in the L2 cache
            for first in range(0, P, B):
                count = min(B, P - first)
                i = (n * P + first) * F
                for m in range(0, M, NR):
                    gemm_panel(dy, i, F, count, packed, m * F, dpatches, m, M, NR)
                for p in range(count):
                    oh, ow = divmod(first + p, OW)
                    i, s = oh * h_stride + ow * w_stride, p * M
                    for _ in range(KH):
                        add_range(dpatches, s, K_row, image, i)
                        i += row
                        s += K_row
            for h in range(H):
                i = (top + h) * row + left * C
                copy_range(image, i, W * C, dx, (n * H + h) * W * C)

    return im2col_backward_input
