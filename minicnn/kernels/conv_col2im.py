"""Convolution read from the other end: each pixel's products are spread over the window's place.

This is the gradient of the input, at any stride: a matrix product gives what a pixel of dy sends to
each number of its window, and these are added where the window lies. No lane is wasted on the few
channels of an image, since the columns of the product are all numbers of the window; and no product
with the zeros that would lie between the pixels of dy at a stride above 1.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.copy import copy_range, fill_zero_range
from minicnn.kernels.jit import device_function
from minicnn.kernels.simd import add, load, store
from minicnn.kernels.six import multiply_rows
from minicnn.kernels.target import NR_SMALL, Kernel, specialize_nr

Array = NDArray[np.float32]


@specialize_nr
def backward_input(lanes: int) -> Kernel:
    """Make the gradient of the input for tiles of so many lanes."""

    def backward_input(
        dy: Array,
        weight: Array,
        KH: int,
        R: int,
        OW: int,
        down: int,
        right: int,
        inside: int,
        dx: Array,
        image: Array,
        sent: Array,
    ) -> None:
        """Add ``dx[n, oh·SH + kh, ow·SW·C + q] += Σ_f dy[n, oh, ow, f] · weight[f, kh, q]``.

        The loop nest is n, block of pixels, block of (kh, q), pixel, f, and then pixel, kh, q,
        where q counts the R = KW·C numbers of a row of the window. Six pixels and one vector of a
        window's numbers are a tile of the product. An image with its padding is summed in a place
        of its own, which stays in the second-level cache, and copied without it.

        Parameters
        ----------
        dy : ndarray (N, OH·OW, F)
        weight : ndarray (blocks, F, lanes)
            Its columns are the KH·R numbers of a window, filled up with zeros.
        KH, R : int
        OW : int
        down, right : int
            Numbers from one window to the next, in `image`.
        inside : int
            Where the first pixel of dx lies in `image`.
        dx : ndarray (N, H, W·C)
            Overwritten.
        image : ndarray (H', W'·C)
            Room for the gradient of one image with its padding.
        sent : ndarray (B, blocks·lanes)
            Room for what a block of pixels sends; B is a multiple of six.
        """
        N, P, F = dy.shape
        height, row = image.shape
        _, H, width = dx.shape
        B, M = sent.shape
        for n in range(N):
            fill_zero_range(image, 0, height * row)
            for first in range(0, P, B):
                count = min(B, P - first)
                i = (n * P + first) * F
                for m in range(0, M, lanes):
                    multiply_rows(dy, i, F, count, weight, m * F, sent, m, M, lanes)
                for p in range(count):
                    oh, ow = divmod(first + p, OW)
                    i, s = oh * down + ow * right, p * M
                    for _ in range(KH):
                        _add_row(sent, s, R, image, i)
                        i += row
                        s += R
            for h in range(H):
                copy_range(image, inside + h * row, width, dx, (n * H + h) * width)

    return backward_input


@device_function
def _add_row(sent: Array, s: int, R: int, image: Array, i: int) -> None:
    """Add R numbers."""
    for q in range(0, R - NR_SMALL + 1, NR_SMALL):
        store(image, i + q, add(load(image, i + q, NR_SMALL), load(sent, s + q, NR_SMALL)))
    for q in range(R - R % NR_SMALL, R):
        v = add(load(image, i + q, 1), load(sent, s + q, 1))
        store(image, i + q, v)
