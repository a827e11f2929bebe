"""Images side by side: grids, mistakes, augmentation, predictions."""

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from minicnn.plots import style
from minicnn.plots.style import inches, own_style, picture, readable, text_width, write
from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import (
    check_array,
    check_class_names,
    check_labels,
    check_pixel_range,
    check_pixels,
    check_probability_rows,
    positive_int,
)
from minicnn.table import percent
from minicnn.train.data_parallel import Augmentation

# Inches: the longer side of a tile, the gap between tiles, a line of text, the title.
TILE, GAP, LINE, TITLE = 0.98, 0.12, 0.15, 0.35


class Section(NamedTuple):
    """Pictures of one size, drawn in rows."""

    pictures: NDArray[Any]  # (N, H, W) or (N, H, W, 3)
    title: str = ""
    captions: Sequence[Sequence[str]] = ()  # lines for each picture, as many for each; or none
    colors: str | Colormap = "gray"  # the color map of pictures (H, W)
    limits: tuple[float, float] = (0, 1)  # the values at the ends of the color map

    def row_height(self) -> float:
        """Return the inches of a row with its captions and the gap below."""
        H, W = self.pictures.shape[1:3]
        lines = len(self.captions[0]) if self.captions else 0
        return float(lines * LINE + TILE * H / max(H, W) + GAP)


@own_style
def image_grid(
    images: NDArray[Any], captions: Sequence[str] | None = None, *, columns: int = 10
) -> Figure:
    """Draw images in a grid, each below its caption.

    Parameters
    ----------
    images : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        uint8 (0 to 255), or float (0 to 1).
    captions : sequence of str, optional
        A caption for each image, such as its class.
    columns : int
        Images in a row.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If dtype, shape or pixel range is wrong, or the number of captions is not N.
    """
    pictures = as_pictures("image_grid", images)
    columns = positive_int("image_grid", "columns", columns)
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"image_grid: {len(captions)} captions for {len(pictures)} images")
    lines = [[readable(text, style.SMALL, 2.0)] for text in captions or []]
    return grid([Section(pictures, captions=lines)], min(columns, len(pictures)))


@own_style
def worst_mistakes(
    images: NDArray[Any],
    labels: IntArray,
    probabilities: Array,
    *,
    class_names: Sequence[str] | None = None,
    count: int = 24,
) -> Figure:
    """Draw the misclassified images, most confident first.

    Parameters
    ----------
    images : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        uint8 (0 to 255), or float (0 to 1).
    labels : ndarray of int (N,)
        True classes.
    probabilities : ndarray of float (N, classes)
        Rows that sum to 1, such as ``model.predict_proba(images)``.
    class_names : sequence of str, optional
        A name for each class; default: its index.
    count : int
        The largest number of images to draw.

    Returns
    -------
    matplotlib.figure.Figure
        Above each image its index, its class, and the prediction with its confidence.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other.
    """
    check_pixels("worst_mistakes", images)
    check_array("worst_mistakes", "probabilities", probabilities, "N classes")
    check_probability_rows("worst_mistakes", probabilities, probabilities.shape, "row")
    check_labels("worst_mistakes", labels, *probabilities.shape)
    names = check_class_names("worst_mistakes", class_names, probabilities.shape[1])
    names = [readable(name, style.SMALL, 1.2) for name in names]
    count = positive_int("worst_mistakes", "count", count)
    if len(images) != len(labels):
        raise ValueError(f"worst_mistakes: {len(images)} images, but {len(labels)} labels")
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    title = f"{len(wrong):,} of {len(labels):,} read wrong"
    if not len(worst):
        return inches(0, 0.2, title)[0]
    if len(worst) < len(wrong):
        title += f"; the {len(worst)} surest"
    captions = [
        [f"image {n}", f"true {names[labels[n]]}", f"read {names[k]}, {percent(confidence[n])}"]
        for n, k in zip(worst, predicted[worst], strict=True)
    ]
    pictures = as_pictures("worst_mistakes", images[worst])
    return grid([Section(pictures, captions=captions)], min(6, len(worst)), title)


@own_style
def augmentation_grid(
    images: NDArray[Any],
    augment: Augmentation,
    *,
    image_ids: IntArray | None = None,
    seed: int = 0,
    epochs: int = 8,
) -> Figure:
    """Draw images beside the augmented versions of each epoch.

    Parameters
    ----------
    images : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        uint8 (0 to 255), or float (0 to 1).
    augment : callable
        Such as `minicnn.Augment`: the argument of `fit`.
    image_ids : ndarray of int (N,), optional
        Their indices in the data set; default: 0, 1, 2, …
    seed : int
        The seed of `fit`. With it and the indices of `fit` the images are those of `fit`.
    epochs : int
        The number of epochs to draw.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each image: the original, then one version for each epoch.

    Raises
    ------
    TypeError, ValueError
        If dtype, shape or pixel range is wrong, or `augment` rejects the images.
    """
    pictures = as_pictures("augmentation_grid", images)
    epochs = positive_int("augmentation_grid", "epochs", epochs)
    image_ids = np.arange(len(images)) if image_ids is None else image_ids
    augmented = [
        as_pictures("augmentation_grid", augment(images, image_ids, seed=seed, epoch=epoch))
        for epoch in range(epochs)
    ]
    rows = np.stack([pictures, *augmented], axis=1)  # (N, 1 + epochs, H, W)
    headings = ["original", *(f"epoch {epoch + 1}" for epoch in range(epochs))]
    section = Section(rows.reshape(-1, *pictures.shape[1:]))
    return grid([section], 1 + epochs, headings=headings)


def grid(
    sections: Sequence[Section],
    columns: int,
    title: str = "",
    headings: Sequence[str] = (),  # one for each column
) -> Figure:
    """Draw the pictures of each section in rows."""
    lines = [line for section in sections for caption in section.captions for line in caption]
    across = max([TILE, *(text_width(text, style.SMALL) for text in [*headings, *lines])]) + GAP
    titles = [text_width(section.title, style.NORMAL) for section in sections]
    y = TITLE * bool(title) + LINE * bool(headings)
    head = LINE * bool(sections[0].title)  # either all sections have titles or none
    heights = [
        head + ceil(len(section.pictures) / columns) * section.row_height() + GAP
        for section in sections
    ]
    sheet, axes = inches(max(columns * across - GAP, *titles), y + sum(heights) - 2 * GAP, title)
    for column, heading in enumerate(headings):
        write(axes, column * across, y - 0.05, heading, **style.NOTE)
    for section, height in zip(sections, heights, strict=True):
        write(axes, 0, y + head - 0.07, section.title)
        captions = section.captions or [()] * len(section.pictures)
        for index, (image, caption) in enumerate(zip(section.pictures, captions, strict=True)):
            row, column = divmod(index, columns)
            left, top = column * across, y + head + row * section.row_height()
            for text in caption:
                top += LINE
                weight = "bold" if text is caption[-1] and len(caption) > 1 else "normal"
                write(axes, left, top - 0.05, text, fontsize=style.SMALL, fontweight=weight)
            picture(axes, image, left, top, TILE, section.colors, section.limits)
        y += height
    return sheet


def as_pictures(op: str, images: NDArray[Any], name: str = "images") -> NDArray[Any]:
    """Check images; return float (N, H, W) or (N, H, W, 3) in 0 to 1."""
    check_pixels(op, images)
    if images.ndim < 3 or images.shape[3:] not in ((), (1,), (3,)):
        raise ValueError(
            f"{op}: {name} must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not {images.shape}"
        )
    if images.shape[3:] == (1,):
        images = images[..., 0]
    if images.dtype == np.uint8:
        return images / np.float32(255)
    check_pixel_range(op, images)
    return images.clip(0, 1)


# ---------------------------------------------------------------- predictions

# Inches: the side of an image, the gap, a line of text, a bar of 100 %, the text "100.0%".
SIDE, SPACE, HEAD, BAR, SHARE = 1.4, 0.15, 0.25, 1.2, 0.45
MAX_BARS = 10
MAX_PIXELS = 504  # across a thumbnail: 360 an inch
MAX_PREDICTIONS = 300  # in one figure: few programs open a larger picture

Picture = NDArray[Any] | Image.Image


@own_style
def predictions(
    originals: Sequence[Picture],
    inputs: NDArray[Any],
    probabilities: Array,
    *,
    titles: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draw each image beside the network's input and its probabilities.

    Parameters
    ----------
    originals : sequence of PIL.Image.Image or ndarray
        N images of any sizes. Arrays are uint8 (0 to 255) or float (0 to 1) of shape (H, W),
        (H, W, 1), (H, W, 3) or, with alpha, (H, W, 4). Transparent pixels are drawn light gray, so
        that ink of any color is visible.
    inputs : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        The network's inputs, such as `minicnn.to_mnist_format` returns: uint8 or float.
    probabilities : ndarray of float (N, classes)
        Rows that sum to 1, such as ``model.predict_proba(inputs)``. With more than ten classes the
        ten most probable are drawn.
    titles : sequence of str, optional
        A line for each image, such as its file name.
    class_names : sequence of str, optional
        A name for each class; default: its index.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong dtype or shape, the lengths differ, or N is above 300.
    """
    check_array("predictions", "probabilities", probabilities, "N classes")
    check_probability_rows("predictions", probabilities, probabilities.shape, "row")
    count, classes = probabilities.shape
    names = check_class_names("predictions", class_names, classes)
    names = [readable(name, style.SMALL, 1.0) for name in names]
    tiles = as_pictures("predictions", inputs)
    titles = [""] * count if titles is None else titles
    lengths = {"originals": len(originals), "inputs": len(tiles), "titles": len(titles)}
    for name, length in lengths.items():
        if length != count:
            raise ValueError(
                f"predictions: {name} must be {count}, one for each row of probabilities, "
                f"not {length}"
            )
    if count > MAX_PREDICTIONS:
        raise ValueError(
            f"predictions: draw at most {MAX_PREDICTIONS} images in one figure, not {count}"
        )

    margin = max(text_width(name, style.SMALL) for name in names) + 0.05
    width = SIDE + SPACE + SIDE + SPACE + margin + BAR + SHARE
    head = HEAD if any(titles) else 0.0
    height = head + SIDE + SPACE
    columns = 1 if count == 1 else 2 if count <= 12 else 3
    rows = ceil(count / columns)
    sheet, axes = inches(columns * (width + SPACE) - SPACE, LINE + rows * height - SPACE)
    for column in range(columns):
        x = column * (width + SPACE)
        for part, text in enumerate(["original", "network input", "probabilities"]):
            write(axes, x + part * (SIDE + SPACE), LINE - 0.06, text, color=style.GRAY)
    cells = zip(originals, tiles, probabilities, titles, strict=True)
    for index, (original, tile, row, title) in enumerate(cells):
        down, across = divmod(index, columns)
        x, y = across * (width + SPACE), LINE + down * height
        title = readable(title, style.NORMAL, width)
        write(axes, x, y + HEAD - 0.06, title, fontweight="bold")
        y += head
        _centered(axes, _thumbnail(original), x, y)
        _centered(axes, tile, x + SIDE + SPACE, y)
        _bars(axes, row, names, x + 2 * (SIDE + SPACE) + margin, y)
    return sheet


def _thumbnail(original: Picture) -> NDArray[np.uint8]:
    """Return an image of any kind as opaque RGB, at most MAX_PIXELS across."""
    if not isinstance(original, (Image.Image, np.ndarray)):
        raise TypeError(
            f"predictions: originals must hold PIL images or NumPy arrays, "
            f"not {type(original).__name__}"
        )
    if isinstance(original, np.ndarray):
        check_pixels("predictions", original)
        pixels = original
        if original.shape[2:] != (4,):
            pixels = as_pictures("predictions", original[None], "originals")[0]
        if pixels.dtype != np.uint8:
            pixels = np.rint(pixels * 255).astype(np.uint8)
        original = Image.fromarray(pixels)
    if original.mode in ("I", "F") or original.mode.startswith("I;"):  # 16 bits and more
        levels = np.asarray(original, np.float64)
        original = Image.fromarray((255 * levels / max(levels.max(), 1)).astype(np.uint8))
    small = original.copy()
    small.thumbnail((MAX_PIXELS, MAX_PIXELS))
    small = small.convert("RGBA")
    background = Image.new("RGBA", small.size, style.LIGHT)
    return np.asarray(Image.alpha_composite(background, small).convert("RGB"))


def _centered(axes: Axes, image: NDArray[Any], x: float, y: float) -> None:
    """Draw an image of any proportions in the middle of a square."""
    H, W = image.shape[:2]
    pixel = SIDE / max(H, W)
    picture(axes, image, x + (SIDE - W * pixel) / 2, y + (SIDE - H * pixel) / 2, SIDE)


def _bars(axes: Axes, row: Array, names: list[str], x: float, y: float) -> None:
    """Draw a bar for the probability of each of the MAX_BARS best classes."""
    best = np.argsort(-row, kind="stable")
    shown = np.sort(best[:MAX_BARS])
    pitch = min(SIDE / len(shown), 0.25)
    middles = y + (np.arange(len(shown)) + 0.5) * pitch
    colors = [style.VERMILION if k == best[0] else style.LIGHT for k in shown]
    axes.barh(middles, BAR * row[shown], 0.7 * pitch, left=x, color=colors)
    for middle, k in zip(middles, shown, strict=True):
        weight = "bold" if k == best[0] else "normal"
        options = {"fontsize": style.SMALL, "fontweight": weight, "va": "center_baseline"}
        write(axes, x - 0.05, middle, names[k], ha="right", **options)
        if k in best[:2] and row[k] >= 0.0005:
            write(axes, x + BAR * row[k] + 0.04, middle, percent(row[k]), **options)
    axes.plot([x, x], [y, y + pitch * len(shown)], color=style.GRAY, linewidth=0.8)
