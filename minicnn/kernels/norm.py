"""Batch normalization: one pass over the numbers to know mean and variance, one to use them.

An image's pixels and the batch's images are alike here: x is (M, C), M numbers of each channel. A
mean far from 0 must not cost digits, so what is added up is not x but ``x - center``, where
`center` is the mean of a channel's first few numbers: as near to the true one as rounding asks for.

The way back through batch normalization: one pass for its parameters, one for dx.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import add, fma, greater, greater_or_nan, select, splat, subtract
from minicnn.kernels.target import NR_SMALL
from minicnn.kernels.tiles import load_tail, store_tail

Array = NDArray[np.float32]

# So many rows are read for one vector of columns before the next: they stay in the first-level
# cache. Sums of each block are added up apart, so rounding grows with a block and with their number
# instead of with M.
ROWS = 64

# What is known of each channel, the rows of `channels`: the mean is ``center + offset``; `inverse`
# is 1 / √(variance + ε), with the variance that divides by M; ``y = (x - center) · scale + shift``;
# `variance` is the one that divides by M - 1.
PIVOT, MEAN_MINUS_PIVOT, RSTD, GAMMA_RSTD, BETA, MEAN, VARIANCE = range(7)
CHANNEL_ROWS = 7


@kernel
def batch_norm_statistics(
    x: Array, weight: Array, bias: Array, epsilon: float, channels: Array
) -> None:
    """Compute mean and variance of each channel, and what normalizes it.

    ``mean[c] = Σ_p x[p, c] / M``, ``variance[c] = Σ_p (x[p, c] - mean[c])² / M``, from
    ``D = Σ_p (x[p, c] - center)`` and ``Q = Σ_p (x[p, c] - center)²``.

    Parameters
    ----------
    x : ndarray (M, C)
    weight, bias : ndarray (C,)
    epsilon : float
    channels : ndarray (CHANNEL_ROWS, C)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NR_SMALL)  # as a mere constant it would compile the piece a second time
    for c in range(C):
        channels[PIVOT, c] = channels[MEAN_MINUS_PIVOT, c] = channels[VARIANCE, c] = 0
    some = min(M, ROWS)
    for c in range(0, C, NR_SMALL):
        _add_deviations(x, c, some, channels, c, min(whole, C - c))
    for c in range(C):
        channels[PIVOT, c] = channels[MEAN_MINUS_PIVOT, c] / some
        channels[MEAN_MINUS_PIVOT, c] = channels[VARIANCE, c] = 0
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NR_SMALL):
            if C - c >= NR_SMALL:  # a constant instead of what is left: no masks
                _add_deviations(x, p * C + c, rows, channels, c, whole)
            else:
                _add_deviations(x, p * C + c, rows, channels, c, C - c)
    for c in range(C):
        D, Q = float(channels[MEAN_MINUS_PIVOT, c]), float(channels[VARIANCE, c])
        offset = D / M
        squares = Q - D * offset
        squares = 0.0 if squares < 0 else squares  # by a rounding; NaN stays
        _set_scale(channels, c, float(weight[c]), squares / M + epsilon)
        channels[MEAN_MINUS_PIVOT, c] = offset
        channels[BETA, c] = float(bias[c]) - offset * float(channels[GAMMA_RSTD, c])
        channels[MEAN, c] = float(channels[PIVOT, c]) + offset
        channels[VARIANCE, c] = squares / (M - 1)


@device_function
def _add_deviations(x: Array, i: int, rows: int, channels: Array, c: int, left: int) -> None:
    """Add ``x - center`` of some rows to the row `MEAN_MINUS_PIVOT`, its square to `VARIANCE`."""
    C = channels.shape[1]
    center = load_tail(channels, PIVOT * C + c, left)
    even_d, even_q = splat(x, 0, NR_SMALL), splat(x, 0, NR_SMALL)
    odd_d, odd_q = splat(x, 0, NR_SMALL), splat(x, 0, NR_SMALL)
    for _ in range(rows // 2):
        a = subtract(load_tail(x, i, left), center)
        b = subtract(load_tail(x, i + C, left), center)
        even_d, even_q = add(even_d, a), fma(a, a, even_q)
        odd_d, odd_q = add(odd_d, b), fma(b, b, odd_q)
        i += 2 * C
    if rows % 2:
        a = subtract(load_tail(x, i, left), center)
        even_d, even_q = add(even_d, a), fma(a, a, even_q)
    add_to(channels, MEAN_MINUS_PIVOT * C + c, add(even_d, odd_d), left)
    add_to(channels, VARIANCE * C + c, add(even_q, odd_q), left)


@kernel
def batch_norm_from_running(
    weight: Array, bias: Array, mean: Array, variance: Array, epsilon: float, channels: Array
) -> None:
    """Work out what normalizes each channel from a mean and a variance that are given.

    Parameters
    ----------
    weight, bias, mean, variance : ndarray (C,)
    epsilon : float
    channels : ndarray (CHANNEL_ROWS, C)
        Overwritten.
    """
    for c in range(mean.size):
        _set_scale(channels, c, float(weight[c]), float(variance[c]) + epsilon)
        channels[PIVOT, c] = channels[MEAN, c] = mean[c]
        channels[MEAN_MINUS_PIVOT, c] = 0
        channels[BETA, c] = bias[c]
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
    """Scale weight and bias of a layer so that it does what a normalization behind it would do.

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
    zeros = splat(weight, 0, NR_SMALL)
    for f in range(0, F, NR_SMALL):
        left = F - f
        factor = load_tail(scale, f, left)
        for i in range(f, K * F, F):
            product = fma(load_tail(weight, i, left), factor, zeros)
            store_tail(folded, i, product, left)


@device_function
def _set_scale(channels: Array, c: int, weight: float, square: float) -> None:
    inverse = 1 / np.sqrt(square)
    channels[RSTD, c] = inverse
    channels[GAMMA_RSTD, c] = weight * inverse


@device_function
def add_to(array: Array, i: int, v: NDArray[np.float32], left: int) -> None:
    """Add a vector of NARROW lanes to ``array[i]`` and on, as far as numbers are left.

    Parameters
    ----------
    array : ndarray
    i : int
    v : vector
    left : int
    """
    store_tail(array, i, add(load_tail(array, i, left), v), left)


@kernel
def normalize(x: Array, channels: Array, relu: bool, y: Array) -> None:
    """Compute ``y[p, c] = (x[p, c] - center) · scale + shift``, and ``max(y, 0)`` if asked to.

    Parameters
    ----------
    x : ndarray (M, C)
    channels : ndarray (CHANNEL_ROWS, C)
    relu : bool
    y : ndarray (M, C)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NR_SMALL)
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NR_SMALL):
            i = p * C + c
            if C - c >= NR_SMALL:
                _normalize(x, i, rows, channels, c, whole, relu, y)
            else:
                _normalize(x, i, rows, channels, c, C - c, relu, y)


@device_function
def _normalize(
    x: Array, i: int, rows: int, channels: Array, c: int, left: int, relu: bool, y: Array
) -> None:
    C = channels.shape[1]
    center, scale, shift = (
        load_tail(channels, PIVOT * C + c, left),
        load_tail(channels, GAMMA_RSTD * C + c, left),
        load_tail(channels, BETA * C + c, left),
    )
    zeros = splat(x, 0, NR_SMALL)
    for _ in range(rows):
        v = fma(subtract(load_tail(x, i, left), center), scale, shift)
        if relu:
            v = select(greater_or_nan(v, zeros), v, zeros)
        store_tail(y, i, v, left)
        i += C


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
        From `batch_norm_statistics` or `batch_norm_from_running`.
    relu : bool
    dweight, dbias : ndarray (C,)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NR_SMALL)  # as a mere constant it would compile the piece a second time
    for c in range(C):
        dweight[c] = dbias[c] = 0
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NR_SMALL):
            i = p * C + c
            if C - c >= NR_SMALL:
                _add_gradients(dy, x, i, rows, channels, c, whole, relu, dweight, dbias)
            else:
                _add_gradients(dy, x, i, rows, channels, c, C - c, relu, dweight, dbias)
    for c in range(C):
        # so far dweight is Σ g · (x - center)
        product = float(dweight[c]) - float(channels[MEAN_MINUS_PIVOT, c]) * float(dbias[c])
        dweight[c] = product * float(channels[RSTD, c])


@device_function
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
    center, scale, shift = (
        load_tail(channels, PIVOT * C + c, left),
        load_tail(channels, GAMMA_RSTD * C + c, left),
        load_tail(channels, BETA * C + c, left),
    )
    zeros = splat(x, 0, NR_SMALL)
    even_s, even_t = zeros, zeros
    odd_s, odd_t = zeros, zeros
    for _ in range(rows // 2):
        d, e = subtract(load_tail(x, i, left), center), subtract(load_tail(x, i + C, left), center)
        g, h = load_tail(dy, i, left), load_tail(dy, i + C, left)
        if relu:
            g = select(greater(fma(d, scale, shift), zeros), g, zeros)
            h = select(greater(fma(e, scale, shift), zeros), h, zeros)
        even_s, even_t = add(even_s, g), fma(g, d, even_t)
        odd_s, odd_t = add(odd_s, h), fma(h, e, odd_t)
        i += 2 * C
    if rows % 2:
        d, g = subtract(load_tail(x, i, left), center), load_tail(dy, i, left)
        if relu:
            g = select(greater(fma(d, scale, shift), zeros), g, zeros)
        even_s, even_t = add(even_s, g), fma(g, d, even_t)
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
        From `batch_norm_statistics` or `batch_norm_from_running`.
    relu, given : bool
    dweight, dbias : ndarray (C,)
        From `batch_norm_gradients`.
    factors : ndarray (2, C)
        Room; overwritten: ``dx = scale · g + factors[0] · (x - center) + factors[1]``.
    dx : ndarray (M, C)
        Overwritten.
    """
    M, C = x.shape
    whole: Any = np.int64(NR_SMALL)
    for c in range(C):
        share = 0.0 if given else float(channels[GAMMA_RSTD, c]) / M
        slope = -share * float(channels[RSTD, c]) * float(dweight[c])
        factors[0, c] = slope
        factors[1, c] = -share * float(dbias[c]) - slope * float(channels[MEAN_MINUS_PIVOT, c])
    for p in range(0, M, ROWS):
        rows = min(ROWS, M - p)
        for c in range(0, C, NR_SMALL):
            i = p * C + c
            if C - c >= NR_SMALL:
                _input_gradient(dy, x, i, rows, channels, factors, c, whole, relu, dx)
            else:
                _input_gradient(dy, x, i, rows, channels, factors, c, C - c, relu, dx)


@device_function
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
    center, scale, shift = (
        load_tail(channels, PIVOT * C + c, left),
        load_tail(channels, GAMMA_RSTD * C + c, left),
        load_tail(channels, BETA * C + c, left),
    )
    slope, constant = load_tail(factors, c, left), load_tail(factors, C + c, left)
    zeros = splat(x, 0, NR_SMALL)
    for _ in range(rows):
        d, g = subtract(load_tail(x, i, left), center), load_tail(dy, i, left)
        if relu:
            g = select(greater(fma(d, scale, shift), zeros), g, zeros)
        v = fma(g, scale, fma(d, slope, constant))
        store_tail(dx, i, v, left)
        i += C
