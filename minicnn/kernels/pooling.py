"""Max-pooling and its way back, some channels of a window at a time.

Average pooling and its way back: rows first, then columns.

A mean over a window is a sum of sums: the rows of the window are added up along whole rows of the
image, which is one pass over numbers that lie side by side however few channels there are; what is
left is to add KW neighbors of that one row, which stays in the first-level cache. So a number is
read KH times, not KH·KW times.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.conv_pool import store_max
from minicnn.kernels.copy import copy_range, fill_zero_range
from minicnn.kernels.im2col import Window
from minicnn.kernels.jit import device_function, inline_function, kernel
from minicnn.kernels.reduce import ROWS
from minicnn.kernels.simd import (
    add,
    divide,
    equals,
    greater_or_nan,
    load,
    masked_store,
    select,
    splat,
    store,
)
from minicnn.kernels.target import NR_SMALL
from minicnn.kernels.tiles import load_four, load_tail, load_tail_lanes, store_tail

# Channels that are taken at once where they divide into so many: what is known of a window stays in
# registers, and the loop around a pixel is paid for once. Twice as many would not fit; of a square
# of four pixels, all of which are loaded at once, only half as many do. Other numbers of channels
# are taken NARROW at a time.
MANY = 4 * NR_SMALL
MANY_OF_FOUR = 2 * NR_SMALL

Vector = Any
Array = NDArray[np.float32]
Winner = NDArray[np.unsignedinteger]
Indices = NDArray[np.int64]


@inline_function
def _store(array: NDArray[Any], i: int, v: Vector, left: int, lanes: int) -> None:
    if left >= lanes:
        store(array, i, v)
    else:
        masked_store(array, i, v, left)


@kernel
def max_pool(x: Array, window: Window, y: Array, winner: Winner) -> None:
    """Take each window's maximum and remember which of its pixels that was.

    ``y[n, oh, ow, c] = max_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]``. The window is
    cut to the image first, which is what padding with -∞ means. Only a greater value replaces the
    best so far, so the first of equals wins; a NaN always does, and so travels on to the loss
    instead of vanishing here.

    The tile is one window and some channels: the best so far and where it was are a few registers,
    and nothing else is written. Squares of 2×2 pixels, the pool of nearly every network, are taken
    as they are under a convolution, by `minicnn.kernels.conv_pool`, without loops over kh and kw.

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
    _, H, W, C = x.shape
    inside = top == 0 and left == 0 and (OH - 1) * SH + KH <= H and (OW - 1) * SW + KW <= W
    if KH == 2 and KW == 2 and inside:
        if C % MANY_OF_FOUR == 0:
            _max_of_four(x, window, y, winner, MANY_OF_FOUR)
        else:
            _max_of_four(x, window, y, winner, NR_SMALL)
    elif C % MANY == 0:
        _max_pool(x, window, y, winner, MANY)
    else:
        _max_pool(x, window, y, winner, NR_SMALL)


@inline_function
def _max_of_four(x: Array, window: Window, y: Array, winner: Winner, lanes: int) -> None:
    SH, SW = window[2:4]
    _, H, W, C = x.shape
    N, OH, OW, _ = y.shape
    place = 0
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                corner = ((n * H + oh * SH) * W + ow * SW) * C
                below = corner + W * C
                pixels = corner, corner + C, below, below + C
                for c in range(0, C, lanes):
                    some = C - c if lanes == NR_SMALL else lanes
                    four = load_four(x, pixels, c, some, lanes)
                    store_max(four, False, y, winner, place + c, lanes)
                place += C


@inline_function
def _max_pool(x: Array, window: Window, y: Array, winner: Winner, lanes: int) -> None:
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    place = 0
    for n in range(N):
        for oh in range(OH):
            h0 = oh * SH - top
            first_kh, last_kh = max(0, -h0), min(KH, H - h0)
            for ow in range(OW):
                w0 = ow * SW - left
                first_kw, last_kw = max(0, -w0), min(KW, W - w0)
                corner = ((n * H + h0) * W + w0) * C
                for c in range(0, C, lanes):
                    some = C - c if lanes == NR_SMALL else lanes
                    i = corner + (first_kh * W + first_kw) * C + c
                    best = load_tail_lanes(x, i, some, lanes)
                    which = splat(winner, first_kh * KW + first_kw, lanes)
                    for kh in range(first_kh, last_kh):
                        i = corner + (kh * W + first_kw) * C + c
                        for kw in range(first_kw, last_kw):
                            v = load_tail_lanes(x, i, some, lanes)
                            mask = greater_or_nan(v, best)
                            best = select(mask, v, best)
                            which = select(mask, splat(winner, kh * KW + kw, lanes), which)
                            i += C
                    _store(y, place + c, best, some, lanes)
                    _store(winner, place + c, which, some, lanes)
                place += C


@kernel
def max_pool_backward(dy: Array, winner: Winner, window: Window, dx: Array) -> None:
    """Send each gradient to the pixel that won: ``dx[winner[n, oh, ow, c]] += dy[n, oh, ow, c]``.

    The loops run over n, oh, kh, kw, ow, c: in each pass over a row of dx every window gives its
    pixel ``(kh, kw)`` dy if that has won and 0 if not. A pass that comes to its pixels first writes
    the numbers, a later one adds to them; so nothing is filled with zeros but what no window sees,
    and where windows do not overlap each number is written once.

    The tile is one window and `MANY` or NARROW channels. Passes over a row keep its short stretches
    of dy, winners and dx in the nearest cache, and need no loop around each window.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
        C is a multiple of NARROW.
    winner : ndarray of unsigned int (N, OH, OW, C)
        From `max_pool`.
    window : minicnn.shapes.Window
    dx : ndarray (N, H, W, C)
        Overwritten.
    """
    if dx.shape[3] % MANY == 0:
        _max_pool_backward(dy, winner, window, dx, MANY)
    else:
        _max_pool_backward(dy, winner, window, dx, NR_SMALL)


@inline_function
def _max_pool_backward(dy: Array, winner: Winner, window: Window, dx: Array, lanes: int) -> None:
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = dx.shape
    zeros = splat(dx, 0, lanes)
    row = W * C
    # The columns that first passes come to, which are the last SW ones; all or none, where windows
    # leave gaps.
    start, end = min(W, max(0, KW - SW - left)), min(W, (OW - 1) * SW - left + KW)
    if KW < SW:
        start, end = 0, 0
    for n in range(N):
        image = n * H * row
        begun = 0  # rows
        for oh in range(OH):
            h0 = oh * SH - top
            last_h = min(h0 + KH, H)
            _clear(dx, image + begun * row, image + h0 * row)
            for h in range(max(0, h0), last_h):
                first_column = image + h * row
                if h >= begun:
                    _clear(dx, first_column, first_column + start * C)
                    _clear(dx, first_column + end * C, first_column + row)
                for kw in range(KW - 1, -1, -1):  # so each sum is taken in the order of ow
                    comes_first = h >= begun and kw >= KW - SW
                    w = kw - left  # of window 0; then those inside of the image
                    first_ow = 0 if w >= 0 else (SW - 1 - w) // SW
                    last_ow = OW if (OW - 1) * SW + w < W else (W - 1 - w) // SW + 1
                    number = splat(winner, (h - h0) * KW + kw, lanes)
                    i = first_column + (first_ow * SW + w) * C
                    place = ((n * OH + oh) * OW + first_ow) * C
                    for _ in range(first_ow, last_ow):
                        for c in range(0, C, lanes):
                            mask = equals(load(winner, place + c, lanes), number)
                            won = select(mask, load(dy, place + c, lanes), zeros)
                            if not comes_first:
                                won = add(load(dx, i + c, lanes), won)
                            store(dx, i + c, won)
                        i += SW * C
                        place += C
            begun = max(begun, last_h)
        _clear(dx, image + begun * row, image + H * row)


@device_function
def _clear(array: Array, start: int, end: int) -> None:
    for i in range(start, end, NR_SMALL):
        store(array, i, splat(array, 0, NR_SMALL))


@kernel
def max_pool_backward_any_c(
    dy: Array, winner: Winner, window: Window, steps: Indices, W: int, dx: Array
) -> None:
    """Do what `max_pool_backward` does, for any number of channels.

    ``dx[n, corner of window (oh, ow) + steps[winner[n, oh, ow, c]] + c] += dy[n, oh, ow, c]``: one
    number at a time, since a few channels fill no vector. The table saves a division for each.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    winner : ndarray of unsigned int (N, OH, OW, C)
        From `max_pool`.
    window : minicnn.shapes.Window
    steps : ndarray of int (KH·KW,)
        Numbers from the corner of a window to each of its pixels.
    W : int
        Of the images.
    dx : ndarray (N, H·W·C)
        Updated.
    """
    _, _, SH, SW, top, left, _, _ = window
    N, OH, OW, C = dy.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                corner = ((oh * SH - top) * W + ow * SW - left) * C
                for c in range(C):
                    i = corner + steps[winner[n, oh, ow, c]] + c
                    dx[n, i] += dy[n, oh, ow, c]


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
                for c in range(0, C, NR_SMALL):
                    some = C - c
                    if some >= NR_SMALL:  # a constant instead of what is left: no masks
                        _mean(row, start * C + c, end - start, C, KH * KW, y, place + c, NR_SMALL)
                    else:
                        _mean(row, start * C + c, end - start, C, KH * KW, y, place + c, some)
                place += C


@device_function
def _add_rows(x: Array, i: int, count: int, row: Array) -> None:
    """Compute ``row[q] = Σ_k x[i + k·length + q]``."""
    length = row.size
    for q in range(0, length, NR_SMALL):
        if length - q >= NR_SMALL:
            _add(x, i + q, count, length, row, q, NR_SMALL)
        else:
            _add(x, i + q, count, length, row, q, length - q)


@device_function
def _add(a: Array, i: int, count: int, step: int, out: Array, o: int, left: int) -> None:
    total = load_tail(a, i, left)
    for _ in range(1, count):
        i += step
        total = add(total, load_tail(a, i, left))
    store_tail(out, o, total, left)


@device_function
def _mean(a: Array, i: int, count: int, step: int, area: int, y: Array, o: int, left: int) -> None:
    total = load_tail(a, i, left)
    for _ in range(1, count):
        i += step
        total = add(total, load_tail(a, i, left))
    store_tail(y, o, divide(total, splat(y, area, NR_SMALL)), left)


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
                fill_zero_range(dx, (n * H + begun) * length, (h0 - begun) * length)
            last_h = min(H, h0 + KH)
            for h in range(max(0, h0), last_h):
                i = (n * H + h) * length
                if h >= begun:
                    copy_range(row, 0, length, dx, i)
                else:
                    _add_row(row, length, dx, i)
            begun = max(begun, last_h)
        fill_zero_range(dx, (n * H + begun) * length, (H - begun) * length)


@device_function
def _divide_row(dy: Array, i: int, count: int, area: int, row: Array, o: int) -> None:
    for q in range(0, count - NR_SMALL + 1, NR_SMALL):
        store(row, o + q, divide(load(dy, i + q, NR_SMALL), splat(row, area, NR_SMALL)))
    for q in range(count - count % NR_SMALL, count):
        store(row, o + q, divide(load(dy, i + q, 1), splat(row, area, 1)))


@device_function
def _add_columns(row: Array, i: int, count: int, C: int, o: int) -> None:
    """Compute ``row[o + c] = Σ_k row[i + k·C + c]``."""
    for c in range(0, C, NR_SMALL):
        some = C - c
        if count <= 0:
            store_tail(row, o + c, splat(row, 0, NR_SMALL), some)
        elif some >= NR_SMALL:
            _add(row, i + c, count, C, row, o + c, NR_SMALL)
        else:
            _add(row, i + c, count, C, row, o + c, some)


@device_function
def _add_row(row: Array, count: int, dx: Array, i: int) -> None:
    for q in range(0, count - NR_SMALL + 1, NR_SMALL):
        store(dx, i + q, add(load(dx, i + q, NR_SMALL), load(row, q, NR_SMALL)))
    for q in range(count - count % NR_SMALL, count):
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
    fill_zero_range(y, 0, N * C)
    for n in range(N):
        for p in range(0, P, ROWS):
            count = min(ROWS, P - p)
            for c in range(0, C, NR_SMALL):
                i, o, some = (n * P + p) * C + c, n * C + c, C - c
                if some >= NR_SMALL:
                    _add_many(x, i, count, C, y, o, NR_SMALL)
                else:
                    _add_many(x, i, count, C, y, o, some)
        _divide_row(y, n * C, C, P, y, n * C)


@device_function
def _add_many(x: Array, i: int, count: int, step: int, y: Array, o: int, left: int) -> None:
    """Compute ``y[o + c] += Σ_k x[i + k·step + c]``."""
    zero = splat(x, 0, NR_SMALL)
    a0, a1, a2, a3 = load_tail(y, o, left), zero, zero, zero
    for _ in range(count // 4):
        a0, a1 = add(a0, load_tail(x, i, left)), add(a1, load_tail(x, i + step, left))
        i += 2 * step
        a2, a3 = add(a2, load_tail(x, i, left)), add(a3, load_tail(x, i + step, left))
        i += 2 * step
    for _ in range(count % 4):
        a0 = add(a0, load_tail(x, i, left))
        i += step
    store_tail(y, o, add(add(a0, a1), add(a2, a3)), left)


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
        for p in range(1, min(P, NR_SMALL)):
            copy_range(dx, first, C, dx, first + p * C)
        for p in range(NR_SMALL, P, NR_SMALL):
            copy_range(dx, first, min(NR_SMALL, P - p) * C, dx, first + p * C)
