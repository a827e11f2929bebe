"""Convolution as a matrix product: im2col copies windows to rows.

With P the matrix of windows ``(N·OH·OW, KH·KW·C)``, W the weights as ``(KH·KW·C, F)`` and dY as
``(N·OH·OW, F)``: ``Y = P W + bias``, ``dW = Pᵀ dY`` and ``dP = dY Wᵀ``. col2im, the adjoint of
im2col, adds dP to the pixels that were copied.

Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing"
(2006), section 2.
"""

from collections.abc import Iterator

import numpy as np

from minicnn.kernels import copy, transpose
from minicnn.kernels.gemm import gemm
from minicnn.kernels.jit import kernel
from minicnn.runtime import arena
from minicnn.shapes import Array
from minicnn.shapes.window import Window

# The windows of a chunk of images stay in the L2 cache until the matrix product reads them.
COLUMNS_BYTES = 256 * 1024


# ---------------------------------------------------------------- backend interface


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, F)."""
    matrix = np.ascontiguousarray(weight).reshape(-1, weight.shape[3])
    bias = np.ascontiguousarray(bias)
    for images, columns in _columns(x, window):
        gemm(columns, matrix, y[images].reshape(-1, y.shape[3]), bias)


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight (KH, KW, C, F)."""
    F = dy.shape[3]
    copy.fill_zero(dweight.reshape(-1))
    for images, columns in _columns(x, window):
        gemm(columns.T, dy[images].reshape(-1, F), dweight.reshape(-1, F))


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C)."""
    KH, KW, C, F = weight.shape
    K = KH * KW * C
    chunk = _images_per_chunk(dx, window)
    weight_transposed, buffer = arena.allocate(
        (((F, K), dy.dtype), ((chunk, window.OH, window.OW, KH, KW, C), dy.dtype))
    )
    transpose.transpose(np.ascontiguousarray(weight).reshape(K, F), weight_transposed)
    copy.fill_zero(dx.reshape(-1))
    for n in range(0, len(dx), chunk):
        rows = dy[n : n + chunk].reshape(-1, F)
        dcolumns = buffer[: len(dy[n : n + chunk])]
        gemm(rows, weight_transposed, dcolumns.reshape(-1, K), arena.constant_zeros(K, dy.dtype))
        col2im(dcolumns, window, dx[n : n + chunk])


def _images_per_chunk(x: Array, window: Window) -> int:
    """Return the number of images whose windows fit in `COLUMNS_BYTES`."""
    KH, KW, _, _, _, _, OH, OW = window
    image_bytes: int = OH * OW * KH * KW * x.shape[3] * x.itemsize
    return min(len(x), max(1, COLUMNS_BYTES // image_bytes))


def _columns(x: Array, window: Window) -> Iterator[tuple[slice, Array]]:
    """Yield images and the matrix of their windows, which is reused."""
    KH, KW, _, _, _, _, OH, OW = window
    C, chunk = x.shape[3], _images_per_chunk(x, window)
    x = np.ascontiguousarray(x)
    buffer: Array = arena.empty((chunk, OH, OW, KH, KW, C), x.dtype)
    for n in range(0, len(x), chunk):
        images = slice(n, min(n + chunk, len(x)))
        columns = buffer[: images.stop - n]
        im2col(x[images], window, columns)
        yield images, columns.reshape(-1, KH * KW * C)


# ---------------------------------------------------------------- kernels


@kernel
def im2col(
    x: Array,  # (N, H, W, C)
    window: Window,
    columns: Array,  # out (N, OH, OW, KH, KW, C)
) -> None:
    """Copy the pixels of each window; 0 outside the image.

    ``columns[n, oh, ow, kh, kw, c] = x[n, oh·SH - top + kh, ow·SW - left + kw, c]``. As a matrix
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
                                columns[n, oh, ow, kh, kw, c] = x[n, h, w, c]
                        else:
                            for c in range(C):
                                columns[n, oh, ow, kh, kw, c] = 0


@kernel
def col2im(
    dcolumns: Array,  # (N, OH, OW, KH, KW, C)
    window: Window,
    dx: Array,  # updated (N, H, W, C)
) -> None:
    """Add the gradient of each window to its pixels: the adjoint of `im2col`.

    ``dx[n, oh·SH - top + kh, ow·SW - left + kw, c] += dcolumns[n, oh, ow, kh, kw, c]``: a pixel
    that was copied k times receives k gradients.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = dx.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for kh in range(KH):
                    h = oh * SH - top + kh
                    for kw in range(KW):
                        w = ow * SW - left + kw
                        if 0 <= h < H and 0 <= w < W:
                            for c in range(C):
                                dx[n, h, w, c] += dcolumns[n, oh, ow, kh, kw, c]
