"""Drawings in many media, for `benchmarks/own_digits.py`."""

import numpy as np
import pytest
from digit_media import MEDIA
from own_digits import place_randomly, read_as_tutorial, skeleton_strokes, thin

import minicnn
from minicnn.recognizer.segmentation import label_regions
from minicnn.recognizer.synthetic import HandStyle, digit_strokes, render_strokes

THREE = digit_strokes(3, np.random.default_rng(0), glyph="flat", hand=HandStyle())


@pytest.mark.parametrize("name", MEDIA)
def test_a_digit_is_read_in_every_medium(name):
    file = MEDIA[name](THREE, np.random.default_rng(1))
    assert file == MEDIA[name](THREE, np.random.default_rng(1))
    result = minicnn.to_mnist_format(file).astype(int)
    plain = minicnn.to_mnist_format(render_strokes(THREE, (100, 100), height=70, pen=9)).astype(int)
    assert np.abs(result - plain).mean() < np.abs(result - plain[::-1]).mean()
    assert np.corrcoef(result.ravel(), plain.ravel())[0, 1] > 0.5


def test_thinning_keeps_the_number_of_regions():
    for image in minicnn.load_mnist_sample().test_images[:10]:
        mask = np.repeat(np.repeat(image > 100, 3, axis=0), 3, axis=1)
        lines = thin(mask)
        assert (lines <= mask).all()
        assert 0 < lines.sum() < mask.sum() / 3  # strokes are at least six pixels wide
        assert len(label_regions(lines).areas) == len(label_regions(mask).areas)


def test_skeletons_draw_the_same_digit():
    images = minicnn.load_mnist_sample().test_images[:10]  # 0 to 9
    redrawn = [
        minicnn.to_mnist_format(render_strokes(skeleton_strokes(image), (60, 60), height=40, pen=5))
        for image in images
    ]
    correlation = np.corrcoef([image.ravel() for image in [*images, *redrawn]])[:10, 10:]
    assert (correlation.argmax(axis=0) == np.arange(10)).all()


def test_a_randomly_placed_digit_is_read():
    for seed, image in enumerate(minicnn.load_mnist_sample().test_images[:5]):
        result = minicnn.to_mnist_format(place_randomly(image, np.random.default_rng(seed)))
        assert np.corrcoef(result.ravel(), image.ravel())[0, 1] > 0.8


def test_tutorial_code_inverts_and_resizes():
    file = MEDIA["paint 28×28, pen of 2"](THREE, np.random.default_rng(1))
    assert set(np.unique(read_as_tutorial(file))) == {0, 255}
