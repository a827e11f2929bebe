"""The gradient of the images through convolution, ReLU and 2×2 max-pool: winners only.

A window is cut into vectors as in `minicnn.kernels.pooled_dweight`.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import piece
from minicnn.kernels.exchange import exchange
from minicnn.kernels.machine import Kernel, for_each
from minicnn.kernels.stretches import (
    STRETCHES,
    add_nine,
    add_three,
    holds_nine,
    load_nine,
    load_three,
    nine_of,
    nine_times,
    store_nine,
    store_three,
    three_from,
)
from minicnn.kernels.vectors import at, bits_of, broadcast, lowest, matches, without_lowest

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]

# So many channels are looked through at once: as many as a number has bits.
CHANNELS = 64


@for_each(STRETCHES)
def pooled_input_gradient(lanes: int) -> Kernel:
    """Make the gradient of the images for vectors of so many lanes."""
    holds = holds_nine(lanes)

    def pooled_input_gradient(
        dy: Array,
        winner: Bytes,
        image: int,
        corners: Indices,
        starts: Indices,
        weight: Array,
        dx: Array,
        vectors: Array,
        nine: bool,
    ) -> None:
        """Compute dx: for each winner ``dx[n, corner + kh·row + q] += dy · weight[kh, q, f]``.

        The loop nest is n, vector, p, pixel, winner. Some vectors of dx stay in registers while the
        channels go by that a pixel has won.

        Parameters
        ----------
        dy : ndarray (N, PH, PW, F)
        winner : ndarray of uint8 (N, PH, PW, F)
        image : int
            Numbers from one image to the next.
        corners : ndarray of int (4·P,)
        starts : ndarray of int (V,)
            The last of a row may reach out of it, but not into another vector of the window.
        weight : ndarray (KH, KW, C, F)
        dx : ndarray (N·image + lanes,)
            Overwritten.
        vectors : ndarray (V, F, lanes)
            Room for the weights; what reaches out of a row is 0.
        nine : bool
            Whether nine vectors of a window are summed at once, rather than three.
        """
        N, _, _, F = dy.shape
        KH, V = weight.shape[0], starts.size
        R, J = weight.size // (KH * F), V // KH
        vectors[:] = 0
        for j in range(V):
            kh, q = j // J, j % J * lanes
            count, place = min(lanes, R - q), j * F * lanes
            exchange(weight, (kh * R + q) * F, count, F, vectors, place, lanes)
        for n in range(N):
            # what is added behind a row is 0; behind the image it goes where the next has not begun
            dx[n * image : (n + 1) * image] = 0
            j = 0
            if holds and nine:
                while j + 9 <= V:
                    _spread_nine(dy, winner, n, dx, n * image, corners, starts, j, vectors, lanes)
                    j += 9
            while j < V:
                _spread_three(dy, winner, n, dx, n * image, corners, starts, j, vectors, lanes)
                j += 3

    return pooled_input_gradient


@numba.njit(inline="always")
def _spread_nine(
    dy: Array,
    winner: Bytes,
    n: int,
    dx: Array,
    base: int,
    corners: Indices,
    starts: Indices,
    j: int,
    vectors: Array,
    lanes: int,
) -> None:
    """Add to vectors j to j + 8 of the window of each pixel of image n what it has won."""
    _, PH, PW, F = dy.shape
    weights = nine_times(F * lanes, j * F * lanes)
    for pixel in range(corners.size):
        p = (n * PH * PW + (pixel >> 2)) * F
        places = nine_of(starts, j, base + at(corners, pixel))
        sums = load_nine(dx, places, lanes)
        for first in range(0, F, CHANNELS):
            won = _won_by(winner, p + first, pixel & 3, F - first)
            while won:
                f = first + lowest(won)
                won = without_lowest(won)
                g = broadcast(dy, p + f, lanes)
                sums = add_nine(sums, g, vectors, f * lanes, weights, lanes)
        store_nine(dx, places, sums)


@numba.njit(inline="always")
def _spread_three(
    dy: Array,
    winner: Bytes,
    n: int,
    dx: Array,
    base: int,
    corners: Indices,
    starts: Indices,
    j: int,
    vectors: Array,
    lanes: int,
) -> None:
    """Add to vectors j to j + 2 of the window of each pixel of image n what it has won."""
    _, PH, PW, F = dy.shape
    j0, j1, j2 = three_from(j, starts.size)
    weights = (j0 * F * lanes, j1 * F * lanes, j2 * F * lanes)
    s0, s1, s2 = at(starts, j0), at(starts, j1), at(starts, j2)
    for pixel in range(corners.size):
        p = (n * PH * PW + (pixel >> 2)) * F
        corner = base + at(corners, pixel)
        places = (corner + s0, corner + s1, corner + s2)
        sums = load_three(dx, places, lanes)
        for first in range(0, F, CHANNELS):
            won = _won_by(winner, p + first, pixel & 3, F - first)
            while won:
                f = first + lowest(won)
                won = without_lowest(won)
                g = broadcast(dy, p + f, lanes)
                sums = add_three(sums, g, vectors, f * lanes, weights, lanes)
        store_three(dx, places, sums)


@piece
def _won_by(winner: Bytes, i: int, k: int, left: int) -> int:
    """Return in which of the channels from ``winner[i]`` on pixel k has won, a bit for each.

    Of CHANNELS, or of as many as are left.
    """
    if i + CHANNELS <= winner.size:
        won = bits_of(matches(winner, i, k, CHANNELS))
    else:  # not to read what lies behind the array
        won = 0
        for c in range(winner.size - i):
            won |= int(at(winner, i + c) == k) << c
    return won if left >= CHANNELS else won & ((1 << left) - 1)
