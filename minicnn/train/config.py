"""The arguments of `fit` that decide its result; splits and batches."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.optim import Schedule
from minicnn.random import generator
from minicnn.shapes import IntArray
from minicnn.shapes.checks import check_range, positive_int
from minicnn.train.checkpoint import describe
from minicnn.train.data_parallel import Augmentation
from minicnn.train.state import Optimizer


@dataclass(kw_only=True)
class TrainConfig:
    """Checked arguments of `fit`: TypeError or ValueError if out of range."""

    optimizer: Optimizer
    schedule: Schedule
    augment: Augmentation | None
    label_smoothing: float
    epochs: int
    batch_size: int
    validation_split: float
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        """Check each argument."""
        self.label_smoothing = check_range("fit", "label_smoothing", self.label_smoothing, high=1)
        self.epochs = positive_int("fit", "epochs", self.epochs)
        self.batch_size = positive_int("fit", "batch_size", self.batch_size)
        check_range("fit", "validation_split", self.validation_split, high=1)
        if self.patience is not None:
            self.patience = positive_int("fit", "patience", self.patience)
        for name, fits, example in (
            ("augment", self.augment is None or callable(self.augment), "object such as Augment()"),
            ("optimizer", hasattr(self.optimizer, "step"), "object such as Adam()"),
            ("schedule", callable(self.schedule), "entry of optim.SCHEDULES or another function"),
        ):
            if not fits:
                raise TypeError(f"fit: {name} must be an {example}, not {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON values, without the validation split.

        (The number of validation images, which `fit` adds, says more.)
        """
        values = {name: describe(value) for name, value in vars(self).items()}
        del values["validation_split"]
        return values


def validation_split_indices(config: TrainConfig, count: int) -> tuple[IntArray, IntArray]:
    """Split images at random into training and validation indices.

    Both are in ascending order. Raises ValueError if too few are left for a batch, or none for
    `patience`.
    """
    order = generator(config.seed, "validation split").permutation(count)
    held_out = min(round(count * config.validation_split), count - 1)
    if config.batch_size > count - held_out:
        raise ValueError(
            f"fit: batch_size {config.batch_size} is larger than the training set of "
            f"{count - held_out} images ({held_out} of {count} are held out for validation)"
        )
    if config.patience is not None and not held_out:
        raise ValueError(
            "fit: patience requires validation data; set validation_split, for example 0.1"
        )
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def epoch_batches(config: TrainConfig, training: IntArray, epoch: int) -> list[IntArray]:
    """Shuffle the training images for an epoch; cut them into batches."""
    order = generator(config.seed, "shuffle", epoch).permutation(len(training))
    # A single remaining image joins the batch before: alone it has no variance for batch norm.
    last = len(training) - (1 if config.batch_size > 1 else 0)
    starts = range(0, max(last, 1), config.batch_size)
    return np.split(training[order], starts[1:])
