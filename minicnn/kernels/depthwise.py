"""Depthwise convolution: each channel has a filter of its own.

Output pixels that see the image through the same taps of the window form a group. A group lists its
pixels (the origin of the window in the input, the offset of the output) and its taps (the offset
from the origin, the row of the weights). The pixels inside an image are one group; those at its
edges, where a part of the window lies outside, are others. The input gradient runs the same loops
on other lists: at a stride of S the pixels of dx form S·S groups, each with its own taps, so that
no product is taken with the zeros between the pixels of dy.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.gemm import MR
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.pack import Offsets, empty_panels, pack_weights, pad_images
from minicnn.kernels.simd import (
    axpy_tile,
    clamp_rows,
    gather_offsets,
    load,
    load_scalar,
    load_tail,
    load_tile,
    row_offsets,
    splat_tile,
    store_tile,
)
from minicnn.kernels.target import FULL_VECTOR, NR_CHOICES, NR_SMALL, Kernel, choose_nr, specialize
from minicnn.runtime import arena
from minicnn.shapes import Array, IntArray, Shape
from minicnn.shapes.window import Window

TAPS = 9  # accumulators of the weight gradient: all taps of a 3×3 kernel
# Average pixels of a group below which padding the images is faster: the last microtile of each
# group is partly empty.
MIN_GROUP_PIXELS = 8


class Reads(NamedTuple):
    """The pixels of an image that each pixel of another one reads."""

    groups: Offsets  # (groups, 4): first pixel, first tap, end of the pixels, end of the taps
    origins: Offsets  # (pixels,) in the image that is read
    outputs: Offsets  # (pixels,) in the other one
    taps: Offsets  # (taps,) offset from the origin
    weight_rows: Offsets  # (taps,) row of the weights (KH * KW, C)


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, C)."""
    _convolve(x, *forward_reads(window, *x.shape[1:]), weight, bias, y)


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight (KH, KW, C)."""
    around, reads = forward_reads(window, *x.shape[1:])
    backward_weight_kernel(pad_images(x, around), reads, dy, dweight)


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C)."""
    zeros = arena.constant_zeros(dx.shape[3], dx.dtype)
    _convolve(dy, *backward_reads(window, *dx.shape[1:]), weight, zeros, dx)


def _convolve(x: Array, around: Window, reads: Reads, weight: Array, bias: Array, y: Array) -> None:
    """Compute y, each pixel of which reads pixels of x."""
    weight, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    panels = empty_panels(weight)
    forward_kernel[choose_nr(len(bias))](pad_images(x, around), reads, weight, bias, panels, y)


# ---------------------------------------------------------------- lists of pixels and taps


@lru_cache(maxsize=256)
def forward_reads(window: Window, H: int, W: int, C: int) -> tuple[Window, Reads]:
    """List which pixels of x each pixel of y reads, for images (H, W, C)."""
    KH, KW, SH, SW, top, left, OH, OW = window
    h = np.arange(OH)[:, None] * SH - top + np.arange(KH)
    w = np.arange(OW)[:, None] * SW - left + np.arange(KW)
    return _group_reads((H, W, C), h, w, 1, 1)


@lru_cache(maxsize=256)
def backward_reads(window: Window, H: int, W: int, C: int) -> tuple[Window, Reads]:
    """List which pixels of dy each pixel of dx reads, for images (H, W, C)."""
    KH, KW, SH, SW, top, left, OH, OW = window
    h = np.arange(H)[:, None] + top - np.arange(KH)
    w = np.arange(W)[:, None] + left - np.arange(KW)
    return _group_reads((OH, OW, C), h, w, SH, SW)


def _group_reads(image: Shape, h: IntArray, w: IntArray, SH: int, SW: int) -> tuple[Window, Reads]:
    """List the reads of rows ``h / SH`` and columns ``w / SW``, if whole.

    h and w are (outputs, taps) along an axis. Reads outside the image are dropped, or read padding
    if that would split the pixels into too small groups. The window is 1×1, over the image and the
    padding that is read.
    """
    H, W, C = image
    # Each row with each column: from here on (output pixels, taps).
    pairs = np.broadcast_arrays(h[:, None, :, None], w[:, None, :])
    h, w = (axis.reshape(len(h) * len(w), -1) for axis in pairs)
    (h, h_rest), (w, w_rest) = np.divmod(h, SH), np.divmod(w, SW)
    whole = (h_rest == 0) & (w_rest == 0)
    read = whole & (h >= 0) & (h < H) & (w >= 0) & (w < W)
    groups = _equal_rows(read)
    if len(h) < MIN_GROUP_PIXELS * len(groups):
        read = whole
        groups = _equal_rows(read)
    top, left = -h[read].min(initial=0), -w[read].min(initial=0)
    bottom, right = h[read].max(initial=H - 1), w[read].max(initial=W - 1)
    around = Window(1, 1, 1, 1, int(top), int(left), int(top + bottom + 1), int(left + right + 1))
    sources = ((h + top) * around.OW + w + left) * C
    sizes, lists = [(0, 0)], []
    for pixels in groups:
        weight_rows = np.flatnonzero(read[pixels[0]])
        origins = sources[pixels, read[pixels[0]].argmax()]
        taps = sources[pixels[0], weight_rows] - origins[0]
        sizes.append((len(pixels), len(weight_rows)))
        lists.append((origins, np.array(pixels) * C, taps, weight_rows))
    ends = np.cumsum(sizes, axis=0)
    columns = (np.concatenate(column) for column in zip(*lists, strict=True))
    return around, Reads(np.hstack([ends[:-1], ends[1:]]), *columns)


def _equal_rows(matrix: NDArray[np.bool_]) -> list[list[int]]:
    """Return the indices of each group of equal rows."""
    groups: dict[bytes, list[int]] = {}
    for index, row in enumerate(matrix):
        groups.setdefault(row.tobytes(), []).append(index)
    return list(groups.values())


# ---------------------------------------------------------------- kernels


@specialize(NR_CHOICES)
def forward_kernel(NR: int) -> Kernel:
    """Loop order: image, panel, group, microtile, tap."""

    def depthwise_forward(
        x: Array,  # (N, H', W', C), padded as far as the windows reach
        reads: Reads,
        weight: Array,  # (KH, KW, C)
        bias: Array,  # (C,)
        panels: Array,  # scratch (ceil(C / NR), 1 + KH * KW, NR)
        y: Array,  # out (N, OH, OW, C)
    ) -> None:
        """Compute ``y[n, p, c] = b[c] + Σ_t x[n, origin[p] + tap[t] + c] · w``."""
        groups, origins, outputs, taps, weight_rows = reads
        pack_weights(weight, bias, panels, NR)
        C = bias.size
        count, panel_rows, _ = panels.shape
        N, H, W, _ = x.shape
        for n in range(N):
            base, out = n * H * W * C, n * outputs.size * C
            for panel in range(count):
                c, b = panel * NR, panel * panel_rows * NR
                bias_vector = load(panels, b, NR)
                for group in range(len(groups)):
                    last, last_tap = groups[group, 2], groups[group, 3]
                    for p in range(groups[group, 0], last, MR):
                        pixels = clamp_rows(p, last, MR)
                        windows = gather_offsets(origins, pixels, base + c)
                        acc = splat_tile(bias_vector, MR)
                        for t in range(groups[group, 1], last_tap):
                            w = load(panels, b + (1 + load_scalar(weight_rows, t)) * NR, NR)
                            rows = row_offsets(windows, 1, load_scalar(taps, t))
                            acc = axpy_tile(acc, w, load_tile(x, rows, C - c, NR))
                        store_tile(y, gather_offsets(outputs, pixels, out + c), acc, C - c)

    return depthwise_forward


@kernel
def backward_weight_kernel(
    x: Array,  # (N, H', W', C), padded as far as the windows reach
    reads: Reads,  # of the forward pass
    dy: Array,  # (N, OH, OW, C)
    dweight: Array,  # out (KH, KW, C)
) -> None:
    """Sum ``dw[t, c] = Σ x[n, origin[p] + tap[t] + c] · dy[n, out[p] + c]``.

    p runs over the pixels of every group that has tap t. Loop order: n, c, group, t, p.
    """
    N, H, W, C = x.shape
    dweight[:] = 0
    for n in range(N):
        for c in range(0, C, NR_SMALL):
            i, g, remaining = n * H * W * C + c, n * reads.outputs.size * C + c, C - c
            for group in range(len(reads.groups)):
                if remaining >= NR_SMALL:  # a constant, so that LLVM drops the masks
                    _correlate(x, i, reads, group, dy, g, dweight, c, FULL_VECTOR)
                else:
                    _correlate(x, i, reads, group, dy, g, dweight, c, remaining)


@device_function
def _correlate(
    x: Array,
    i: int,  # offset of the image and channel in x
    reads: Reads,
    group: int,
    dy: Array,
    g: int,  # offset of the image and channel in dy
    dweight: Array,
    c: int,
    remaining: int,
) -> None:
    """Add one group of one image to `remaining` channels of dweight."""
    groups, origins, outputs, taps, weight_rows = reads
    # Not groups[group, 0], with which this takes up to a tenth longer.
    first, first_tap = load_scalar(groups, 4 * group), load_scalar(groups, 4 * group + 1)
    last, last_tap = load_scalar(groups, 4 * group + 2), load_scalar(groups, 4 * group + 3)
    for t in range(first_tap, last_tap, TAPS):
        rows = clamp_rows(t, last_tap, TAPS)
        tap_offsets = gather_offsets(taps, rows, 0)
        out = row_offsets(gather_offsets(weight_rows, rows, 0), dweight.shape[2], c)
        acc = load_tile(dweight, out, remaining, NR_SMALL)
        for p in range(first, last):
            windows = row_offsets(tap_offsets, 1, i + load_scalar(origins, p))
            d = load_tail(dy, g + load_scalar(outputs, p), remaining, NR_SMALL)
            acc = axpy_tile(acc, d, load_tile(x, windows, remaining, NR_SMALL))
        store_tile(dweight, out, acc, remaining)
