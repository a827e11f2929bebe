"""Max-pooling and its way back, some channels of a window at a time."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.patches import Window
from minicnn.kernels.pooled import store_strongest
from minicnn.kernels.tiles import load_four, load_up_to
from minicnn.kernels.vectors import (
    add,
    beats,
    equals,
    fill,
    load,
    select,
    store,
    store_first,
)

# Channels that are taken at once where they divide into so many: what is known of a window stays in
# registers, and the loop around a pixel is paid for once. Twice as many would not fit; of a square
# of four pixels, all of which are loaded at once, only half as many do. Other numbers of channels
# are taken NARROW at a time.
MANY = 4 * NARROW
MANY_OF_FOUR = 2 * NARROW

Vector = Any
Array = NDArray[np.float32]
Winner = NDArray[np.unsignedinteger]
Indices = NDArray[np.int64]


@numba.njit(inline="always")
def _store(array: NDArray[Any], i: int, v: Vector, left: int, lanes: int) -> None:
    if left >= lanes:
        store(array, i, v)
    else:
        store_first(array, i, v, left)


@kernel
def max_pool(x: Array, window: Window, y: Array, winner: Winner) -> None:
    """Take each window's maximum and remember which of its pixels that was.

    ``y[n, oh, ow, c] = max_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]``. The window is
    cut to the image first, which is what padding with -∞ means. Only a greater value replaces the
    best so far, so the first of equals wins; a NaN always does, and so travels on to the loss
    instead of vanishing here.

    The tile is one window and some channels: the best so far and where it was are a few registers,
    and nothing else is written. Squares of 2×2 pixels, the pool of nearly every network, are taken
    as they are under a convolution, by `minicnn.kernels.pooled`, without loops over kh and kw.

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
            _max_of_four(x, window, y, winner, NARROW)
    elif C % MANY == 0:
        _max_pool(x, window, y, winner, MANY)
    else:
        _max_pool(x, window, y, winner, NARROW)


@numba.njit(inline="always")
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
                    some = C - c if lanes == NARROW else lanes
                    four = load_four(x, pixels, c, some, lanes)
                    store_strongest(four, False, y, winner, place + c, lanes)
                place += C


@numba.njit(inline="always")
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
                    some = C - c if lanes == NARROW else lanes
                    i = corner + (first_kh * W + first_kw) * C + c
                    best = load_up_to(x, i, some, lanes)
                    which = fill(winner, first_kh * KW + first_kw, lanes)
                    for kh in range(first_kh, last_kh):
                        i = corner + (kh * W + first_kw) * C + c
                        for kw in range(first_kw, last_kw):
                            v = load_up_to(x, i, some, lanes)
                            mask = beats(v, best)
                            best = select(mask, v, best)
                            which = select(mask, fill(winner, kh * KW + kw, lanes), which)
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
        _max_pool_backward(dy, winner, window, dx, NARROW)


@numba.njit(inline="always")
def _max_pool_backward(dy: Array, winner: Winner, window: Window, dx: Array, lanes: int) -> None:
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = dx.shape
    zeros = fill(dx, 0, lanes)
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
                    number = fill(winner, (h - h0) * KW + kw, lanes)
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


@piece
def _clear(array: Array, start: int, end: int) -> None:
    for i in range(start, end, NARROW):
        store(array, i, fill(array, 0, NARROW))


@kernel
def max_pool_scatter(
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
