"""Test metrics by hand and on arbitrary predictions."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minicnn import metrics

# Seven images of three classes; class 2 is never predicted.
LABELS = np.array([0, 0, 0, 0, 1, 1, 2], np.uint8)
PREDICTED = np.array([0, 0, 0, 1, 1, 0, 1])
MATRIX = np.array([[3, 1, 0], [1, 1, 0], [0, 1, 0]])

# Five predictions over four classes, in eighths, which float32 holds exactly.
TIES = np.array([0, 1, 3, 0, 3])
EIGHTHS = np.array(
    [[4, 2, 1, 1], [4, 4, 0, 0], [1, 6, 1, 0], [7, 1, 0, 0], [2, 2, 2, 2]], np.float32
)
PROBABILITIES = EIGHTHS / 8


@st.composite
def predictions(draw):
    """Draw labels and predictions of up to 40 images, and their classes."""
    classes = draw(st.integers(1, 6))
    count = draw(st.integers(1, 40))
    labels, predicted = (
        draw(arrays.arrays(np.int64, count, elements=st.integers(0, classes - 1))) for _ in "ab"
    )
    return labels, predicted, classes


@st.composite
def probability_rows(draw):
    """Draw labels of up to 30 images, and tied probabilities in sixteenths."""
    classes = draw(st.integers(1, 5))
    count = draw(st.integers(1, 30))
    labels = draw(arrays.arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    cuts = draw(arrays.arrays(np.int64, (count, classes - 1), elements=st.integers(0, 16)))
    edges = np.hstack([np.zeros((count, 1)), np.sort(cuts), np.full((count, 1), 16)])
    return labels, np.diff(edges).astype(np.float32) / 16


# ---------------------------------------------------------------- predicted classes


def test_scores_by_hand():
    assert metrics.accuracy(LABELS, PREDICTED) == 4 / 7
    matrix = metrics.confusion_matrix(LABELS, PREDICTED, 3)
    assert matrix.dtype == np.int64
    assert np.array_equal(matrix, MATRIX)
    assert np.array_equal(
        metrics.normalize_rows(MATRIX), [[3 / 4, 1 / 4, 0], [1 / 2, 1 / 2, 0], [0, 1, 0]]
    )
    scores = metrics.precision_recall_f1(MATRIX)
    assert np.array_equal(scores.precision, [3 / 4, 1 / 3, 0])  # class 2: never predicted
    assert np.array_equal(scores.recall, [3 / 4, 1 / 2, 0])
    assert np.array_equal(scores.f1, [6 / 8, 2 / 5, 0])
    assert np.array_equal(scores.support, [4, 2, 1])
    assert metrics.macro_average(MATRIX) == pytest.approx(
        ((3 / 4 + 1 / 3) / 3, (3 / 4 + 1 / 2) / 3, (3 / 4 + 2 / 5) / 3)
    )


def test_macro_average_leaves_out_a_class_without_images_and_predictions():
    matrix = np.zeros((5, 5), int)
    matrix[:3, :3] = MATRIX
    assert metrics.macro_average(matrix) == metrics.macro_average(MATRIX)
    assert not metrics.normalize_rows(matrix)[3:].any()
    # Predicted once without having images, a class counts with recall 0.
    matrix[0, 4] = 1
    assert metrics.precision_recall_f1(matrix).recall[4] == 0
    assert metrics.macro_average(matrix).recall == pytest.approx((3 / 5 + 1 / 2) / 4)


@given(predictions())
def test_scores_of_arbitrary_predictions_are_consistent(drawn):
    labels, predicted, classes = drawn
    matrix = metrics.confusion_matrix(labels, predicted, classes)
    assert matrix.sum() == len(labels)
    assert np.array_equal(matrix.T, metrics.confusion_matrix(predicted, labels, classes))
    precision, recall, f1, support = scores = metrics.precision_recall_f1(matrix)
    assert np.array_equal(support, np.bincount(labels, minlength=classes))
    assert np.array_equal(recall, metrics.normalize_rows(matrix).diagonal())
    assert np.array_equal(precision, metrics.precision_recall_f1(matrix.T).recall)
    # The mean recall weighted by the number of images is the accuracy.
    accuracy = metrics.accuracy(labels, predicted)
    assert (recall * support).sum() / len(labels) == pytest.approx(accuracy)
    both = precision + recall > 0
    harmonic = 2 * precision[both] * recall[both] / (precision + recall)[both]
    assert f1[both] == pytest.approx(harmonic)
    assert not f1[~both].any()
    assert all(((part >= 0) & (part <= 1)).all() for part in scores[:3])
    assert all(0 <= mean <= 1 for mean in metrics.macro_average(matrix))


def test_scores_of_correct_predictions_are_one():
    labels = np.arange(10)
    assert metrics.accuracy(labels, labels) == 1
    matrix = metrics.confusion_matrix(labels, labels, 10)
    assert np.array_equal(matrix, np.eye(10))
    assert metrics.macro_average(matrix) == (1, 1, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int8, np.int32, np.uint64])
def test_scores_do_not_depend_on_the_integer_type(dtype):
    matrix = np.array([[120, 1], [1, 120]])
    scores = metrics.precision_recall_f1(matrix.astype(dtype))
    for found, expected in zip(scores, metrics.precision_recall_f1(matrix), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
    assert scores.f1.tolist() == [120 / 121] * 2
    assert metrics.macro_average(matrix.astype(dtype)) == metrics.macro_average(matrix)
    report = metrics.classification_report(matrix.astype(dtype))
    assert report == metrics.classification_report(matrix)


def test_classification_report_is_a_table():
    assert repr(metrics.classification_report(MATRIX, ["T-shirt/top", "Bag", "Hat"])) == (
        "Class                Precision  Recall      F1  Images\n"
        "------------------------------------------------------\n"
        "T-shirt/top             75.00%  75.00%  75.00%       4\n"
        "Bag                     33.33%  50.00%  40.00%       2\n"
        "Hat                      0.00%   0.00%   0.00%       1\n"
        "------------------------------------------------------\n"
        "Mean of the classes     36.11%  41.67%  38.33%       7\n"
        "Accuracy                        57.14%               7"
    )
    large = metrics.classification_report(MATRIX * 1000).splitlines()
    assert large[2].split() == ["0", "75.00%", "75.00%", "75.00%", "4,000"]


# ---------------------------------------------------------------- probabilities


def test_top_k_accuracy_by_hand():
    # Ranks of the true class: 1; 2 (a tie that class 0 leads); 4; 1; 4 (four tied).
    accuracies = [metrics.top_k_accuracy(TIES, PROBABILITIES, k) for k in (1, 2, 3, 4)]
    assert accuracies == [2 / 5, 3 / 5, 3 / 5, 1]


@given(probability_rows())
def test_top_k_accuracy_grows_from_the_accuracy_to_one(drawn):
    labels, probabilities = drawn
    classes = probabilities.shape[1]
    accuracies = [metrics.top_k_accuracy(labels, probabilities, k) for k in range(1, classes + 1)]
    assert accuracies[0] == metrics.accuracy(labels, probabilities.argmax(axis=1))
    assert accuracies == sorted(accuracies)
    assert accuracies[-1] == 1


def test_calibration_by_hand():
    # Confidence 1/2 correct, 1/2 wrong, 3/4 wrong, 7/8 correct, 1/4 wrong. Bins (0, 1/4],
    # (1/4, 1/2], (1/2, 3/4], (3/4, 1]: an edge belongs to the bin below it.
    counts, confidence, accuracy, error = metrics.calibration(TIES, PROBABILITIES, bins=4)
    assert np.array_equal(counts, [1, 2, 1, 1])
    assert np.array_equal(confidence, [1 / 4, 1 / 2, 3 / 4, 7 / 8])
    assert np.array_equal(accuracy, [0, 1 / 2, 0, 1])
    assert error == pytest.approx((1 / 4 + 2 * 0 + 3 / 4 + 1 / 8) / 5)


def test_calibration_of_empty_bins_and_of_confidence_one():
    labels = np.array([0, 1])
    sure = np.eye(2, dtype=np.float32) * (1 + np.float32(2**-23))  # a rounding error above 1
    counts, confidence, accuracy, error = metrics.calibration(labels, sure, bins=3)
    assert np.array_equal(counts, [0, 0, 2])
    assert np.isnan(confidence[:2]).all()
    assert np.isnan(accuracy[:2]).all()
    assert accuracy[2] == 1
    assert error < 1e-6


@given(probability_rows(), st.integers(1, 20))
def test_calibration_of_arbitrary_predictions_is_consistent(drawn, bins):
    labels, probabilities = drawn
    counts, confidence, accuracy, error = metrics.calibration(labels, probabilities, bins)
    assert counts.sum() == len(labels)
    full = counts > 0
    # The mean confidence of a bin lies within its edges; 2**-30 for the rounding of a sum.
    upper = np.arange(1, bins + 1)[full] / bins
    assert (confidence[full] <= upper + 2**-30).all()
    assert (confidence[full] >= upper - 1 / bins - 2**-30).all()
    shares = counts[full] / len(labels)
    right = (probabilities.argmax(axis=1) == labels).mean()
    assert (shares * accuracy[full]).sum() == pytest.approx(right)
    assert error == pytest.approx((shares * abs(accuracy[full] - confidence[full])).sum())
    # One bin gives the gap of the means, and more bins never hide more of it.
    one = metrics.calibration(labels, probabilities, 1).expected_calibration_error
    assert one == pytest.approx(abs(right - probabilities.max(axis=1).mean(dtype=np.float64)))
    assert error >= one - 1e-12


# ---------------------------------------------------------------- wrong arguments

THREE = np.array([0, 1, 2])
ROWS = np.eye(3)
WRONG = {
    "accuracy: labels must be an integer array, not list": (metrics.accuracy, [0, 1], THREE),
    "accuracy: labels must be an integer array, not float64": (metrics.accuracy, THREE / 2, THREE),
    "accuracy: predicted must be an integer array, not bool": (metrics.accuracy, THREE, THREE > 1),
    "accuracy: predicted must have shape (3,), one for each image, not (2,)": (
        metrics.accuracy,
        THREE,
        THREE[:2],
    ),
    "accuracy: labels must have shape (9,), one for each image, not (3, 3)": (
        metrics.accuracy,
        np.eye(3, dtype=int),
        THREE,
    ),
    "accuracy: labels is empty; give at least one": (metrics.accuracy, THREE[:0], THREE[:0]),
    "confusion_matrix: labels must lie in 0..1, but labels[2] is 2": (
        metrics.confusion_matrix,
        THREE,
        THREE,
        2,
    ),
    "confusion_matrix: predicted must lie in 0..2, but predicted[0] is -1": (
        metrics.confusion_matrix,
        THREE,
        THREE - 1,
        3,
    ),
    "confusion_matrix: num_classes must be at least 1, not 0": (
        metrics.confusion_matrix,
        THREE,
        THREE,
        0,
    ),
    "confusion_matrix: num_classes must be a whole number, not 2.5": (
        metrics.confusion_matrix,
        THREE,
        THREE,
        2.5,
    ),
    "normalize_rows: matrix must be an integer array of counts, not float64": (
        metrics.normalize_rows,
        ROWS,
    ),
    "precision_recall_f1: matrix must be an integer array of counts, not list": (
        metrics.precision_recall_f1,
        [[1]],
    ),
    "macro_average: matrix must be (classes, classes), not (3,)": (metrics.macro_average, THREE),
    "normalize_rows: matrix must be (classes, classes), not (2, 3)": (
        metrics.normalize_rows,
        MATRIX[:2],
    ),
    "normalize_rows: matrix must count at least one image, and none below 0": (
        metrics.normalize_rows,
        -MATRIX,
    ),
    "macro_average: matrix must count at least one image, and none": (
        metrics.macro_average,
        MATRIX * 0,
    ),
    "precision_recall_f1: matrix must count at least one image": (
        metrics.precision_recall_f1,
        MATRIX[:0, :0],
    ),
    "classification_report: class_names must be 3, one for each class, not 2": (
        metrics.classification_report,
        MATRIX,
        ["a", "b"],
    ),
    "classification_report: class_names must be texts, but one is 1": (
        metrics.classification_report,
        MATRIX,
        ["a", 1, "b"],
    ),
    "top_k_accuracy: k must be at most 3, the classes, not 4": (
        metrics.top_k_accuracy,
        THREE,
        ROWS,
        4,
    ),
    "top_k_accuracy: k must be at least 1, not 0": (metrics.top_k_accuracy, THREE, ROWS, 0),
    "top_k_accuracy: labels must have shape (3,), one for each image, not (2,)": (
        metrics.top_k_accuracy,
        THREE[:2],
        ROWS,
        1,
    ),
    "calibration: probabilities must have 2 axes (N, classes), not 1": (
        metrics.calibration,
        THREE,
        ROWS[0],
    ),
    "calibration: probabilities must be float32 or float64, not int64": (
        metrics.calibration,
        THREE,
        MATRIX,
    ),
    "calibration: probabilities is empty": (metrics.calibration, THREE[:0], ROWS[:0]),
    "calibration: each row must be probabilities that sum to 1, but row 0 is [0.5, 0.0, 0.0]": (
        metrics.calibration,
        THREE,
        ROWS / 2,
    ),
    "calibration: each row must be probabilities that sum to 1, but row 0 is [nan, nan, nan]": (
        metrics.calibration,
        THREE,
        ROWS * np.nan,
    ),
    "calibration: labels must lie in 0..2, but labels[2] is 3": (
        metrics.calibration,
        THREE + 1,
        ROWS,
    ),
    "calibration: bins must be at least 1, not 0": (metrics.calibration, THREE, ROWS, 0),
}


@pytest.mark.parametrize("message", WRONG)
def test_metrics_reject_wrong_arguments(message):
    function, *arguments = WRONG[message]
    of_type = any(word in message for word in ("an integer array", "float32", "texts", "whole"))
    with pytest.raises(TypeError if of_type else ValueError, match=re.escape(message)):
        function(*arguments)
