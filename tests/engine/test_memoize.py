"""memoize_by_shape: one call for arrays of equal shapes and dtypes."""

import numpy as np
import pytest

from minicnn import ops, shapes
from minicnn.shapes import memoize_by_shape


@pytest.fixture
def calls():
    return []


@pytest.fixture
def plan(calls):
    @memoize_by_shape
    def plan(array, option):
        calls.append((array.shape, array.dtype, option))
        if option == "wrong":
            raise ValueError("wrong")
        return len(calls)

    return plan


def test_arrays_of_equal_shape_and_dtype_share_one_call(plan, calls):
    assert [plan(np.full((2, 3), number, np.float32), 1) for number in range(3)] == [1, 1, 1]
    assert len(calls) == 1


@pytest.mark.parametrize(
    "other",
    [
        (np.zeros((3, 2), np.float32), 1),
        (np.zeros((2, 3), np.float64), 1),
        (np.zeros((2, 3), np.float32).view(np.recarray), 1),
        (np.zeros((2, 3), np.float32), 2),
        (np.zeros((2, 3), np.float32), True),
        (np.zeros((2, 3), np.float32), 1.0),
    ],
)
def test_another_shape_dtype_or_option_is_another_call(plan, other):
    assert plan(np.zeros((2, 3), np.float32), 1) == 1
    assert plan(*other) == 2


def test_an_error_is_raised_each_time(plan, calls):
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            plan(np.zeros(1), "wrong")
    assert len(calls) == 2


def test_an_unhashable_argument_is_not_memoized(plan):
    assert [plan(np.zeros(1), [1, 2]) for _ in range(2)] == [1, 2]


def test_the_number_of_entries_is_bounded(plan, monkeypatch):
    monkeypatch.setattr(shapes, "MAX_ENTRIES", 2)
    assert [plan(np.zeros(size), 1) for size in (1, 2, 2, 3, 3, 1)] == [1, 2, 2, 3, 3, 4]


def test_several_entries_are_kept(plan):
    assert [plan(np.zeros(size), 1) for size in (1, 2, 3, 1, 2, 3)] == [1, 2, 3, 1, 2, 3]


def test_an_op_checks_an_equal_argument_of_another_type():
    x, weight, bias = np.zeros((1, 4, 4, 1)), np.zeros((3, 3, 1, 2)), np.zeros(2)
    ops.conv2d_max_pool2d(x, weight, bias, 1)
    with pytest.raises(TypeError, match="stride must be a whole number"):
        ops.conv2d_max_pool2d(x, weight, bias, 1.0)
    with pytest.raises(TypeError, match="x must be a NumPy array, not list"):
        ops.conv2d_max_pool2d(x.tolist(), weight, bias, 1)
