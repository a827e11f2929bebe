"""Softmax cross-entropy and one-hot labels in loops."""

from math import exp, log

import numpy as np

from minicnn.reference.activations import softmax
from minicnn.shapes import Array, Cache, IntArray


def one_hot(labels: IntArray, num_classes: int) -> Array:
    """Encode labels as rows with a single 1: ``y[n, labels[n]] = 1``.

    Parameters
    ----------
    labels : ndarray of int (N,)
    num_classes : int

    Returns
    -------
    ndarray of float32 (N, num_classes)
    """
    y = np.zeros((len(labels), num_classes), np.float32)
    for n in range(len(labels)):
        y[n, labels[n]] = 1
    return y


def softmax_cross_entropy(logits: Array, targets: Array) -> tuple[float, Cache]:
    """Compute the mean cross-entropy of the softmax of the logits.

    The mean over the images of ``-Σ_k t_k · log p_k``, with m the row's maximum and
    ``log p_k = logits[k] - m - log Σ_j e^(logits[j] - m)``.

    Parameters
    ----------
    logits : ndarray (N, classes)
    targets : ndarray (N, classes)
        Rows of probabilities; `one_hot` makes them from labels.

    Returns
    -------
    loss : float
    cache : tuple
        ``(logits, targets)`` for `softmax_cross_entropy_backward`.
    """
    N, K = logits.shape
    loss = 0.0
    for n in range(N):
        row = [float(value) for value in logits[n]]
        highest = max(row)
        total = 0.0
        for k in range(K):
            total += exp(row[k] - highest)
        for k in range(K):
            if targets[n, k] > 0:
                log_p = row[k] - highest - log(total)
                loss -= float(targets[n, k]) * log_p
    return loss / N, (logits, targets)


def softmax_cross_entropy_backward(dloss: float, cache: Cache) -> Array:
    """Compute the gradient of the loss with respect to the logits.

    ``dlogits[n, k] = dloss / N · (p_k · Σ_j t_j - t_k)``

    Derivation: minicnn/reference/DERIVATIONS.md, "Softmax cross-entropy".

    Parameters
    ----------
    dloss : float
        Upstream gradient; 1 if the loss is the last operation.
    cache : tuple
        From `softmax_cross_entropy`.

    Returns
    -------
    dlogits : ndarray (N, classes)
    """
    logits, targets = cache
    N, K = logits.shape
    probabilities, _ = softmax(logits)
    dlogits: Array = np.empty_like(logits)
    for n, k in np.ndindex(N, K):
        p, t = float(probabilities[n, k]), float(targets[n, k])
        dlogits[n, k] = dloss / N * (p * float(targets[n].sum()) - t)
    return dlogits
