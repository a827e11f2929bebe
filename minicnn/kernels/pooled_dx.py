"""The gradient of the images through convolution, ReLU and 2×2 max-pool: winners only.

A window is cut into vectors as in `minicnn.kernels.pooled_dweight`.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import piece
from minicnn.kernels.machine import FIRST_LEVEL, Kernel, for_each
from minicnn.kernels.pooled import DEAD
from minicnn.kernels.stretches import (
    STRETCHES,
    add_nine,
    add_three,
    holds_nine,
    nine_of,
    nine_times,
    three_from,
)
from minicnn.kernels.vectors import at

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]
Lists = tuple[Array, Indices, Indices]


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
        end: Indices,
        place: Indices,
        value: Array,
    ) -> None:
        """Compute dx: for each winner ``dx[n, corner + kh·row + q] += dy · weight[kh, q, f]``.

        The loop nest is n, vector, p, winner. The four pixels of each pooling window get a list of
        the channels that they have won; some vectors of dx then stay in registers while that list
        is walked.

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
        end : ndarray of int (5·P,)
            Room for the lists: where that of each pixel ends; every fifth is of what is not alive.
        place : ndarray of int (5·P·F,)
            Room for the lists: ``f·lanes`` of each winner; that of pixel i begins at ``i·F``.
        value : ndarray (5·P·F,)
            Room for the lists: its gradient.
        """
        N, _, _, F = dy.shape
        KH, V = weight.shape[0], starts.size
        R, J = weight.size // (KH * F), V // KH
        # nine vectors of weights of all channels should stay in the first-level cache
        nine = holds and 9 * F * lanes * weight.itemsize <= FIRST_LEVEL
        for kh in range(KH):
            for q in range(J * lanes):
                j, lane = kh * J + q // lanes, q % lanes
                for f in range(F):
                    vectors[j, f, lane] = at(weight, (kh * R + q) * F + f) if q < R else 0
        for n in range(N):
            # what is added behind a row is 0; behind the image it goes where the next has not begun
            dx[n * image : (n + 1) * image] = 0
            for f in range(0, F, MOST):
                _list_winners(dy, winner, n, f, min(F, f + MOST), lanes, end, place, value)
                lists = (value, place, end)
                j = 0
                if nine:
                    while j + 9 <= V:
                        _spread_nine(dx, n * image, corners, starts, j, lists, vectors, lanes)
                        j += 9
                while j < V:
                    _spread_three(dx, n * image, corners, starts, j, lists, vectors, lanes)
                    j += 3

    return pooled_input_gradient


@numba.njit(inline="always")
def _spread_nine(
    dx: Array,
    base: int,
    corners: Indices,
    starts: Indices,
    j: int,
    lists: Lists,
    vectors: Array,
    lanes: int,
) -> None:
    """Add to vectors j to j + 8 of the window of each pixel what its list says."""
    value, place, end = lists
    F = vectors.shape[1]
    weights = nine_times(F * lanes, j * F * lanes)
    for i in range(corners.size):
        pixel = _list_of(i)
        targets = nine_of(starts, j, base + at(corners, i))
        add_nine(dx, targets, value, place, pixel * F, end[pixel], vectors, weights, lanes)


@numba.njit(inline="always")
def _spread_three(
    dx: Array,
    base: int,
    corners: Indices,
    starts: Indices,
    j: int,
    lists: Lists,
    vectors: Array,
    lanes: int,
) -> None:
    """Add to vectors j to j + 2 of the window of each pixel what its list says."""
    value, place, end = lists
    F = vectors.shape[1]
    j0, j1, j2 = three_from(j, starts.size)
    weights = (j0 * F * lanes, j1 * F * lanes, j2 * F * lanes)
    s0, s1, s2 = at(starts, j0), at(starts, j1), at(starts, j2)
    for i in range(corners.size):
        pixel, c = _list_of(i), base + at(corners, i)
        targets = (c + s0, c + s1, c + s2)
        add_three(dx, targets, value, place, pixel * F, end[pixel], vectors, weights, lanes)


@piece
def _list_of(i: int) -> int:
    """Return the number of pixel i's list; of five of a pooling window one is of what is dead."""
    return 5 * (i >> 2) + (i & 3)


# Twelve bits count to so many: the lengths of the five lists of a pooling window fit in one number,
# which stays in a register, where an array would be written and read back for each winner.
BITS, MOST = 12, 4095


@piece
def _list_winners(
    dy: Array,
    winner: Bytes,
    n: int,
    first: int,
    last: int,
    lanes: int,
    end: Indices,
    place: Indices,
    value: Array,
) -> None:
    """List the winners of image n among the channels from `first` to `last`, by pixel."""
    _, PH, PW, F = dy.shape
    P = PH * PW
    for p in range(P):
        lengths = 0
        for f in range(first, last):
            i = (n * P + p) * F + f
            k = int(at(winner, i))
            free = (5 * p + k) * F + ((lengths >> (BITS * k)) & MOST)
            place[free] = f * lanes
            value[free] = at(dy, i)
            lengths += 1 << (BITS * k)
        for k in range(DEAD):
            end[5 * p + k] = (5 * p + k) * F + ((lengths >> (BITS * k)) & MOST)
