"""Inside a network: its first filters, and what an image becomes on its way through."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.container import Container, iter_layers
from minicnn.layers.conv import Conv2D
from minicnn.layers.norm import BatchNorm
from minicnn.model.sequential import Sequential
from minicnn.plots.image_grid import GAP, MARGIN, SIZE, as_pictures, grid, tile_size
from minicnn.plots.style import NORMAL, inches, own_style, picture, text_width, write
from minicnn.shapes import FloatArray
from minicnn.shapes.checks import as_batch, positive_int

COLUMNS = 8
HEAD = 0.3  # inches: the line above a section


class Section(NamedTuple):
    """Images that belong together: a line above them, and how they are colored."""

    title: str
    pictures: NDArray[Any]
    colors: str
    limits: tuple[float, float]


@own_style
def filters(model: Sequential) -> Figure:
    """Show the filters of the first convolution: what each looks for in the image.

    Of images with one channel red is a weight above 0 and blue one below, on the same scale for all
    filters. Of images with three channels the weights are shown as colors, gray standing for 0. Of
    any other number each channel of each filter has a tile of its own.

    Parameters
    ----------
    model : Sequential

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the model has no convolution.
    """
    first = next((layer for layer in iter_layers(model.layers) if isinstance(layer, Conv2D)), None)
    if first is None:
        raise ValueError("filters: the model has no Conv2D")
    weight = np.moveaxis(first.parameters["weight"], 3, 0)  # (F, KH, KW, C)
    F, KH, KW, C = weight.shape
    largest = float(abs(weight).max())
    captions = [[str(f + 1)] for f in range(F)]
    if C == 3:
        title = f"{first}: gray is 0, the strongest color ±{largest:.2g}"
        colors = 0.5 + 0.5 * weight / (largest or 1)
        return grid(colors, captions, min(COLUMNS, F), title=title)
    if C > 1:
        captions = [[f"{f + 1}, channel {c + 1}"] for f in range(F) for c in range(C)]
    tiles = np.moveaxis(weight, 3, 1).reshape(F * C, KH, KW)
    title = f"{first}: white is 0, the deepest red {largest:.2g}, blue {-largest:.2g}"
    columns = min(COLUMNS, F) if C == 1 else min(COLUMNS, C)
    limits = (-largest, largest)
    return grid(tiles, captions, columns, title=title, colors="RdBu_r", limits=limits)


@own_style
def feature_maps(model: Sequential, image: NDArray[Any], *, channels: int = 16) -> Figure:
    """Show what an image becomes: the maps after each convolution and each pooling.

    Every map is an image of where its filter found what it looks for: bright is much, dark nothing.
    The maps of one step are on one scale. A batch norm or a ReLU counts to the step before it.

    Parameters
    ----------
    model : Sequential
    image : ndarray (H, W, C), or (H, W) where the model has one channel
        uint8 (0 to 255), or float (0 to 1).
    channels : int
        How many maps of each step to show at most.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If the image does not fit the model, or it has no step that makes maps.
    """
    channels = positive_int("feature_maps", "channels", channels)
    batch, _ = as_batch("feature_maps", image, model.input_shape)
    if len(batch) != 1:
        raise ValueError(f"feature_maps: give one image, not {len(batch)}")
    steps = _steps(model, model.preprocess(batch))
    if not steps:
        raise ValueError("feature_maps: no layer of the model makes maps (H, W, C)")
    x = batch if batch.shape[3] in (1, 3) else np.moveaxis(batch[0], 2, 0)  # else a tile a channel
    sections = [Section("the image", as_pictures("feature_maps", x), "gray", (0, 1))]
    for name, maps in steps:
        H, W, count = maps.shape
        of = f", the first {channels}" if channels < count else ""
        shown = np.moveaxis(maps[..., :channels], 2, 0)
        limits = (min(0.0, float(shown.min())), float(shown.max()))
        title = f"{name}: {count} map{'s' * (count > 1)} of {H}×{W}{of}"
        sections.append(Section(title, shown, "viridis", limits))
    return _draw_sections(sections)


def _steps(model: Sequential, x: FloatArray) -> list[tuple[str, FloatArray]]:
    """Return the layers that make maps, each with its maps (H, W, C) after its ReLU if it has one.

    A batch normalization counts to the layer before it too.

    One layer after the other: where the model computes several as one, the maps between them are
    never made.
    """
    steps: list[tuple[str, FloatArray]] = []
    for layer in model.layers:
        x, _ = layer.forward(x)
        if x.ndim != 4 or isinstance(layer, Dropout):  # which hands on what it gets
            continue
        name = type(layer).__name__ if isinstance(layer, Container) else str(layer)
        if isinstance(layer, (BatchNorm, ReLU)) and steps:
            steps[-1] = (f"{steps[-1][0]}, {name}", x[0])
        else:
            steps.append((name, x[0]))
    return steps


def _draw_sections(sections: list[Section]) -> Figure:
    wide = max(text_width(section.title, NORMAL) for section in sections)
    columns = min(COLUMNS, max(len(section.pictures) for section in sections))
    heights = []
    for _, pictures, _, _ in sections:
        _, height = tile_size(pictures.shape[1:3])
        heights.append(HEAD + -(-len(pictures) // COLUMNS) * (height + GAP) + GAP)
    whole = max(wide, columns * (SIZE + GAP) - GAP)
    sheet, axes = inches(MARGIN + whole + MARGIN, sum(heights) + MARGIN)
    y = 0.0
    for (title, pictures, colors, limits), down in zip(sections, heights, strict=True):
        write(axes, MARGIN, y + HEAD - 0.07, title)
        width, height = tile_size(pictures.shape[1:3])
        for number, image in enumerate(pictures):
            row, column = divmod(number, COLUMNS)
            left, top = MARGIN + column * (SIZE + GAP), y + HEAD + row * (height + GAP)
            picture(axes, image, (left, top, width, height), colors, limits)
        y += down
    return sheet
