"""One fused loop for each optimizer, over the flat vector of all parameters, and their sum."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import kernel
from minicnn.kernels.simd import add, load, masked_load, masked_store, store

LANES = 32  # of a vector when gradients are added up: a few registers' worth
Scalar = float | np.floating[Any]


@kernel
def reduce_gradients(
    rows: NDArray[np.float32], count: int, fresh: bool, total: NDArray[np.float32]
) -> None:
    """Add up the first rows of a matrix: ``total[i] = rows[0, i] + rows[1, i] + …``, in this order.

    Parameters
    ----------
    rows : ndarray (R, P)
    count : int
        How many rows, at least one.
    fresh : bool
        Whether to begin with the first row; or with what is in `total`.
    total : ndarray (P,)
        Overwritten, or updated.
    """
    P = total.size
    for i in range(0, P, LANES):
        left = P - i
        if left >= LANES:
            s = load(rows, i, LANES) if fresh else load(total, i, LANES)
            for row in range(fresh, count):
                s = add(s, load(rows, row * P + i, LANES))
            store(total, i, s)
        else:
            t = masked_load(rows, i, left, LANES) if fresh else masked_load(total, i, left, LANES)
            for row in range(fresh, count):
                t = add(t, masked_load(rows, row * P + i, left, LANES))
            masked_store(total, i, t, left)


@kernel
def sgd_update(
    parameters: NDArray[np.float32],
    gradients: NDArray[np.float32],
    velocity: NDArray[np.float32],
    learning_rate: Scalar,
    momentum: Scalar,
    nesterov: bool,
    decay: Scalar,
    decayed: NDArray[np.bool_],
) -> None:
    """Take one step of stochastic gradient descent in place.

    For each i: ``p -= decay · p`` where it is decayed, ``v = momentum · v + g``, then
    ``p -= learning_rate · v``, or with Nesterov ``p -= learning_rate · (g + momentum · v)``.

    Parameters
    ----------
    parameters : ndarray (P,)
        Updated.
    gradients : ndarray (P,)
    velocity : ndarray (P,)
        Updated; zeros before the first step.
    learning_rate, momentum : float
        In the dtype of the arrays.
    nesterov : bool
    decay : float
        In the dtype of the arrays.
    decayed : ndarray of bool (P,)
        Which parameters are; empty where none is.
    """
    for i in range(parameters.size):
        p = parameters[i]
        if decayed.size:
            p -= decay * decayed[i] * p
        g = gradients[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        direction = g + momentum * v if nesterov else v
        parameters[i] = p - learning_rate * direction


@kernel
def adam_update(
    parameters: NDArray[np.float32],
    gradients: NDArray[np.float32],
    m: NDArray[np.float32],
    v: NDArray[np.float32],
    step_size: Scalar,
    mix1: Scalar,
    beta2: Scalar,
    mix2: Scalar,
    unbias: Scalar,
    epsilon: Scalar,
    decay: Scalar,
    decayed: NDArray[np.bool_],
) -> None:
    """Take one step of Adam in place.

    For each i: ``p -= decay · p`` where it is decayed, ``m += mix1 · (g - m)``,
    ``v = β2 · v + mix2 · g²``, then ``p -= step_size · m / (unbias · √v + ε)``. What is the same
    for all i comes in ready: ``mix1 = 1 - β1``, ``mix2 = 1 - β2`` and the two bias corrections
    ``step_size = α / (1 - β1^t)`` and ``unbias = 1 / √(1 - β2^t)``.

    Parameters
    ----------
    parameters : ndarray (P,)
        Updated.
    gradients : ndarray (P,)
    m, v : ndarray (P,)
        Running mean of the gradient and of its square; updated; zeros before the first step.
    step_size, mix1, beta2, mix2, unbias, epsilon, decay : float
        In the dtype of the arrays.
    decayed : ndarray of bool (P,)
        Which parameters are; empty where none is.
    """
    for i in range(parameters.size):
        p = parameters[i]
        if decayed.size:
            p -= decay * decayed[i] * p
        g = gradients[i]
        m[i] += mix1 * (g - m[i])
        v[i] = beta2 * v[i] + mix2 * g * g
        parameters[i] = p - step_size * m[i] / (unbias * np.sqrt(v[i]) + epsilon)


@kernel
def ema_update(average: NDArray[np.float32], values: NDArray[np.float32], share: Scalar) -> None:
    """Move a running average towards new values: ``a += share · (value - a)``.

    Parameters
    ----------
    average : ndarray (P,)
        Updated.
    values : ndarray (P,)
    share : float
        In the dtype of the arrays.
    """
    for i in range(average.size):
        average[i] += share * (values[i] - average[i])
