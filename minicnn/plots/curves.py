"""Charts: learning curves, confusion matrix, reliability diagram."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from minicnn import metrics
from minicnn.plots.style import (
    BLUE,
    GRAY,
    INK,
    LARGE,
    NORMAL,
    PALE,
    SMALL,
    VERMILION,
    Sheet,
    inches,
    own_style,
    percent,
    readable,
    text_width,
    write,
)
from minicnn.shapes import IntArray
from minicnn.shapes.checks import check_class_names

MAX_MARKED_EPOCHS = 30  # longer curves have no markers
MAX_LARGE_CELLS = 12  # more classes have smaller cells
FEW_PREDICTIONS = 10  # fewer say little about the accuracy of a bin
LINES = {
    "": ("training, as it went", BLUE, "o", "-"),
    "val_": ("validation, after each epoch", VERMILION, "s", "--"),
}


@own_style
def learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Plot loss and accuracy of each epoch, of training and validation.

    The training curves are means over an epoch, while the network changes, of augmented images.
    Validation runs at the end of the epoch, on images without augmentation. So its accuracy may be
    higher.

    Parameters
    ----------
    history : mapping of str to sequence of float
        From `fit`: ``loss`` and ``accuracy``; with validation ``val_loss`` and ``val_accuracy``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``loss`` or ``accuracy`` is missing or empty, or the lengths differ.
    """
    curves = {
        name: np.asarray(history[name], np.float64)
        for name in ("loss", "accuracy", "val_loss", "val_accuracy")
        if name in history
    }
    lengths = {name: len(values) for name, values in curves.items()}
    if not {"loss", "accuracy"} <= set(curves) or len(set(lengths.values())) > 1:
        raise ValueError(
            f"learning_curves: history must hold loss and accuracy, one value for each epoch, "
            f"not {lengths or list(history)}"
        )
    epochs = np.arange(1, lengths["loss"] + 1)
    if not len(epochs):
        raise ValueError("learning_curves: history is empty; train for at least one epoch")
    sheet = Sheet(8, 3.2, arranged=True)
    panels = sheet.subplots(1, 2)
    for axes, measure in zip(panels, ("loss", "accuracy"), strict=True):
        for prefix, (label, color, marker, line) in LINES.items():
            if prefix + measure in curves:
                axes.plot(
                    epochs, curves[prefix + measure], color=color, label=label, linestyle=line,
                    marker=marker if len(epochs) <= MAX_MARKED_EPOCHS else "", markersize=4,
                )  # fmt: skip
        axes.set_title(measure)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.grid()
    panels[0].set_ylim(bottom=0)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1))
    bottom, top = panels[1].get_ylim()
    # A little above 100 %, so that a line at 100 % is drawn in full width.
    panels[1].set_ylim(top=min(1 + 0.02 * (1 - bottom), top))
    handles, labels = panels[0].get_legend_handles_labels()
    sheet.legend(handles, labels, loc="outside upper center", ncols=2)
    return sheet


@own_style
def confusion_matrix(matrix: IntArray, class_names: Sequence[str] | None = None) -> Figure:
    """Draw a confusion matrix with the count and row share of each cell.

    The diagonal is blue, darker for a larger share. Mistakes are orange on a scale of their own:
    the darkest cell is the most frequent mistake. Cells without images stay empty.

    Parameters
    ----------
    matrix : ndarray of int (classes, classes)
        From `minicnn.metrics.confusion_matrix`: a row for each true class.
    class_names : sequence of str, optional
        A name for each class; default: its index.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If it is not a confusion matrix, or the number of names is not the number of classes.
    """
    shares = metrics.normalize_rows(matrix)
    classes = len(matrix)
    names = check_class_names("confusion_matrix", class_names, classes)
    names = [readable(name, NORMAL, 1.5) for name in names]
    cell, size = (0.62, NORMAL) if classes <= MAX_LARGE_CELLS else (0.5, SMALL)  # inches, points
    cell = max(cell, text_width(f"{matrix.max():,}", size) + 0.05)
    longest = max(text_width(name, NORMAL) for name in names)
    upright = longest > cell - 0.06  # too long to stand side by side
    left, top = 0.5 + longest, 0.75 + (longest if upright else 0.15)
    side = classes * cell
    sheet, axes = inches(max(left + side, 4.0) + 0.15, top + side + 0.35)
    axes.imshow(
        _cell_colors(shares), extent=(left, left + side, top + side, top), aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    lines = cell * np.arange(classes + 1)
    axes.hlines(top + lines, left, left + side, color="white", linewidth=1.5)
    axes.vlines(left + lines, top, top + side, color="white", linewidth=1.5)

    correct, total = matrix.trace(), matrix.sum()
    head = f"{correct:,} of {total:,} right ({correct / total:.2%})"
    write(axes, 0.15, 0.3, head, fontweight="bold", fontsize=LARGE)
    write(axes, left, 0.58, "predicted", color=GRAY)
    write(axes, 0.3, top, "true", color=GRAY, rotation=90, ha="right", va="top")
    below = "in each cell: images, and their share of the true class"
    write(axes, 0.15, top + side + 0.22, below, color=GRAY, fontsize=SMALL)
    for k, name in enumerate(names):
        middle = (k + 0.5) * cell
        write(axes, left - 0.08, top + middle, name, ha="right", va="center_baseline")
        turned = {"rotation": 90, "va": "bottom"} if upright else {"va": "baseline"}
        write(axes, left + middle, top - 0.08, name, ha="center", **turned)
    for i, j in np.argwhere(matrix > 0):
        x, y = left + (j + 0.5) * cell, top + (i + 0.5) * cell
        color = "white" if i == j and shares[i, j] > 0.6 else INK
        options: dict[str, Any] = {"ha": "center", "va": "center", "color": color}
        write(axes, x, y - 0.13 * cell, f"{matrix[i, j]:,}", fontsize=size, **options)
        write(axes, x, y + 0.2 * cell, percent(shares[i, j]), fontsize=size - 1.5, **options)
    return sheet


def _cell_colors(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return colors (classes, classes, 3) for the row shares of cells."""
    mistakes = shares.copy()
    np.fill_diagonal(mistakes, 0)
    strength = mistakes / (mistakes.max() or 1)
    np.fill_diagonal(strength, shares.diagonal())
    full = np.where(np.eye(len(shares), dtype=bool)[..., None], to_rgb(BLUE), to_rgb(VERMILION))
    mix = np.where(shares > 0, 0.1 + 0.8 * strength, 0)[..., None]
    empty = np.array(to_rgb("#F7F7F7"))
    colors: NDArray[np.float64] = empty + mix * (full - empty)
    return colors


@own_style
def reliability_diagram(calibration: metrics.Calibration) -> Figure:
    """Plot the accuracy of each confidence bin, and the size of the bins.

    The bars of a calibrated network end on the diagonal; below it the network is overconfident.
    Bins with few predictions are pale, because their accuracy is uncertain.

    Parameters
    ----------
    calibration : Calibration
        From `minicnn.metrics.calibration`.

    Returns
    -------
    matplotlib.figure.Figure

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks" (ICML
    2017), section 2 and figure 1.
    """
    counts, confidence, accuracy, error = calibration
    bins = len(counts)
    left, width = np.arange(bins) / bins, 1 / bins
    colors = [PALE if count < FEW_PREDICTIONS else BLUE for count in counts]
    sheet = Sheet(4.6, 5, arranged=True)
    upper, lower = sheet.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.bar(left, np.nan_to_num(accuracy), width, align="edge", color=colors, edgecolor="white")
    upper.plot([0, 1], [0, 1], color=GRAY, linestyle="--", label="perfect calibration")
    upper.vlines(
        confidence,
        accuracy,
        confidence,
        color=VERMILION,
        linewidth=2,
        label="gap to mean confidence",
    )
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    upper.set_title(f"expected calibration error {error:.2%}")
    upper.legend(loc="upper left")
    lower.bar(left, counts, width, align="edge", color=colors, edgecolor="white")
    lower.set_yscale("log")
    lower.set(ylim=(0.7, 2 * counts.max()), xlabel="confidence", ylabel="predictions")
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    lower.yaxis.set_minor_locator(NullLocator())
    for axis in (upper.yaxis, lower.xaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return sheet
