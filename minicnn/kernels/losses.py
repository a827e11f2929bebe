"""Softmax cross-entropy and its gradient, row by row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.shapes import Array

Scalar = float | np.floating[Any]


@kernel
def softmax_cross_entropy_forward_backward(
    logits: Array,  # (N, K)
    labels: NDArray[np.int64],  # (N,)
    scale: Scalar,  # upstream gradient of each row
    on_value: Scalar,  # added to the target of the label; on_value + K · off_value = 1
    off_value: Scalar,  # target of every other class: 0 without label smoothing
    dlogits: Array,  # out (N, K)
    totals: Array,  # out (3,): sum of the losses, correct rows, sum of the losses unsmoothed
) -> None:
    """Compute loss, gradient and number of correct rows for integer labels.

    With ``t_k = on_value · [k is the label] + off_value`` and p the softmax, the loss of a row is
    ``-Σ_k t_k · log p_k`` and ``dlogits[n, k] = scale · (p_k - t_k)``. A row is correct if its
    first greatest logit is the label's. Its loss unsmoothed is ``-log p_label``.
    """
    N, K = logits.shape
    totals[:] = 0
    for n in range(N):
        argmax, total = _exponentials(logits, n, dlogits)  # dlogits holds them until the last loop
        m, label = logits[n, argmax], labels[n]
        log_total, margin = np.log(total), logits[n, label] - m
        loss = log_total - on_value * margin
        if off_value > 0:  # 0 · ∞ would be NaN
            for k in range(K):
                loss -= off_value * (logits[n, k] - m)
        totals[0] += loss
        totals[1] += argmax == label
        totals[2] += log_total - margin
        for k in range(K):
            dlogits[n, k] = scale * (dlogits[n, k] / total - on_value * (k == label) - off_value)


@kernel
def softmax_cross_entropy(
    logits: Array,  # (N, K)
    targets: Array,  # (N, K)
    dlogits: Array,  # out (N, K)
    loss_per_image: Array,  # out (N,)
) -> None:
    """Compute ``loss_per_image[n] = -Σ_k t_k · log p_k`` and its gradient.

    ``dlogits[n, k] = p_k · Σ_j t_j - t_k``. With m the greatest logit,
    ``log p_k = logits[k] - m - log Σ_j e^(logits[j] - m)`` neither overflows nor computes log 0.
    Classes with t = 0 add nothing, even where log p is -∞.
    """
    N, K = logits.shape
    for n in range(N):
        argmax, total = _exponentials(logits, n, dlogits)  # dlogits holds them until the last loop
        m = logits[n, argmax]
        log_total, loss, target_sum = np.log(total), np.float32(0), np.float32(0)
        for k in range(K):
            target_sum += targets[n, k]
            if targets[n, k] > 0:
                loss += targets[n, k] * (log_total - (logits[n, k] - m))
        loss_per_image[n] = loss
        for k in range(K):
            dlogits[n, k] = dlogits[n, k] / total * target_sum - targets[n, k]


@device_function
def _exponentials(logits: Array, n: int, out: Array) -> tuple[int, Scalar]:
    """Set row n to ``e^(logits - m)``; return the argmax of m and the sum."""
    K = logits.shape[1]
    argmax, total = 0, np.float32(0)
    for k in range(1, K):
        if logits[n, k] > logits[n, argmax] or np.isnan(logits[n, k]):
            argmax = k
    m = logits[n, argmax]
    for k in range(K):
        out[n, k] = np.exp(logits[n, k] - m)
        total += out[n, k]
    return argmax, total
