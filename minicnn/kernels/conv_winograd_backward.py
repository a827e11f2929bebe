"""Winograd's minimal filtering read from right to left: the gradients.

With the matrices of `minicnn.kernels.conv_winograd`, and ``dm = A dy Aᵀ``:

- ``dw = Gᵀ [(Bᵀ x B) ⊙ dm] G``, where the part in brackets is summed over all tiles: again 16
  matrix products, ``(C, tiles) · (tiles, F)``;
- ``dx = B [(G w Gᵀ) ⊙ dm] Bᵀ``, where the part in brackets is summed over F: 16 matrix products
  ``(tiles, F) · (F, C)``; the squares of neighboring tiles, which overlap, add up.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.conv_winograd import batched_gemm, batched_gemm_tn, transform_input
from minicnn.kernels.copy import fill_zero_range
from minicnn.kernels.jit import device_function
from minicnn.kernels.simd import add, load, splat, store, subtract
from minicnn.kernels.target import NR_SMALL, Kernel, specialize_nr
from minicnn.kernels.tiles import Four, load_tail, store_tail

Array = NDArray[np.float32]
Vector = Any


@device_function
def output_transform_t(a: Vector, b: Vector, zero: Vector) -> Four:
    """Return ``A y`` of two numbers."""
    return a, add(a, b), subtract(a, b), subtract(zero, b)


@device_function
def transform_dy(dy: Array, first: int, count: int, transformed: Array) -> None:
    """Compute ``transformed[:, t] = A dy Aᵀ`` of the tiles from `first` on; 0 outside of dy.

    `dy` is (N, OH, OW, F), `transformed` (16, B, Fp).
    """
    _, OH, OW, F = dy.shape
    _, B, Fp = transformed.shape
    TH, TW = (OH + 1) // 2, (OW + 1) // 2
    plane = B * Fp
    zero = splat(dy, 0, NR_SMALL)
    for t in range(count):
        n, place = divmod(first + t, TH * TW)
        th, tw = divmod(place, TW)
        out = ((n * OH + 2 * th) * OW + 2 * tw) * F
        below, beside = 2 * th + 1 < OH, 2 * tw + 1 < OW
        for f in range(0, Fp, NR_SMALL):
            left, z = max(0, F - f), t * Fp + f
            g00 = load_tail(dy, out + f, left)
            g01 = load_tail(dy, out + F + f, left) if beside else zero
            g10 = load_tail(dy, out + OW * F + f, left) if below else zero
            g11 = load_tail(dy, out + (OW + 1) * F + f, left) if below and beside else zero
            a = output_transform_t(g00, g10, zero)  # the first column of A dy
            b = output_transform_t(g01, g11, zero)
            _store_spread(transformed, z, plane, a[0], b[0])
            _store_spread(transformed, z + 4 * plane, plane, a[1], b[1])
            _store_spread(transformed, z + 8 * plane, plane, a[2], b[2])
            _store_spread(transformed, z + 12 * plane, plane, a[3], b[3])


@device_function
def _store_spread(out: Array, i: int, step: int, a: Vector, b: Vector) -> None:
    z0, z1, z2, z3 = output_transform_t(a, b, splat(out, 0, NR_SMALL))
    store(out, i, z0)
    store(out, i + step, z1)
    store(out, i + 2 * step, z2)
    store(out, i + 3 * step, z3)


@specialize_nr
def backward_weight(lanes: int) -> Kernel:
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


@device_function
def input_transform_t(v0: Vector, v1: Vector, v2: Vector, v3: Vector, zero: Vector) -> Four:
    """Return ``B v``."""
    return v0, add(subtract(v1, v2), v3), subtract(add(v1, v2), v0), subtract(zero, v3)


@device_function
def _add_square(
    products: Array, i: int, plane: int, dx: Array, o: int, row: int, C: int, left: int
) -> None:
    """Add ``B m Bᵀ`` of the 16 numbers from `i` on to 4×4 pixels of dx, for `left` channels."""
    a = _column(products, i, 4 * plane)  # the first column of B m
    b = _column(products, i + plane, 4 * plane)
    d = _column(products, i + 2 * plane, 4 * plane)
    e = _column(products, i + 3 * plane, 4 * plane)
    _add_row(dx, o, C, left, a[0], b[0], d[0], e[0])
    _add_row(dx, o + row, C, left, a[1], b[1], d[1], e[1])
    _add_row(dx, o + 2 * row, C, left, a[2], b[2], d[2], e[2])
    _add_row(dx, o + 3 * row, C, left, a[3], b[3], d[3], e[3])


@device_function
def _column(products: Array, i: int, step: int) -> Four:
    m0, m1 = load(products, i, NR_SMALL), load(products, i + step, NR_SMALL)
    m2, m3 = load(products, i + 2 * step, NR_SMALL), load(products, i + 3 * step, NR_SMALL)
    return input_transform_t(m0, m1, m2, m3, splat(products, 0, NR_SMALL))


@device_function
def _add_row(
    dx: Array, o: int, C: int, left: int, v0: Vector, v1: Vector, v2: Vector, v3: Vector
) -> None:
    x0, x1, x2, x3 = input_transform_t(v0, v1, v2, v3, splat(dx, 0, NR_SMALL))
    _add_some(dx, o, x0, left)
    _add_some(dx, o + C, x1, left)
    _add_some(dx, o + 2 * C, x2, left)
    _add_some(dx, o + 3 * C, x3, left)


@device_function
def _add_some(dx: Array, o: int, v: Vector, left: int) -> None:
    store_tail(dx, o, add(load_tail(dx, o, left), v), left)


@specialize_nr
def backward_input(lanes: int) -> Kernel:
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
        whole: Any = np.int64(NR_SMALL)  # as in `transform_images`
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
                        _add_square(products, i, B * Cp, dx, o, W * C, C, whole)
                    else:
                        _add_square(products, i, B * Cp, dx, o, W * C, C, C - c)

    return backward_input
