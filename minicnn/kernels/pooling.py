"""Max-pooling and its way back."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.patches import Window


@kernel
def max_pool(
    x: NDArray[np.float32],
    window: Window,
    y: NDArray[np.float32],
    winner: NDArray[np.unsignedinteger],
) -> None:
    """Take each window's maximum and remember which of its pixels that was.

    ``y[n, oh, ow, c] = max_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]``. The window is
    cut to the image first, which is what padding with -∞ means. Only a greater value replaces the
    best so far, so the first of equals wins; a NaN always does, and so travels on to the loss
    instead of vanishing here.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    window : minicnn.shapes.Window
    y : ndarray (N, OH, OW, C)
        Overwritten.
    winner : ndarray of unsigned int (N, OH, OW, C)
        Overwritten with ``kh·KW + kw`` of the maximum.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                h0, w0 = oh * SH - top, ow * SW - left
                first_kh, last_kh = max(0, -h0), min(KH, H - h0)
                first_kw, last_kw = max(0, -w0), min(KW, W - w0)
                for c in range(C):
                    y[n, oh, ow, c] = x[n, h0 + first_kh, w0 + first_kw, c]
                    winner[n, oh, ow, c] = first_kh * KW + first_kw
                for kh in range(first_kh, last_kh):
                    for kw in range(first_kw, last_kw):
                        for c in range(C):
                            value = x[n, h0 + kh, w0 + kw, c]
                            if value > y[n, oh, ow, c] or np.isnan(value):
                                y[n, oh, ow, c] = value
                                winner[n, oh, ow, c] = kh * KW + kw


@kernel
def max_pool_backward(
    dy: NDArray[np.float32],
    winner: NDArray[np.unsignedinteger],
    window: Window,
    dx: NDArray[np.float32],
) -> None:
    """Send each gradient to the pixel that won: ``dx[winner[n, oh, ow, c]] += dy[n, oh, ow, c]``.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    winner : ndarray of unsigned int (N, OH, OW, C)
        From `max_pool`.
    window : minicnn.shapes.Window
    dx : ndarray (N, H, W, C)
        Updated.
    """
    _, KW, SH, SW, top, left, OH, OW = window
    N, OH, OW, C = dy.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for c in range(C):
                    place = np.int64(winner[n, oh, ow, c])
                    h = oh * SH - top + place // KW
                    w = ow * SW - left + place % KW
                    dx[n, h, w, c] += dy[n, oh, ow, c]
