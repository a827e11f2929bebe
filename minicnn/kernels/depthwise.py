"""Depthwise convolution: each channel by itself, with one filter of its own.

Pixels of the output that see the image through the same places of the window are a group. A group
lists its pixels (where the window begins, and where the result goes) and its taps (steps from where
the window begins, and the places of the weights). The pixels in the middle of an image are one
group and those at its edges, where part of the window lies outside, are others. The way back to the
input is the same loops on other lists: at a stride of S the pixels of dx fall into S·S groups, each
of which was seen through other places; no product is taken with the zeros that would lie between
the pixels of dy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import fma, load, load_scalar
from minicnn.kernels.six import load_six, six_from, six_of, six_times, store_six
from minicnn.kernels.target import NR_SMALL, Kernel, specialize_nr
from minicnn.kernels.tiles import load_tail, pack_weights, store_tail

Array = NDArray[np.float32]
Indices = NDArray[np.int64]
Vector = Any
Three = tuple[Vector, Vector, Vector]
Places = tuple[int, int, int]
Lists = tuple[Indices, Indices, Indices, Indices, Indices]


@specialize_nr
def depthwise(lanes: int) -> Kernel:
    """Make the depthwise convolution for tiles of so many lanes."""

    def depthwise(
        x: Array,
        groups: Indices,
        corners: Indices,
        targets: Indices,
        taps: Indices,
        places: Indices,
        weight: Array,
        bias: Array,
        blocks: Array,
        y: Array,
    ) -> None:
        """Convolve each channel.

        ``y[n, targets[p] + c] = bias[c] + Σ_t x[n, corners[p] + taps[t] + c] · w[t, c]``.

        Here p and t run over the pixels and taps of one group, and ``w[t, c]`` is
        ``weight[places[t], c]``. The loop nest is n, c, group, p, t. Six pixels and one vector of
        channels are a tile.

        Parameters
        ----------
        x : ndarray (N, H'·W'·C)
            With as many zeros around each image as the windows reach.
        groups : ndarray of int (groups, 4)
            Of each group where its pixels begin and end, and its taps.
        corners : ndarray of int (pixels,)
        targets : ndarray of int (pixels,)
        taps : ndarray of int (taps,)
        places : ndarray of int (taps,)
        weight : ndarray (KH·KW, C)
        bias : ndarray (C,)
        blocks : ndarray (blocks, 1 + KH·KW, lanes)
            Room for both in blocks of channels.
        y : ndarray (N, pixels·C)
            Overwritten.
        """
        pack_weights(weight, bias, blocks, lanes)
        C = bias.size
        count, rows, _ = blocks.shape
        for n in range(len(y)):
            base, o = n * x.shape[1], n * y.shape[1]
            for block in range(count):
                c, b = block * lanes, block * rows * lanes
                s = load(blocks, b, lanes)
                for group in range(len(groups)):
                    last = load_scalar(groups, 4 * group + 1)
                    for p in range(load_scalar(groups, 4 * group), last, 6):
                        six = six_from(p, last)
                        pixels = six_of(corners, six, base)
                        a0, a1, a2, a3, a4, a5 = s, s, s, s, s, s
                        for t in range(
                            load_scalar(groups, 4 * group + 2), load_scalar(groups, 4 * group + 3)
                        ):
                            i = load_scalar(taps, t)
                            w = load(blocks, b + (1 + load_scalar(places, t)) * lanes, lanes)
                            numbers = six_times(pixels, 1, i)
                            v0, v1, v2, v3, v4, v5 = load_six(x, numbers, c, C - c, lanes)
                            a0, a1 = fma(v0, w, a0), fma(v1, w, a1)
                            a2, a3 = fma(v2, w, a2), fma(v3, w, a3)
                            a4, a5 = fma(v4, w, a4), fma(v5, w, a5)
                        sums = (a0, a1, a2, a3, a4, a5)
                        store_six(y, six_of(targets, six, o), c, C - c, sums, lanes)

    return depthwise


@kernel
def depthwise_weight_gradient(
    x: Array,
    groups: Indices,
    corners: Indices,
    targets: Indices,
    taps: Indices,
    places: Indices,
    dy: Array,
    dweight: Array,
) -> None:
    """Sum ``dweight[places[t], c] = Σ x[n, corners[p] + taps[t] + c] · dy[n, targets[p] + c]``.

    The sum runs over n and, in each group that has tap t, over its pixels p. The loop nest is n, c,
    group, t, p. Nine taps and one vector of channels are a tile, whose sums stay in registers over
    the pixels of a group.

    Parameters
    ----------
    x : ndarray (N, H'·W'·C)
        With as many zeros around each image as the windows reach.
    groups, corners, targets, taps, places : ndarray of int
        As forward had them.
    dy : ndarray (N, pixels·C)
    dweight : ndarray (KH·KW, C)
        Overwritten.
    """
    C = dweight.shape[1]
    lists = (groups, corners, targets, taps, places)
    dweight[:] = 0
    for n in range(len(dy)):
        for c in range(0, C, NR_SMALL):
            i, g, some = n * x.shape[1] + c, n * dy.shape[1] + c, C - c
            for group in range(len(groups)):
                if some >= NR_SMALL:  # a constant instead of what is left: no masks
                    _correlate(x, i, lists, group, dy, g, dweight, c, NR_SMALL)
                else:
                    _correlate(x, i, lists, group, dy, g, dweight, c, some)


@device_function
def _correlate(
    x: Array,
    i: int,
    lists: Lists,
    group: int,
    dy: Array,
    g: int,
    dweight: Array,
    c: int,
    left: int,
) -> None:
    """Add what a group of pixels of one image gives to NARROW channels of the weights."""
    groups, corners, targets, taps, places = lists
    end = load_scalar(groups, 4 * group + 3)
    for t in range(load_scalar(groups, 4 * group + 2), end, 9):
        # the last tile may take the last tap more than once, to the same result
        t0, t1, t2, t3, t4, t5 = six_from(t, end)
        t6, t7, t8 = min(t + 6, end - 1), min(t + 7, end - 1), min(t + 8, end - 1)
        first, second, third = (t0, t1, t2), (t3, t4, t5), (t6, t7, t8)
        a = _load_three(dweight, places, first, c, left)
        b = _load_three(dweight, places, second, c, left)
        e = _load_three(dweight, places, third, c, left)
        for p in range(load_scalar(groups, 4 * group), load_scalar(groups, 4 * group + 1)):
            k = i + load_scalar(corners, p)
            d = load_tail(dy, g + load_scalar(targets, p), left)
            a = _add_three(x, k, taps, first, d, a, left)
            b = _add_three(x, k, taps, second, d, b, left)
            e = _add_three(x, k, taps, third, d, e, left)
        _store_three(dweight, places, first, c, a, left)
        _store_three(dweight, places, second, c, b, left)
        _store_three(dweight, places, third, c, e, left)


@device_function
def _load_three(dweight: Array, places: Indices, tap: Places, c: int, left: int) -> Three:
    C = dweight.shape[1]
    return (
        load_tail(dweight, load_scalar(places, tap[0]) * C + c, left),
        load_tail(dweight, load_scalar(places, tap[1]) * C + c, left),
        load_tail(dweight, load_scalar(places, tap[2]) * C + c, left),
    )


@device_function
def _add_three(
    x: Array, k: int, taps: Indices, tap: Places, d: Vector, sums: Three, left: int
) -> Three:
    """Add three vectors of `x`, each times `d`, to as many sums."""
    return (
        fma(load_tail(x, k + load_scalar(taps, tap[0]), left), d, sums[0]),
        fma(load_tail(x, k + load_scalar(taps, tap[1]), left), d, sums[1]),
        fma(load_tail(x, k + load_scalar(taps, tap[2]), left), d, sums[2]),
    )


@device_function
def _store_three(
    dweight: Array, places: Indices, tap: Places, c: int, sums: Three, left: int
) -> None:
    C = dweight.shape[1]
    store_tail(dweight, load_scalar(places, tap[0]) * C + c, sums[0], left)
    store_tail(dweight, load_scalar(places, tap[1]) * C + c, sums[1], left)
    store_tail(dweight, load_scalar(places, tap[2]) * C + c, sums[2], left)
