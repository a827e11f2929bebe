"""What a network made of pictures that people gave it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from minicnn.plots.image_grid import as_pictures
from minicnn.plots.style import (
    BLUE,
    GRAY,
    LIGHT,
    NORMAL,
    SMALL,
    inches,
    own_style,
    percent,
    picture,
    readable,
    text_width,
    write,
)
from minicnn.shapes import FloatArray
from minicnn.shapes.checks import (
    check_array,
    check_class_names,
    check_pixels,
    check_probability_rows,
)

SIZE, GAP, HEAD, BAR = 1.4, 0.15, 0.25, 1.2  # inches: pictures, between, a line of text, 100 %
SHARE = 0.45  # for "100.0%"
MOST_BARS = 10
SHARPEST = 504  # pixels across a thumbnail: 360 an inch
MOST = 300  # readings in one figure: more would make a picture that few programs can open

Picture = NDArray[Any] | Image.Image


@own_style
def predictions(
    given: Sequence[Picture],
    seen: NDArray[Any],
    probabilities: FloatArray,
    *,
    titles: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Show for each picture what was given, what the network saw of it, and what it made of it.

    Parameters
    ----------
    given : sequence of PIL.Image.Image or ndarray
        N pictures of any sizes: arrays are uint8 (0 to 255) or float (0 to 1) of shape (H, W),
        (H, W, 1), (H, W, 3) or, with alpha, (H, W, 4). What is transparent is shown light gray, so
        that ink of any color is seen.
    seen : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        What the network saw, such as `minicnn.to_mnist_format` gives: uint8 or float.
    probabilities : ndarray of float (N, classes)
        Rows that sum to 1, such as ``model.predict_proba(seen)``. Of more than ten classes the ten
        likeliest are shown.
    titles : sequence of str, optional
        A line for each picture, such as the name of its file.
    class_names : sequence of str, optional
        One name for each class; their numbers where left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong dtype or shape, they do not fit each other, or there are more
        than 300 pictures.
    """
    check_array("readings", "probabilities", probabilities, "N classes")
    check_probability_rows("readings", probabilities, probabilities.shape, "row")
    count, classes = probabilities.shape
    names = check_class_names("readings", class_names, classes)
    networks = as_pictures("readings", seen)
    titles = [""] * count if titles is None else titles
    for name, length in {"given": len(given), "seen": len(networks), "titles": len(titles)}.items():
        if length != count:
            raise ValueError(f"readings: {name} has {length} pictures, probabilities {count}")
    if count > MOST:
        raise ValueError(f"readings: draw at most {MOST} pictures in one figure, not {count}")

    names = [readable(name, SMALL, 1.0) for name in names]
    margin = max(text_width(name, SMALL) for name in names) + 0.05
    width = SIZE + GAP + SIZE + GAP + margin + BAR + SHARE
    head = HEAD if any(titles) else 0.0
    height = head + SIZE + GAP
    columns = 1 if count == 1 else 2 if count <= 12 else 3
    rows = -(-count // columns)
    sheet, axes = inches(columns * (width + GAP) + GAP, HEAD + rows * height + GAP)
    for column in range(columns):
        x = GAP + column * (width + GAP)
        for place, text in enumerate(["given", "what the network saw", "what it says"]):
            write(axes, x + place * (SIZE + GAP), HEAD - 0.06, text, color=GRAY)
    for number, (first, second, row) in enumerate(zip(given, networks, probabilities, strict=True)):
        down, across = divmod(number, columns)
        x, y = GAP + across * (width + GAP), HEAD + down * height
        title = readable(titles[number], NORMAL, width)
        write(axes, x, y + HEAD - 0.06, title, fontweight="bold")
        y += head
        _in_box(axes, _thumbnail(first), x, y)
        _in_box(axes, second, x + SIZE + GAP, y)
        _bars(axes, row, names, x + 2 * (SIZE + GAP) + margin, y)
    return sheet


def _thumbnail(given: Picture) -> NDArray[np.uint8]:
    """Return a picture of any kind in colors, opaque, no larger than can be seen."""
    if not isinstance(given, (Image.Image, np.ndarray)):
        raise TypeError(
            f"readings: given must hold PIL images or NumPy arrays, not {type(given).__name__}"
        )
    if isinstance(given, np.ndarray):
        check_pixels("readings", given)
        if given.ndim == 3 and given.shape[2] == 4:
            pixels = given
        else:
            pixels = as_pictures("readings", given[None], "given")[0]
        if pixels.dtype != np.uint8:
            pixels = np.rint(pixels * 255).astype(np.uint8)
        given = Image.fromarray(pixels)
    if given.mode in ("I", "F") or given.mode.startswith("I;"):  # 16 bits and more
        levels = np.asarray(given, np.float64)
        given = Image.fromarray((255 * levels / max(levels.max(), 1)).astype(np.uint8))
    small = given.copy()
    small.thumbnail((SHARPEST, SHARPEST))
    small = small.convert("RGBA")
    ground = Image.new("RGBA", small.size, LIGHT)
    return np.asarray(Image.alpha_composite(ground, small).convert("RGB"))


def _in_box(axes: Axes, image: NDArray[Any], x: float, y: float) -> None:
    """Put a picture of any proportions into the middle of a square."""
    height, width = image.shape[:2]
    width, height = SIZE * width / max(width, height), SIZE * height / max(width, height)
    picture(axes, image, (x + (SIZE - width) / 2, y + (SIZE - height) / 2, width, height))


def _bars(axes: Axes, row: FloatArray, names: list[str], x: float, y: float) -> None:
    """Draw the probability of each class, of the ten likeliest where there are more."""
    best = np.argsort(-row, kind="stable")
    shown = np.sort(best[:MOST_BARS])
    pitch = min(SIZE / len(shown), 0.25)
    middles = y + (np.arange(len(shown)) + 0.5) * pitch
    colors = [BLUE if k == best[0] else LIGHT for k in shown]
    axes.barh(middles, BAR * row[shown], 0.7 * pitch, left=x, color=colors)
    for middle, k in zip(middles, shown, strict=True):
        options = {
            "fontsize": SMALL,
            "fontweight": "bold" if k == best[0] else "normal",
            "va": "center_baseline",
        }
        write(axes, x - 0.05, middle, names[k], ha="right", **options)
        if k in best[:2] and row[k] >= 0.0005:
            write(axes, x + BAR * row[k] + 0.04, middle, percent(row[k]), **options)
    axes.plot([x, x], [y, y + pitch * len(shown)], color=GRAY, linewidth=0.8)
