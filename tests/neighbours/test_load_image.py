"""People's own pictures, brought into MNIST's form."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import minicnn
from minicnn import BlankImageError, ImageError, to_mnist_format
from minicnn.kernels import distance
from minicnn.recognizer import load_image
from minicnn.recognizer.mnist_format import (
    BOX,
    FINE,
    THINNEST,
    WIDEST,
    _fine,
    _stroke_width,
    fit_to_mnist_field,
)
from minicnn.recognizer.segmentation import connected_components, find_ink
from minicnn.recognizer.synthetic import Hand, digit_strokes, draw


@pytest.fixture(scope="module")
def digits():
    return minicnn.load_mnist_sample().test_images[[0, 3, 8, 13, 21, 26, 34, 47]]


def on_canvas(digit, top, left, H=80, W=90):
    canvas = np.zeros((H, W), np.uint8)
    canvas[top : top + 28, left : left + 28] = digit
    return canvas


def five(side=100, pen=8.0, *, digit=5, form="one", **options):
    """Draw a 5, 70 % of the canvas high; 255 is ink."""
    strokes = digit_strokes(digit, np.random.default_rng(0), form=form, hand=Hand())
    return draw(strokes, (side, side), height=0.7 * side, pen=pen, **options)


def is_in_mnists_form(image):
    ink = np.argwhere(image)
    middle = [(np.arange(28) * image.sum(axis=1 - axis)).sum() / image.sum() for axis in (0, 1)]
    assert image.dtype == np.uint8
    assert image.shape == (28, 28)
    assert image.max() == 255
    assert all(abs(m - 14) < 0.5 + 1e-9 for m in middle)
    assert max(np.ptp(ink, axis=0) + 1) == 20
    return True


def difference(a, b):
    """Return the mean difference of two results in levels of brightness."""
    return np.abs(a.astype(int) - b).mean()


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# ---------------------------------------------------------------- MNIST's form


def test_where_the_digit_lies_makes_no_difference(digits):
    for digit in digits:
        first = to_mnist_format(on_canvas(digit, 0, 0))
        assert is_in_mnists_form(first)
        assert np.array_equal(first, to_mnist_format(on_canvas(digit, 31, 52)))
        assert np.array_equal(first, to_mnist_format(on_canvas(digit, 52, 1)))


def test_black_on_white_is_white_on_black(digits):
    for digit in digits:
        canvas = on_canvas(digit, 20, 40)
        assert np.array_equal(to_mnist_format(canvas), to_mnist_format(255 - canvas))


def stroke_width(image):
    ink = image[np.ix_(image.any(axis=1), image.any(axis=0))]
    return _stroke_width(_fine(ink / np.float32(255))) / FINE


def placed_alike(result, wanted):
    """Move a result by a pixel if that helps: its center of mass may lie near a half."""
    moved = [np.roll(result, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return min(moved, key=lambda one: difference(one, wanted))


def test_an_mnist_image_with_usual_strokes_comes_back_as_it_is():
    found = 0
    for digit in minicnn.load_mnist_sample().test_images[:60]:
        if THINNEST + 0.1 < stroke_width(digit) < WIDEST - 0.1:
            found += 1
            back = placed_alike(to_mnist_format(digit), digit).astype(int)
            # Ink may be lost that is fainter than 15 % of the threshold, which lies half way
            # between the mean paper and the mean ink: at 255 / 2 or below. The fourth darkest
            # pixel becomes black, and the others as much darker: by 3 levels, with these digits.
            lost = (back == 0) & (digit < 0.15 * 255 / 2)
            assert np.abs(back - digit)[~lost].max() <= 3
    assert found > 30


def test_other_strokes_become_as_wide_as_the_thinnest_or_widest_usual_ones():
    for digit in minicnn.load_mnist_sample().test_images[:60]:
        width = stroke_width(digit)
        if not THINNEST - 0.1 < width < WIDEST + 0.1:
            target = THINNEST if width < THINNEST else WIDEST
            # redrawn on a grid of FINE, so exact to a pixel of it on either side
            assert abs(stroke_width(to_mnist_format(digit)) - target) < 2 / FINE


def exact(digit, form, width):
    """Return a digit as it should come out, drawn in the field itself by a pen of a width."""
    scale = 32  # so fine that its pixels do not matter
    strokes = digit_strokes(digit, np.random.default_rng(0), form=form, hand=Hand())
    height, pen = (BOX - width) * scale, width * scale
    ink = draw(strokes, (30 * scale, 30 * scale), height=height, pen=pen, soft=False)
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    crop = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    box = np.asarray(
        crop.resize((round(len(columns) / len(rows) * BOX), BOX), Image.Resampling.BOX)
    )
    field = np.zeros((28, 28), np.uint8)
    field[: box.shape[0], : box.shape[1]] = box
    middle = [(np.arange(28) * field.sum(axis=1 - axis)).sum() / field.sum() for axis in (0, 1)]
    return np.roll(field, [round(14 - m) for m in middle], (0, 1))


@pytest.mark.parametrize("side", [28, 60, 150, 700])
@pytest.mark.parametrize("share", [0.02, 0.04, 0.1, 0.15])
def test_any_pen_on_any_canvas_gives_the_five_that_it_should(side, share):
    pen = max(1.0, side * share)
    result = to_mnist_format(255 - five(side, pen, soft=side < 100))
    assert is_in_mnists_form(result)
    one_pixel = BOX / (0.7 * side + pen)  # of the canvas, in pixels of the field
    width = min(max(pen * one_pixel, THINNEST), WIDEST)
    wanted = exact(5, "one", width)
    found = placed_alike(result, wanted)
    # By so much may an edge lie elsewhere, in pixels of the field: Pillow draws whole pixels, of a
    # soft edge as many as it touches; the shorter side is rounded to whole ones, half of it on
    # either side; strokes are redrawn on a grid of FINE.
    off = one_pixel + 0.25 + 0.5 / FINE
    strokes = digit_strokes(5, np.random.default_rng(0), form="one", hand=Hand())
    way = sum(np.hypot(*np.diff(stroke, axis=0).T).sum() for stroke in strokes) * (BOX - width)
    edges = 2 * way + len(strokes) * np.pi * width
    assert difference(found, wanted) < 255 * off * edges / 28**2
    assert difference(found, wanted) < difference(found, exact(3, "flat", width))
    assert abs(stroke_width(result) - stroke_width(wanted)) < 2 * off


def test_a_change_of_width_leaves_the_rest_alone():
    bar = np.zeros((200, 60), np.float32)
    bar[:, 28:32] = 1
    result = fit_to_mnist_field(bar)  # 4 of 200 pixels: 0.4 of 20
    assert is_in_mnists_form(result)
    rows = result[result.any(axis=1)]
    assert (rows[3:-3] == rows[10]).all()
    assert rows[10].sum() / 255 == pytest.approx(THINNEST, abs=0.3)


def test_some_pixels_in_a_row_are_enough():
    assert is_in_mnists_form(fit_to_mnist_field(np.ones((6, 1), np.float32)))


def test_a_line_from_edge_to_edge_is_ink_and_not_printed_paper():
    bar = np.full((60, 40), 255, np.uint8)
    bar[:, 18:22] = 0
    assert is_in_mnists_form(to_mnist_format(bar))


def test_ink_that_narrowing_would_take_away_is_left_as_it_was():
    # A mean width of 7 pixels comes from the block; the hair would vanish, and the block as well
    # if it were gone through twice.
    block = np.zeros((40, 40), np.float32)
    block[:, :20] = 1
    block[20, 20:] = 1
    assert is_in_mnists_form(fit_to_mnist_field(block))


# ---------------------------------------------------------------- media


def test_what_is_transparent_shows_paper():
    ink = five()
    plain = to_mnist_format(255 - ink)
    for level in (0, 255):  # white ink, or a shape that is in the alpha channel alone
        rgba = np.dstack([np.full((100, 100, 3), level, np.uint8), ink])
        assert difference(to_mnist_format(rgba), plain) < 1
        assert difference(to_mnist_format(png(Image.fromarray(rgba))), plain) < 1
    gray_alpha = Image.merge("LA", [Image.new("L", (100, 100)), Image.fromarray(ink)])
    assert difference(to_mnist_format(gray_alpha), plain) < 1


def test_yellow_on_white_is_seen():
    cover = five()[..., None] / 255
    yellow = np.rint(255 - cover * [0, 0, 255]).astype(np.uint8)
    assert difference(to_mnist_format(yellow), to_mnist_format(255 - five())) < 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "HSV", "I;16", "I", "F", "LAB"])
def test_every_mode_of_a_picture_is_understood(mode):
    gray = Image.fromarray(255 - five(soft=False))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    elif mode == "LAB":
        picture = Image.merge("LAB", [gray, *[Image.new("L", gray.size, 128)] * 2])
    else:
        picture = gray.convert("RGB").convert(mode) if mode == "HSV" else gray.convert(mode)
    assert picture.mode == mode
    assert difference(to_mnist_format(picture), to_mnist_format(gray)) < 1


@pytest.mark.parametrize("dtype", [np.bool_, np.uint16, np.float32, np.float64])
def test_every_dtype_of_an_array_is_understood(dtype):
    ink = five(soft=False)
    array = {np.bool_: ink > 0, np.uint16: ink * np.uint16(257)}.get(dtype, ink / dtype(255))
    assert array.dtype == dtype
    assert np.array_equal(to_mnist_format(array), to_mnist_format(ink))
    assert np.array_equal(to_mnist_format(array[:, :, None]), to_mnist_format(ink))


def test_files_are_turned_upright_as_their_exif_entry_says(tmp_path):
    upright = Image.fromarray(255 - five())
    exif = Image.Exif()
    exif[0x0112] = 8
    upright.rotate(-90).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(to_mnist_format(tmp_path / "turned.png"), to_mnist_format(upright))


def test_of_several_frames_the_first_counts(tmp_path):
    first, second = (Image.fromarray(255 - five(pen=pen)) for pen in (8, 20))
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    assert difference(to_mnist_format(str(tmp_path / "two.gif")), to_mnist_format(first)) < 1


def shade(side):
    """Return light from the left, and a shadow with an edge over one half."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    return (1 - 0.3 * x) * np.where(x + 0.2 * y > 0.6, 0.6, 1.0)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("board", [False, True])
def test_a_photo_with_a_shadow_reads_like_a_drawing(lines, board):
    rng = np.random.default_rng(1)
    sheet = np.full((300, 300), 230.0)
    if lines:
        sheet[::30] = sheet[:, ::30] = 170
    cover = five(300, 14) / 255
    scene = (sheet * (1 - cover) + 40 * cover) * shade(300)
    scene = 255 - 0.8 * scene if board else scene
    noisy = np.clip(scene + rng.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=70)
    result = to_mnist_format(file.getvalue())
    assert is_in_mnists_form(result)
    assert difference(result, to_mnist_format(255 - five(300, 14))) < 9


def test_the_edge_of_a_table_is_no_part_of_the_digit():
    rng = np.random.default_rng(2)
    scene = (230 - 190 * (five(300, 14) / 255)) * shade(300)
    scene[:, :12] = 30
    photo = np.clip(scene + rng.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)
    assert difference(to_mnist_format(photo), to_mnist_format(255 - five(300, 14))) < 9


def test_a_large_photo_is_made_smaller_first():
    rng = np.random.default_rng(3)
    scene = np.full((900, 1700), 200.0)
    scene[300:600, 800:860] = 50
    found = find_ink(np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8))
    assert not found.even
    assert found.scale == 3
    assert found.mask.shape == (300, 567)
    assert found.mask[150, 276]


def test_a_digit_that_covers_half_of_the_border_is_still_ink():
    ring = np.full((28, 28), 0, np.uint8)  # a 0 with a thick pen, as large as the canvas
    ring[10:18, 10:18] = 255
    for corner in (slice(0, 8), slice(20, 28)):
        ring[corner, :8] = ring[corner, 20:] = 255
    border = np.concatenate([ring[0], ring[-1], ring[1:-1, 0], ring[1:-1, -1]])
    assert 0.4 < np.mean(border == 0) < 0.5
    result = to_mnist_format(ring)
    assert is_in_mnists_form(result)
    assert result[14, 14] == 0
    assert result[14, 7] > 200


def test_specks_are_dropped_and_parts_are_kept():
    canvas = np.zeros((100, 100), np.uint8)
    canvas[20:80, 45:52] = 255
    alone = to_mnist_format(canvas)
    canvas[90, 90] = canvas[2, 3] = 255
    assert np.array_equal(to_mnist_format(canvas), alone)
    canvas[10:14, 45:80] = 255  # the bar of a 5 that does not touch the rest
    assert not np.array_equal(to_mnist_format(canvas), alone)


def test_a_frame_around_the_sheet_is_not_read():
    ink = 255 - five()
    framed = np.zeros((120, 120), np.uint8)
    framed[10:110, 10:110] = ink
    assert np.array_equal(to_mnist_format(framed), to_mnist_format(ink))


def test_blank_pictures_say_so():
    rng = np.random.default_rng(0)
    noise = rng.normal(200, 5, (300, 300)).clip(0, 255).astype(np.uint8)
    blank = [np.full((50, 40), level, np.uint8) for level in (0, 90, 255)]
    for picture in [*blank, noise, np.ones((1, 1), np.uint8)]:
        with pytest.raises(BlankImageError, match="nothing is drawn"):
            to_mnist_format(picture)


# ---------------------------------------------------------------- what is refused


def test_a_file_that_is_no_picture_is_named(tmp_path):
    path = tmp_path / "digit.png"
    with pytest.raises(FileNotFoundError, match=r"digit\.png does not exist"):
        to_mnist_format(path)
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"digit\.png is not a picture that can be read \(PNG"):
        to_mnist_format(path)
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"digit\.png: the file is empty"):
        to_mnist_format(path)
    with pytest.raises(ImageError, match="is a folder or a device"):
        to_mnist_format(tmp_path)


def test_every_way_of_cutting_a_file_short_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "digit.png"
    whole = png(Image.fromarray(five(40, 4)))
    for size in range(1, len(whole) - 32, 7):  # after that only checksums and an end mark lack
        path.write_bytes(whole[:size])
        with pytest.raises(ImageError, match=r"digit\.png"):
            to_mnist_format(path)


def test_a_file_that_would_take_all_memory_is_refused_before_it_is_decoded():
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    for W, H in ((9000, 9000), (100_000, 100_000)):
        header = struct.pack(">IIBBBBB", W, H, 8, 0, 0, 0, 0)
        bomb = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", b"")
            + chunk(b"IEND", b"")
        )
        with pytest.raises(ImageError, match=r"bytes.*pixels"):
            to_mnist_format(bomb)


def test_large_files_and_arrays_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "digit.png"
    path.write_bytes(png(Image.fromarray(five())))
    monkeypatch.setattr(load_image, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match=r"digit\.png has \d+ bytes; pictures may have 100"):
        to_mnist_format(path)
    with pytest.raises(ImageError, match=r"bytes has \d+ bytes; pictures may have 100"):
        to_mnist_format(path.read_bytes())
    monkeypatch.setattr(load_image, "MAX_PIXELS", 99)
    with pytest.raises(ImageError, match=r"array \(10, 10\) of uint8.*99 pixels"):
        to_mnist_format(np.zeros((10, 10), np.uint8))


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((3, 4, 2), np.uint8), r"array \(3, 4, 2\).*wanted is \(H, W\)"),
        (np.zeros((0, 4), np.uint8), r"wanted is \(H, W\)"),
        (np.zeros((4, 4), np.int64), "dtype must be uint8, uint16, bool or float"),
        (np.full((4, 4), 200.0), r"floats must lie in 0\.\.1"),
        (np.full((4, 4), np.nan), r"floats must lie in 0\.\.1"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array, match):
    with pytest.raises(ImageError, match=match):
        to_mnist_format(array)


def test_what_is_no_source_of_a_picture_is_refused():
    with pytest.raises(TypeError, match="image must be a path, bytes, a Pillow image or an array"):
        to_mnist_format(5)


# ---------------------------------------------------------------- the kernels


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


def flooded(mask):
    """Label a mask by flooding one piece after another."""
    labels = np.zeros(mask.shape, int)
    for seed in np.argwhere(mask):
        if not labels[tuple(seed)]:
            fresh, todo = labels.max() + 1, [tuple(seed)]
            while todo:
                i, j = todo.pop()
                if (
                    0 <= i < len(mask)
                    and 0 <= j < mask.shape[1]
                    and mask[i, j]
                    and not labels[i, j]
                ):
                    labels[i, j] = fresh
                    todo += [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return labels


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 1.0])
def test_components_are_those_that_flooding_finds(share):
    rng = np.random.default_rng(4)
    for H, W in ((1, 9), (9, 1), (13, 17), (24, 11)):
        mask = rng.random((H, W)) < share
        wanted = flooded(mask)
        found = connected_components(mask)
        assert np.array_equal(found.labels, wanted)
        for index, (top, left, bottom, right) in enumerate(found.boxes):
            pixels = np.argwhere(wanted == index + 1)
            assert (pixels.min(axis=0) == (top, left)).all()
            assert (pixels.max(axis=0) == (bottom - 1, right - 1)).all()
            assert len(pixels) == found.areas[index]


@pytest.mark.parametrize("share", [0.3, 0.8, 0.97, 1.0])
def test_distances_are_those_that_comparing_all_pixels_finds(share):
    inside = np.random.default_rng(5).random((11, 14)) < share
    column, found = np.empty(inside.shape, np.int64), np.empty(inside.shape, np.int64)
    distance.squared_distances(inside, column, found)
    around = np.pad(inside, 1)
    outside = np.argwhere(~around)
    for i, j in np.ndindex(*inside.shape):
        assert found[i, j] == ((outside - (i + 1, j + 1)) ** 2).sum(axis=1).min()
