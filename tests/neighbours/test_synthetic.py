"""Digits drawn from strokes, to learn from."""

import numpy as np
import pytest

from minicnn import are_digits, load_mnist_sample, synthetic_digits


def test_drawn_digits_are_in_mnists_form_and_in_turn():
    images, labels = synthetic_digits(12, seed=3)
    assert images.shape == (12, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (images.reshape(12, -1).max(axis=1) == 255).all()
    for image in images:
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20


def test_the_same_seed_draws_the_same_and_more_only_adds():
    few, more, other = (
        synthetic_digits(3, seed=1)[0],
        synthetic_digits(5, seed=1)[0],
        synthetic_digits(3)[0],
    )
    assert (few == more[:3]).all()
    assert (few != other).any()


def test_drawn_digits_look_like_their_labels():
    assert are_digits(*synthetic_digits(30, seed=5))


def test_digits_are_told_from_other_things():
    sample = load_mnist_sample()
    assert are_digits(sample.test_images, sample.test_labels)
    assert not are_digits(sample.test_images, 9 - sample.test_labels)
    assert not are_digits(sample.test_images[:, 2:-2], sample.test_labels)
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    assert not are_digits(noise, np.arange(100) % 10)


def test_no_digits_are_drawn_where_none_are_asked_for():
    images, labels = synthetic_digits(0)
    assert images.shape == (0, 28, 28)
    assert labels.shape == (0,)


def test_a_count_below_zero_is_refused():
    with pytest.raises(ValueError, match="drawn_digits: count must be 0 or more, not -1"):
        synthetic_digits(-1)
