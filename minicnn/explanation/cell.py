"""One number, and what it was made of."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minicnn.shapes import FloatArray

Index = tuple[int, ...]
Box = tuple[int, int, int, int]

WIDEST = 5  # columns of windows that are written side by side
MOST_CHANNELS = 3  # written out as windows; of the others the sum
MOST_TERMS = 8  # of what is wider, or a row; of the others the sum
WIDTH = 11


class Cell(NamedTuple):
    """What one number was made of; ``print(cell)`` writes it out.

    Attributes
    ----------
    formula : str
        How `result` follows from the rest.
    inputs : ndarray
        The numbers that went in: of a convolution the window (KH, KW, C), of a pool (KH, KW), of a
        dense layer (in,). What lies outside the image is 0, for a max-pool -∞.
    result : float
        The number itself, as the network has it: but for the rounding of its dtype what the
        formula gives.
    weights : ndarray, or None
        What the inputs were multiplied by, of the same shape.
    products : ndarray, or None
        ``inputs · weights``, or what else is added up; in float64.
    total : float, or None
        The sum of the products.
    bias : float, or None
        What is added to it.
    box : tuple of int, or None
        ``(top, left, bottom, right)`` of the window, in rows and columns of the layer's input, the
        last two exclusive; it may reach out of the image, into the padding.
    source : tuple of int, or None
        Where in the layer's input the number comes from, if it was handed on: of a max-pool the
        winner.
    columns : tuple of str
        What inputs, weights and products are called where they are written out.
    """

    formula: str
    inputs: FloatArray
    result: float
    weights: FloatArray | None = None
    products: FloatArray | None = None
    total: float | None = None
    bias: float | None = None
    box: Box | None = None
    source: Index | None = None
    columns: tuple[str, str, str] = ("inputs", "weights", "products")

    def __str__(self) -> str:
        """Write the numbers out; of many channels or terms those that weigh most."""
        return "\n".join(_lines(self))


def _lines(cell: Cell) -> Iterator[str]:
    yield f"{number(cell.result)} = {cell.formula}"
    if cell.box:
        top, left, bottom, right = cell.box
        yield f"rows {top} to {bottom - 1}, columns {left} to {right - 1} of the layer's input"
    arrays = zip(cell.columns, (cell.inputs, cell.weights, cell.products), strict=True)
    parts = {name: array for name, array in arrays if array is not None}
    if cell.inputs.ndim == 3:
        yield from _channels(parts)
    elif cell.inputs.ndim == 2 and cell.inputs.shape[1] <= WIDEST:
        yield from _window(parts)
    else:
        yield from _terms(parts)
    if cell.total is not None:
        bias = "" if cell.bias is None else f", and the bias is {number(cell.bias)}"
        yield f"the sum is {number(cell.total)}{bias}"
    if cell.source is not None:
        yield f"it comes from {list(cell.source)} of the layer's input"


def _channels(parts: dict[str, FloatArray]) -> Iterator[str]:
    """Write the windows of a convolution (KH, KW, C), channel by channel."""
    sums = list(parts.values())[-1].sum(axis=(0, 1))
    order = np.argsort(-abs(sums), kind="stable")
    for c in order[:MOST_CHANNELS]:
        yield f"channel {c}, which gives {number(sums[c])}:"
        yield from _window({name: array[..., c] for name, array in parts.items()})
    if len(order) > MOST_CHANNELS:
        others = float(sums[order[MOST_CHANNELS:]].sum())
        yield f"the other {len(order) - MOST_CHANNELS} channels give {number(others)}"


def _window(parts: dict[str, FloatArray]) -> Iterator[str]:
    """Write matrices side by side."""
    width = WIDTH * next(iter(parts.values())).shape[1]
    yield "   ".join(f"{name:>{width}}" for name in parts)
    for rows in zip(*parts.values(), strict=True):
        yield "   ".join("".join(number(value) for value in row) for row in rows)


def _terms(parts: dict[str, FloatArray]) -> Iterator[str]:
    """Write numbers one below the other, each with its place, the weightiest first."""
    last = list(parts.values())[-1]
    order = np.argsort(-abs(last), axis=None, kind="stable")
    names = [str([int(axis) for axis in np.unravel_index(k, last.shape)]) for k in order]
    width = max(map(len, names))
    yield " " * width + "".join(f"{name:>{WIDTH}}" for name in parts)
    shown = min(MOST_TERMS, max(int(np.count_nonzero(last)), 1))
    for name, k in zip(names[:shown], order[:shown], strict=True):
        yield f"{name:>{width}}" + "".join(number(array.flat[k]) for array in parts.values())
    if len(order) > shown:
        rest = number(float(last.flat[order[shown:]].sum()))
        yield f"the other {len(order) - shown} add up to {rest}"


def number(value: float) -> str:
    """Write a number in a column: four digits, or as a power of ten where it is very small.

    Parameters
    ----------
    value : float

    Returns
    -------
    str
        Eleven characters or more.
    """
    return f"{value + 0.0:{WIDTH}.4g}"  # + 0.0 turns -0 into 0
