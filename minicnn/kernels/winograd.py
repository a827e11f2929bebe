"""Winograd's minimal filtering: a 3×3 convolution with 16 multiplications where 36 were.

Four neighbouring outputs of a 3×3 convolution come from one 4×4 square of the image. With

    Bᵀ = ⎡1  0 -1  0⎤    G = ⎡ 1   0   0 ⎤    Aᵀ = ⎡1  1  1  0⎤
         ⎢0  1  1  0⎥        ⎢ ½   ½   ½ ⎥         ⎣0  1 -1 -1⎦
         ⎢0 -1  1  0⎥        ⎢ ½  -½   ½ ⎥
         ⎣0  1  0 -1⎦        ⎣ 0   0   1 ⎦

they are ``Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A``, where ⊙ multiplies element by element. Over C channels each
of the 16 elements is a sum: 16 matrix products ``(tiles, C) · (C, F)``. The transformations are
additions and halvings only, so on whole numbers the result is exact as long as it fits.

The way back is the same read from right to left (`minicnn.kernels.winograd_gradients`). Why all
this is so: minicnn/reference/DERIVATIONS.md, "Minimal filtering".

Lavin, Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016), section 4.1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import piece
from minicnn.kernels.machine import NARROW, Kernel, for_each_tile
from minicnn.kernels.pooled import store_strongest
from minicnn.kernels.tiles import Four, load_some, store_some
from minicnn.kernels.vectors import add, load, subtract
from minicnn.kernels.winograd_products import multiply

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Vector = Any


@piece
def _differences(d0: Vector, d1: Vector, d2: Vector, d3: Vector) -> Four:
    """Return ``Bᵀ d``."""
    return subtract(d0, d2), add(d1, d2), subtract(d2, d1), subtract(d1, d3)


@piece
def transform_images(
    x: Array, TH: int, TW: int, first: int, count: int, transformed: Array
) -> None:
    """Compute ``transformed[:, t] = Bᵀ x B`` of the tiles from `first` on, counted over all images.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    TH, TW : int
        Rows and columns of tiles; tile (th, tw) begins at pixel (2·th, 2·tw).
    first, count : int
    transformed : ndarray (16, B, C)
        Overwritten.
    """
    _, H, W, C = x.shape
    _, B, _ = transformed.shape
    row, plane = W * C, B * C
    whole: Any = np.int64(NARROW)  # as a mere constant it would compile the pieces a second time
    for t in range(count):
        n, place = divmod(first + t, TH * TW)
        th, tw = divmod(place, TW)
        corner = n * H * row + 2 * th * row + 2 * tw * C
        for c in range(0, C, NARROW):
            i, o = corner + c, t * C + c
            if C - c >= NARROW:  # a constant instead of what is left: no masks
                _transform(x, i, row, C, whole, transformed, o, plane)
            else:
                _transform(x, i, row, C, C - c, transformed, o, plane)


@piece
def _transform(
    x: Array, i: int, row: int, C: int, left: int, transformed: Array, o: int, plane: int
) -> None:
    """Write the 16 elements of a tile, one row after another, for the first `left` channels."""
    a0, a1, a2, a3 = _load_row(x, i, C, left)
    b0, b1, b2, b3 = _load_row(x, i + row, C, left)
    d0, d1, d2, d3 = _load_row(x, i + 2 * row, C, left)
    e0, e1, e2, e3 = _load_row(x, i + 3 * row, C, left)
    a0, b0, d0, e0 = _differences(a0, b0, d0, e0)  # down each column
    a1, b1, d1, e1 = _differences(a1, b1, d1, e1)
    a2, b2, d2, e2 = _differences(a2, b2, d2, e2)
    a3, b3, d3, e3 = _differences(a3, b3, d3, e3)
    _store_row(_differences(a0, a1, a2, a3), left, transformed, o, plane)
    _store_row(_differences(b0, b1, b2, b3), left, transformed, o + 4 * plane, plane)
    _store_row(_differences(d0, d1, d2, d3), left, transformed, o + 8 * plane, plane)
    _store_row(_differences(e0, e1, e2, e3), left, transformed, o + 12 * plane, plane)


@piece
def _load_row(x: Array, i: int, C: int, left: int) -> Four:
    return (
        load_some(x, i, left),
        load_some(x, i + C, left),
        load_some(x, i + 2 * C, left),
        load_some(x, i + 3 * C, left),
    )


@piece
def _store_row(four: Four, left: int, out: Array, o: int, plane: int) -> None:
    store_some(out, o, four[0], left)
    store_some(out, o + plane, four[1], left)
    store_some(out, o + 2 * plane, four[2], left)
    store_some(out, o + 3 * plane, four[3], left)


@piece
def _two_sums(m: Array, i: int, step: int) -> tuple[Vector, Vector]:
    """Return ``Aᵀ m`` of the four numbers from `i` on."""
    m0, m1 = load(m, i, NARROW), load(m, i + step, NARROW)
    m2, m3 = load(m, i + 2 * step, NARROW), load(m, i + 3 * step, NARROW)
    return add(m0, add(m1, m2)), subtract(subtract(m1, m2), m3)


@piece
def _outputs(products: Array, i: int, plane: int, bias: Vector) -> Four:
    """Return the four outputs of a tile, in row order: ``Aᵀ m A + bias``."""
    a0, a1 = _two_sums(products, i, plane)  # the first row of m A
    b0, b1 = _two_sums(products, i + 4 * plane, plane)
    d0, d1 = _two_sums(products, i + 8 * plane, plane)
    e0, e1 = _two_sums(products, i + 12 * plane, plane)
    return (
        add(add(a0, add(b0, d0)), bias),
        add(add(a1, add(b1, d1)), bias),
        add(subtract(subtract(b0, d0), e0), bias),
        add(subtract(subtract(b1, d1), e1), bias),
    )


@for_each_tile
def winograd_forward(lanes: int) -> Kernel:
    """Make the convolution for tiles of so many lanes."""

    def winograd_forward(
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
            From `winograd_weights`.
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
            transform_images(x, TH, TW, first, count, images)
            multiply(images, weight, count, products, lanes)
            for t in range(count):
                n, place = divmod(first + t, TH * TW)
                th, tw = divmod(place, TW)
                out = ((n * OH + 2 * th) * OW + 2 * tw) * F
                below, beside = 2 * th + 1 < OH, 2 * tw + 1 < OW
                for f in range(0, F, NARROW):
                    left = F - f
                    b = load_some(bias, f, left)
                    y00, y01, y10, y11 = _outputs(products, t * Fp + f, B * Fp, b)
                    store_some(y, out + f, y00, left)
                    if beside:
                        store_some(y, out + F + f, y01, left)
                    if below:
                        store_some(y, out + OW * F + f, y10, left)
                    if below and beside:
                        store_some(y, out + (OW + 1) * F + f, y11, left)

    return winograd_forward


@for_each_tile
def winograd_pooled_forward(lanes: int) -> Kernel:
    """Make the convolution with its pool for tiles of so many lanes."""

    def winograd_pooled_forward(
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

        The four outputs of a tile are one pooling window, as in `minicnn.kernels.pooled`.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            With at least two more rows and columns than the part of the output that the pool takes.
        weight : ndarray (16, C·Fp + NARROW)
            From `winograd_weights`.
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
            transform_images(x, PH, PW, first, count, images)
            multiply(images, weight, count, products, lanes)
            for t in range(count):
                for f in range(0, F, NARROW):
                    b = load_some(bias, f, F - f)
                    four = _outputs(products, t * Fp + f, B * Fp, b)
                    place = (first + t) * F + f
                    store_strongest(four, relu, y, winner, place, NARROW)

    return winograd_pooled_forward
