"""Several digits on one picture: found, joined, cut apart, in reading order."""

import os
from itertools import pairwise

import numpy as np
import pytest
from line_maker import make_line

from minicnn import (
    BlankImageError,
    DigitBox,
    ImageError,
    detect_digits,
    load_mnist_sample,
    to_mnist_format,
)
from minicnn.recognizer import detect
from minicnn.recognizer.grouping import upright, writing_height
from minicnn.recognizer.synthetic import Hand, digit_strokes, draw

PLAIN = Hand()
# Plain Python takes seconds for a line
COUNT = 3 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 20


def written(text, *, height=40, pen=4, gap=0.3, size=(300, 80), at=(20, 20), form=None, hand=PLAIN):
    """Dark ink on white; each digit begins `gap` heights behind the one before."""
    rng = np.random.default_rng(3)
    x, strokes = 0.0, []
    for sign in text:
        glyph = digit_strokes(int(sign), rng, form=form and form.get(sign), hand=hand)
        strokes += [stroke + np.array([x, 0]) for stroke in glyph]
        x = max(stroke[:, 0].max() for stroke in strokes) + gap
    return 255 - draw(strokes, size, height=height, pen=pen, origin=at)


def lefts(found):
    return [digit.box[0] for digit in found]


def test_a_line_is_read_from_left_to_right():
    found = detect_digits(written("31749"))
    assert all(isinstance(digit, DigitBox) for digit in found)
    assert len(found) == 5
    assert lefts(found) == sorted(lefts(found))
    assert {digit.line for digit in found} == {0}
    assert all(digit.image.shape == (28, 28) for digit in found)
    assert all(digit.image.dtype == np.uint8 for digit in found)


def test_each_digit_is_what_to_mnist_makes_of_its_own_picture():
    picture = written("306")
    for digit in detect_digits(picture):
        left, top, right, bottom = digit.box
        alone = np.full_like(picture, 255)
        alone[top:bottom, left:right] = picture[top:bottom, left:right]
        np.testing.assert_array_equal(digit.image, to_mnist_format(alone))


def test_one_digit_is_found_like_many_and_its_box_is_exact():
    picture = np.full((60, 50), 255, np.uint8)
    picture[10:40, 20:25] = 0
    (digit,) = detect_digits(picture)
    assert digit.box == (20, 10, 25, 40)
    np.testing.assert_array_equal(digit.image, to_mnist_format(picture))


def test_lines_come_from_top_to_bottom_even_if_they_climb():
    detect = np.full((220, 300), 255, np.uint8)
    for line, top in enumerate((20, 100)):
        for place in range(5):
            y, x = top + 40 - 8 * place, 20 + 50 * place
            detect[y : y + 30 + line, x : x + 6] = 0
    found = detect_digits(detect)
    assert [digit.line for digit in found] == [0] * 5 + [1] * 5
    assert lefts(found) == [20 + 50 * place for place in range(5)] * 2


def test_a_loose_bar_belongs_to_its_five():
    assert len(detect_digits(written("5", form={"5": "loose"}, pen=3))) == 1
    assert len(detect_digits(written("1535", form={"5": "loose"}, pen=3))) == 4


def test_high_pieces_are_joined_only_where_one_covers_the_other():
    picture = np.full((80, 200), 255, np.uint8)
    picture[20:60, 20:24] = picture[20:60, 60:64] = 0
    picture[20:60, 100:104] = picture[20:24, 100:130] = picture[56:60, 100:130] = 0  # a bracket
    assert len(detect_digits(picture)) == 3
    picture[28:54, 112:116] = 0  # in the bracket's arms
    assert len(detect_digits(picture)) == 3


def test_slant_does_not_join_neighbors():
    found = detect_digits(written("1111", gap=-0.4, form={"1": "bar"}, hand=Hand(slant=0.6)))
    assert len(found) == 4
    boxes = [digit.box for digit in found]
    assert all(a[2] > b[0] for a, b in pairwise(boxes))  # one box reaches over the next


def test_points_commas_dashes_and_dirt_are_left_out():
    picture = written("1250", gap=0.6)
    whole = len(detect_digits(picture))
    picture[56:62, 42:46] = 0  # a point on the base line
    picture[40:43, 70:80] = 0  # a dash
    picture[5:7, 200:202] = 0  # dirt
    assert whole == len(detect_digits(picture)) == 4


def test_digits_that_touch_are_cut_apart():
    found = detect_digits(written("3333", gap=0.05, form={"3": "round"}))
    assert len(found) == 4
    widths = [right - left for (left, _, right, _), *_ in found]
    assert max(widths) < 1.3 * min(widths)


@pytest.mark.parametrize("digit", "0248")
def test_a_wide_digit_is_not_cut(digit):
    assert len(detect_digits(written(digit, hand=Hand(width=1.9), pen=5))) == 1
    assert len(detect_digits(written("1" + digit, hand=Hand(width=1.7), pen=5))) == 2


def test_a_loop_is_not_cut_however_wide():
    assert len(detect_digits(written("0", form={"0": "round"}, hand=Hand(width=3.5)))) == 1


def test_boxes_are_in_pixels_of_a_picture_that_had_to_be_reduced(monkeypatch):
    picture = written("42", size=(301, 81))
    exact = [digit.box for digit in detect_digits(picture)]
    monkeypatch.setattr(detect, "LONGEST", 160)
    reduced = [digit.box for digit in detect_digits(picture)]
    assert np.abs(np.subtract(exact, reduced)).max() <= 2


def test_soft_edges_go_to_the_digit_that_they_lie_next_to():
    picture = np.full((60, 90), 255, np.uint8)
    for x in (20, 60):
        picture[10:50, x - 1 : x + 7] = 190  # fainter than the core of the ink
        picture[10:50, x : x + 6] = 0
    assert [digit.box for digit in detect_digits(picture)] == [(19, 10, 27, 50), (59, 10, 67, 50)]


def test_faint_ink_far_from_the_core_belongs_to_nobody():
    picture = np.full((60, 90), 255, np.uint8)
    picture[10:50, 20:60] = 190
    picture[10:50, 20:26] = 0
    ((left, top, right, bottom), *_), = detect_digits(picture)  # fmt: skip
    assert (left, top, bottom) == (20, 10, 50)
    assert 26 < right < 36


def test_a_blank_page_says_so():
    with pytest.raises(BlankImageError, match="nothing is drawn on this picture; draw digits"):
        detect_digits(np.full((40, 90), 250, np.uint8))


def test_too_many_pieces_are_refused():
    dots = np.full((300, 300), 255, np.uint8)
    dots[2:-2:6, 2:-2:6] = 0
    dots[3:-2:6, 2:-2:6] = 0
    with pytest.raises(ImageError, match=r"2500 pieces of ink .*up to 1000\); cut"):
        detect_digits(dots)


def test_what_is_no_picture_is_refused_as_by_to_mnist(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        detect_digits(tmp_path / "none.png")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"a\.png"):
        detect_digits(tmp_path / "a.png")


def test_many_dots_do_not_make_the_writing_small():
    boxes = np.array([[0, 0, 40, 20]] * 4 + [[0, 0, 4, 4]] * 50)
    assert writing_height(boxes) == 40


def test_upright_takes_the_slant_away():
    np.testing.assert_allclose(upright(np.array([[10.0, 0.0], [0.0, 3.0]]), 0.3), [[10, 3], [0, 3]])


def test_lines_of_mnist_digits_are_counted_right():
    data = load_mnist_sample()
    lines = [
        make_line(data.train_images, data.train_labels, np.random.default_rng([1, number]))
        for number in range(COUNT)
    ]
    right = sum(len(detect_digits(line.picture)) == len(line.digits) for line in lines)
    assert right >= COUNT - 1
