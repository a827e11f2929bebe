"""The innermost loop of every product: four rows of sums that stay in registers.

A loaded vector of weights serves four multiply-adds, one for each row, and what is summed is
written only at the end. Convolution, its weight gradient, matrix product and Winograd's products
differ in nothing but where the numbers of a sum lie.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, inline_function
from minicnn.kernels.simd import load, masked_load, masked_store, store
from minicnn.kernels.target import NR_SMALL

Array = NDArray[np.float32]
Vector = Any
Four = tuple[Vector, Vector, Vector, Vector]
Places = tuple[int, int, int, int]


@device_function
def load_tail(array: Array, i: int, left: int) -> Vector:
    """Return NARROW numbers from ``array[i]`` on; where fewer are left, those and zeros.

    Parameters
    ----------
    array : ndarray
    i : int
    left : int

    Returns
    -------
    vector
    """
    return load(array, i, NR_SMALL) if left >= NR_SMALL else masked_load(array, i, left, NR_SMALL)


@device_function
def store_tail(array: Array, i: int, v: Vector, left: int) -> None:
    """Write a vector of NARROW lanes to ``array[i]`` and on, as far as numbers are left.

    Parameters
    ----------
    array : ndarray
    i : int
    v : vector
    left : int
    """
    if left >= NR_SMALL:
        store(array, i, v)
    else:
        masked_store(array, i, v, left)


@inline_function
def load_tail_lanes(array: Array, i: int, left: int, lanes: int) -> Vector:
    """Return a vector from ``array[i]`` on; where fewer numbers are left, those and zeros.

    Parameters
    ----------
    array : ndarray
    i : int
    left : int
    lanes : int
        A constant.

    Returns
    -------
    vector
    """
    return load(array, i, lanes) if left >= lanes else masked_load(array, i, left, lanes)


@inline_function
def pack_weights(weight: Array, bias: Array, blocks: Array, lanes: int) -> None:
    """Lay weights out as tiles read them: in blocks of channels, each from one end to the other.

    Parameters
    ----------
    weight : ndarray (..., F)
        K·F numbers.
    bias : ndarray (F,)
    blocks : ndarray (blocks, 1 + K, lanes)
        Overwritten: of each block the bias and then the weights, filled up with zeros.
    lanes : int
        A constant.
    """
    F, o = bias.size, 0
    for f in range(0, F, lanes):
        store(blocks, o, load_tail_lanes(bias, f, F - f, lanes))
        for k in range(f, weight.size, F):
            o += lanes
            store(blocks, o, load_tail_lanes(weight, k, F - f, lanes))
        o += lanes


@inline_function
def load_four(array: Array, places: Places, f: int, left: int, lanes: int) -> Four:
    """Return the vectors at ``array[places[i] + f]``, of which the first `left` lanes count.

    Parameters
    ----------
    array : ndarray
    places : tuple of int
    f : int
    left : int
    lanes : int
        A constant.

    Returns
    -------
    tuple of vector
    """
    p0, p1, p2, p3 = places
    if left >= lanes:
        a0, a1 = load(array, p0 + f, lanes), load(array, p1 + f, lanes)
        a2, a3 = load(array, p2 + f, lanes), load(array, p3 + f, lanes)
    else:
        a0, a1 = masked_load(array, p0 + f, left, lanes), masked_load(array, p1 + f, left, lanes)
        a2, a3 = masked_load(array, p2 + f, left, lanes), masked_load(array, p3 + f, left, lanes)
    return a0, a1, a2, a3


@inline_function
def store_four(array: Array, places: Places, f: int, left: int, vectors: Four, lanes: int) -> None:
    """Write the first `left` lanes of each vector to ``array[places[i] + f]``.

    Parameters
    ----------
    array : ndarray
    places : tuple of int
    f : int
    left : int
    vectors : tuple of vector
    lanes : int
        A constant.
    """
    p0, p1, p2, p3 = places
    a0, a1, a2, a3 = vectors
    if left >= lanes:
        store(array, p0 + f, a0)
        store(array, p1 + f, a1)
        store(array, p2 + f, a2)
        store(array, p3 + f, a3)
    else:
        masked_store(array, p0 + f, a0, left)
        masked_store(array, p1 + f, a1, left)
        masked_store(array, p2 + f, a2, left)
        masked_store(array, p3 + f, a3, left)
