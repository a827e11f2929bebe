"""What the functions of masks mean, in plain Python: a mask is an array of `lanes` truth values.

As in `minicnn.kernels.vectors_python`; `minicnn.kernels.masks_llvm` says the same to the compiler.
"""

import numpy as np

from minicnn.kernels.vectors_python import Array, Mask, Vector


def matches(array: Array, i: int, number: int, lanes: int) -> Mask:
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


def exceeds(a: Vector, b: Vector) -> Mask:
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


def beats(a: Vector, b: Vector) -> Mask:
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


def bits_of(mask: Mask) -> int:
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


def lowest(bits: int) -> int:
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


def without_lowest(bits: int) -> int:
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
