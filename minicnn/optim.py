"""Optimizers, from gradients to new parameters, both as one flat vector.

Schedules: by what the learning rate is multiplied as training goes on.

A schedule is any function of the share of the training that is done, 0 to 1, to a factor. So it
knows nothing of epochs and batches, and the same one serves short and long trainings.

The exponential moving average of what an optimizer changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import optimizers
from minicnn.shapes import FloatArray
from minicnn.shapes.checks import check_array, check_range, check_same_dtype


class SGD:
    """Stochastic gradient descent, with momentum and Nesterov's variant.

    ``v ← momentum · v + g``, then ``p ← p - learning_rate · v``; with Nesterov
    ``p ← p - learning_rate · (g + momentum · v)``. The same as ``torch.optim.SGD``, whose
    ``weight_decay`` is another one, added to the gradient.

    Derivation: minicnn/reference/DERIVATIONS.md, "SGD".

    Parameters
    ----------
    learning_rate : float
    momentum : float
        0 to below 1; 0 is plain gradient descent.
    nesterov : bool
        Look ahead along the velocity; needs a momentum.
    weight_decay : float
        Decoupled from the gradient, as in `Adam`.

    Raises
    ------
    ValueError
        If a number is out of range.

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
            raise ValueError("SGD: nesterov needs a momentum above 0, such as momentum=0.9")
        self.nesterov = nesterov
        self.weight_decay = check_range("SGD", "weight_decay", weight_decay)
        self._velocity: FloatArray | None = None

    def __repr__(self) -> str:
        return (
            f"SGD({self.learning_rate}, momentum={self.momentum}, nesterov={self.nesterov}, "
            f"weight_decay={self.weight_decay})"
        )

    def state(self, parameters: FloatArray) -> dict[str, NDArray[Any]]:
        """Return what one step hands to the next: to be kept, or to be filled from what was kept.

        Parameters
        ----------
        parameters : ndarray (P,)
            Those of the steps.

        Returns
        -------
        dict of str to ndarray
            The velocity ``v`` (P,), zeros before the first step. No copy: the optimizer goes on
            from what is written into it.
        """
        if self._velocity is None:
            self._velocity = np.zeros_like(parameters)
        return {"v": self._velocity}

    def step(
        self,
        parameters: FloatArray,
        gradients: FloatArray,
        factor: float = 1.0,
        decayed: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take one step: update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
            Of one dtype.
        factor : float
            Multiplies the learning rate in this step; a schedule gives it.
        decayed : ndarray of bool (P,), optional
            Which parameters the weight decay is for; all where left out.

        Raises
        ------
        TypeError, ValueError
            If they do not fit each other or the parameters of the first step.
        """
        _check_vectors("SGD", parameters, gradients, self._velocity, decayed)
        number = parameters.dtype.type
        optimizers.sgd_update(
            parameters,
            gradients,
            self.state(parameters)["v"],
            number(self.learning_rate * factor),
            number(self.momentum),
            self.nesterov,
            number(self.learning_rate * factor * self.weight_decay),
            _decayed(self.weight_decay, parameters, decayed),
        )


class Adam:
    """Adam: each parameter has a step size of its own, from the running moments of its gradient.

    ``m ← m + (1 - β1)(g - m)``, ``v ← β2 v + (1 - β2) g²``, then with t the number of the step
    ``p ← p - learning_rate · m̂ / (√v̂ + ε)``, ``m̂ = m / (1 - β1^t)``, ``v̂ = v / (1 - β2^t)``.
    The same as ``torch.optim.Adam``; with a weight decay, which is decoupled from the gradient,
    ``p ← p - learning_rate · weight_decay · p`` comes first, as in ``torch.optim.AdamW``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Adam".

    Parameters
    ----------
    learning_rate : float
        About the largest change of a parameter in one step.
    beta1, beta2 : float
        0 to below 1: how slowly the mean of the gradient and of its square forget.
    epsilon : float
        Keeps the division finite where a gradient has always been 0.
    weight_decay : float
        Keeps weights small: AdamW's usual values are 0.01 to 0.1. `fit` has it on the weights of
        layers (arrays of two axes or more), not on biases and the like.

    Raises
    ------
    ValueError
        If a number is out of range.

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
        self._m: FloatArray | None = None
        self._v: FloatArray | None = None

    def __repr__(self) -> str:
        return (
            f"Adam({self.learning_rate}, beta1={self.beta1}, beta2={self.beta2}, "
            f"epsilon={self.epsilon}, weight_decay={self.weight_decay})"
        )

    def state(self, parameters: FloatArray) -> dict[str, NDArray[Any]]:
        """Return what one step hands to the next: to be kept, or to be filled from what was kept.

        Parameters
        ----------
        parameters : ndarray (P,)
            Those of the steps.

        Returns
        -------
        dict of str to ndarray
            The moments ``m`` and ``v`` (P,) and the number of ``steps`` (), zeros before the first.
            No copies: the optimizer goes on from what is written into them.
        """
        if self._m is None or self._v is None:
            self._m, self._v = np.zeros_like(parameters), np.zeros_like(parameters)
        return {"m": self._m, "v": self._v, "steps": self._steps}

    def step(
        self,
        parameters: FloatArray,
        gradients: FloatArray,
        factor: float = 1.0,
        decayed: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take one step: update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
            Of one dtype.
        factor : float
            Multiplies the learning rate in this step; a schedule gives it.
        decayed : ndarray of bool (P,), optional
            Which parameters the weight decay is for; all where left out.

        Raises
        ------
        TypeError, ValueError
            If they do not fit each other or the parameters of the first step.
        """
        _check_vectors("Adam", parameters, gradients, self._m, decayed)
        state = self.state(parameters)
        self._steps += 1
        t = int(self._steps)
        number = parameters.dtype.type
        optimizers.adam_update(
            parameters,
            gradients,
            state["m"],
            state["v"],
            number(self.learning_rate * factor / (1 - self.beta1**t)),
            number(1 - self.beta1),
            number(self.beta2),
            number(1 - self.beta2),
            number(1 / sqrt(1 - self.beta2**t)),
            number(self.epsilon),
            number(self.learning_rate * factor * self.weight_decay),
            _decayed(self.weight_decay, parameters, decayed),
        )


def _decayed(
    weight_decay: float, parameters: FloatArray, decayed: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Return which parameters are decayed, empty where none is."""
    if weight_decay == 0:
        return np.empty(0, np.bool_)
    return np.ones(parameters.shape, np.bool_) if decayed is None else decayed


def _check_vectors(
    op: str,
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray | None,
    decayed: NDArray[np.bool_] | None,
) -> None:
    state = parameters if state is None else state  # the first step makes one that fits
    check_array(op, "parameters", parameters, "P")
    check_array(op, "gradients", gradients, "P")
    check_same_dtype(op, parameters=parameters, gradients=gradients, state=state)
    if not parameters.shape == gradients.shape == state.shape:
        raise ValueError(
            f"{op}: parameters {parameters.shape}, gradients {gradients.shape} and the "
            f"optimizer's state {state.shape} must have one length; an optimizer serves one model"
        )
    if decayed is None:
        return
    if not isinstance(decayed, np.ndarray) or decayed.dtype != np.bool_:
        raise TypeError(f"{op}: decayed must be an array of bool, not {decayed!r}")
    if decayed.shape != parameters.shape:
        raise ValueError(
            f"{op}: decayed {decayed.shape} must have the shape of parameters {parameters.shape}"
        )


Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Leave the learning rate as it is.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float
        1.
    """
    return 1.0


def step_decay(progress: float) -> float:
    """Let the learning rate fall to a tenth when half is done, and again at three quarters.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

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


def linear(progress: float) -> float:
    """Let the learning rate fall evenly from 1 to 0 times its value.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float
        ``1 - progress``.
    """
    return 1 - progress


def cosine(progress: float) -> float:
    """Let the learning rate fall from 1 to 0 times its value along half a cosine.

    ``factor = (1 + cos(π · progress)) / 2``: large steps while there is far to go, small ones to
    settle at the end.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float

    References
    ----------
    Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017),
    equation 5, without restarts.
    """
    return (1 + cos(pi * progress)) / 2


def one_cycle(progress: float) -> float:
    """Let the learning rate rise evenly to its full value and fall back, then die away.

    From a tenth to the whole in the first 45 %, back to a tenth in the next 45 %, and to a
    thousandth in the last 10 %. The slow start allows a higher full value than other schedules.
    Momentum stays as it is; the paper lets it fall and rise the other way round. The same as
    ``torch.optim.lr_scheduler.OneCycleLR`` with ``anneal_strategy="linear"``, ``three_phase=True``,
    ``pct_start=0.45``, ``div_factor=10``, ``final_div_factor=100``.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float
        0.001 to 1.

    References
    ----------
    Smith, Topin, "Super-convergence: very fast training of neural networks using large learning
    rates" (2018, arXiv:1708.07120), section 3.
    """
    if progress <= 0.9:
        from_top = abs(progress - 0.45) / 0.45
        return 1 - 0.9 * from_top
    return 0.1 - 0.099 * (progress - 0.9) / 0.1


@dataclass(frozen=True, repr=False)
class LinearWarmup:
    """Let the learning rate rise evenly from 0 to its full value, before a schedule takes over.

    Adam's first steps are large, whatever the gradients, and batch norm's first statistics are
    those of a few shards: high learning rates do harm until both have settled.

    Parameters
    ----------
    schedule : callable
        Takes its whole course in what is left of the training.
    share : float
        Of the training, 0 to below 1.

    Raises
    ------
    TypeError, ValueError
        If `share` is no number, or out of range.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017,
    arXiv:1706.02677), section 2.2.
    """

    schedule: Schedule = cosine
    share: float = 0.1

    def __post_init__(self) -> None:
        """Check the share."""
        check_range("LinearWarmup", "share", self.share, high=1)

    def __repr__(self) -> str:
        return f"WarmUp({getattr(self.schedule, '__name__', repr(self.schedule))}, {self.share})"

    def __call__(self, progress: float) -> float:
        """Return the factor.

        Parameters
        ----------
        progress : float
            Share of the training that is done, 0 to 1.

        Returns
        -------
        float
        """
        if progress < self.share:
            return progress / self.share
        return self.schedule((progress - self.share) / (1 - self.share))


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "step": step_decay,
    "linear": linear,
    "cosine": cosine,
    "cosine-warm-up": LinearWarmup(cosine),
    "one-cycle": one_cycle,
}


class MovingAverage:
    """Weights averaged over the last steps, which wander less than those of any one step.

    ``a ← a + (1 - d)(p - a)`` after each step, with ``d = min(decay, (1 + n) / (10 + n))`` where n
    steps have gone before: while there are few, the first weights are soon forgotten.

    Parameters
    ----------
    arrays : dict of str to ndarray
        What is averaged; the average begins with what they hold.
    decay : float
        0 to below 1: the average reaches back some ``1 / (1 - decay)`` steps.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The average of each.

    References
    ----------
    Polyak, Juditsky, "Acceleration of stochastic approximation by averaging" (SIAM J. Control and
    Optimization 30, 1992), for the idea. TensorFlow's documentation of
    ``tf.train.ExponentialMovingAverage``, for the decay of the first steps.
    """

    def __init__(self, arrays: Mapping[str, FloatArray], decay: float) -> None:
        self.arrays = {name: array.copy() for name, array in arrays.items()}
        self._followed, self._decay = arrays, decay
        self._steps = np.zeros((), np.int64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what one step hands to the next: to be kept, or to be filled from what was kept.

        Returns
        -------
        dict of str to ndarray
            `arrays`, and the number of ``steps`` (). No copies.
        """
        return {**self.arrays, "steps": self._steps}

    def update(self) -> None:
        """Take in what the arrays are after a step."""
        n = int(self._steps)
        share = 1 - min(self._decay, (1 + n) / (10 + n))
        for name, average in self.arrays.items():
            optimizers.ema_update(average, self._followed[name], average.dtype.type(share))
        self._steps += 1
