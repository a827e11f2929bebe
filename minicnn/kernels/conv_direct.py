"""Direct convolution: no matrix of patches, the sums kept in registers.

A convolution is described by few numbers: where each window's corner lies in the flat image
(`corners`, one index for each output pixel), how far apart the window's rows are (`row`), how many
there are (KH) and how many numbers each has (R = KW·C, which lie side by side). Stride and padding
are in the corners and in the image.

The weights are laid out in blocks of as many output channels as a tile takes, the bias before them:
``(blocks, 1 + KH·R, lanes)``, so that a tile reads them from one end to the other.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.copy import pad_image
from minicnn.kernels.jit import inline_function, kernel
from minicnn.kernels.simd import fma, load, load_splat
from minicnn.kernels.six import (
    Six,
    SixPlaces,
    load_six,
    six_from,
    six_of,
    six_sums,
    six_times,
    store_six,
)
from minicnn.kernels.target import NR_SMALL, SIMD_WIDTH, Kernel, specialize_nr
from minicnn.kernels.tiles import pack_weights

Array = NDArray[np.float32]
Indices = NDArray[np.int64]


@specialize_nr
def forward(lanes: int) -> Kernel:
    """Make the convolution for tiles of so many lanes.

    Where a tile is one register wide, two tiles are taken as a pair: twelve sums wait for each
    other less than six.
    """
    in_pairs = lanes <= SIMD_WIDTH

    def forward(
        x: Array,
        image: tuple[int, int, int, int],
        padded: Array,
        row: int,
        corners: Indices,
        KH: int,
        weight: Array,
        bias: Array,
        blocks: Array,
        y: Array,
    ) -> None:
        """Convolve images.

        ``y[n, p, f] = bias[f] + Σ_{kh,q} x[n, corners[p] + kh·row + q] · weight[kh, q, f]``.

        The loop nest is n, f, p, kh, q. Six pixels and one vector of channels are a tile; a block
        of weights stays in the first-level cache while the pixels of an image go by. An image that
        needs padding is copied just before, into a place that stays in the second-level cache.

        Parameters
        ----------
        x : ndarray (N·H·W·C,)
        image : tuple of int
            H, W·C, and the rows and numbers of padding before them.
        padded : ndarray (H'·row,) or (0,)
            Room for one image with its padding; empty if it has none.
        row : int
            Numbers from one row of a (padded) image to the next.
        corners : ndarray of int (P,)
        KH : int
        weight : ndarray (KH, KW, C, F)
        bias : ndarray (F,)
        blocks : ndarray (blocks, 1 + KH·R, lanes)
            Room for both in blocks of channels.
        y : ndarray (N, OH, OW, F)
            Overwritten.
        """
        pack_weights(weight, bias, blocks, lanes)
        H, W, top, left = image
        N, OH, OW, F = y.shape
        P, rows = OH * OW, blocks.shape[1]
        R = (rows - 1) // KH
        source = padded if padded.size > 0 else x
        for n in range(N):
            base, first = n * H * W, n * P
            if padded.size > 0:
                pad_image(x, base, H, W, top, left, padded, 0, padded.size // row, row)
                base = 0
            for f in range(0, F, lanes):
                s = load(blocks, f * rows, lanes)
                for p in range(0, P, 12 if in_pairs else 6):
                    six, sums = six_from(p, P), (s, s, s, s, s, s)
                    others, more = six_from(min(p + 6, P - 1), P), sums
                    for kh in range(KH):
                        b, w = base + kh * row, f * rows + (1 + kh * R) * lanes
                        pixels = six_of(corners, six, b)
                        if in_pairs:
                            beyond = six_of(corners, others, b)
                            sums, more = _twelve_sums(
                                source, pixels, beyond, R, blocks, w, sums, more, lanes
                            )
                        else:
                            sums = six_sums(source, pixels, R, 1, blocks, w, lanes, sums, lanes)
                    store_six(y, six_times(six, F, first * F), f, F - f, sums, lanes)
                    if in_pairs:
                        store_six(y, six_times(others, F, first * F), f, F - f, more, lanes)

    return forward


@inline_function
def _twelve_sums(
    x: Array,
    places: SixPlaces,
    others: SixPlaces,
    count: int,
    weight: Array,
    w: int,
    start: Six,
    more: Six,
    lanes: int,
) -> tuple[Six, Six]:
    """Return what `six_sums` gives for two tiles that take the same weights, side by side."""
    p0, p1, p2, p3, p4, p5 = places
    q0, q1, q2, q3, q4, q5 = others
    a0, a1, a2, a3, a4, a5 = start
    b0, b1, b2, b3, b4, b5 = more
    for i in range(count):
        v = load(weight, w + i * lanes, lanes)
        a0 = fma(load_splat(x, p0 + i, lanes), v, a0)
        a1 = fma(load_splat(x, p1 + i, lanes), v, a1)
        a2 = fma(load_splat(x, p2 + i, lanes), v, a2)
        a3 = fma(load_splat(x, p3 + i, lanes), v, a3)
        a4 = fma(load_splat(x, p4 + i, lanes), v, a4)
        a5 = fma(load_splat(x, p5 + i, lanes), v, a5)
        b0 = fma(load_splat(x, q0 + i, lanes), v, b0)
        b1 = fma(load_splat(x, q1 + i, lanes), v, b1)
        b2 = fma(load_splat(x, q2 + i, lanes), v, b2)
        b3 = fma(load_splat(x, q3 + i, lanes), v, b3)
        b4 = fma(load_splat(x, q4 + i, lanes), v, b4)
        b5 = fma(load_splat(x, q5 + i, lanes), v, b5)
    return (a0, a1, a2, a3, a4, a5), (b0, b1, b2, b3, b4, b5)


@specialize_nr
def backward_weight(lanes: int) -> Kernel:
    """Make the gradient of the weights for tiles of so many lanes."""

    def backward_weight(
        x: Array,
        image: int,
        window: Indices,
        OH: int,
        down: int,
        OW: int,
        right: int,
        block: int,
        dy: Array,
        dweight: Array,
    ) -> None:
        """Add up the gradient of the weights over all pixels of all images.

        ``dweight[k, f] += Σ_{n,oh,ow} x[n, oh·down + ow·right + window[k]] · dy[n, oh, ow, f]``.
        The loop nest is n, block of pixels, k, f, oh, ow: six weights and one vector of channels
        are a tile, whose sums stay in registers over a block; what a block needs of x and dy stays
        in the first-level cache while all tiles go by.

        Parameters
        ----------
        x : ndarray (N, image)
        image : int
            Numbers from one image to the next.
        window : ndarray of int (KH·R,)
            Where the numbers of a window lie, counted from its corner.
        OH, down : int
            Rows of windows, and numbers from one to the next.
        OW, right : int
            Windows in a row, and numbers from one to the next.
        block : int
            Pixels of a block: several rows, or a part of one.
        dy : ndarray (≥ N, OH·OW, ≥ F)
            So long that a vector may run over the end of a pixel of image N - 1.
        dweight : ndarray (KH·R, F)
            Updated.
        """
        _, P, step = dy.shape
        K, F = dweight.shape
        rows, columns = max(1, block // OW), min(block, OW)
        for n in range(x.shape[0]):
            for oh in range(0, OH, rows):
                for ow in range(0, OW, columns):
                    corner = n * image + oh * down + ow * right
                    first = (n * P + oh * OW + ow) * step
                    height, width = min(rows, OH - oh), min(columns, OW - ow)
                    for k in range(0, K, 6):
                        six = six_from(k, K)
                        places = six_times(six, F, 0)
                        for f in range(0, F, lanes):
                            sums = load_six(dweight, places, f, F - f, lanes)
                            for h in range(height):
                                numbers = six_of(window, six, corner + h * down)
                                g = first + h * OW * step + f
                                sums = six_sums(x, numbers, width, right, dy, g, step, sums, lanes)
                            store_six(dweight, places, f, F - f, sums, lanes)

    return backward_weight


@kernel
def backward_weight_few_filters(
    x: Array,
    image: int,
    vectors: Indices,
    OH: int,
    down: int,
    OW: int,
    right: int,
    dy: Array,
    dweight: Array,
) -> None:
    """Add up the gradient of the weights where there are fewer filters than lanes.

    ``dweight[f, j, l] += Σ_{n,oh,ow} dy[n, oh, ow, f] · x[n, oh·down + ow·right + vectors[j] + l]``
    with l from 0 to NARROW - 1: here the lanes are numbers of a row of the window. The loop nest is
    n, f, j, oh, ow: six vectors are a tile.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    vectors : ndarray of int (J,)
        Where the vectors of a window lie, counted from its corner.
    OH, down : int
        Rows of windows, and numbers from one to the next.
    OW, right : int
        Windows in a row, and numbers from one to the next.
    dy : ndarray (N, OH·OW, F)
    dweight : ndarray (F, J, NARROW)
        Updated.
    """
    N, P, F = dy.shape
    J = len(vectors)
    for n in range(N):
        for f in range(F):
            for j in range(0, J, 6):
                six = six_from(j, J)
                places = six_times(six, NR_SMALL, f * J * NR_SMALL)
                a0, a1, a2, a3, a4, a5 = load_six(dweight, places, 0, NR_SMALL, NR_SMALL)
                v0, v1, v2, v3, v4, v5 = six_of(vectors, six, 0)
                g = n * P * F + f
                for oh in range(OH):
                    i = n * image + oh * down
                    for _ in range(OW):
                        d = load_splat(dy, g, NR_SMALL)
                        a0 = fma(d, load(x, i + v0, NR_SMALL), a0)
                        a1 = fma(d, load(x, i + v1, NR_SMALL), a1)
                        a2 = fma(d, load(x, i + v2, NR_SMALL), a2)
                        a3 = fma(d, load(x, i + v3, NR_SMALL), a3)
                        a4 = fma(d, load(x, i + v4, NR_SMALL), a4)
                        a5 = fma(d, load(x, i + v5, NR_SMALL), a5)
                        i += right
                        g += F
                store_six(dweight, places, 0, NR_SMALL, (a0, a1, a2, a3, a4, a5), NR_SMALL)
