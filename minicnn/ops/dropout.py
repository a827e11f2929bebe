"""Dropout: the op pair."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory, shapes
from minicnn.randomness import Draws, dropped, kept_bits
from minicnn.shapes import FloatArray, Shape


class DropoutCache(NamedTuple):
    """What `dropout_backward` needs: one bit for each number, set where it was kept, and a factor.

    Bit ``i % 8`` of ``kept[n, i // 8]`` belongs to number i of image n; as many bytes as the
    kernel's vectors take. PyTorch keeps a byte for each number.
    """

    shape: Shape
    kept: NDArray[np.uint8]
    scale: FloatArray


def dropout(x: FloatArray, rate: float, draws: Draws) -> tuple[FloatArray, DropoutCache]:
    """Drop numbers at random, and scale the others up: ``y = x / (1 - rate)`` where kept, else 0.

    So y is x on average, and in use nothing is to be done. Which numbers are kept depends on seed,
    epoch, layer and image alone.

    Parameters
    ----------
    x : ndarray (N, ...)
        float32 or float64.
    rate : float
        How likely a number is dropped, 0 to 0.9999; taken to a 2¹⁶th.
    draws : Draws
        For as many images as `x` has.

    Returns
    -------
    y : ndarray, as `x`
    cache : DropoutCache

    Raises
    ------
    TypeError
        If x is not float32 or float64.
    ValueError
        If `rate` is out of range, or `draws` are for another number of images.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent
    neural networks from overfitting" (JMLR 2014), section 10 for the scale in training.
    """
    rate = shapes.check_dropout(x, rate, len(draws.numbers))
    kept = kept_bits(draws, rate, x[0].size)
    scale = np.array([1 / (1 - dropped(rate) / kernels.CHANCES)], x.dtype)
    cache = DropoutCache(x.shape, kept, scale)
    return _keep(x, cache), cache


def dropout_backward(dy: FloatArray, cache: DropoutCache) -> FloatArray:
    """Give the gradient of `dropout`: ``dx = dy / (1 - rate)`` where x was kept, else 0.

    Derivation: minicnn/reference/DERIVATIONS.md, "Dropout".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : DropoutCache

    Returns
    -------
    dx : ndarray, as `dy`

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    shapes.check_gradient("dropout_backward", dy, cache.shape, cache.scale.dtype)
    return _keep(dy, cache)


def _keep(x: FloatArray, cache: DropoutCache) -> FloatArray:
    y: FloatArray = memory.empty(x.shape, x.dtype)
    rows = np.ascontiguousarray(x).reshape(len(x), -1)
    kernels.keep_scaled(rows, cache.kept, cache.scale, y.reshape(rows.shape))
    return y
