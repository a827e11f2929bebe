"""Softmax cross-entropy and one-hot labels: values, extremes, errors."""

import re

import numpy as np
import pytest

from minicnn import one_hot, ops, reference, softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.losses import loss_and_gradient

LABELS = np.array([2, 0, 4, 2])


def soft_rows(seed, N, K, dtype=np.float64):
    return np.random.default_rng(seed).dirichlet(np.ones(K), N).astype(dtype)


def close_for(dtype):
    """Return tolerances: a few roundings of ten terms near 1, log and exp."""
    return {"rtol": 16 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}


# ------------------------------------------------------------ agreement


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize("kind", ["labels", "one-hot rows", "soft rows"])
def test_loss_and_gradient_agree_with_the_reference(normals, dtype, kind, size):
    logits = normals(1, dtype)(4, 5) * dtype(size)
    targets = soft_rows(1, 4, 5, dtype) if kind == "soft rows" else one_hot(LABELS, 5)
    loss, cache = softmax_cross_entropy(logits, LABELS if kind == "labels" else targets)
    expected, reference_cache = reference.losses.softmax_cross_entropy(logits, targets)
    np.testing.assert_allclose(loss, expected, **close_for(dtype))
    for dloss in (1.0, -2.5):
        np.testing.assert_allclose(
            softmax_cross_entropy_backward(dloss, cache),
            reference.losses.softmax_cross_entropy_backward(dloss, reference_cache),
            **close_for(dtype),
        )


def test_softmax_agrees_with_the_reference(normals, dtype):
    draw = normals(2, dtype)
    logits, dy = draw(4, 5) * 5, draw(4, 5)
    y, cache = ops.softmax(logits)
    expected, reference_cache = reference.activations.softmax(logits)
    np.testing.assert_allclose(y, expected, **close_for(dtype))
    np.testing.assert_allclose(y.sum(axis=1), 1, **close_for(dtype))
    np.testing.assert_allclose(
        ops.softmax_backward(dy, cache),
        reference.activations.softmax_backward(dy, reference_cache),
        **close_for(dtype),
    )


@pytest.mark.parametrize("integer", [np.uint8, np.int32, np.int64])
def test_labels_equal_their_one_hot_rows(normals, dtype, integer):
    logits = normals(3, dtype)(4, 5)
    loss, cache = softmax_cross_entropy(logits, LABELS.astype(integer))
    row_loss, row_cache = softmax_cross_entropy(logits, one_hot(LABELS, 5))
    assert loss == row_loss
    np.testing.assert_array_equal(
        softmax_cross_entropy_backward(1.0, cache), softmax_cross_entropy_backward(1.0, row_cache)
    )


def test_the_gradient_of_a_row_sums_to_0(normals):
    # Adding a number to all logits of a row changes nothing. Rounding leaves 1e-16 or so.
    for labels in (LABELS, soft_rows(4, 4, 5)):
        _, cache = softmax_cross_entropy(normals(4, np.float64)(4, 5), labels)
        dlogits = softmax_cross_entropy_backward(1.0, cache)
        np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-15)
        assert np.abs(dlogits).min() > 1e-4


@pytest.mark.parametrize("kind", ["labels", "rows"])
def test_label_smoothing_equals_smoothed_rows(normals, dtype, kind):
    logits = normals(6, dtype)(4, 5)
    rows = one_hot(LABELS, 5).astype(dtype) if kind == "labels" else soft_rows(6, 4, 5, dtype)
    smooth = 0.7 * rows + 0.3 / 5
    given = LABELS if kind == "labels" else rows
    loss, cache = softmax_cross_entropy(logits, given, label_smoothing=0.3)
    expected, expected_cache = reference.losses.softmax_cross_entropy(logits, smooth)
    np.testing.assert_allclose(loss, expected, **close_for(dtype))
    np.testing.assert_allclose(
        softmax_cross_entropy_backward(1.0, cache),
        reference.losses.softmax_cross_entropy_backward(1.0, expected_cache),
        **close_for(dtype),
    )


# ------------------------------------------------------------ extremes


def test_logits_far_apart_in_each_row(dtype):
    logits = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0], [-1e4, -1e4, -1e4]], dtype)
    loss, cache = softmax_cross_entropy(logits, np.array([0, 0, 2]))
    # Row 1 is confident and right: 0. Row 2 is wrong by 2e4. Row 3 is uniform: ln 3.
    np.testing.assert_allclose(loss, (0 + 2e4 + np.log(3)) / 3, **close_for(dtype))
    dlogits = softmax_cross_entropy_backward(3.0, cache)
    expected = [[0, 0, 0], [-1, 1, 0], [1 / 3, 1 / 3, -2 / 3]]
    np.testing.assert_allclose(dlogits, expected, **close_for(dtype))


def test_a_shift_of_all_logits_changes_nothing():
    # Powers of two and small numbers: the shifted logits are exact in float32.
    logits = np.array([[1, 2, 3.5], [0, -1, 5]], np.float32)
    shifted = logits + np.array([[2.0**14], [-(2.0**14)]], np.float32)
    assert (
        softmax_cross_entropy(logits, LABELS[:2])[0]
        == softmax_cross_entropy(shifted, LABELS[:2])[0]
    )
    np.testing.assert_array_equal(ops.softmax(logits)[0], ops.softmax(shifted)[0])


@pytest.mark.parametrize("size", [200.0, 1e30])
def test_large_logits_do_not_overflow_float32(size):
    # e^200 is beyond float32; the difference of 1e30 is not.
    logits = np.array([[size, 0.0], [0.0, size]], np.float32)
    loss, cache = softmax_cross_entropy(logits, np.array([0, 0]))
    np.testing.assert_allclose(loss, size / 2, rtol=1e-6)
    assert softmax_cross_entropy_backward(2.0, cache).tolist() == [[0, 0], [-1, 1]]


def test_logits_further_apart_than_the_float32_range_cost_infinity():
    logits = np.array([[3e38, -3e38], [3e38, -3e38]], np.float32)
    assert ops.softmax(logits)[0].tolist() == [[1, 0], [1, 0]]
    loss, _ = softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == 0
    loss, _ = softmax_cross_entropy(logits, np.array([0, 1]))
    assert loss == np.inf


def test_a_logit_of_minus_infinity_excludes_a_class(dtype):
    logits = np.array([[0, -np.inf, 0]], dtype)
    loss, cache = softmax_cross_entropy(logits, np.array([2]))
    np.testing.assert_allclose(loss, np.log(2), **close_for(dtype))
    assert softmax_cross_entropy_backward(1.0, cache).tolist() == [[0.5, 0, -0.5]]
    assert reference.losses.softmax_cross_entropy(logits, one_hot(np.array([2]), 3))[
        0
    ] == pytest.approx(np.log(2))


def test_excluding_the_true_class_gives_an_infinite_loss(dtype):
    logits = np.array([[0, -np.inf, 0], [1, 2, 3]], dtype)
    loss, cache = softmax_cross_entropy(logits, np.array([1, 0]))
    assert loss == np.inf
    dlogits = softmax_cross_entropy_backward(2.0, cache)
    assert dlogits[0].tolist() == [0.5, -1, 0.5]
    expected, _ = reference.losses.softmax_cross_entropy(logits, one_hot(np.array([1, 0]), 3))
    assert expected == np.inf


def test_excluding_all_classes_gives_nan(dtype):
    logits, labels = np.full((1, 3), -np.inf, dtype), np.array([1])
    assert np.isnan(softmax_cross_entropy(logits, labels)[0])
    assert np.isnan(reference.losses.softmax_cross_entropy(logits, one_hot(labels, 3))[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_logit_affects_the_loss_and_its_row_only(dtype, value):
    logits = np.array([[1, 2, 3], [1, value, 3]], dtype)
    loss, cache = softmax_cross_entropy(logits, np.array([0, 0]))
    assert np.isnan(loss)
    dlogits = softmax_cross_entropy_backward(1.0, cache)
    assert np.isnan(dlogits).all(axis=1).tolist() == [False, True]


def test_an_excluded_class_costs_infinity_with_smoothing_only(dtype):
    logits = np.array([[0, -np.inf, 0]], dtype)
    for smoothing, expected in ((0.0, np.log(2)), (0.1, np.inf)):
        pair, _ = softmax_cross_entropy(logits, np.array([2]), label_smoothing=smoothing)
        (step, _, _), dlogits = loss_and_gradient(logits, np.array([2]), 1.0, smoothing)
        np.testing.assert_allclose([pair, step], expected, **close_for(dtype))
        assert np.isfinite(dlogits).all()


# ------------------------------------------------------------ microbatches


@pytest.mark.parametrize("rows", [False, True], ids=["labels", "rows"])
def test_weighted_microbatches_add_up_to_the_batch(normals, rows):
    logits = normals(5, np.float64)(7, 5)
    labels = soft_rows(5, 7, 5) if rows else np.array([0, 4, 1, 2, 2, 3, 0])
    loss, cache = softmax_cross_entropy(logits, labels)
    total, gradients = 0.0, []
    for part in (slice(0, 3), slice(3, 6), slice(6, 7)):
        weight = len(logits[part]) / len(logits)
        part_loss, part_cache = softmax_cross_entropy(logits[part], labels[part])
        total += weight * part_loss
        gradients.append(softmax_cross_entropy_backward(weight, part_cache))
    np.testing.assert_allclose(total, loss, **close_for(np.float64))
    np.testing.assert_allclose(
        np.concatenate(gradients),
        softmax_cross_entropy_backward(1.0, cache),
        **close_for(np.float64),
    )


# ------------------------------------------------------------ one-hot labels


def test_one_hot():
    y = one_hot(np.array([2, 0, 2], np.uint8), 4)
    assert y.dtype == np.float32
    assert y.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(y, reference.losses.one_hot(np.array([2, 0, 2]), 4), strict=True)
    assert one_hot(np.array([], int), 3).shape == (0, 3)


# ------------------------------------------------------------ errors

LOGITS = np.zeros((2, 3), np.float32)
LOSS = "softmax_cross_entropy: "
ROWS = f"{LOSS}each label row must be probabilities that sum to 1, but row 1 is "

NO_LABELS = {
    f"{LOSS}labels must be an integer array, not list": (LOGITS, [0, 1]),
    f"{LOSS}labels must be an integer array, not bool": (LOGITS, np.array([True, False])),
    f"{LOSS}labels must be an integer array, not complex128": (LOGITS, np.zeros(2, complex)),
    f"{LOSS}logits must be a NumPy array, not list": ([[0.0, 1.0]], np.array([0])),
    f"{LOSS}logits must be float32 or float64, not int64; "
    "cast it with logits.astype(np.float32), or images with model.preprocess(images)": (
        np.zeros((2, 3), int),
        np.array([0, 1]),
    ),
}

WRONG_LABELS = {
    f"{LOSS}labels must have shape (2,), one for each image, not (3,)": np.array([0, 1, 2]),
    f"{LOSS}labels must have shape (2,), one for each image, not (2, 1)": np.array([[0], [1]]),
    f"{LOSS}labels must have shape (2,), one for each image, not ()": np.array(1),
    f"{LOSS}labels must lie in 0..2, but labels[1] is 3": np.array([2, 3]),
    f"{LOSS}labels must lie in 0..2, but labels[0] is -1": np.array([-1, 7]),
    f"{LOSS}label rows must have shape (2, 3) like the logits, not (2,)": np.zeros(2),
    f"{LOSS}label rows must have shape (2, 3) like the logits, not (2, 4)": np.zeros((2, 4)),
    f"{LOSS}label rows must have shape (2, 3) like the logits, not (1, 3)": np.eye(1, 3),
    f"{ROWS}[0.5, 0.25, 0.0]": np.array([[1, 0, 0], [0.5, 0.25, 0]]),
    f"{ROWS}[1.0, 1.0, 0.0]": np.array([[1.0, 0, 0], [1, 1, 0]], np.float32),
    f"{ROWS}[1.5, -0.5, 0.0]": np.array([[1, 0, 0], [1.5, -0.5, 0]]),
    f"{ROWS}[nan, 1.0, 0.0]": np.array([[1, 0, 0], [np.nan, 1, 0]]),
    f"{ROWS}[inf, 0.0, 0.0]": np.array([[1, 0, 0], [np.inf, 0, 0]]),
    f"{ROWS}[inf, -inf, 1.0]": np.array([[1, 0, 0], [np.inf, -np.inf, 1]]),
}

ONE_HOT = {
    "one_hot: num_classes must be at least 1, not 0": (ValueError, np.array([0]), 0),
    "one_hot: num_classes must be a whole number, not 2.0": (TypeError, np.array([0]), 2.0),
    "one_hot: num_classes must be a whole number, not True": (TypeError, np.array([0]), True),
    "one_hot: labels must lie in 0..1, but labels[2] is 2": (ValueError, np.array([0, 1, 2]), 2),
    "one_hot: labels must lie in 0..1, but labels[0] is -1": (ValueError, np.array([-1]), 2),
    "one_hot: labels must be an integer array, not float64": (TypeError, np.array([1.0]), 2),
    "one_hot: labels must be an integer array, not list": (TypeError, [0, 1], 2),
    "one_hot: labels must have shape (2,), one for each image, not (1, 2)": (
        ValueError,
        np.array([[0, 1]]),
        2,
    ),
}


@pytest.mark.parametrize("message", NO_LABELS)
def test_arguments_of_the_wrong_type_are_rejected(message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        softmax_cross_entropy(*NO_LABELS[message])


@pytest.mark.parametrize("message", WRONG_LABELS)
def test_labels_that_do_not_fit_are_rejected(message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        softmax_cross_entropy(LOGITS, WRONG_LABELS[message])


@pytest.mark.parametrize("smoothing", [1.0, -0.1, np.nan])
def test_label_smoothing_out_of_range_is_rejected(smoothing):
    with pytest.raises(
        ValueError, match=rf"label_smoothing must be at least 0 and below 1.* not {smoothing}"
    ):
        softmax_cross_entropy(LOGITS, np.array([0, 1]), label_smoothing=smoothing)


def test_logits_that_do_not_fit_are_rejected():
    with pytest.raises(ValueError, match=r"logits must have 2 axes \(N, classes\), not 1"):
        softmax_cross_entropy(LOGITS[0], np.array([0]))
    with pytest.raises(ValueError, match=r"logits is empty \(shape \(0, 3\)\)"):
        softmax_cross_entropy(LOGITS[:0], np.array([], int))


@pytest.mark.parametrize("message", ONE_HOT)
def test_one_hot_rejects_wrong_arguments(message):
    error, labels, num_classes = ONE_HOT[message]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        one_hot(labels, num_classes)


@pytest.mark.parametrize("off", [5e-5, -5e-5])
def test_rows_may_be_off_by_rounding(off):
    rows = np.array([[0.5, 0.25 + off, 0.25], [0.25, 0.5, 0.25]])
    loss, cache = softmax_cross_entropy(LOGITS.astype(np.float64), rows)
    np.testing.assert_allclose(loss, np.log(3), atol=1e-4)
    # The gradient is still that of this very loss, which no shift of a row's logits changes.
    dlogits = softmax_cross_entropy_backward(1.0, cache)
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-15)
    rows[0, 2] += 3 * off
    with pytest.raises(ValueError, match="row 0"):
        softmax_cross_entropy(LOGITS, rows)


# ------------------------------------------------------------ loss_and_gradient


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.75])
def test_loss_and_gradient_equal_the_op_pair(normals, dtype, smoothing):
    logits = normals(4, dtype)(4, 5)
    expected, cache = softmax_cross_entropy(logits, LABELS, label_smoothing=smoothing)
    (total, correct, plain), dlogits = loss_and_gradient(logits, LABELS, 0.25, smoothing)
    np.testing.assert_allclose(total / 4, expected, **close_for(dtype))
    unsmoothed, _ = softmax_cross_entropy(logits, LABELS)
    np.testing.assert_allclose(plain / 4, unsmoothed, **close_for(dtype))
    assert correct == (logits.argmax(axis=1) == LABELS).sum()
    found = softmax_cross_entropy_backward(0.25, cache)
    np.testing.assert_allclose(dlogits, found, **close_for(dtype))
    assert dlogits.dtype == dtype


def test_the_first_of_equal_logits_is_the_argmax(dtype):
    logits = np.zeros((2, 3), dtype)
    (_, correct, _), _ = loss_and_gradient(logits, np.array([0, 1]), 1.0, 0.0)
    assert correct == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_logits_reach_the_loss_of_a_step(dtype, value):
    logits = np.zeros((2, 3), dtype)
    logits[1, 2] = value
    with np.errstate(invalid="ignore"):
        (loss, _, _), dlogits = loss_and_gradient(logits, np.array([0, 1]), 1.0, 0.0)
    assert np.isnan(loss)
    assert np.isnan(dlogits).all(axis=1).tolist() == [False, True]


def test_the_first_of_several_wrong_rows_is_named():
    """Check errors that name a row of labels, or a label, by its index."""
    logits, rows = np.zeros((4, 2), np.float32), np.full((4, 2), 0.5, np.float32)
    rows[1], rows[3] = 0.25, 0.75
    with pytest.raises(ValueError, match=r"but row 1 is \[0\.25, 0\.25\]"):
        softmax_cross_entropy(logits, rows)
    with pytest.raises(ValueError, match=r"but labels\[1\] is 5"):
        softmax_cross_entropy(logits, np.array([0, 5, 1, 9]))
