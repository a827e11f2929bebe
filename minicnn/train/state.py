"""How far a training has come: all that one epoch hands to the next."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from minicnn.model.parameters import update_running_statistics
from minicnn.model.sequential import Sequential
from minicnn.optim import MovingAverage
from minicnn.shapes import FloatArray
from minicnn.train.data_parallel import StepResult

History = dict[str, list[float]]


class Optimizer(Protocol):
    """What `fit` asks of an optimizer."""

    def step(
        self,
        parameters: FloatArray,
        gradients: FloatArray,
        factor: float,
        decayed: NDArray[np.bool_],
    ) -> None:
        """Update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
        factor : float
            Multiplies the learning rate.
        decayed : ndarray of bool (P,)
            Which parameters a weight decay is for: weights, but not biases and the like.
        """


@runtime_checkable
class Resumable(Protocol):
    """What a checkpoint asks of an optimizer besides."""

    def state(self, parameters: FloatArray) -> dict[str, NDArray[Any]]:
        """Return the arrays that one step hands to the next, as `minicnn.Adam.state` does.

        Parameters
        ----------
        parameters : ndarray (P,)

        Returns
        -------
        dict of str to ndarray
        """


class TrainingState:
    """Weights, optimizer and history after some epochs; their average and the best, if wanted.

    The best are those with the lowest loss on the images put aside. The loss, not the accuracy: it
    tells epochs apart that read equally many images, and it grows where a model is sure of what is
    wrong. Nothing else needs to be remembered: which epoch was the best, and how long ago, stands
    in the history; what is random depends on the number of the epoch.

    Parameters
    ----------
    model : Sequential
    optimizer : Optimizer
    patience : int, optional
        Stop after so many epochs without a lower loss; as long as is planned where left out.
    ema_decay : float, optional
        Have the moving average of the weights, with this decay.

    Attributes
    ----------
    history : dict of str to list of float
        One number for each epoch.
    average : MovingAverage, or None
    factor : float
        What multiplied the learning rate in the last step; 1 before the first.
    best : dict of str to ndarray, or None
        The best parameters so far, or their averages, and the statistics that were running then.

    References
    ----------
    Prechelt, "Early stopping - but when?" (in "Neural networks: tricks of the trade", 1998),
    section 2.
    """

    def __init__(
        self,
        model: Sequential,
        optimizer: Optimizer,
        patience: int | None,
        ema_decay: float | None = None,
    ) -> None:
        self.model, self.optimizer, self.patience = model, optimizer, patience
        self.history: History = {}
        self.factor = 1.0
        self._own = {"parameters": model.parameters, "statistics": model.statistics}
        self._decayed = decay_mask(model)
        self.average = None if ema_decay is None else MovingAverage(self._own, ema_decay)
        self.best = None if patience is None else _copy(self._own)

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self.history.get("loss", []))

    @property
    def best_epoch(self) -> int:
        """The number of the epoch with the lowest loss on the images put aside, from 0."""
        return int(np.nan_to_num(self.history["val_loss"], nan=np.inf).argmin())

    def is_over(self, epochs: int) -> bool:
        """Say whether the training ends here.

        Parameters
        ----------
        epochs : int
            How many are planned.

        Returns
        -------
        bool
        """
        if self.patience is None or self.epochs == 0:
            return self.epochs >= epochs
        return self.epochs >= epochs or self.epochs - 1 - self.best_epoch >= self.patience

    def step(self, found: StepResult, factor: float) -> None:
        """Let the optimizer take a step, the statistics follow, and the average follow them all.

        Parameters
        ----------
        found : BatchResult
            What a batch came to.
        factor : float
            Multiplies the learning rate.
        """
        model, self.factor = self.model, factor
        self.optimizer.step(model.parameters, found.gradient, factor, self._decayed)
        update_running_statistics(model.layers, model.statistics, found.batch_statistics)
        if self.average:
            self.average.update()

    def further_step(self, gradient: FloatArray) -> FloatArray:
        """Say what one more step would change, without taking it: all is done on copies.

        Parameters
        ----------
        gradient : ndarray (P,)

        Returns
        -------
        ndarray (P,)
            New parameters less old ones, with the learning rate of the last step.
        """
        parameters = self.model.parameters.copy()
        deepcopy(self.optimizer).step(parameters, gradient, self.factor, self._decayed)
        return parameters - self.model.parameters

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the average for a while, if there is one: what counts of the training."""
        if self.average is None:
            yield
            return
        own = _copy(self._own)
        _fill(self._own, self.average.arrays)
        try:
            yield
        finally:
            _fill(self._own, own)

    def add(self, row: dict[str, float]) -> None:
        """Write down an epoch that is done.

        Parameters
        ----------
        row : dict of str to float
            Its loss, accuracy and so on.
        """
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        if self.best is not None and self.best_epoch == self.epochs - 1:
            _fill(self.best, self.average.arrays if self.average else self._own)

    def finish(self) -> None:
        """Give the model what the training came to: the best, else the average, else the last."""
        if self.best is not None:
            _fill(self._own, self.best)
        elif self.average is not None:
            _fill(self._own, self.average.arrays)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays, to be kept, or to be filled from what was kept.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        TypeError
            If the optimizer does not show its state.
        """
        if not isinstance(self.optimizer, Resumable):
            raise TypeError(
                f"a checkpoint needs an optimizer with a method state, as minicnn.Adam has, and "
                f"{type(self.optimizer).__name__} has none"
            )
        parts: dict[str, dict[str, NDArray[Any]]] = {
            "optimizer.": self.optimizer.state(self.model.parameters),
            "average.": self.average.state() if self.average else {},
            "best.": {**self.best} if self.best else {},
        }
        more = {f"{part}{name}": a for part, found in parts.items() for name, a in found.items()}
        return {**self._own, **more}


def decay_mask(model: Sequential) -> NDArray[np.bool_]:
    """Say which parameters a weight decay is for: those of arrays with two axes or more.

    Parameters
    ----------
    model : Sequential

    Returns
    -------
    ndarray of bool (P,)
        False in biases, scales and the like.
    """
    axes = np.empty_like(model.parameters)
    for arrays in model.split(axes):
        for array in arrays.values():
            array[...] = array.ndim
    weights: NDArray[np.bool_] = axes > 1
    return weights


def _copy(arrays: dict[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: array.copy() for name, array in arrays.items()}


def _fill(arrays: dict[str, FloatArray], values: dict[str, FloatArray]) -> None:
    for name, array in arrays.items():
        array[...] = values[name]
