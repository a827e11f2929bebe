"""Dropout in loops."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.shapes import FloatArray

Cache = tuple[Any, ...]


def dropout(x: FloatArray, keep: NDArray[np.bool_], rate: float) -> tuple[FloatArray, Cache]:
    """Set some numbers to 0 and scale the others up: ``y = x / (1 - rate)`` where kept, else 0.

    If each number is dropped with a probability of `rate`, y is x on average.

    Parameters
    ----------
    x : ndarray, any shape
    keep : ndarray of bool, as `x`
        Which numbers are kept.
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


def dropout_backward(dy: FloatArray, cache: Cache) -> FloatArray:
    """Give the gradient of `dropout`: ``dx = dy / (1 - rate)`` where x was kept, else 0.

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
    dx = np.zeros_like(dy)
    for place in np.ndindex(dy.shape):
        if keep[place]:
            dx[place] = dy[place] * dy.dtype.type(1 / (1 - rate))
    return dx
