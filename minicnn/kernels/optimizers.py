"""Parameter updates: one fused loop over the flat parameter vector."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import kernel
from minicnn.shapes import Array

Scalar = float | np.floating[Any]  # of the arrays' dtype


@kernel
def sgd_update(
    parameters: Array,  # updated (P,)
    gradients: Array,  # (P,)
    velocity: Array,  # updated (P,), zeros before the first step
    learning_rate: Scalar,
    momentum: Scalar,
    nesterov: bool,
    decay: Scalar,
    decay_mask: NDArray[np.bool_],  # (P,), or empty for no decay
) -> None:
    """Update parameters by one step of stochastic gradient descent.

    For each i: ``p -= decay · p`` if in the mask, ``v = momentum · v + g``, then
    ``p -= learning_rate · v``, or with Nesterov ``p -= learning_rate · (g + momentum · v)``.
    """
    for i in range(parameters.size):
        p = parameters[i]
        if decay_mask.size:
            p -= decay * decay_mask[i] * p
        g = gradients[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        direction = g + momentum * v if nesterov else v
        parameters[i] = p - learning_rate * direction


@kernel
def adam_update(
    parameters: Array,  # updated (P,)
    gradients: Array,  # (P,)
    m: Array,  # updated (P,): mean of the gradient, zeros before the first step
    v: Array,  # updated (P,): mean of its square
    step_size: Scalar,  # α / (1 - β1^t)
    one_minus_beta1: Scalar,
    beta2: Scalar,
    one_minus_beta2: Scalar,
    bias_correction2: Scalar,  # 1 / √(1 - β2^t)
    epsilon: Scalar,
    decay: Scalar,
    decay_mask: NDArray[np.bool_],  # (P,), or empty for no decay
) -> None:
    """Update parameters by one step of Adam.

    For each i: ``p -= decay · p`` if in the mask, ``m += (1 - β1) · (g - m)``,
    ``v = β2 · v + (1 - β2) · g²``, then ``p -= step_size · m / (bias_correction2 · √v + ε)``.
    """
    for i in range(parameters.size):
        p = parameters[i]
        if decay_mask.size:
            p -= decay * decay_mask[i] * p
        g = gradients[i]
        m[i] += one_minus_beta1 * (g - m[i])
        v[i] = beta2 * v[i] + one_minus_beta2 * g * g
        parameters[i] = p - step_size * m[i] / (bias_correction2 * np.sqrt(v[i]) + epsilon)
