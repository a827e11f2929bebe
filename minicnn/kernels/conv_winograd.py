"""Winograd convolution F(2×2, 3×3).

It takes 16 multiplications for four outputs, where the direct sum takes 36. Four neighboring
outputs of a 3×3 convolution come from one 4×4 tile of the image::

    forward   y  = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A
    dweight   dw = Gᵀ [(Bᵀ x B) ⊙ (A dy Aᵀ)] G
    dx        dx = B [(G w Gᵀ) ⊙ (A dy Aᵀ)] Bᵀ

⊙ multiplies element by element; the matrices are in `winograd_transforms`. Over C channels each of
the 16 elements is a matrix product: ``(tiles, C) · (C, F)`` forward, ``(C, tiles) · (tiles, F)``
for dweight and ``(tiles, F) · (F, C)`` for dx, where neighboring tiles overlap and add up. The
transforms add and halve only, so on whole numbers the result is exact as long as it fits.

Derivation: minicnn/reference/DERIVATIONS.md, "Winograd minimal filtering". Lavin, Gray, "Fast
algorithms for convolutional neural networks" (CVPR 2016), section 4.1.
"""

import numpy as np
from numpy.typing import DTypeLike

from minicnn.kernels import copy, target
from minicnn.kernels.conv_pool import Bytes, store_max
from minicnn.kernels.copy import fill_zero_range, transpose
from minicnn.kernels.pack import pad_images, padded_shape, round_up
from minicnn.kernels.simd import load_tail, store_tail
from minicnn.kernels.target import NR_CHOICES, NR_SMALL, Kernel, specialize
from minicnn.kernels.winograd_transforms import (
    add_input_gradient,
    batched_gemm,
    batched_gemm_tn,
    tile_origin,
    transform_dy,
    transform_input,
    transform_products,
    transform_weight,
    transform_weight_backward,
)
from minicnn.runtime import arena
from minicnn.runtime.arena import ArraySpec
from minicnn.shapes import Array
from minicnn.shapes.window import Window

# Tiles that are transformed and multiplied together: each transformed weight that is loaded serves
# them all. A multiple of MR.
TILES_PER_BLOCK = 48
# With fewer channels the transforms take longer than the multiplications that they save.
MIN_CHANNELS = 16


# ---------------------------------------------------------------- backend interface


def supports(window: Window) -> bool:
    """Return whether the kernel is 3×3 at stride 1."""
    return (window.KH, window.KW, window.SH, window.SW) == (3, 3, 1, 1)


def is_faster(window: Window, C: int, F: int) -> bool:
    """Return whether Winograd is possible and faster than `conv_direct`."""
    return supports(window) and min(C, F) >= MIN_CHANNELS


def forward(x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
    """Compute y (N, OH, OW, F)."""
    NR, *scratch = _transform_weight(weight)
    padded = pad_images(x, _whole_tiles(window))
    forward_kernel[NR](padded, np.ascontiguousarray(bias), y, *scratch)


def forward_pool(
    x: Array, weight: Array, bias: Array, window: Window, relu: bool, y: Array, argmax: Bytes
) -> None:
    """Compute the 2×2 max-pool of the convolution.

    y and argmax are (N, OH // 2, OW // 2, F). OH and OW are even.
    """
    NR, *scratch = _transform_weight(weight)
    padded = pad_images(x, window)
    forward_pool_kernel[NR](padded, np.ascontiguousarray(bias), relu, y, argmax, *scratch)


def backward_weight(x: Array, dy: Array, window: Window, dweight: Array) -> None:
    """Compute dweight (3, 3, C, F)."""
    C, F = x.shape[3], dy.shape[3]
    _, *specs = scratch_specs(C, F, x.dtype)
    # C + 1 rows, because planes a power of two apart evict each other from the L1 cache.
    dtransformed, tiles, gradients = arena.allocate(
        (((16, C + 1, round_up(F, NR_SMALL)), x.dtype), *specs)
    )
    copy.fill_zero(dtransformed.reshape(-1))
    padded = pad_images(x, _whole_tiles(window))
    backward_weight_kernel[choose_panel_nr(F)](padded, dy, dtransformed, tiles, gradients)
    transform_weight_backward(dtransformed, dweight)


def backward_input(dy: Array, weight: Array, window: Window, dx: Array) -> None:
    """Compute dx (N, H, W, C)."""
    C, F = weight.shape[2:]
    swapped = arena.empty((3, 3, round_up(F, NR_SMALL), C), dy.dtype)
    transpose(np.ascontiguousarray(weight), swapped)
    NR, *scratch = _transform_weight(swapped)
    window = _whole_tiles(window)
    shape = padded_shape(dx.shape, window)
    dpadded = dx if shape is None else arena.empty(shape, dy.dtype)
    backward_input_kernel[NR](dy, dpadded, *scratch)
    if shape is not None:
        copy.pad_or_crop(dpadded, -window.top, -window.left, dx)


def _transform_weight(weight: Array) -> tuple[int, Array, Array, Array]:
    """Return NR, the transformed weights, and scratch for tiles and products."""
    C, F = weight.shape[2:]
    NR = choose_panel_nr(F)
    transformed, tiles, products = arena.allocate(scratch_specs(C, F, weight.dtype))
    transform_weight(np.ascontiguousarray(weight), NR, transformed)
    return NR, transformed, tiles, products


def choose_panel_nr(F: int) -> int:
    """Return the NR that leaves the fewest channels to `NR_SMALL` panels."""
    Fp = round_up(F, NR_SMALL)
    NR = min((target.NR_LARGE, target.NR_MEDIUM), key=lambda NR: Fp % NR)  # the larger if equal
    return NR if Fp >= NR else NR_SMALL


def scratch_specs(C: int, F: int, dtype: DTypeLike) -> tuple[ArraySpec, ArraySpec, ArraySpec]:
    """Return specs of transformed weights, tiles of a block, and products.

    The shapes are (16, C·Fp + NR_SMALL), (16, B, C) and (16, B, Fp). B is odd, and the weights have
    one more vector: else the sixteen planes would lie a power of two apart and evict each other
    from the L1 cache.
    """
    B, Fp = TILES_PER_BLOCK + 1, round_up(F, NR_SMALL)
    return ((16, C * Fp + NR_SMALL), dtype), ((16, B, C), dtype), ((16, B, Fp), dtype)


def _whole_tiles(window: Window) -> Window:
    """Return the window with even OH and OW: tiles give 2×2 outputs."""
    return window._replace(OH=round_up(window.OH, 2), OW=round_up(window.OW, 2))


# ---------------------------------------------------------------- kernels


@specialize(NR_CHOICES)
def forward_kernel(NR: int) -> Kernel:
    """Loop order: block of tiles; transform, 16 products, transform."""

    def conv_winograd_forward(
        x: Array,  # (N, H, W, C), padded to at least two more rows and columns than whole tiles
        bias: Array,  # (F,)
        y: Array,  # out (N, OH, OW, F)
        weight: Array,  # (16, C * Fp + NR_SMALL), transformed
        tiles: Array,  # scratch (16, B, C)
        products: Array,  # scratch (16, B, Fp)
    ) -> None:
        """Compute ``y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A + bias``."""
        N, OH, OW, F = y.shape
        TH, TW = (OH + 1) // 2, (OW + 1) // 2
        for first in range(0, N * TH * TW, TILES_PER_BLOCK):
            count = min(TILES_PER_BLOCK, N * TH * TW - first)
            transform_input(x, TH, TW, first, count, tiles)
            batched_gemm(tiles, weight, count, products, NR)
            for t in range(count):
                out, below, beside = tile_origin(y, first + t, TH, TW)
                for f in range(0, F, NR_SMALL):
                    remaining = F - f
                    b = load_tail(bias, f, remaining, NR_SMALL)
                    y00, y01, y10, y11 = transform_products(products, t, f, b)
                    store_tail(y, out + f, y00, remaining)
                    if beside:
                        store_tail(y, out + F + f, y01, remaining)
                    if below:
                        store_tail(y, out + OW * F + f, y10, remaining)
                    if below and beside:
                        store_tail(y, out + (OW + 1) * F + f, y11, remaining)

    return conv_winograd_forward


@specialize(NR_CHOICES)
def forward_pool_kernel(NR: int) -> Kernel:
    """Loop order: block of tiles; transform, 16 products, maximum."""

    def conv_winograd_forward_pool(
        x: Array,  # (N, H, W, C), padded to at least two more rows and columns than the outputs
        bias: Array,  # (F,)
        relu: bool,
        y: Array,  # out (N, PH, PW, F)
        argmax: Bytes,  # out (N, PH, PW, F)
        weight: Array,  # (16, C * Fp + NR_SMALL), transformed
        tiles: Array,  # scratch (16, B, C)
        products: Array,  # scratch (16, B, Fp)
    ) -> None:
        """Compute the maximum of the four outputs of each tile."""
        N, PH, PW, F = y.shape
        for first in range(0, N * PH * PW, TILES_PER_BLOCK):
            count = min(TILES_PER_BLOCK, N * PH * PW - first)
            transform_input(x, PH, PW, first, count, tiles)
            batched_gemm(tiles, weight, count, products, NR)
            for t in range(count):
                for f in range(0, F, NR_SMALL):
                    outputs = transform_products(
                        products, t, f, load_tail(bias, f, F - f, NR_SMALL)
                    )
                    store_max(outputs, relu, y, argmax, (first + t) * F + f, NR_SMALL)

    return conv_winograd_forward_pool


@specialize(NR_CHOICES)
def backward_weight_kernel(NR: int) -> Kernel:
    """Loop order: block of tiles; two transforms, 16 products."""

    def conv_winograd_backward_weight(
        x: Array,  # (N, H, W, C), padded as in the forward pass
        dy: Array,  # (N, OH, OW, F)
        dtransformed: Array,  # (16, C + 1, Fp), accumulated
        tiles: Array,  # scratch (16, B, C)
        gradients: Array,  # scratch (16, B, Fp)
    ) -> None:
        """Add ``(Bᵀ x B) ⊙ (A dy Aᵀ)``, summed over all tiles."""
        N, OH, OW, _ = dy.shape
        TH, TW = (OH + 1) // 2, (OW + 1) // 2
        # TILES_PER_BLOCK, but not as a constant: LLVM's code for that is up to 5 % slower here.
        block = tiles.shape[1] - 1
        for first in range(0, N * TH * TW, block):
            count = min(block, N * TH * TW - first)
            transform_input(x, TH, TW, first, count, tiles)
            transform_dy(dy, TH, TW, first, count, gradients)
            batched_gemm_tn(tiles, gradients, count, dtransformed, NR)

    return conv_winograd_backward_weight


@specialize(NR_CHOICES)
def backward_input_kernel(NR: int) -> Kernel:
    """Loop order: block of tiles; transform, 16 products, transform and add."""

    def conv_winograd_backward_input(
        dy: Array,  # (N, OH, OW, F)
        dx: Array,  # out (N, H, W, C), padded as x in the forward pass
        weight: Array,  # (16, Fp * Cp + NR_SMALL), transformed with swapped channels
        gradients: Array,  # scratch (16, B, Fp)
        products: Array,  # scratch (16, B, Cp)
    ) -> None:
        """Add ``B [Σ_f (G w Gᵀ) ⊙ (A dy Aᵀ)] Bᵀ`` of each tile to its 4×4 pixels."""
        N, OH, OW, _ = dy.shape
        TH, TW = (OH + 1) // 2, (OW + 1) // 2
        fill_zero_range(dx, 0, dx.size)
        for first in range(0, N * TH * TW, TILES_PER_BLOCK):
            count = min(TILES_PER_BLOCK, N * TH * TW - first)
            transform_dy(dy, TH, TW, first, count, gradients)
            batched_gemm(gradients, weight, count, products, NR)
            add_input_gradient(products, TH, TW, first, count, dx)

    return conv_winograd_backward_input
