"""Compute classification metrics and calibration."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import (
    check_array,
    check_class_names,
    check_labels,
    check_probability_rows,
    positive_int,
)
from minicnn.table import Table, lay_out

Scores = NDArray[np.float64]
Counts = NDArray[np.int64]


class ClassScores(NamedTuple):
    """Scores of each class: four arrays ``(classes,)``.

    `precision`, `recall` and `f1` lie in 0 to 1; `support` is the number of images of the class.
    """

    precision: Scores
    recall: Scores
    f1: Scores
    support: Counts


class MacroAverage(NamedTuple):
    """Unweighted means over the classes, each in 0 to 1."""

    precision: float
    recall: float
    f1: float


def accuracy(labels: IntArray, predicted: IntArray) -> float:
    """Compute the share of correct predictions.

    ``accuracy = Σ_n [predicted_n = label_n] / N``

    Parameters
    ----------
    labels : ndarray of int (N,)
        True classes.
    predicted : ndarray of int (N,)
        Predicted classes, such as ``model.predict(images)``.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    TypeError
        If an argument is not an integer array.
    ValueError
        If the arrays are empty, differ in length, or hold a negative class.
    """
    _check_predictions("accuracy", labels, predicted, np.iinfo(np.int64).max)
    return float((labels == predicted).mean())


def confusion_matrix(labels: IntArray, predicted: IntArray, num_classes: int) -> Counts:
    """Count the images of each pair of true and predicted class.

    ``matrix[i, j] = Σ_n [label_n = i][predicted_n = j]``

    Parameters
    ----------
    labels : ndarray of int (N,)
        True classes, in ``0 .. num_classes - 1``.
    predicted : ndarray of int (N,)
        Predicted classes, in the same range.
    num_classes : int

    Returns
    -------
    ndarray of int64 (classes, classes)
        A row for each true class, a column for each predicted one. The diagonal is correct.

    Raises
    ------
    TypeError
        If an array or `num_classes` is not of integers.
    ValueError
        If the arrays are empty, differ in length, or hold a class out of range.
    """
    num_classes = positive_int("confusion_matrix", "num_classes", num_classes)
    _check_predictions("confusion_matrix", labels, predicted, num_classes)
    cells = labels.astype(np.int64) * num_classes + predicted.astype(np.int64)
    counts = np.bincount(cells, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)


def normalize_rows(matrix: IntArray) -> Scores:
    """Divide each row of a confusion matrix by its sum.

    ``share[i, j] = matrix[i, j] / Σ_k matrix[i, k]``

    Parameters
    ----------
    matrix : ndarray of int (classes, classes)
        From `confusion_matrix`.

    Returns
    -------
    ndarray of float64 (classes, classes)
        The share of the images of class i that is predicted as class j. The diagonal is the recall.
        A row sums to 1, or to 0 if its class has no images.

    Raises
    ------
    TypeError, ValueError
        If it is not a confusion matrix.
    """
    matrix = _check_matrix("normalize_rows", matrix)
    return _ratio(matrix, matrix.sum(axis=1, keepdims=True))


def precision_recall_f1(matrix: IntArray) -> ClassScores:
    """Compute precision, recall and F1 of each class.

    TP counts the images of a class that are predicted as this class, FP the images of other classes
    that are predicted as it, and FN its images that are predicted as another class:
    ``precision = TP / (TP + FP)``, ``recall = TP / (TP + FN)``,
    ``F1 = 2 TP / (2 TP + FP + FN)``, the harmonic mean of both. A score with denominator 0 is 0:
    the precision of a class that is never predicted, the recall of a class without images.

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
        If it is not a confusion matrix.

    References
    ----------
    C. J. van Rijsbergen, "Information retrieval" (1979), chapter 7 (F with β = 1).
    """
    matrix = _check_matrix("precision_recall_f1", matrix)
    correct, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassScores(
        _ratio(correct, predicted),
        _ratio(correct, support),
        _ratio(2 * correct, support + predicted),
        support.astype(np.int64),
    )


def macro_average(matrix: IntArray) -> MacroAverage:
    """Average precision, recall and F1 over the classes.

    A class without images that is never predicted is left out.

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
        If it is not a confusion matrix.

    References
    ----------
    C. D. Manning, P. Raghavan, H. Schütze, "Introduction to information retrieval" (2008),
    section 13.6.
    """
    matrix = _check_matrix("macro_average", matrix)
    present = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    precision, recall, f1, _ = precision_recall_f1(matrix)
    return MacroAverage(*(float(scores[present].mean()) for scores in (precision, recall, f1)))


def classification_report(matrix: IntArray, class_names: Sequence[str] | None = None) -> Table:
    """Tabulate the scores of each class, their means, and the accuracy.

    Parameters
    ----------
    matrix : ndarray of int (classes, classes)
        From `confusion_matrix`.
    class_names : sequence of str, optional
        A name for each class; default: its index.

    Returns
    -------
    str
        ``print(classification_report(matrix))`` shows the table.

    Raises
    ------
    TypeError, ValueError
        If it is not a confusion matrix, or the number of names is not the number of classes.
    """
    matrix = _check_matrix("classification_report", matrix)
    names = check_class_names("classification_report", class_names, len(matrix))
    rows: list[tuple[str, ...]] = [("Class", "Precision", "Recall", "F1", "Images")]
    for name, *scores, support in zip(names, *precision_recall_f1(matrix), strict=True):
        rows.append((name, *(f"{score:.2%}" for score in scores), f"{support:,}"))
    total = f"{matrix.sum():,}"
    means = ("Mean of the classes", *(f"{mean:.2%}" for mean in macro_average(matrix)), total)
    correct = ("Accuracy", "", f"{matrix.trace() / matrix.sum():.2%}", "", total)
    return lay_out(rows, "<>>>>", footer=[means, correct])


def _ratio(numerator: IntArray, denominator: IntArray) -> Scores:
    """Divide, with 0 where the denominator is 0."""
    ratio: Scores = np.zeros(numerator.shape)
    np.divide(numerator, denominator, out=ratio, where=denominator != 0)
    return ratio


def _check_predictions(op: str, labels: IntArray, predicted: IntArray, num_classes: int) -> None:
    count = np.size(labels)
    check_labels(op, labels, count, num_classes)
    if not count:
        raise ValueError(f"{op}: labels is empty; give at least one")
    check_labels(op, predicted, count, num_classes, "predicted")


def _check_matrix(op: str, matrix: IntArray) -> Counts:
    """Return the counts as int64: sums of small integers would overflow."""
    if not isinstance(matrix, np.ndarray) or not np.issubdtype(matrix.dtype, np.integer):
        kind = matrix.dtype if isinstance(matrix, np.ndarray) else type(matrix).__name__
        raise TypeError(
            f"{op}: matrix must be an integer array of counts, not {kind}; "
            f"compute it by confusion_matrix(labels, predicted, num_classes)"
        )
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{op}: matrix must be (classes, classes), not {matrix.shape}")
    if matrix.size == 0 or matrix.min() < 0 or matrix.max() == 0:
        raise ValueError(f"{op}: matrix must count at least one image, and none below 0")
    return matrix.astype(np.int64, copy=False)


class Calibration(NamedTuple):
    """Confidence and accuracy of each of M confidence bins.

    `counts` (M,) are the images of each bin, `confidence` (M,) and `accuracy` (M,) their mean
    confidence and their share of correct predictions, both NaN in an empty bin.
    `expected_calibration_error` (0 to 1) is the mean gap between both, weighted by `counts`.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    expected_calibration_error: float


def top_k_accuracy(labels: IntArray, probabilities: Array, k: int) -> float:
    """Compute the share of images whose class is among the k most probable.

    Equal probabilities rank by class index, as in ``model.predict``; so k = 1 is its accuracy.

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
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)  # (N, 1)
    lower_index = np.arange(classes) < labels[:, None]  # (N, classes)
    ahead = (probabilities > own) | ((probabilities == own) & lower_index)
    return float((ahead.sum(axis=1) < k).mean())


def calibration(labels: IntArray, probabilities: Array, bins: int = 15) -> Calibration:
    """Compare confidence with accuracy, and compute the calibration error.

    The confidence of a prediction is the greatest probability of its row. Bin m of M holds the
    predictions with a confidence in ``((m - 1) / M, m / M]``. Over the bins B_m of N predictions,
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
        If labels and probabilities do not fit each other, or `bins` is not a positive integer.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks" (ICML
    2017), section 2, equation 3; 15 bins as in its section 5.
    """
    _check_probabilities("calibration", labels, probabilities)
    bins = positive_int("calibration", "bins", bins)
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    # Without the last edge, 1: rounding may lift a confidence above it.
    upper_edges = np.arange(1, bins) / bins
    bin_of = np.searchsorted(upper_edges, confidence, side="left")
    counts = np.bincount(bin_of, minlength=bins)
    confidence_sums = np.bincount(bin_of, confidence, bins)
    correct_counts = np.bincount(bin_of, correct, bins)
    error = float(np.abs(correct_counts - confidence_sums).sum() / len(labels))
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Calibration(counts, confidence_sums / counts, correct_counts / counts, error)


def _check_probabilities(op: str, labels: IntArray, probabilities: Array) -> None:
    check_array(op, "probabilities", probabilities, "N classes")
    check_labels(op, labels, *probabilities.shape)
    check_probability_rows(op, probabilities, probabilities.shape, "row")
