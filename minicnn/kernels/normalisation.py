"""Batch normalisation: one pass over the numbers to know mean and variance, one to use them.

An image's pixels and the batch's images are alike here: x is (M, C), M numbers of each channel. A
mean far from 0 must not cost digits, so what is added up is not x but ``x - centre``, where
`centre` is the mean of a channel's first few numbers: as near to the true one as rounding asks for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece
from minicnn.kernels.machine import NARROW
from minicnn.kernels.tiles import load_some, store_some
from minicnn.kernels.vectors import add, beats, fill, multiply_add, select, subtract

Array = NDArray[np.float32]

# So many rows are read for one vector of columns before the next: they stay in the first-level
# cache. Sums of each block are added up apart, so rounding grows with a block and with their number
# instead of with M.
ROWS = 64

# What is known of each channel, the rows of `channels`: the mean is ``centre + offset``; `inverse`
# is 1 / √(variance + ε), with the variance that divides by M; ``y = (x - centre) · scale + shift``;
# `variance` is the one that divides by M - 1.
CENTRE, OFFSET, INVERSE, SCALE, SHIFT, MEAN, VARIANCE = range(7)
CHANNEL_ROWS = 7


@kernel
def batch_norm_statistics(
    x: Array, weight: Array, bias: Array, epsilon: float, channels: Array
) -> None:
    """Compute mean and variance of each channel, and what normalises it.

    ``mean[c] = Σ_p x[p, c] / M``, ``variance[c] = Σ_p (x[p, c] - mean[c])² / M``, from
    ``D = Σ_p (x[p, c] - centre)`` and ``Q = Σ_p (x[p, c] - centre)²``.

    Parameters
    ----------
    x : ndarray (M, C)
    weight, bias : ndarray (C,)
    epsilon : float
    channels : ndarray (CHANNEL_ROWS, C)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NARROW)  # as a mere constant it would compile the piece a second time
    for c in range(C):
        channels[CENTRE, c] = channels[OFFSET, c] = channels[VARIANCE, c] = 0
    some = min(M, ROWS)
    for c in range(0, C, NARROW):
        _add_deviations(x, c, some, channels, c, min(whole, C - c))
    for c in range(C):
        channels[CENTRE, c] = channels[OFFSET, c] / some
        channels[OFFSET, c] = channels[VARIANCE, c] = 0
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NARROW):
            if C - c >= NARROW:  # a constant instead of what is left: no masks
                _add_deviations(x, p * C + c, rows, channels, c, whole)
            else:
                _add_deviations(x, p * C + c, rows, channels, c, C - c)
    for c in range(C):
        D, Q = float(channels[OFFSET, c]), float(channels[VARIANCE, c])
        offset = D / M
        squares = Q - D * offset
        squares = 0.0 if squares < 0 else squares  # by a rounding; NaN stays
        _set_scale(channels, c, float(weight[c]), squares / M + epsilon)
        channels[OFFSET, c] = offset
        channels[SHIFT, c] = float(bias[c]) - offset * float(channels[SCALE, c])
        channels[MEAN, c] = float(channels[CENTRE, c]) + offset
        channels[VARIANCE, c] = squares / (M - 1)


@piece
def _add_deviations(x: Array, i: int, rows: int, channels: Array, c: int, left: int) -> None:
    """Add ``x - centre`` of some rows to the row `OFFSET`, its square to `VARIANCE`."""
    C = channels.shape[1]
    centre = load_some(channels, CENTRE * C + c, left)
    even_d, even_q = fill(x, 0, NARROW), fill(x, 0, NARROW)
    odd_d, odd_q = fill(x, 0, NARROW), fill(x, 0, NARROW)
    for _ in range(rows // 2):
        a = subtract(load_some(x, i, left), centre)
        b = subtract(load_some(x, i + C, left), centre)
        even_d, even_q = add(even_d, a), multiply_add(a, a, even_q)
        odd_d, odd_q = add(odd_d, b), multiply_add(b, b, odd_q)
        i += 2 * C
    if rows % 2:
        a = subtract(load_some(x, i, left), centre)
        even_d, even_q = add(even_d, a), multiply_add(a, a, even_q)
    add_to(channels, OFFSET * C + c, add(even_d, odd_d), left)
    add_to(channels, VARIANCE * C + c, add(even_q, odd_q), left)


@kernel
def batch_norm_given(
    weight: Array, bias: Array, mean: Array, variance: Array, epsilon: float, channels: Array
) -> None:
    """Work out what normalises each channel from a mean and a variance that are given.

    Parameters
    ----------
    weight, bias, mean, variance : ndarray (C,)
    epsilon : float
    channels : ndarray (CHANNEL_ROWS, C)
        Overwritten.
    """
    for c in range(mean.size):
        _set_scale(channels, c, float(weight[c]), float(variance[c]) + epsilon)
        channels[CENTRE, c] = channels[MEAN, c] = mean[c]
        channels[OFFSET, c] = 0
        channels[SHIFT, c] = bias[c]
        channels[VARIANCE, c] = variance[c]


@kernel
def fold_batch_norm(
    weight: Array,
    bias: Array,
    norm_weight: Array,
    norm_bias: Array,
    mean: Array,
    variance: Array,
    epsilon: float,
    scale: Array,
    folded: Array,
    folded_bias: Array,
) -> None:
    """Scale weight and bias of a layer so that it does what a normalisation behind it would do.

    ``folded[k, f] = weight[k, f] · s[f]`` and ``folded_bias[f] = (bias[f] - mean[f]) · s[f] +
    norm_bias[f]``, where ``s = norm_weight / √(variance + ε)``.

    Parameters
    ----------
    weight : ndarray (K, F)
    bias : ndarray (F,)
    norm_weight, norm_bias, mean, variance : ndarray (F,)
    epsilon : float
    scale : ndarray (F,)
        Room; overwritten.
    folded : ndarray (K, F)
        Overwritten.
    folded_bias : ndarray (F,)
        Overwritten.
    """
    K, F = weight.shape
    for f in range(F):
        s = float(norm_weight[f]) / np.sqrt(float(variance[f]) + epsilon)
        scale[f] = s
        folded_bias[f] = (float(bias[f]) - float(mean[f])) * s + float(norm_bias[f])
    zeros = fill(weight, 0, NARROW)
    for f in range(0, F, NARROW):
        left = F - f
        factor = load_some(scale, f, left)
        for i in range(f, K * F, F):
            product = multiply_add(load_some(weight, i, left), factor, zeros)
            store_some(folded, i, product, left)


@piece
def _set_scale(channels: Array, c: int, weight: float, square: float) -> None:
    inverse = 1 / np.sqrt(square)
    channels[INVERSE, c] = inverse
    channels[SCALE, c] = weight * inverse


@piece
def add_to(array: Array, i: int, v: NDArray[np.float32], left: int) -> None:
    """Add a vector of NARROW lanes to ``array[i]`` and on, as far as numbers are left.

    Parameters
    ----------
    array : ndarray
    i : int
    v : vector
    left : int
    """
    store_some(array, i, add(load_some(array, i, left), v), left)


@kernel
def normalise(x: Array, channels: Array, relu: bool, y: Array) -> None:
    """Compute ``y[p, c] = (x[p, c] - centre) · scale + shift``, and ``max(y, 0)`` if asked to.

    Parameters
    ----------
    x : ndarray (M, C)
    channels : ndarray (CHANNEL_ROWS, C)
    relu : bool
    y : ndarray (M, C)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NARROW)
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NARROW):
            i = p * C + c
            if C - c >= NARROW:
                _normalise(x, i, rows, channels, c, whole, relu, y)
            else:
                _normalise(x, i, rows, channels, c, C - c, relu, y)


@piece
def _normalise(
    x: Array, i: int, rows: int, channels: Array, c: int, left: int, relu: bool, y: Array
) -> None:
    C = channels.shape[1]
    centre, scale, shift = (
        load_some(channels, CENTRE * C + c, left),
        load_some(channels, SCALE * C + c, left),
        load_some(channels, SHIFT * C + c, left),
    )
    zeros = fill(x, 0, NARROW)
    for _ in range(rows):
        v = multiply_add(subtract(load_some(x, i, left), centre), scale, shift)
        if relu:
            v = select(beats(v, zeros), v, zeros)
        store_some(y, i, v, left)
        i += C
