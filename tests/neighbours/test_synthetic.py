"""Synthetic digits in MNIST's format."""

import hashlib

import numpy as np
import pytest

from minicnn import load_mnist_sample, synthetic_digits
from minicnn.recognizer.synthetic import GLYPHS, HandStyle, digit_strokes, render_strokes


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


# ------------------------------------------------------------ strokes and pen


POINTS = [
    "e9d1e2f8", "0e0bd392", "0855210b", "6cbe781e", "4ee33d33",
    "658cdfe0", "e3a2b644", "fefb0953", "0b6e5e00", "d2337da0",
]  # fmt: skip


@pytest.mark.parametrize(("digit", "expected"), list(enumerate(POINTS)))
def test_every_glyph_keeps_its_points(digit, expected):
    """Compare with recorded points, which decide what a recipe learns."""
    strokes = []
    for glyph in sorted(GLYPHS[digit]):
        strokes += digit_strokes(digit, np.random.default_rng(7), glyph=glyph)
    strokes += digit_strokes(digit, np.random.default_rng(8))
    points = np.concatenate(strokes).round(6) + 0.0  # without -0
    assert hashlib.sha256(points.tobytes()).hexdigest().startswith(expected)


def test_a_curve_is_the_parabola_of_its_points(monkeypatch):
    monkeypatch.setitem(GLYPHS[1], "parabola", [[[(0, 0), (10, 10), (20, 40), (30, 90)]]])
    (curve,) = digit_strokes(1, np.random.default_rng(0), glyph="parabola", hand=HandStyle())
    assert len(curve) == 3 * 12 + 1
    x, y = 0.9 * curve[12:25].T  # between the two inner points
    np.testing.assert_allclose(y, 10 * x**2, atol=1e-12)
    np.testing.assert_allclose(curve[[0, -1]], [[0, 0], [1 / 3, 1]], atol=1e-12)


@pytest.mark.parametrize(
    ("hand", "top"),
    [
        (HandStyle(slant=0.5, width=2), 0.5),  # to the right toward the top
        (HandStyle(turn=0.3), np.tan(0.3)),  # clockwise
    ],
)
def test_a_hand_slants_and_turns_a_1(hand, top):
    (curve,) = digit_strokes(1, np.random.default_rng(0), glyph="bar", hand=hand)
    np.testing.assert_allclose(curve[[0, -1]], [[top, 0], [0, 1]], atol=1e-12)


def test_the_pen_has_its_width_and_the_stroke_is_centered():
    line = [np.array([[0, 0.5], [1, 0.5]])]
    ink = render_strokes(line, (60, 60), height=40, pen=6)
    assert np.flatnonzero(ink[:, 30]).tolist() == [27, 28, 29, 30, 31, 32]
    assert np.flatnonzero(ink[30] > 128).tolist() == list(range(7, 53))


def test_pressure_widens_and_narrows_a_stroke():
    line = [np.stack([np.linspace(0, 1, 50), np.full(50, 0.5)], axis=1)]
    widths = (render_strokes(line, (60, 60), height=40, pen=6, pressure=0.5) / 255).sum(axis=0)
    x = np.arange(13, 47)  # away from the ends, from 10 on
    expected = 6 * (1 + 0.5 * np.sin(7 * (x - 9.5) / 40))
    np.testing.assert_allclose(widths[x], expected, atol=0.8)


def test_digits_have_the_mean_ink_of_their_pens():
    assert synthetic_digits(200, seed=2)[0].mean() == pytest.approx(34.66, abs=0.05)
