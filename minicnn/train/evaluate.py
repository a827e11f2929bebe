"""How well a model does on a set of images."""

from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from minicnn.kernels import jit
from minicnn.losses import softmax_cross_entropy
from minicnn.model.classifier import Classifier, check_model
from minicnn.shapes import IntArray
from minicnn.shapes.checks import check_labels, check_pixels

# So many images are prepared at a time: memory does not grow with their number.
EVALUATION_BATCH = 1024


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
    model : Sequential, Ensemble or TestTimeAugmentation
    images : ndarray (N, H, W, C); without C where the model has one channel
        As in `Sequential.preprocess`.
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
    with jit.announce_compilation(tqdm.write):
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
    for start in range(0, total, EVALUATION_BATCH):
        wanted = labels[start : start + EVALUATION_BATCH]
        logits = model.infer(
            model.preprocess(images[start : start + EVALUATION_BATCH]), threads=threads
        )
        loss += float(softmax_cross_entropy(logits, wanted)[0]) * len(wanted)
        correct += int((logits.argmax(axis=1) == wanted).sum())
    return Evaluation(loss / total, correct / total, correct, total)


def check_data(op: str, model: Classifier, images: NDArray[Any], labels: IntArray) -> None:
    """Check that images and labels fit a model and each other.

    Parameters
    ----------
    op : str
        Name of the function that asks, for the messages.
    model : Sequential, or another classifier
    images : ndarray (N, H, W, C); without C where the model has one channel
    labels : ndarray of int (N,)

    Raises
    ------
    TypeError, ValueError
        If they do not.
    """
    check_model(op, model, Classifier)
    check_pixels(op, images)
    if len(model.output_shape) != 1:
        raise ValueError(
            f"{op}: the model gives {model.output_shape} for an image, not a row of logits; "
            f"end it with Flatten() and Dense(classes)"
        )
    check_labels(op, labels, len(images), model.output_shape[0])
