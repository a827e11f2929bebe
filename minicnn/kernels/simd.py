"""SIMD vectors, masks and register tiles, defined in plain Python.

LLVM vectorizes only simple loops. So Numba compiles a call of these
functions to the instructions in `minicnn.kernels.llvm`, on vectors (``<16 x float>``) of any power
of two of lanes; LLVM splits one that is wider than a register over several registers. A kernel that
keeps its accumulators in such vectors is a plain loop nest. With ``NUMBA_DISABLE_JIT=1`` the
kernels run on the functions as they stand here; a test compares both.

A vector is an array of `lanes` values, a mask an array of `lanes` truth values, a tile a tuple of
MR vectors. Arrays are in C order and their indices count the values flat, whatever the shape.
`lanes` and `MR` must be constants; every function of a tile is fully unrolled.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[Any]
Vector = NDArray[Any]
Mask = NDArray[np.bool_]
Rows = tuple[int, ...]
Tile = tuple[Vector, ...]


# ---------------------------------------------------------------- loads and stores


def load_scalar(array: AnyArray, i: int) -> Any:
    """Return ``array[i]``."""
    return array.ravel()[i]


def load(array: AnyArray, i: int, lanes: int) -> Vector:
    """Return ``array[i : i + lanes]``."""
    return array.ravel()[i : i + lanes].copy()


def load_splat(array: AnyArray, i: int, lanes: int) -> Vector:
    """Return ``array[i]`` in each lane."""
    return np.full(lanes, array.ravel()[i])


def splat(array: AnyArray, value: float, lanes: int) -> Vector:
    """Return `value` in each lane, in the dtype of `array`."""
    return np.full(lanes, value, array.dtype)


def load_tail(array: AnyArray, i: int, remaining: int, lanes: int) -> Vector:
    """Return ``array[i : i + min(remaining, lanes)]``, then zeros."""
    vector = np.zeros(lanes, array.dtype)
    vector[:remaining] = array.ravel()[i : i + min(remaining, lanes)]
    return vector


def store(array: AnyArray, i: int, vector: Vector) -> None:
    """Write ``array[i : i + lanes]``; an array of integers truncates."""
    array.reshape(-1)[i : i + len(vector)] = vector


def store_tail(array: AnyArray, i: int, vector: Vector, remaining: int) -> None:
    """Write ``array[i : i + min(remaining, lanes)]``."""
    array.reshape(-1)[i : i + min(remaining, len(vector))] = vector[:remaining]


# ---------------------------------------------------------------- arithmetic


@np.errstate(all="ignore")  # compiled code does not warn either
def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """Return ``a * b + c``, rounded once or twice, depending on the CPU."""
    return a * b + c


@np.errstate(all="ignore")
def add(a: Vector, b: Vector) -> Vector:
    """Return ``a + b``."""
    return a + b


@np.errstate(all="ignore")
def subtract(a: Vector, b: Vector) -> Vector:
    """Return ``a - b``."""
    return a - b


@np.errstate(all="ignore")
def divide(a: Vector, b: Vector) -> Vector:
    """Return ``a / b``, rounded as in IEEE 754."""
    return a / b


# ---------------------------------------------------------------- masks


def equals(a: Vector, b: Vector) -> Mask:
    """Return where two vectors of integers are equal."""
    mask: Mask = a == b
    return mask


def greater(a: Vector, b: Vector) -> Mask:
    """Return where a is greater than b; false for NaN."""
    mask: Mask = a > b
    return mask


def greater_or_nan(a: Vector, b: Vector) -> Mask:
    """Return where a is greater than b, or NaN."""
    return (a > b) | np.isnan(a)


def select(mask: Mask, a: Vector, b: Vector) -> Vector:
    """Return a where the mask is true, else b."""
    return np.where(mask, a, b)


def load_mask(array: AnyArray, i: int, lanes: int) -> Mask:
    """Return the bits from byte ``array[i]`` on; 8 divides `lanes`."""
    return np.unpackbits(array.ravel()[i : i + lanes // 8], bitorder="little").astype(np.bool_)


def store_mask(array: AnyArray, i: int, mask: Mask) -> None:
    """Write a mask to the bytes from ``array[i]`` on, eight lanes to a byte."""
    array.reshape(-1)[i : i + len(mask) // 8] = np.packbits(mask, bitorder="little")


def movemask(mask: Mask) -> int:
    """Return at most 64 lanes as bits of an integer, lane 0 the lowest."""
    return int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")


def count_trailing_zeros(bits: int) -> int:
    """Return the index of the lowest bit that is set; `bits` must not be 0."""
    return (bits & -bits).bit_length() - 1


def clear_lowest_bit(bits: int) -> int:
    """Return `bits` with the lowest bit that is set cleared."""
    return bits & (bits - 1)


# ---------------------------------------------------------------- register tiles


def clamp_rows(first: int, count: int, MR: int) -> Rows:
    """Return MR rows from `first` on; past `count` they repeat the last."""
    return tuple(min(first + r, count - 1) for r in range(MR))


def row_offsets(rows: Rows, stride: int, base: int) -> Rows:
    """Return ``base + row * stride`` of each row."""
    return tuple(base + row * stride for row in rows)


def gather_offsets(array: AnyArray, rows: Rows, base: int) -> Rows:
    """Return ``base + array[row]`` of each row."""
    return tuple(base + int(load_scalar(array, row)) for row in rows)


def splat_tile(v: Vector, MR: int) -> Tile:
    """Return a tile of MR equal vectors."""
    return (v,) * MR


def fma_tile(acc: Tile, x: AnyArray, rows: Rows, k: int, v: Vector) -> Tile:
    """Return ``acc[r] + x[rows[r] + k] * v``."""
    return tuple(
        fma(load_splat(x, row + k, len(v)), v, a) for a, row in zip(acc, rows, strict=True)
    )


def axpy_tile(acc: Tile, v: Vector, tile: Tile) -> Tile:
    """Return ``acc[r] + v * tile[r]``."""
    return tuple(fma(v, factor, a) for a, factor in zip(acc, tile, strict=True))


def relu_tile(tile: Tile) -> Tile:
    """Return ``max(tile[r], 0)``; NaN stays NaN."""
    zero = np.zeros_like(tile[0])
    return tuple(select(greater_or_nan(v, zero), v, zero) for v in tile)


def transpose_tile(tile: Tile) -> Tile:
    """Return the lanes r of all vectors as vector r; `lanes` equals MR."""
    return tuple(np.stack(tile, axis=1))


def load_tile(array: AnyArray, rows: Rows, remaining: int, lanes: int) -> Tile:
    """Return the vectors at ``array[rows[r]]``, each as `load_tail`."""
    return tuple(load_tail(array, row, remaining, lanes) for row in rows)


def store_tile(array: AnyArray, rows: Rows, tile: Tile, remaining: int) -> None:
    """Write the vectors to ``array[rows[r]]``, each as `store_tail`."""
    for row, v in zip(rows, tile, strict=True):
        store_tail(array, row, v, remaining)
