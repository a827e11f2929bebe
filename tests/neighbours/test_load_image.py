"""Own images: loading, segmentation and conversion to MNIST's format."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin, TiffTags
from scipy import ndimage

import minicnn
from minicnn import BlankImageError, ImageError, to_mnist_format
from minicnn.recognizer import load_image
from minicnn.recognizer.mnist_format import (
    DIGIT_SIZE,
    MAX_STROKE_WIDTH,
    MIN_STROKE_WIDTH,
    SUPERSAMPLING,
    center_by_mass,
    correct_stroke_width,
    dilate,
    normalize_digit,
    resize,
    select_digit,
    stroke_width,
    supersample,
)
from minicnn.recognizer.segmentation import (
    Foreground,
    background_level,
    global_contrast,
    hysteresis_threshold,
    label_regions,
    local_contrast,
    segment_foreground,
)
from minicnn.recognizer.synthetic import HandStyle, digit_strokes, render_strokes


@pytest.fixture(scope="module")
def digits():
    return minicnn.load_mnist_sample().test_images[[0, 3, 8, 13, 21, 26, 34, 47]]


def on_canvas(digit, top, left, H=80, W=90):
    canvas = np.zeros((H, W), np.uint8)
    canvas[top : top + 28, left : left + 28] = digit
    return canvas


def five(side=100, pen=8.0, *, digit=5, glyph="one", **options):
    """Draw a 5, 70 % of the canvas high; 255 is ink."""
    strokes = digit_strokes(digit, np.random.default_rng(0), glyph=glyph, hand=HandStyle())
    return render_strokes(strokes, (side, side), height=0.7 * side, pen=pen, **options)


def has_mnist_format(image):
    ink = np.argwhere(image)
    middle = [(np.arange(28) * image.sum(axis=1 - axis)).sum() / image.sum() for axis in (0, 1)]
    assert image.dtype == np.uint8
    assert image.shape == (28, 28)
    assert image.max() == 255
    assert all(abs(m - 14) < 0.5 + 1e-9 for m in middle)
    assert max(np.ptp(ink, axis=0) + 1) == 20
    return True


def difference(a, b):
    """Return the mean absolute difference in gray levels."""
    return np.abs(a.astype(int) - b).mean()


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# ---------------------------------------------------------------- MNIST's format


def test_the_position_of_the_digit_does_not_change_the_result(digits):
    for digit in digits:
        first = to_mnist_format(on_canvas(digit, 0, 0))
        assert has_mnist_format(first)
        assert np.array_equal(first, to_mnist_format(on_canvas(digit, 31, 52)))
        assert np.array_equal(first, to_mnist_format(on_canvas(digit, 52, 1)))


def test_black_on_white_equals_white_on_black(digits):
    for digit in digits:
        canvas = on_canvas(digit, 20, 40)
        assert np.array_equal(to_mnist_format(canvas), to_mnist_format(255 - canvas))


def width_of_strokes(image):
    ink = image[np.ix_(image.any(axis=1), image.any(axis=0))]
    return stroke_width(supersample(ink / np.float32(255))) / SUPERSAMPLING


def align(result, expected):
    """Shift by up to a pixel, because the center may be rounded either way."""
    shifted = [np.roll(result, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return min(shifted, key=lambda one: difference(one, expected))


def test_an_mnist_image_with_usual_strokes_is_reproduced():
    count = 0
    for digit in minicnn.load_mnist_sample().test_images[:60]:
        if MIN_STROKE_WIDTH + 0.1 < width_of_strokes(digit) < MAX_STROKE_WIDTH - 0.1:
            count += 1
            result = align(to_mnist_format(digit), digit).astype(int)
            # Ink fainter than 15 % of the threshold may be lost. The threshold lies half way
            # between mean paper and mean ink: at 255 / 2 or below. The fourth darkest pixel
            # becomes 255, and the others rise in proportion: by 3 levels for these digits.
            lost = (result == 0) & (digit < 0.15 * 255 / 2)
            assert np.abs(result - digit)[~lost].max() <= 3
    assert count > 30


def test_unusual_strokes_get_the_nearest_usual_width():
    for digit in minicnn.load_mnist_sample().test_images[:60]:
        width = width_of_strokes(digit)
        if not MIN_STROKE_WIDTH - 0.1 < width < MAX_STROKE_WIDTH + 0.1:
            target = MIN_STROKE_WIDTH if width < MIN_STROKE_WIDTH else MAX_STROKE_WIDTH
            # Exact to one pixel of the supersampled grid on each side.
            result = width_of_strokes(to_mnist_format(digit))
            assert abs(result - target) < 2 / SUPERSAMPLING


def exact(digit, glyph, width):
    """Return the expected image, drawn with a pen of the right width."""
    scale = 32  # fine enough to ignore its pixels
    strokes = digit_strokes(digit, np.random.default_rng(0), glyph=glyph, hand=HandStyle())
    height, pen = (DIGIT_SIZE - width) * scale, width * scale
    ink = render_strokes(strokes, (30 * scale, 30 * scale), height=height, pen=pen, antialias=False)
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    crop = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    size = round(len(columns) / len(rows) * DIGIT_SIZE), DIGIT_SIZE
    digit = np.asarray(crop.resize(size, Image.Resampling.BOX))
    image = np.zeros((28, 28), np.uint8)
    image[: digit.shape[0], : digit.shape[1]] = digit
    middle = [(np.arange(28) * image.sum(axis=1 - axis)).sum() / image.sum() for axis in (0, 1)]
    return np.roll(image, [round(14 - m) for m in middle], (0, 1))


@pytest.mark.parametrize("side", [28, 60, 150, 700])
@pytest.mark.parametrize("share", [0.02, 0.04, 0.1, 0.15])
def test_any_pen_on_any_canvas_gives_the_expected_five(side, share):
    pen = max(1.0, side * share)
    result = to_mnist_format(255 - five(side, pen, antialias=side < 100))
    assert has_mnist_format(result)
    one_pixel = DIGIT_SIZE / (0.7 * side + pen)  # of the canvas, in pixels of the result
    width = min(max(pen * one_pixel, MIN_STROKE_WIDTH), MAX_STROKE_WIDTH)
    expected = exact(5, "one", width)
    aligned = align(result, expected)
    # Bound on the error of an edge in pixels of the result: Pillow draws whole pixels, every one
    # that a soft edge touches; the shorter side is rounded to whole pixels, half of it on each
    # side; strokes are corrected on the supersampled grid.
    off = one_pixel + 0.25 + 0.5 / SUPERSAMPLING
    strokes = digit_strokes(5, np.random.default_rng(0), glyph="one", hand=HandStyle())
    length = sum(np.hypot(*np.diff(stroke, axis=0).T).sum() for stroke in strokes)
    edges = 2 * length * (DIGIT_SIZE - width) + len(strokes) * np.pi * width
    assert difference(aligned, expected) < 255 * off * edges / 28**2
    assert difference(aligned, expected) < difference(aligned, exact(3, "flat", width))
    assert abs(width_of_strokes(result) - width_of_strokes(expected)) < 2 * off


def test_the_width_correction_changes_nothing_else():
    bar = np.zeros((200, 60), np.float32)
    bar[:, 28:32] = 1
    result = normalize_digit(bar)  # 4 of 200 pixels: 0.4 of 20
    assert has_mnist_format(result)
    rows = result[result.any(axis=1)]
    assert (rows[3:-3] == rows[10]).all()
    assert rows[10].sum() / 255 == pytest.approx(MIN_STROKE_WIDTH, abs=0.3)


def test_a_column_of_six_pixels_is_a_digit():
    assert has_mnist_format(normalize_digit(np.ones((6, 1), np.float32)))


def test_a_line_from_edge_to_edge_is_ink_not_printed_paper():
    bar = np.full((60, 40), 255, np.uint8)
    bar[:, 18:22] = 0
    assert has_mnist_format(to_mnist_format(bar))


def test_ink_that_erosion_would_remove_is_left_unchanged():
    # The block gives a mean width of 7 pixels. Erosion removes the hairline, and a second erosion
    # would remove the block.
    block = np.zeros((40, 40), np.float32)
    block[:, :20] = 1
    block[20, 20:] = 1
    assert has_mnist_format(normalize_digit(block))


class Counted(np.ndarray):
    """An array that counts the elements computed by ufuncs."""

    elements = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [np.asarray(array) for array in inputs]
        out = out and tuple(np.asarray(array) for array in out)
        result = getattr(ufunc, method)(*plain, out=out, **options)
        Counted.elements += result.size
        return result.view(Counted)


@pytest.mark.parametrize("shape", [(40, 30), (1, 1), (1, 50), (50, 1)])
@pytest.mark.parametrize("radius", [0, 0.9, 1, 2.5, 9.9, 46.2])
def test_dilation_costs_a_few_rows_not_the_area_of_the_disk(shape, radius):
    ink = np.random.default_rng(0).random(shape, np.float32)
    ink *= ink > 0.7
    Counted.elements = 0
    dilated = np.asarray(dilate(ink.view(Counted), radius))
    reach = int(radius)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disk = x**2 + y**2 <= radius**2
    expected = ndimage.grey_dilation(ink, footprint=disk, mode="nearest")
    np.testing.assert_array_equal(dilated, expected)
    assert 0 < Counted.elements <= 4 * (reach + 1) * (shape[0] + 2 * reach) * shape[1]


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 2), (1, 160), (900, 900)])
def test_the_size_of_a_supersampled_digit_is_bounded(shape):
    enlarged = supersample(np.ones(shape, np.float32))
    # The soft edge of an enlarged pixel is less than half a pixel wide on each side.
    assert max(enlarged.shape) <= 2 * DIGIT_SIZE * SUPERSAMPLING + 2
    assert np.count_nonzero(enlarged[1:-1, 1:-1]) == np.count_nonzero(enlarged)


def test_erosion_thins_the_outer_edges_of_a_large_digit_too():
    frame = np.ones((640, 640), np.float32)  # the margin of paper shrinks to less than a pixel
    frame[200:-200, 200:-200] = 0
    width = stroke_width(supersample(frame)) / SUPERSAMPLING
    radius = DIGIT_SIZE / 2 * (width - MAX_STROKE_WIDTH) / (DIGIT_SIZE - MAX_STROKE_WIDTH)
    longer = SUPERSAMPLING * (DIGIT_SIZE - 2 * radius)
    assert abs(len(correct_stroke_width(frame)) - longer) <= 2


# ---------------------------------------------------------------- media


def test_transparent_pixels_are_paper():
    ink = five()
    plain = to_mnist_format(255 - ink)
    for level in (0, 255):  # black ink; a shape in the alpha channel only
        rgba = np.dstack([np.full((100, 100, 3), level, np.uint8), ink])
        assert difference(to_mnist_format(rgba), plain) < 1
        assert difference(to_mnist_format(png(Image.fromarray(rgba))), plain) < 1
    gray_alpha = Image.merge("LA", [Image.new("L", (100, 100)), Image.fromarray(ink)])
    assert difference(to_mnist_format(gray_alpha), plain) < 1


def test_yellow_on_white_is_read():
    cover = five()[..., None] / 255
    yellow = np.rint(255 - cover * [0, 0, 255]).astype(np.uint8)
    assert difference(to_mnist_format(yellow), to_mnist_format(255 - five())) < 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "HSV", "I;16", "I", "F", "LAB"])
def test_every_pillow_mode_is_read(mode):
    gray = Image.fromarray(255 - five(antialias=False))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    elif mode == "LAB":
        image = Image.merge("LAB", [gray, *[Image.new("L", gray.size, 128)] * 2])
    else:
        image = gray.convert("RGB").convert(mode) if mode == "HSV" else gray.convert(mode)
    assert image.mode == mode
    assert difference(to_mnist_format(image), to_mnist_format(gray)) < 1


@pytest.mark.parametrize("dtype", [np.bool_, np.uint16, np.float32, np.float64])
def test_every_dtype_of_an_array_is_read(dtype):
    ink = five(antialias=False)
    array = {np.bool_: ink > 0, np.uint16: ink * np.uint16(257)}.get(dtype, ink / dtype(255))
    assert array.dtype == dtype
    assert np.array_equal(to_mnist_format(array), to_mnist_format(ink))
    assert np.array_equal(to_mnist_format(array[:, :, None]), to_mnist_format(ink))


def test_the_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(255 - five())
    exif = Image.Exif()
    exif[0x0112] = 8
    image.rotate(-90).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(to_mnist_format(tmp_path / "turned.png"), to_mnist_format(image))


def test_the_first_of_several_frames_is_read(tmp_path):
    first, second = (Image.fromarray(255 - five(pen=pen)) for pen in (8, 20))
    first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
    with pytest.warns(UserWarning, match=r"two\.gif has several pages or frames; the first one is"):
        result = to_mnist_format(str(tmp_path / "two.gif"))
    assert difference(result, to_mnist_format(first)) < 1


def shade(side):
    """Return light from the left, with the edge of a shadow over one half."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    return (1 - 0.3 * x) * np.where(x + 0.2 * y > 0.6, 0.6, 1.0)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("board", [False, True])
def test_a_photo_with_a_shadow_equals_a_drawing_almost(lines, board):
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
    assert has_mnist_format(result)
    assert difference(result, to_mnist_format(255 - five(300, 14))) < 9


def photo_of(cover, rng, ink=40.0):
    """Return a noisy photo of a sheet; `cover` (H, W) is 255 for ink."""
    scene = (230 - (230 - ink) * (cover / 255)) * shade(len(cover))
    return np.clip(scene + rng.normal(0, 3, cover.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("margins", [(0, 0), (1, 1), (4, 4), (20, 0), (0, 20)])
@pytest.mark.parametrize("digit", [0, 1, 3, 4, 5, 7])
def test_a_photo_cropped_to_its_ink_is_read(digit, margins):
    cover = five(300, 14, digit=digit, glyph=None)
    photo = photo_of(cover, np.random.default_rng(4))
    rows, columns = (np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0))
    cropped = photo[
        rows[0] - margins[0] : rows[-1] + 1 + margins[0],
        columns[0] - margins[1] : columns[-1] + 1 + margins[1],
    ]
    foreground = segment_foreground(cropped)
    assert not foreground.uniform_background
    result = align(to_mnist_format(cropped), to_mnist_format(photo))
    assert difference(result, to_mnist_format(photo)) < 9
    assert len(minicnn.detect_digits(cropped)) == 1


@pytest.mark.parametrize(("count", "level"), [(1, 190.0), (4, 100.0)])
def test_lines_across_a_photo_are_not_ink(count, level):
    scene = np.random.default_rng(4).normal(230, 3, (300, 300))
    for row in np.linspace(60, 240, count).astype(int):
        scene[row : row + 3] -= 230 - level  # a crease; printed lines
    with pytest.raises(BlankImageError, match="the image is blank"):
        to_mnist_format(scene.clip(0, 255).astype(np.uint8))


def test_the_paper_of_a_photo_brightens_softly_at_the_edge_of_a_shadow():
    gray = np.full((128, 128), 200, np.uint8)
    gray[:, :64] = 100
    paper = ndimage.gaussian_filter1d(gray[64].astype(float), 2)
    expected = np.maximum(0, 255 * (1 - gray[64] / paper))
    np.testing.assert_allclose(local_contrast(gray)[64], expected, atol=2)


def test_the_edge_of_a_table_is_not_part_of_the_digit():
    rng = np.random.default_rng(2)
    scene = (230 - 190 * (five(300, 14) / 255)) * shade(300)
    scene[:, :12] = 30
    photo = np.clip(scene + rng.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)
    assert difference(to_mnist_format(photo), to_mnist_format(255 - five(300, 14))) < 9


def test_a_large_photo_is_reduced_first():
    rng = np.random.default_rng(3)
    scene = np.full((900, 1700), 200.0)
    scene[300:600, 800:860] = 50
    photo = np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8)
    foreground = segment_foreground(photo)
    assert not foreground.uniform_background
    assert foreground.scale == 3
    assert foreground.mask.shape == (300, 567)
    assert foreground.mask[150, 276]


def test_a_digit_over_half_of_the_border_is_ink():
    ring = np.full((28, 28), 0, np.uint8)  # a 0 with a thick pen, as large as the canvas
    ring[10:18, 10:18] = 255
    for corner in (slice(0, 8), slice(20, 28)):
        ring[corner, :8] = ring[corner, 20:] = 255
    border = np.concatenate([ring[0], ring[-1], ring[1:-1, 0], ring[1:-1, -1]])
    assert 0.4 < np.mean(border == 0) < 0.5
    result = to_mnist_format(ring)
    assert has_mnist_format(result)
    assert result[14, 14] == 0
    assert result[14, 7] > 200


def test_specks_are_dropped_and_parts_of_the_digit_are_kept():
    canvas = np.zeros((100, 100), np.uint8)
    canvas[20:80, 45:52] = 255
    alone = to_mnist_format(canvas)
    canvas[90, 90] = canvas[2, 3] = 255
    assert np.array_equal(to_mnist_format(canvas), alone)
    canvas[10:14, 45:80] = 255  # the loose bar of a 5
    assert not np.array_equal(to_mnist_format(canvas), alone)


def test_a_frame_around_the_sheet_is_background():
    ink = 255 - five()
    framed = np.zeros((120, 120), np.uint8)
    framed[10:110, 10:110] = ink
    assert np.array_equal(to_mnist_format(framed), to_mnist_format(ink))


def test_a_blank_image_is_an_error():
    rng = np.random.default_rng(0)
    noise = rng.normal(200, 5, (300, 300)).clip(0, 255).astype(np.uint8)
    blank = [np.full((50, 40), level, np.uint8) for level in (0, 90, 255)]
    for image in [*blank, noise, np.ones((1, 1), np.uint8)]:
        with pytest.raises(
            BlankImageError, match="the image is blank; draw one digit with more contrast"
        ):
            to_mnist_format(image)


@pytest.mark.parametrize("turns", range(4))
def test_a_line_across_a_photo_belongs_to_its_paper_and_a_table_at_one_edge_does_not(turns):
    levels = np.zeros((96, 96), np.uint8)
    levels[-8:] = 200
    assert background_level(np.rot90(levels, turns)) == 0
    levels[40:44] = 90
    assert background_level(np.rot90(levels, turns)) == 90


@pytest.mark.parametrize(("level", "pixels"), [(239, 400), (240, 0)])
def test_ink_has_a_contrast_of_at_least_16_levels(level, pixels):
    gray = np.full((60, 60), 255, np.uint8)
    gray[20:40, 20:40] = level
    assert np.count_nonzero(segment_foreground(gray).mask) == pixels


def test_the_contrast_of_a_drawing_is_a_share_of_the_range_beside_its_paper():
    gray = np.full((60, 60), 200, np.uint8)
    gray[20:40, 20:40] = 227
    assert global_contrast(gray)[30, 30] == round(255 * 27 / 55)
    gray[20:40, 20:40] = 70
    assert global_contrast(gray)[30, 30] == round(255 * 130 / 200)


def test_the_digit_of_a_photo_may_begin_one_pixel_from_its_border():
    mask = np.zeros((40, 40), bool)
    mask[:, :12] = True  # a table, larger than the digit
    mask[1:39, 20:39] = True
    ink = select_digit(Foreground(mask.astype(np.float32), mask, 1, uniform_background=False))
    assert np.flatnonzero(ink.any(axis=0)).tolist() == list(range(20, 39))


# ---------------------------------------------------------------- ranges of pixels


def levels_of(image):
    """Return the gray levels of a digit with dark or bright ink."""
    return 255 - five(antialias=False) if image == "dark" else five(antialias=False)


@pytest.mark.parametrize("ink", ["dark", "bright"])
@pytest.mark.parametrize(
    ("white", "dtype"),
    [(1, np.uint8), (15, np.uint8), (1, np.uint16), (15, np.uint16), (255, np.uint16),
     *[(2**bits - 1, np.uint16) for bits in range(9, 17)], (1 / 255, np.float32)],
)  # fmt: skip
def test_the_range_of_the_pixels_is_the_pictures_own(white, dtype, ink):
    gray = levels_of(ink)
    array = (gray / 255 * white).astype(dtype)
    assert array.max() == pytest.approx(white)
    expected = to_mnist_format(gray)
    assert np.array_equal(to_mnist_format(array), expected)
    if dtype == np.uint8:  # files may have it too, also in color and with an alpha channel
        assert np.array_equal(to_mnist_format(png(Image.fromarray(array))), expected)
        assert np.array_equal(to_mnist_format(np.dstack([array] * 3)), expected)
        opaque = np.full_like(array, white)
        assert np.array_equal(to_mnist_format(np.dstack([*[array] * 3, opaque])), expected)
    else:
        image = Image.fromarray(array)
        assert image.mode == ("F" if dtype == np.float32 else "I;16")
        if white >= 1:
            assert np.array_equal(to_mnist_format(image), expected)


@pytest.mark.parametrize("white", [np.float32(1), np.uint16(65535), np.uint8(15)])
def test_levels_are_scaled_to_0_to_255(white):
    array = (np.array([[0, 0.2, 1]]) * white).astype(white.dtype)
    assert load_image.read_picture(array).gray.tolist() == [[0, 51, 255]]


@pytest.mark.parametrize("top", [2, 7, 14, 16])
def test_a_nearly_black_picture_is_an_error_with_its_range(top):
    array = np.where(five() > 0, np.uint8(top), np.uint8(0))
    message = f"the gray levels are 0 to {top}, nearly black; scale them to 0 to 255"
    with pytest.raises(ImageError, match=message):
        to_mnist_format(array)
    with pytest.raises(ImageError, match=message):
        minicnn.detect_digits(array)


@pytest.mark.parametrize(("pixel", "found"), [(np.nan, "nan to nan"), (-0.5, "-0.5 to 1.0")])
def test_a_float_file_with_a_wrong_pixel_is_an_error(tmp_path, pixel, found):
    array = five().astype(np.float32) / 255
    array[3, 4] = pixel
    Image.fromarray(array).save(tmp_path / "float.tif")
    message = rf"float\.tif: the gray levels must be 0 or more, not {found}"
    with pytest.raises(ImageError, match=message):
        to_mnist_format(tmp_path / "float.tif")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_ink_of_the_same_brightness_as_the_paper_is_read(mode):
    ink = five(antialias=False)[..., None] > 0
    array = np.where(ink, np.uint8([255, 0, 0]), np.uint8([0, 130, 0]))
    image = Image.fromarray(array)
    assert np.ptp(image.convert("L").getextrema()) == 0
    expected = to_mnist_format(255 - five(antialias=False))
    assert np.array_equal(to_mnist_format(image.convert(mode)), expected)
    assert np.array_equal(to_mnist_format(png(image)), expected)


# ---------------------------------------------------------------- metadata


def chunk(kind, data):
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(image, kind, data):
    """Return a PNG file with one more chunk behind its header."""
    file = png(image)
    return file[:33] + chunk(kind, data) + file[33:]


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned_tiff(image, tag, kind, value):
    """Return a TIFF file with an orientation and one more tag."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for key, type_, entry in ((274, TiffTags.SHORT, 6), (tag, kind, value)):
        info.tagtype[key] = type_
        info[key] = entry
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "TIFF", tiffinfo=info)


def over_zero(file, numerator, denominator):
    """Return a TIFF file with another denominator in its rational number."""
    before, after = struct.pack("<II", 10007, 99991), struct.pack("<II", numerator, denominator)
    assert file.count(before) == 1
    return file.replace(before, after)


LONG_TEXT = zlib.compress(bytes(3 << 20))  # Pillow reads 1 MiB
BROKEN_EXIF = b"II*\0\xff\xff\xff\xff rubbish"
RATIONAL = TiffImagePlugin.IFDRational(10007, 99991)
XMP, RESOLUTION, EXPOSURE = 700, 282, 33434
METADATA = {
    "zTXt": lambda image: png_with(image, b"zTXt", b"Comment\0\0" + LONG_TEXT),
    "iTXt": lambda image: png_with(image, b"iTXt", b"Comment\0\1\0\0\0" + LONG_TEXT),
    "eXIf": lambda image: png_with(image, b"eXIf", BROKEN_EXIF),
    "eXIf text": lambda image: png_with(image, b"eXIf", b"rubbish"),
    "raw profile": lambda image: png_with(
        image, b"tEXt", b"Raw profile type exif\0\nexif\n  4\nzzzz\n"
    ),
    "webp": lambda image: encoded(image, "WEBP", lossless=True, exif=b"Exif\0\0" + BROKEN_EXIF),
    "webp text": lambda image: encoded(image, "WEBP", lossless=True, exif=b"rubbish"),
    "jpeg": lambda image: encoded(image, "JPEG", exif=b"Exif\0\0rubbish", quality=100),
    "xmp text": lambda image: turned_tiff(image, XMP, TiffTags.ASCII, "<x>"),
    "xmp bytes": lambda image: turned_tiff(image, XMP, TiffTags.BYTE, b"\xff rubbish"),
    "xmp numbers": lambda image: turned_tiff(image, XMP, TiffTags.SHORT, (1, 2, 3)),
    "nan": lambda image: turned_tiff(image, EXPOSURE, TiffTags.DOUBLE, float("nan")),
    "nan dpi": lambda image: turned_tiff(image, RESOLUTION, TiffTags.FLOAT, float("nan")),
    "0/0": lambda image: over_zero(turned_tiff(image, EXPOSURE, TiffTags.RATIONAL, RATIONAL), 0, 0),
    "1/0": lambda image: over_zero(
        turned_tiff(image, RESOLUTION, TiffTags.RATIONAL, RATIONAL), 1, 0
    ),
}


@pytest.mark.filterwarnings("ignore:Metadata Warning")  # of Pillow, as it writes the file
@pytest.mark.parametrize("kind", METADATA)
def test_wrong_metadata_leaves_the_pixels_readable(kind):
    image = Image.fromarray(255 - five(antialias=False))
    result = to_mnist_format(METADATA[kind](image))
    assert difference(result, to_mnist_format(image)) < 1


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_further_formats_of_pillow_are_read(kind):
    Image.init()
    if kind not in Image.SAVE or kind not in Image.OPEN:
        pytest.skip(f"this Pillow has no {kind}")
    image = Image.fromarray(255 - five(pen=12)).convert("RGB")
    assert difference(to_mnist_format(encoded(image, kind)), to_mnist_format(image)) < 9


def test_a_heic_file_is_named_with_its_remedy(tmp_path):
    path = tmp_path / "photo.heic"
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(1000))
    with pytest.raises(ImageError, match=r"photo\.heic is not .*; save HEIC and AVIF as JPEG$"):
        to_mnist_format(path)
    path.write_bytes(b"neither")
    with pytest.raises(ImageError, match=r"photo\.heic is not .*\); save it as PNG or JPEG$"):
        to_mnist_format(path)


def test_an_icon_is_refused_because_its_picture_may_claim_another_size():
    with pytest.raises(ImageError, match=r"bytes is not a readable image \(PNG.*; save it as PNG"):
        to_mnist_format(encoded(Image.new("L", (16, 16)), "ICO"))


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG"])
def test_the_first_of_several_pages_is_read_with_a_warning(kind):
    first, second = (Image.fromarray(255 - five(pen=pen)) for pen in (8, 20))
    file = encoded(first, kind, save_all=True, append_images=[second])
    with pytest.warns(UserWarning, match="bytes has several pages or frames; the first one is"):
        assert difference(to_mnist_format(file), to_mnist_format(first)) < 3


def test_the_preview_in_a_cameras_file_is_no_page():
    photo = Image.fromarray(255 - five()).convert("RGB")
    file = encoded(photo, "MPO", save_all=True, append_images=[photo.reduce(2)])
    assert difference(to_mnist_format(file), to_mnist_format(photo)) < 3  # and does not warn


# ---------------------------------------------------------------- bounds of work


def sized_png(W, H):
    """Return a PNG file that claims a size."""
    header = struct.pack(">IIBBBBB", W, H, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def scanned_jpeg(scans, size):
    """Return a progressive JPEG whose last scan is repeated."""
    file = encoded(Image.new("L", size, 255), "JPEG", progressive=True)
    last = file[file.rfind(b"\xff\xc4") : -2]  # with its Huffman table
    return file[:-2] + last * (scans - file.count(b"\xff\xda")) + file[-2:]


def tiff(values, count=1):
    """Return a TIFF file of 16×16 pixels in `count` strips or tiles."""
    values = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1} | values
    counts = {273: count, 324: count}
    tags = b"".join(
        struct.pack("<HHII", tag, 4, counts.get(tag, 1), values[tag]) for tag in sorted(values)
    )
    return b"II*\0" + struct.pack("<IH", 8, len(values)) + tags + bytes(4 + 4 * count)


TOO_MUCH_WORK = {
    "a long row": lambda: sized_png(64_000_000, 1),
    "a long column": lambda: sized_png(1, 100_000),
    "pixels": lambda: sized_png(8001, 8000),
    "1,500 scans": lambda: scanned_jpeg(1500, (600, 600)),
    "a large tile": lambda: tiff({322: 9000, 323: 9000, 324: 8, 325: 4}),
    "strips": lambda: tiff({273: 8, 278: 1, 279: 1}, 200_001),
    "tiles": lambda: tiff({322: 16, 323: 16, 324: 8, 325: 4}, 200_001),
    "plain text": lambda: b"P2 1001 1000 255\n" + b"1 " * 1_001_000,
    "long plain text": lambda: b"P2 1000 1000 255\n" + b"100 " * 1_000_000,
    "comments": lambda: b"P2 9 9 255\n" + b"#\n" * 125_000 + b"1 " * 81,
    "another maximum": lambda: b"P5 1001 1000 200\n" + bytes(1_001_000),
    "markers": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 200_000,
    "fill bytes": lambda: b"\xff\xd8" + b"\xff" * 400_000,
    "runs": lambda: rle_bitmap(250_000),
}


def rle_bitmap(runs):
    """Return a BMP file of runs of one pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, 900, 900, 1, 8, 1, 2 * runs, 0, 0, 256, 0)
    head = b"BM" + struct.pack("<IHHI", 1078 + 2 * runs, 0, 0, 1078)
    return head + header + bytes(1024) + b"\1\2" * runs


@pytest.mark.parametrize("kind", TOO_MUCH_WORK)
def test_a_file_that_asks_for_too_much_work_is_refused(kind):
    with pytest.raises(
        ImageError, match=r"the number of pixels must be|bytes; the limit is|; save it anew as"
    ):
        to_mnist_format(TOO_MUCH_WORK[kind]())


def test_a_jpeg_of_usual_scans_is_read():
    image = Image.fromarray(255 - five())
    file = encoded(image, "JPEG", progressive=True, quality=95)
    assert file.count(b"\xff\xda") > 1
    assert difference(to_mnist_format(file), to_mnist_format(image)) < 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "F", "CMYK"])
def test_a_large_picture_is_reduced_before_anything_else(monkeypatch, mode):
    seen = []
    to_gray = load_image.to_gray

    def record(image, name):
        seen.append(image.size)
        return to_gray(image, name)

    monkeypatch.setattr(load_image, "to_gray", record)
    gray = np.zeros((2500, 4900), np.uint8)
    gray[500:2000, 300:400] = 255
    image = Image.fromarray(gray)
    if mode == "LA":
        image = Image.merge("LA", [image, Image.new("L", image.size, 255)])
    image = Image.fromarray(gray * np.uint16(257)) if mode == "I;16" else image.convert(mode)
    picture = load_image.read_picture(image)
    assert seen == [(1634, 834)]
    assert (picture.scale, picture.size) == (3, (4900, 2500))
    rows, columns = np.nonzero(picture.gray > 128)
    assert (rows.min(), columns.min(), columns.max()) == (167, 100, 132)


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(monkeypatch):
    image = Image.new("L", (700, 500), 255)
    image.paste(0, (300, 100, 350, 400))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(image, "JPEG", exif=exif)
    monkeypatch.setattr(load_image, "KEPT_SIDE", 120)
    monkeypatch.setattr(load_image, "MAX_PIXELS", 175 * 125)  # the file claims 16 times as many
    picture = load_image.read_picture(file)
    assert picture.image.size == (63, 88)  # a quarter, halved, upright
    assert (picture.scale, picture.size) == (8, (500, 700))
    (digit,) = minicnn.detect_digits(file)
    assert np.abs(np.subtract(digit.box, (100, 300, 400, 350))).max() <= 2 * picture.scale


# ---------------------------------------------------------------- errors


def test_an_unreadable_file_is_an_error_with_its_name(tmp_path):
    path = tmp_path / "digit.png"
    with pytest.raises(FileNotFoundError, match=r"digit\.png does not exist; give the path of an"):
        to_mnist_format(path)
    path.write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"digit\.png is not a readable image \(PNG"):
        to_mnist_format(path)
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"digit\.png: the file is empty"):
        to_mnist_format(path)
    with pytest.raises(ImageError, match="is a folder or a device; give the path of an"):
        to_mnist_format(tmp_path)


def test_a_truncated_file_is_an_error_with_its_name(tmp_path):
    path = tmp_path / "digit.png"
    whole = png(Image.fromarray(five(40, 4)))
    for size in range(1, len(whole) - 32, 7):  # then only checksums and the end marker are missing
        path.write_bytes(whole[:size])
        with pytest.raises(ImageError, match=r"digit\.png"):
            to_mnist_format(path)


def test_a_decompression_bomb_is_rejected_before_decoding():
    for W, H in ((9000, 9000), (100_000, 100_000)):
        with pytest.raises(ImageError, match=r"bytes.*pixels"):
            to_mnist_format(sized_png(W, H))


def test_large_files_and_arrays_are_rejected(tmp_path, monkeypatch):
    path = tmp_path / "digit.png"
    path.write_bytes(png(Image.fromarray(five())))
    monkeypatch.setattr(load_image, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match=r"digit\.png has \d+ bytes; the limit is 100"):
        to_mnist_format(path)
    with pytest.raises(ImageError, match=r"bytes has \d+ bytes; the limit is 100"):
        to_mnist_format(path.read_bytes())
    monkeypatch.setattr(load_image, "MAX_PIXELS", 99)
    with pytest.raises(
        ImageError, match=r"array \(10, 10\) of uint8: the number of pixels must be 1 to 99"
    ):
        to_mnist_format(np.zeros((10, 10), np.uint8))


def test_a_file_may_have_64_megabytes():
    load_image.check_size(64 * 1024 * 1024, "photo.png", load_image.MAX_BYTES)
    with pytest.raises(ImageError, match="the limit is 67108864"):
        load_image.check_size(64 * 1024 * 1024 + 1, "photo.png", load_image.MAX_BYTES)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((3, 4, 2), np.uint8), r"array \(3, 4, 2\).*the shape must be \(H, W\)"),
        (np.zeros((0, 4), np.uint8), r"the shape must be \(H, W\)"),
        (np.zeros((4, 4), np.int64), "the dtype must be uint8, uint16, bool or float"),
        (np.full((4, 4), 200.0), r"floats must be 0 to 1; convert 0\.\.255 to uint8"),
        (np.full((4, 4), np.nan), r"floats must be 0 to 1; convert 0\.\.255 to uint8"),
    ],
)
def test_invalid_arrays_are_rejected(array, match):
    with pytest.raises(ImageError, match=match):
        to_mnist_format(array)


def test_other_types_are_rejected():
    with pytest.raises(
        TypeError, match="image must be a path, bytes, a Pillow image or an array, not 5"
    ):
        to_mnist_format(5)


# ---------------------------------------------------------------- regions and distances


def test_regions_touch_at_corners_too():
    mask = np.array(
        [[1, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0]], bool
    )
    regions = label_regions(mask)
    assert np.array_equal(
        regions.labels,
        [[1, 0, 1, 0, 0, 2], [0, 1, 0, 0, 0, 2], [0, 0, 0, 0, 2, 0], [3, 3, 0, 0, 0, 0]],
    )
    assert regions.boxes.tolist() == [[0, 0, 2, 3], [0, 4, 3, 6], [3, 0, 4, 2]]
    assert regions.areas.tolist() == [3, 3, 2]


def flood_fill(mask):
    """Label a mask by filling one region after another."""
    labels = np.zeros(mask.shape, int)
    for seed in np.argwhere(mask):
        if not labels[tuple(seed)]:
            label, queue = labels.max() + 1, [tuple(seed)]
            while queue:
                i, j = queue.pop()
                if (
                    0 <= i < len(mask)
                    and 0 <= j < mask.shape[1]
                    and mask[i, j]
                    and not labels[i, j]
                ):
                    labels[i, j] = label
                    queue += [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return labels


@pytest.mark.parametrize("density", [0.0, 0.2, 0.4, 0.6, 1.0])
def test_regions_equal_those_of_a_flood_fill(density):
    rng = np.random.default_rng(4)
    for H, W in ((1, 9), (9, 1), (13, 17), (24, 11)):
        mask = rng.random((H, W)) < density
        expected = flood_fill(mask)
        regions = label_regions(mask)
        assert np.array_equal(regions.labels, expected)
        assert regions.labels.max() == len(regions.boxes) == len(regions.areas)
        for index, (top, left, bottom, right) in enumerate(regions.boxes):
            pixels = np.argwhere(expected == index + 1)
            assert (pixels.min(axis=0) == (top, left)).all()
            assert (pixels.max(axis=0) == (bottom - 1, right - 1)).all()
            assert len(pixels) == regions.areas[index]


def test_hysteresis_keeps_weak_pixels_connected_to_a_strong_one():
    levels = np.array([[9, 0, 5, 0], [0, 5, 0, 0], [0, 0, 0, 5]], np.uint8)
    kept = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert hysteresis_threshold(levels, 4, 8).tolist() == np.array(kept, bool).tolist()


@pytest.mark.parametrize("density", [0.3, 0.8, 0.97, 1.0])
def test_stroke_width_equals_that_of_all_pixel_distances(density):
    ink = np.random.default_rng(5).random((11, 14)) < density
    padded = np.pad(ink, 1)
    paper = np.argwhere(~padded)
    distances = [np.sqrt(((paper - pixel) ** 2).sum(axis=1).min()) for pixel in np.argwhere(padded)]
    assert stroke_width(ink.astype(np.float32)) == pytest.approx(4 * (np.mean(distances) - 0.5))


@pytest.mark.parametrize("turns", range(4))
def test_a_digit_that_is_heavy_at_one_side_stays_whole(turns):
    """Place the center of mass as near to the middle as the image allows."""
    digit = np.full((20, 10), 0.01, np.float32)
    digit[18:] = 1  # the center is 4 pixels lower than 14 allows
    placed = np.rot90(center_by_mass(np.rot90(digit, turns)), -turns)
    rows = np.flatnonzero(placed.any(axis=1))
    assert (rows[0], rows[-1], np.count_nonzero(placed)) == (0, 19, digit.size)


def test_a_million_regions_need_no_python_object_each(monkeypatch):
    monkeypatch.setattr(ndimage, "find_objects", None)  # returns two slices for each region
    mask = np.zeros((100, 60), bool)
    mask[1::2, ::3] = True
    mask[1, :7] = True
    regions = label_regions(mask)
    assert regions.boxes[0].tolist() == [1, 0, 2, 7]
    assert regions.boxes[1:4].tolist() == [[1, 9, 2, 10], [1, 12, 2, 13], [1, 15, 2, 16]]
    assert len(regions.boxes) == 50 * 20 - 2
    assert regions.areas.tolist() == [7] + [1] * (50 * 20 - 3)


def test_hysteresis_equals_binary_propagation():
    levels = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    for low, high in ((200, 240), (100, 254), (10, 10), (0, 255)):
        expected = ndimage.binary_propagation(levels > high, np.ones((3, 3)), mask=levels > low)
        np.testing.assert_array_equal(hysteresis_threshold(levels, low, high), expected)


def test_a_photo_in_a_frame_is_read():
    rng = np.random.default_rng(1)
    scene = np.full((900, 1000), 200.0)
    scene[200:700, 400:480] = 50
    framed = np.zeros((1100, 1200), np.uint8)
    framed[100:-100, 100:-100] = (scene + rng.normal(0, 4, scene.shape)).clip(1, 255)
    foreground = segment_foreground(framed)
    assert foreground.scale == 1
    assert foreground.mask[350:750, 520:560].all()
    assert not foreground.mask[350:750, 600:].any()
    assert has_mnist_format(to_mnist_format(framed))


def test_a_line_of_one_pixel_stays_one_pixel():
    line = np.ones((1, 100), np.float32)
    assert resize(line, 0.2, "BICUBIC").shape == (1, 20)
    assert resize(line.T, 0.2, "BICUBIC").shape == (20, 1)
