"""Softmax cross-entropy from logits, and one-hot labels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.kernels import losses
from minicnn.runtime import arena
from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import (
    check_array,
    check_labels,
    check_probability_rows,
    check_range,
    positive_int,
)


class SoftmaxCrossEntropyCache(NamedTuple):
    """Cache of `softmax_cross_entropy`: ``p_k · Σ_j t_j - t_k`` per image."""

    differences: Array


def one_hot(labels: IntArray, num_classes: int) -> Array:
    """Encode labels as rows of zeros with a one: ``y[n, labels[n]] = 1``.

    Parameters
    ----------
    labels : ndarray of int (N,)
        In ``0 .. num_classes - 1``.
    num_classes : int

    Returns
    -------
    ndarray of float32 (N, num_classes)

    Raises
    ------
    TypeError
        If `labels` is not an integer array or `num_classes` not an integer.
    ValueError
        If a label is out of range.
    """
    num_classes = positive_int("one_hot", "num_classes", num_classes)
    check_labels("one_hot", labels, np.size(labels), num_classes)
    y = np.zeros((len(labels), num_classes), np.float32)
    y[np.arange(len(labels)), labels] = 1
    return y


def softmax_cross_entropy(
    logits: Array, labels: IntArray | Array, *, label_smoothing: float = 0.0
) -> tuple[np.floating, SoftmaxCrossEntropyCache]:
    """Compute the mean over the images of ``-Σ_k t_k · log p_k``.

    p is the softmax of the logits and t the target probabilities. With m the maximum of a row,
    ``log p_k = logits[k] - m - log Σ_j e^(logits[j] - m)`` neither overflows nor computes log 0.

    Parameters
    ----------
    logits : ndarray (N, classes)
        float32 or float64, before softmax.
    labels : ndarray of int (N,), or ndarray of float (N, classes)
        Class indices, or rows of probabilities such as those of `one_hot`.
    label_smoothing : float
        0 to below 1. The target becomes
        ``(1 - label_smoothing) · t_k + label_smoothing / classes``.

    Returns
    -------
    loss : float
        In the dtype of the logits. NaN where the logits hold NaN or +∞.
    cache : SoftmaxCrossEntropyCache

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If labels and images differ in number, a label is out of range, or a row is not a
        probability distribution.

    References
    ----------
    Goodfellow, Bengio, Courville, "Deep learning" (2016), section 6.2.2.3, equations 6.29-6.31.
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture for computer
    vision" (CVPR 2016), section 7 (label smoothing).
    """
    check_array("softmax_cross_entropy", "logits", logits, "N classes")
    N, K = logits.shape
    smoothing = check_range("softmax_cross_entropy", "label_smoothing", label_smoothing, high=1)
    targets = _as_rows(labels, N, K, logits.dtype)  # (N, classes)
    if smoothing:
        targets = (1 - smoothing) * targets + smoothing / K
    differences, loss_per_image = np.empty((N, K), logits.dtype), np.empty(N, logits.dtype)
    with np.errstate(invalid="ignore", over="ignore"):  # the returned loss shows ∞ and NaN
        losses.softmax_cross_entropy(
            np.ascontiguousarray(logits), np.ascontiguousarray(targets), differences, loss_per_image
        )
        loss = loss_per_image.sum() / logits.dtype.type(N)
    return loss, SoftmaxCrossEntropyCache(differences)


def softmax_cross_entropy_backward(
    dloss: float | np.floating, cache: SoftmaxCrossEntropyCache
) -> Array:
    """Compute the gradient of `softmax_cross_entropy`.

    ``dlogits[n, k] = dloss / N · (p_k · Σ_j t_j - t_k)``. It follows from
    ``loss = Σ_n Σ_j t_j · (log Σ_i e^logits[i] - logits[j]) / N``: the derivative of the logarithm
    with respect to logits[k] is p_k. The sum of t is 1 up to rounding; as a factor it makes loss
    and gradient agree to the last digit.

    Derivation: minicnn/reference/DERIVATIONS.md, "Softmax cross-entropy".

    Parameters
    ----------
    dloss : float
        Upstream gradient: 1 for the loss itself; ``n / N`` for a microbatch of n images of a batch
        of N, its weight in the mean.
    cache : SoftmaxCrossEntropyCache

    Returns
    -------
    dlogits : ndarray (N, classes)
    """
    differences = cache.differences
    dlogits: Array = differences.dtype.type(dloss / len(differences)) * differences
    return dlogits


def loss_and_gradient(
    logits: Array, labels: NDArray[np.int64], dloss: float, label_smoothing: float
) -> tuple[Array, Array]:
    """Compute loss, correct rows and gradient in one pass, unchecked.

    Parameters
    ----------
    logits : ndarray (N, classes)
        In C order.
    labels : ndarray of int64 (N,)
        In ``0 .. classes - 1``.
    dloss : float
        As in `softmax_cross_entropy_backward`.
    label_smoothing : float
        As in `softmax_cross_entropy`.

    Returns
    -------
    totals : ndarray (3,)
        The sum of the losses, the number of rows whose greatest logit is that of the label, and the
        sum of the losses without label smoothing.
    dlogits : ndarray (N, classes)
        As `softmax_cross_entropy_backward`, up to rounding.
    """
    (N, K), dtype = logits.shape, logits.dtype
    dlogits, totals = arena.allocate(((logits.shape, dtype), ((3,), dtype)))
    factors = (dloss / N, 1 - label_smoothing, label_smoothing / K)
    scale, on_value, off_value = map(dtype.type, factors)
    losses.softmax_cross_entropy_forward_backward(
        logits, labels, scale, on_value, off_value, dlogits, totals
    )
    return totals, dlogits


def _as_rows(labels: NDArray[Any], N: int, K: int, dtype: DTypeLike) -> Array:
    """Return checked labels as rows of probabilities (N, K)."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f":
        check_probability_rows("softmax_cross_entropy", labels, (N, K))
        return labels.astype(dtype, copy=False)
    check_labels("softmax_cross_entropy", labels, N, K)
    return one_hot(labels, K).astype(dtype, copy=False)
