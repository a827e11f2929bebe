"""Average pooling and its way back: rows first, then columns.

A mean over a window is a sum of sums: the rows of the window are added up along whole rows of the
image, which is one pass over numbers that lie side by side however few channels there are; what is
left is to add KW neighbours of that one row, which stays in the first-level cache. So a number is
read KH times, not KH·KW times.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.patches import Window
from minicnn.kernels.rows import clear_row, copy_row
from minicnn.kernels.sums import ROWS
from minicnn.kernels.tiles import load_some, store_some
from minicnn.kernels.vectors import add, divide, fill, load, store

Array = NDArray[np.float32]


@kernel
def avg_pool(x: Array, window: Window, y: Array, row: Array) -> None:
    """Take each window's mean, in which padding counts as 0.

    ``y[n, oh, ow, c] = Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c] / (KH·KW)``. The loop
    nest is n, oh, then kh over the row of the image, then ow, c, kw.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    window : minicnn.shapes.Window
    y : ndarray (N, OH, OW, C)
        Overwritten.
    row : ndarray (W·C,)
        Room for the sums of the rows of a window.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    place = 0
    for n in range(N):
        for oh in range(OH):
            first, last = max(0, oh * SH - top), min(H, oh * SH - top + KH)
            _add_rows(x, (n * H + first) * W * C, last - first, row)
            for ow in range(OW):
                start, end = max(0, ow * SW - left), min(W, ow * SW - left + KW)
                for c in range(0, C, NARROW):
                    some = C - c
                    if some >= NARROW:  # a constant instead of what is left: no masks
                        _mean(row, start * C + c, end - start, C, KH * KW, y, place + c, NARROW)
                    else:
                        _mean(row, start * C + c, end - start, C, KH * KW, y, place + c, some)
                place += C


@piece
def _add_rows(x: Array, i: int, count: int, row: Array) -> None:
    """Compute ``row[q] = Σ_k x[i + k·length + q]``."""
    length = row.size
    for q in range(0, length, NARROW):
        if length - q >= NARROW:
            _add(x, i + q, count, length, row, q, NARROW)
        else:
            _add(x, i + q, count, length, row, q, length - q)


@piece
def _add(a: Array, i: int, count: int, step: int, out: Array, o: int, left: int) -> None:
    total = load_some(a, i, left)
    for _ in range(1, count):
        i += step
        total = add(total, load_some(a, i, left))
    store_some(out, o, total, left)


@piece
def _mean(a: Array, i: int, count: int, step: int, area: int, y: Array, o: int, left: int) -> None:
    total = load_some(a, i, left)
    for _ in range(1, count):
        i += step
        total = add(total, load_some(a, i, left))
    store_some(y, o, divide(total, fill(y, area, NARROW)), left)


@kernel
def avg_pool_backward(dy: Array, window: Window, dx: Array, row: Array) -> None:
    """Share each gradient out evenly over its window.

    ``dx[n, h, w, c] = Σ dy[n, oh, ow, c] / (KH·KW)`` over the windows that hold pixel (h, w): the
    adjoint of `avg_pool`. The loop nest is n, oh, then w, c, ow for a row of sums, then kh over the
    rows that take it. A row that is come to for the first time is written, later ones are added to.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    window : minicnn.shapes.Window
    dx : ndarray (N, H, W, C)
        Overwritten.
    row : ndarray ((W + OW)·C,)
        Room for what a row of windows gives to one row of the image, and for its shares.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = dx.shape
    length = W * C
    for n in range(N):
        begun = 0  # rows
        for oh in range(OH):
            _divide_row(dy, (n * OH + oh) * OW * C, OW * C, KH * KW, row, length)
            for w in range(W):
                first = max(0, (w + left - KW) // SW + 1)
                last = min(OW, (w + left) // SW + 1)
                _add_columns(row, length + first * C, last - first, C, w * C)
            h0 = oh * SH - top
            if begun < h0:
                clear_row(dx, (n * H + begun) * length, (h0 - begun) * length)
            last_h = min(H, h0 + KH)
            for h in range(max(0, h0), last_h):
                i = (n * H + h) * length
                if h >= begun:
                    copy_row(row, 0, length, dx, i)
                else:
                    _add_row(row, length, dx, i)
            begun = max(begun, last_h)
        clear_row(dx, (n * H + begun) * length, (H - begun) * length)


@piece
def _divide_row(dy: Array, i: int, count: int, area: int, row: Array, o: int) -> None:
    for q in range(0, count - NARROW + 1, NARROW):
        store(row, o + q, divide(load(dy, i + q, NARROW), fill(row, area, NARROW)))
    for q in range(count - count % NARROW, count):
        store(row, o + q, divide(load(dy, i + q, 1), fill(row, area, 1)))


@piece
def _add_columns(row: Array, i: int, count: int, C: int, o: int) -> None:
    """Compute ``row[o + c] = Σ_k row[i + k·C + c]``."""
    for c in range(0, C, NARROW):
        some = C - c
        if count <= 0:
            store_some(row, o + c, fill(row, 0, NARROW), some)
        elif some >= NARROW:
            _add(row, i + c, count, C, row, o + c, NARROW)
        else:
            _add(row, i + c, count, C, row, o + c, some)


@piece
def _add_row(row: Array, count: int, dx: Array, i: int) -> None:
    for q in range(0, count - NARROW + 1, NARROW):
        store(dx, i + q, add(load(dx, i + q, NARROW), load(row, q, NARROW)))
    for q in range(count - count % NARROW, count):
        store(dx, i + q, add(load(dx, i + q, 1), load(row, q, 1)))


@kernel
def global_avg_pool(x: Array, y: Array) -> None:
    """Take the mean of each channel over a whole image: ``y[n, c] = Σ_p x[n, p, c] / P``.

    The loop nest is n, block of p, c, p: some pixels stay in the first-level cache while all
    channels are summed, each vector of them in four registers, since an addition waits for the last
    one in its own.

    Parameters
    ----------
    x : ndarray (N, P, C)
    y : ndarray (N, C)
        Overwritten.
    """
    N, P, C = x.shape
    clear_row(y, 0, N * C)
    for n in range(N):
        for p in range(0, P, ROWS):
            count = min(ROWS, P - p)
            for c in range(0, C, NARROW):
                i, o, some = (n * P + p) * C + c, n * C + c, C - c
                if some >= NARROW:
                    _add_many(x, i, count, C, y, o, NARROW)
                else:
                    _add_many(x, i, count, C, y, o, some)
        _divide_row(y, n * C, C, P, y, n * C)


@piece
def _add_many(x: Array, i: int, count: int, step: int, y: Array, o: int, left: int) -> None:
    """Compute ``y[o + c] += Σ_k x[i + k·step + c]``."""
    zero = fill(x, 0, NARROW)
    a0, a1, a2, a3 = load_some(y, o, left), zero, zero, zero
    for _ in range(count // 4):
        a0, a1 = add(a0, load_some(x, i, left)), add(a1, load_some(x, i + step, left))
        i += 2 * step
        a2, a3 = add(a2, load_some(x, i, left)), add(a3, load_some(x, i + step, left))
        i += 2 * step
    for _ in range(count % 4):
        a0 = add(a0, load_some(x, i, left))
        i += step
    store_some(y, o, add(add(a0, a1), add(a2, a3)), left)


@kernel
def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    """Share each gradient out evenly over its image: ``dx[n, p, c] = dy[n, c] / P``.

    The loop nest is n, p, c: the first pixel is computed, the others are copies of it; NARROW of
    them are copied at once, since that is whole vectors for any number of channels.

    Parameters
    ----------
    dy : ndarray (N, C)
    dx : ndarray (N, P, C)
        Overwritten.
    """
    N, P, C = dx.shape
    for n in range(N):
        first = n * P * C
        _divide_row(dy, n * C, C, P, dx, first)
        for p in range(1, min(P, NARROW)):
            copy_row(dx, first, C, dx, first + p * C)
        for p in range(NARROW, P, NARROW):
            copy_row(dx, first, min(NARROW, P - p) * C, dx, first + p * C)
