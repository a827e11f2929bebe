"""How far a training has come: all that one epoch hands to the next."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from minicnn.model import Sequential
from minicnn.shapes import FloatArray

History = dict[str, list[float]]


class Optimiser(Protocol):
    """What `fit` asks of an optimiser."""

    def step(self, parameters: FloatArray, gradients: FloatArray, factor: float) -> None:
        """Update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : ndarray (P,)
        factor : float
            Multiplies the learning rate.
        """


@runtime_checkable
class Resumable(Protocol):
    """What a checkpoint asks of an optimiser besides."""

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
    """Weights, optimiser and history after some epochs; and the best weights, if they are wanted.

    The best are those with the lowest loss on the images put aside. The loss, not the accuracy: it
    tells epochs apart that read equally many images, and it grows where a model is sure of what is
    wrong. Nothing else needs to be remembered: which epoch was the best, and how long ago, stands
    in the history; what is random depends on the number of the epoch.

    Parameters
    ----------
    model : Sequential
    optimiser : Optimiser
    patience : int, optional
        Stop after so many epochs without a lower loss; as long as is planned where left out.

    Attributes
    ----------
    history : dict of str to list of float
        One number for each epoch.
    best : dict of str to ndarray, or None
        The best parameters so far, and the statistics that were running then.

    References
    ----------
    Prechelt, "Early stopping - but when?" (in "Neural networks: tricks of the trade", 1998),
    section 2.
    """

    def __init__(self, model: Sequential, optimiser: Optimiser, patience: int | None) -> None:
        self.model, self.optimiser, self.patience = model, optimiser, patience
        self.history: History = {}
        self._own = {"parameters": model.parameters, "statistics": model.statistics}
        copies = {name: array.copy() for name, array in self._own.items()}
        self.best = None if patience is None else copies

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
            for name, array in self._own.items():
                self.best[name][...] = array

    def take_best(self) -> None:
        """Put the best weights, if they were wanted, into the model."""
        for name, array in (self.best or {}).items():
            self._own[name][...] = array

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays, to be kept, or to be filled from what was kept.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        TypeError
            If the optimiser does not show its state.
        """
        if not isinstance(self.optimiser, Resumable):
            raise TypeError(
                f"a checkpoint needs an optimiser with a method state, as minicnn.Adam has, and "
                f"{type(self.optimiser).__name__} has none"
            )
        found: dict[str, NDArray[Any]] = {**self._own}
        for name, array in self.optimiser.state(self.model.parameters).items():
            found[f"optimiser.{name}"] = array
        for name, array in (self.best or {}).items():
            found[f"best.{name}"] = array
        return found
