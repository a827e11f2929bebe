"""Draw the figures of the lessons: arrays, curves, bars and descent paths.

Each function returns a figure on a white background, as those of `minicnn.plots` do. Arrays are
gray, the largest value white. Arrays with negative values are orange above 0 and blue below.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from minicnn.plots.style import (
    BLUE,
    GRAY,
    INK,
    SIGNED,
    VERMILION,
    Sheet,
    inches,
    own_style,
    picture,
    text_width,
    write,
)

Array = NDArray[Any]
Frame = tuple[int, int, int, int]

# Colors that are distinct with color blindness, each with a line style.
COLORS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", INK)
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
MANY = 12  # columns; more of them have smaller cells
FEW = 30  # points of a line; more have no markers


@own_style
def numbers(
    panels: Mapping[str, Array],
    frames: Mapping[str, Frame] | None = None,
    first: Mapping[str, tuple[int, int]] | None = None,
) -> Figure:
    """Show arrays (H, W) side by side with their values and titles.

    `frames` maps a title to the framed window (h, w, KH, KW). `first` maps a title to the indices
    of its first row and column, which are written at the edges.
    """
    arrays = {title: np.asarray(values) for title, values in panels.items()}
    cell = 0.43 if max(values.shape[1] for values in arrays.values()) <= MANY else 0.3
    edge = 0.2 if first else 0.0
    widths = [
        edge + max(cell * values.shape[1], text_width(title, 9)) + 0.3
        for title, values in arrays.items()
    ]
    tallest = max(values.shape[0] for values in arrays.values())
    sheet, axes = inches(sum(widths) - 0.3, 0.2 + edge + cell * tallest)
    left, top = edge, 0.2 + edge
    for (title, values), width in zip(arrays.items(), widths, strict=True):
        write(axes, left, 0.08, title, fontsize=9, fontweight="bold")
        _cells(axes, values, left, top, cell)
        if frames and title in frames:
            h, w, KH, KW = frames[title]
            place, size = (left + w * cell, top + h * cell), (KW * cell, KH * cell)
            frame = Rectangle(place, *size, fill=False, edgecolor=VERMILION, linewidth=3)
            axes.add_patch(frame)
        if first and title in first:
            _indices(axes, values.shape, first[title], left, top, cell)
        left += width
    return sheet


def _cells(axes: Any, values: Array, left: float, top: float, cell: float) -> None:
    H, W = values.shape
    colors, limits = _shades(values)
    picture(axes, values, left, top, max(H, W) * cell, colors, limits)
    for h, w in np.ndindex(H, W):
        number = float(values[h, w]) + 0.0  # -0 becomes 0
        share = abs(number) / limits[1]
        dark = share > 0.7 if limits[0] < 0 else share < 0.5
        text = f"{number:.0f}" if number.is_integer() else f"{number:.2f}"
        write(
            axes, left + (w + 0.5) * cell, top + (h + 0.5) * cell, text, ha="center", va="center",
            fontsize=8 if cell > 0.4 else 6, color="white" if dark else INK,
        )  # fmt: skip


def _shades(values: Array) -> tuple[str | Colormap, tuple[float, float]]:
    """Return a colormap and its limits: gray, or blue-orange with negatives."""
    highest = float(np.abs(values).max()) or 1.0
    return (SIGNED, (-highest, highest)) if (values < 0).any() else ("gray", (0.0, highest))


def _indices(
    axes: Any, shape: Sequence[int], first: tuple[int, int], left: float, top: float, cell: float
) -> None:
    """Write the indices of rows and columns at the edges."""
    style = {"fontsize": 6, "color": GRAY, "ha": "center", "va": "center"}
    for h in range(shape[0]):
        write(axes, left - 0.1, top + (h + 0.5) * cell, str(first[0] + h), **style)
    for w in range(shape[1]):
        write(axes, left + (w + 0.5) * cell, top - 0.1, str(first[1] + w), **style)


@own_style
def maps(panels: Mapping[str, Array]) -> Figure:
    """Show arrays (H, W) as images side by side, each below its title."""
    size = 1.8
    widths = [max(size, text_width(title, 9)) + 0.25 for title in panels]
    sheet, axes = inches(sum(widths) - 0.25, 0.2 + size)
    left = 0.0
    for (title, values), width in zip(panels.items(), widths, strict=True):
        write(axes, left, 0.08, title, fontsize=9, fontweight="bold")
        picture(axes, values, left, 0.2, size, *_shades(values))
        left += width
    return sheet


@own_style
def curves(
    lines: Mapping[str, Sequence[float] | tuple[Any, Any]], x: str, y: str, *, log: str = ""
) -> Figure:
    """Draw lines, each a sequence indexed from 1 or a pair (xs, ys).

    `log` names the axes that are logarithmic: "x", "y" or "xy".
    """
    sheet = Sheet(7, 3.2, arranged=True)
    axes = sheet.subplots()
    for (name, line), color, style in zip(lines.items(), COLORS, STYLES, strict=False):
        xs, ys = line if isinstance(line, tuple) else (np.arange(1, len(line) + 1), line)
        marker = "o" if len(xs) <= FEW else ""
        axes.plot(xs, ys, label=name, color=color, linestyle=style, marker=marker, markersize=4)
    for axis in log:
        axes.set(**{f"{axis}scale": "log"})
        scale = axes.xaxis if axis == "x" else axes.yaxis
        scale.set_minor_locator(LogLocator(subs=(2, 5)))
        scale.set_major_formatter("{x:g}")
        scale.set_minor_formatter("{x:g}")
    axes.set(xlabel=x, ylabel=y)
    axes.grid()
    sheet.legend(loc="outside upper center", ncols=min(3, len(lines)))
    return sheet


@own_style
def bars(
    values: Mapping[str, float],
    x: str,
    *,
    log: bool = False,
    limit: tuple[str, float] | None = None,
) -> Figure:
    """Draw a bar per value; `limit` is a named vertical line."""
    sheet = Sheet(7, 0.8 + 0.3 * len(values), arranged=True)
    axes = sheet.subplots()
    drawn = axes.barh(list(values), list(values.values()), color=BLUE, height=0.7)
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.bar_label(drawn, fmt=lambda value: f"{value:.3g}", padding=3, bbox=paper)
    axes.invert_yaxis()
    axes.set(xlabel=x, xscale="log" if log else "linear")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12)
    if limit:
        name, value = limit
        axes.axvline(value, color=VERMILION, linestyle="--", label=f"{name}: {value:.3g}")
        sheet.legend(loc="outside upper right")
    return sheet


@own_style
def valley(loss: Callable[[Array, Array], Array], paths: Mapping[str, Array]) -> Figure:
    """Draw paths (steps, 2) of two weights over the contours of a loss."""
    sheet = Sheet(7, 2.2 * len(paths), arranged=True)
    across, along = np.meshgrid(np.linspace(-11, 11, 200), np.linspace(-2.5, 2.5, 200))
    heights = loss(across, along)
    for axes, (name, path) in zip(
        sheet.subplots(len(paths), 1, sharex=True), paths.items(), strict=True
    ):
        axes.contour(across, along, heights, levels=12, colors="#BBBBBB", linewidths=0.7)
        axes.plot(*path.T, color=BLUE, marker="o", markersize=2.5, linewidth=1)
        axes.plot(*path[0], color=VERMILION, marker="s")
        axes.plot(0, 0, color=VERMILION, marker="*", markersize=10)
        axes.set(title=name, ylabel="w2", xlim=(-11, 11), ylim=(-2.5, 2.5), aspect="equal")
    axes.set(xlabel="w1")
    return sheet
