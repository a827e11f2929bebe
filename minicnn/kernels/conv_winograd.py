"""Winograd convolution F(2×2, 3×3): 16 multiplications for four outputs, where direct takes 36.

Four neighboring outputs of a 3×3 convolution come from one 4×4 tile of the image::

    forward   y  = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A
    dweight   dw = Gᵀ [(Bᵀ x B) ⊙ (A dy Aᵀ)] G
    dx        dx = B [(G w Gᵀ) ⊙ (A dy Aᵀ)] Bᵀ

⊙ multiplies element by element; the matrices are in `winograd_transforms`. Over C channels each of
the 16 elements is a matrix product: ``(tiles, C) · (C, F)`` forward, ``(C, tiles) · (tiles, F)``
for dweight and ``(tiles, F) · (F, C)`` for dx, where neighboring tiles overlap and add up. The
transforms add and halve only, so on whole numbers the result is exact as long as it fits.

Derivation: minicnn/reference/DERIVATIONS.md, "Minimal filtering". Lavin, Gray, "Fast algorithms for
convolutional neural networks" (CVPR 2016), section 4.1.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.kernels import copy, target
from minicnn.kernels.conv_pool import store_max
from minicnn.kernels.copy import fill_zero_range
from minicnn.kernels.pack import pad_images, padded_shape, round_up
from minicnn.kernels.target import NR_SMALL, Kernel, specialize_nr
from minicnn.kernels.tiles import load_tail, store_tail
from minicnn.kernels.transpose import swap_channel_axes
from minicnn.kernels.winograd_transforms import (
    add_square,
    batched_gemm,
    batched_gemm_tn,
    output_transform,
    transform_dy,
    transform_input,
    transform_weight,
    transform_weight_backward,
)
from minicnn.runtime import arena
from minicnn.runtime.arena import ArraySpec
from minicnn.shapes import FloatArray
from minicnn.shapes.window import Window

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# Tiles that are transformed and multiplied together: each transformed weight that is loaded serves
# them all.
TILES_PER_BLOCK = 48
# With fewer channels the transforms take longer than the multiplications that they save.
MIN_CHANNELS = 16


# ---------------------------------------------------------------- backend interface


def supports(window: Window) -> bool:
    """Return whether the kernel is 3×3 at stride 1."""
    return (window.KH, window.KW, window.SH, window.SW) == (3, 3, 1, 1)


def is_faster(window: Window, C: int, F: int) -> bool:
    """Return whether Winograd can compute a convolution, and faster than `conv_direct`."""
    return supports(window) and min(C, F) >= MIN_CHANNELS


def forward(
    x: FloatArray, weight: FloatArray, bias: FloatArray, window: Window, y: FloatArray
) -> None:
    """Compute y (N, OH, OW, F)."""
    C, F = weight.shape[2:]
    NR = choose_panel(F)
    transformed, tiles, products = arena.allocate(scratch_specs(C, F, x.dtype))
    transform_weight(np.ascontiguousarray(weight), NR, transformed)
    padded = pad_images(x, _whole_tiles(window))
    forward_kernel[NR](padded, transformed, np.ascontiguousarray(bias), y, tiles, products)


def forward_pool(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    window: Window,
    relu: bool,
    y: FloatArray,
    argmax: Bytes,
) -> None:
    """Compute the 2×2 max-pool of the convolution: y and argmax (N, OH // 2, OW // 2, F).

    OH and OW are even.
    """
    C, F = weight.shape[2:]
    NR = choose_panel(F)
    transformed, tiles, products = arena.allocate(scratch_specs(C, F, x.dtype))
    transform_weight(np.ascontiguousarray(weight), NR, transformed)
    bias = np.ascontiguousarray(bias)
    forward_pool_kernel[NR](
        pad_images(x, window), transformed, bias, relu, y, argmax, tiles, products
    )


def backward_weight(x: FloatArray, dy: FloatArray, window: Window, dweight: FloatArray) -> None:
    """Compute dweight (3, 3, C, F)."""
    C, F = x.shape[3], dy.shape[3]
    _, *specs = scratch_specs(C, F, x.dtype)
    dtransformed, tiles, gradients = arena.allocate(
        (((16, C + 1, round_up(F, NR_SMALL)), x.dtype), *specs)
    )
    copy.fill_zero(dtransformed.reshape(-1))
    padded = pad_images(x, _whole_tiles(window))
    backward_weight_kernel[choose_panel(F)](padded, dy, dtransformed, tiles, gradients)
    transform_weight_backward(dtransformed, dweight)


def backward_input(dy: FloatArray, weight: FloatArray, window: Window, dx: FloatArray) -> None:
    """Compute dx (N, H, W, C)."""
    C, F = weight.shape[2:]
    Fp, NR, window = round_up(F, NR_SMALL), choose_panel(C), _whole_tiles(window)
    swapped, transformed, gradients, products = arena.allocate(
        (((3, 3, Fp, C), dy.dtype), *scratch_specs(Fp, C, dy.dtype))
    )
    swap_channel_axes(np.ascontiguousarray(weight), swapped)
    transform_weight(swapped, NR, transformed)
    shape = padded_shape(dx.shape, window)
    dpadded = dx if shape is None else arena.empty(shape, dy.dtype)
    backward_input_kernel[NR](dy, transformed, dpadded, gradients, products)
    if shape is not None:
        copy.crop_images(dpadded, window.top, window.left, dx)


def choose_panel(F: int) -> int:
    """Return the NR that leaves the fewest of F channels to panels of `NR_SMALL`."""
    Fp = round_up(F, NR_SMALL)
    NR = min((target.NR_LARGE, target.NR_MEDIUM), key=lambda NR: Fp % NR)  # the larger if equal
    return NR if Fp >= NR else NR_SMALL


def scratch_specs(C: int, F: int, dtype: DTypeLike) -> tuple[ArraySpec, ArraySpec, ArraySpec]:
    """Return transformed weights, and a block's transformed tiles and products.

    The shapes are (16, C·Fp + NR_SMALL), (16, B, C) and (16, B, Fp). B is odd, and the weights have
    one more vector: else the sixteen planes would lie a power of two apart and evict each other
    from the L1 cache.
    """
    B, Fp = TILES_PER_BLOCK + 1, round_up(F, NR_SMALL)
    return ((16, C * Fp + NR_SMALL), dtype), ((16, B, C), dtype), ((16, B, Fp), dtype)


def _whole_tiles(window: Window) -> Window:
    """Return the window with OH and OW rounded up to even: tiles give 2×2 outputs."""
    return window._replace(OH=round_up(window.OH, 2), OW=round_up(window.OW, 2))


# ---------------------------------------------------------------- kernels


@specialize_nr
def forward_kernel(lanes: int) -> Kernel:
    """Make the convolution for tiles of so many lanes."""

    def forward(
        x: Array,
        weight: Array,
        bias: Array,
        y: Array,
        images: Array,
        products: Array,
    ) -> None:
        """Convolve with 3×3 kernels at stride 1.

        Block by block of as many tiles as `images` has room for: transform, multiply, transform
        back.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            With at least two more rows and columns than the output, itself rounded up to even.
        weight : ndarray (16, C·Fp + NARROW)
            From `transform_weight`.
        bias : ndarray (F,)
        y : ndarray (N, OH, OW, F)
            Overwritten.
        images : ndarray (16, B, C)
            Room for a block of tiles.
        products : ndarray (16, B, Fp)
            Room for a block of tiles.
        """
        N, OH, OW, F = y.shape
        _, B, Fp = products.shape
        block = B - B % 6
        TH, TW = (OH + 1) // 2, (OW + 1) // 2
        for first in range(0, N * TH * TW, block):
            count = min(block, N * TH * TW - first)
            transform_input(x, TH, TW, first, count, images)
            batched_gemm(images, weight, count, products, lanes)
            for t in range(count):
                n, place = divmod(first + t, TH * TW)
                th, tw = divmod(place, TW)
                out = ((n * OH + 2 * th) * OW + 2 * tw) * F
                below, beside = 2 * th + 1 < OH, 2 * tw + 1 < OW
                for f in range(0, F, NR_SMALL):
                    left = F - f
                    b = load_tail(bias, f, left)
                    y00, y01, y10, y11 = output_transform(products, t * Fp + f, B * Fp, b)
                    store_tail(y, out + f, y00, left)
                    if beside:
                        store_tail(y, out + F + f, y01, left)
                    if below:
                        store_tail(y, out + OW * F + f, y10, left)
                    if below and beside:
                        store_tail(y, out + (OW + 1) * F + f, y11, left)

    return forward


@specialize_nr
def forward_pool_kernel(lanes: int) -> Kernel:
    """Make the convolution with its pool for tiles of so many lanes."""

    def forward_pool(
        x: Array,
        weight: Array,
        bias: Array,
        relu: bool,
        y: Array,
        winner: Bytes,
        images: Array,
        products: Array,
    ) -> None:
        """Convolve with 3×3 kernels at stride 1, and keep the greatest of each 2×2 square.

        The four outputs of a tile are one pooling window, as in `minicnn.kernels.conv_pool`.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            With at least two more rows and columns than the part of the output that the pool takes.
        weight : ndarray (16, C·Fp + NARROW)
            From `transform_weight`.
        bias : ndarray (F,)
        relu : bool
        y : ndarray (N, PH, PW, F)
            Overwritten.
        winner : ndarray of uint8 (N, PH, PW, F)
            Overwritten.
        images : ndarray (16, B, C)
            Room for a block of tiles.
        products : ndarray (16, B, Fp)
            Room for a block of tiles.
        """
        N, PH, PW, F = y.shape
        _, B, Fp = products.shape
        block = B - B % 6
        for first in range(0, N * PH * PW, block):
            count = min(block, N * PH * PW - first)
            transform_input(x, PH, PW, first, count, images)
            batched_gemm(images, weight, count, products, lanes)
            for t in range(count):
                for f in range(0, F, NR_SMALL):
                    b = load_tail(bias, f, F - f)
                    four = output_transform(products, t * Fp + f, B * Fp, b)
                    place = (first + t) * F + f
                    store_max(four, relu, y, winner, place, NR_SMALL)

    return forward_pool


@specialize_nr
def backward_weight_kernel(lanes: int) -> Kernel:
    """Make the gradient of the weights for tiles of so many lanes."""

    def backward_weight(
        x: Array,
        dy: Array,
        dtransformed: Array,
        images: Array,
        gradients: Array,
    ) -> None:
        """Add ``(Bᵀ x B) ⊙ (A dy Aᵀ)``, summed over all tiles, for each pair of channels.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            As for `forward`.
        dy : ndarray (N, OH, OW, F)
        dtransformed : ndarray (16, C + 1, Fp)
            Updated; `transform_weight_backward` makes dweight of it.
        images : ndarray (16, B, C)
            Room for a block of tiles.
        gradients : ndarray (16, B, Fp)
            Room for a block of tiles.
        """
        N, OH, OW, _ = dy.shape
        B = images.shape[1]
        block = B - B % 6
        TH, TW = (OH + 1) // 2, (OW + 1) // 2
        for first in range(0, N * TH * TW, block):
            count = min(block, N * TH * TW - first)
            transform_input(x, TH, TW, first, count, images)
            transform_dy(dy, first, count, gradients)
            batched_gemm_tn(images, gradients, count, dtransformed, lanes)

    return backward_weight


@specialize_nr
def backward_input_kernel(lanes: int) -> Kernel:
    """Make the gradient of the images for tiles of so many lanes."""

    def backward_input(
        dy: Array, weight: Array, dx: Array, gradients: Array, products: Array
    ) -> None:
        """Compute dx: of each tile ``B [Σ_f (G w Gᵀ) ⊙ (A dy Aᵀ)] Bᵀ``, added to its 4×4 pixels.

        Parameters
        ----------
        dy : ndarray (N, OH, OW, F)
        weight : ndarray (16, Fp·Cp + NARROW)
            From `transform_weight`, of the weights with their channels exchanged.
        dx : ndarray (N, H, W, C)
            Overwritten. Of the shape of `forward`'s x.
        gradients : ndarray (16, B, Fp)
            Room for a block of tiles.
        products : ndarray (16, B, Cp)
            Room for a block of tiles.
        """
        N, OH, OW, _ = dy.shape
        _, H, W, C = dx.shape
        _, B, Cp = products.shape
        block = B - B % 6
        TH, TW = (OH + 1) // 2, (OW + 1) // 2
        whole: Any = np.int64(NR_SMALL)  # as in `transform_input`
        fill_zero_range(dx, 0, dx.size)
        for first in range(0, N * TH * TW, block):
            count = min(block, N * TH * TW - first)
            transform_dy(dy, first, count, gradients)
            batched_gemm(gradients, weight, count, products, lanes)
            for t in range(count):
                n, place = divmod(first + t, TH * TW)
                th, tw = divmod(place, TW)
                corner = ((n * H + 2 * th) * W + 2 * tw) * C
                for c in range(0, C, NR_SMALL):
                    i, o = t * Cp + c, corner + c
                    if C - c >= NR_SMALL:  # no masks
                        add_square(products, i, B * Cp, dx, o, W * C, C, whole)
                    else:
                        add_square(products, i, B * Cp, dx, o, W * C, C, C - c)

    return backward_input
