"""The stand-in drawings of `benchmarks/own_digits.py`."""

import numpy as np
import pytest
from own_digits import as_in_tutorials, middle_lines, placed, thin
from own_media import MEDIA

import minicnn
from minicnn.recognizer.segmentation import connected_components
from minicnn.recognizer.synthetic import Hand, digit_strokes, draw

THREE = digit_strokes(3, np.random.default_rng(0), form="flat", hand=Hand())


@pytest.mark.parametrize("name", MEDIA)
def test_a_digit_is_found_on_every_medium(name):
    file = MEDIA[name](THREE, np.random.default_rng(1))
    assert file == MEDIA[name](THREE, np.random.default_rng(1))
    found = minicnn.to_mnist_format(file).astype(int)
    plain = minicnn.to_mnist_format(draw(THREE, (100, 100), height=70, pen=9)).astype(int)
    assert np.abs(found - plain).mean() < np.abs(found - plain[::-1]).mean()
    assert np.corrcoef(found.ravel(), plain.ravel())[0, 1] > 0.5


def test_thinning_keeps_what_hangs_together():
    for image in minicnn.load_mnist_sample().test_images[:10]:
        mask = np.repeat(np.repeat(image > 100, 3, axis=0), 3, axis=1)
        lines = thin(mask)
        assert (lines <= mask).all()
        assert 0 < lines.sum() < mask.sum() / 3  # strokes are six pixels wide and more
        assert len(connected_components(lines).areas) == len(connected_components(mask).areas)


def test_middle_lines_draw_the_same_digit():
    images = minicnn.load_mnist_sample().test_images[:10]  # 0 to 9
    again = [
        minicnn.to_mnist_format(draw(middle_lines(image), (60, 60), height=40, pen=5))
        for image in images
    ]
    likeness = np.corrcoef([image.ravel() for image in [*images, *again]])[:10, 10:]
    assert (likeness.argmax(axis=0) == np.arange(10)).all()


def test_a_placed_digit_is_found_again():
    for number, image in enumerate(minicnn.load_mnist_sample().test_images[:5]):
        found = minicnn.to_mnist_format(placed(image, np.random.default_rng(number)))
        assert np.corrcoef(found.ravel(), image.ravel())[0, 1] > 0.8


def test_tutorials_invert_and_scale():
    file = MEDIA["paint 28×28, pen of 2"](THREE, np.random.default_rng(1))
    assert set(np.unique(as_in_tutorials(file))) == {0, 255}
