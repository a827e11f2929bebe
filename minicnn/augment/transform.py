"""Transform images: warp, stroke width, sharpness, brightness, erasing."""

from functools import lru_cache
from typing import Any

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
from minicnn.runtime import arena
from minicnn.shapes import Array

RandomBits = NDArray[np.int32]

# float32 constants. They are exact; unlike Python floats they do not promote float32 to float64.
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
UNIT = np.float32(2.0**-31)  # scales a random word to -1..1
# The weights (1, 4, 6, 4, 1) / 16.
FAR, NEAR, CENTER = np.float32(1 / 16), np.float32(1 / 4), np.float32(3 / 8)
WARP_LANES = NR_MEDIUM
# Standard deviation, in pixels, of the smoothing of the elastic distortion (Simard et al.: 4).
ELASTIC_SIGMA = 4.0

# Columns of `magnitudes`, and the values that change nothing.
STROKE_WIDTH, SHARPNESS, BRIGHTNESS_FACTOR = range(3)
UNCHANGED = (0.0, 0.0, 1.0)


def transform_images(
    images: NDArray[Any],  # (N, H, W, C) or (N, H, W), uint8 or float
    moves: bool,  # whether to warp
    affine: Array,  # (N, 2, 3): output to source coordinates, from the image's center
    magnitudes: Array,  # (N, 3)
    erase_boxes: NDArray[np.int64],  # (N, 4): top, bottom, left, right, inside the image
    elastic_bits: RandomBits,  # (N, at least 2·K·J) random words
    smoothing: tuple[Array, Array],  # (H, K) and (J, W rounded up), from `elastic_smoothing`
) -> Array:
    """Return images, shaped as before, of `affine`'s dtype, in the arena."""
    (rows, columns), dtype = smoothing, affine.dtype
    pixels = np.ascontiguousarray(images, None if images.dtype == np.uint8 else dtype)
    N, H, W = images.shape[:3]
    pixels = pixels.reshape(N, H, W, -1)
    K, (J, Wp) = rows.shape[1], columns.shape
    *scratch, out = arena.allocate(
        (
            ((K * (J + WARP_LANES),), dtype),  # displacements
            ((2, H, Wp), dtype),  # coordinates: y and x of each pixel's source
            ((H, Wp), np.int32),  # sources: index of the pixel above and left of it
            ((H + 4, W + 4), dtype),  # padded: a channel of an image and its surroundings
            ((W + 4,), dtype),  # column
            ((H, W), dtype),  # plane: a channel of an image
            ((N, H * W, pixels.shape[3]), dtype),  # out
        )
    )
    transform(
        pixels, moves, affine, magnitudes, erase_boxes, elastic_bits, rows,
        columns, tuple(scratch), out,
    )  # fmt: skip
    return out.reshape(images.shape)


@kernel
def transform(
    images: NDArray[Any],  # (N, H, W, C), uint8 or out's dtype
    moves: bool,  # this and the next six: see `transform_images`
    affine: Array,
    magnitudes: Array,
    erase_boxes: NDArray[np.int64],
    elastic_bits: RandomBits,
    rows: Array,
    columns: Array,
    scratch: tuple[NDArray[Any], ...],  # as `transform_images` allocates it
    out: Array,  # out (N, H·W, C)
) -> None:
    """Warp images, then change stroke width, sharpness and brightness; erase.

    In pixels from the image's center, the source of pixel (h, w) is ``affine[n] · (h, w, 1)`` plus
    Simard's elastic distortion ``rows · u · columns``: random u in -1..1, smoothed by a Gaussian.

    One kernel, because a thread that returns from a kernel needs the interpreter lock, which
    another thread may hold. Loops: n, c, h, w; the sources are computed once for each n.
    """
    N, _, W, C = images.shape
    displacements, coordinates, sources, padded, column, plane = scratch
    for n in range(N):
        if moves:
            _map(affine, n, W, coordinates)
            _add_elastic(elastic_bits, n, rows, columns, displacements, coordinates)
            _split(coordinates, W, sources)
        for c in range(C):
            if moves:
                _clear(padded)
                _load_plane(images, n, c, padded, 1)
                _interpolate(padded, coordinates, sources, plane)
            else:
                _load_plane(images, n, c, plane, 0)
            _dilate_or_erode(plane, magnitudes[n, STROKE_WIDTH], padded, column)
            _blur(plane, magnitudes[n, SHARPNESS], padded, column)
            _store_plane(plane, magnitudes[n, BRIGHTNESS_FACTOR], out, n, c)
            for h in range(erase_boxes[n, 0], erase_boxes[n, 1]):
                for w in range(erase_boxes[n, 2], erase_boxes[n, 3]):
                    out[n, h * W + w, c] = ZERO


@device_function
def _load_plane(images: NDArray[Any], n: int, c: int, plane: Array, start: int) -> None:
    """Copy a channel to ``plane[start:, start:]``; bytes are divided by 255."""
    _, H, W, _ = images.shape
    divisor = plane.dtype.type(255 if images.itemsize == 1 else 1)
    for h in range(H):
        for w in range(W):
            plane[start + h, start + w] = plane.dtype.type(images[n, h, w, c]) / divisor


@device_function
def _clear(padded: Array) -> None:
    """Set all pixels to 0: those outside the image stay so."""
    for h in range(padded.shape[0]):
        for w in range(padded.shape[1]):
            padded[h, w] = ZERO


@device_function
def _store_plane(plane: Array, factor: Any, out: Array, n: int, c: int) -> None:
    """Compute ``factor · x``, clipped to 0..1; the factor 1 copies."""
    for i in range(plane.size):  # one loop, because short rows vectorize badly
        x = load_scalar(plane, i)
        if factor != ONE:
            x = min(max(factor * x + ZERO, ZERO), ONE)  # erosion leaves -0, + 0 gives 0
        out[n, i, c] = x


# ---------------------------------------------------------------- warp


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
    displacements: Array,  # u, then a vector of u · columns
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
    width = np.int32(W + 4)
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


@device_function
def _interpolate(
    padded: Array, coordinates: Array, sources: NDArray[np.int32], plane: Array
) -> None:
    """Interpolate the sources of all pixels bilinearly."""
    H, W = plane.shape
    width = W + 4
    for h in range(H):
        for w in range(W):
            i = load_scalar(sources, h * coordinates.shape[2] + w)
            right = coordinates[1, h, w]
            p, q = load_scalar(padded, i), load_scalar(padded, i + width)
            p += right * (load_scalar(padded, i + 1) - p)
            q += right * (load_scalar(padded, i + width + 1) - q)
            plane[h, w] = p + coordinates[0, h, w] * (q - p)


@lru_cache(maxsize=16)
def elastic_smoothing(H: int, W: int, strength: float, dtype: DTypeLike) -> tuple[Array, Array]:
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


# ---------------------------------------------------------------- stroke width, sharpness


@device_function
def _dilate_or_erode(plane: Array, amount: Any, padded: Array, column: Array) -> None:
    """Move the edges of bright strokes outwards, or inwards.

    `amount` is in pixels; negative erodes. One pixel outwards is D(x), the mean of two maxima: of a
    pixel and its four neighbors, and of all nine pixels. A fraction of a pixel interpolates:
    ``x + amount · (D(x) - x)``.
    """
    H, W = plane.shape
    sign = ONE if amount > 0 else -ONE  # erosion is dilation of -x
    remaining = abs(amount)
    while remaining > 0:
        _repeat_border(plane, 1, sign, padded)
        share = min(remaining, ONE)
        for h in range(H):
            for w in range(W + 2):
                column[w] = max(max(padded[h, w], padded[h + 1, w]), padded[h + 2, w])
            for w in range(W):
                row = max(padded[h + 1, w], padded[h + 1, w + 2])
                cross = max(column[w + 1], row)
                square = max(cross, max(column[w], column[w + 2]))
                x = padded[h + 1, w + 1]
                plane[h, w] = sign * (share * (HALF * (cross + square) - x) + x)
        remaining -= ONE


@device_function
def _blur(plane: Array, amount: Any, padded: Array, column: Array) -> None:
    """Blur a plane, or sharpen it by unsharp masking.

    ``x + amount · (B(x) - x)``, clipped to 0..1. `amount` is at most 1; negative sharpens. B has
    the weights (1, 4, 6, 4, 1) / 16 in both directions, nearly a Gaussian with a standard deviation
    of one pixel.
    """
    H, W = plane.shape
    if amount == 0:
        return
    _repeat_border(plane, 2, ONE, padded)
    for h in range(H):
        for w in range(W + 4):
            far = padded[h, w] + padded[h + 4, w]
            near = padded[h + 1, w] + padded[h + 3, w]
            column[w] = FAR * far + NEAR * near + CENTER * padded[h + 2, w]
        for w in range(W):
            far, near = column[w] + column[w + 4], column[w + 1] + column[w + 3]
            blurred = FAR * far + NEAR * near + CENTER * column[w + 2]
            x = padded[h + 2, w + 2]
            plane[h, w] = min(max(x + amount * (blurred - x), ZERO), ONE)


@device_function
def _repeat_border(plane: Array, by: int, factor: Any, padded: Array) -> None:
    """Copy a plane times a factor; repeat its outermost pixels `by` times."""
    H, W = plane.shape
    for h in range(H + 2 * by):
        row = min(max(h - by, 0), H - 1)
        for w in range(W):
            padded[h, w + by] = factor * plane[row, w]
        for w in range(by):
            padded[h, w] = padded[h, by]
            padded[h, W + by + w] = padded[h, W + by - 1]
