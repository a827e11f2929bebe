"""Digits of a line or a page: grouping, splitting and reading order."""

from itertools import pairwise

import numpy as np
import pytest
from digit_line_maker import make_line
from scipy import ndimage

import minicnn
from minicnn import (
    BlankImageError,
    DigitBox,
    ImageError,
    detect_digits,
    load_mnist_sample,
    to_mnist_format,
)
from minicnn.recognizer import detect, grouping, load_image
from minicnn.recognizer.grouping import (
    SLANT_RANGE,
    Handwriting,
    deskew,
    estimate_height,
    estimate_slant,
    find_split,
    group_components,
)
from minicnn.recognizer.segmentation import label_regions
from minicnn.recognizer.synthetic import HandStyle, digit_strokes, render_strokes

PLAIN = HandStyle()


def write(text, *, height=40, pen=4, gap=0.3, size=(300, 80), at=(20, 20), glyphs=None, hand=PLAIN):
    """Write in dark ink on white, with digits `gap` heights apart."""
    rng = np.random.default_rng(3)
    x, strokes = 0.0, []
    for sign in text:
        digit = digit_strokes(int(sign), rng, glyph=glyphs and glyphs.get(sign), hand=hand)
        strokes += [stroke + np.array([x, 0]) for stroke in digit]
        x = max(stroke[:, 0].max() for stroke in strokes) + gap
    return 255 - render_strokes(strokes, size, height=height, pen=pen, origin=at)


def lefts(detected):
    return [digit.box[0] for digit in detected]


def test_a_line_is_read_from_left_to_right():
    detected = detect_digits(write("31749"))
    assert all(isinstance(digit, DigitBox) for digit in detected)
    assert len(detected) == 5
    assert lefts(detected) == sorted(lefts(detected))
    assert {digit.line for digit in detected} == {0}
    assert all(digit.image.shape == (28, 28) for digit in detected)
    assert all(digit.image.dtype == np.uint8 for digit in detected)


def test_each_image_equals_to_mnist_format_of_the_digit_alone():
    image = write("306")
    for digit in detect_digits(image):
        left, top, right, bottom = digit.box
        alone = np.full_like(image, 255)
        alone[top:bottom, left:right] = image[top:bottom, left:right]
        np.testing.assert_array_equal(digit.image, to_mnist_format(alone))


def test_the_box_of_a_single_digit_is_exact():
    image = np.full((60, 50), 255, np.uint8)
    image[10:40, 20:25] = 0
    (digit,) = detect_digits(image)
    assert digit.box == (20, 10, 25, 40)
    np.testing.assert_array_equal(digit.image, to_mnist_format(image))


def test_climbing_lines_are_ordered_from_top_to_bottom():
    image = np.full((220, 300), 255, np.uint8)
    for line, top in enumerate((20, 100)):
        for column in range(5):
            y, x = top + 40 - 8 * column, 20 + 50 * column
            image[y : y + 30 + line, x : x + 6] = 0
    detected = detect_digits(image)
    assert [digit.line for digit in detected] == [0] * 5 + [1] * 5
    assert lefts(detected) == [20 + 50 * column for column in range(5)] * 2


@pytest.mark.parametrize(("slant", "order"), [(0.5, [1, 0]), (1.0, [0, 1])])
def test_slanted_digits_are_ordered_by_their_deskewed_centers(slant, order):
    boxes = np.array([[0, 10, 20, 20], [6, 6, 26, 16]])  # centers (y, x): (10, 15) and (16, 11)
    assert detect.text_lines(boxes, Handwriting(20, slant)) == [order]


def test_a_loose_bar_belongs_to_its_five():
    assert len(detect_digits(write("5", glyphs={"5": "loose"}, pen=3))) == 1
    assert len(detect_digits(write("1535", glyphs={"5": "loose"}, pen=3))) == 4


@pytest.mark.parametrize("width", [1, 2])
def test_a_broken_thin_stroke_is_one_digit(width):
    image = np.full((120, 160), 255, np.uint8)
    image[20:60, 40 : 40 + width] = image[20:60, 80 : 80 + width] = 0
    image[46:48, 80 : 80 + width] = 255  # the break
    boxes = [digit.box for digit in detect_digits(image)]
    assert boxes == [(40, 20, 40 + width, 60), (80, 20, 80 + width, 60)]


def test_a_seven_of_two_thin_strokes_is_one_digit():
    image = np.full((110, 110), 255, np.uint8)
    image[20, 30:62] = image[23:85, 61] = 0
    (digit,) = detect_digits(image)
    assert digit.box == (30, 20, 62, 85)


def test_high_components_are_merged_only_if_they_overlap():
    image = np.full((80, 200), 255, np.uint8)
    image[20:60, 20:24] = image[20:60, 60:64] = 0
    image[20:60, 100:104] = image[20:24, 100:130] = image[56:60, 100:130] = 0  # a bracket
    assert len(detect_digits(image)) == 3
    image[28:54, 112:116] = 0  # between the arms of the bracket
    assert len(detect_digits(image)) == 3


def test_slanted_neighbors_are_not_merged():
    detected = detect_digits(
        write("1111", gap=-0.4, glyphs={"1": "bar"}, hand=HandStyle(slant=0.6))
    )
    assert len(detected) == 4
    boxes = [digit.box for digit in detected]
    assert all(a[2] > b[0] for a, b in pairwise(boxes))  # the boxes overlap


def test_points_commas_dashes_and_dirt_are_dropped():
    image = write("1250", gap=0.6)
    count = len(detect_digits(image))
    image[56:62, 42:46] = 0  # a point on the base line
    image[40:43, 70:80] = 0  # a dash
    image[5:7, 200:202] = 0  # dirt
    assert count == len(detect_digits(image)) == 4


def test_a_speck_beside_a_digit_is_no_part_of_it():
    mask = np.zeros((80, 140), bool)
    mask[20:60, 100:106] = True
    mask[30:34, 108:112] = True  # a tenth of the height
    regions, handwriting = group_components(label_regions(mask))
    assert handwriting.height == 40
    assert regions.boxes.tolist() == [[20, 100, 60, 106]]


def test_touching_digits_are_split():
    detected = detect_digits(write("3333", gap=0.05, glyphs={"3": "round"}))
    assert len(detected) == 4
    widths = [right - left for (left, _, right, _), *_ in detected]
    assert max(widths) < 1.3 * min(widths)


@pytest.mark.parametrize("digit", "0248")
def test_a_wide_digit_is_not_split(digit):
    assert len(detect_digits(write(digit, hand=HandStyle(width=1.9), pen=5))) == 1
    assert len(detect_digits(write("1" + digit, hand=HandStyle(width=1.7), pen=5))) == 2


def test_a_wide_loop_is_not_split():
    assert len(detect_digits(write("0", glyphs={"0": "round"}, hand=HandStyle(width=3.5)))) == 1


def test_boxes_of_a_reduced_image_are_in_its_original_pixels(monkeypatch):
    image = write("42", size=(301, 81))
    exact = [digit.box for digit in detect_digits(image)]
    monkeypatch.setattr(load_image, "KEPT_SIDE", 160)
    reduced = [digit.box for digit in detect_digits(image)]
    assert np.abs(np.subtract(exact, reduced)).max() <= 2


def test_soft_edges_are_assigned_to_the_adjacent_digit():
    image = np.full((60, 90), 255, np.uint8)
    for x in (20, 60):
        image[10:50, x - 1 : x + 7] = 190  # fainter than the core of the ink
        image[10:50, x : x + 6] = 0
    assert [digit.box for digit in detect_digits(image)] == [(19, 10, 27, 50), (59, 10, 67, 50)]


def test_faint_ink_far_from_a_core_is_dropped():
    image = np.full((60, 90), 255, np.uint8)
    image[10:50, 20:60] = 190
    image[10:50, 20:26] = 0
    ((left, top, right, bottom), *_), = detect_digits(image)  # fmt: skip
    assert (left, top, bottom) == (20, 10, 50)
    assert 26 < right < 36


def test_a_blank_page_is_an_error():
    with pytest.raises(BlankImageError, match="the image is blank; draw digits with more"):
        detect_digits(np.full((40, 90), 250, np.uint8))


def test_too_many_components_are_an_error():
    dots = np.full((300, 300), 255, np.uint8)
    dots[2:-2:6, 2:-2:6] = 0
    dots[3:-2:6, 2:-2:6] = 0
    with pytest.raises(ImageError, match=r"2500 separate strokes.*at most 600; crop the image"):
        detect_digits(dots)


def test_strokes_that_are_all_too_low_for_a_digit_are_an_error():
    lines = np.full((200, 300), 255, np.uint8)
    lines[20:180:4, 20:280] = 0
    with pytest.raises(BlankImageError, match="no stroke is high enough for a digit; crop to the"):
        detect_digits(lines)


# ---------------------------------------------------------------- bounds of the cost


def count_calls(monkeypatch, module, name):
    calls, function = [], getattr(module, name)

    def counted(*args, **options):
        calls.append(args)
        return function(*args, **options)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_distances_of_strokes_that_cannot_be_one_digit_are_not_measured(monkeypatch):
    calls = count_calls(monkeypatch, grouping, "least_distance")
    strokes = np.zeros((340, 840), bool)
    strokes[20:-20, 20:-20:4] = True  # 200, each within 0.3 heights of 44 others
    assert len(group_components(label_regions(strokes))[0].areas) == 200
    assert not calls
    strokes[20:80, 22] = True  # a fragment, which may belong to any of its neighbors
    assert len(group_components(label_regions(strokes))[0].areas) == 200
    assert 0 < len(calls) < 100


def test_each_distance_is_measured_once(monkeypatch):
    calls = count_calls(monkeypatch, grouping, "least_distance")
    assert len(detect_digits(write("1535", glyphs={"5": "loose"}, pen=3))) == 4
    pairs = {tuple(sorted(map(id, pair))) for pair in calls}
    assert len(pairs) == len(calls) > 0


def test_the_outline_has_both_ends_of_each_row_and_column():
    mask = np.zeros((9, 12), bool)
    mask[2:8, 5] = mask[4, 3:10] = True  # a cross
    pixels = np.argwhere(mask)
    rows, columns = (
        [pixels[pixels[:, axis] == place] for place in np.unique(pixels[:, axis])]
        for axis in (0, 1)
    )
    expected = [tuple(line[end]) for line in rows + columns for end in (0, -1)]
    found = grouping.outline(label_regions(mask), 0, height=1.0)
    assert sorted(map(tuple, found)) == sorted(expected)


def test_the_outline_of_a_wide_stroke_has_few_points():
    regions = label_regions(np.ones((10, 3000), bool))
    assert len(grouping.outline(regions, 0, height=10.0)) < 4 * 4 * grouping.OUTLINE_POINTS + 8


def test_one_pass_finds_all_seams_of_a_wide_region(monkeypatch):
    calls = count_calls(monkeypatch, grouping, "backtrack")
    block = np.full((200, 900), 255, np.uint8)
    block[50:150, 50:850] = 0
    assert len(detect_digits(block)) == 1
    assert len(calls) == 1


def test_soft_edges_are_grown_from_new_pixels_only(monkeypatch):
    rng = np.random.default_rng(0)
    mask = rng.random((90, 120)) < 0.6
    cores = label_regions(mask & (rng.random(mask.shape) < 0.02))
    handwriting = grouping.Handwriting(60.0, 0.0)
    reached = count_calls(monkeypatch, np, "unique")
    grown = detect.grow_into_soft_edges(cores, mask, handwriting)
    assert 0 < sum(pixels.size for (pixels,) in reached) <= 8 * mask.sum()
    expected = cores.labels
    for _ in range(1 + round(detect.EDGE_WIDTH * handwriting.height)):
        nearest = ndimage.grey_dilation(expected, size=(3, 3))
        expected = np.where(mask & (expected == 0), nearest, expected)
    np.testing.assert_array_equal(grown.labels, expected)


def test_nested_strokes_are_an_error():
    squares = np.full((1204, 1204), 255, np.uint8)
    for i in range(2, 600, 4):
        squares[i:-i, i:-i] = 0
        squares[i + 2 : -i - 2, i + 2 : -i - 2] = 255
    with pytest.raises(ImageError, match=r"\(1204, 1204\).*pixels in boxes of strokes, but a page"):
        detect_digits(squares)


@pytest.mark.parametrize(
    ("limit", "value", "match"),
    [
        ("MAX_COMPONENTS", 3, "has 4 digits, but a page of digits has at most 3; crop"),
        ("MAX_BOX_PIXELS", 9000, r"\d+ pixels in boxes of touching strokes, but .* at most 9000"),
    ],
)
def test_too_many_touching_digits_are_an_error(monkeypatch, limit, value, match):
    image = write("3333", gap=0.05, glyphs={"3": "round"})
    monkeypatch.setattr(grouping, limit, value)
    with pytest.raises(ImageError, match=match):
        detect_digits(image)


def test_too_many_pairs_of_points_are_an_error(monkeypatch):
    image = write("1535", glyphs={"5": "loose"}, pen=3)
    monkeypatch.setattr(grouping, "MAX_POINT_PAIRS", 100)
    with pytest.raises(ImageError, match=r"pairs of points on close strokes, but .* at most 100"):
        detect_digits(image)


def test_an_unreadable_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        detect_digits(tmp_path / "none.png")
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(ImageError, match=r"a\.png"):
        detect_digits(tmp_path / "a.png")


def test_many_dots_do_not_lower_the_estimated_height():
    boxes = np.array([[0, 0, 40, 20]] * 4 + [[0, 0, 4, 4]] * 50)
    assert estimate_height(boxes) == 40


def test_deskew_makes_a_slanted_line_vertical():
    np.testing.assert_allclose(deskew(np.array([[10.0, 0.0], [0.0, 3.0]]), 0.3), [[10, 3], [0, 3]])


def test_most_lines_of_mnist_digits_are_counted_correctly():
    data = load_mnist_sample()
    lines = [
        make_line(data.train_images, data.train_labels, np.random.default_rng([1, index]))
        for index in range(20)
    ]
    correct = sum(len(detect_digits(line.image)) == len(line.digits) for line in lines)
    assert correct >= 20 - 1


def test_unknown_names_of_the_package_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'minicnn' has no attribute 'find_digits'"):
        _ = minicnn.find_digits


def test_dir_lists_the_names_that_are_loaded_at_first_use():
    assert set(minicnn.__all__) <= set(dir(minicnn))


# ---------------------------------------------------------------- grouping by hand


def leaning_line(slant, height=1.0):
    """Return points (y, x) of a line whose top leans to the right."""
    y = np.linspace(0, height, 20)
    return np.stack([y, 5 - slant * y], axis=1)


def test_the_slant_is_the_mean_of_high_strokes_weighted_by_their_extent():
    lines = [leaning_line(0.1), leaning_line(0.3), leaning_line(-2, height=0.05)]  # a dot
    assert estimate_slant(lines) == pytest.approx(0.2)
    assert estimate_slant([leaning_line(0.1), leaning_line(0.3, height=0.8)]) == pytest.approx(
        (0.1 * 1 + 0.3 * 0.64) / 1.64
    )
    assert estimate_slant([leaning_line(5)]) == SLANT_RANGE[1]
    assert estimate_slant([]) == 0


def test_a_long_tail_is_no_digit_of_its_own():
    upright = Handwriting(height=40.0, slant=0.0)
    own = np.zeros((40, 100), bool)
    own[:, :30] = own[18:21] = True
    assert find_split(own, own.astype(np.float32), upright, 1.5) is None
    own[:, 70:] = True  # now both ends of the bridge are digits
    right = find_split(own, own.astype(np.float32), upright, 1.5)
    assert not right[:, :30].any()
    assert right[:, 70:].all()
