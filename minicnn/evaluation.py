"""How well a model does on a set of images."""

from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from minicnn import kernels, shapes
from minicnn.losses import softmax_cross_entropy
from minicnn.memory import workspace
from minicnn.model import Sequential
from minicnn.shapes import IntArray
from minicnn.shards import SHARD, count_correct
from minicnn.workers import Workers


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
    check_data("evaluate", model, images, labels)
    with (
        Workers("evaluate", threads) as workers,
        kernels.announce_compilation(tqdm.write),
    ):
        return measure(model, images, labels, workers)


def measure(
    model: Sequential, images: NDArray[Any], labels: IntArray, workers: Workers
) -> Evaluation:
    """Do what `evaluate` does, on workers that are there already.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
    labels : ndarray of int (N,)
    workers : Workers

    Returns
    -------
    Evaluation
    """

    def shard(start: int) -> tuple[float, int]:
        part = slice(start, start + SHARD)
        with workspace():
            logits, _ = model.forward(model.prepare(images[part]))
            loss, _ = softmax_cross_entropy(logits, labels[part])
            return float(loss) * len(logits), count_correct(logits, labels[part])

    losses, corrects = zip(*workers.map(shard, range(0, len(images), SHARD)), strict=True)
    correct, total = sum(corrects), len(images)
    return Evaluation(sum(losses) / total, correct / total, correct, total)


def check_data(where: str, model: Sequential, images: NDArray[Any], labels: IntArray) -> None:
    """Check that images and labels fit a model and each other.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
    labels : ndarray of int (N,)

    Raises
    ------
    TypeError, ValueError
        If they do not.
    """
    shapes.check_pixels(where, images)
    if len(model.output_shape) != 1:
        raise ValueError(
            f"{where}: the model gives {model.output_shape} for an image, not a row of logits; "
            f"end it with Flatten() and Dense(classes)"
        )
    shapes.check_labels(where, labels, len(images), model.output_shape[0])
