"""Loss and accuracy of a model on a set of images."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from minicnn.kernels import jit
from minicnn.losses import softmax_cross_entropy
from minicnn.model.classifier import Classifier, check_logits, check_model
from minicnn.runtime.progress import say
from minicnn.shapes import IntArray
from minicnn.shapes.checks import as_batch, check_brightness, check_labels

# Images that are preprocessed together, so that memory does not grow with their number.
EVALUATION_BATCH = 1024


class Evaluation(NamedTuple):
    """Loss and accuracy of a model on a set of images.

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
        One per usable core by default.

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
    with jit.announce_compilation(say):
        return measure(model, images, labels, threads)


def measure(
    model: Classifier, images: NDArray[Any], labels: IntArray, threads: int | None
) -> Evaluation:
    """Measure loss and accuracy without checking the arguments."""
    total, loss, correct = len(images), 0.0, 0
    for start in range(0, total, EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        logits = model.infer(model.preprocess(images[part]), threads=threads)
        loss += float(softmax_cross_entropy(logits, labels[part])[0]) * len(logits)
        correct += int((logits.argmax(axis=1) == labels[part]).sum())
    return Evaluation(loss / total, correct / total, correct, total)


def check_data(op: str, model: Any, images: Any, labels: Any, kind: type = Classifier) -> None:
    """Raise unless images and labels fit a model of this kind and each other."""
    check_model(op, model, kind)
    check_brightness(op, as_batch(op, images, model.input_shape))
    check_logits(op, model)
    check_labels(op, labels, len(images), model.output_shape[0])
