"""Max, average and global average pooling, forward and backward.

Average pooling is separable: the KH rows of a window are added along whole rows of the image, which
is one pass over contiguous values for any number of channels; then KW neighbors of that sum, which
stays in L1. So a value is read KH times instead of KH·KW times.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.conv_pool import store_max
from minicnn.kernels.copy import add_range, copy_range, fill_zero_range
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.reduce import for_each_vector
from minicnn.kernels.simd import (
    Vector,
    add,
    divide,
    equals,
    greater_or_nan,
    load,
    load_tail,
    load_tile,
    row_offsets,
    select,
    splat,
    store,
    store_tail,
)
from minicnn.kernels.target import FULL_VECTOR, LANES
from minicnn.shapes import Array
from minicnn.shapes.window import Window

# Channels per iteration if they divide C: the state of a window stays in registers, and the loop
# over its pixels runs once for all of them. Twice as many would not fit. For 2×2 windows, whose
# four pixels are loaded together, only half as many fit. Else LANES channels per iteration.
WIDE = 4 * LANES
WIDE_2X2 = 2 * LANES

Argmax = NDArray[np.unsignedinteger]


# ---------------------------------------------------------------- max pooling


@kernel
def max_pool(
    x: Array,  # (N, H, W, C)
    window: Window,
    y: Array,  # out (N, OH, OW, C)
    argmax: Argmax,  # out (N, OH, OW, C), kh·KW + kw of each maximum
) -> None:
    """Compute the maximum of each window and its position.

    ``y[n, oh, ow, c] = max_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]``. Padding is -∞:
    the window is cropped to the image. The first of equal values is the maximum; NaN is greater
    than every number, so that it reaches the loss.

    2×2 windows, the most common, are computed as in a convolution with its pool
    (`minicnn.kernels.conv_pool`), without loops over kh and kw.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    _, H, W, C = x.shape
    inside = top == 0 and left == 0 and (OH - 1) * SH + KH <= H and (OW - 1) * SW + KW <= W
    if KH == 2 and KW == 2 and inside:
        if C % WIDE_2X2 == 0:
            _max_pool_2x2(x, window, y, argmax, WIDE_2X2)
        else:
            _max_pool_2x2(x, window, y, argmax, LANES)
    elif C % WIDE == 0:
        _max_pool(x, window, y, argmax, WIDE)
    else:
        _max_pool(x, window, y, argmax, LANES)


@device_function
def _max_pool_2x2(x: Array, window: Window, y: Array, argmax: Argmax, lanes: int) -> None:
    """Loops: n, oh, ow, vector of c."""
    SH, SW = window[2:4]
    _, H, W, C = x.shape
    N, OH, OW, _ = y.shape
    o = 0
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                origin = ((n * H + oh * SH) * W + ow * SW) * C
                pixels = origin, origin + C, origin + W * C, origin + (W + 1) * C
                for c in range(0, C, lanes):
                    remaining = C - c if lanes == LANES else lanes
                    four = load_tile(x, row_offsets(pixels, 1, c), remaining, lanes)
                    store_max(four, False, y, argmax, o + c, lanes)
                o += C


@device_function
def _max_pool(x: Array, window: Window, y: Array, argmax: Argmax, lanes: int) -> None:
    """Loops: n, oh, ow, vector of c, kh, kw; the state stays in registers."""
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    o = 0
    for n in range(N):
        for oh in range(OH):
            h0 = oh * SH - top
            first_kh, last_kh = max(0, -h0), min(KH, H - h0)
            for ow in range(OW):
                w0 = ow * SW - left
                first_kw, last_kw = max(0, -w0), min(KW, W - w0)
                origin = ((n * H + h0) * W + w0) * C
                for c in range(0, C, lanes):
                    remaining = C - c if lanes == LANES else lanes
                    i = origin + (first_kh * W + first_kw) * C + c
                    best = load_tail(x, i, remaining, lanes)
                    position = splat(argmax, first_kh * KW + first_kw, lanes)
                    for kh in range(first_kh, last_kh):
                        i = origin + (kh * W + first_kw) * C + c
                        for kw in range(first_kw, last_kw):
                            v = load_tail(x, i, remaining, lanes)
                            mask = greater_or_nan(v, best)
                            best = select(mask, v, best)
                            position = select(mask, splat(argmax, kh * KW + kw, lanes), position)
                            i += C
                    store_tail(y, o + c, best, remaining)
                    store_tail(argmax, o + c, position, remaining)
                o += C


@kernel
def max_pool_backward(
    dy: Array,  # (N, OH, OW, C), C a multiple of LANES
    argmax: Argmax,  # (N, OH, OW, C), from `max_pool`
    window: Window,
    dx: Array,  # out (N, H, W, C)
) -> None:
    """Add each gradient to the pixel of its maximum.

    ``dx[n, oh·SH - top + kh, ow·SW - left + kw, c] += dy[n, oh, ow, c]`` where ``argmax[n, oh, ow,
    c] = kh·KW + kw``. Loops: n, oh, kh, kw, ow, c. In each pass over a row of dx every window adds
    dy or 0 to its pixel (kh, kw). The first pass over a pixel writes, later passes add. So zeros
    are filled only into pixels outside all windows, and without overlap each value is written once.

    Passes over a row keep its dy, argmax and dx in L1, and need no loop around each window.
    """
    if dx.shape[3] % WIDE == 0:
        _max_pool_backward(dy, argmax, window, dx, WIDE)
    else:
        _max_pool_backward(dy, argmax, window, dx, LANES)


@device_function
def _max_pool_backward(dy: Array, argmax: Argmax, window: Window, dx: Array, lanes: int) -> None:
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = dx.shape
    zeros = splat(dx, 0, lanes)
    row_stride = W * C
    # The columns that first passes write: those of the last SW taps. All columns are cleared
    # instead if the windows leave gaps.
    start, end = min(W, max(0, KW - SW - left)), min(W, (OW - 1) * SW - left + KW)
    if KW < SW:
        start, end = 0, 0
    for n in range(N):
        image = n * H * row_stride
        written = 0  # rows of the image
        for oh in range(OH):
            h0 = oh * SH - top
            last_h = min(h0 + KH, H)
            fill_zero_range(dx, image + written * row_stride, (h0 - written) * row_stride)
            for h in range(max(0, h0), last_h):
                row = image + h * row_stride
                if h >= written:
                    fill_zero_range(dx, row, start * C)
                    fill_zero_range(dx, row + end * C, row_stride - end * C)
                for kw in range(KW - 1, -1, -1):  # descending, so each sum is in the order of ow
                    is_first = h >= written and kw >= KW - SW
                    w = kw - left  # of window 0; the loop covers the windows with w in the image
                    first_ow = 0 if w >= 0 else (SW - 1 - w) // SW
                    last_ow = OW if (OW - 1) * SW + w < W else (W - 1 - w) // SW + 1
                    tap = splat(argmax, (h - h0) * KW + kw, lanes)
                    i = row + (first_ow * SW + w) * C
                    o = ((n * OH + oh) * OW + first_ow) * C
                    for _ in range(first_ow, last_ow):
                        for c in range(0, C, lanes):
                            mask = equals(load(argmax, o + c, lanes), tap)
                            g = select(mask, load(dy, o + c, lanes), zeros)
                            if not is_first:
                                g = add(load(dx, i + c, lanes), g)
                            store(dx, i + c, g)
                        i += SW * C
                        o += C
            written = max(written, last_h)
        fill_zero_range(dx, image + written * row_stride, (H - written) * row_stride)


@kernel
def max_pool_backward_any_c(
    dy: Array,  # (N, OH, OW, C)
    argmax: Argmax,  # (N, OH, OW, C), from `max_pool`
    window: Window,
    tap_offsets: NDArray[np.int64],  # (KH·KW,) from a window's origin to each of its pixels
    W: int,
    dx: Array,  # updated (N, H·W·C)
) -> None:
    """Compute `max_pool_backward` for any number of channels, value by value.

    Loops: n, oh, ow, c. A few channels fill no vector; the table replaces a division per value.
    """
    _, _, SH, SW, top, left, _, _ = window
    N, OH, OW, C = dy.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                origin = ((oh * SH - top) * W + ow * SW - left) * C
                for c in range(C):
                    i = origin + tap_offsets[argmax[n, oh, ow, c]] + c
                    dx[n, i] += dy[n, oh, ow, c]


# ---------------------------------------------------------------- average pooling


@kernel
def avg_pool(
    x: Array,  # (N, H, W, C)
    window: Window,
    y: Array,  # out (N, OH, OW, C)
    row_sums: Array,  # scratch (W·C,)
) -> None:
    """Compute the mean of each window; padding counts as 0.

    ``y[n, oh, ow, c] = Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c] / (KH·KW)``. Loops:
    n, oh, kh over a row of the image, then ow, vector of c, kw.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = x.shape
    o = 0
    for n in range(N):
        for oh in range(OH):
            first, last = max(0, oh * SH - top), min(H, oh * SH - top + KH)
            i = (n * H + first) * W * C
            # row_sums.size is W·C, but LLVM makes slower code for that product.
            _mean_range(x, i, last - first, row_sums.size, 1, row_sums, 0)
            for ow in range(OW):
                start, end = max(0, ow * SW - left), min(W, ow * SW - left + KW)
                _mean_range(row_sums, start * C, end - start, C, KH * KW, y, o)
                o += C


@device_function
def _mean_range(a: Array, i: int, rows: int, length: int, divisor: int, out: Array, o: int) -> None:
    """Set ``out[o + q] = Σ_k a[i + k·length + q] / divisor`` for all q."""
    divisors = splat(out, divisor, LANES)
    for q in range(0, length, LANES):
        remaining = length - q
        if remaining >= LANES:  # a constant, so that LLVM drops the masks
            total = _sum(a, i + q, rows, length, FULL_VECTOR)
        else:
            total = _sum(a, i + q, rows, length, remaining)
        store_tail(out, o + q, divide(total, divisors), remaining)


@device_function
def _sum(a: Array, i: int, count: int, stride: int, remaining: int) -> Vector:
    """Return ``Σ_k a[i + k·stride]`` for one vector."""
    total = load_tail(a, i, remaining, LANES)
    for _ in range(1, count):
        i += stride
        total = add(total, load_tail(a, i, remaining, LANES))
    return total


@kernel
def avg_pool_backward(
    dy: Array,  # (N, OH, OW, C)
    window: Window,
    dx: Array,  # out (N, H, W, C)
    row: Array,  # scratch ((W + OW)·C,): a row of dx, then a row of dy / (KH·KW)
) -> None:
    """Distribute each gradient over its window: the adjoint of `avg_pool`.

    ``dx[n, h, w, c] = Σ dy[n, oh, ow, c] / (KH·KW)`` over the windows that contain pixel (h, w).
    Loops: n, oh, then w, c, ow for a row of sums, then kh over the rows that receive it. The first
    window row over a row of dx writes, later ones add.
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, H, W, C = dx.shape
    length = W * C
    fill_zero_range(row, 0, length)  # what remains of it: columns outside all windows
    for n in range(N):
        written = 0  # rows of the image
        for oh in range(OH):
            _mean_range(dy, (n * OH + oh) * OW * C, 1, OW * C, KH * KW, row, length)
            for w in range(W):
                first = max(0, (w + left - KW) // SW + 1)
                last = min(OW, (w + left) // SW + 1)
                if first < last:
                    _mean_range(row, length + first * C, last - first, C, 1, row, w * C)
            h0 = oh * SH - top
            if written < h0:
                fill_zero_range(dx, (n * H + written) * length, (h0 - written) * length)
            last_h = min(H, h0 + KH)
            for h in range(max(0, h0), last_h):
                i = (n * H + h) * length
                if h >= written:
                    copy_range(row, 0, length, dx, i)
                else:
                    add_range(row, 0, length, dx, i)
            written = max(written, last_h)
        fill_zero_range(dx, (n * H + written) * length, (H - written) * length)


# ---------------------------------------------------------------- global average pooling


@kernel
def global_avg_pool(
    x: Array,  # (N, P, C)
    y: Array,  # out (N, C)
) -> None:
    """Compute the mean of each channel: ``y[n, c] = Σ_p x[n, p, c] / P``.

    Loops: n, block of p, vector of c, p. A block of pixels stays in L1 while all channels are
    summed. Four accumulators per vector hide the latency of an addition.
    """
    N, P, C = x.shape
    y[:] = 0
    for n in range(N):
        for_each_vector(_add_sum, P, C, x, n, y)  # slices of x and y would cost a third
        _mean_range(y, n * C, 1, C, P, y, n * C)


@device_function
def _add_sum(rows: range, c: int, remaining: int, x: Array, n: int, y: Array) -> None:
    """Add one vector of channels of `rows` to ``y[n, c]``, in four sums."""
    _, P, C = x.shape
    i, o, count = n * P * C + rows.start, n * C + c, len(rows)
    zeros = splat(x, 0, LANES)
    a0, a1, a2, a3 = load_tail(y, o, remaining, LANES), zeros, zeros, zeros
    for _ in range(count // 4):
        a0 = add(a0, load_tail(x, i, remaining, LANES))
        a1 = add(a1, load_tail(x, i + C, remaining, LANES))
        i += 2 * C
        a2 = add(a2, load_tail(x, i, remaining, LANES))
        a3 = add(a3, load_tail(x, i + C, remaining, LANES))
        i += 2 * C
    for _ in range(count % 4):
        a0 = add(a0, load_tail(x, i, remaining, LANES))
        i += C
    store_tail(y, o, add(add(a0, a1), add(a2, a3)), remaining)


@kernel
def global_avg_pool_backward(
    dy: Array,  # (N, C)
    dx: Array,  # out (N, P, C)
) -> None:
    """Distribute each gradient over its image: ``dx[n, p, c] = dy[n, c] / P``.

    Loops: n, p, c. The first pixel is computed, the others are copies of it. Copies are LANES
    pixels long: whole vectors for any number of channels.
    """
    N, P, C = dx.shape
    for n in range(N):
        first = n * P * C
        _mean_range(dy, n * C, 1, C, P, dx, first)
        for p in range(1, min(P, LANES)):
            copy_range(dx, first, C, dx, first + p * C)
        for p in range(LANES, P, LANES):
            copy_range(dx, first, min(LANES, P - p) * C, dx, first + p * C)
