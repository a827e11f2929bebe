"""Direct convolution: no matrix of patches, the sums kept in registers.

A convolution is described by few numbers: where each window's corner lies in the flat image
(`corners`, one index for each output pixel), how far apart the window's rows are (`row`), how many
there are (KH) and how many numbers each has (R = KW·C, which lie side by side). Stride and padding
are in the corners and in the image.

The weights come in blocks of as many output channels as a tile takes, ``(blocks, KH·R, lanes)``, so
that a tile reads them from one end to the other.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.machine import NARROW, WIDE, WIDEST
from minicnn.kernels.tiles import four_from, four_sums, load_four, store_four
from minicnn.kernels.vectors import at, load

Array = NDArray[np.float32]
Indices = NDArray[np.int64]


@kernel
def direct_forward(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    weight: Array,
    bias: Array,
    y: Array,
) -> None:
    """Compute ``y[n, p, f] = bias[f] + Σ_{kh,q} x[n, corners[p] + kh·row + q] · weight[kh, q, f]``.

    The loop nest is n, f, p, kh, q. Four pixels and one vector of channels are a tile; a block of
    weights stays in the first-level cache while the pixels of an image go by.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (P,)
    row : int
    KH : int
    weight : ndarray (blocks, KH·R, lanes)
        Filled up with zeros.
    bias : ndarray (blocks·lanes,)
    y : ndarray (N, P, F)
        Overwritten.
    """
    lanes = weight.shape[2]
    if lanes == NARROW:
        _convolve(x, image, corners, row, KH, weight, bias, y, NARROW)
    elif lanes == WIDE:
        _convolve(x, image, corners, row, KH, weight, bias, y, WIDE)
    elif lanes == WIDEST:
        _convolve(x, image, corners, row, KH, weight, bias, y, WIDEST)


@numba.njit(inline="always")
def _convolve(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    weight: Array,
    bias: Array,
    y: Array,
    lanes: int,
) -> None:
    N, P, F = y.shape
    K = weight.shape[1]
    R = K // KH
    for n in range(N):
        base, first = n * image, n * P
        for f in range(0, F, lanes):
            s = load(bias, f, lanes)
            for p in range(0, P, 4):
                i0, i1, i2, i3 = four_from(p, P)
                pixels = (
                    base + at(corners, i0),
                    base + at(corners, i1),
                    base + at(corners, i2),
                    base + at(corners, i3),
                )
                sums = four_sums(
                    x, pixels, KH, row, R, 1, weight, f * K, lanes, (s, s, s, s), lanes
                )
                places = ((first + i0) * F, (first + i1) * F, (first + i2) * F, (first + i3) * F)
                store_four(y, places, f, F - f, sums, lanes)


@kernel
def direct_weight_gradient(
    x: Array,
    image: int,
    row: int,
    KH: int,
    OH: int,
    down: int,
    OW: int,
    right: int,
    dy: Array,
    dweight: Array,
    lanes: int,
) -> None:
    """Add up the gradient of the weights over all pixels of all images.

    ``dweight[kh, q, f] += Σ_{n,oh,ow} x[n, oh·down + ow·right + kh·row + q] · dy[n, oh, ow, f]``.
    The loop nest is n, kh, q, f, oh, ow: four weights in a row of the window and one vector of
    channels are a tile, whose sums stay in registers over all pixels of an image.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    row : int
        Numbers from one row of the window to the next.
    KH : int
    OH, down : int
        Rows of windows, and numbers from one to the next.
    OW, right : int
        Windows in a row, and numbers from one to the next.
    dy : ndarray (N, OH·OW, Fp)
        Channels filled up to a multiple of `lanes`.
    dweight : ndarray (KH·R, F)
        Updated.
    lanes : int
        Of a tile, from `minicnn.kernels.machine`.
    """
    if lanes == NARROW:
        _correlate(x, image, row, KH, OH, down, OW, right, dy, dweight, NARROW)
    elif lanes == WIDE:
        _correlate(x, image, row, KH, OH, down, OW, right, dy, dweight, WIDE)
    elif lanes == WIDEST:
        _correlate(x, image, row, KH, OH, down, OW, right, dy, dweight, WIDEST)


@numba.njit(inline="always")
def _correlate(
    x: Array,
    image: int,
    row: int,
    KH: int,
    OH: int,
    down: int,
    OW: int,
    right: int,
    dy: Array,
    dweight: Array,
    lanes: int,
) -> None:
    N, P, Fp = dy.shape
    K, F = dweight.shape
    R = K // KH
    for n in range(N):
        first = n * P * Fp
        for kh in range(KH):
            base = n * image + kh * row
            for q in range(0, R, 4):
                q0, q1, q2, q3 = four_from(q, R)
                numbers = (base + q0, base + q1, base + q2, base + q3)
                k = kh * R
                places = ((k + q0) * F, (k + q1) * F, (k + q2) * F, (k + q3) * F)
                for f in range(0, F, lanes):
                    sums = load_four(dweight, places, f, F - f, lanes)
                    sums = four_sums(
                        x, numbers, OH, down, OW, right, dy, first + f, Fp, sums, lanes
                    )
                    store_four(dweight, places, f, F - f, sums, lanes)
