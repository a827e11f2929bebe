"""Winograd's minimal filtering: the weights ``G w Gᵀ``, and back.

`minicnn.kernels.winograd` says what G is and what they are for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.tiles import Four, load_some, store_some
from minicnn.kernels.vectors import add, fill, load, multiply_add, store, subtract

Array = NDArray[np.float32]
Vector = Any


@kernel
def winograd_weights(weight: Array, lanes: int, transformed: Array) -> None:
    """Compute ``G w Gᵀ`` for each pair of channels.

    Parameters
    ----------
    weight : ndarray (3, 3, C, F)
    lanes : int
        Channels of a block.
    transformed : ndarray (16, C·Fp + NARROW)
        Overwritten, but for the last numbers of each element: blocks of channels as
        `minicnn.kernels.winograd_products` takes them, filled up with zeros.
    """
    _, _, C, F = weight.shape
    plane = transformed.shape[1]  # from one of the sixteen to the next
    Fp = (plane - NARROW) // C
    s = C * F  # from one of the nine weights to the next
    for c in range(C):
        for f in range(0, Fp, NARROW):
            i, left = c * F + f, max(0, F - f)
            a = _filter(weight, i, 3 * s, left)  # the first column, (4,)
            b = _filter(weight, i + s, 3 * s, left)
            d = _filter(weight, i + 2 * s, 3 * s, left)
            block = lanes if f < Fp - Fp % lanes else NARROW
            place = (f - f % block) * C + c * block + f % block
            _store_filtered(transformed, place, plane, a[0], b[0], d[0])
            _store_filtered(transformed, place + 4 * plane, plane, a[1], b[1], d[1])
            _store_filtered(transformed, place + 8 * plane, plane, a[2], b[2], d[2])
            _store_filtered(transformed, place + 12 * plane, plane, a[3], b[3], d[3])


@piece
def _filter(weight: Array, i: int, step: int, left: int) -> Four:
    """Return ``G w`` of the three weights from `i` on."""
    w0 = load_some(weight, i, left)
    w1 = load_some(weight, i + step, left)
    w2 = load_some(weight, i + 2 * step, left)
    return _filtered(weight, w0, w1, w2)


@piece
def _filtered(like: Array, w0: Vector, w1: Vector, w2: Vector) -> Four:
    half, minus_half = fill(like, 0.5, NARROW), fill(like, -0.5, NARROW)
    middle = multiply_add(half, add(w0, w2), fill(like, 0, NARROW))
    return w0, multiply_add(half, w1, middle), multiply_add(minus_half, w1, middle), w2


@piece
def _store_filtered(out: Array, i: int, step: int, w0: Vector, w1: Vector, w2: Vector) -> None:
    u0, u1, u2, u3 = _filtered(out, w0, w1, w2)
    store(out, i, u0)
    store(out, i + step, u1)
    store(out, i + 2 * step, u2)
    store(out, i + 3 * step, u3)


@kernel
def winograd_weights_gradient(dtransformed: Array, dweight: Array) -> None:
    """Compute ``Gᵀ du G`` for each pair of channels: the adjoint of `winograd_weights`.

    Parameters
    ----------
    dtransformed : ndarray (16, C + 1, Fp)
    dweight : ndarray (3, 3, C, F)
        Overwritten.
    """
    _, rows, Fp = dtransformed.shape
    _, _, C, F = dweight.shape
    plane, s = rows * Fp, C * F
    for c in range(C):
        for f in range(0, F, NARROW):
            i = c * Fp + f
            a = _gather(dtransformed, i, 4 * plane)  # Gᵀ of the first column, (3,)
            b = _gather(dtransformed, i + plane, 4 * plane)
            d = _gather(dtransformed, i + 2 * plane, 4 * plane)
            e = _gather(dtransformed, i + 3 * plane, 4 * plane)
            place = c * F + f
            _store_gathered(dweight, place, s, F - f, a[0], b[0], d[0], e[0])
            _store_gathered(dweight, place + 3 * s, s, F - f, a[1], b[1], d[1], e[1])
            _store_gathered(dweight, place + 6 * s, s, F - f, a[2], b[2], d[2], e[2])


@piece
def _gather(array: Array, i: int, step: int) -> tuple[Vector, Vector, Vector]:
    """Return ``Gᵀ u`` of the four numbers from `i` on."""
    u0, u1 = load(array, i, NARROW), load(array, i + step, NARROW)
    u2, u3 = load(array, i + 2 * step, NARROW), load(array, i + 3 * step, NARROW)
    return _gathered(array, u0, u1, u2, u3)


@piece
def _gathered(
    like: Array, u0: Vector, u1: Vector, u2: Vector, u3: Vector
) -> tuple[Vector, Vector, Vector]:
    half, zero = fill(like, 0.5, NARROW), fill(like, 0, NARROW)
    both = multiply_add(half, add(u1, u2), zero)
    return add(u0, both), multiply_add(half, subtract(u1, u2), zero), add(both, u3)


@piece
def _store_gathered(
    out: Array, i: int, step: int, left: int, u0: Vector, u1: Vector, u2: Vector, u3: Vector
) -> None:
    w0, w1, w2 = _gathered(out, u0, u1, u2, u3)
    store_some(out, i, w0, left)
    store_some(out, i + step, w1, left)
    store_some(out, i + 2 * step, w2, left)
