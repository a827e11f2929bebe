"""im2col copies windows to rows of a matrix; col2im is its adjoint."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import kernel

Array = NDArray[np.float32]
Window = tuple[int, int, int, int, int, int, int, int]  # minicnn.shapes.window.Window in Numba


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
