"""Softmax cross-entropy: the loss, and its gradient, of one row after another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import kernel

Array = NDArray[np.float32]
Scalar = float | np.floating[Any]


@kernel
def softmax_cross_entropy_forward_backward(
    logits: Array,
    labels: NDArray[np.int64],
    scale: Scalar,
    kept: Scalar,
    spread: Scalar,
    dlogits: Array,
    totals: Array,
) -> None:
    """Compute the sum of the rows' losses, its gradient, and how many rows are right.

    The loss of a row is ``-Σ_k t_k · log p_k``, with p as in `softmax_cross_entropy` and
    ``t_k = kept · [k is the label] + spread``; ``dlogits[n, k] = scale · (p_k - t_k)``. A row is
    right if its greatest logit, the first of equals, is its label's.

    Parameters
    ----------
    logits : ndarray (N, K)
    labels : ndarray of int (N,)
    scale : float
        Upstream gradient of each row.
    kept, spread : float
        ``kept + K · spread`` is 1; `spread` is 0 without label smoothing.
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
        loss = np.log(total) - kept * (logits[n, label] - m)
        if spread > 0:  # else 0 · ∞ could spoil it
            for k in range(K):
                loss -= spread * (logits[n, k] - m)
        totals[0] += loss
        totals[1] += best == label
        for k in range(K):
            dlogits[n, k] = scale * (dlogits[n, k] / total - kept * (k == label) - spread)


@kernel
def softmax_cross_entropy(
    logits: Array, targets: Array, differences: Array, surprise: Array
) -> None:
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
