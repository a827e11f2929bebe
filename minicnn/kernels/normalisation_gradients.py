"""The way back through batch normalisation: one pass for its parameters, one for dx."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.normalisation import (
    CENTRE,
    INVERSE,
    OFFSET,
    ROWS,
    SCALE,
    SHIFT,
    add_to,
)
from minicnn.kernels.tiles import load_some, store_some
from minicnn.kernels.vectors import add, exceeds, fill, multiply_add, select, subtract

Array = NDArray[np.float32]


@kernel
def batch_norm_gradients(
    dy: Array, x: Array, channels: Array, relu: bool, dweight: Array, dbias: Array
) -> None:
    """Compute ``dbias[c] = Σ_p g`` and ``dweight[c] = Σ_p g · (x[p, c] - mean) · inverse``.

    Here ``g = dy[p, c]``, or 0 where a ReLU has cut y off. Whether it has is worked out again: that
    is less than to read y, or bits, from memory.

    Parameters
    ----------
    dy, x : ndarray (M, C)
    channels : ndarray (CHANNEL_ROWS, C)
        From `batch_norm_statistics` or `batch_norm_given`.
    relu : bool
    dweight, dbias : ndarray (C,)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NARROW)  # as a mere constant it would compile the piece a second time
    for c in range(C):
        dweight[c] = dbias[c] = 0
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NARROW):
            i = p * C + c
            if C - c >= NARROW:
                _add_gradients(dy, x, i, rows, channels, c, whole, relu, dweight, dbias)
            else:
                _add_gradients(dy, x, i, rows, channels, c, C - c, relu, dweight, dbias)
    for c in range(C):
        # so far dweight is Σ g · (x - centre)
        product = float(dweight[c]) - float(channels[OFFSET, c]) * float(dbias[c])
        dweight[c] = product * float(channels[INVERSE, c])


@piece
def _add_gradients(
    dy: Array,
    x: Array,
    i: int,
    rows: int,
    channels: Array,
    c: int,
    left: int,
    relu: bool,
    dweight: Array,
    dbias: Array,
) -> None:
    C = channels.shape[1]
    centre, scale, shift = (
        load_some(channels, CENTRE * C + c, left),
        load_some(channels, SCALE * C + c, left),
        load_some(channels, SHIFT * C + c, left),
    )
    zeros = fill(x, 0, NARROW)
    even_s, even_t = zeros, zeros
    odd_s, odd_t = zeros, zeros
    for _ in range(rows // 2):
        d, e = subtract(load_some(x, i, left), centre), subtract(load_some(x, i + C, left), centre)
        g, h = load_some(dy, i, left), load_some(dy, i + C, left)
        if relu:
            g = select(exceeds(multiply_add(d, scale, shift), zeros), g, zeros)
            h = select(exceeds(multiply_add(e, scale, shift), zeros), h, zeros)
        even_s, even_t = add(even_s, g), multiply_add(g, d, even_t)
        odd_s, odd_t = add(odd_s, h), multiply_add(h, e, odd_t)
        i += 2 * C
    if rows % 2:
        d, g = subtract(load_some(x, i, left), centre), load_some(dy, i, left)
        if relu:
            g = select(exceeds(multiply_add(d, scale, shift), zeros), g, zeros)
        even_s, even_t = add(even_s, g), multiply_add(g, d, even_t)
    add_to(dbias, c, add(even_s, odd_s), left)
    add_to(dweight, c, add(even_t, odd_t), left)


@kernel
def batch_norm_input_gradient(
    dy: Array,
    x: Array,
    channels: Array,
    relu: bool,
    given: bool,
    dweight: Array,
    dbias: Array,
    factors: Array,
    dx: Array,
) -> None:
    """Compute ``dx[p, c] = scale · (g - dbias / M - (x[p, c] - mean) · inverse · dweight / M)``.

    g is that of `batch_norm_gradients`. With a mean and variance that were given only the first of
    the three terms is there.

    Parameters
    ----------
    dy, x : ndarray (M, C)
    channels : ndarray (CHANNEL_ROWS, C)
        From `batch_norm_statistics` or `batch_norm_given`.
    relu, given : bool
    dweight, dbias : ndarray (C,)
        From `batch_norm_gradients`.
    factors : ndarray (2, C)
        Room; overwritten: ``dx = scale · g + factors[0] · (x - centre) + factors[1]``.
    dx : ndarray (M, C)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NARROW)
    for c in range(C):
        share = 0.0 if given else float(channels[SCALE, c]) / M
        slope = -share * float(channels[INVERSE, c]) * float(dweight[c])
        factors[0, c] = slope
        factors[1, c] = -share * float(dbias[c]) - slope * float(channels[OFFSET, c])
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NARROW):
            i = p * C + c
            if C - c >= NARROW:
                _input_gradient(dy, x, i, rows, channels, factors, c, whole, relu, dx)
            else:
                _input_gradient(dy, x, i, rows, channels, factors, c, C - c, relu, dx)


@piece
def _input_gradient(
    dy: Array,
    x: Array,
    i: int,
    rows: int,
    channels: Array,
    factors: Array,
    c: int,
    left: int,
    relu: bool,
    dx: Array,
) -> None:
    C = channels.shape[1]
    centre, scale, shift = (
        load_some(channels, CENTRE * C + c, left),
        load_some(channels, SCALE * C + c, left),
        load_some(channels, SHIFT * C + c, left),
    )
    slope, constant = load_some(factors, c, left), load_some(factors, C + c, left)
    zeros = fill(x, 0, NARROW)
    for _ in range(rows):
        d, g = subtract(load_some(x, i, left), centre), load_some(dy, i, left)
        if relu:
            g = select(exceeds(multiply_add(d, scale, shift), zeros), g, zeros)
        v = multiply_add(g, scale, multiply_add(d, slope, constant))
        store_some(dx, i, v, left)
        i += C
