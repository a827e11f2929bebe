"""Images side by side: as they are, as they are varied, and those that were read wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from minicnn.plots.style import (
    GRAY,
    LARGE,
    SMALL,
    inches,
    own_style,
    percent,
    picture,
    readable,
    text_width,
    write,
)
from minicnn.shapes import FloatArray, IntArray
from minicnn.shapes.checks import (
    check_array,
    check_class_names,
    check_labels,
    check_pixel_range,
    check_pixels,
    check_probability_rows,
    positive_int,
)
from minicnn.train.data_parallel import Augmentation

SIZE, GAP, MARGIN, LINE = 0.98, 0.12, 0.15, 0.15  # inches: a tile, between, at the edge, a line
TITLE = 0.35


@own_style
def image_grid(
    images: NDArray[Any], captions: Sequence[str] | None = None, *, columns: int = 10
) -> Figure:
    """Show images side by side, each with a line above it.

    Parameters
    ----------
    images : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        uint8 (0 to 255), or float (0 to 1).
    captions : sequence of str, optional
        One for each image, such as its class.
    columns : int
        Images in a row.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If they are no such images, or captions are more or fewer.
    """
    pictures = as_pictures("image_grid", images)
    columns = positive_int("image_grid", "columns", columns)
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"image_grid: {len(captions)} captions for {len(pictures)} images")
    return grid(pictures, [[text] for text in captions or []], min(columns, len(pictures)))


@own_style
def worst_mistakes(
    images: NDArray[Any],
    labels: IntArray,
    probabilities: FloatArray,
    *,
    class_names: Sequence[str] | None = None,
    count: int = 24,
) -> Figure:
    """Show the images that were read wrong, those first where the network was surest.

    Parameters
    ----------
    images : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        uint8 (0 to 255), or float (0 to 1).
    labels : ndarray of int (N,)
        True classes.
    probabilities : ndarray of float (N, classes)
        Rows that sum to 1, such as ``model.predict_proba(images)``.
    class_names : sequence of str, optional
        One name for each class; their numbers where left out.
    count : int
        How many to show at most.

    Returns
    -------
    matplotlib.figure.Figure
        Above each image its number, its class, and the answer with its confidence.

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
    count = positive_int("worst_mistakes", "count", count)
    if len(images) != len(labels):
        raise ValueError(f"worst_mistakes: {len(images)} images, but {len(labels)} labels")
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    title = f"{len(wrong):,} of {len(labels):,} read wrong"
    if not len(worst):
        sheet, axes = inches(MARGIN + text_width(title, LARGE) + MARGIN, 0.5)
        write(axes, MARGIN, 0.3, title, fontsize=LARGE, fontweight="bold")
        return sheet
    if len(worst) < len(wrong):
        title += f"; the {len(worst)} surest"
    captions = [
        [f"image {n}", f"true {names[labels[n]]}", f"read {names[k]}, {percent(confidence[n])}"]
        for n, k in zip(worst, predicted[worst], strict=True)
    ]
    pictures = as_pictures("worst_mistakes", images[worst])
    return grid(pictures, captions, min(6, len(worst)), title=title)


@own_style
def augmentation_grid(
    images: NDArray[Any],
    augment: Augmentation,
    *,
    numbers: IntArray | None = None,
    seed: int = 0,
    epochs: int = 8,
) -> Figure:
    """Show images as they are and as training meets them, epoch by epoch.

    Parameters
    ----------
    images : ndarray (N, H, W), or (N, H, W, C) with C = 1 or 3
        uint8 (0 to 255), or float (0 to 1).
    augment : callable
        Such as `minicnn.Augment`: what `fit` takes.
    numbers : ndarray of int (N,), optional
        Their numbers in the data set; 0, 1, 2, … where left out.
    seed : int
        As for `fit`: with its seed and their numbers they are what it gets.
    epochs : int
        How many to show.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each image: first itself, then what becomes of it.

    Raises
    ------
    TypeError, ValueError
        If they are no such images, or `augment` does not take them.
    """
    pictures = as_pictures("augmentation_grid", images)
    epochs = positive_int("augmentation_grid", "epochs", epochs)
    numbers = np.arange(len(images)) if numbers is None else numbers
    varied = [
        as_pictures("augmentation_grid", augment(images, numbers, seed=seed, epoch=epoch))
        for epoch in range(epochs)
    ]
    rows = np.stack([pictures, *varied], axis=1)  # (N, 1 + epochs, H, W)
    headings = ["original", *(f"epoch {epoch + 1}" for epoch in range(epochs))]
    return grid(rows.reshape(-1, *pictures.shape[1:]), [], 1 + epochs, headings=headings)


def grid(
    pictures: NDArray[Any],
    captions: Sequence[Sequence[str]],
    columns: int,
    *,
    title: str = "",
    headings: Sequence[str] = (),
    colors: str = "gray",
    limits: tuple[float, float] = (0, 1),
) -> Figure:
    """Draw pictures in rows.

    Parameters
    ----------
    pictures : ndarray (N, H, W) or (N, H, W, 3)
    captions : sequence of sequence of str
        For each picture as many lines as for any other; or none at all.
    columns : int
        Pictures in a row.
    title : str
    headings : sequence of str
        One above each column, or none.
    colors : str
        Color map of pictures without colors.
    limits : tuple of float
        What its ends stand for.

    Returns
    -------
    Sheet
    """
    captions = [[readable(line, SMALL, 2.0) for line in lines] for lines in captions]
    lines = len(captions[0]) if captions else 0
    widths = [text_width(line, SMALL) for lines in captions for line in lines]
    width, height = tile_size(pictures.shape[1:3])
    across = max(width, *widths, *(text_width(text, SMALL) for text in headings), 0) + GAP
    down = lines * LINE + height + GAP
    rows = -(-len(pictures) // columns)
    top = MARGIN + TITLE * bool(title) + LINE * bool(headings)
    whole = max(columns * across - GAP, text_width(title, LARGE))
    sheet, axes = inches(MARGIN + whole + MARGIN, top + rows * down - GAP + MARGIN)
    write(axes, MARGIN, 0.3, title, fontsize=LARGE, fontweight="bold")
    for column, heading in enumerate(headings):
        write(axes, MARGIN + column * across, top - 0.05, heading, fontsize=SMALL, color=GRAY)
    for number, image in enumerate(pictures):
        x, y = MARGIN + number % columns * across, top + number // columns * down
        for line, text in enumerate(captions[number] if captions else []):
            last = line == lines - 1
            weight = "bold" if last and lines > 1 else "normal"
            write(axes, x, y + (line + 1) * LINE - 0.05, text, fontsize=SMALL, fontweight=weight)
        picture(axes, image, (x, y + lines * LINE, width, height), colors, limits)
    return sheet


def tile_size(shape: Sequence[int]) -> tuple[float, float]:
    """Return width and height of a tile for images (H, W): the longer side is one length.

    Parameters
    ----------
    shape : sequence of int
        H and W.

    Returns
    -------
    tuple of float
        In inches.
    """
    H, W = shape
    return SIZE * W / max(H, W), SIZE * H / max(H, W)


def as_pictures(op: str, images: NDArray[Any], name: str = "images") -> NDArray[Any]:
    """Return images as they can be drawn: float, 0 to 1, gray ones without their channel.

    Parameters
    ----------
    op : str
        Name of the function that asks, for the messages.
    images : ndarray (N, H, W) or (N, H, W, C)
        uint8 (0 to 255), or float (0 to 1).
    name : str
        Name of the argument.

    Returns
    -------
    ndarray of float (N, H, W) or (N, H, W, 3)

    Raises
    ------
    TypeError, ValueError
        If they are no images of one or three channels.
    """
    check_pixels(op, images)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(
            f"{op}: {name} must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not {images.shape}"
        )
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype == np.uint8:
        return images / np.float32(255)
    check_pixel_range(op, images)
    return images.clip(0, 1)
