"""Synthetic digits in MNIST's format."""

import numpy as np
import pytest

from minicnn import load_mnist_sample, synthetic_digits
from minicnn.recognizer.synthetic import render_strokes


def test_synthetic_digits_have_mnist_format_and_cycling_labels():
    images, labels = synthetic_digits(12, seed=3)
    assert images.shape == (12, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (images.reshape(12, -1).max(axis=1) == 255).all()
    for image in images:
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20


def test_the_same_seed_gives_the_same_digits_and_a_larger_count_appends():
    few, more, other = (
        synthetic_digits(3, seed=1)[0],
        synthetic_digits(5, seed=1)[0],
        synthetic_digits(3)[0],
    )
    assert (few == more[:3]).all()
    assert (few != other).any()


def test_most_synthetic_digits_resemble_the_mean_mnist_digit_of_their_label():
    means = load_mnist_sample().train_images.reshape(-1, 10, 28 * 28).mean(axis=0)  # (10, 784)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    images, labels = synthetic_digits(30, seed=5)
    nearest = (images.reshape(30, -1) @ means.T).argmax(axis=1)
    assert (nearest == labels).mean() > 0.5


def test_a_count_of_0_gives_empty_arrays():
    images, labels = synthetic_digits(0)
    assert images.shape == (0, 28, 28)
    assert labels.shape == (0,)


def test_a_negative_count_is_an_error():
    with pytest.raises(ValueError, match="synthetic_digits: count must be 0 or more, not -1"):
        synthetic_digits(-1)


def test_a_disc_smaller_than_a_pixel_becomes_one_pixel():
    dot = [np.array([[0.25, 0.75]])]  # at x = 2.5, y = 6.5: the center of a pixel
    ink = render_strokes(dot, (9, 9), height=8, pen=1, origin=(0.5, 0.5), antialias=False)
    expected = np.zeros((9, 9), np.uint8)
    expected[6, 2] = 255
    np.testing.assert_array_equal(ink, expected)
