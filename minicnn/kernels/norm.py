"""Batch normalization over a matrix (M, C): M is images times pixels.

One pass over x computes the statistics, one normalizes. Backward: one pass for the parameters, one
for dx.

A mean far from 0 must not cost precision. So the sums are over ``x - pivot``, where the pivot is
the mean of a channel's first values: as close to the true mean as rounding requires.
"""

import numpy as np

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import (
    add,
    fma,
    greater,
    greater_or_nan,
    load_tail,
    select,
    splat,
    store_tail,
    subtract,
)
from minicnn.kernels.target import BLOCK_ROWS, FULL_VECTOR, LANES
from minicnn.shapes import Array

# Blocks of BLOCK_ROWS rows have sums of their own, so rounding errors grow with the length of a
# block and with the number of blocks, not with M.


# The rows of `channels`, the state of each channel. The mean is ``pivot + mean_minus_pivot``;
# `rstd` is 1 / √(variance + ε), with the variance that divides by M;
# ``y = (x - pivot) · gamma_rstd + beta``. The row VARIANCE divides by M - 1.
PIVOT, MEAN_MINUS_PIVOT, RSTD, GAMMA_RSTD, BETA, MEAN, VARIANCE = range(7)
CHANNEL_ROWS = 7


# ---------------------------------------------------------------- forward


@kernel
def batch_norm_statistics(
    x: Array,  # (M, C)
    weight: Array,  # (C,)
    bias: Array,  # (C,)
    epsilon: float,
    channels: Array,  # out (CHANNEL_ROWS, C)
) -> None:
    """Compute mean, variance and scale of each channel.

    ``mean[c] = Σ_p x[p, c] / M``, ``variance[c] = Σ_p (x[p, c] - mean[c])² / M``, from
    ``D = Σ_p (x[p, c] - pivot)`` and ``Q = Σ_p (x[p, c] - pivot)²``.
    """
    M, C = x.shape
    for c in range(C):
        channels[PIVOT, c] = channels[MEAN_MINUS_PIVOT, c] = channels[VARIANCE, c] = 0
    count = min(M, BLOCK_ROWS)
    for c in range(0, C, LANES):
        _add_deviations(x, c, count, channels, c, min(FULL_VECTOR, C - c))
    for c in range(C):
        channels[PIVOT, c] = channels[MEAN_MINUS_PIVOT, c] / count
        channels[MEAN_MINUS_PIVOT, c] = channels[VARIANCE, c] = 0
    for p in range(0, M, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, M - p)
        for c in range(0, C, LANES):
            if C - c >= LANES:  # a constant, so that LLVM drops the masks
                _add_deviations(x, p * C + c, rows, channels, c, FULL_VECTOR)
            else:
                _add_deviations(x, p * C + c, rows, channels, c, C - c)
    for c in range(C):
        D, Q = float(channels[MEAN_MINUS_PIVOT, c]), float(channels[VARIANCE, c])
        mean_minus_pivot = D / M
        squares = Q - D * mean_minus_pivot
        squares = 0.0 if squares < 0 else squares  # negative by rounding only; NaN stays
        _set_scale(channels, c, float(weight[c]), squares / M + epsilon)
        channels[MEAN_MINUS_PIVOT, c] = mean_minus_pivot
        channels[BETA, c] = float(bias[c]) - mean_minus_pivot * float(channels[GAMMA_RSTD, c])
        channels[MEAN, c] = float(channels[PIVOT, c]) + mean_minus_pivot
        channels[VARIANCE, c] = squares / (M - 1)


@device_function
def _add_deviations(x: Array, i: int, rows: int, channels: Array, c: int, remaining: int) -> None:
    """Add the deviations of a block and their squares to the state."""
    C = channels.shape[1]
    pivot = load_tail(channels, PIVOT * C + c, remaining, LANES)
    even_d, even_q = splat(x, 0, LANES), splat(x, 0, LANES)
    odd_d, odd_q = splat(x, 0, LANES), splat(x, 0, LANES)
    for _ in range(rows // 2):
        a = subtract(load_tail(x, i, remaining, LANES), pivot)
        b = subtract(load_tail(x, i + C, remaining, LANES), pivot)
        even_d, even_q = add(even_d, a), fma(a, a, even_q)
        odd_d, odd_q = add(odd_d, b), fma(b, b, odd_q)
        i += 2 * C
    if rows % 2:
        a = subtract(load_tail(x, i, remaining, LANES), pivot)
        even_d, even_q = add(even_d, a), fma(a, a, even_q)
    _add_to(channels, MEAN_MINUS_PIVOT * C + c, add(even_d, odd_d), remaining)
    _add_to(channels, VARIANCE * C + c, add(even_q, odd_q), remaining)


@kernel
def batch_norm_from_running(
    weight: Array,  # (C,)
    bias: Array,  # (C,)
    mean: Array,  # (C,)
    variance: Array,  # (C,)
    epsilon: float,
    channels: Array,  # out (CHANNEL_ROWS, C)
) -> None:
    """Compute the state of each channel from running statistics."""
    for c in range(mean.size):
        _set_scale(channels, c, float(weight[c]), float(variance[c]) + epsilon)
        channels[PIVOT, c] = channels[MEAN, c] = mean[c]
        channels[MEAN_MINUS_PIVOT, c] = 0
        channels[BETA, c] = bias[c]
        channels[VARIANCE, c] = variance[c]


@device_function
def _set_scale(channels: Array, c: int, weight: float, variance: float) -> None:
    """Set RSTD and GAMMA_RSTD of a channel from its variance plus ε."""
    rstd = 1 / np.sqrt(variance)
    channels[RSTD, c] = rstd
    channels[GAMMA_RSTD, c] = weight * rstd


@device_function
def _add_to(array: Array, i: int, v: Array, remaining: int) -> None:
    """Add the first `remaining` lanes of a vector to ``array[i]`` and on."""
    store_tail(array, i, add(load_tail(array, i, remaining, LANES), v), remaining)


@kernel
def normalize(
    x: Array,  # (M, C)
    channels: Array,  # (CHANNEL_ROWS, C)
    relu: bool,
    y: Array,  # out (M, C)
) -> None:
    """Compute ``y = (x - pivot) · gamma_rstd + beta``, then ReLU if `relu`."""
    M, C = x.shape
    for p in range(0, M, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, M - p)
        for c in range(0, C, LANES):
            i = p * C + c
            if C - c >= LANES:
                _normalize(x, i, rows, channels, c, FULL_VECTOR, relu, y)
            else:
                _normalize(x, i, rows, channels, c, C - c, relu, y)


@device_function
def _normalize(
    x: Array, i: int, rows: int, channels: Array, c: int, remaining: int, relu: bool, y: Array
) -> None:
    """Normalize one vector of channels of a block of rows."""
    C = channels.shape[1]
    pivot, gamma_rstd, beta = (
        load_tail(channels, PIVOT * C + c, remaining, LANES),
        load_tail(channels, GAMMA_RSTD * C + c, remaining, LANES),
        load_tail(channels, BETA * C + c, remaining, LANES),
    )
    zeros = splat(x, 0, LANES)
    for _ in range(rows):
        v = fma(subtract(load_tail(x, i, remaining, LANES), pivot), gamma_rstd, beta)
        if relu:
            v = select(greater_or_nan(v, zeros), v, zeros)
        store_tail(y, i, v, remaining)
        i += C


@kernel
def fold_batch_norm(
    weight: Array,  # (K, F)
    bias: Array,  # (F,)
    gamma: Array,  # (F,)
    beta: Array,  # (F,)
    mean: Array,  # (F,)
    variance: Array,  # (F,)
    epsilon: float,
    scale: Array,  # scratch (F,)
    folded_weight: Array,  # out (K, F)
    folded_bias: Array,  # out (F,)
) -> None:
    """Fold a batch norm into the weight and bias of the layer before it.

    ``folded_weight[k, f] = weight[k, f] · s[f]`` and ``folded_bias[f] = (bias[f] - mean[f]) · s[f]
    + beta[f]``, where ``s = gamma / √(variance + ε)``.
    """
    K, F = weight.shape
    for f in range(F):
        s = float(gamma[f]) / np.sqrt(float(variance[f]) + epsilon)
        scale[f] = s
        folded_bias[f] = (float(bias[f]) - float(mean[f])) * s + float(beta[f])
    zeros = splat(weight, 0, LANES)
    for f in range(0, F, LANES):
        remaining = F - f
        factor = load_tail(scale, f, remaining, LANES)
        for i in range(f, K * F, F):
            product = fma(load_tail(weight, i, remaining, LANES), factor, zeros)
            store_tail(folded_weight, i, product, remaining)


# ---------------------------------------------------------------- backward


@kernel
def batch_norm_gradients(
    dy: Array,  # (M, C)
    x: Array,  # (M, C)
    channels: Array,  # (CHANNEL_ROWS, C)
    relu: bool,
    dweight: Array,  # out (C,)
    dbias: Array,  # out (C,)
) -> None:
    """Compute the gradients of the parameters.

    ``dbias[c] = Σ_p g`` and ``dweight[c] = Σ_p g · (x[p, c] - mean) · rstd``, where
    ``g = dy[p, c]``, or 0 where the ReLU output is 0. The sign of y is recomputed from x, which
    costs less than reading y or a mask from memory.
    """
    M, C = x.shape
    for c in range(C):
        dweight[c] = dbias[c] = 0
    for p in range(0, M, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, M - p)
        for c in range(0, C, LANES):
            i = p * C + c
            if C - c >= LANES:
                _add_gradients(dy, x, i, rows, channels, c, FULL_VECTOR, relu, dweight, dbias)
            else:
                _add_gradients(dy, x, i, rows, channels, c, C - c, relu, dweight, dbias)
    for c in range(C):
        # dweight holds Σ g · (x - pivot) so far.
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
    remaining: int,
    relu: bool,
    dweight: Array,
    dbias: Array,
) -> None:
    """Add the sums of one vector of channels of a block of rows."""
    C = channels.shape[1]
    pivot, gamma_rstd, beta = (
        load_tail(channels, PIVOT * C + c, remaining, LANES),
        load_tail(channels, GAMMA_RSTD * C + c, remaining, LANES),
        load_tail(channels, BETA * C + c, remaining, LANES),
    )
    zeros = splat(x, 0, LANES)
    even_bias, even_weight = zeros, zeros
    odd_bias, odd_weight = zeros, zeros
    for _ in range(rows // 2):
        d = subtract(load_tail(x, i, remaining, LANES), pivot)
        e = subtract(load_tail(x, i + C, remaining, LANES), pivot)
        g, h = load_tail(dy, i, remaining, LANES), load_tail(dy, i + C, remaining, LANES)
        if relu:
            g = select(greater(fma(d, gamma_rstd, beta), zeros), g, zeros)
            h = select(greater(fma(e, gamma_rstd, beta), zeros), h, zeros)
        even_bias, even_weight = add(even_bias, g), fma(g, d, even_weight)
        odd_bias, odd_weight = add(odd_bias, h), fma(h, e, odd_weight)
        i += 2 * C
    if rows % 2:
        d = subtract(load_tail(x, i, remaining, LANES), pivot)
        g = load_tail(dy, i, remaining, LANES)
        if relu:
            g = select(greater(fma(d, gamma_rstd, beta), zeros), g, zeros)
        even_bias, even_weight = add(even_bias, g), fma(g, d, even_weight)
    _add_to(dbias, c, add(even_bias, odd_bias), remaining)
    _add_to(dweight, c, add(even_weight, odd_weight), remaining)


@kernel
def batch_norm_input_gradient(
    dy: Array,  # (M, C)
    x: Array,  # (M, C)
    channels: Array,  # (CHANNEL_ROWS, C)
    relu: bool,
    frozen: bool,  # running statistics: only the first of the three terms
    dweight: Array,  # (C,), from `batch_norm_gradients`
    dbias: Array,  # (C,)
    factors: Array,  # scratch (2, C): slope and constant
    dx: Array,  # out (M, C)
) -> None:
    """Compute the gradient of the input of `normalize`.

    ``dx[p, c] = gamma_rstd · (g - dbias / M - (x[p, c] - mean) · rstd · dweight / M)``, with g as
    in `batch_norm_gradients`, evaluated as ``gamma_rstd · g + slope · (x - pivot) + constant``.
    """
    M, C = x.shape
    for c in range(C):
        share = 0.0 if frozen else float(channels[GAMMA_RSTD, c]) / M
        slope = -share * float(channels[RSTD, c]) * float(dweight[c])
        factors[0, c] = slope
        factors[1, c] = -share * float(dbias[c]) - slope * float(channels[MEAN_MINUS_PIVOT, c])
    for p in range(0, M, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, M - p)
        for c in range(0, C, LANES):
            i = p * C + c
            if C - c >= LANES:
                _input_gradient(dy, x, i, rows, channels, factors, c, FULL_VECTOR, relu, dx)
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
    remaining: int,
    relu: bool,
    dx: Array,
) -> None:
    """Compute dx for one vector of channels of a block of rows."""
    C = channels.shape[1]
    pivot, gamma_rstd, beta = (
        load_tail(channels, PIVOT * C + c, remaining, LANES),
        load_tail(channels, GAMMA_RSTD * C + c, remaining, LANES),
        load_tail(channels, BETA * C + c, remaining, LANES),
    )
    slope = load_tail(factors, c, remaining, LANES)
    constant = load_tail(factors, C + c, remaining, LANES)
    zeros = splat(x, 0, LANES)
    for _ in range(rows):
        d = subtract(load_tail(x, i, remaining, LANES), pivot)
        g = load_tail(dy, i, remaining, LANES)
        if relu:
            g = select(greater(fma(d, gamma_rstd, beta), zeros), g, zeros)
        store_tail(dx, i, fma(g, gamma_rstd, fma(d, slope, constant)), remaining)
        i += C
