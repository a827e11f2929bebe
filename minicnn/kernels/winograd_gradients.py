"""Winograd's minimal filtering read from right to left: the gradient of the weights.

With the matrices of `minicnn.kernels.winograd`: ``dw = Gᵀ [(Bᵀ x B) ⊙ (A dy Aᵀ)] G``, where the
part in brackets is summed over all tiles: again 16 matrix products, ``(C, tiles) · (tiles, F)``.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import piece
from minicnn.kernels.machine import NARROW, Kernel, for_each_tile
from minicnn.kernels.six import load_six, six_from, six_sums, store_six
from minicnn.kernels.tiles import Four, load_some
from minicnn.kernels.vectors import add, fill, store, subtract
from minicnn.kernels.winograd import transform_images

Array = NDArray[np.float32]
Vector = Any


@piece
def _spread(a: Vector, b: Vector, zero: Vector) -> Four:
    """Return ``A y`` of two numbers."""
    return a, add(a, b), subtract(a, b), subtract(zero, b)


@piece
def _transform_gradients(dy: Array, first: int, count: int, transformed: Array) -> None:
    """Compute ``transformed[:, t] = A dy Aᵀ`` of the tiles from `first` on; 0 outside of dy.

    `dy` is (N, OH, OW, F), `transformed` (16, B, Fp).
    """
    _, OH, OW, F = dy.shape
    _, B, Fp = transformed.shape
    TH, TW = (OH + 1) // 2, (OW + 1) // 2
    plane = B * Fp
    zero = fill(dy, 0, NARROW)
    for t in range(count):
        n, place = divmod(first + t, TH * TW)
        th, tw = divmod(place, TW)
        out = ((n * OH + 2 * th) * OW + 2 * tw) * F
        below, beside = 2 * th + 1 < OH, 2 * tw + 1 < OW
        for f in range(0, Fp, NARROW):
            left, z = max(0, F - f), t * Fp + f
            g00 = load_some(dy, out + f, left)
            g01 = load_some(dy, out + F + f, left) if beside else zero
            g10 = load_some(dy, out + OW * F + f, left) if below else zero
            g11 = load_some(dy, out + (OW + 1) * F + f, left) if below and beside else zero
            a = _spread(g00, g10, zero)  # the first column of A dy
            b = _spread(g01, g11, zero)
            _store_spread(transformed, z, plane, a[0], b[0])
            _store_spread(transformed, z + 4 * plane, plane, a[1], b[1])
            _store_spread(transformed, z + 8 * plane, plane, a[2], b[2])
            _store_spread(transformed, z + 12 * plane, plane, a[3], b[3])


@piece
def _store_spread(out: Array, i: int, step: int, a: Vector, b: Vector) -> None:
    z0, z1, z2, z3 = _spread(a, b, fill(out, 0, NARROW))
    store(out, i, z0)
    store(out, i + step, z1)
    store(out, i + 2 * step, z2)
    store(out, i + 3 * step, z3)


@numba.njit(inline="always")
def _correlate(images: Array, gradients: Array, count: int, dweight: Array, lanes: int) -> None:
    """Add ``dweight[e, c, f] += Σ_t images[e, t, c] · gradients[e, t, f]`` for all 16 elements e.

    Parameters
    ----------
    images : ndarray (16, B, C)
    gradients : ndarray (16, B, Fp)
    count : int
        Tiles that are in use, at most B.
    dweight : ndarray (16, C + 1, Fp)
        Updated.
    lanes : int
        A constant.
    """
    _, B, C = images.shape
    Fp = gradients.shape[2]
    for e in range(16):
        base, first = e * B * C, e * B * Fp
        for c in range(0, C, 6):
            c0, c1, c2, c3, c4, c5 = six_from(c, C)
            numbers = (base + c0, base + c1, base + c2, base + c3, base + c4, base + c5)
            k = e * dweight.shape[1]
            places = (
                (k + c0) * Fp,
                (k + c1) * Fp,
                (k + c2) * Fp,
                (k + c3) * Fp,
                (k + c4) * Fp,
                (k + c5) * Fp,
            )
            for f in range(0, Fp, lanes):
                sums = load_six(dweight, places, f, lanes, lanes)
                sums = six_sums(images, numbers, count, C, gradients, first + f, Fp, sums, lanes)
                store_six(dweight, places, f, lanes, sums, lanes)


@for_each_tile
def winograd_weight_gradient(lanes: int) -> Kernel:
    """Make the gradient of the weights for tiles of so many lanes."""

    def winograd_weight_gradient(
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
            As for `winograd_forward`.
        dy : ndarray (N, OH, OW, F)
        dtransformed : ndarray (16, C + 1, Fp)
            Updated; `winograd_weights_gradient` makes dweight of it.
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
            transform_images(x, TH, TW, first, count, images)
            _transform_gradients(dy, first, count, gradients)
            _correlate(images, gradients, count, dtransformed, lanes)

    return winograd_weight_gradient
