"""The gradient of the images through convolution, ReLU and 2×2 max-pool: winners only.

A window is cut into vectors as in `minicnn.kernels.conv_pool_backward_weight`.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, inline_function
from minicnn.kernels.simd import (
    clear_lowest_bit,
    count_trailing_zeros,
    equal_bytes,
    load_scalar,
    load_splat,
    movemask,
)
from minicnn.kernels.stretches import (
    VECTOR_WIDTHS,
    add_nine,
    add_three,
    load_nine,
    load_three,
    nine_fit_in_registers,
    nine_of,
    nine_times,
    store_nine,
    store_three,
    three_from,
)
from minicnn.kernels.target import Kernel, specialize
from minicnn.kernels.transpose import transpose_block

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]

# So many channels are looked through at once: as many as a number has bits.
CHANNELS = 64


@specialize(VECTOR_WIDTHS)
def backward_input_sparse(lanes: int) -> Kernel:
    """Make the gradient of the images for vectors of so many lanes."""
    holds = nine_fit_in_registers(lanes)

    def backward_input_sparse(
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
            transpose_block(weight, (kh * R + q) * F, count, F, vectors, place, lanes)
        for n in range(N):
            # what is added behind a row is 0; behind the image it goes where the next has not begun
            dx[n * image : (n + 1) * image] = 0
            j = 0
            if holds and nine:
                while j + 9 <= V:
                    _scatter_add_nine_rows(
                        dy, winner, n, dx, n * image, corners, starts, j, vectors, lanes
                    )
                    j += 9
            while j < V:
                _scatter_add_three_rows(
                    dy, winner, n, dx, n * image, corners, starts, j, vectors, lanes
                )
                j += 3

    return backward_input_sparse


@inline_function
def _scatter_add_nine_rows(
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
        places = nine_of(starts, j, base + load_scalar(corners, pixel))
        sums = load_nine(dx, places, lanes)
        for first in range(0, F, CHANNELS):
            won = _argmax_bitmask(winner, p + first, pixel & 3, F - first)
            while won:
                f = first + count_trailing_zeros(won)
                won = clear_lowest_bit(won)
                g = load_splat(dy, p + f, lanes)
                sums = add_nine(sums, g, vectors, f * lanes, weights, lanes)
        store_nine(dx, places, sums)


@inline_function
def _scatter_add_three_rows(
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
    s0, s1, s2 = load_scalar(starts, j0), load_scalar(starts, j1), load_scalar(starts, j2)
    for pixel in range(corners.size):
        p = (n * PH * PW + (pixel >> 2)) * F
        corner = base + load_scalar(corners, pixel)
        places = (corner + s0, corner + s1, corner + s2)
        sums = load_three(dx, places, lanes)
        for first in range(0, F, CHANNELS):
            won = _argmax_bitmask(winner, p + first, pixel & 3, F - first)
            while won:
                f = first + count_trailing_zeros(won)
                won = clear_lowest_bit(won)
                g = load_splat(dy, p + f, lanes)
                sums = add_three(sums, g, vectors, f * lanes, weights, lanes)
        store_three(dx, places, sums)


@device_function
def _argmax_bitmask(winner: Bytes, i: int, k: int, left: int) -> int:
    """Return in which of the channels from ``winner[i]`` on pixel k has won, a bit for each.

    Of CHANNELS, or of as many as are left.
    """
    if i + CHANNELS <= winner.size:
        won = movemask(equal_bytes(winner, i, k, CHANNELS))
    else:  # not to read what lies behind the array
        won = 0
        for c in range(winner.size - i):
            won |= int(load_scalar(winner, i + c) == k) << c
    return won if left >= CHANNELS else won & ((1 << left) - 1)
