"""Training: the epoch loop."""

import time
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import jit
from minicnn.model.sequential import Sequential
from minicnn.optim import Adam, Schedule, constant
from minicnn.runtime.archive import exclusive
from minicnn.runtime.progress import epoch_text, progress_bar, say
from minicnn.shapes import IntArray
from minicnn.train.checkpoint import Checkpoint, fingerprint
from minicnn.train.config import TrainConfig, epoch_batches, validation_split_indices
from minicnn.train.data_parallel import Augmentation, BatchGradient
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
    """Train a model in place.

    Its `metadata` become the configuration and the history.

    Part of the images, chosen at random, is held out for validation. The others are shuffled again
    in each epoch. The last batch may be smaller; a single remaining image joins the batch before.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        As in `Sequential.preprocess`.
    labels : ndarray of int (N,)
    optimizer : object with a ``step``, optional
        `Adam()` by default.
    schedule : callable
        Maps progress (0 to 1) to a factor of the learning rate, such as `minicnn.optim.cosine`.
    augment : callable, optional
        Varies the training images differently in each epoch, such as `minicnn.Augment`. Validation
        images stay as they are. It is called with ``seed`` and ``epoch``, so a function of your own
        can use a stronger `Augment` in early epochs and a weaker one in the last.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`. ``loss`` and ``val_loss`` are reported without it.
    epochs : int
        Passes over the training images.
    batch_size : int
        Images per step.
    validation_split : float
        Share of held-out images, 0 to below 1.
    patience : int, optional
        Stop after this number of epochs without a lower validation loss, and in any case restore
        the weights with the lowest. By default all epochs run and the last weights stay.
    seed : int
        Decides the validation split, the order of the images, the augmentation, and the draws of
        random layers.
    threads : int, optional
        One per usable core by default. The weights are the same for any number.
    checkpoint : str or os.PathLike, optional
        File that stores the training after each epoch, so that it can resume after a stop or a loss
        of power.
    resume : bool
        Continue from `checkpoint`. All arguments must be the same, except `threads`,
        `on_epoch_end` and `progress`. The weights are those of a training that never stopped.
    on_epoch_end : callable, optional
        Called with the `minicnn.train.state.TrainingState` after each epoch, once its checkpoint is
        written. It is for inspection, as by `minicnn.diagnostics.diagnose`: training continues with
        any changes it makes.
    progress : bool
        Show a bar on a terminal, and print one line per epoch with its time in seconds.

    Returns
    -------
    dict of str to list of float
        One value per epoch under ``loss`` and ``accuracy`` (of the training images as
        augmented, each batch before its update) and, with a validation split, ``val_loss`` and
        ``val_accuracy``.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, images or labels do not fit the model or each other, or
        `checkpoint` is of a training with another configuration.
    OSError
        If `checkpoint` cannot be written, does not exist to resume from, or is that of a training
        in another process.
    ModelFileError
        If the checkpoint to resume from is damaged, or another kind of file.
    NonFiniteError
        If the loss or a gradient is infinite or NaN; the weights are those before the step.

    References
    ----------
    Goodfellow, Bengio, Courville, "Deep learning" (2016), section 8.1.3 (mini-batches).
    """
    check_data("fit", model, images, labels, Sequential)
    if on_epoch_end is not None and not callable(on_epoch_end):
        raise TypeError(
            f"fit: on_epoch_end must be a function that takes a TrainingState, not {on_epoch_end!r}"
        )
    optimizer = Adam() if optimizer is None else optimizer
    config = TrainConfig(
        optimizer=optimizer,
        schedule=schedule,
        augment=augment,
        label_smoothing=label_smoothing,
        epochs=epochs,
        batch_size=batch_size,
        validation_split=validation_split,
        patience=patience,
        seed=seed,
    )
    run_batch = BatchGradient(model, images, labels, augment, seed, label_smoothing, threads)
    training, validation = validation_split_indices(config, len(images))
    counts = {"train_images": len(images), "validation_images": len(validation)}
    metadata = config.to_dict() | counts
    notify: Callable[[str], object] = say if progress else lambda text: None

    with exclusive(checkpoint), jit.announce_compilation(notify):
        state = TrainingState(model, optimizer, config.patience)
        saved = None
        if checkpoint is not None:
            data = fingerprint(model, images, labels, schedule)
            saved = Checkpoint(checkpoint, state, metadata | data)
        if resume:
            if saved is None:
                raise ValueError("fit: resume requires the file to resume from; set checkpoint")
            saved.load()
            notify(f"Resuming after epoch {state.epochs} of {config.epochs}, from {checkpoint}")
        model.metadata = metadata | {"history": state.history}  # replaces that of another training
        first = state.epochs
        while not state.should_stop(config.epochs):
            started, epoch = time.perf_counter(), f"{state.epochs + 1}/{config.epochs}"
            metrics = _train_epoch(run_batch, state, config, training, f"Epoch {epoch}", progress)
            if len(validation):
                result = measure(model, images[validation], labels[validation], threads)
                metrics |= {"val_loss": result.loss, "val_accuracy": result.accuracy}
            state.record_epoch(metrics)
            if saved:
                saved.save()
            notify(epoch_text(epoch, metrics, started, head=state.epochs == first + 1))
            if on_epoch_end:
                on_epoch_end(state)
    if state.restore_best():
        model.metadata["best_epoch"] = state.best_epoch + 1
        notify(f"Epoch {state.best_epoch + 1} had the lowest val_loss; its weights are restored")
    return state.history


def _train_epoch(
    run_batch: BatchGradient,
    state: TrainingState,
    config: TrainConfig,
    training: IntArray,
    title: str,
    progress: bool,
) -> dict[str, float]:
    """Train for an epoch; return loss and accuracy."""
    epoch, loss, correct, seen = state.epochs, 0.0, 0, 0
    batches = epoch_batches(config, training, epoch)
    with progress_bar(len(training), title, progress) as bar:
        for done, batch in enumerate(batches):
            result = run_batch(batch, epoch)
            if not all(np.isfinite(value).all() for value in result):
                parts = run_batch.microbatches(batch, epoch)
                cause = find_non_finite(state.model, parts, config.label_smoothing)
                raise NonFiniteError(f"{title}, batch {done + 1}: {cause}")
            state.step(result, config.schedule((epoch + done / len(batches)) / config.epochs))
            seen += len(batch)
            loss += result.plain_loss * len(batch)  # comparable with val_loss
            correct += result.correct
            so_far = {"loss": f"{loss / seen:.4f}", "accuracy": f"{correct / seen:.4f}"}
            bar.set_postfix(so_far, refresh=False)
            bar.update(len(batch))
    return {"loss": loss / seen, "accuracy": correct / seen}
