"""Training: the epoch loop."""

import time
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minicnn import kernels, shapes
from minicnn.checkpoints import Checkpoint, fingerprint, named
from minicnn.evaluation import check_data, measure
from minicnn.health import NonFiniteError, find_non_finite
from minicnn.model import Sequential
from minicnn.optim import Adam, Schedule, constant
from minicnn.parameters import follow
from minicnn.randomness import keyed_generator
from minicnn.shapes import IntArray
from minicnn.shards import Augmentation, BatchGradient
from minicnn.state import History, Optimiser, TrainingState
from minicnn.workers import Workers


def fit(
    model: Sequential,
    images: NDArray[Any],
    labels: IntArray,
    *,
    optimiser: Optimiser | None = None,
    schedule: Schedule = constant,
    augment: Augmentation | None = None,
    epochs: int = 5,
    batch_size: int = 128,
    validation_split: float = 0.1,
    patience: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a model in place; its `facts` become how that was done, and the history.

    Part of the images is put aside, at random, to watch how the model does on images that it does
    not learn from. The rest is shuffled anew in each epoch; the last batch may be smaller.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        As in `Sequential.prepare`.
    labels : ndarray of int (N,)
    optimiser : object with a ``step``, optional
        `Adam()` where left out.
    schedule : callable
        Gives a factor for the learning rate from the share of the training that is done (0 to 1),
        such as `minicnn.optim.cosine`.
    augment : callable, optional
        Varies the images to learn from, in each epoch in another way, such as `minicnn.Augment`.
        Those put aside stay as they are.
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
        Go on from `checkpoint`, in which all settings must be the same; only `threads` and
        `progress` may change. The weights come to be those of a training that was never stopped.
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
    check_data("fit", model, images, labels)
    epochs = shapes.positive_int("fit", "epochs", epochs)
    batch_size = shapes.positive_int("fit", "batch_size", batch_size)
    if augment is not None and not callable(augment):
        raise TypeError(f"fit: augment must be an object such as Augment(), not {augment!r}")
    workers = Workers("fit", threads)
    optimiser = Adam() if optimiser is None else optimiser
    training, validation = _split(len(images), validation_split, seed)
    if batch_size > len(training):
        raise ValueError(
            f"fit: batch_size {batch_size} is larger than the training set of {len(training)} "
            f"images ({len(validation)} of {len(images)} are put aside for validation)"
        )
    patience = _check_patience(patience, len(validation))
    say: Callable[[str], object] = tqdm.write if progress else _say_nothing
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimiser": named(optimiser),
        "schedule": named(schedule),
        "augment": named(augment),
        "train_images": len(images),
        "validation_images": len(validation),
        "patience": patience,
        "seed": seed,
    }
    state = TrainingState(model, optimiser, patience)
    keeper = None
    if checkpoint is not None:
        about = fingerprint(model, images, labels, schedule)
        keeper = Checkpoint(checkpoint, state, {**settings, **about})
        if resume:
            keeper.load()
            say(f"Going on after epoch {state.epochs} of {epochs}, from {checkpoint}")
    elif resume:
        raise ValueError("fit: resume needs the checkpoint to go on from: checkpoint=...")
    model.facts = {**settings, "history": state.history}  # what was known of it is no longer true
    with workers, kernels.announce_compilation(say):
        gradient_of = BatchGradient(model, images, labels, workers, augment, seed)
        while not state.is_over(epochs):
            epoch = state.epochs
            title = f"Epoch {epoch + 1}/{epochs}"
            order = keyed_generator(seed, "shuffle", epoch).permutation(len(training))
            steps = _plan(training[order], batch_size, schedule, epoch, epochs)
            started = time.perf_counter()
            row = _train_epoch(gradient_of, optimiser, steps, epoch, title, progress)
            rate = len(training) / (time.perf_counter() - started)
            if len(validation):
                found = measure(model, images[validation], labels[validation], workers)
                row |= {"val_loss": found.loss, "val_accuracy": found.accuracy}
            state.add(row)
            if keeper:
                keeper.save()
            say(
                f"{title} - {len(training)} images in {len(steps)} batches of {batch_size} - "
                f"{rate:.0f} images/s - "
                + " - ".join(f"{name}: {value:.4f}" for name, value in row.items())
            )
    if state.best is not None:
        state.take_best()
        model.facts["best_epoch"] = state.best_epoch + 1
        say(f"Epoch {state.best_epoch + 1} had the lowest val_loss; its weights are taken")
    return state.history


def _plan(
    shuffled: IntArray, batch_size: int, schedule: Schedule, epoch: int, epochs: int
) -> list[tuple[IntArray, float]]:
    """Return the batches of an epoch, each with the factor of its learning rate."""
    starts = range(0, len(shuffled), batch_size)
    batches = [shuffled[start : start + batch_size] for start in starts]
    return [
        (batch, schedule((epoch + done / len(batches)) / epochs))
        for done, batch in enumerate(batches)
    ]


def _train_epoch(
    gradient_of: BatchGradient,
    optimiser: Optimiser,
    steps: list[tuple[IntArray, float]],
    epoch: int,
    title: str,
    progress: bool,
) -> dict[str, float]:
    """Take one step for each batch; return the epoch's mean loss and accuracy."""
    model, total_loss, correct, seen = gradient_of.model, 0.0, 0, 0
    with tqdm(
        total=sum(len(batch) for batch, _ in steps),
        desc=title,
        unit=" images",
        leave=False,
        disable=None if progress else True,  # None: only where output is no terminal
    ) as bar:
        for number, (batch, factor) in enumerate(steps, start=1):
            step = gradient_of(batch, epoch)
            if not all(np.isfinite(found).all() for found in step):
                where = find_non_finite(model, gradient_of.shards(batch, epoch))
                raise NonFiniteError(f"{title}, batch {number}: {where}")
            optimiser.step(model.parameters, step.gradient, factor)
            follow(model.layers, model.statistics, step.observed)
            seen += len(batch)
            total_loss += step.loss * len(batch)
            correct += step.correct
            bar.set_postfix(
                loss=f"{total_loss / seen:.4f}", accuracy=f"{correct / seen:.4f}", refresh=False
            )
            bar.update(len(batch))
    return {"loss": total_loss / seen, "accuracy": correct / seen}


def _split(count: int, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Return the numbers of the images to train on and of those put aside, both in order."""
    if not 0 <= share < 1:
        raise ValueError(f"fit: validation_split must lie in 0 .. 1, below 1, not {share!r}")
    order = keyed_generator(seed, "validation split").permutation(count)
    aside = min(round(count * share), count - 1)
    return np.sort(order[aside:]), np.sort(order[:aside])


def _check_patience(patience: int | None, put_aside: int) -> int | None:
    if patience is None:
        return None
    if not put_aside:
        raise ValueError(
            "fit: patience needs images put aside to watch: give a validation_split such as 0.1"
        )
    return shapes.positive_int("fit", "patience", patience)


def _say_nothing(text: str) -> None:
    """Stand in for ``tqdm.write`` where no progress is wanted."""
