"""Decompose one unit of a layer, or one weight's gradient, into its terms."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.base import Layer
from minicnn.layers.container import Concat, Residual
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from minicnn.shapes import Array
from minicnn.shapes.window import Window

Index = tuple[int, ...]
Box = tuple[int, int, int, int]

MAX_WINDOW_COLUMNS = 5  # of windows that are printed side by side
MAX_CHANNELS = 3  # printed as windows; for the other channels their sum
MAX_TERMS = 8  # printed of a wider window or a row; for the other terms their sum
VALUE_WIDTH = 11


class UnitTrace(NamedTuple):
    """Terms of one output of a layer; ``print(unit)`` lists them.

    Attributes
    ----------
    formula : str
        The formula of `result`.
    inputs : ndarray
        The inputs of the formula: the window (KH, KW, C) of a convolution, (KH, KW) of a pool, the
        row (in,) of a dense layer. Padding is 0, or -∞ for a max-pool. For a layer without a
        formula x at the position of the output, or all of x if its shape is another.
    result : float
        The output of the network. It equals the formula up to rounding in the network's dtype.
    weights : ndarray, or None
        The factors of the inputs, of the same shape.
    products : ndarray, or None
        The terms of the sum in float64: ``inputs · weights``, or the powers of a softmax.
    total : float, or None
        The sum of the products.
    bias : float, or None
        The bias that is added to the sum.
    box : tuple of int, or None
        ``(top, left, bottom, right)`` of the window, in rows and columns of the layer's input, the
        last two exclusive; it may reach into the padding.
    source : tuple of int, or None
        The index in the layer's input that is copied: for a max-pool the argmax.
    columns : tuple of str
        The printed headings of inputs, weights and products.
    """

    formula: str
    inputs: Array
    result: float = 0.0
    weights: Array | None = None
    products: Array | None = None
    total: float | None = None
    bias: float | None = None
    box: Box | None = None
    source: Index | None = None
    columns: tuple[str, str, str] = ("inputs", "weights", "products")

    def __str__(self) -> str:
        """List the terms, the largest ones if there are many."""
        return "\n".join(_lines(self))


def _lines(unit: UnitTrace) -> Iterator[str]:
    yield f"{format_value(unit.result)} = {unit.formula}"
    if unit.box:
        top, left, bottom, right = unit.box
        yield f"rows {top} to {bottom - 1}, columns {left} to {right - 1} of the layer's input"
    arrays = zip(unit.columns, (unit.inputs, unit.weights, unit.products), strict=True)
    parts = {name: array for name, array in arrays if array is not None}
    if unit.inputs.ndim == 3 and unit.weights is not None:
        yield from _channels(parts)
    elif unit.inputs.ndim == 2 and unit.inputs.shape[1] <= MAX_WINDOW_COLUMNS:
        yield from _side_by_side(parts)
    else:
        yield from _terms(parts, summed=unit.total is not None)
    if unit.total is not None:
        bias = "" if unit.bias is None else f", and the bias is {format_value(unit.bias)}"
        yield f"the sum is {format_value(unit.total)}{bias}"
    if unit.source is not None:
        yield f"it comes from {list(unit.source)} of the layer's input"


def _channels(parts: dict[str, Array]) -> Iterator[str]:
    """Yield lines with the windows (KH, KW, C) of a convolution by channel."""
    sums = list(parts.values())[-1].sum(axis=(0, 1))
    order = np.argsort(-abs(sums), kind="stable")
    for c in order[:MAX_CHANNELS]:
        yield f"channel {c}, which gives {format_value(sums[c])}:"
        yield from _side_by_side({name: array[..., c] for name, array in parts.items()})
    if len(order) > MAX_CHANNELS:
        others = float(sums[order[MAX_CHANNELS:]].sum())
        yield f"the other {len(order) - MAX_CHANNELS} channels give {format_value(others)}"


def _side_by_side(parts: dict[str, Array]) -> Iterator[str]:
    """Yield lines with matrices side by side."""
    width = VALUE_WIDTH * next(iter(parts.values())).shape[1]
    yield "   ".join(f"{name:>{width}}" for name in parts)
    for rows in zip(*parts.values(), strict=True):
        yield "   ".join("".join(format_value(value) for value in row) for row in rows)


def _terms(parts: dict[str, Array], *, summed: bool) -> Iterator[str]:
    """Yield lines with terms and their indices, largest first."""
    last = list(parts.values())[-1]
    order = np.argsort(-abs(last), axis=None, kind="stable")
    names = [str([int(axis) for axis in np.unravel_index(k, last.shape)]) for k in order]
    width = max(map(len, names))
    yield " " * width + "".join(f"{name:>{VALUE_WIDTH}}" for name in parts)
    shown = min(MAX_TERMS, max(int(np.count_nonzero(last)), 1))
    for name, k in zip(names[:shown], order[:shown], strict=True):
        yield f"{name:>{width}}" + "".join(format_value(array.flat[k]) for array in parts.values())
    if len(order) > shown:
        others = f"the other {len(order) - shown}"
        remaining = float(last.flat[order[shown:]].sum())
        yield (
            f"{others} add up to {format_value(remaining)}" if summed else f"{others} are not shown"
        )


def format_value(value: float) -> str:
    """Format a value with four digits, right-aligned in a column."""
    return f"{value + 0.0:{VALUE_WIDTH}.4g}"  # + 0.0 turns -0 into 0


# ---------------------------------------------------------------- forward


def unit_trace(layer: Layer, x: Array, y: Array, parts: list[Array], at: Index) -> UnitTrace:
    """Trace one output of a layer back to its terms; `result` stays 0."""
    kind = type(layer)  # By the class itself: a subclass may compute something else.
    if kind is Residual:
        inputs = np.array([part[at] for part in parts])
        return _sum("layers(x) + shortcut(x)", inputs, np.ones(len(parts)))
    if kind is Concat:
        channels = [(n, c) for n, part in enumerate(parts) for c in range(part.shape[-1])]
        branch, c = channels[at[-1]]
        return _copy(f"channel {c} of branch {branch}, copied", parts[branch], (*at[:-1], c))
    if kind in FORMULAS:
        return FORMULAS[kind](layer, x, at)
    formula = f"{layer}(x), of which only input and output are known"
    if x.shape != y.shape:
        return UnitTrace(formula, x)
    return UnitTrace(f"{formula}; x at this position:", np.array([x[at]]))


def _sum(formula: str, inputs: Array, weights: Array, **fields: Any) -> UnitTrace:
    """Return the trace of a sum of products, with a bias if it has one."""
    products = inputs.astype(np.float64) * weights
    total = float(products.sum())
    return UnitTrace(formula, inputs, weights=weights, products=products, total=total, **fields)


def _copy(formula: str, x: Array, source: Index) -> UnitTrace:
    """Return the trace of an output that depends on one input."""
    return UnitTrace(formula, np.array([x[source]]), source=source)


def _windows(window: Window, x: Array, padding: float = 0.0) -> Array:
    """Return the inputs (OH, OW, C, KH, KW) of all windows, as a view."""
    # At the bottom and right the padding is as wide as at the top and left, or one pixel wider.
    margins = (window.top, window.top + 1), (window.left, window.left + 1), (0, 0)
    padded = np.pad(x, margins, constant_values=padding)
    windows = sliding_window_view(padded, (window.KH, window.KW), axis=(0, 1))
    return windows[:: window.SH, :: window.SW][: window.OH, : window.OW]


def _window_inputs(layer: Any, x: Array, at: Index, padding: float = 0.0) -> tuple[Array, Box]:
    """Return the window of an output, (KH, KW) or (C, KH, KW), and its box."""
    window = layer.window(x.shape)
    top, left = at[0] * window.SH - window.top, at[1] * window.SW - window.left
    box = (top, left, top + window.KH, left + window.KW)
    return _windows(window, x, padding)[at], box


def _conv(layer: Any, x: Array, at: Index) -> UnitTrace:
    inputs, box = _window_inputs(layer, x, at[:2])
    return _weighted(layer, np.moveaxis(inputs, 0, 2), at[2], box=box)


def _depthwise_conv(layer: Any, x: Array, at: Index) -> UnitTrace:
    inputs, box = _window_inputs(layer, x, at)
    return _weighted(layer, inputs, at[2], box=box)


def _weighted(layer: Any, inputs: Array, f: int, **fields: Any) -> UnitTrace:
    """Return the trace of output f of a layer with weights."""
    weights = layer.parameters["weight"][..., f]
    bias = float(layer.parameters["bias"][f]) if layer.bias else 0.0
    return _sum("Σ inputs · weights + bias", inputs, weights, bias=bias, **fields)


def _max_pool(layer: Any, x: Array, at: Index) -> UnitTrace:
    inputs, box = _window_inputs(layer, x, at, -np.inf)
    kh, kw = divmod(int(inputs.argmax()), inputs.shape[1])  # the first of equal maxima
    source = (box[0] + kh, box[1] + kw, at[2])
    return UnitTrace("the largest of the inputs", inputs, box=box, source=source)


def _mean(inputs: Array, box: Box) -> UnitTrace:
    weights = np.full(inputs.shape, 1 / inputs.size)
    return _sum("the mean: Σ inputs · 1 / n", inputs, weights, box=box)


def _batch_norm(layer: Any, x: Array, at: Index) -> UnitTrace:
    c = at[-1]
    mean, scale = normalization(layer)
    inputs = np.array([x[at] - mean[c]], np.float64)
    weights = np.array([scale[c] * layer.parameters["weight"][c]])
    formula = "(x - mean) · weight / √(variance + ε) + bias"
    return _sum(formula, inputs, weights, bias=float(layer.parameters["bias"][c]), source=at)


def _flatten(layer: Any, x: Array, at: Index) -> UnitTrace:
    return _copy("x, copied", x, tuple(map(int, np.unravel_index(at[0], x.shape))))


# A layer class that is not listed is shown as input and output. Add a class with its function.
FORMULAS: dict[type[Layer], Callable[[Any, Array, Index], UnitTrace]] = {
    Conv2D: _conv,
    DepthwiseConv2D: _depthwise_conv,
    Dense: lambda layer, x, at: _weighted(layer, x, at[0]),
    MaxPool2D: _max_pool,
    AvgPool2D: lambda layer, x, at: _mean(*_window_inputs(layer, x, at)),
    GlobalAvgPool2D: lambda layer, x, at: _mean(x[..., at[0]], (0, 0, *x.shape[:2])),
    BatchNorm: _batch_norm,
    ReLU: lambda layer, x, at: _copy("max(x, 0)", x, at),
    Dropout: lambda layer, x, at: _copy("x, copied", x, at),
    Flatten: _flatten,
}


def softmax_unit(logits: Array, probabilities: Array, k: int) -> UnitTrace:
    """Trace the probability of a class back to the logits (classes,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    unit = UnitTrace(f"e^(z[{k}] - max z) / Σ e^(z - max z)", logits, float(probabilities[k]))
    columns = ("z", "", "e^(z-max)")
    return unit._replace(products=powers, total=float(powers.sum()), columns=columns)


# ---------------------------------------------------------------- backward


def gradient_unit(layer: Layer, x: Array, dy: Array, name: str, at: Index) -> UnitTrace:
    """Trace the gradient of one weight: a product for each position of dy.

    `inputs` are the factors of the weight, `weights` is dy, and `total` is the gradient. `result`
    stays 0. For a layer class without a formula only `inputs` is set, to its whole input.
    """
    if not isinstance(layer, (Conv2D, DepthwiseConv2D, Dense, BatchNorm)):
        formula = f"the backward of {layer}, of which only the input x is known"
        return UnitTrace(formula, x, columns=("x", "", ""))
    upstream = np.atleast_1d(dy[..., at[-1]])
    factors = np.ones_like(upstream) if name == "bias" else _factors(layer, x, at)
    columns = ("x", "dy", "x · dy")
    return _sum("Σ x · dy, over all positions of dy", factors, upstream, columns=columns)


def _factors(layer: Conv2D | DepthwiseConv2D | Dense | BatchNorm, x: Array, at: Index) -> Array:
    """Return the input of a weight for each element of dy that it affects."""
    if isinstance(layer, Dense):
        return x[at[0] : at[0] + 1]
    if isinstance(layer, BatchNorm):
        mean, scale = normalization(layer)
        normalized: Array = np.atleast_1d((x[..., at[0]] - mean[at[0]]) * scale[at[0]])
        return normalized
    return _windows(layer.window(x.shape), x)[..., at[2], at[0], at[1]]


def normalization(layer: BatchNorm) -> tuple[Array, Array]:
    """Return mean and 1 / √(variance + ε) of a batch norm, float64 (C,)."""
    mean, variance = (layer.statistics[name].astype(np.float64) for name in ("mean", "variance"))
    return mean, 1 / np.sqrt(variance + layer.epsilon)
