"""The way of one image through a network, as a trace has it: a window, a pool, the decision."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from minicnn.explanation.trace import LayerStep, Trace
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense
from minicnn.layers.pooling import MaxPool2D
from minicnn.plots.style import (
    BLUE,
    GRAY,
    INK,
    LARGE,
    LIGHT,
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
from minicnn.shapes import FloatArray

MARGIN, GAP = 0.3, 0.4  # inches
SIDE, CELL = 1.7, 0.46  # a map, and a number in a window
HEAD, ROW = 0.75, 0.35  # the title, and the space between rows
MOST_CHANNELS = 3
MOST_NUMBERS = 7  # columns of a window in which numbers can still be read
LARGE_SIDE = 3.2  # a map whose winners are shown
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}  # of a text's place


@own_style
def conv_window(trace: Trace, number: int | str, at: tuple[int, int, int]) -> Figure:
    """Show how a convolution makes one number: window · weights = products, and their sum.

    Parameters
    ----------
    trace : Trace
        From `minicnn.explain`.
    number : int or str
        Of a `Conv2D` or `DepthwiseConv2D`, as in `Trace.step`.
    at : tuple of int
        ``(oh, ow, f)``.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each channel of the input; of more than three, those that weigh most. Red is a
        number above 0, blue one below.

    Raises
    ------
    KeyError, IndexError
        If there is no such layer, or no such place.
    ValueError
        If it is no convolution.
    """
    step = trace.step(number)
    if not isinstance(step.layer, (Conv2D, DepthwiseConv2D)):
        raise ValueError(f"window: layer {number} is {step.title()}, not a convolution")
    cell = step[at]
    parts = {"window": cell.inputs, "weights": cell.weights, "products": cell.products}
    arrays = {name: np.atleast_3d(np.asarray(part)) for name, part in parts.items()}
    sums = arrays["products"].sum(axis=(0, 1))
    order = np.argsort(-abs(sums), kind="stable")[:MOST_CHANNELS]
    KH, KW, _ = arrays["window"].shape
    size = CELL if KW <= MOST_NUMBERS else CELL / 2
    down = max(SIDE, KH * size) + ROW
    title = f"layer {step.number}, {step.title()}: the number at {list(at)}"
    rest = len(sums) - len(order)
    last = f"sum {cell.total:.4g}, bias {cell.bias:.4g}: {cell.result:.4g}"
    if rest:
        last = f"the other {rest} channels: Σ = {sums.sum() - sums[order].sum():.4g};  {last}"
    across = SIDE + 3 * (GAP + KW * size) + GAP + 1.0
    whole = max(across, text_width(title, LARGE), text_width(last, LARGE))
    sheet, axes = inches(MARGIN + whole + MARGIN, HEAD + len(order) * down + 0.5)
    write(axes, MARGIN, 0.3, title, fontsize=LARGE, fontweight="bold")
    for row, c in enumerate(order):
        y = HEAD + row * down
        channel = at[2] if isinstance(step.layer, DepthwiseConv2D) else int(c)
        write(axes, MARGIN, y - 0.06, f"input, channel {channel}", fontsize=SMALL, color=GRAY)
        _input_map(axes, step, channel, (MARGIN, y), cell.box or (0, 0, 0, 0))
        x = MARGIN + SIDE + GAP
        for (name, array), sign in zip(arrays.items(), "·=Σ", strict=True):
            write(axes, x, y - 0.06, name, fontsize=SMALL, color=GRAY)
            _numbers(axes, array[..., c], (x, y), size, float(abs(array).max()))
            x += KW * size + GAP
            if sign != "Σ":
                write(axes, x - GAP / 2, y + KH * size / 2, sign, fontsize=LARGE, **MIDDLE)
        write(axes, x - GAP + 0.1, y + KH * size / 2, f"Σ = {sums[c]:.4g}", va="center")
    write(axes, MARGIN, HEAD + len(order) * down, last, fontweight="bold")
    return sheet


def _input_map(
    axes: Axes,
    step: LayerStep,
    channel: int,
    at: tuple[float, float],
    box: tuple[int, int, int, int],
) -> None:
    """Draw a channel of a layer's input, with a frame around a window."""
    H, W, _ = step.x.shape
    (top, left, bottom, right), (x, y) = box, at
    down, across = SIDE / H, SIDE / W
    limits = float(step.x.min()), float(step.x.max())
    picture(axes, step.x[..., channel], (x, y, SIDE, SIDE), "gray", limits)
    corner = (x + left * across, y + top * down)
    extent = ((right - left) * across, (bottom - top) * down)
    axes.add_patch(Rectangle(corner, *extent, fill=False, edgecolor=VERMILION, linewidth=1.5))


def _numbers(
    axes: Axes, matrix: FloatArray, at: tuple[float, float], size: float, largest: float
) -> None:
    """Draw a matrix as colored squares with its numbers, where there is room for them."""
    (KH, KW), (x, y) = matrix.shape, at
    picture(axes, matrix, (x, y, KW * size, KH * size), "RdBu_r", (-largest, largest))
    if KW > MOST_NUMBERS:
        return
    for (kh, kw), value in np.ndenumerate(matrix):
        color = "white" if abs(value) > 0.6 * largest else INK
        place = (x + (kw + 0.5) * size, y + (kh + 0.5) * size)
        write(axes, *place, f"{value + 0.0:.2g}", fontsize=SMALL, color=color, **MIDDLE)


@own_style
def pool_argmax(trace: Trace, number: int | str, channel: int) -> Figure:
    """Show what a max-pool keeps of one channel: a dot on the winner of each window.

    Parameters
    ----------
    trace : Trace
        From `minicnn.explain`.
    number : int or str
        Of a `MaxPool2D`, as in `Trace.step`.
    channel : int

    Returns
    -------
    matplotlib.figure.Figure
        The channel before and after, on one scale.

    Raises
    ------
    KeyError, IndexError
        If there is no such layer, or no such channel.
    ValueError
        If it is no max-pool.
    """
    step = trace.step(number)
    if not isinstance(step.layer, MaxPool2D):
        raise ValueError(f"winners: layer {number} is {step.title()}, not a max-pool")
    OH, OW, C = step.y.shape
    if not 0 <= channel < C:
        raise IndexError(f"winners: there is no channel {channel}: they are 0 to {C - 1}")
    title = f"layer {step.number}, {step.title()}, channel {channel}: who wins each window"
    whole = max(2 * LARGE_SIDE + GAP, text_width(title, LARGE))
    sheet, axes = inches(MARGIN + whole + MARGIN, HEAD + LARGE_SIDE + MARGIN)
    write(axes, MARGIN, 0.3, title, fontsize=LARGE, fontweight="bold")
    limits = float(step.x[..., channel].min()), float(step.x[..., channel].max())
    after = MARGIN + LARGE_SIDE + GAP
    for x, array, word in ((MARGIN, step.x, "before"), (after, step.y, "after")):
        H, W, _ = array.shape
        write(axes, x, HEAD - 0.06, f"{word}: {H}×{W}", fontsize=SMALL, color=GRAY)
        picture(axes, array[..., channel], (x, HEAD, LARGE_SIDE, LARGE_SIDE), "gray", limits)
    H, W, _ = step.x.shape
    down, across = LARGE_SIDE / H, LARGE_SIDE / W
    for oh, ow in np.ndindex(OH, OW):
        cell = step[oh, ow, channel]
        (top, left, bottom, right), (h, w, _) = cell.box or (0, 0, 0, 0), cell.source or (0, 0, 0)
        top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, H), min(right, W)
        corner = (MARGIN + left * across, HEAD + top * down)
        extent = ((right - left) * across, (bottom - top) * down)
        axes.add_patch(Rectangle(corner, *extent, fill=False, edgecolor=LIGHT, linewidth=0.4))
        place = [MARGIN + (w + 0.5) * across], [HEAD + (h + 0.5) * down]
        axes.plot(*place, "o", color=VERMILION, markersize=3)
    return sheet


@own_style
def logit_contributions(trace: Trace) -> Figure:
    """Show how the last layer decides: what speaks for and against each class, and its share.

    Parameters
    ----------
    trace : Trace
        From `minicnn.explain`.

    Returns
    -------
    matplotlib.figure.Figure
        On the left of each class the sum of its positive and of its negative contributions
        ``inputs · weights``, and a dot at the logit, which is their sum plus the bias; on the right
        the softmax of the logits.

    Raises
    ------
    ValueError
        If the last layer is not `Dense`.
    """
    step = trace.steps[-1]
    if not isinstance(step.layer, Dense):
        raise ValueError(f"decision: the last layer is {step.title()}, not Dense")
    products = step.x[:, None] * step.layer.parameters["weight"]  # (in, classes)
    speaks_for, against = (np.clip(products, *ends).sum(axis=0) for ends in ((0, None), (None, 0)))
    names = [readable(name, SMALL, 1.0) for name in trace.class_names]
    places = np.arange(len(names))
    sheet = Sheet(8, 0.9 + 0.3 * len(names), arranged=True)
    sums, shares = sheet.subplots(1, 2, width_ratios=(3, 2))
    sums.barh(places, speaks_for, color=BLUE, label="for: Σ of products above 0")
    sums.barh(places, against, color=VERMILION, label="against: Σ of those below 0")
    sums.plot(trace.logits, places, "o", color=INK, markersize=5, label="logit: all, and the bias")
    sums.axvline(0, color=GRAY, linewidth=0.8)
    sums.set_title("the logits as sums of contributions")
    shares.barh(places, trace.probabilities, color=BLUE)
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
        axes.set_yticks(places, names, parse_math=False)
        axes.invert_yaxis()
    handles, labels = sums.get_legend_handles_labels()
    sheet.legend(handles, labels, loc="outside lower center", ncols=3)
    return sheet
