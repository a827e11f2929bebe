"""Batch normalization over a matrix (M, C): M is images times pixels.

One pass over x computes the statistics, one normalizes. Backward: one pass for the parameters, one
for dx.

A mean far from 0 must not cost precision. So the sums are over ``x - pivot``, where the pivot is
the mean of a channel's first values: as close to the true mean as rounding requires.
"""

import numpy as np

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.reduce import for_each_vector
from minicnn.kernels.simd import (
    Tile,
    Vector,
    add,
    fma,
    greater,
    greater_or_nan,
    load_tail,
    load_tile,
    row_offsets,
    select,
    splat,
    store_tail,
    subtract,
)
from minicnn.kernels.target import BLOCK_ROWS, LANES
from minicnn.shapes import Array

# Blocks of BLOCK_ROWS rows have sums of their own, so rounding errors grow with the length of a
# block and with the number of blocks, not with M.


# The rows of `channels`, the state of each channel. The mean is ``pivot + mean_minus_pivot``;
# `rstd` is 1 / √(variance + ε), with the variance that divides by M;
# ``y = (x - pivot) · gamma_rstd + beta``. The row VARIANCE divides by M - 1.
PIVOT, MEAN_MINUS_PIVOT, RSTD, GAMMA_RSTD, BETA, MEAN, VARIANCE = range(7)
CHANNEL_ROWS = 7
SCALE = (PIVOT, GAMMA_RSTD, BETA)  # the rows that give y

Inputs = tuple[Array, Array, Array, bool]  # dy, x, channels, relu


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
    channels[:] = 0
    first_rows = min(M, BLOCK_ROWS)
    for_each_vector(_add_deviations, first_rows, C, x, channels)
    for c in range(C):
        channels[PIVOT, c] = channels[MEAN_MINUS_PIVOT, c] / first_rows
        channels[MEAN_MINUS_PIVOT, c] = channels[VARIANCE, c] = 0
    for_each_vector(_add_deviations, M, C, x, channels)
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
def _add_deviations(rows: range, c: int, remaining: int, x: Array, channels: Array) -> None:
    """Add the sums of x - pivot and of its square over `rows`."""
    C = channels.shape[1]
    pivot = load_tail(channels, PIVOT * C + c, remaining, LANES)
    # Two sums of each kind take turns, so that no addition waits for the one before it.
    even_d = even_q = odd_d = odd_q = splat(x, 0, LANES)
    for i in rows:
        d = subtract(load_tail(x, i, remaining, LANES), pivot)
        even_d, odd_d = odd_d, add(even_d, d)
        even_q, odd_q = odd_q, fma(d, d, even_q)
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
def _add_to(array: Array, i: int, v: Vector, remaining: int) -> None:
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
    for_each_vector(_normalize, M, C, x, channels, relu, y)


@device_function
def _normalize(
    rows: range, c: int, remaining: int, x: Array, channels: Array, relu: bool, y: Array
) -> None:
    """Normalize one vector of channels of `rows`."""
    C = channels.shape[1]
    pivot, gamma_rstd, beta = load_tile(channels, row_offsets(SCALE, C, c), remaining, LANES)
    zeros = splat(x, 0, LANES)
    for i in rows:
        v = fma(subtract(load_tail(x, i, remaining, LANES), pivot), gamma_rstd, beta)
        if relu:
            v = select(greater_or_nan(v, zeros), v, zeros)
        store_tail(y, i, v, remaining)


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
    dweight[:] = dbias[:] = 0
    for_each_vector(_add_gradients, M, C, (dy, x, channels, relu), dweight, dbias)
    for c in range(C):
        # dweight holds Σ g · (x - pivot) so far.
        product = float(dweight[c]) - float(channels[MEAN_MINUS_PIVOT, c]) * float(dbias[c])
        dweight[c] = product * float(channels[RSTD, c])


@device_function
def _add_gradients(
    rows: range, c: int, remaining: int, inputs: Inputs, dweight: Array, dbias: Array
) -> None:
    """Add the sums of g and of g · (x - pivot) over `rows`."""
    _, x, channels, _ = inputs
    scale = load_tile(channels, row_offsets(SCALE, dbias.size, c), remaining, LANES)
    even_bias = even_weight = odd_bias = odd_weight = splat(x, 0, LANES)
    for i in rows:
        d, g = _load_gradient(inputs, i, remaining, scale)
        even_bias, odd_bias = odd_bias, add(even_bias, g)
        even_weight, odd_weight = odd_weight, fma(g, d, even_weight)
    _add_to(dbias, c, add(even_bias, odd_bias), remaining)
    _add_to(dweight, c, add(even_weight, odd_weight), remaining)


@device_function
def _load_gradient(inputs: Inputs, i: int, remaining: int, scale: Tile) -> tuple[Vector, Vector]:
    """Return x - pivot and g, which is dy or 0 where the ReLU output is 0."""
    dy, x, _, relu = inputs
    pivot, gamma_rstd, beta = scale
    d = subtract(load_tail(x, i, remaining, LANES), pivot)
    g = load_tail(dy, i, remaining, LANES)
    if relu:
        zeros = splat(x, 0, LANES)
        g = select(greater(fma(d, gamma_rstd, beta), zeros), g, zeros)
    return d, g


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
    for_each_vector(_input_gradient, M, C, (dy, x, channels, relu), factors, dx)


@device_function
def _input_gradient(
    rows: range, c: int, remaining: int, inputs: Inputs, factors: Array, dx: Array
) -> None:
    """Compute dx for one vector of channels of `rows`."""
    _, _, channels, _ = inputs
    C = channels.shape[1]
    scale = load_tile(channels, row_offsets(SCALE, C, c), remaining, LANES)
    _, gamma_rstd, _ = scale
    slope, constant = load_tile(factors, row_offsets((0, 1), C, c), remaining, LANES)
    for i in rows:
        d, g = _load_gradient(inputs, i, remaining, scale)
        store_tail(dx, i, fma(g, gamma_rstd, fma(d, slope, constant)), remaining)
