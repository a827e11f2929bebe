"""The gradient of the weights through convolution, ReLU and 2×2 max-pool: winners only.

Of four pixels at most one passes a gradient on, and none where the ReLU made the output 0. A dense
kernel would multiply seven zeros in eight.

A window is KH rows of R = KW·C numbers, each cut into vectors (`minicnn.kernels.stretches`), V in
all. Where they begin, counted from the window's corner, is in `starts`.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import piece
from minicnn.kernels.machine import Kernel, for_each
from minicnn.kernels.pooled import DEAD
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
from minicnn.kernels.vectors import at, broadcast

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@for_each(STRETCHES)
def pooled_weight_gradient(lanes: int) -> Kernel:
    """Make the gradient of the weights for vectors of so many lanes."""
    holds = holds_nine(lanes)

    def pooled_weight_gradient(
        x: Array,
        image: int,
        corners: Indices,
        starts: Indices,
        dy: Array,
        winner: Bytes,
        dweight: Array,
        dbias: Array,
        sums: Array,
        place: Indices,
        value: Array,
    ) -> None:
        """Compute ``dweight[kh, q, f] = Σ_winners dy · x[n, corner + kh·row + q]``, and dbias.

        The loop nest is n, block of pooling windows, f, vector, winner. The winners of a channel
        that are alive are first listed; some vectors of its dweight then stay in registers while
        the list is walked. What a block reads of the image stays in the first-level cache while all
        channels go by.

        Parameters
        ----------
        x : ndarray (N·image,)
        image : int
            Numbers from one image to the next.
        corners : ndarray of int (4·P,)
        starts : ndarray of int (V,)
            None reaches out of its row: the last of a row may take numbers of the one before again.
        dy : ndarray (N, PH, PW, F)
        winner : ndarray of uint8 (N, PH, PW, F)
        dweight : ndarray (KH, R, F)
            Overwritten.
        dbias : ndarray (F,)
            Overwritten.
        sums : ndarray (F·V·lanes,)
            Room for dweight with the channels first.
        place : ndarray of int (block + 1,)
            Room for the list: where the window of each winner begins. A block is so many pooling
            windows, or as many as are left.
        value : ndarray (block + 1,)
            Room for the list: its gradient.
        """
        N, PH, PW, F = dy.shape
        P, V, block = PH * PW, starts.size, place.size - 1
        sums[:] = 0
        _sum_alive(dy, winner, dbias)
        for n in range(N):
            for p in range(0, P, block):
                end = min(P, p + block)
                for f in range(F):
                    alive = _list_alive(dy, winner, n, p, end, f, image, corners, place, value)
                    j, t = 0, f * V * lanes
                    if holds:
                        while j + 9 <= V:
                            _sum_nine(value, place, alive, x, starts, j, sums, t, lanes)
                            j += 9
                    while j < V:
                        _sum_three(value, place, alive, x, starts, j, sums, t, lanes)
                        j += 3
        KH, R, _ = dweight.shape
        J = V // KH  # vectors of a row
        for kh in range(KH):
            for j in range(J):
                start = min(j * lanes, R - lanes)
                for f in range(F):
                    s = (f * V + kh * J + j) * lanes - start
                    for q in range(j * lanes, start + lanes):
                        dweight[kh, q, f] = at(sums, s + q)

    return pooled_weight_gradient


@numba.njit(inline="always")
def _sum_nine(
    value: Array,
    place: Indices,
    alive: int,
    x: Array,
    starts: Indices,
    j: int,
    sums: Array,
    t: int,
    lanes: int,
) -> None:
    """Add what a list of winners gives to vectors j to j + 8 of a channel's weights."""
    places, shifts = nine_times(lanes, t + j * lanes), nine_of(starts, j, 0)
    nine = load_nine(sums, places, lanes)
    for i in range(alive):
        s, g = at(place, i), broadcast(value, i, lanes)
        nine = add_nine(nine, g, x, s, shifts, lanes)
    store_nine(sums, places, nine)


@numba.njit(inline="always")
def _sum_three(
    value: Array,
    place: Indices,
    alive: int,
    x: Array,
    starts: Indices,
    j: int,
    sums: Array,
    t: int,
    lanes: int,
) -> None:
    """Add what a list of winners gives to vectors j to j + 2 of a channel's weights."""
    j0, j1, j2 = three_from(j, starts.size)
    places = (t + j0 * lanes, t + j1 * lanes, t + j2 * lanes)
    shifts = (at(starts, j0), at(starts, j1), at(starts, j2))
    three = load_three(sums, places, lanes)
    for i in range(alive):
        s, g = at(place, i), broadcast(value, i, lanes)
        three = add_three(three, g, x, s, shifts, lanes)
    store_three(sums, places, three)


@piece
def _sum_alive(dy: Array, winner: Bytes, dbias: Array) -> None:
    """Compute ``dbias[f] = Σ_{n,p} dy[n, p, f]`` over what is alive."""
    F = dbias.size
    dbias[:] = 0
    for p in range(0, dy.size, F):
        for f in range(F):
            if at(winner, p + f) < DEAD:
                dbias[f] += at(dy, p + f)


@piece
def _list_alive(
    dy: Array,
    winner: Bytes,
    n: int,
    first: int,
    last: int,
    f: int,
    image: int,
    corners: Indices,
    place: Indices,
    value: Array,
) -> int:
    """List the winners of image n and channel f that are alive; return how many there are."""
    _, PH, PW, F = dy.shape
    alive = 0
    i = (n * PH * PW + first) * F + f
    for p in range(first, last):
        k = int(at(winner, i))  # as a byte it would overflow in plain Python
        # written in any case; only what is alive is kept
        place[alive] = n * image + at(corners, 4 * p + (k & 3))
        value[alive] = at(dy, i)
        alive += k < DEAD
        i += F
    return alive
