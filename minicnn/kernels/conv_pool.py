"""Convolution, ReLU and 2×2 max-pooling in one pass.

The unpooled map is never written. The four pixels of a pooling window are rows of one microtile of
the direct convolution, so their maximum is taken while they are in registers. The kernel stores the
pooled value and one byte: the pixel of the maximum, 0 to 3 in row order, or INACTIVE where the ReLU
made the output 0.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.gemm import accumulate
from minicnn.kernels.jit import device_function
from minicnn.kernels.pack import Offsets, empty_panels, grid_offsets, pack_weights, pad_images
from minicnn.kernels.simd import (
    Tile,
    Vector,
    clamp_rows,
    gather_offsets,
    greater_or_nan,
    load,
    row_offsets,
    select,
    splat,
    splat_tile,
    store_tail,
)
from minicnn.kernels.target import NR_CHOICES, SIMD_WIDTH, Kernel, choose_nr, specialize
from minicnn.shapes import Array
from minicnn.shapes.window import Window

Bytes = NDArray[np.uint8]

INACTIVE = 4  # the value of argmax where the ReLU set the output to 0


def forward(
    x: Array, weight: Array, bias: Array, window: Window, relu: bool, y: Array, argmax: Bytes
) -> None:
    """Compute y and argmax (N, OH // 2, OW // 2, F); OH and OW are even."""
    C, F = weight.shape[2:]
    padded = pad_images(x, window)
    origins = pool_origins(window, padded.shape[2] * C, C)
    weight, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    panels = empty_panels(weight)
    forward_kernel[choose_nr(F)](padded, origins, weight, bias, panels, relu, y, argmax)


@lru_cache(maxsize=256)
def pool_origins(window: Window, row_stride: int, C: int) -> Offsets:
    """Return the origin of each window; those of an output are adjacent."""
    OH, OW = window.OH, window.OW
    origins = grid_offsets(OH, OW, window.SH * row_stride, window.SW * C)
    squares = origins.reshape(OH // 2, 2, OW // 2, 2).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(squares.ravel())


@device_function
def store_max(four: Tile, relu: bool, y: Array, argmax: Bytes, offset: int, NR: int) -> None:
    """Store the maximum of four vectors and its index, or INACTIVE.

    Equal values give the first index. NaN is greater than any number. With a ReLU the maximum is at
    least 0.

    Only the end of the array is masked. Elsewhere a vector may end past the channels of its pixel;
    the caller overwrites these values later. Masked stores take ten times as long on some CPUs.
    """
    a0, a1, a2, a3 = four
    zero = splat(y, 0, NR)
    best, index = keep_greater(a0, zero, a1, splat(y, 1, NR))
    best, index = keep_greater(best, index, a2, splat(y, 2, NR))
    best, index = keep_greater(best, index, a3, splat(y, 3, NR))
    if relu:
        active = greater_or_nan(best, zero)
        best = select(active, best, zero)
        index = select(active, index, splat(y, INACTIVE, NR))
    store_tail(y, offset, best, y.size - offset)
    store_tail(argmax, offset, index, y.size - offset)


@device_function
def keep_greater(best: Vector, index: Vector, v: Vector, k: Vector) -> tuple[Vector, Vector]:
    """Return v and k where v is greater, else the best so far and its index."""
    mask = greater_or_nan(v, best)
    return select(mask, v, best), select(mask, k, index)


@specialize(NR_CHOICES)
def forward_kernel(NR: int) -> Kernel:
    """Loop order: image, panel, microtile, window row, k."""
    # Two FMAs start per cycle and each takes four cycles, so eight must be in flight. Where four
    # vectors are four registers, a microtile is two pooling windows.
    in_pairs = NR <= SIMD_WIDTH
    windows = 2 if in_pairs else 1
    tile_rows = 4 * windows  # not MR: a microtile holds whole pooling windows

    def conv_pool_forward(
        x: Array,  # (N, H, W, C), padded
        origins: Offsets,  # (4 * P,): the four windows of an output follow each other
        weight: Array,  # (KH, KW, C, F)
        bias: Array,  # (F,)
        panels: Array,  # scratch (ceil(F / NR), 1 + KH * KW * C, NR)
        relu: bool,
        y: Array,  # out (N, PH, PW, F)
        argmax: Bytes,  # out (N, PH, PW, F)
    ) -> None:
        """Compute the maximum over j = 0 … 3 of the direct convolution.

        ``bias[f] + Σ_{kh,q} x[n, origin[4p + j] + kh·row_stride + q] · weight[kh, q, f]``.
        """
        pack_weights(weight, bias, panels, NR)
        N, H, W, C = x.shape
        KH, KW, _, F = weight.shape
        P = y.shape[1] * y.shape[2]
        row_stride, K_row, panel_rows = W * C, KW * C, panels.shape[1]
        for n in range(N):
            # The last panel first: its vectors end past the channels of a pixel.
            for f in range((F - 1) // NR * NR, -1, -NR):
                panel, out = f * panel_rows, n * P * F + f
                bias_tile = splat_tile(load(panels, panel, NR), tile_rows)
                for p in range(0, P, windows):
                    pixels = clamp_rows(4 * p, 4 * P, tile_rows)
                    origin = gather_offsets(origins, pixels, n * H * row_stride)
                    acc = bias_tile
                    for kh in range(KH):
                        rows = row_offsets(origin, 1, kh * row_stride)
                        w = panel + (1 + kh * K_row) * NR
                        acc = accumulate(acc, x, rows, K_row, 1, panels, w, NR, NR)
                    store_max(acc[:4], relu, y, argmax, out + p * F, NR)
                    if in_pairs and p + 1 < P:  # P may be odd
                        store_max(acc[-4:], relu, y, argmax, out + (p + 1) * F, NR)

    return conv_pool_forward
