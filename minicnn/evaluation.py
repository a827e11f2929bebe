"""How well a model does on a set of images."""

from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from minicnn import kernels, shapes
from minicnn.classifier import Classifier, check_model
from minicnn.losses import softmax_cross_entropy
from minicnn.shapes import IntArray

# So many images are prepared at a time: memory does not grow with their number.
BLOCK = 1024


class Evaluation(NamedTuple):
    """How well a model does on a set of images.

    `loss` is the mean cross-entropy, `accuracy` is ``correct / total`` (0 to 1).
    """

    loss: float
    accuracy: float
    correct: int
    total: int


def evaluate(
    model: Classifier, images: NDArray[Any], labels: IntArray, *, threads: int | None = None
) -> Evaluation:
    """Measure loss and accuracy.

    Parameters
    ----------
    model : Sequential, Ensemble or MultiView
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
    with kernels.announce_compilation(tqdm.write):
        return measure(model, images, labels, threads)


def measure(
    model: Classifier, images: NDArray[Any], labels: IntArray, threads: int | None
) -> Evaluation:
    """Do what `evaluate` does, without checks.

    Parameters
    ----------
    model : Sequential, or another classifier
    images : ndarray (N, H, W, C); without C where the model has one channel
    labels : ndarray of int (N,)
    threads : int, or None

    Returns
    -------
    Evaluation
    """
    total, loss, correct = len(images), 0.0, 0
    for start in range(0, total, BLOCK):
        wanted = labels[start : start + BLOCK]
        logits = model.infer(model.prepare(images[start : start + BLOCK]), threads=threads)
        loss += float(softmax_cross_entropy(logits, wanted)[0]) * len(wanted)
        correct += int((logits.argmax(axis=1) == wanted).sum())
    return Evaluation(loss / total, correct / total, correct, total)


def check_data(where: str, model: Classifier, images: NDArray[Any], labels: IntArray) -> None:
    """Check that images and labels fit a model and each other.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    model : Sequential, or another classifier
    images : ndarray (N, H, W, C); without C where the model has one channel
    labels : ndarray of int (N,)

    Raises
    ------
    TypeError, ValueError
        If they do not.
    """
    check_model(where, model, Classifier)
    shapes.check_pixels(where, images)
    if len(model.output_shape) != 1:
        raise ValueError(
            f"{where}: the model gives {model.output_shape} for an image, not a row of logits; "
            f"end it with Flatten() and Dense(classes)"
        )
    shapes.check_labels(where, labels, len(images), model.output_shape[0])
