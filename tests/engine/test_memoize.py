"""What follows from shapes alone is worked out once."""

import numpy as np
import pytest

from minicnn import ops
from minicnn.shapes import memoize
from minicnn.shapes.memoize import memoize_by_shape


@pytest.fixture
def asked():
    return []


@pytest.fixture
def plan(asked):
    @memoize_by_shape
    def plan(array, option):
        asked.append((array.shape, array.dtype, option))
        if option == "wrong":
            raise ValueError("wrong")
        return len(asked)

    return plan


def test_arrays_of_the_same_shape_and_dtype_are_alike(plan, asked):
    assert [plan(np.full((2, 3), number, np.float32), 1) for number in range(3)] == [1, 1, 1]
    assert len(asked) == 1


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
def test_whatever_differs_is_worked_out_anew(plan, other):
    assert plan(np.zeros((2, 3), np.float32), 1) == 1
    assert plan(*other) == 2


def test_an_error_is_raised_each_time(plan, asked):
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            plan(np.zeros(1), "wrong")
    assert len(asked) == 2


def test_what_cannot_be_looked_up_is_worked_out_each_time(plan):
    assert [plan(np.zeros(1), [1, 2]) for _ in range(2)] == [1, 2]


def test_no_more_than_so_many_are_kept(plan, monkeypatch):
    monkeypatch.setattr(memoize, "MAX_ENTRIES", 2)
    assert [plan(np.zeros(size), 1) for size in (1, 2, 2, 3, 3, 1)] == [1, 2, 2, 3, 3, 4]


def test_an_op_still_checks_what_it_has_let_pass_in_another_form():
    x, weight, bias = np.zeros((1, 4, 4, 1)), np.zeros((3, 3, 1, 2)), np.zeros(2)
    ops.conv2d_max_pool2d(x, weight, bias, 1)
    with pytest.raises(TypeError, match="stride must be a whole number"):
        ops.conv2d_max_pool2d(x, weight, bias, 1.0)
    with pytest.raises(TypeError, match="x must be a NumPy array, not list"):
        ops.conv2d_max_pool2d(x.tolist(), weight, bias, 1)
