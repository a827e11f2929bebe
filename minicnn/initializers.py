"""First values of the weights: random, of a size that keeps signals alive through the layers."""

from math import prod, sqrt

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn.shapes import FloatArray, Shape


def fans(shape: Shape) -> tuple[int, int]:
    """Return how many inputs feed an output of this weight, and how many outputs an input feeds.

    Parameters
    ----------
    shape : tuple of int
        ``(in, out)``, ``(KH, KW, C, F)`` or, of a depthwise convolution, ``(KH, KW, C)``.

    Returns
    -------
    fan_in, fan_out : int
        ``in, out``, ``KH·KW·C, KH·KW·F`` or ``KH·KW, KH·KW``.
    """
    if len(shape) == 3:
        return prod(shape[:2]), prod(shape[:2])
    window = prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def he_normal(rng: Generator, shape: Shape, dtype: DTypeLike) -> FloatArray:
    """Draw from a normal distribution with standard deviation ``√(2 / fan_in)``.

    Right before a ReLU: it sets half of the values to 0, the 2 makes up for it.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        As `fans` has it.
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


def glorot_uniform(rng: Generator, shape: Shape, dtype: DTypeLike) -> FloatArray:
    """Draw evenly from ``[-a, a)`` with ``a = √(6 / (fan_in + fan_out))``.

    Keeps the variance alike in forward and backward where the layer is linear, such as the last.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        As `fans` has it.
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
