"""Inside a network: filters, feature maps, and the steps of one image."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from minicnn.explanation import LayerStep, Trace
from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.container import Container, iter_layers
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import MaxPool2D
from minicnn.model.sequential import Sequential
from minicnn.plots.images import GAP, MARGIN, TILE, as_pictures, grid, tile_size
from minicnn.plots.style import (
    BLUE,
    GRAY,
    INK,
    LARGE,
    LIGHT,
    NORMAL,
    SMALL,
    VERMILION,
    Sheet,
    inches,
    own_style,
    percent,
    picture,
    readable,
    text_width,
    write,
)
from minicnn.shapes import Array
from minicnn.shapes.checks import as_batch, positive_int

COLUMNS = 8
SECTION_HEAD = 0.3  # inches: the line above a section


class Section(NamedTuple):
    """Feature maps of one layer: their title and colors."""

    title: str
    pictures: NDArray[Any]
    colors: str
    limits: tuple[float, float]


@own_style
def filters(model: Sequential) -> Figure:
    """Draw the filters of the first convolution.

    With one input channel a positive weight is red and a negative one blue, on one scale for all
    filters. With three channels the weights are drawn as colors; gray is 0. With any other number
    each channel of each filter has its own tile.

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
    """Draw the feature maps of an image after each convolution and pool.

    A map shows where its filter responds: bright is strong, dark is 0. The maps of one layer share
    a scale. A batch norm or a ReLU is drawn together with the layer before it.

    Parameters
    ----------
    model : Sequential
    image : ndarray (H, W, C), or (H, W) if the model has one channel
        uint8 (0 to 255), or float (0 to 1).
    channels : int
        The largest number of maps of a layer to draw.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If the image does not fit the model, or no layer has feature maps.
    """
    channels = positive_int("feature_maps", "channels", channels)
    batch, _ = as_batch("feature_maps", image, model.input_shape)
    if len(batch) != 1:
        raise ValueError(f"feature_maps: give one image, not {len(batch)}")
    layer_maps = _layer_maps(model, model.preprocess(batch))
    if not layer_maps:
        raise ValueError("feature_maps: no layer of the model makes maps (H, W, C)")
    # An image without 1 or 3 channels has a tile for each channel.
    x = batch if batch.shape[3] in (1, 3) else np.moveaxis(batch[0], 2, 0)
    sections = [Section("the image", as_pictures("feature_maps", x), "gray", (0, 1))]
    for name, maps in layer_maps:
        H, W, count = maps.shape
        of = f", the first {channels}" if channels < count else ""
        shown = np.moveaxis(maps[..., :channels], 2, 0)
        limits = (min(0.0, float(shown.min())), float(shown.max()))
        title = f"{name}: {count} map{'s' * (count > 1)} of {H}×{W}{of}"
        sections.append(Section(title, shown, "viridis", limits))
    return _draw_sections(sections)


def _layer_maps(model: Sequential, x: Array) -> list[tuple[str, Array]]:
    """Return each layer's name and maps, after its batch norm and ReLU.

    Layers run one by one: where the model fuses layers, the maps between them do not exist.
    """
    layer_maps: list[tuple[str, Array]] = []
    for layer in model.layers:
        x, _ = layer.forward(x)
        if x.ndim != 4 or isinstance(layer, Dropout):  # the identity at inference
            continue
        name = type(layer).__name__ if isinstance(layer, Container) else str(layer)
        if isinstance(layer, (BatchNorm, ReLU)) and layer_maps:
            layer_maps[-1] = (f"{layer_maps[-1][0]}, {name}", x[0])
        else:
            layer_maps.append((name, x[0]))
    return layer_maps


def _draw_sections(sections: list[Section]) -> Figure:
    title_width = max(text_width(section.title, NORMAL) for section in sections)
    columns = min(COLUMNS, max(len(section.pictures) for section in sections))
    heights = []
    for _, pictures, _, _ in sections:
        _, height = tile_size(pictures.shape[1:3])
        heights.append(SECTION_HEAD + -(-len(pictures) // COLUMNS) * (height + GAP) + GAP)
    total = max(title_width, columns * (TILE + GAP) - GAP)
    sheet, axes = inches(MARGIN + total + MARGIN, sum(heights) + MARGIN)
    y = 0.0
    for (title, pictures, colors, limits), down in zip(sections, heights, strict=True):
        write(axes, MARGIN, y + SECTION_HEAD - 0.07, title)
        width, height = tile_size(pictures.shape[1:3])
        for index, image in enumerate(pictures):
            row, column = divmod(index, COLUMNS)
            left, top = MARGIN + column * (TILE + GAP), y + SECTION_HEAD + row * (height + GAP)
            picture(axes, image, (left, top, width, height), colors, limits)
        y += down
    return sheet


# ---------------------------------------------------------------- the steps of one image

EDGE, SPACE = 0.3, 0.4  # inches: the margin of the figure, the gap between its parts
HEAD, ROW = 0.75, 0.35  # inches: the title, the gap between rows
MAP, LARGE_MAP = 1.7, 3.2  # inches: a channel beside its window, a channel of a pool
CELL = 0.46  # inches: a value of a window
MAX_CHANNELS = 3
MAX_COLUMNS = 7  # of a window whose values are printed; more would not be readable
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}
Box = tuple[int, int, int, int]


@own_style
def conv_window(trace: Trace, number: int | str, at: tuple[int, int, int]) -> Figure:
    """Draw one output of a convolution as window, weights and products.

    Parameters
    ----------
    trace : Trace
        From `minicnn.explain`.
    number : int or str
        The layer number of a `Conv2D` or `DepthwiseConv2D`, as in `Trace.step`.
    at : tuple of int
        The output index ``(oh, ow, f)``.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each input channel; with more than three, for those with the largest sums.
        Positive values are red, negative ones blue.

    Raises
    ------
    KeyError, IndexError
        If the layer or the index does not exist.
    ValueError
        If the layer is not a convolution.
    """
    step = trace.step(number)
    if not isinstance(step.layer, (Conv2D, DepthwiseConv2D)):
        raise ValueError(f"conv_window: layer {number} is {step.title()}, not a convolution")
    unit = step[at]
    parts = {"window": unit.inputs, "weights": unit.weights, "products": unit.products}
    arrays = {name: np.atleast_3d(np.asarray(part)) for name, part in parts.items()}
    sums = arrays["products"].sum(axis=(0, 1))
    order = np.argsort(-abs(sums), kind="stable")[:MAX_CHANNELS]
    KH, KW, _ = arrays["window"].shape
    size = CELL if KW <= MAX_COLUMNS else CELL / 2
    down = max(MAP, KH * size) + ROW
    title = f"layer {step.number}, {step.title()}: the output at {list(at)}"
    hidden = len(sums) - len(order)
    last = f"sum {unit.total:.4g}, bias {unit.bias:.4g}: {unit.result:.4g}"
    if hidden:
        last = f"the other {hidden} channels: Σ = {sums.sum() - sums[order].sum():.4g};  {last}"
    across = MAP + 3 * (SPACE + KW * size) + SPACE + 1.0
    total = max(across, text_width(title, LARGE), text_width(last, LARGE))
    sheet, axes = inches(EDGE + total + EDGE, HEAD + len(order) * down + 0.5)
    write(axes, EDGE, 0.3, title, fontsize=LARGE, fontweight="bold")
    for row, c in enumerate(order):
        y = HEAD + row * down
        channel = at[2] if isinstance(step.layer, DepthwiseConv2D) else int(c)
        write(axes, EDGE, y - 0.06, f"input, channel {channel}", fontsize=SMALL, color=GRAY)
        _draw_input(axes, step, channel, (EDGE, y), unit.box or (0, 0, 0, 0))
        x = EDGE + MAP + SPACE
        for (name, array), sign in zip(arrays.items(), "·=Σ", strict=True):
            write(axes, x, y - 0.06, name, fontsize=SMALL, color=GRAY)
            _draw_values(axes, array[..., c], (x, y), size, float(abs(array).max()))
            x += KW * size + SPACE
            if sign != "Σ":
                write(axes, x - SPACE / 2, y + KH * size / 2, sign, fontsize=LARGE, **MIDDLE)
        write(axes, x - SPACE + 0.1, y + KH * size / 2, f"Σ = {sums[c]:.4g}", va="center")
    write(axes, EDGE, HEAD + len(order) * down, last, fontweight="bold")
    return sheet


def _draw_input(
    axes: Axes, step: LayerStep, channel: int, at: tuple[float, float], box: Box
) -> None:
    """Draw a channel of a layer's input, with a frame around a window."""
    H, W, _ = step.x.shape
    (top, left, bottom, right), (x, y) = box, at
    down, across = MAP / H, MAP / W
    limits = float(step.x.min()), float(step.x.max())
    picture(axes, step.x[..., channel], (x, y, MAP, MAP), "gray", limits)
    corner = (x + left * across, y + top * down)
    extent = ((right - left) * across, (bottom - top) * down)
    axes.add_patch(Rectangle(corner, *extent, fill=False, edgecolor=VERMILION, linewidth=1.5))


def _draw_values(
    axes: Axes, matrix: Array, at: tuple[float, float], size: float, largest: float
) -> None:
    """Draw a matrix as colored squares; print its values if it is narrow."""
    (KH, KW), (x, y) = matrix.shape, at
    picture(axes, matrix, (x, y, KW * size, KH * size), "RdBu_r", (-largest, largest))
    if KW > MAX_COLUMNS:
        return
    for (kh, kw), value in np.ndenumerate(matrix):
        color = "white" if abs(value) > 0.6 * largest else INK
        center = (x + (kw + 0.5) * size, y + (kh + 0.5) * size)
        write(axes, *center, f"{value + 0.0:.2g}", fontsize=SMALL, color=color, **MIDDLE)


@own_style
def pool_argmax(trace: Trace, number: int | str, channel: int) -> Figure:
    """Draw a channel of a max-pool, with a dot at each window's maximum.

    Parameters
    ----------
    trace : Trace
        From `minicnn.explain`.
    number : int or str
        The layer number of a `MaxPool2D`, as in `Trace.step`.
    channel : int

    Returns
    -------
    matplotlib.figure.Figure
        The channel before and after the pool, on one scale.

    Raises
    ------
    KeyError, IndexError
        If the layer or the channel does not exist.
    ValueError
        If the layer is not a max-pool.
    """
    step = trace.step(number)
    if not isinstance(step.layer, MaxPool2D):
        raise ValueError(f"pool_argmax: layer {number} is {step.title()}, not a max-pool")
    OH, OW, C = step.y.shape
    if not 0 <= channel < C:
        raise IndexError(f"pool_argmax: channel must be 0 to {C - 1}, not {channel}")
    title = f"layer {step.number}, {step.title()}, channel {channel}: the maximum of each window"
    total = max(2 * LARGE_MAP + SPACE, text_width(title, LARGE))
    sheet, axes = inches(EDGE + total + EDGE, HEAD + LARGE_MAP + EDGE)
    write(axes, EDGE, 0.3, title, fontsize=LARGE, fontweight="bold")
    limits = float(step.x[..., channel].min()), float(step.x[..., channel].max())
    right_map = EDGE + LARGE_MAP + SPACE
    for x, array, word in ((EDGE, step.x, "before"), (right_map, step.y, "after")):
        H, W, _ = array.shape
        write(axes, x, HEAD - 0.06, f"{word}: {H}×{W}", fontsize=SMALL, color=GRAY)
        picture(axes, array[..., channel], (x, HEAD, LARGE_MAP, LARGE_MAP), "gray", limits)
    H, W, _ = step.x.shape
    down, across = LARGE_MAP / H, LARGE_MAP / W
    for oh, ow in np.ndindex(OH, OW):
        unit = step[oh, ow, channel]
        (top, left, bottom, right), (h, w, _) = unit.box or (0, 0, 0, 0), unit.source or (0, 0, 0)
        top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, H), min(right, W)
        corner = (EDGE + left * across, HEAD + top * down)
        extent = ((right - left) * across, (bottom - top) * down)
        axes.add_patch(Rectangle(corner, *extent, fill=False, edgecolor=LIGHT, linewidth=0.4))
        dot = [EDGE + (w + 0.5) * across], [HEAD + (h + 0.5) * down]
        axes.plot(*dot, "o", color=VERMILION, markersize=3)
    return sheet


@own_style
def logit_contributions(trace: Trace) -> Figure:
    """Draw the contributions to each logit, and the class probabilities.

    Parameters
    ----------
    trace : Trace
        From `minicnn.explain`.

    Returns
    -------
    matplotlib.figure.Figure
        Left, for each class: the sum of its positive and of its negative contributions
        ``inputs · weights``, and a dot at the logit, which is their sum plus the bias. Right: the
        softmax of the logits.

    Raises
    ------
    ValueError
        If the last layer is not `Dense`.
    """
    step = trace.steps[-1]
    if not isinstance(step.layer, Dense):
        raise ValueError(f"logit_contributions: the last layer is {step.title()}, not Dense")
    products = step.x[:, None] * step.layer.parameters["weight"]  # (in, classes)
    positive, negative = (np.clip(products, *ends).sum(axis=0) for ends in ((0, None), (None, 0)))
    names = [readable(name, SMALL, 1.0) for name in trace.class_names]
    rows = np.arange(len(names))
    sheet = Sheet(8, 0.9 + 0.3 * len(names), arranged=True)
    sums, shares = sheet.subplots(1, 2, width_ratios=(3, 2))
    sums.barh(rows, positive, color=BLUE, label="for: Σ of products above 0")
    sums.barh(rows, negative, color=VERMILION, label="against: Σ of those below 0")
    sums.plot(trace.logits, rows, "o", color=INK, markersize=5, label="logit: all, and the bias")
    sums.axvline(0, color=GRAY, linewidth=0.8)
    sums.set_title("the logits as sums of contributions")
    shares.barh(rows, trace.probabilities, color=BLUE)
    for k, share in enumerate(trace.probabilities):
        shares.annotate(
            f" {percent(float(share))}   e^{trace.logits[k]:.2f}", (float(share), k), va="center",
            fontsize=SMALL, annotation_clip=False,
        )  # fmt: skip
    shares.set_title("softmax: e^logit over the sum of all")
    shares.set_xlim(0, 1.45)
    shares.xaxis.set_major_formatter(PercentFormatter(1))
    shares.set_xticks([0, 0.5, 1])
    for axes in (sums, shares):
        axes.set_yticks(rows, names, parse_math=False)
        axes.invert_yaxis()
    handles, labels = sums.get_legend_handles_labels()
    sheet.legend(handles, labels, loc="outside lower center", ncols=3)
    return sheet
