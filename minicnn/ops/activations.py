"""ReLU, softmax and dropout: the forward/backward pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import elementwise
from minicnn.random import RandomKey, check_key, drop_threshold, dropout_mask
from minicnn.runtime import arena
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import check_array, check_dropout, check_dy, check_float


class ReLUCache(NamedTuple):
    """One bit per element, set where x was above 0.

    Bit ``i % 8`` of ``positive[i // 8]`` belongs to element i in C order; the size is a multiple of
    the kernel's vectors. PyTorch keeps y, 32 bits an element, which the next layer may share.
    """

    shape: Shape
    positive: NDArray[np.uint8]


class SoftmaxCache(NamedTuple):
    """The output, not a copy."""

    y: Array


def relu(x: Array) -> tuple[Array, ReLUCache]:
    """Set negative values to 0: ``y = max(x, 0)``; NaN stays NaN.

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
    check_float("relu", "x", x)
    y: Array = arena.empty(x.shape, x.dtype)
    return y, relu_into(np.ascontiguousarray(x).reshape(x.shape), y)


def relu_into(x: Array, y: Array) -> ReLUCache:
    """Write ``max(x, 0)`` to y, which may be x itself; both are in C order."""
    lanes = elementwise.RELU_LANES
    positive = arena.empty((-(-x.size // lanes) * lanes // 8,), np.uint8)
    elementwise.relu_forward(x.reshape(-1), y.reshape(-1), positive)
    return ReLUCache(x.shape, positive)


def relu_backward(dy: Array, cache: ReLUCache) -> Array:
    """Compute the gradient of `relu`: ``dx = dy`` where ``x > 0``, else 0.

    At 0 the subgradient is 0, as in PyTorch.

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
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    check_float("relu_backward", "dy", dy)
    check_dy("relu_backward", dy, cache.shape, dy.dtype)
    dx = arena.empty(cache.shape, dy.dtype)
    elementwise.relu_backward(np.ascontiguousarray(dy).reshape(-1), cache.positive, dx.reshape(-1))
    return dx


def softmax(logits: Array) -> tuple[Array, SoftmaxCache]:
    """Compute the softmax of each row.

    ``y[n, k] = e^logits[n, k] / Σ_j e^logits[n, j]``. The row's maximum is subtracted first: it
    cancels, and nothing overflows.

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
        If it does not have two axes.

    References
    ----------
    Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    check_array("softmax", "logits", logits, "N classes")
    with np.errstate(invalid="ignore", over="ignore"):  # ∞ - ∞ is NaN, and with it the row
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    y = exponentials / exponentials.sum(axis=1, keepdims=True)
    return y, SoftmaxCache(y)


def softmax_backward(dy: Array, cache: SoftmaxCache) -> Array:
    """Compute the gradient of `softmax`.

    ``dlogits = y · (dy - Σ_j dy[n, j] · y[n, j])``

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
        If `dy` does not have the shape and dtype of the output.
    """
    y = cache.y
    check_dy("softmax_backward", dy, y.shape, y.dtype)
    dlogits: Array = y * (dy - (dy * y).sum(axis=1, keepdims=True))
    return dlogits


class DropoutCache(NamedTuple):
    """One bit per element, set where it was kept, and the scale.

    Bit ``i % 8`` of ``kept[n, i // 8]`` belongs to element i of image n; the size is a multiple of
    the kernel's vectors. PyTorch keeps one byte per element.
    """

    shape: Shape
    kept: NDArray[np.uint8]
    scale: Array


def dropout(x: Array, rate: float, key: RandomKey | None) -> tuple[Array, DropoutCache | None]:
    """Set random values to 0 and scale the remaining ones.

    ``y = x / (1 - rate)`` where kept, else 0. So the mean of y is x, and at inference y is x. The
    mask depends only on seed, epoch, layer and image.

    Parameters
    ----------
    x : ndarray (N, ...)
        float32 or float64.
    rate : float
        Probability of dropping a value, 0 to below 1, rounded to a multiple of 2⁻¹⁶.
    key : RandomKey or None
        With one image id for each image of `x`; None at inference.

    Returns
    -------
    y : ndarray, as `x`
    cache : DropoutCache, or None at inference

    Raises
    ------
    TypeError
        If x is not float32 or float64, or `key` is no RandomKey.
    ValueError
        If `rate` is out of range, or `key` is for another number of images.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to prevent
    neural networks from overfitting" (JMLR 2014), section 10 for the scale in training.
    """
    if key is None:
        return x, None
    check_key("dropout", key)
    rate = check_dropout(x, rate, len(key.image_ids))
    kept = dropout_mask(key, rate, x[0].size)
    scale = np.array([1 / (1 - drop_threshold(rate) / elementwise.PROBABILITY_STEPS)], x.dtype)
    cache = DropoutCache(x.shape, kept, scale)
    return _keep(x, cache), cache


def dropout_backward(dy: Array, cache: DropoutCache | None) -> Array:
    """Compute the gradient of `dropout`.

    ``dx = dy / (1 - rate)`` where x was kept, else 0.

    Derivation: minicnn/reference/DERIVATIONS.md, "Dropout".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : DropoutCache or None

    Returns
    -------
    dx : ndarray, as `dy`

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    if cache is None:
        return dy
    check_dy("dropout_backward", dy, cache.shape, cache.scale.dtype)
    return _keep(dy, cache)


def _keep(x: Array, cache: DropoutCache) -> Array:
    y: Array = arena.empty(x.shape, x.dtype)
    rows = np.ascontiguousarray(x).reshape(len(x), -1)
    elementwise.apply_dropout(rows, cache.kept, cache.scale, y.reshape(rows.shape))
    return y
