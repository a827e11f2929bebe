"""Optimisers, from gradients to new parameters, both as one flat vector."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, shapes
from minicnn.shapes import FloatArray


def _number(
    where: str, name: str, value: float, *, low: float = 0.0, high: float = np.inf
) -> float:
    """Return `value` as a float in [low, high)."""
    if not low <= value < high:  # False for NaN too
        limit = f"in {low:g} .. {high:g}" if high < np.inf else f"{low:g} or more, and finite"
        raise ValueError(f"{where}: {name} must be {limit}, not {value!r}")
    return float(value)


class SGD:
    """Stochastic gradient descent, with momentum and Nesterov's variant.

    ``v ← momentum · v + g``, then ``p ← p - learning_rate · v``; with Nesterov
    ``p ← p - learning_rate · (g + momentum · v)``. The same as ``torch.optim.SGD``.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        0 to below 1; 0 is plain gradient descent.
    nesterov : bool
        Look ahead along the velocity; needs a momentum.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
    learning" (ICML 2013), section 2.
    """

    def __init__(
        self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        self.learning_rate = _number("SGD", "learning_rate", learning_rate)
        self.momentum = _number("SGD", "momentum", momentum, high=1.0)
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov needs a momentum above 0, such as momentum=0.9")
        self.nesterov = nesterov
        self._velocity: FloatArray | None = None

    def __repr__(self) -> str:
        return f"SGD({self.learning_rate}, momentum={self.momentum}, nesterov={self.nesterov})"

    def state(self, parameters: FloatArray) -> dict[str, NDArray[Any]]:
        """Return what one step hands to the next: to be kept, or to be filled from what was kept.

        Parameters
        ----------
        parameters : ndarray (P,)
            Those of the steps.

        Returns
        -------
        dict of str to ndarray
            The velocity ``v`` (P,), zeros before the first step. No copy: the optimiser goes on
            from what is written into it.
        """
        if self._velocity is None:
            self._velocity = np.zeros_like(parameters)
        return {"v": self._velocity}

    def step(self, parameters: FloatArray, gradients: FloatArray, factor: float = 1.0) -> None:
        """Take one step: update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
            Of one dtype.
        factor : float
            Multiplies the learning rate in this step; a schedule gives it.

        Raises
        ------
        TypeError, ValueError
            If they do not fit each other or the parameters of the first step.
        """
        _check_vectors("SGD", parameters, gradients, self._velocity)
        number = parameters.dtype.type
        kernels.sgd_update(
            parameters,
            gradients,
            self.state(parameters)["v"],
            number(self.learning_rate * factor),
            number(self.momentum),
            self.nesterov,
        )


class Adam:
    """Adam: each parameter has a step size of its own, from the running moments of its gradient.

    ``m ← m + (1 - β1)(g - m)``, ``v ← β2 v + (1 - β2) g²``, then with t the number of the step
    ``p ← p - learning_rate · m̂ / (√v̂ + ε)``, ``m̂ = m / (1 - β1^t)``, ``v̂ = v / (1 - β2^t)``.
    The same as ``torch.optim.Adam``.

    Parameters
    ----------
    learning_rate : float
        About the largest change of a parameter in one step.
    beta1, beta2 : float
        0 to below 1: how slowly the mean of the gradient and of its square forget.
    epsilon : float
        Keeps the division finite where a gradient has always been 0.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Kingma, Ba, "Adam: a method for stochastic optimization" (ICLR 2015), algorithm 1.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.learning_rate = _number("Adam", "learning_rate", learning_rate)
        self.beta1 = _number("Adam", "beta1", beta1, high=1.0)
        self.beta2 = _number("Adam", "beta2", beta2, high=1.0)
        self.epsilon = _number("Adam", "epsilon", epsilon)
        self._steps = np.zeros((), np.int64)
        self._m: FloatArray | None = None
        self._v: FloatArray | None = None

    def __repr__(self) -> str:
        return (
            f"Adam({self.learning_rate}, beta1={self.beta1}, beta2={self.beta2}, "
            f"epsilon={self.epsilon})"
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
            No copies: the optimiser goes on from what is written into them.
        """
        if self._m is None or self._v is None:
            self._m, self._v = np.zeros_like(parameters), np.zeros_like(parameters)
        return {"m": self._m, "v": self._v, "steps": self._steps}

    def step(self, parameters: FloatArray, gradients: FloatArray, factor: float = 1.0) -> None:
        """Take one step: update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
            Of one dtype.
        factor : float
            Multiplies the learning rate in this step; a schedule gives it.

        Raises
        ------
        TypeError, ValueError
            If they do not fit each other or the parameters of the first step.
        """
        _check_vectors("Adam", parameters, gradients, self._m)
        state = self.state(parameters)
        self._steps += 1
        t = int(self._steps)
        number = parameters.dtype.type
        kernels.adam_update(
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
        )


def _check_vectors(
    where: str, parameters: FloatArray, gradients: FloatArray, state: FloatArray | None
) -> None:
    state = parameters if state is None else state  # the first step makes one that fits
    shapes.check_array(where, "parameters", parameters, "P")
    shapes.check_array(where, "gradients", gradients, "P")
    shapes.check_same_dtype(where, parameters=parameters, gradients=gradients, state=state)
    if not parameters.shape == gradients.shape == state.shape:
        raise ValueError(
            f"{where}: parameters {parameters.shape}, gradients {gradients.shape} and the "
            f"optimiser's state {state.shape} must have one length; an optimiser serves one model"
        )
