"""Training state carried from one epoch to the next."""

from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from minicnn.model.sequential import Sequential
from minicnn.shapes import Array
from minicnn.train.data_parallel import BatchResult

History = dict[str, list[float]]


class Optimizer(Protocol):
    """An optimizer that `fit` can train with."""

    def step(
        self, parameters: Array, gradients: Array, lr_scale: float, decay_mask: NDArray[np.bool_], /
    ) -> None:
        """Update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
        lr_scale : float
            Factor of the learning rate.
        decay_mask : ndarray of bool (P,)
            The parameters that weight decay applies to: weights, not biases and scales.
        """


@runtime_checkable
class Resumable(Protocol):
    """An optimizer whose state a checkpoint can hold."""

    def state_dict(self, parameters: Array) -> dict[str, NDArray[Any]]:
        """Return the arrays that one step passes to the next, without copies.

        Parameters
        ----------
        parameters : ndarray (P,)

        Returns
        -------
        dict of str to ndarray
        """


class TrainingState:
    """Weights, optimizer, history, and with `patience` the best weights.

    The best weights are those with the lowest validation loss. The loss, not the accuracy: it
    distinguishes epochs of equal accuracy, and it grows where a model is confidently wrong. Which
    epoch was the best follows from the history; random draws follow from the epoch number.

    Parameters
    ----------
    model : Sequential
    optimizer : Optimizer
    patience : int, optional
        Stop after this number of epochs without a lower validation loss.

    Attributes
    ----------
    history : dict of str to list of float
        One value per epoch.
    lr_scale : float
        Factor of the learning rate in the last step; 1 before the first.
    best : dict of str to ndarray, or None
        The best parameters and statistics so far.

    References
    ----------
    Prechelt, "Early stopping - but when?" (in "Neural networks: tricks of the trade", 1998),
    section 2.
    """

    def __init__(
        self, model: Sequential, optimizer: Optimizer, patience: int | None = None
    ) -> None:
        self.model, self.optimizer, self.patience = model, optimizer, patience
        self.history: History = {}
        self.lr_scale = 1.0
        self._arrays = {"parameters": model.parameters, "statistics": model.statistics}
        self._decay_mask = decay_mask(model)
        self.best = None if patience is None else deepcopy(self._arrays)

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.history.get("loss", []))

    @property
    def best_epoch(self) -> int:
        """Index of the epoch with the lowest validation loss, from 0."""
        return int(np.nan_to_num(self.history["val_loss"], nan=np.inf).argmin())

    def should_stop(self, epochs: int) -> bool:
        """Return whether training ends here.

        Parameters
        ----------
        epochs : int
            The planned number.

        Returns
        -------
        bool
        """
        if self.patience is None or self.epochs == 0:
            return self.epochs >= epochs
        return self.epochs >= epochs or self.epochs - 1 - self.best_epoch >= self.patience

    def step(self, result: BatchResult, lr_scale: float) -> None:
        """Update parameters and running statistics by one batch.

        Parameters
        ----------
        result : BatchResult
        lr_scale : float
            Factor of the learning rate.
        """
        model, self.lr_scale = self.model, lr_scale
        self.optimizer.step(model.parameters, result.gradient, lr_scale, self._decay_mask)
        model.update_statistics(result.batch_statistics)

    def record_epoch(self, metrics: dict[str, float]) -> None:
        """Append an epoch to the history; keep its weights if they are best.

        Parameters
        ----------
        metrics : dict of str to float
            Its loss, accuracy and so on.
        """
        for name, value in metrics.items():
            self.history.setdefault(name, []).append(value)
        if self.best is not None and self.best_epoch == self.epochs - 1:
            _copy_into(self.best, self._arrays)

    def restore_best(self) -> bool:
        """Set the model to the best weights; return False if none are kept."""
        if self.best is None:
            return False
        _copy_into(self._arrays, self.best)
        return True

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays of the state, without copies, to save or to restore.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        TypeError
            If the optimizer has no ``state_dict``.
        """
        if not isinstance(self.optimizer, Resumable):
            raise TypeError(
                f"fit: a checkpoint requires an optimizer with a method state_dict, such as "
                f"minicnn.Adam, not {type(self.optimizer).__name__}"
            )
        optimizer = self.optimizer.state_dict(self.model.parameters)
        arrays: dict[str, NDArray[Any]] = dict(self._arrays)
        arrays |= {f"optimizer.{name}": array for name, array in optimizer.items()}
        return arrays | {f"best.{name}": array for name, array in (self.best or {}).items()}


def decay_mask(model: Sequential) -> NDArray[np.bool_]:
    """Return the mask of weights: parameters in arrays of two axes or more.

    Parameters
    ----------
    model : Sequential

    Returns
    -------
    ndarray of bool (P,)
        False for biases and scales, to which weight decay does not apply.
    """
    arrays = [array for own in model.unflatten(model.parameters) for array in own.values()]
    masks = [np.full(array.size, array.ndim > 1) for array in arrays]
    return np.concatenate([np.empty(0, np.bool_), *masks])  # of no arrays too


def _copy_into(arrays: dict[str, Array], values: dict[str, Array]) -> None:
    """Overwrite each array with the value of its name."""
    for name, array in arrays.items():
        array[...] = values[name]
