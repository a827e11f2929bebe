"""Random initial weights, scaled so that signals do not vanish."""

from math import prod, sqrt

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn.shapes import Array, Shape


def fans(shape: Shape) -> tuple[int, int]:
    """Return the inputs per output and the outputs per input of a weight.

    Parameters
    ----------
    shape : tuple of int
        ``(in, out)``, ``(KH, KW, C, F)`` or, for a depthwise convolution, ``(KH, KW, C)``.

    Returns
    -------
    fan_in, fan_out : int
        ``in, out``, ``KH·KW·C, KH·KW·F`` or ``KH·KW, KH·KW``.
    """
    if len(shape) == 3:
        return prod(shape[:2]), prod(shape[:2])
    window = prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def he_normal(rng: Generator, shape: Shape, dtype: DTypeLike) -> Array:
    """Draw from a normal distribution of std ``√(2 / fan_in)``.

    For a layer before a ReLU: the 2 makes up for the half of the values that the ReLU sets to 0.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        As for `fans`.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers" (ICCV 2015), section 2.2, equation 12.
    """
    fan_in, _ = fans(shape)
    return (rng.standard_normal(shape) * sqrt(2 / fan_in)).astype(dtype)


def glorot_uniform(rng: Generator, shape: Shape, dtype: DTypeLike) -> Array:
    """Draw uniformly from ``[-a, a)`` with ``a = √(6 / (fan_in + fan_out))``.

    For a linear layer, such as the last: it keeps the variance alike in both passes.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        As for `fans`.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (AISTATS 2010), section 4.2.1, equation 16.
    """
    fan_in, fan_out = fans(shape)
    limit = sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape).astype(np.dtype(dtype))
