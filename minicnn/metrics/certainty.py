"""How sure the answers are, and how far that can be believed."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import shapes
from minicnn.shapes import FloatArray, IntArray


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
    k = shapes.positive_int("top_k_accuracy", "k", k)
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
    bins = shapes.positive_int("calibration", "bins", bins)
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


def _check_probabilities(where: str, labels: IntArray, probabilities: FloatArray) -> None:
    shapes.check_array(where, "probabilities", probabilities, "N classes")
    shapes.check_labels(where, labels, *probabilities.shape)
    shapes.check_probability_rows(where, probabilities, probabilities.shape, "row")
