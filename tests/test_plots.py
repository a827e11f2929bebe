"""Figures: what they show, that nothing overlaps, and that they look the same everywhere."""

import io
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.text
import numpy as np
import pytest
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from minicnn import plots
from minicnn.plots import sheet

FASHION = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 6, 6), np.uint8)


def probabilities(count, classes):
    """Rows that sum to 1, mostly sure of something."""
    return RNG.dirichlet(np.full(classes, 0.2), count).astype(np.float32)


def texts(figure):
    """All that is written on a figure, with where it stands, in pixels."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    found = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_text() and text.get_visible()
    ]
    # an axis keeps labels of ticks beyond its ends, which are not drawn
    return [(text, box) for text, box in found if box.x1 > 0 and box.y1 > 0]


def pixels(figure):
    """The figure as an array of pixels, through a file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file))


def check(figure):
    """Return the texts of a figure once it is proven opaque, and they whole and apart."""
    assert isinstance(figure, Figure)
    assert figure.get_facecolor() == (1, 1, 1, 1)
    found = texts(figure)
    width, height = figure.get_size_inches() * figure.dpi
    x0, y0, x1, y1 = np.array([box.extents for _, box in found]).T
    outside = (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height)
    assert not outside.any(), [found[place][0] for place in np.flatnonzero(outside)]
    apart = (x1[:, None] <= x0 + 0.5) | (y1[:, None] <= y0 + 0.5)
    overlap = np.argwhere(np.triu(~(apart | apart.T), k=1))
    assert not len(overlap), [(found[one][0], found[other][0]) for one, other in overlap]
    return [text for text, _ in found]


# ---------------------------------------------------------------- readings


@pytest.mark.parametrize(("count", "classes"), [(1, 10), (3, 26), (13, 10), (40, 2)])
def test_readings(count, classes):
    names = None if count == 1 else (FASHION * 3)[:classes]
    titles = [f"{'long_folder_name/' * (number % 5)}{number}.png" for number in range(count)]
    shares = probabilities(count, classes)
    figure = plots.readings(
        list(IMAGES[:count]), IMAGES[:count], shares, titles=titles, class_names=names
    )
    found = check(figure)
    assert {f"{share:.1%}" for share in shares.max(axis=1)} <= set(found)
    assert set(titles[:3]) <= set(found)  # the short ones are whole
    bars = [patch for patch in figure.axes[0].patches if patch.get_fill()]
    assert len(bars) == count * min(classes, 10)
    longest = max(bar.get_width() for bar in bars)
    assert longest == pytest.approx(shares.max() * 1.2, rel=1e-5)


def test_readings_show_pictures_of_every_kind_upon_white():
    black = np.zeros((4, 8, 4), np.uint8)  # transparent
    given = [
        black,
        Image.fromarray(black),
        np.ones((8, 4)),
        np.ones((4, 4, 1), np.float32),
        np.full((3000, 10, 3), 255, np.uint8),
        Image.new("1", (5, 5), 1),
        Image.new("LA", (5, 5), (0, 0)),
        Image.new("P", (5, 5), 0).convert("RGB").point(lambda _: 255),
    ]
    figure = plots.readings(given, IMAGES[:8], probabilities(8, 3))
    check(figure)
    shown = [image.get_array() for image in figure.axes[0].images[::2]]
    assert all((image == 255).all() for image in shown)
    assert shown[0].shape == (4, 8, 3)
    assert max(shown[4].shape) <= 504  # thinned out before it is drawn
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)  # twice as wide as high, as given


def test_texts_that_would_be_misread_or_cannot_be_drawn_are_made_harmless():
    assert sheet.readable("数字.png", 9) == "��.png"
    assert sheet.readable("short", 9, 5) == "short"
    assert sheet.readable("wide", 9, 0.01) == "…"
    cut = sheet.readable("a/long/name/of/a/folder/digit.png", 9, 1.5)
    assert re.fullmatch("a/.*….*digit.png", cut)
    assert 1.2 < sheet.text_width(cut, 9) <= 1.5
    assert sheet.text_width("$x^2$", 9) > sheet.text_width("$x^2", 9) > sheet.text_width("x^2", 9)
    titles = ["$x_1$ and $\\frac{1}{2}$", "50 % $", "line\nbreak"]
    figure = plots.readings(list(IMAGES[:3]), IMAGES[:3], probabilities(3, 3), titles=titles)
    assert set(titles[:2]) < set(check(figure))


# ---------------------------------------------------------------- what holds for all


def test_the_style_that_a_user_has_set_changes_nothing():
    def draw():
        shares = np.eye(3, dtype=np.float32)
        return plots.readings(list(IMAGES[:3]), IMAGES[:3], shares, titles=["a", "b", "c"])

    usual = pixels(draw())
    with style.context("dark_background"):
        assert np.array_equal(pixels(draw()), usual)
        figure = draw()
        assert figure._repr_png_().startswith(b"\x89PNG")
    assert np.array_equal(pixels(figure), usual)


def test_pyplot_is_left_alone():
    code = """
import sys
import matplotlib
before = matplotlib.rcParams.copy()
import numpy as np
from minicnn import plots
image = np.zeros((1, 4, 4), np.uint8)
plots.readings(image, image, np.ones((1, 1)))._repr_png_()
assert matplotlib.rcParams.copy() == before
print("matplotlib.pyplot" in sys.modules)
"""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "False\n"


# ---------------------------------------------------------------- wrong arguments

SHARES = np.eye(2)
WRONG = {
    "readings: given has 1 pictures, probabilities 2": (
        plots.readings,
        [IMAGES[0]],
        IMAGES[:2],
        SHARES,
    ),
    "readings: seen has 3 pictures, probabilities 2": (
        plots.readings,
        IMAGES[:2],
        IMAGES[:3],
        SHARES,
    ),
    "readings: draw at most 300 pictures in one figure, not 301": (
        plots.readings,
        [IMAGES[0]] * 301,
        np.zeros((301, 2, 2), np.uint8),
        np.ones((301, 1)),
    ),
    "readings: each row must be probabilities that sum to 1": (
        plots.readings,
        IMAGES[:2],
        IMAGES[:2],
        SHARES * 2,
    ),
    "readings: given must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not (1, 4, 4, 2)": (
        plots.readings,
        [np.zeros((4, 4, 2))] * 2,
        IMAGES[:2],
        SHARES,
    ),
    "readings: pixels of float images must lie in 0..1": (
        plots.readings,
        [np.full((4, 4), 255.0)] * 2,
        IMAGES[:2],
        SHARES,
    ),
    "readings: images must be a NumPy array, not str": (
        plots.readings,
        ["a.png", "b.png"],
        IMAGES[:2],
        SHARES,
    ),
    "readings: images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not (4,)": (
        plots.readings,
        IMAGES[:2],
        IMAGES[0, 0, :4],
        SHARES,
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments(message):
    function, *arguments = WRONG[message]
    of_type = "must be a NumPy array" in message
    with pytest.raises(TypeError if of_type else ValueError, match=re.escape(message)):
        function(*arguments)
