"""ReLU, softmax and dropout in loops."""

from math import exp

import numpy as np
from numpy.typing import NDArray

from minicnn.shapes import Array, Cache


def relu(x: Array) -> tuple[Array, Cache]:
    """Set negative values to 0: ``y = max(x, 0)``; NaN stays NaN.

    Parameters
    ----------
    x : ndarray, any shape

    Returns
    -------
    y : ndarray, as `x`
    cache : tuple
        ``(x,)`` for `relu_backward`.
    """
    y = np.empty_like(x)
    for place in np.ndindex(x.shape):
        y[place] = 0 if x[place] <= 0 else x[place]
    return y, (x,)


def relu_backward(dy: Array, cache: Cache) -> Array:
    """Compute the gradient of `relu`: ``dx = dy`` where ``x > 0``, else 0.

    Derivation: minicnn/reference/DERIVATIONS.md, "ReLU".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : tuple
        From `relu`.

    Returns
    -------
    dx : ndarray, as `dy`
    """
    (x,) = cache
    dx = np.zeros_like(dy)
    for place in np.ndindex(dy.shape):
        if x[place] > 0:
            dx[place] = dy[place]
    return dx


def softmax(logits: Array) -> tuple[Array, Cache]:
    """Compute the softmax of each row.

    ``y[n, k] = e^logits[n, k] / Σ_j e^logits[n, j]``. The row's maximum is subtracted first: it
    cancels, and without it e^800 would overflow.

    Parameters
    ----------
    logits : ndarray (N, classes)

    Returns
    -------
    y : ndarray (N, classes)
    cache : tuple
        ``(y,)`` for `softmax_backward`.
    """
    N, K = logits.shape
    y = np.empty_like(logits)
    for n in range(N):
        row = [float(value) for value in logits[n]]
        highest = max(row)
        total = 0.0
        for k in range(K):
            total += exp(row[k] - highest)
        for k in range(K):
            y[n, k] = exp(row[k] - highest) / total
    return y, (y,)


def softmax_backward(dy: Array, cache: Cache) -> Array:
    """Compute the gradient of `softmax`.

    ``dlogits = y · (dy - Σ_j dy[n, j] · y[n, j])``

    Derivation: minicnn/reference/DERIVATIONS.md, "Softmax".

    Parameters
    ----------
    dy : ndarray (N, classes)
    cache : tuple
        From `softmax`.

    Returns
    -------
    dlogits : ndarray (N, classes)
    """
    (y,) = cache
    N, K = y.shape
    dlogits = np.empty_like(dy)
    for n in range(N):
        mean = 0.0
        for k in range(K):
            mean += float(dy[n, k]) * float(y[n, k])
        for k in range(K):
            dlogits[n, k] = float(y[n, k]) * (float(dy[n, k]) - mean)
    return dlogits


def dropout(x: Array, keep: NDArray[np.bool_], rate: float) -> tuple[Array, Cache]:
    """Set values to 0 and scale the remaining ones.

    ``y = x / (1 - rate)`` where kept, else 0. If each value is dropped with probability `rate`,
    the mean of y is x.

    Parameters
    ----------
    x : ndarray, any shape
    keep : ndarray of bool, as `x`
        True where a value is kept.
    rate : float
        0 to below 1.

    Returns
    -------
    y : ndarray, as `x`
    cache : tuple
        ``(keep, rate)`` for `dropout_backward`.
    """
    y = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        if keep[place]:
            y[place] = x[place] * x.dtype.type(1 / (1 - rate))
    return y, (keep, rate)


def dropout_backward(dy: Array, cache: Cache) -> Array:
    """Compute the gradient of `dropout`.

    ``dx = dy / (1 - rate)`` where x was kept, else 0.

    Derivation: minicnn/reference/DERIVATIONS.md, "Dropout".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : tuple
        From `dropout`.

    Returns
    -------
    dx : ndarray, as `dy`
    """
    keep, rate = cache
    return dropout(dy, keep, rate)[0]  # the same mask and scale
