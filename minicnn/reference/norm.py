"""Batch normalization in loops."""

from math import sqrt

import numpy as np

from minicnn.shapes import Array, Cache
from minicnn.shapes.checks import check_channels, check_dy


def batch_norm(
    x: Array, weight: Array, bias: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Cache]:
    """Normalize each channel over the batch, then scale and shift it.

    With m and v the mean and variance of the M = N·H·W values of channel c:
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
        ``(x, weight, epsilon, mean, variance, False)``; False if mean and variance were given.

    Raises
    ------
    TypeError, ValueError
        As the op of this name in `minicnn.ops`.
    """
    check_channels("batch_norm", "x", "N C | N H W C", x, epsilon, weight=weight, bias=bias)
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
    y = _normalize(x, mean, variance, epsilon) * weight + bias
    return y.astype(x.dtype), (x, weight, epsilon, mean, variance, False)


def batch_norm_inference(
    x: Array, weight: Array, bias: Array, mean: Array, variance: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Cache]:
    """Compute `batch_norm` with the given mean and variance.

    Parameters
    ----------
    x : ndarray (N, H, W, C) or (N, C)
    weight, bias, mean, variance : ndarray (C,)
    epsilon : float

    Returns
    -------
    y : ndarray, as `x`
    cache : tuple
        As in `batch_norm`.

    Raises
    ------
    TypeError, ValueError
        As the op of this name in `minicnn.ops`.
    """
    channels = {"weight": weight, "bias": bias, "mean": mean, "variance": variance}
    check_channels("batch_norm_inference", "x", "N C | N H W C", x, epsilon, **channels)
    y = _normalize(x, mean, variance, epsilon) * weight + bias
    return y.astype(x.dtype), (x, weight, epsilon, mean, variance, True)


def _normalize(x: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    """Return ``(x - mean) / √(variance + ε)`` in float64."""
    normal = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        c = place[-1]
        normal[place] = (float(x[place]) - float(mean[c])) / sqrt(float(variance[c]) + epsilon)
    return normal


def batch_norm_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Compute the gradients of `batch_norm` and of `batch_norm_inference`.

    With n the normalized value, so that ``y = n · weight + bias``: ``dbias = Σ dy`` and
    ``dweight = Σ dy · n``. An x changes its own y, and through mean and variance all others:
    ``dx = weight / √(v + ε) · (dy - dbias / M - n · dweight / M)``. With a given mean and variance
    only the first of the three terms remains.

    Derivation: minicnn/reference/DERIVATIONS.md, "Batch normalization".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : tuple
        From either one.

    Returns
    -------
    dx : ndarray, as `dy`
    dweight, dbias : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, weight, epsilon, mean, variance, frozen = cache
    check_dy("batch_norm_backward", dy, x.shape, x.dtype)
    C = x.shape[-1]
    M = x.size // C
    dx, dweight, dbias = np.empty(x.shape), np.zeros(C), np.zeros(C)
    normal = _normalize(x, mean, variance, epsilon)
    for place in np.ndindex(x.shape):
        c = place[-1]
        dweight[c] += float(dy[place]) * normal[place]
        dbias[c] += float(dy[place])
    for place in np.ndindex(x.shape):
        c = place[-1]
        inner = float(dy[place])
        if not frozen:
            inner -= dbias[c] / M + normal[place] * dweight[c] / M
        dx[place] = float(weight[c]) / sqrt(float(variance[c]) + epsilon) * inner
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)
