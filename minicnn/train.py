"""Training and evaluation: the epoch loop."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minicnn import kernels, shapes
from minicnn.health import NonFiniteError, find_non_finite
from minicnn.losses import softmax_cross_entropy
from minicnn.memory import workspace
from minicnn.model import Sequential
from minicnn.optim import Adam
from minicnn.randomness import keyed_generator
from minicnn.shapes import FloatArray, IntArray
from minicnn.shards import SHARD, Augmentation, BatchGradient, count_correct
from minicnn.workers import Workers

History = dict[str, list[float]]
Schedule = Callable[[float], float]


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


class Evaluation(NamedTuple):
    """How well a model does on a set of images.

    `loss` is the mean cross-entropy, `accuracy` is ``correct / total`` (0 to 1).
    """

    loss: float
    accuracy: float
    correct: int
    total: int


def evaluate(
    model: Sequential, images: NDArray[Any], labels: IntArray, *, threads: int | None = None
) -> Evaluation:
    """Measure loss and accuracy.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        As in `Sequential.prepare`.
    labels : ndarray of int (N,)
    threads : int, optional
        Worker threads; one for each usable core where left out.

    Returns
    -------
    Evaluation
        The same for any number of threads.

    Raises
    ------
    TypeError, ValueError
        If images or labels do not fit the model or each other.
    """
    _check_data("evaluate", model, images, labels)
    with (
        Workers("evaluate", threads) as workers,
        kernels.announce_compilation(tqdm.write),
    ):
        return _evaluate(model, images, labels, workers)


def _evaluate(
    model: Sequential, images: NDArray[Any], labels: IntArray, workers: Workers
) -> Evaluation:
    def measure(start: int) -> tuple[float, int]:
        part = slice(start, start + SHARD)
        with workspace():
            logits, _ = model.forward(model.prepare(images[part]))
            loss, _ = softmax_cross_entropy(logits, labels[part])
            return float(loss) * len(logits), count_correct(logits, labels[part])

    losses, corrects = zip(*workers.map(measure, range(0, len(images), SHARD)), strict=True)
    correct, total = sum(corrects), len(images)
    return Evaluation(sum(losses) / total, correct / total, correct, total)


def fit(
    model: Sequential,
    images: NDArray[Any],
    labels: IntArray,
    *,
    optimiser: Optimiser | None = None,
    schedule: Schedule | None = None,
    augment: Augmentation | None = None,
    epochs: int = 5,
    batch_size: int = 128,
    validation_split: float = 0.1,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = True,
) -> History:
    """Train a model in place.

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
    schedule : callable, optional
        Gives a factor for the learning rate from the share of the training that is done (0 to 1),
        such as `minicnn.optim.cosine`; without one the learning rate stays as it is.
    augment : callable, optional
        Varies the images to learn from, in each epoch in another way, such as `minicnn.Augment`.
        Those put aside stay as they are.
    epochs : int
        How often every image is seen.
    batch_size : int
        Images for each step.
    validation_split : float
        Share put aside, 0 to below 1.
    seed : int
        Decides what is put aside, the order of the images and how they are augmented.
    threads : int, optional
        Worker threads; one for each usable core where left out. The weights come out the same.
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
        If an argument is out of range, or images or labels do not fit the model or each other.
    NonFiniteError
        As soon as the loss or a gradient is infinite or NaN; the weights are those before the step.

    References
    ----------
    Goodfellow, Bengio, Courville, "Deep learning" (2016), section 8.1.3 (mini-batches).
    """
    _check_data("fit", model, images, labels)
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
    say: Callable[[str], object] = tqdm.write if progress else _say_nothing
    history: History = {}
    with workers, kernels.announce_compilation(say):
        gradient_of = BatchGradient(model, images, labels, workers, augment, seed)
        for epoch in range(epochs):
            title = f"Epoch {epoch + 1}/{epochs}"
            order = keyed_generator(seed, "shuffle", epoch).permutation(len(training))
            steps = _plan(training[order], batch_size, schedule, epoch, epochs)
            started = time.perf_counter()
            row = _train_epoch(gradient_of, optimiser, steps, epoch, title, progress)
            rate = len(training) / (time.perf_counter() - started)
            if len(validation):
                found = _evaluate(model, images[validation], labels[validation], workers)
                row |= {"val_loss": found.loss, "val_accuracy": found.accuracy}
            for name, value in row.items():
                history.setdefault(name, []).append(value)
            say(
                f"{title} - {len(training)} images in {len(steps)} batches of {batch_size} - "
                f"{rate:.0f} images/s - "
                + " - ".join(f"{name}: {value:.4f}" for name, value in row.items())
            )
    return history


def _plan(
    shuffled: IntArray, batch_size: int, schedule: Schedule | None, epoch: int, epochs: int
) -> list[tuple[IntArray, float]]:
    """Return the batches of an epoch, each with the factor of its learning rate."""
    starts = range(0, len(shuffled), batch_size)
    batches = [shuffled[start : start + batch_size] for start in starts]
    if schedule is None:
        return [(batch, 1.0) for batch in batches]
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
    total_loss, correct, seen = 0.0, 0, 0
    with tqdm(
        total=sum(len(batch) for batch, _ in steps),
        desc=title,
        unit=" images",
        leave=False,
        disable=None if progress else True,  # None: only where output is no terminal
    ) as bar:
        for number, (batch, factor) in enumerate(steps, start=1):
            loss, right, gradients = gradient_of(batch, epoch)
            if not (np.isfinite(loss) and np.isfinite(gradients).all()):
                images = gradient_of.images_of(batch, epoch)
                where = find_non_finite(gradient_of.model, images, gradient_of.labels[batch])
                raise NonFiniteError(f"{title}, batch {number}: {where}")
            optimiser.step(gradient_of.model.parameters, gradients, factor)
            seen += len(batch)
            total_loss += loss * len(batch)
            correct += right
            bar.set_postfix(
                loss=f"{total_loss / seen:.4f}", accuracy=f"{correct / seen:.4f}", refresh=False
            )
            bar.update(len(batch))
    return {"loss": total_loss / seen, "accuracy": correct / seen}


def _check_data(where: str, model: Sequential, images: NDArray[Any], labels: IntArray) -> None:
    shapes.check_pixels(where, images)
    if len(model.output_shape) != 1:
        raise ValueError(
            f"{where}: the model gives {model.output_shape} for an image, not a row of logits; "
            f"end it with Flatten() and Dense(classes)"
        )
    shapes.check_labels(where, labels, len(images), model.output_shape[0])


def _split(count: int, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Return the numbers of the images to train on and of those put aside, both in order."""
    if not 0 <= share < 1:
        raise ValueError(f"fit: validation_split must lie in 0 .. 1, below 1, not {share!r}")
    order = keyed_generator(seed, "validation split").permutation(count)
    aside = min(round(count * share), count - 1)
    return np.sort(order[aside:]), np.sort(order[:aside])


def _say_nothing(text: str) -> None:
    """Stand in for ``tqdm.write`` where no progress is wanted."""
