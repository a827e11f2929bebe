"""Depthwise convolution: each channel has a filter of its own.

Output pixels that see the image through the same taps of the window form a group. A group lists its
pixels (the origin of the window in the input, the offset of the output) and its taps (the offset
from the origin, the row of the weights). The pixels inside an image are one group; those at its
edges, where a part of the window lies outside, are others. The input gradient runs the same loops
on other lists: at a stride of S the pixels of dx form S·S groups, each with its own taps, so that
no product is taken with the zeros between the pixels of dy.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.depthwise_plan import Taps, backward_taps, forward_taps
from minicnn.kernels.gemm import MR
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.pack import pack_weights, pad_images, panels_spec
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
from minicnn.shapes import Array
from minicnn.shapes.window import Window

Offsets = NDArray[np.int64]
Lists = tuple[Offsets, Offsets, Offsets, Offsets, Offsets]

TAPS = 9  # accumulators of the weight gradient: all taps of a 3×3 kernel


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, C)."""
    _convolve(x, forward_taps(window, *x.shape[1:]), weight, bias, y)


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight (KH, KW, C)."""
    N, _, _, C = x.shape
    taps = forward_taps(window, *x.shape[1:])
    padded = pad_images(x, taps.around).reshape(N, -1)
    backward_weight_kernel(padded, *taps[1:], dy.reshape(N, -1), dweight.reshape(-1, C))


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C)."""
    zeros = arena.constant_zeros(dx.shape[3], dx.dtype)
    _convolve(dy, backward_taps(window, *dx.shape[1:]), weight, zeros, dx)


def _convolve(x: Array, taps: Taps, weight: Array, bias: Array, y: Array) -> None:
    """Run the forward kernel on lists of taps."""
    N, C = len(x), len(bias)
    (panels,) = arena.allocate((panels_spec(weight.size // C, C, x.dtype),))
    forward_kernel[choose_nr(C)](
        pad_images(x, taps.around).reshape(N, -1),
        *taps[1:],
        np.ascontiguousarray(weight).reshape(-1, C),
        np.ascontiguousarray(bias),
        panels,
        y.reshape(N, -1),
    )


@specialize(NR_CHOICES)
def forward_kernel(NR: int) -> Kernel:
    """Loop order: image, panel, group, microtile, tap."""

    def depthwise_forward(
        x: Array,  # (N, H' * W' * C), padded as far as the windows reach
        tap_groups: Offsets,  # (groups, 4): first and last pixel, first and last tap
        origins: Offsets,  # (pixels,) of the window in x
        output_offsets: Offsets,  # (pixels,)
        taps: Offsets,  # (taps,) offset from the origin
        weight_rows: Offsets,  # (taps,) row of `weight`
        weight: Array,  # (KH * KW, C)
        bias: Array,  # (C,)
        panels: Array,  # scratch (ceil(C / NR), 1 + KH * KW, NR)
        y: Array,  # out (N, pixels * C)
    ) -> None:
        """Compute ``y[n, p, c] = b[c] + Σ_t x[n, origin[p] + tap[t] + c] · w``."""
        pack_weights(weight, bias, panels, NR)
        C = bias.size
        count, panel_rows, _ = panels.shape
        for n in range(len(y)):
            base, out = n * x.shape[1], n * y.shape[1]
            for panel in range(count):
                c, b = panel * NR, panel * panel_rows * NR
                bias_vector = load(panels, b, NR)
                for group in range(len(tap_groups)):
                    last = load_scalar(tap_groups, 4 * group + 1)
                    last_tap = load_scalar(tap_groups, 4 * group + 3)
                    for p in range(load_scalar(tap_groups, 4 * group), last, MR):
                        pixels = clamp_rows(p, last, MR)
                        windows = gather_offsets(origins, pixels, base + c)
                        acc = splat_tile(bias_vector, MR)
                        for t in range(load_scalar(tap_groups, 4 * group + 2), last_tap):
                            w = load(panels, b + (1 + load_scalar(weight_rows, t)) * NR, NR)
                            rows = row_offsets(windows, 1, load_scalar(taps, t))
                            acc = axpy_tile(acc, w, load_tile(x, rows, C - c, NR))
                        rows = gather_offsets(output_offsets, pixels, out + c)
                        store_tile(y, rows, acc, C - c)

    return depthwise_forward


@kernel
def backward_weight_kernel(
    x: Array,  # (N, H' * W' * C), padded as far as the windows reach
    tap_groups: Offsets,  # as in the forward pass, like the next four
    origins: Offsets,
    output_offsets: Offsets,
    taps: Offsets,
    weight_rows: Offsets,
    dy: Array,  # (N, pixels * C)
    dweight: Array,  # out (KH * KW, C)
) -> None:
    """Sum ``dw[t, c] = Σ x[n, origin[p] + tap[t] + c] · dy[n, out[p] + c]``.

    p runs over the pixels of every group that has tap t. Loop order: n, c, group, t, p.
    """
    C = dweight.shape[1]
    lists = (tap_groups, origins, output_offsets, taps, weight_rows)
    dweight[:] = 0
    for n in range(len(dy)):
        for c in range(0, C, NR_SMALL):
            i, g, remaining = n * x.shape[1] + c, n * dy.shape[1] + c, C - c
            for group in range(len(tap_groups)):
                if remaining >= NR_SMALL:  # a constant, so that LLVM drops the masks
                    _correlate(x, i, lists, group, dy, g, dweight, c, FULL_VECTOR)
                else:
                    _correlate(x, i, lists, group, dy, g, dweight, c, remaining)


@device_function
def _correlate(
    x: Array,
    i: int,  # offset of the image and channel in x
    lists: Lists,
    group: int,
    dy: Array,
    g: int,  # offset of the image and channel in dy
    dweight: Array,
    c: int,
    remaining: int,
) -> None:
    """Add one group of one image to `remaining` channels of dweight."""
    tap_groups, origins, output_offsets, taps, weight_rows = lists
    last = load_scalar(tap_groups, 4 * group + 3)
    for t in range(load_scalar(tap_groups, 4 * group + 2), last, TAPS):
        rows = clamp_rows(t, last, TAPS)
        tap_offsets = gather_offsets(taps, rows, 0)
        out = row_offsets(gather_offsets(weight_rows, rows, 0), dweight.shape[1], c)
        acc = load_tile(dweight, out, remaining, NR_SMALL)
        for p in range(load_scalar(tap_groups, 4 * group), load_scalar(tap_groups, 4 * group + 1)):
            windows = row_offsets(tap_offsets, 1, i + load_scalar(origins, p))
            d = load_tail(dy, g + load_scalar(output_offsets, p), remaining, NR_SMALL)
            acc = axpy_tile(acc, d, load_tile(x, windows, remaining, NR_SMALL))
        store_tile(dweight, out, acc, remaining)
