"""What the vector functions mean, in plain Python: a vector is an array of `lanes` numbers.

With ``NUMBA_DISABLE_JIT=1`` the kernels run on these; `minicnn.kernels.simd.llvm` says the same
to the compiler. Arrays are in C order and counted flat, whatever their shape.

What the functions of masks mean, in plain Python: a mask is an array of `lanes` truth values.

As in `minicnn.kernels.simd.python`; `minicnn.kernels.simd.llvm` says the same to the compiler.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Vector = NDArray[Any]
Mask = NDArray[np.bool_]


def load_scalar(array: Array, i: int) -> Any:
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


def splat(array: Array, number: float, lanes: int) -> Vector:
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


def load_splat(array: Array, i: int, lanes: int) -> Vector:
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


def masked_load(array: Array, i: int, count: int, lanes: int) -> Vector:
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


def masked_store(array: Array, i: int, vector: Vector, count: int) -> None:
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


def fma(a: Vector, b: Vector, c: Vector) -> Vector:
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


def interleave_low(a: Vector, b: Vector) -> Vector:
    """Let the lanes of the first halves of two vectors take turns: a₀ b₀ a₁ b₁ …

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    vector
    """
    return np.stack((a, b), axis=1).reshape(-1)[: len(a)]


def interleave_high(a: Vector, b: Vector) -> Vector:
    """Let the lanes of the second halves of two vectors take turns.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    vector
    """
    return np.stack((a, b), axis=1).reshape(-1)[len(a) :]


def equal_bytes(array: Array, i: int, number: int, lanes: int) -> Mask:
    """Return where the bytes from ``array[i]`` on are `number`.

    Parameters
    ----------
    array : ndarray of uint8
    i : int
    number : int
    lanes : int

    Returns
    -------
    mask
    """
    mask: Mask = array.ravel()[i : i + lanes] == number
    return mask


def equals(a: Vector, b: Vector) -> Mask:
    """Return where two vectors of whole numbers are the same.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    mask
    """
    mask: Mask = a == b
    return mask


def greater(a: Vector, b: Vector) -> Mask:
    """Return where a is greater than b; NaN is not.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    mask
    """
    mask: Mask = a > b
    return mask


def greater_or_nan(a: Vector, b: Vector) -> Mask:
    """Return where a is greater than b, or NaN.

    Parameters
    ----------
    a, b : vector

    Returns
    -------
    mask
    """
    return (a > b) | np.isnan(a)


def select(mask: Mask, a: Vector, b: Vector) -> Vector:
    """Return a where the mask is true, else b.

    Parameters
    ----------
    mask : mask
    a, b : vector

    Returns
    -------
    vector
    """
    return np.where(mask, a, b)


def load_mask(array: Array, i: int, lanes: int) -> Mask:
    """Return the mask whose bits lie in the bytes from ``array[i]`` on, the lowest bit first.

    Parameters
    ----------
    array : ndarray of uint8
    i : int
    lanes : int
        A multiple of 8.

    Returns
    -------
    mask
    """
    return np.unpackbits(array.ravel()[i : i + lanes // 8], bitorder="little").astype(np.bool_)


def store_mask(array: Array, i: int, mask: Mask) -> None:
    """Write the mask to ``array[i]`` and on, eight lanes to a byte.

    Parameters
    ----------
    array : ndarray of uint8
    i : int
    mask : mask
        Its lanes are a multiple of 8.
    """
    array.reshape(-1)[i : i + len(mask) // 8] = np.packbits(mask, bitorder="little")


def movemask(mask: Mask) -> int:
    """Return a mask as the bits of a number, the first lane the lowest.

    Parameters
    ----------
    mask : mask
        Of at most 64 lanes.

    Returns
    -------
    int
        As compiled, 64 bits of which the highest is the sign.
    """
    return int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")


def count_trailing_zeros(bits: int) -> int:
    """Return the place of the lowest bit that is set.

    Parameters
    ----------
    bits : int
        Not 0.

    Returns
    -------
    int
    """
    return (bits & -bits).bit_length() - 1


def clear_lowest_bit(bits: int) -> int:
    """Return what is left when the lowest bit that is set is cleared.

    Parameters
    ----------
    bits : int
        Not 0.

    Returns
    -------
    int
    """
    return bits & (bits - 1)
