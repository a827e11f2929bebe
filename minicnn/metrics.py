"""What was taken for what: the confusion matrix, and what follows from it.

How sure the answers are, and how far that can be believed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn._table import Table, lay_out
from minicnn.shapes import FloatArray, IntArray
from minicnn.shapes.checks import (
    check_array,
    check_class_names,
    check_labels,
    check_probability_rows,
    positive_int,
)

Scores = NDArray[np.float64]
Counts = NDArray[np.int64]


class ClassScores(NamedTuple):
    """How well each class is read: four arrays ``(classes,)``.

    `precision`, `recall` and `f1` lie in 0 to 1; `support` is the number of images of the class.
    """

    precision: Scores
    recall: Scores
    f1: Scores
    support: Counts


class MacroAverage(NamedTuple):
    """Means over the classes, each counting the same however many images it has; 0 to 1."""

    precision: float
    recall: float
    f1: float


def accuracy(labels: IntArray, predicted: IntArray) -> float:
    """Give the share of right answers: ``Σ_n [predicted_n = label_n] / N``.

    Parameters
    ----------
    labels : ndarray of int (N,)
        True classes.
    predicted : ndarray of int (N,)
        Answers, such as ``model.predict(images)``.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    TypeError
        If one is no integer array.
    ValueError
        If there are none, or more of one than of the other, or one is negative.
    """
    _check_answers("accuracy", labels, predicted, np.iinfo(np.int64).max)
    return float((labels == predicted).mean())


def confusion_matrix(labels: IntArray, predicted: IntArray, classes: int) -> Counts:
    """Count what each class was taken for: ``matrix[i, j] = Σ_n [label_n = i][predicted_n = j]``.

    Parameters
    ----------
    labels : ndarray of int (N,)
        True classes, in ``0 .. classes - 1``.
    predicted : ndarray of int (N,)
        Answers, in the same range.
    classes : int

    Returns
    -------
    ndarray of int64 (classes, classes)
        True classes down, predicted ones across: right answers lie on the diagonal.

    Raises
    ------
    TypeError
        If one is no integer array, or `classes` no whole number.
    ValueError
        If there are no labels, more of one than of the other, or one is out of range.
    """
    classes = positive_int("confusion_matrix", "classes", classes)
    _check_answers("confusion_matrix", labels, predicted, classes)
    places = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


def normalize_rows(matrix: IntArray) -> Scores:
    """Normalize a confusion matrix by row: ``share[i, j] = matrix[i, j] / Σ_k matrix[i, k]``.

    Parameters
    ----------
    matrix : ndarray of int (classes, classes)
        From `confusion_matrix`.

    Returns
    -------
    ndarray of float64 (classes, classes)
        What share of the images of class i was taken for class j; the diagonal is the recall. Rows
        sum to 1, or to 0 where a class has no images.

    Raises
    ------
    TypeError, ValueError
        If it is no confusion matrix.
    """
    _check_matrix("normalize_rows", matrix)
    return _ratio(matrix, matrix.sum(axis=1, keepdims=True))


def precision_recall_f1(matrix: IntArray) -> ClassScores:
    """Give precision, recall and F1 of each class.

    With TP the images of a class that were read as such, FP those of others that were taken for it
    and FN its own that were taken for others: ``precision = TP / (TP + FP)``,
    ``recall = TP / (TP + FN)``, ``F1 = 2 TP / (2 TP + FP + FN)``, which is the harmonic mean of the
    two. Where a denominator is 0 (the precision of a class that is never predicted, the recall of
    one that has no images) the score is 0: nothing of the kind was got right.

    Parameters
    ----------
    matrix : ndarray of int (classes, classes)
        From `confusion_matrix`.

    Returns
    -------
    ClassScores

    Raises
    ------
    TypeError, ValueError
        If it is no confusion matrix.

    References
    ----------
    C. J. van Rijsbergen, "Information retrieval" (1979), chapter 7 (F with β = 1).
    """
    _check_matrix("precision_recall_f1", matrix)
    right, true, answered = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassScores(
        _ratio(right, answered),
        _ratio(right, true),
        _ratio(2 * right, true + answered),
        true.astype(np.int64),
    )


def macro_average(matrix: IntArray) -> MacroAverage:
    """Give the means of the classes' precision, recall and F1.

    A class that neither has images nor is ever predicted says nothing and is left out.

    Parameters
    ----------
    matrix : ndarray of int (classes, classes)
        From `confusion_matrix`.

    Returns
    -------
    MacroAverage

    Raises
    ------
    TypeError, ValueError
        If it is no confusion matrix.

    References
    ----------
    C. D. Manning, P. Raghavan, H. Schütze, "Introduction to information retrieval" (2008),
    section 13.6.
    """
    _check_matrix("macro_average", matrix)
    met = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    precision, recall, f1, _ = precision_recall_f1(matrix)
    return MacroAverage(*(float(scores[met].mean()) for scores in (precision, recall, f1)))


def classification_report(matrix: IntArray, class_names: Sequence[str] | None = None) -> Table:
    """Lay out precision, recall, F1 and number of images of each class, their means, and accuracy.

    Parameters
    ----------
    matrix : ndarray of int (classes, classes)
        From `confusion_matrix`.
    class_names : sequence of str, optional
        One name for each class; their numbers where left out.

    Returns
    -------
    str
        A table; ``print(classification_report(matrix))`` shows it.

    Raises
    ------
    TypeError, ValueError
        If it is no confusion matrix, or there are more or fewer names than classes.
    """
    _check_matrix("classification_report", matrix)
    names = check_class_names("classification_report", class_names, len(matrix))
    rows: list[tuple[str, ...]] = [("Class", "Precision", "Recall", "F1", "Images")]
    for name, *scores, support in zip(names, *precision_recall_f1(matrix), strict=True):
        rows.append((name, *(f"{score:.2%}" for score in scores), f"{support:,}"))
    total = f"{matrix.sum():,}"
    means = ("Mean of the classes", *(f"{mean:.2%}" for mean in macro_average(matrix)), total)
    right = ("Accuracy", "", f"{matrix.trace() / matrix.sum():.2%}", "", total)
    return lay_out(rows, "<>>>>", footer=[means, right])


def _ratio(part: IntArray, whole: IntArray) -> Scores:
    """Divide, with 0 wherever there is nothing to divide by."""
    found: Scores = np.zeros(part.shape)
    np.divide(part, whole, out=found, where=whole != 0)
    return found


def _check_answers(op: str, labels: IntArray, predicted: IntArray, classes: int) -> None:
    count = np.size(labels)
    check_labels(op, labels, count, classes)
    if not count:
        raise ValueError(f"{op}: labels is empty; give at least one")
    check_labels(op, predicted, count, classes, "predicted")


def _check_matrix(op: str, matrix: IntArray) -> None:
    if not isinstance(matrix, np.ndarray) or not np.issubdtype(matrix.dtype, np.integer):
        given = matrix.dtype if isinstance(matrix, np.ndarray) else type(matrix).__name__
        raise TypeError(
            f"{op}: matrix must be an integer array of counts, not {given}; "
            f"confusion_matrix(labels, predicted, classes) gives one"
        )
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{op}: matrix must be (classes, classes), not {matrix.shape}")
    if matrix.size == 0 or matrix.min() < 0 or matrix.max() == 0:
        raise ValueError(f"{op}: matrix must count at least one image, and none below 0")


class Calibration(NamedTuple):
    """How far confidence can be believed, bin by bin, and in one number.

    Of M bins, `counts` (M,) are the images in each, `confidence` (M,) and `accuracy` (M,) their
    mean confidence and their share of right answers (both NaN in an empty bin).
    `expected_calibration_error` (0 to 1) is the mean gap between the two.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    expected_calibration_error: float


def top_k_accuracy(labels: IntArray, probabilities: FloatArray, k: int) -> float:
    """Give the share of images whose true class is among the k likeliest.

    Of classes that are equally likely the one with the lower number goes first, as in
    ``model.predict``; so with k = 1 this is its accuracy.

    Parameters
    ----------
    labels : ndarray of int (N,)
        True classes.
    probabilities : ndarray of float (N, classes)
        Rows that sum to 1, such as ``model.predict_proba(images)``.
    k : int
        1 to the number of classes.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    TypeError, ValueError
        If labels and probabilities do not fit each other, or `k` is out of range.
    """
    _check_probabilities("top_k_accuracy", labels, probabilities)
    k = positive_int("top_k_accuracy", "k", k)
    classes = probabilities.shape[1]
    if k > classes:
        raise ValueError(f"top_k_accuracy: k must be at most {classes}, the classes, not {k}")
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)  # (N, 1)
    first = np.arange(classes) < labels[:, None]  # (N, classes)
    ahead = (probabilities > true) | ((probabilities == true) & first)
    return float((ahead.sum(axis=1) < k).mean())


def calibration(labels: IntArray, probabilities: FloatArray, bins: int = 15) -> Calibration:
    """Compare how sure the answers are with how many are right.

    The confidence of an answer is the greatest probability in its row. Bin m of M holds the answers
    with a confidence in ``((m - 1) / M, m / M]``; over the bins B_m, of N answers in all,
    ``ECE = Σ_m |B_m| / N · |accuracy(B_m) - confidence(B_m)|``.

    Parameters
    ----------
    labels : ndarray of int (N,)
        True classes.
    probabilities : ndarray of float (N, classes)
        Rows that sum to 1, such as ``model.predict_proba(images)``.
    bins : int
        M.

    Returns
    -------
    Calibration

    Raises
    ------
    TypeError, ValueError
        If labels and probabilities do not fit each other, or `bins` is no positive whole number.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks" (ICML
    2017), section 2, equation 3; 15 bins as in its section 5.
    """
    _check_probabilities("calibration", labels, probabilities)
    bins = positive_int("calibration", "bins", bins)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    upper_edges = np.arange(1, bins) / bins  # rounding may lift a confidence above 1, the last edge
    places = np.searchsorted(upper_edges, confidence, side="left")
    counts = np.bincount(places, minlength=bins)
    sums = np.bincount(places, confidence, bins)
    rights = np.bincount(places, right, bins)
    error = float(np.abs(rights - sums).sum() / len(labels))
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Calibration(counts, sums / counts, rights / counts, error)


def _check_probabilities(op: str, labels: IntArray, probabilities: FloatArray) -> None:
    check_array(op, "probabilities", probabilities, "N classes")
    check_labels(op, labels, *probabilities.shape)
    check_probability_rows(op, probabilities, probabilities.shape, "row")
