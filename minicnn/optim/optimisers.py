"""Optimisers, from gradients to new parameters, both as one flat vector."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, shapes
from minicnn.shapes import FloatArray


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
        self.learning_rate = shapes.number_in("SGD", "learning_rate", learning_rate)
        self.momentum = shapes.number_in("SGD", "momentum", momentum, high=1)
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov needs a momentum above 0, such as momentum=0.9")
        self.nesterov = nesterov
        self.weight_decay = shapes.number_in("SGD", "weight_decay", weight_decay)
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
            The velocity ``v`` (P,), zeros before the first step. No copy: the optimiser goes on
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
        kernels.sgd_update(
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
        self.learning_rate = shapes.number_in("Adam", "learning_rate", learning_rate)
        self.beta1 = shapes.number_in("Adam", "beta1", beta1, high=1)
        self.beta2 = shapes.number_in("Adam", "beta2", beta2, high=1)
        self.epsilon = shapes.number_in("Adam", "epsilon", epsilon)
        self.weight_decay = shapes.number_in("Adam", "weight_decay", weight_decay)
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
            No copies: the optimiser goes on from what is written into them.
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
    where: str,
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray | None,
    decayed: NDArray[np.bool_] | None,
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
    if decayed is None:
        return
    if not isinstance(decayed, np.ndarray) or decayed.dtype != np.bool_:
        raise TypeError(f"{where}: decayed must be an array of bool, not {decayed!r}")
    if decayed.shape != parameters.shape:
        raise ValueError(
            f"{where}: decayed {decayed.shape} must have the shape of parameters {parameters.shape}"
        )
