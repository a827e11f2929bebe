"""The gradient of the weights through convolution, ReLU and 2×2 max-pool: winners only.

Of four pixels at most one passes a gradient on, and none where the ReLU made the output 0. A dense
kernel would multiply seven zeros in eight.

A window is KH rows of R = KW·C numbers, each cut into vectors (`minicnn.kernels.stretches`), V in
all. Where they begin, counted from the window's corner, is in `starts`.

The weight gradient through convolution, ReLU and 2×2 max-pool, for windows of few numbers.

A first convolution on gray images sees nine numbers at a time. To list the winners, as
`minicnn.kernels.conv_pool_backward_weight` does, would take longer than the multiply-adds that it
saves.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.conv_pool import INACTIVE
from minicnn.kernels.jit import device_function, inline_function, kernel
from minicnn.kernels.simd import (
    add,
    equal_bytes,
    fma,
    load,
    load_scalar,
    load_splat,
    select,
    splat,
    store,
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
from minicnn.kernels.target import NR_SMALL, Kernel, specialize

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@specialize(VECTOR_WIDTHS)
def backward_weight_sparse(lanes: int) -> Kernel:
    """Make the gradient of the weights for vectors of so many lanes."""
    holds = nine_fit_in_registers(lanes)

    def backward_weight_sparse(
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
        _sum_active(dy, winner, dbias)
        for n in range(N):
            for p in range(0, P, block):
                end = min(P, p + block)
                for f in range(F):
                    alive = _list_active(dy, winner, n, p, end, f, image, corners, place, value)
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
                        dweight[kh, q, f] = load_scalar(sums, s + q)

    return backward_weight_sparse


@inline_function
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
        s, g = load_scalar(place, i), load_splat(value, i, lanes)
        nine = add_nine(nine, g, x, s, shifts, lanes)
    store_nine(sums, places, nine)


@inline_function
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
    shifts = (load_scalar(starts, j0), load_scalar(starts, j1), load_scalar(starts, j2))
    three = load_three(sums, places, lanes)
    for i in range(alive):
        s, g = load_scalar(place, i), load_splat(value, i, lanes)
        three = add_three(three, g, x, s, shifts, lanes)
    store_three(sums, places, three)


@device_function
def _sum_active(dy: Array, winner: Bytes, dbias: Array) -> None:
    """Compute ``dbias[f] = Σ_{n,p} dy[n, p, f]`` over what is alive."""
    F = dbias.size
    dbias[:] = 0
    for p in range(0, dy.size, F):
        for f in range(F):
            if load_scalar(winner, p + f) < INACTIVE:
                dbias[f] += load_scalar(dy, p + f)


@device_function
def _list_active(
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
        k = int(load_scalar(winner, i))  # as a byte it would overflow in plain Python
        # written in any case; only what is alive is kept
        place[alive] = n * image + load_scalar(corners, 4 * p + (k & 3))
        value[alive] = load_scalar(dy, i)
        alive += k < INACTIVE
        i += F
    return alive


Vector = Any
Three = tuple[Vector, Vector, Vector]


@kernel
def backward_weight_dense(
    x: Array,
    image: int,
    corners: Indices,
    row: int,
    KH: int,
    dy: Array,
    winner: Bytes,
    dweight: Array,
    dbias: Array,
) -> None:
    """Compute what `backward_weight_sparse` computes: dweight and dbias.

    ``dweight[kh, q, f] = Σ_{n,p} x[n, corner of the winner + kh·row + q] · dy[n, p, f]``. The loop
    nest is n, f, kh, q, p: three by three numbers of the window and one vector of channels are a
    tile, whose sums stay in registers over the pixels of an image. All four pixels of a pooling
    window are taken, each with dy masked to the channels that it has won.

    Parameters
    ----------
    x : ndarray (N, image)
    image : int
        Numbers from one image to the next.
    corners : ndarray of int (4·P,)
    row : int
        Numbers from one row of the window to the next.
    KH : int
    dy : ndarray (N, PH, PW, Fp)
        Channels filled up to a multiple of NARROW.
    winner : ndarray of uint8 (N, PH, PW, Fp)
    dweight : ndarray (KH, KW, C, Fp)
        Overwritten.
    dbias : ndarray (Fp,)
        Overwritten.
    """
    N, PH, PW, F = dy.shape
    P, R = PH * PW, dweight.size // (KH * F)
    dweight[:] = 0
    dbias[:] = 0
    zero = splat(dy, 0, NR_SMALL)
    for n in range(N):
        for f in range(0, F, NR_SMALL):
            total = load(dbias, f, NR_SMALL)
            for p in range(P):
                i = (n * P + p) * F + f
                dead = equal_bytes(winner, i, INACTIVE, NR_SMALL)
                total = add(total, select(dead, zero, load(dy, i, NR_SMALL)))
            store(dbias, f, total)
            for kh in range(0, KH, 3):
                # the last tile may take its last row or number more than once, to the same result
                k1, k2 = min(kh + 1, KH - 1), min(kh + 2, KH - 1)
                for q in range(0, R, 3):
                    q1, q2 = min(q + 1, R - 1), min(q + 2, R - 1)
                    steps = (q1 - q, q2 - q, (k1 - kh) * row, (k2 - kh) * row)
                    a0 = _load_three(dweight, kh * R, q, q1, q2, F, f)
                    a1 = _load_three(dweight, k1 * R, q, q1, q2, F, f)
                    a2 = _load_three(dweight, k2 * R, q, q1, q2, F, f)
                    base = n * image + kh * row + q
                    for p in range(P):
                        i = (n * P + p) * F + f
                        g = load(dy, i, NR_SMALL)
                        c0, c1 = (
                            base + load_scalar(corners, 4 * p),
                            base + load_scalar(corners, 4 * p + 1),
                        )
                        c2, c3 = (
                            base + load_scalar(corners, 4 * p + 2),
                            base + load_scalar(corners, 4 * p + 3),
                        )
                        g0 = select(equal_bytes(winner, i, 0, NR_SMALL), g, zero)
                        g1 = select(equal_bytes(winner, i, 1, NR_SMALL), g, zero)
                        g2 = select(equal_bytes(winner, i, 2, NR_SMALL), g, zero)
                        g3 = select(equal_bytes(winner, i, 3, NR_SMALL), g, zero)
                        a0, a1, a2 = _add_square(x, c0, steps, g0, a0, a1, a2)
                        a0, a1, a2 = _add_square(x, c1, steps, g1, a0, a1, a2)
                        a0, a1, a2 = _add_square(x, c2, steps, g2, a0, a1, a2)
                        a0, a1, a2 = _add_square(x, c3, steps, g3, a0, a1, a2)
                    _store_three(dweight, kh * R, q, q1, q2, F, f, a0)
                    _store_three(dweight, k1 * R, q, q1, q2, F, f, a1)
                    _store_three(dweight, k2 * R, q, q1, q2, F, f, a2)


@device_function
def _add_square(
    x: Array, c: int, steps: tuple[int, int, int, int], g: Vector, a0: Three, a1: Three, a2: Three
) -> tuple[Three, Three, Three]:
    """Add three by three numbers of `x`, each times `g`, to as many sums."""
    down1, down2 = steps[2], steps[3]
    return (
        _add_three(x, c, steps, g, a0),
        _add_three(x, c + down1, steps, g, a1),
        _add_three(x, c + down2, steps, g, a2),
    )


@device_function
def _add_three(x: Array, c: int, steps: tuple[int, int, int, int], g: Vector, sums: Three) -> Three:
    a, b, d = sums
    return (
        fma(load_splat(x, c, NR_SMALL), g, a),
        fma(load_splat(x, c + steps[0], NR_SMALL), g, b),
        fma(load_splat(x, c + steps[1], NR_SMALL), g, d),
    )


@device_function
def _load_three(array: Array, k: int, q0: int, q1: int, q2: int, F: int, f: int) -> Three:
    return (
        load(array, (k + q0) * F + f, NR_SMALL),
        load(array, (k + q1) * F + f, NR_SMALL),
        load(array, (k + q2) * F + f, NR_SMALL),
    )


@device_function
def _store_three(
    array: Array, k: int, q0: int, q1: int, q2: int, F: int, f: int, sums: Three
) -> None:
    store(array, (k + q0) * F + f, sums[0])
    store(array, (k + q1) * F + f, sums[1])
    store(array, (k + q2) * F + f, sums[2])
