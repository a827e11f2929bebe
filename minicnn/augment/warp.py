"""Affine and elastic warp with bilinear interpolation."""

from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.kernels.gemm import MR, accumulate
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import (
    clamp_rows,
    load_scalar,
    load_tile,
    row_offsets,
    splat,
    splat_tile,
    store_tile,
)
from minicnn.kernels.target import NR_MEDIUM
from minicnn.shapes import Array

RandomBits = NDArray[np.int32]

# float32 constants. They are exact; unlike Python floats they do not promote float32 to float64.
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
UNIT = np.float32(2.0**-31)  # scales a random word to -1..1
WARP_LANES = NR_MEDIUM
# Standard deviation, in pixels, of the smoothing of the elastic distortion (Simard et al.: 4).
ELASTIC_SIGMA = 4.0


@kernel
def warp(
    images: Array,  # (N, C, H, W)
    affine: Array,  # (N, 2, 3): output to source coordinates, from the image's center
    elastic_bits: RandomBits,  # (N, at least 2·K·J) random words
    rows: Array,  # (H, K) from `smoothing`; K is 0 without elastic distortion
    columns: Array,  # (J, Wp); Wp is W rounded up to whole vectors
    displacements: Array,  # scratch (K·J + K·WARP_LANES,): u, then a vector of u · columns
    coordinates: Array,  # scratch (2, H, Wp): y and x of each pixel's source
    sources: NDArray[np.int32],  # scratch (H, Wp): index of the pixel above and left of it
    padded: Array,  # scratch (H + 3, W + 3): an image with zeros around it
    out: Array,  # out (N, C, H, W)
) -> None:
    """Compute ``out[n, c, h, w] = images[n, c, y, x]``, interpolated.

    The interpolation is bilinear. From the image's center, in pixels, (y, x) is
    ``affine[n] · (h, w, 1)`` plus Simard's elastic distortion ``rows · u · columns``: random u in
    -1..1, convolved with a Gaussian. Outside the image is 0. Loops: n, c, h, w; the coordinates are
    computed once for each n.
    """
    N, C, H, W = images.shape
    width = W + 3
    for h in range(H + 3):
        for w in range(width):
            padded[h, w] = ZERO
    for n in range(N):
        _map(affine, n, W, coordinates)
        _add_elastic(elastic_bits, n, rows, columns, displacements, coordinates)
        _split(coordinates, W, sources)
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    padded[h + 1, w + 1] = images[n, c, h, w]
            for h in range(H):
                for w in range(W):
                    i = load_scalar(sources, h * coordinates.shape[2] + w)
                    right = coordinates[1, h, w]
                    p, q = load_scalar(padded, i), load_scalar(padded, i + width)
                    p += right * (load_scalar(padded, i + 1) - p)
                    q += right * (load_scalar(padded, i + width + 1) - q)
                    out[n, c, h, w] = p + coordinates[0, h, w] * (q - p)


@device_function
def _map(affine: Array, n: int, W: int, coordinates: Array) -> None:
    """Compute the source of each pixel, in rows and columns of the image."""
    _, H, Wp = coordinates.shape
    center_h, center_w = np.float32(H - 1) * HALF, np.float32(W - 1) * HALF
    for a in range(2):
        center = center_w if a else center_h
        for h in range(H):
            first = affine[n, a, 0] * (np.float32(h) - center_h) + affine[n, a, 2]
            for w in range(Wp):
                right = np.float32(np.int32(w)) - center_w  # no vector converts int64 to float32
                coordinates[a, h, w] = first + affine[n, a, 1] * right + center


@device_function
def _add_elastic(
    elastic_bits: RandomBits,
    n: int,
    rows: Array,
    columns: Array,
    displacements: Array,
    coordinates: Array,
) -> None:
    """Add ``rows · u · columns`` to the coordinates, first to y, then to x."""
    _, H, Wp = coordinates.shape
    K, J = rows.shape[1], columns.shape[0]
    product, zeros = K * J, splat_tile(splat(displacements, 0, WARP_LANES), MR)
    for a in range(2 if K else 0):
        for i in range(K * J):
            displacements[i] = elastic_bits[n, a * K * J + i] * UNIT
        for w in range(0, Wp, WARP_LANES):
            for k in range(0, K, MR):
                tile = clamp_rows(k, K, MR)
                u = row_offsets(tile, J, 0)
                acc = accumulate(zeros, displacements, u, J, 1, columns, w, Wp, WARP_LANES)
                store_tile(displacements, row_offsets(tile, WARP_LANES, product), acc, WARP_LANES)
            for h in range(0, H, MR):
                tile = clamp_rows(h, H, MR)
                weights, out = row_offsets(tile, K, 0), row_offsets(tile, Wp, a * H * Wp + w)
                acc = load_tile(coordinates, out, WARP_LANES, WARP_LANES)
                acc = accumulate(
                    acc, rows, weights, K, 1, displacements, product, WARP_LANES, WARP_LANES
                )
                store_tile(coordinates, out, acc, WARP_LANES)


@device_function
def _split(coordinates: Array, W: int, sources: NDArray[np.int32]) -> None:
    """Split each source into the pixel above and left of it and the fractions."""
    _, H, Wp = coordinates.shape
    width = np.int32(W + 3)
    bottom, side = np.float32(H + 1), np.float32(W + 1)
    for h in range(H):
        for w in range(Wp):
            # Clipped to the zeros around the image, beyond which everything is 0.
            y = min(max(coordinates[0, h, w] + ONE, ZERO), bottom)
            x = min(max(coordinates[1, h, w] + ONE, ZERO), side)
            top, left = np.int32(y), np.int32(x)
            sources[h, w] = top * width + left
            coordinates[0, h, w] = y - np.float32(top)
            coordinates[1, h, w] = x - np.float32(left)


@lru_cache(maxsize=16)
def smoothing(H: int, W: int, strength: float, dtype: DTypeLike) -> tuple[Array, Array]:
    """Return the factors of a smooth displacement ``rows · u · columns``.

    u is a grid of random numbers in -1..1, `ELASTIC_SIGMA` pixels apart, and three of them beyond
    each border. A denser grid gives the same smoothed field within 0.01 %. `rows` is (H, K),
    `columns` (J, W rounded up to whole vectors); K and J are 0 for a strength of 0. The strength is
    the standard deviation of the displacement in pixels.
    """
    rows, columns = _gaussians(H), _gaussians(W).T
    if not strength:
        rows, columns = rows[:, :0], columns[:0]
    columns = np.pad(columns, ((0, 0), (0, -W % WARP_LANES)))
    # The variance of a uniform number in -1..1 is 1/3; the squares of a pixel's weights sum to 1.
    return (strength * 3**0.5 * rows).astype(dtype, order="C"), columns.astype(dtype, order="C")


def _gaussians(size: int) -> Array:
    """Return (size, K): the weight of each random number at each pixel."""
    count = int(np.ceil((size - 1) / ELASTIC_SIGMA)) + 7
    distances = np.arange(size)[:, None] / ELASTIC_SIGMA - (np.arange(count) - 3)
    weights: Array = np.exp(-(distances**2) / 2)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return weights
