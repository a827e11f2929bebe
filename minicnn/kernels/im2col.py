"""im2col and its adjoint: every window of an image as one row, and back."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import kernel

Window = tuple[int, int, int, int, int, int, int, int]  # minicnn.shapes.Window as Numba sees it


@kernel
def im2col(x: NDArray[np.float32], window: Window, patches: NDArray[np.float32]) -> None:
    """Copy what each window sees (im2col).

    ``patches[n, oh, ow, kh, kw, c] = x[n, oh·SH - top + kh, ow·SW - left + kw, c]``, and 0 where
    that lies outside the image. Seen as ``(N·OH·OW, KH·KW·C)``, `patches` is the matrix whose
    product with the weights ``(KH·KW·C, F)`` is the convolution.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    window : minicnn.shapes.Window
    patches : ndarray (N, OH, OW, KH, KW, C)
        Overwritten.
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


@kernel
def col2im(dpatches: NDArray[np.float32], window: Window, dx: NDArray[np.float32]) -> None:
    """Add each patch's gradient to the pixels that it was copied from (col2im).

    ``dx[n, oh·SH - top + kh, ow·SW - left + kw, c] += dpatches[n, oh, ow, kh, kw, c]``: the
    adjoint of `im2col`, since a pixel that was copied k times collects k gradients.

    Parameters
    ----------
    dpatches : ndarray (N, OH, OW, KH, KW, C)
    window : minicnn.shapes.Window
    dx : ndarray (N, H, W, C)
        Updated.
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
                                dx[n, h, w, c] += dpatches[n, oh, ow, kh, kw, c]
