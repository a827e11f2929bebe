"""All that decides how a training goes, in one place."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.optim import Schedule
from minicnn.random import generator
from minicnn.shapes import IntArray
from minicnn.shapes.checks import check_range, positive_int
from minicnn.train.checkpoint import describe_object
from minicnn.train.data_parallel import Augmentation
from minicnn.train.state import Optimizer


@dataclass(kw_only=True)
class TrainConfig:
    """The arguments of `fit` that its result depends on, checked.

    Parameters
    ----------
    optimizer : object with a ``step``
    schedule : callable
    augment : callable, or None
    label_smoothing : float
    ema_decay : float, or None
    epochs : int
    batch_size : int
    validation_split : float
    patience : int, or None
    seed : int
        All as in `fit`.

    Raises
    ------
    TypeError, ValueError
        If one is out of range, or patience has no images to watch.
    """

    optimizer: Optimizer
    schedule: Schedule
    augment: Augmentation | None
    label_smoothing: float
    ema_decay: float | None
    epochs: int
    batch_size: int
    validation_split: float
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        """Check each by itself."""
        self.label_smoothing = check_range("fit", "label_smoothing", self.label_smoothing, high=1)
        if self.ema_decay is not None:
            self.ema_decay = check_range("fit", "ema_decay", self.ema_decay, high=1)
        self.epochs = positive_int("fit", "epochs", self.epochs)
        self.batch_size = positive_int("fit", "batch_size", self.batch_size)
        check_range("fit", "validation_split", self.validation_split, high=1)
        if self.patience is not None:
            self.patience = positive_int("fit", "patience", self.patience)
        if self.augment is not None and not callable(self.augment):
            raise TypeError(
                f"fit: augment must be an object such as Augment(), not {self.augment!r}"
            )

    def split(self, count: int) -> tuple[IntArray, IntArray]:
        """Choose the images to put aside.

        Parameters
        ----------
        count : int
            How many images there are.

        Returns
        -------
        training, validation : ndarray of int
            The numbers of the images to train on and of those put aside, both in order.

        Raises
        ------
        ValueError
            If the first are too few for a batch, or the others for patience.
        """
        order = generator(self.seed, "validation split").permutation(count)
        aside = min(round(count * self.validation_split), count - 1)
        if self.batch_size > count - aside:
            raise ValueError(
                f"fit: batch_size {self.batch_size} is larger than the training set of "
                f"{count - aside} images ({aside} of {count} are put aside for validation)"
            )
        if self.patience is not None and not aside:
            raise ValueError(
                "fit: patience needs images put aside to watch: give a validation_split such as 0.1"
            )
        return np.sort(order[aside:]), np.sort(order[:aside])

    def steps(self, training: IntArray, epoch: int) -> list[tuple[IntArray, float]]:
        """Plan an epoch.

        Parameters
        ----------
        training : ndarray of int
            From `split`.
        epoch : int
            From 0.

        Returns
        -------
        list of (ndarray of int, float)
            For each step the numbers of its images and the factor of its learning rate.
        """
        order = generator(self.seed, "shuffle", epoch).permutation(len(training))
        # an image left over joins the batch before: by itself it has no variance for a batch norm
        last = len(training) - (1 if self.batch_size > 1 else 0)
        starts = range(0, max(last, 1), self.batch_size)
        batches = np.split(training[order], starts[1:])
        return [
            (batch, self.schedule((epoch + done / len(batches)) / self.epochs))
            for done, batch in enumerate(batches)
        ]

    def metadata(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them.

        Returns
        -------
        dict
            All but the share put aside, which says less than the number of images.
        """
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": describe_object(self.optimizer),
            "schedule": describe_object(self.schedule),
            "augment": describe_object(self.augment),
            "label_smoothing": self.label_smoothing,
            "ema_decay": self.ema_decay,
            "patience": self.patience,
            "seed": self.seed,
        }
