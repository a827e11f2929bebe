"""Inside a network: filters, feature maps, and the steps of one image."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from minicnn.explanation import Trace, forward, one_image
from minicnn.explanation.formulas import Box
from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.container import iter_layers
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import MaxPool2D
from minicnn.model.sequential import Sequential
from minicnn.plots import style
from minicnn.plots.images import Section, as_pictures, grid
from minicnn.plots.style import inches, own_style, picture, readable, text_width, write
from minicnn.shapes import Array
from minicnn.shapes.checks import positive_int
from minicnn.table import percent

COLUMNS = 8


@own_style
def filters(model: Sequential) -> Figure:
    """Draw the filters of the first convolution.

    With one input channel a positive weight is orange and a negative one blue, on one scale for all
    filters. With three channels the weights are drawn as colors; gray is 0. With any other number
    each channel of each filter has its own tile. Filters and channels are counted from 0.

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
    largest = float(abs(weight).max()) or 1.0
    captions = [[str(f)] for f in range(F)]
    if C == 3:
        title = f"{first}: gray is 0, the strongest color ±{largest:.2g}"
        section = Section(0.5 + 0.5 * weight / largest, captions=captions)
        return grid([section], min(COLUMNS, F), title)
    if C > 1:
        captions = [[f"{f}, channel {c}"] for f in range(F) for c in range(C)]
    tiles = np.moveaxis(weight, 3, 1).reshape(F * C, KH, KW)
    title = f"{first}: white is 0, the deepest orange {largest:.2g}, blue {-largest:.2g}"
    section = Section(tiles, "", captions, style.SIGNED, (-largest, largest))
    return grid([section], min(COLUMNS, F if C == 1 else C), title)


@own_style
def feature_maps(model: Sequential, image: NDArray[Any], *, channels: int = 16) -> Figure:
    """Draw the feature maps of an image after each convolution and pool.

    A map shows where its filter responds: white is 0, orange above 0, blue below. The maps of one
    layer share a scale. A batch norm or a ReLU is drawn together with the layer before it.

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
    batch = one_image("feature_maps", model, image)
    layer_maps: list[tuple[str, Array]] = []
    # Layers run one by one: where the model fuses layers, the maps between them do not exist.
    for step in forward(model.layers, model.preprocess(batch)):
        if step.y.ndim != 3 or isinstance(step.layer, Dropout):  # the identity at inference
            continue
        name = step.title()
        if isinstance(step.layer, (BatchNorm, ReLU)) and layer_maps:
            name = f"{layer_maps.pop()[0]}, {name}"
        layer_maps.append((name, step.y))
    if not layer_maps:
        raise ValueError("feature_maps: no layer of the model makes maps (H, W, C)")
    # An image without 1 or 3 channels has a tile for each channel.
    x = batch if batch.shape[3] in (1, 3) else np.moveaxis(batch[0], 2, 0)
    sections = [Section(as_pictures("feature_maps", x), "the image")]
    for name, maps in layer_maps:
        H, W, count = maps.shape
        of = f", the first {channels}" if channels < count else ""
        shown = np.moveaxis(maps[..., :channels], 2, 0)
        largest = float(abs(shown).max()) or 1.0
        title = f"{name}: {count} map{'s' * (count > 1)} of {H}×{W}{of}"
        sections.append(Section(shown, title, colors=style.SIGNED, limits=(-largest, largest)))
    return grid(sections, min(COLUMNS, max(len(section.pictures) for section in sections)))


# ---------------------------------------------------------------- the steps of one image

SPACE = 0.4  # inches: the gap between the parts of a figure
HEAD, ROW = 0.6, 0.35  # inches: the title, the gap between rows
MAP, LARGE_MAP = 1.7, 3.2  # inches: a channel beside its window, a channel of a pool
CELL = 0.46  # inches: a value of a window
MAX_CHANNELS = 3
MAX_COLUMNS = 7  # of a window whose values are printed; more would not be readable


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
        Positive values are orange, negative ones blue.

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
    across = MAP + 3 * (SPACE + KW * size) + SPACE + 1.2
    width = max(across, text_width(last, style.NORMAL))
    sheet, axes = inches(width, HEAD + len(order) * down + 0.1, title)
    limits = float(step.x.min()), float(step.x.max())
    for row, c in enumerate(order):
        y = HEAD + row * down
        channel = at[2] if isinstance(step.layer, DepthwiseConv2D) else int(c)
        write(axes, 0, y - 0.06, f"input, channel {channel}", **style.NOTE)
        picture(axes, step.x[..., channel], 0, y, MAP, "gray", limits)
        _frame(axes, step.x, unit.box, y, MAP, edgecolor=style.VERMILION, linewidth=1.5)
        x = MAP + SPACE
        signs = ("·", "=", f"Σ = {sums[c]:.4g}")
        for (name, array), sign in zip(arrays.items(), signs, strict=True):
            write(axes, x, y - 0.06, name, **style.NOTE)
            _draw_values(axes, array[..., c], x, y, size, float(abs(array).max()) or 1.0)
            x += KW * size + SPACE
            place = x - 0.7 * SPACE, y + KH * size / 2
            write(axes, *place, sign, fontsize=style.LARGE, va="center")
    write(axes, 0, HEAD + len(order) * down, last, fontweight="bold")
    return sheet


def _frame(axes: Axes, x: Array, box: Box | None, y: float, side: float, **options: Any) -> None:
    """Frame a window of x, without padding, in a channel drawn at (0, y)."""
    H, W, _ = x.shape
    inside = np.clip(box or 0, 0, (H, W, H, W))
    top, left, bottom, right = inside * side / max(H, W)
    axes.add_patch(Rectangle((left, y + top), right - left, bottom - top, fill=False, **options))


def _draw_values(axes: Axes, matrix: Array, x: float, y: float, size: float, limit: float) -> None:
    """Draw a matrix as colored squares; print its values if it is narrow."""
    picture(axes, matrix, x, y, max(matrix.shape) * size, style.SIGNED, (-limit, limit))
    if matrix.shape[1] > MAX_COLUMNS:
        return
    for (kh, kw), value in np.ndenumerate(matrix):
        color = "white" if abs(value) > 0.7 * limit else style.INK
        center = x + (kw + 0.5) * size, y + (kh + 0.5) * size
        text = f"{value + 0.0:.2g}"
        write(axes, *center, text, fontsize=style.SMALL, color=color, **style.MIDDLE)


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
    sheet, axes = inches(LARGE_MAP + SPACE + LARGE_MAP, HEAD + LARGE_MAP, title)
    limits = float(step.x[..., channel].min()), float(step.x[..., channel].max())
    for x, array, word in ((0, step.x, "before"), (LARGE_MAP + SPACE, step.y, "after")):
        H, W, _ = array.shape
        write(axes, x, HEAD - 0.06, f"{word}: {H}×{W}", **style.NOTE)
        picture(axes, array[..., channel], x, HEAD, LARGE_MAP, "gray", limits)
    H, W, _ = step.x.shape
    pixel = LARGE_MAP / max(H, W)
    for oh, ow in np.ndindex(OH, OW):
        unit = step[oh, ow, channel]
        _frame(axes, step.x, unit.box, HEAD, LARGE_MAP, edgecolor=style.LIGHT, linewidth=0.4)
        h, w, _ = unit.source or (0, 0, 0)
        place = (w + 0.5) * pixel, HEAD + (h + 0.5) * pixel
        axes.plot(*place, "o", color=style.VERMILION, markersize=3)
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
    names = [readable(name, style.SMALL, 1.0) for name in trace.class_names]
    rows = np.arange(len(names))
    sheet = style.Sheet(8, 0.9 + 0.3 * len(names), arranged=True)
    sums, shares = sheet.subplots(1, 2, width_ratios=(4, 3))
    sums.barh(rows, positive, color=style.VERMILION, label="for: Σ of products above 0")
    sums.barh(rows, negative, color=style.BLUE, label="against: Σ of those below 0")
    label = "logit: all, and the bias"
    sums.plot(trace.logits, rows, "o", color=style.INK, markersize=5, label=label)
    sums.axvline(0, color=style.GRAY, linewidth=0.8)
    bars = shares.barh(rows, trace.probabilities, color=style.VERMILION)
    pairs = zip(trace.probabilities, trace.logits, strict=True)
    texts = [f"{percent(float(share))}   e^{logit:.2f}" for share, logit in pairs]
    shares.bar_label(bars, texts, padding=2, fontsize=style.SMALL)
    sums.set(title="the logits as sums of contributions")
    shares.set(title="softmax: e^logit over their sum", xlim=(0, 1.45), xticks=[0, 0.5, 1])
    shares.xaxis.set_major_formatter(PercentFormatter(1))
    for axes in (sums, shares):
        axes.set_yticks(rows, names, parse_math=False)
        axes.invert_yaxis()
    sheet.legend(loc="outside lower center", ncols=3)
    return sheet
