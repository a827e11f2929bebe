"""Sums of rows, each times a number: what the way back through a pool consists of.

A row is cut into vectors of equal length. Their sums stay in registers while a list of numbers, and
of places where the rows begin, is walked. How many fit depends on the CPU: nine, as are the windows
of a 3×3 kernel of 32 channels in vectors of 32 lanes, or three.
"""

from collections.abc import Iterable

import numba
import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import piece
from minicnn.kernels.machine import LANES_OF_A_REGISTER, SUMS
from minicnn.kernels.vectors import at, broadcast, load, multiply_add, store

Array = NDArray[np.float32]
Indices = NDArray[np.int64]
Three = tuple[int, int, int]
Nine = tuple[int, int, int, int, int, int, int, int, int]

# So many lanes may a vector have.
STRETCHES = (1, 2, 4, 8, 16, 32)


def stretch_for(rows: int, R: int, fitting: Iterable[int]) -> int:
    """Choose the lanes of the vectors that some rows are cut into.

    Parameters
    ----------
    rows : int
    R : int
        Numbers of a row.
    fitting : iterable of int
        Lanes to choose from, of `STRETCHES`.

    Returns
    -------
    int
        Those with which the fewest registers are walked through, and of several the most.
    """

    def registers(lanes: int) -> int:
        vectors = rows * -(-R // lanes)
        nines = vectors // 9 if holds_nine(lanes) else 0
        threes = -(-(vectors - 9 * nines) // 3)
        return (9 * nines + 3 * threes) * -(-lanes // LANES_OF_A_REGISTER)

    return min(fitting, key=lambda lanes: (registers(lanes), -lanes))


def holds_nine(lanes: int) -> bool:
    """Tell whether the sums of nine vectors fit in the registers.

    Parameters
    ----------
    lanes : int

    Returns
    -------
    bool
    """
    return 9 * -(-lanes // LANES_OF_A_REGISTER) <= SUMS


@piece
def three_from(i: int, count: int) -> Three:
    """Return the numbers of three vectors from `i` on.

    The last three may be the same vector more than once, to the same result.

    Parameters
    ----------
    i : int
    count : int
        How many vectors there are.

    Returns
    -------
    tuple of int
    """
    return i, min(i + 1, count - 1), min(i + 2, count - 1)


@piece
def nine_times(step: int, i: int) -> Nine:
    """Return the first nine multiples of a number, each with another added.

    Parameters
    ----------
    step, i : int

    Returns
    -------
    tuple of int
    """
    j = i + 3 * step
    k = j + 3 * step
    return i, i + step, i + 2 * step, j, j + step, j + 2 * step, k, k + step, k + 2 * step


@piece
def nine_of(array: Indices, i: int, base: int) -> Nine:
    """Return nine numbers of an array from ``array[i]`` on, each with another added.

    Parameters
    ----------
    array : ndarray of int
    i, base : int

    Returns
    -------
    tuple of int
    """
    return (
        base + at(array, i),
        base + at(array, i + 1),
        base + at(array, i + 2),
        base + at(array, i + 3),
        base + at(array, i + 4),
        base + at(array, i + 5),
        base + at(array, i + 6),
        base + at(array, i + 7),
        base + at(array, i + 8),
    )


@numba.njit(inline="always")
def add_three(
    target: Array,
    targets: Three,
    value: Array,
    place: Indices,
    first: int,
    last: int,
    source: Array,
    shifts: Three,
    lanes: int,
) -> None:
    """Add to three vectors of sums.

    ``target[targets[v] + l] += Σ_i value[i] · source[place[i] + shifts[v] + l]``, l below `lanes`.

    Parameters
    ----------
    target : ndarray
    targets : tuple of int
        Where the sums lie in the flat `target`: apart, or in the same place.
    value : ndarray
    place : ndarray of int
    first, last : int
        The part of the list that counts.
    source : ndarray
    shifts : tuple of int
    lanes : int
        A constant.
    """
    t0, t1, t2 = targets
    s0, s1, s2 = shifts
    a0, a1, a2 = load(target, t0, lanes), load(target, t1, lanes), load(target, t2, lanes)
    for i in range(first, last):
        s, g = at(place, i), broadcast(value, i, lanes)
        a0 = multiply_add(g, load(source, s + s0, lanes), a0)
        a1 = multiply_add(g, load(source, s + s1, lanes), a1)
        a2 = multiply_add(g, load(source, s + s2, lanes), a2)
    store(target, t0, a0)
    store(target, t1, a1)
    store(target, t2, a2)


@numba.njit(inline="always")
def add_nine(
    target: Array,
    targets: Nine,
    value: Array,
    place: Indices,
    first: int,
    last: int,
    source: Array,
    shifts: Nine,
    lanes: int,
) -> None:
    """Add to nine vectors of sums what `add_three` adds to three.

    Parameters
    ----------
    target : ndarray
    targets : tuple of int
        Where the sums lie in the flat `target`, apart.
    value : ndarray
    place : ndarray of int
    first, last : int
        The part of the list that counts.
    source : ndarray
    shifts : tuple of int
    lanes : int
        A constant.
    """
    t0, t1, t2, t3, t4, t5, t6, t7, t8 = targets
    s0, s1, s2, s3, s4, s5, s6, s7, s8 = shifts
    a0, a1, a2 = load(target, t0, lanes), load(target, t1, lanes), load(target, t2, lanes)
    a3, a4, a5 = load(target, t3, lanes), load(target, t4, lanes), load(target, t5, lanes)
    a6, a7, a8 = load(target, t6, lanes), load(target, t7, lanes), load(target, t8, lanes)
    for i in range(first, last):
        s, g = at(place, i), broadcast(value, i, lanes)
        a0 = multiply_add(g, load(source, s + s0, lanes), a0)
        a1 = multiply_add(g, load(source, s + s1, lanes), a1)
        a2 = multiply_add(g, load(source, s + s2, lanes), a2)
        a3 = multiply_add(g, load(source, s + s3, lanes), a3)
        a4 = multiply_add(g, load(source, s + s4, lanes), a4)
        a5 = multiply_add(g, load(source, s + s5, lanes), a5)
        a6 = multiply_add(g, load(source, s + s6, lanes), a6)
        a7 = multiply_add(g, load(source, s + s7, lanes), a7)
        a8 = multiply_add(g, load(source, s + s8, lanes), a8)
    store(target, t0, a0)
    store(target, t1, a1)
    store(target, t2, a2)
    store(target, t3, a3)
    store(target, t4, a4)
    store(target, t5, a5)
    store(target, t6, a6)
    store(target, t7, a7)
    store(target, t8, a8)
