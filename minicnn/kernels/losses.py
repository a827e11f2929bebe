"""Softmax cross-entropy: the loss, and its gradient, of one row after another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel

Array = NDArray[np.float32]
Scalar = float | np.floating[Any]


@kernel
def cross_entropy_step(
    logits: Array,
    labels: NDArray[np.int64],
    scale: Scalar,
    dlogits: Array,
    totals: Array,
) -> None:
    """Compute the sum of the rows' losses, its gradient, and how many rows are right.

    The loss of a row is ``-log p[label]``; ``dlogits[n, k] = scale · (p_k - [k is the label])``,
    with p as in `cross_entropy`. A row is right if its greatest logit, the first of equals, is its
    label's.

    Parameters
    ----------
    logits : ndarray (N, K)
    labels : ndarray of int (N,)
    scale : float
        Upstream gradient of each row.
    dlogits : ndarray (N, K)
        Overwritten.
    totals : ndarray (2,)
        Overwritten: the sum of the losses, and the number of right rows.
    """
    N, K = logits.shape
    totals[:] = 0
    for n in range(N):
        best = 0
        for k in range(1, K):
            if logits[n, k] > logits[n, best] or np.isnan(logits[n, k]):
                best = k
        m, label = logits[n, best], labels[n]
        total = np.float32(0)
        for k in range(K):
            dlogits[n, k] = np.exp(logits[n, k] - m)
            total += dlogits[n, k]
        totals[0] += np.log(total) - (logits[n, label] - m)
        totals[1] += best == label
        for k in range(K):
            dlogits[n, k] = scale * (dlogits[n, k] / total - (k == label))


@kernel
def cross_entropy(logits: Array, targets: Array, differences: Array, surprise: Array) -> None:
    """Compute ``surprise[n] = -Σ_k t_k · log p_k``, with p the softmax of the logits of row n.

    And its gradient, ``differences[n, k] = p_k · Σ_j t_j - t_k``.

    With m the greatest logit: ``log p_k = logits[k] - m - log Σ_j e^(logits[j] - m)``, which
    neither overflows nor meets log 0. Where t is 0 nothing is added, even where log p is -∞.

    Parameters
    ----------
    logits : ndarray (N, K)
    targets : ndarray (N, K)
    differences : ndarray (N, K)
        Overwritten.
    surprise : ndarray (N,)
        Overwritten.
    """
    N, K = logits.shape
    for n in range(N):
        m = logits[n, 0]
        for k in range(1, K):
            if logits[n, k] > m or np.isnan(logits[n, k]):
                m = logits[n, k]
        total = np.float32(0)
        for k in range(K):
            differences[n, k] = np.exp(logits[n, k] - m)
            total += differences[n, k]
        logarithm, cost, wanted = np.log(total), np.float32(0), np.float32(0)
        for k in range(K):
            wanted += targets[n, k]
            if targets[n, k] > 0:
                cost += targets[n, k] * (logarithm - (logits[n, k] - m))
        surprise[n] = cost
        for k in range(K):
            differences[n, k] = differences[n, k] / total * wanted - targets[n, k]
