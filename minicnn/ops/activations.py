"""ReLU and softmax: the op pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory, shapes
from minicnn.shapes import FloatArray, Shape


class ReLUCache(NamedTuple):
    """What `relu_backward` needs: one bit for each element, set where x was above 0.

    Bit ``i % 8`` of ``positive[i // 8]`` belongs to element i in C order; as many bytes as the
    kernel's vectors take. PyTorch keeps y, which is 32 times as much unless the next layer keeps it
    anyway.
    """

    shape: Shape
    positive: NDArray[np.uint8]


class SoftmaxCache(NamedTuple):
    """What `softmax_backward` needs: a reference to the output."""

    y: FloatArray


def relu(x: FloatArray) -> tuple[FloatArray, ReLUCache]:
    """Cut negative values off: ``y = max(x, 0)``; NaN stays NaN.

    Parameters
    ----------
    x : ndarray, any shape
        float32 or float64.

    Returns
    -------
    y : ndarray, as `x`
    cache : ReLUCache

    Raises
    ------
    TypeError
        If x is not float32 or float64.

    References
    ----------
    Nair, Hinton, "Rectified linear units improve restricted Boltzmann machines" (ICML 2010).
    """
    shapes.check_float("relu", "x", x)
    y: FloatArray = memory.empty(x.shape, x.dtype)
    return y, relu_into(np.ascontiguousarray(x).reshape(x.shape), y)


def relu_into(x: FloatArray, y: FloatArray) -> ReLUCache:
    """Write ``max(x, 0)`` to an array that is there; it may be x itself.

    Parameters
    ----------
    x : ndarray, any shape
        In C order.
    y : ndarray, as `x`
        In C order; overwritten.

    Returns
    -------
    ReLUCache
    """
    positive = memory.empty((-(-x.size // kernels.RELU_LANES) * kernels.RELU_LANES // 8,), np.uint8)
    kernels.relu_forward(x.reshape(-1), y.reshape(-1), positive)
    return ReLUCache(x.shape, positive)


def relu_backward(dy: FloatArray, cache: ReLUCache) -> FloatArray:
    """Give the gradient of `relu`: ``dx = dy`` where ``x > 0``, else 0.

    At 0 itself the slope is anything from 0 to 1; 0 is taken, as everywhere in the field.

    Derivation: minicnn/reference/DERIVATIONS.md, "ReLU".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : ReLUCache

    Returns
    -------
    dx : ndarray, as `dy`

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    shapes.check_float("relu_backward", "dy", dy)
    shapes.check_gradient("relu_backward", dy, cache.shape, dy.dtype)
    dx = memory.empty(cache.shape, dy.dtype)
    kernels.relu_backward(np.ascontiguousarray(dy).reshape(-1), cache.positive, dx.reshape(-1))
    return dx


def softmax(logits: FloatArray) -> tuple[FloatArray, SoftmaxCache]:
    """Turn each row into probabilities: ``y[n, k] = e^logits[n, k] / Σ_j e^logits[n, j]``.

    The row's own maximum is taken off first: it cancels, and nothing overflows.

    Parameters
    ----------
    logits : ndarray (N, classes)
        float32 or float64.

    Returns
    -------
    y : ndarray (N, classes)
        Rows that sum to 1; NaN where a row holds NaN or +∞.
    cache : SoftmaxCache

    Raises
    ------
    TypeError
        If logits is not float32 or float64.
    ValueError
        If it has not two axes.

    References
    ----------
    Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    shapes.check_array("softmax", "logits", logits, "N classes")
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ - ∞ is NaN, and so is then the row
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    y = exponentials / exponentials.sum(axis=1, keepdims=True)
    return y, SoftmaxCache(y)


def softmax_backward(dy: FloatArray, cache: SoftmaxCache) -> FloatArray:
    """Give the gradient of `softmax`: ``dlogits = y · (dy - Σ_j dy[n, j] · y[n, j])``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Softmax".

    Parameters
    ----------
    dy : ndarray (N, classes)
    cache : SoftmaxCache

    Returns
    -------
    dlogits : ndarray (N, classes)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    y = cache.y
    shapes.check_gradient("softmax_backward", dy, y.shape, y.dtype)
    dlogits: FloatArray = y * (dy - (dy * y).sum(axis=1, keepdims=True))
    return dlogits
