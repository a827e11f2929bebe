"""Matrices with their axes exchanged: squares of eight by eight are turned in registers.

Number by number, with a store for each, it takes three times as long.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.copy import fill_zero_range
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import interleave_high, interleave_low, load, store
from minicnn.kernels.tiles import Vector

Array = NDArray[np.float32]
Eight = tuple[Vector, Vector, Vector, Vector, Vector, Vector, Vector, Vector]

SIDE = 8


@device_function
def transpose_block(
    a: Array, i: int, rows: int, columns: int, out: Array, o: int, step: int
) -> None:
    """Compute ``out[o + f·step + c] = a[i + c·columns + f]`` for c below `rows`.

    Parameters
    ----------
    a : ndarray
    i : int
        Where the matrix begins in the flat `a`.
    rows, columns : int
    out : ndarray
    o : int
        Where the exchanged matrix begins in the flat `out`.
    step : int
        Numbers from one of its rows to the next.
    """
    whole_rows, whole_columns = rows - rows % SIDE, columns - columns % SIDE
    for f in range(0, whole_columns, SIDE):
        for c in range(0, whole_rows, SIDE):
            _transpose_tile(a, i + c * columns + f, columns, out, o + f * step + c, step)
    for c in range(rows):
        for f in range(whole_columns if c < whole_rows else 0, columns):
            store(out, o + f * step + c, load(a, i + c * columns + f, 1))


@device_function
def _transpose_tile(a: Array, i: int, columns: int, out: Array, o: int, step: int) -> None:
    """Exchange the axes of a square.

    The number in lane c₂c₁c₀ of vector r₂r₁r₀ (in bits) goes to lane c₁c₀r₂ of vector r₁r₀c₂ when
    the lanes of vectors k and k + 4 take turns; after three times its lane is r₂r₁r₀.
    """
    eight = (
        load(a, i, SIDE),
        load(a, i + columns, SIDE),
        load(a, i + 2 * columns, SIDE),
        load(a, i + 3 * columns, SIDE),
        load(a, i + 4 * columns, SIDE),
        load(a, i + 5 * columns, SIDE),
        load(a, i + 6 * columns, SIDE),
        load(a, i + 7 * columns, SIDE),
    )
    a0, a1, a2, a3, a4, a5, a6, a7 = _interleave_all(_interleave_all(_interleave_all(eight)))
    store(out, o, a0)
    store(out, o + step, a1)
    store(out, o + 2 * step, a2)
    store(out, o + 3 * step, a3)
    store(out, o + 4 * step, a4)
    store(out, o + 5 * step, a5)
    store(out, o + 6 * step, a6)
    store(out, o + 7 * step, a7)


@device_function
def _interleave_all(eight: Eight) -> Eight:
    """Let the lanes of vectors k and k + 4 take turns, to vectors 2k and 2k + 1."""
    a0, a1, a2, a3, a4, a5, a6, a7 = eight
    return (
        interleave_low(a0, a4),
        interleave_high(a0, a4),
        interleave_low(a1, a5),
        interleave_high(a1, a5),
        interleave_low(a2, a6),
        interleave_high(a2, a6),
        interleave_low(a3, a7),
        interleave_high(a3, a7),
    )


@kernel
def transpose(matrix: Array, transposed: Array) -> None:
    """Write a matrix with its axes exchanged: ``transposed[j, i] = matrix[i, j]``.

    Parameters
    ----------
    matrix : ndarray (rows, columns)
    transposed : ndarray (columns, rows)
        Overwritten.
    """
    rows, columns = matrix.shape
    transpose_block(matrix, 0, rows, columns, transposed, 0, rows)


@kernel
def rotate180_swap_channels(weight: Array, turned: Array) -> None:
    """Compute ``turned[kh, kw, f, c] = weight[KH - 1 - kh, KW - 1 - kw, c, f]``.

    Parameters
    ----------
    weight : ndarray (KH, KW, C, F)
    turned : ndarray (KH, KW, F, C)
        Overwritten.
    """
    KH, KW, C, F = weight.shape
    for k in range(KH * KW):
        transpose_block(weight, (KH * KW - 1 - k) * C * F, C, F, turned, k * F * C, C)


@kernel
def swap_channel_axes(weight: Array, exchanged: Array) -> None:
    """Compute ``exchanged[kh, kw, f, c] = weight[kh, kw, c, f]``; rows behind the last f are 0.

    Parameters
    ----------
    weight : ndarray (KH, KW, C, F)
    exchanged : ndarray (KH, KW, Fp, C)
        Overwritten.
    """
    KH, KW, C, F = weight.shape
    Fp = exchanged.shape[2]
    for k in range(KH * KW):
        transpose_block(weight, k * C * F, C, F, exchanged, k * Fp * C, C)
        fill_zero_range(exchanged, (k * Fp + F) * C, (Fp - F) * C)
