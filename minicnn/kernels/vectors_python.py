"""What the vector functions mean, in plain Python: a vector is an array of `lanes` numbers.

With ``NUMBA_DISABLE_JIT=1`` the kernels run on these; `minicnn.kernels.vectors_llvm` says the same
to the compiler. Arrays are in C order and counted flat, whatever their shape.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Vector = NDArray[Any]
Mask = NDArray[np.bool_]


def at(array: Array, i: int) -> Any:
    """Return ``array[i]``.

    Parameters
    ----------
    array : ndarray
    i : int

    Returns
    -------
    number
    """
    return array.ravel()[i]


def fill(array: Array, number: float, lanes: int) -> Vector:
    """Return a vector of one number, in the dtype of `array`.

    Parameters
    ----------
    array : ndarray
    number : float
    lanes : int
        A constant, as in all functions below.

    Returns
    -------
    vector
    """
    return np.full(lanes, number, array.dtype)


def broadcast(array: Array, i: int, lanes: int) -> Vector:
    """Return ``array[i]`` in each lane.

    Parameters
    ----------
    array : ndarray
    i : int
    lanes : int

    Returns
    -------
    vector
    """
    return np.full(lanes, array.ravel()[i])


def load(array: Array, i: int, lanes: int) -> Vector:
    """Return the numbers from ``array[i]`` on.

    Parameters
    ----------
    array : ndarray
    i : int
    lanes : int

    Returns
    -------
    vector
    """
    return array.ravel()[i : i + lanes].copy()


def load_first(array: Array, i: int, count: int, lanes: int) -> Vector:
    """Return the `count` numbers from ``array[i]`` on, and 0 in the other lanes.

    Parameters
    ----------
    array : ndarray
    i : int
    count : int
        Less than `lanes` where a row ends inside the vector.
    lanes : int

    Returns
    -------
    vector
    """
    vector = np.zeros(lanes, array.dtype)
    vector[:count] = array.ravel()[i : i + min(count, lanes)]
    return vector


def store(array: Array, i: int, vector: Vector) -> None:
    """Write all lanes to ``array[i]`` and on.

    Parameters
    ----------
    array : ndarray
    i : int
    vector : vector
    """
    array.reshape(-1)[i : i + len(vector)] = vector


def store_first(array: Array, i: int, vector: Vector, count: int) -> None:
    """Write the first `count` lanes to ``array[i]`` and on.

    Parameters
    ----------
    array : ndarray
    i : int
    vector : vector
    count : int
        Less than the lanes where a row ends inside the vector.
    """
    array.reshape(-1)[i : i + min(count, len(vector))] = vector[:count]


def multiply_add(a: Vector, b: Vector, c: Vector) -> Vector:
    """Return ``a * b + c``, rounded once or twice as the machine has it.

    Parameters
    ----------
    a, b, c : vector

    Returns
    -------
    vector
    """
    with np.errstate(invalid="ignore", over="ignore"):  # compiled code does not warn either
        result: Vector = a * b + c
    return result


def add(a: Vector, b: Vector) -> Vector:
    """Return ``a + b``.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    vector
    """
    with np.errstate(invalid="ignore", over="ignore"):
        result: Vector = a + b
    return result


def subtract(a: Vector, b: Vector) -> Vector:
    """Return ``a - b``.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    vector
    """
    with np.errstate(invalid="ignore", over="ignore"):
        result: Vector = a - b
    return result


def divide(a: Vector, b: Vector) -> Vector:
    """Return ``a / b``, rounded as IEEE 754 says.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    vector
    """
    with np.errstate(all="ignore"):
        result: Vector = a / b
    return result


def first_halves(a: Vector, b: Vector) -> Vector:
    """Let the lanes of the first halves of two vectors take turns: a₀ b₀ a₁ b₁ …

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    vector
    """
    return np.stack((a, b), axis=1).reshape(-1)[: len(a)]


def second_halves(a: Vector, b: Vector) -> Vector:
    """Let the lanes of the second halves of two vectors take turns.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    vector
    """
    return np.stack((a, b), axis=1).reshape(-1)[len(a) :]
