"""Charts: learning curves, confusion matrix, reliability diagram."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from minicnn import metrics
from minicnn.plots import style
from minicnn.plots.style import Sheet, own_style, readable, text_width, write
from minicnn.shapes import IntArray
from minicnn.shapes.checks import check_class_names
from minicnn.table import percent

MAX_MARKED_EPOCHS = 30  # longer curves have no markers
MAX_LARGE_CELLS = 12  # more classes have smaller cells
FEW_PREDICTIONS = 10  # fewer say little about the accuracy of a bin
LINES = {
    "": ("training, as it went", style.BLUE, "o", "-"),
    "val_": ("validation, after each epoch", style.VERMILION, "s", "--"),
}


@own_style
def learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Plot loss and accuracy of each epoch, of training and validation.

    The training curves are means over an epoch, while the network changes, of augmented images.
    Validation runs at the end of the epoch, on images without augmentation. So its accuracy may be
    higher. Both losses are without label smoothing.

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
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    curves = {name: np.asarray(history[name], np.float64) for name in names if name in history}
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
        axes.set(title=measure, xlabel="epoch", xlim=(0.5, len(epochs) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid()
    panels[0].set_ylim(bottom=0)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1))
    bottom, top = panels[1].get_ylim()
    # A little above 100 %, so that a line at 100 % is drawn in full width.
    panels[1].set_ylim(top=min(1 + 0.02 * (1 - bottom), top))
    sheet.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
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
    names = [readable(name, style.NORMAL, 1.5) for name in names]
    cell, size = (0.62, style.NORMAL) if classes <= MAX_LARGE_CELLS else (0.5, style.SMALL)
    cell = max(cell, text_width(f"{matrix.max():,}", size) + 0.05)  # inches; size in points
    longest = max(text_width(name, style.NORMAL) for name in names)
    upright = longest > cell - 0.06  # too long to stand side by side
    side = classes * cell
    width, height = side + longest + 0.6, side + (longest if upright else 0.2) + 0.9
    sheet = Sheet(max(width, 4.0), height, arranged=True)
    correct, total = matrix.trace(), matrix.sum()
    head = f"{correct:,} of {total:,} right ({correct / total:.2%})"
    sheet.suptitle(head, x=0.03, ha="left", fontweight="bold", fontsize=style.LARGE)
    below = "in each cell: images, and their share of the true class"
    sheet.supxlabel(below, x=0.03, ha="left", **style.NOTE)
    axes = sheet.subplots()
    axes.imshow(_cell_colors(shares))
    edges = np.arange(classes + 1) - 0.5
    axes.hlines(edges, -0.5, classes - 0.5, color="white", linewidth=1.5)
    axes.vlines(edges, -0.5, classes - 0.5, color="white", linewidth=1.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("predicted", color=style.GRAY, loc="left")
    axes.set_ylabel("true", color=style.GRAY, loc="top")
    axes.set_xticks(range(classes), names, rotation=90 if upright else 0, parse_math=False)
    axes.set_yticks(range(classes), names, parse_math=False)
    for i, j in np.argwhere(matrix > 0):
        color = "white" if i == j and shares[i, j] > 0.6 else style.INK
        count, share = f"{matrix[i, j]:,}", percent(shares[i, j])
        write(axes, j, i - 0.13, count, fontsize=size, color=color, **style.MIDDLE)
        write(axes, j, i + 0.2, share, fontsize=size - 1.5, color=color, **style.MIDDLE)
    return sheet


def _cell_colors(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return colors (classes, classes, 3) for the row shares of cells."""
    right = np.eye(len(shares), dtype=bool)
    largest = shares.max(initial=0, where=~right) or 1  # of the mistakes
    strength = np.where(right, shares, shares / largest)
    full = np.where(right[..., None], to_rgb(style.BLUE), to_rgb(style.VERMILION))
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
    colors = [style.PALE if count < FEW_PREDICTIONS else style.BLUE for count in counts]
    sheet = Sheet(4.6, 5, arranged=True)
    upper, lower = sheet.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.bar(left, np.nan_to_num(accuracy), width, align="edge", color=colors, edgecolor="white")
    upper.plot([0, 1], [0, 1], color=style.GRAY, linestyle="--", label="perfect calibration")
    label = "gap to mean confidence"
    upper.vlines(confidence, accuracy, confidence, style.VERMILION, linewidth=2, label=label)
    title = f"expected calibration error {error:.2%}"
    upper.set(title=title, xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    upper.legend(loc="upper left")
    lower.bar(left, counts, width, align="edge", color=colors, edgecolor="white")
    lower.set(yscale="log", ylim=(0.7, 2 * counts.max()))
    lower.set(xlabel="confidence", ylabel="predictions")
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.yaxis.set_minor_locator(NullLocator())
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    lower.xaxis.set_major_formatter(PercentFormatter(1))
    return sheet
