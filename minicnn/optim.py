"""Optimizers and learning-rate schedules.

Optimizers update one flat vector of parameters from one flat vector of gradients.

A schedule maps progress, the share of training done (0 to 1), to a factor of the learning rate. It
knows no epochs and batches, so it serves short and long trainings alike.
"""

from collections.abc import Callable
from math import cos, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import optimizers
from minicnn.shapes import Array
from minicnn.shapes.checks import check_array, check_range, check_same_dtype


class SGD:
    """Stochastic gradient descent with momentum or Nesterov momentum.

    ``v ← momentum · v + g``, then ``p ← p - learning_rate · v``; with Nesterov
    ``p ← p - learning_rate · (g + momentum · v)``. The same as ``torch.optim.SGD``, except that
    ``weight_decay`` is decoupled from the gradient, as in `Adam`.

    Derivation: minicnn/reference/DERIVATIONS.md, "SGD".

    Parameters
    ----------
    learning_rate : float
    momentum : float
        0 to below 1; 0 is plain gradient descent.
    nesterov : bool
        Look ahead along the velocity; requires a momentum above 0.
    weight_decay : float

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    References
    ----------
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
    learning" (ICML 2013), section 2. Loshchilov, Hutter, "Decoupled weight decay regularization"
    (ICLR 2019), algorithm 1.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = check_range("SGD", "learning_rate", learning_rate)
        self.momentum = check_range("SGD", "momentum", momentum, high=1)
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov requires a momentum above 0; set momentum=0.9")
        self.nesterov = nesterov
        self.weight_decay = check_range("SGD", "weight_decay", weight_decay)
        self._velocity: Array | None = None

    def __repr__(self) -> str:
        return (
            f"SGD({self.learning_rate}, momentum={self.momentum}, nesterov={self.nesterov}, "
            f"weight_decay={self.weight_decay})"
        )

    def state_dict(self, parameters: Array) -> dict[str, NDArray[Any]]:
        """Return the arrays that one step passes to the next.

        Parameters
        ----------
        parameters : ndarray (P,)
            The parameters that `step` updates.

        Returns
        -------
        dict of str to ndarray
            The velocity ``v`` (P,), zeros before the first step. No copy: write into it to restore
            a state.
        """
        if self._velocity is None:
            self._velocity = np.zeros_like(parameters)
        return {"v": self._velocity}

    def step(
        self,
        parameters: Array,
        gradients: Array,
        lr_scale: float = 1.0,
        decay_mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Update `parameters` in place by one step.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
            Of one dtype.
        lr_scale : float
            Factor of the learning rate in this step, from a schedule.
        decay_mask : ndarray of bool (P,), optional
            The parameters that weight decay applies to; all by default.

        Raises
        ------
        TypeError, ValueError
            If the arrays fit neither each other nor the parameters of the first step.
        """
        _check_vectors("SGD", parameters, gradients, self._velocity, decay_mask)
        scalar = parameters.dtype.type
        optimizers.sgd_update(
            parameters,
            gradients,
            self.state_dict(parameters)["v"],
            scalar(self.learning_rate * lr_scale),
            scalar(self.momentum),
            self.nesterov,
            scalar(self.learning_rate * lr_scale * self.weight_decay),
            _decay_mask(self.weight_decay, parameters, decay_mask),
        )


class Adam:
    """Adam: a step size per parameter from running moments of its gradient.

    ``m ← m + (1 - β1)(g - m)``, ``v ← β2 v + (1 - β2) g²``, then in step t
    ``p ← p - learning_rate · m̂ / (√v̂ + ε)``, ``m̂ = m / (1 - β1^t)``, ``v̂ = v / (1 - β2^t)``.
    The same as ``torch.optim.Adam``. With weight decay,
    ``p ← p - learning_rate · weight_decay · p`` comes first, as in ``torch.optim.AdamW``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Adam".

    Parameters
    ----------
    learning_rate : float
        About the largest change of a parameter in one step.
    beta1, beta2 : float
        0 to below 1: decay rates of the running means of the gradient and of its square.
    epsilon : float
        Keeps the division finite where a gradient has always been 0.
    weight_decay : float
        Usually 0.01 to 0.1. `fit` applies it to weights (arrays of two axes or more), not to biases
        and scales.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    References
    ----------
    Kingma, Ba, "Adam: a method for stochastic optimization" (ICLR 2015), algorithm 1. Loshchilov,
    Hutter, "Decoupled weight decay regularization" (ICLR 2019), algorithm 2.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = check_range("Adam", "learning_rate", learning_rate)
        self.beta1 = check_range("Adam", "beta1", beta1, high=1)
        self.beta2 = check_range("Adam", "beta2", beta2, high=1)
        self.epsilon = check_range("Adam", "epsilon", epsilon)
        self.weight_decay = check_range("Adam", "weight_decay", weight_decay)
        self._steps = np.zeros((), np.int64)
        self._m: Array | None = None
        self._v: Array | None = None

    def __repr__(self) -> str:
        return (
            f"Adam({self.learning_rate}, beta1={self.beta1}, beta2={self.beta2}, "
            f"epsilon={self.epsilon}, weight_decay={self.weight_decay})"
        )

    def state_dict(self, parameters: Array) -> dict[str, NDArray[Any]]:
        """Return the arrays that one step passes to the next.

        Parameters
        ----------
        parameters : ndarray (P,)
            The parameters that `step` updates.

        Returns
        -------
        dict of str to ndarray
            The moments ``m`` and ``v`` (P,) and the number of ``steps`` (), zeros before the first
            step. No copies: write into them to restore a state.
        """
        if self._m is None or self._v is None:
            self._m, self._v = np.zeros_like(parameters), np.zeros_like(parameters)
        return {"m": self._m, "v": self._v, "steps": self._steps}

    def step(
        self,
        parameters: Array,
        gradients: Array,
        lr_scale: float = 1.0,
        decay_mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Update `parameters` in place by one step.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
            Of one dtype.
        lr_scale : float
            Factor of the learning rate in this step, from a schedule.
        decay_mask : ndarray of bool (P,), optional
            The parameters that weight decay applies to; all by default.

        Raises
        ------
        TypeError, ValueError
            If the arrays fit neither each other nor the parameters of the first step.
        """
        _check_vectors("Adam", parameters, gradients, self._m, decay_mask)
        state = self.state_dict(parameters)
        self._steps += 1
        t = int(self._steps)
        scalar = parameters.dtype.type
        optimizers.adam_update(
            parameters,
            gradients,
            state["m"],
            state["v"],
            scalar(self.learning_rate * lr_scale / (1 - self.beta1**t)),
            scalar(1 - self.beta1),
            scalar(self.beta2),
            scalar(1 - self.beta2),
            scalar(1 / sqrt(1 - self.beta2**t)),
            scalar(self.epsilon),
            scalar(self.learning_rate * lr_scale * self.weight_decay),
            _decay_mask(self.weight_decay, parameters, decay_mask),
        )


def _decay_mask(
    weight_decay: float, parameters: Array, decay_mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Return the mask as the kernels take it: empty without weight decay."""
    if weight_decay == 0:
        return np.empty(0, np.bool_)
    return np.ones(parameters.shape, np.bool_) if decay_mask is None else decay_mask


def _check_vectors(
    op: str,
    parameters: Array,
    gradients: Array,
    state: Array | None,
    decay_mask: NDArray[np.bool_] | None,
) -> None:
    """Raise unless the arguments of a step fit each other and the state."""
    state = parameters if state is None else state  # the first step makes one that fits
    check_array(op, "parameters", parameters, "P")
    check_array(op, "gradients", gradients, "P")
    check_same_dtype(op, parameters=parameters, gradients=gradients, state=state)
    if not parameters.shape == gradients.shape == state.shape:
        raise ValueError(
            f"{op}: parameters {parameters.shape}, gradients {gradients.shape} and the "
            f"optimizer's state {state.shape} must have one length; give each model its own "
            f"optimizer"
        )
    if decay_mask is None:
        return
    if not isinstance(decay_mask, np.ndarray) or decay_mask.dtype != np.bool_:
        raise TypeError(f"{op}: decay_mask must be an array of bool, not {decay_mask!r}")
    if decay_mask.shape != parameters.shape:
        raise ValueError(
            f"{op}: decay_mask {decay_mask.shape} must have the shape of parameters "
            f"{parameters.shape}"
        )


Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Keep the learning rate.

    Parameters
    ----------
    progress : float
        Share of training done, 0 to 1.

    Returns
    -------
    float
        1.
    """
    return 1.0


def step_decay(progress: float) -> float:
    """Divide the learning rate by 10 at half and at three quarters.

    Parameters
    ----------
    progress : float
        Share of training done, 0 to 1.

    Returns
    -------
    float
        1, 0.1 or 0.01.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (CVPR 2016), section 4.2:
    divided by 10 after 32,000 and 48,000 of 64,000 steps.
    """
    if progress < 1 / 2:
        return 1.0
    return 0.1 if progress < 3 / 4 else 0.01


def cosine(progress: float) -> float:
    """Lower the learning rate to 0 along half a cosine.

    ``factor = (1 + cos(π · progress)) / 2``.

    Parameters
    ----------
    progress : float
        Share of training done, 0 to 1.

    Returns
    -------
    float
        1 to 0.

    References
    ----------
    Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017),
    equation 5, without restarts.
    """
    return (1 + cos(pi * progress)) / 2


def warmup_linear(progress: float) -> float:
    """Raise the learning rate linearly, then lower it linearly to 0.

    From 4 % to the full value over the first quarter. Adam's first steps are large whatever the
    gradients, and batch norm's first statistics rest on a few microbatches: a high learning rate
    does harm until both have settled.

    Parameters
    ----------
    progress : float
        Share of training done, 0 to 1.

    Returns
    -------
    float
        0 to 1.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017,
    arXiv:1706.02677), section 2.2.
    """
    return max(4 * progress, 0.04) if progress < 0.25 else (1 - progress) / 0.75


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "step": step_decay,
    "cosine": cosine,
    "warmup-linear": warmup_linear,
}
