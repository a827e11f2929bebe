"""Sums of rows, each times a number: what the way back through a pool consists of.

A row is cut into vectors of equal length. Their sums stay in registers while numbers, and the rows
that go with them, come by. How many fit depends on the CPU: nine, as are the windows of a 3×3
kernel of 32 channels in vectors of 32 lanes, or three.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, inline_function
from minicnn.kernels.simd import fma, load, load_scalar, store
from minicnn.kernels.target import ACCUMULATOR_REGISTERS, SIMD_WIDTH

Array = NDArray[np.float32]
Indices = NDArray[np.int64]
Vector = Any
Vectors = tuple[Vector, ...]
Three = tuple[int, int, int]
Nine = tuple[int, int, int, int, int, int, int, int, int]

# So many lanes may a vector have.
VECTOR_WIDTHS = (1, 2, 4, 8, 16, 32)


def choose_width(rows: int, R: int, fitting: Iterable[int], nine: Callable[[int], bool]) -> int:
    """Choose the lanes of the vectors that some rows are cut into.

    Parameters
    ----------
    rows : int
    R : int
        Numbers of a row.
    fitting : iterable of int
        Lanes to choose from, of `VECTOR_WIDTHS`.
    nine : callable
        Says of so many lanes whether nine vectors are summed at once.

    Returns
    -------
    int
        Those with which the fewest registers are summed, of several those with which the numbers
        come by the fewest times, and of these the most.
    """

    def cost(lanes: int) -> tuple[int, int, int]:
        vectors = rows * -(-R // lanes)
        nines = vectors // 9 if nine(lanes) else 0
        threes = -(-(vectors - 9 * nines) // 3)
        registers = (9 * nines + 3 * threes) * -(-lanes // SIMD_WIDTH)
        return registers, nines + threes, -lanes

    return min(fitting, key=cost)


def nine_fit_in_registers(lanes: int) -> bool:
    """Tell whether the sums of nine vectors fit in the registers.

    Parameters
    ----------
    lanes : int

    Returns
    -------
    bool
    """
    return 9 * -(-lanes // SIMD_WIDTH) <= ACCUMULATOR_REGISTERS


@device_function
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


@device_function
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


@device_function
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
        base + load_scalar(array, i),
        base + load_scalar(array, i + 1),
        base + load_scalar(array, i + 2),
        base + load_scalar(array, i + 3),
        base + load_scalar(array, i + 4),
        base + load_scalar(array, i + 5),
        base + load_scalar(array, i + 6),
        base + load_scalar(array, i + 7),
        base + load_scalar(array, i + 8),
    )


@inline_function
def load_three(array: Array, places: Three, lanes: int) -> Vectors:
    """Return the vectors at three places of an array.

    Parameters
    ----------
    array : ndarray
    places : tuple of int
        Where they begin in the flat `array`.
    lanes : int
        A constant.

    Returns
    -------
    tuple of vector
    """
    p0, p1, p2 = places
    return load(array, p0, lanes), load(array, p1, lanes), load(array, p2, lanes)


@inline_function
def load_nine(array: Array, places: Nine, lanes: int) -> Vectors:
    """Return the vectors at nine places of an array, as `load_three`.

    Parameters
    ----------
    array : ndarray
    places : tuple of int
    lanes : int
        A constant.

    Returns
    -------
    tuple of vector
    """
    p0, p1, p2, p3, p4, p5, p6, p7, p8 = places
    return (
        load(array, p0, lanes),
        load(array, p1, lanes),
        load(array, p2, lanes),
        load(array, p3, lanes),
        load(array, p4, lanes),
        load(array, p5, lanes),
        load(array, p6, lanes),
        load(array, p7, lanes),
        load(array, p8, lanes),
    )


@inline_function
def add_three(
    sums: Vectors, number: Vector, array: Array, i: int, places: Three, lanes: int
) -> Vectors:
    """Add the vectors at three places of an array, each times a number, to three sums.

    ``sums[v] + number · array[i + places[v] : … + lanes]``.

    Parameters
    ----------
    sums : tuple of vector
    number : vector
        The number in each lane.
    array : ndarray
    i : int
        From where in the flat `array` the places count.
    places : tuple of int
    lanes : int
        A constant.

    Returns
    -------
    tuple of vector
    """
    a0, a1, a2 = sums
    p0, p1, p2 = places
    return (
        fma(number, load(array, i + p0, lanes), a0),
        fma(number, load(array, i + p1, lanes), a1),
        fma(number, load(array, i + p2, lanes), a2),
    )


@inline_function
def add_nine(
    sums: Vectors, number: Vector, array: Array, i: int, places: Nine, lanes: int
) -> Vectors:
    """Add the vectors at nine places of an array, each times a number, to nine sums.

    Parameters
    ----------
    sums, number, array, i, places, lanes
        As of `add_three`.

    Returns
    -------
    tuple of vector
    """
    a0, a1, a2, a3, a4, a5, a6, a7, a8 = sums
    p0, p1, p2, p3, p4, p5, p6, p7, p8 = places
    return (
        fma(number, load(array, i + p0, lanes), a0),
        fma(number, load(array, i + p1, lanes), a1),
        fma(number, load(array, i + p2, lanes), a2),
        fma(number, load(array, i + p3, lanes), a3),
        fma(number, load(array, i + p4, lanes), a4),
        fma(number, load(array, i + p5, lanes), a5),
        fma(number, load(array, i + p6, lanes), a6),
        fma(number, load(array, i + p7, lanes), a7),
        fma(number, load(array, i + p8, lanes), a8),
    )


@inline_function
def store_three(array: Array, places: Three, vectors: Vectors) -> None:
    """Write three vectors to as many places of an array.

    Parameters
    ----------
    array : ndarray
    places : tuple of int
        Where they begin in the flat `array`: apart, or in the same place.
    vectors : tuple of vector
    """
    p0, p1, p2 = places
    a0, a1, a2 = vectors
    store(array, p0, a0)
    store(array, p1, a1)
    store(array, p2, a2)


@inline_function
def store_nine(array: Array, places: Nine, vectors: Vectors) -> None:
    """Write nine vectors to as many places of an array, as `store_three`.

    Parameters
    ----------
    array : ndarray
    places : tuple of int
    vectors : tuple of vector
    """
    p0, p1, p2, p3, p4, p5, p6, p7, p8 = places
    a0, a1, a2, a3, a4, a5, a6, a7, a8 = vectors
    store(array, p0, a0)
    store(array, p1, a1)
    store(array, p2, a2)
    store(array, p3, a3)
    store(array, p4, a4)
    store(array, p5, a5)
    store(array, p6, a6)
    store(array, p7, a7)
    store(array, p8, a8)
