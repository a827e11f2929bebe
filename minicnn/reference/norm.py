"""Batch normalization in loops."""

from math import sqrt
from typing import Any

import numpy as np

from minicnn.shapes import FloatArray
from minicnn.shapes.checks import check_batch_norm, check_gradient

Cache = tuple[Any, ...]


def batch_norm(
    x: FloatArray, weight: FloatArray, bias: FloatArray, *, epsilon: float = 1e-5
) -> tuple[FloatArray, Cache]:
    """Give every channel mean 0 and variance 1 over the batch, then a scale and a shift to learn.

    With m and v the mean and variance of all numbers of channel c, of which there are M = N·H·W:
    ``y[..., c] = (x[..., c] - m) / √(v + ε) · weight[c] + bias[c]``, where ``v = Σ (x - m)² / M``.

    Parameters
    ----------
    x : ndarray (N, H, W, C) or (N, C)
    weight, bias : ndarray (C,)
    epsilon : float

    Returns
    -------
    y : ndarray, as `x`
    cache : tuple
        ``(x, weight, epsilon, mean, variance, whether both are those of x)``.

    Raises
    ------
    TypeError, ValueError
        As `minicnn.shapes.check_batch_norm`.
    """
    check_batch_norm("batch_norm", x, epsilon, weight=weight, bias=bias)
    C = x.shape[-1]
    mean, variance = np.zeros(C), np.zeros(C)
    for c in range(C):
        channel = [float(value) for value in x[..., c].flat]
        total = 0.0
        for value in channel:
            total += value
        mean[c] = total / len(channel)
        squares = 0.0
        for value in channel:
            squares += (value - mean[c]) ** 2
        variance[c] = squares / len(channel)
    y = _normalized(x, weight, bias, mean, variance, epsilon)
    return y, (x, weight, epsilon, mean, variance, True)


def batch_norm_inference(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
    *,
    epsilon: float = 1e-5,
) -> tuple[FloatArray, Cache]:
    """Do what `batch_norm` does with a mean and a variance that are given.

    Parameters
    ----------
    x : ndarray (N, H, W, C) or (N, C)
    weight, bias, mean, variance : ndarray (C,)
    epsilon : float

    Returns
    -------
    y : ndarray, as `x`
    cache : tuple
        As that of `batch_norm`.

    Raises
    ------
    TypeError, ValueError
        As `minicnn.shapes.check_batch_norm`.
    """
    channels = {"weight": weight, "bias": bias, "mean": mean, "variance": variance}
    check_batch_norm("batch_norm_inference", x, epsilon, **channels)
    y = _normalized(x, weight, bias, mean, variance, epsilon)
    return y, (x, weight, epsilon, mean, variance, False)


def _normalized(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
    epsilon: float,
) -> FloatArray:
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        c = place[-1]
        normal = (float(x[place]) - float(mean[c])) / sqrt(float(variance[c]) + epsilon)
        y[place] = normal * float(weight[c]) + float(bias[c])
    return y


def batch_norm_backward(dy: FloatArray, cache: Cache) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give the gradients of `batch_norm` and of `batch_norm_inference`.

    With n the normalized number, so that ``y = n · weight + bias``: ``dbias = Σ dy`` and
    ``dweight = Σ dy · n``. An x moves its own y, and by way of mean and variance all others:
    ``dx = weight / √(v + ε) · (dy - dbias / M - n · dweight / M)``. With a given mean and variance
    only the first of the three terms is there.

    Derivation: minicnn/reference/DERIVATIONS.md, "Batch normalization".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : tuple
        From either of the two.

    Returns
    -------
    dx : ndarray, as `dy`
    dweight, dbias : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    x, weight, epsilon, mean, variance, of_x = cache
    check_gradient("batch_norm_backward", dy, x.shape, x.dtype)
    C = x.shape[-1]
    M = x.size // C
    dx, dweight, dbias = np.empty(x.shape), np.zeros(C), np.zeros(C)
    normal = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        c = place[-1]
        normal[place] = (float(x[place]) - float(mean[c])) / sqrt(float(variance[c]) + epsilon)
        dweight[c] += float(dy[place]) * normal[place]
        dbias[c] += float(dy[place])
    for place in np.ndindex(x.shape):
        c = place[-1]
        inner = float(dy[place])
        if of_x:
            inner -= dbias[c] / M + normal[place] * dweight[c] / M
        dx[place] = float(weight[c]) / sqrt(float(variance[c]) + epsilon) * inner
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)
