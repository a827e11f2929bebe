"""People's own pictures, brought into MNIST's form."""

import io

import numpy as np
import pytest
from PIL import Image

import minicnn
from minicnn import BlankImageError, ImageError, to_mnist
from minicnn.data.ink import connected_components


@pytest.fixture(scope="module")
def digits():
    return minicnn.load_mnist_sample().test_images[:40]


def on_canvas(digit, top, left, H=80, W=90):
    canvas = np.zeros((H, W), np.uint8)
    canvas[top : top + 28, left : left + 28] = digit
    return canvas


def is_in_mnists_form(image):
    ink = np.argwhere(image)
    middle = [(np.arange(28) * image.sum(axis=1 - axis)).sum() / image.sum() for axis in (0, 1)]
    return (
        image.dtype == np.uint8
        and image.shape == (28, 28)
        and image.max() == 255
        and all(13.5 <= m <= 14.5 for m in middle)
        and max(np.ptp(ink, axis=0) + 1) == 20
    )


def test_where_the_digit_lies_makes_no_difference(digits):
    for digit in digits:
        first = to_mnist(on_canvas(digit, 0, 0))
        assert is_in_mnists_form(first)
        assert np.array_equal(first, to_mnist(on_canvas(digit, 31, 52)))


def test_black_on_white_is_white_on_black(digits):
    for digit in digits:
        canvas = on_canvas(digit, 20, 40)
        assert np.array_equal(to_mnist(canvas), to_mnist(255 - canvas))


def test_blank_pictures_say_so():
    for level in (0, 90, 255):
        with pytest.raises(BlankImageError, match="nothing is drawn"):
            to_mnist(np.full((50, 40), level, np.uint8))


def test_a_file_that_is_no_picture_is_named(tmp_path):
    path = tmp_path / "digit.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"digit\.png is not a picture"):
        to_mnist(path)


def test_a_file_cut_short_is_named(tmp_path, digits):
    file = io.BytesIO()
    Image.fromarray(digits[0]).resize((200, 200)).save(file, "PNG")
    path = tmp_path / "digit.png"
    path.write_bytes(file.getvalue()[:-900])
    with pytest.raises(ImageError, match=r"digit\.png is damaged"):
        to_mnist(path)


def test_components_hang_together_by_corners_too():
    mask = np.array(
        [
            [1, 0, 1, 0, 0, 1],
            [0, 1, 0, 0, 0, 1],
            [0, 0, 0, 0, 1, 0],
            [1, 1, 0, 0, 0, 0],
        ],
        bool,
    )
    found = connected_components(mask)
    assert np.array_equal(
        found.labels,
        [[1, 0, 1, 0, 0, 2], [0, 1, 0, 0, 0, 2], [0, 0, 0, 0, 2, 0], [3, 3, 0, 0, 0, 0]],
    )
    assert found.boxes.tolist() == [[0, 0, 2, 3], [0, 4, 3, 6], [3, 0, 4, 2]]
    assert found.areas.tolist() == [3, 3, 2]
