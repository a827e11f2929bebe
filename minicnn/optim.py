"""Optimizers and learning-rate schedules.

Optimizers update one flat vector of parameters from one flat vector of gradients.

A schedule maps progress, the share of training done (0 to 1), to a factor of the learning rate. It
knows no epochs and batches, so it serves short and long trainings alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from math import cos, inf, pi, sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import optimizers
from minicnn.shapes import Array
from minicnn.shapes.checks import check_array, check_bool, check_range, check_same_dtype

State = dict[str, NDArray[Any]]
Mask = NDArray[np.bool_]


class _Optimizer(ABC):
    """Check the arrays of a step and keep the state; subclasses update."""

    learning_rate: float
    weight_decay: float
    moments: ClassVar[tuple[str, ...]]
    # Each argument is at least 0 and below this.
    upper_bounds: ClassVar[dict[str, float]] = {"learning_rate": inf, "weight_decay": inf}

    def __post_init__(self) -> None:
        for name, bound in self.upper_bounds.items():
            value = check_range(type(self).__name__, name, getattr(self, name), high=bound)
            setattr(self, name, value)
        self._state: State = {}

    def state_dict(self, parameters: Array) -> State:
        """Return the arrays that one step passes to the next.

        Parameters
        ----------
        parameters : ndarray (P,)
            The parameters that `step` updates.

        Returns
        -------
        dict of str to ndarray
            The number of ``steps`` (), and for SGD the velocity ``v`` (P,), for Adam the moments
            ``m`` and ``v`` (P,); zeros before the first step. No copies: write into them to restore
            a state.
        """
        if not self._state:
            self._state = {name: np.zeros_like(parameters) for name in self.moments}
            self._state["steps"] = np.zeros((), np.int64)
        return self._state

    def step(
        self,
        parameters: Array,
        gradients: Array,
        lr_scale: float = 1.0,
        decay_mask: Mask | None = None,
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
            If the arrays do not fit each other, or the parameters of the first step.
        """
        self._check_step(parameters, gradients, decay_mask)
        state, lr = self.state_dict(parameters), self.learning_rate * lr_scale
        state["steps"] += 1
        if self.weight_decay == 0:
            decay_mask = np.empty(0, np.bool_)
        elif decay_mask is None:
            decay_mask = np.ones(parameters.shape, np.bool_)
        decay = parameters.dtype.type(lr * self.weight_decay)
        self._update(parameters, gradients, state, lr, decay, decay_mask)

    @abstractmethod
    def _update(
        self, parameters: Array, gradients: Array, state: State, lr: float, decay: Any, mask: Mask
    ) -> None:
        """Call the kernel; `mask` is empty without weight decay."""

    def _check_step(self, parameters: Array, gradients: Array, decay_mask: Mask | None) -> None:
        """Raise unless the arguments of a step fit each other and the state."""
        op, state = type(self).__name__, self._state.get(self.moments[0], parameters)
        check_array(op, "parameters", parameters, "P")
        check_array(op, "gradients", gradients, "P")
        check_same_dtype(op, parameters=parameters, gradients=gradients, state=state)
        if not parameters.shape == gradients.shape == state.shape:
            raise ValueError(
                f"{op}: parameters {parameters.shape}, gradients {gradients.shape} and the "
                f"optimizer's state {state.shape} must have one length; give each model its own "
                f"optimizer"
            )
        if decay_mask is not None:
            if not isinstance(decay_mask, np.ndarray) or decay_mask.dtype != np.bool_:
                raise TypeError(f"{op}: decay_mask must be an array of bool, not {decay_mask!r}")
            if decay_mask.shape != (P := parameters.shape):
                raise ValueError(f"{op}: decay_mask must have shape {P}, not {decay_mask.shape}")


@dataclass(eq=False)
class SGD(_Optimizer):
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

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    _: KW_ONLY
    weight_decay: float = 0.0

    moments = ("v",)
    upper_bounds: ClassVar = _Optimizer.upper_bounds | {"momentum": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bool("SGD", "nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov requires a momentum above 0; set momentum=0.9")

    def _update(
        self, parameters: Array, gradients: Array, state: State, lr: float, decay: Any, mask: Mask
    ) -> None:
        step_size, momentum = map(parameters.dtype.type, (lr, self.momentum))
        optimizers.sgd_update(
            parameters, gradients, state["v"], step_size, momentum, self.nesterov, decay, mask
        )


@dataclass(eq=False)
class Adam(_Optimizer):
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

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    _: KW_ONLY
    weight_decay: float = 0.0

    moments = "m", "v"
    upper_bounds: ClassVar = _Optimizer.upper_bounds | {"beta1": 1, "beta2": 1, "epsilon": inf}

    def _update(
        self, parameters: Array, gradients: Array, state: State, lr: float, decay: Any, mask: Mask
    ) -> None:
        t, scalar = int(state["steps"]), parameters.dtype.type
        optimizers.adam_update(
            parameters,
            gradients,
            state["m"],
            state["v"],
            scalar(lr / (1 - self.beta1**t)),
            scalar(1 - self.beta1),
            scalar(self.beta2),
            scalar(1 - self.beta2),
            scalar(1 / sqrt(1 - self.beta2**t)),
            scalar(self.epsilon),
            decay,
            mask,
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

    ``factor = max(4 · progress, 0.04)`` in the first quarter, then ``(1 - progress) / 0.75``.
    Adam's first steps are large whatever the gradients, and batch norm's first statistics rest on
    a few microbatches: a high learning rate does harm until both have settled.

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
