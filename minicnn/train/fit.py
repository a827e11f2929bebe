"""Training: the epoch loop."""

import time
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minicnn.kernels import jit
from minicnn.model.classifier import check_model
from minicnn.model.sequential import Sequential
from minicnn.optim import Adam, Schedule, constant
from minicnn.runtime.thread_pool import ThreadPool
from minicnn.shapes import IntArray
from minicnn.train.checkpoint import Checkpoint, fingerprint
from minicnn.train.config import TrainConfig
from minicnn.train.data_parallel import Augmentation, DataParallelGradient
from minicnn.train.evaluate import check_data, measure
from minicnn.train.nonfinite import NonFiniteError, find_non_finite
from minicnn.train.state import History, Optimizer, TrainingState


def fit(
    model: Sequential,
    images: NDArray[Any],
    labels: IntArray,
    *,
    optimizer: Optimizer | None = None,
    schedule: Schedule = constant,
    augment: Augmentation | None = None,
    label_smoothing: float = 0.0,
    ema_decay: float | None = None,
    epochs: int = 5,
    batch_size: int = 128,
    validation_split: float = 0.1,
    patience: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    on_epoch_end: Callable[[TrainingState], object] | None = None,
    progress: bool = True,
) -> History:
    """Train a model in place; its `metadata` become how that was done, and the history.

    Part of the images is put aside, at random, to watch how the model does on images that it does
    not learn from. The rest is shuffled anew in each epoch. The last batch may be smaller; an image
    that would be left over by itself joins the batch before.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        As in `Sequential.preprocess`.
    labels : ndarray of int (N,)
    optimizer : object with a ``step``, optional
        `Adam()` where left out.
    schedule : callable
        Gives a factor for the learning rate from the share of the training that is done (0 to 1),
        such as `minicnn.optim.cosine`.
    augment : callable, optional
        Varies the images to learn from, in each epoch in another way, such as `minicnn.Augment`.
        Those put aside stay as they are. It is called with ``seed`` and ``epoch``, so a function
        of one's own can hand early epochs to a stronger `Augment` and the last to a weaker.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`: 0.1 asks the network to be 90 % sure of each label.
        ``val_loss`` is without it.
    ema_decay : float, optional
        Average the weights over the steps, as `minicnn.optim.MovingAverage` with this decay (0.99
        averages over the last 100 steps or so), and the statistics of layers such as batch norm
        with them. The average is what the images put aside are read with, what `patience` goes
        back to, and what the model has at the end.
    epochs : int
        How often every image is seen.
    batch_size : int
        Images for each step.
    validation_split : float
        Share put aside, 0 to below 1.
    patience : int, optional
        Stop after so many epochs in which the loss on the images put aside was never lower than
        before, and in any case go back to the weights with which it was lowest. Where left out
        all epochs are done and the last weights stay.
    seed : int
        Decides what is put aside, the order of the images, how they are augmented, and what layers
        do that are random in training.
    threads : int, optional
        Worker threads; one for each usable core where left out. The weights come out the same.
    checkpoint : str or os.PathLike, optional
        A file that gets all that the training has come to, after each epoch: a training that is
        stopped, even by the loss of power, can go on from there.
    resume : bool
        Go on from `checkpoint`, in which all settings must be the same; only `threads`,
        `on_epoch_end` and `progress` may change. The weights come to be those of a training that
        was never stopped.
    on_epoch_end : callable, optional
        Called with the `minicnn.state.TrainingState` after each epoch, once its checkpoint is
        written; its model has the weights that the next epoch starts from, not their average. It is
        there to look, as `minicnn.diagnostics.diagnose` does: what it changes is trained on with.
    progress : bool
        A bar on a terminal, and one line for each epoch.

    Returns
    -------
    dict of str to list of float
        One number for each epoch under ``loss`` and ``accuracy`` (of the training images, as they
        were met, augmented or not) and, with a validation split, ``val_loss`` and ``val_accuracy``.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, images or labels do not fit the model or each other, or
        `checkpoint` is of a training with other settings.
    OSError
        If `checkpoint` cannot be written, or is not there to resume.
    ModelFileError
        If the checkpoint to resume is damaged, or something else.
    NonFiniteError
        As soon as the loss or a gradient is infinite or NaN; the weights are those before the step.

    References
    ----------
    Goodfellow, Bengio, Courville, "Deep learning" (2016), section 8.1.3 (mini-batches).
    """
    check_model("fit", model, Sequential)
    check_data("fit", model, images, labels)
    settings = TrainConfig(
        optimizer=Adam() if optimizer is None else optimizer,
        schedule=schedule,
        augment=augment,
        label_smoothing=label_smoothing,
        ema_decay=ema_decay,
        epochs=epochs,
        batch_size=batch_size,
        validation_split=validation_split,
        patience=patience,
        seed=seed,
    )
    if on_epoch_end is not None and not callable(on_epoch_end):
        raise TypeError(
            f"fit: after_epoch must be a function that takes a TrainingState, not {on_epoch_end!r}"
        )
    workers = ThreadPool("fit", threads)
    training, validation = settings.split(len(images))
    metadata = {
        **settings.metadata(),
        "train_images": len(images),
        "validation_images": len(validation),
    }
    say: Callable[[str], object] = tqdm.write if progress else _say_nothing
    state = TrainingState(model, settings.optimizer, settings.patience, settings.ema_decay)
    keeper = None
    if checkpoint is not None:
        about = fingerprint(model, images, labels, schedule)
        keeper = Checkpoint(checkpoint, state, {**metadata, **about})
    if resume:
        if keeper is None:
            raise ValueError("fit: resume needs the checkpoint to go on from: checkpoint=...")
        keeper.load()
        say(f"Going on after epoch {state.epochs} of {settings.epochs}, from {checkpoint}")
    model.metadata = {
        **metadata,
        "history": state.history,
    }  # what was known of it is no longer true
    with workers, jit.announce_compilation(say):
        gradient_of = DataParallelGradient(
            model, images, labels, workers, augment, seed, label_smoothing
        )
        while not state.is_over(settings.epochs):
            title = f"Epoch {state.epochs + 1}/{settings.epochs}"
            row, line = _train_epoch(gradient_of, state, settings, training, title, progress)
            if len(validation):
                with state.averaged():
                    found = measure(model, images[validation], labels[validation], workers.threads)
                row |= {"val_loss": found.loss, "val_accuracy": found.accuracy}
            state.add(row)
            if keeper:
                keeper.save()
            say(" - ".join([line, *(f"{name}: {value:.4f}" for name, value in row.items())]))
            if on_epoch_end:
                on_epoch_end(state)
    state.finish()
    if state.best is not None:
        model.metadata["best_epoch"] = state.best_epoch + 1
        say(f"Epoch {state.best_epoch + 1} had the lowest val_loss; its weights are taken")
    return state.history


def _train_epoch(
    gradient_of: DataParallelGradient,
    state: TrainingState,
    settings: TrainConfig,
    training: IntArray,
    title: str,
    progress: bool,
) -> tuple[dict[str, float], str]:
    """Take the steps of an epoch; return its mean loss and accuracy, and what was done how fast."""
    total_loss, correct, seen, started = 0.0, 0, 0, time.perf_counter()
    steps = settings.steps(training, state.epochs)
    with tqdm(
        total=len(training),
        desc=title,
        unit=" images",
        leave=False,
        disable=None if progress else True,  # None: only where output is no terminal
    ) as bar:
        for number, (batch, factor) in enumerate(steps, start=1):
            found = gradient_of(batch, state.epochs)
            if not all(np.isfinite(part).all() for part in found):
                shards = gradient_of.microbatches(batch, state.epochs)
                op = find_non_finite(state.model, shards, settings.label_smoothing)
                raise NonFiniteError(f"{title}, batch {number}: {op}")
            state.step(found, factor)
            seen += len(batch)
            total_loss += found.loss * len(batch)
            correct += found.correct
            bar.set_postfix(
                loss=f"{total_loss / seen:.4f}", accuracy=f"{correct / seen:.4f}", refresh=False
            )
            bar.update(len(batch))
    rate = seen / (time.perf_counter() - started)
    line = (
        f"{title} - {seen} images in {len(steps)} batches of {settings.batch_size} - "
        f"{rate:.0f} images/s"
    )
    return {"loss": total_loss / seen, "accuracy": correct / seen}, line


def _say_nothing(text: str) -> None:
    """Stand in for ``tqdm.write`` where no progress is wanted."""
