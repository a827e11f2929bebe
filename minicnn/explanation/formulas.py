"""One number, and what it was made of.

How each layer makes one number, and what the gradient of one weight is made of.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.base import Layer
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.merge import Concat, Residual
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from minicnn.shapes import FloatArray, Shape
from minicnn.shapes.window import Window, make_window, pool_window

Index = tuple[int, ...]
Box = tuple[int, int, int, int]

WIDEST = 5  # columns of windows that are written side by side
MOST_CHANNELS = 3  # written out as windows; of the others the sum
MOST_TERMS = 8  # of what is wider, or a row; of the others the sum
WIDTH = 11


class UnitTrace(NamedTuple):
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


def _lines(cell: UnitTrace) -> Iterator[str]:
    yield f"{number(cell.result)} = {cell.formula}"
    if cell.box:
        top, left, bottom, right = cell.box
        yield f"rows {top} to {bottom - 1}, columns {left} to {right - 1} of the layer's input"
    arrays = zip(cell.columns, (cell.inputs, cell.weights, cell.products), strict=True)
    parts = {name: array for name, array in arrays if array is not None}
    if cell.inputs.ndim == 3 and cell.weights is not None:
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


# ---------------------------------------------------------------- forward


def unit_trace(
    layer: Layer, x: FloatArray, y: FloatArray, parts: list[FloatArray], at: Index
) -> UnitTrace:
    """Say what a number in a layer's output was made of.

    Parameters
    ----------
    layer : Layer
    x, y : ndarray
        Input and output of the layer for one image.
    parts : list of ndarray
        What the branches of a container gave; empty for other layers.
    at : tuple of int
        Where in y.

    Returns
    -------
    Cell

    Raises
    ------
    IndexError
        If y has no such place.
    """
    if type(layer) in (Residual, Concat):
        return _joined(layer, parts, float(y[at]), at)
    # By the class itself: a subclass may compute something else.
    return FORMULAS.get(type(layer), _input_and_output)(layer, x, float(y[at]), at)


def _input_and_output(layer: Layer, x: FloatArray, result: float, at: Index) -> UnitTrace:
    """Return the unit of a layer without a formula in `FORMULAS`: its whole input."""
    return UnitTrace(f"{layer}(x), of which only input and output are known", x, result)


def _sum(
    formula: str, inputs: FloatArray, weights: FloatArray, result: float, **rest: Any
) -> UnitTrace:
    """Return the cell of a number that is a sum of products, and perhaps a bias."""
    products = inputs.astype(np.float64) * weights
    total = float(products.sum())
    return UnitTrace(formula, inputs, result, weights, products, total, **rest)


def _taken(x: FloatArray, window: Window, at: Index, outside: float) -> tuple[FloatArray, Box]:
    """Return what an output pixel sees (KH, KW, C), and its box."""
    oh, ow = at[:2]
    top, left = oh * window.SH - window.top, ow * window.SW - window.left
    box = (top, left, top + window.KH, left + window.KW)
    H, W, C = x.shape
    inputs = np.full((window.KH, window.KW, C), outside, x.dtype)
    rows, columns = (range(max(box[k], 0), min(box[k + 2], size)) for k, size in enumerate((H, W)))
    for h in rows:
        for w in columns:
            inputs[h - top, w - left] = x[h, w]
    return inputs, box


def _bias(layer: Conv2D | DepthwiseConv2D | Dense, f: int) -> float:
    return float(layer.parameters["bias"][f]) if layer.bias else 0.0


def _conv(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    window = window_of(layer, x.shape)
    inputs, box = _taken(x, window, at, 0.0)
    f = at[2]
    if isinstance(layer, DepthwiseConv2D):
        inputs = inputs[..., f]
    weights = layer.parameters["weight"][..., f]
    formula = "Σ inputs · weights + bias"
    return _sum(formula, inputs, weights, result, bias=_bias(layer, f), box=box)


def _dense(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    weights = layer.parameters["weight"][:, at[0]]
    return _sum("Σ inputs · weights + bias", x, weights, result, bias=_bias(layer, at[0]))


def _max_pool(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    inputs, box = _taken(x, window_of(layer, x.shape), at, -np.inf)
    inputs = inputs[..., at[2]]
    kh, kw = divmod(int(inputs.argmax()), inputs.shape[1])  # of equal ones the first
    source = (box[0] + kh, box[1] + kw, at[2])
    return UnitTrace("the largest of the inputs", inputs, result, box=box, source=source)


def _avg_pool(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    inputs, box = _taken(x, window_of(layer, x.shape), at, 0.0)
    return _mean(inputs[..., at[2]], result, box)


def _global_avg_pool(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    return _mean(x[..., at[0]], result, (0, 0, *x.shape[:2]))


def _mean(inputs: FloatArray, result: float, box: Box) -> UnitTrace:
    weights = np.full(inputs.shape, 1 / inputs.size)
    return _sum("the mean: Σ inputs · 1 / how many", inputs, weights, result, box=box)


def _batch_norm(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    c = at[-1]
    mean, scale = normalization(layer)
    inputs = np.array([x[at] - mean[c]], np.float64)
    weights = np.array([scale[c] * layer.parameters["weight"][c]])
    formula = "(x - mean) · weight / √(variance + ε) + bias"
    bias = float(layer.parameters["bias"][c])
    return _sum(formula, inputs, weights, result, bias=bias, source=at)


def _relu(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    return UnitTrace("max(x, 0)", np.array([x[at]]), result, source=at)


def _handed_on(layer: Any, x: FloatArray, result: float, at: Index) -> UnitTrace:
    """Return the cell of a number that is as it was: `Dropout` in use, and `Flatten`."""
    source = at if isinstance(layer, Dropout) else tuple(map(int, np.unravel_index(at[0], x.shape)))
    return UnitTrace("x, as it is", np.array([x[source]]), result, source=source)


def _joined(layer: Layer, parts: list[FloatArray], result: float, at: Index) -> UnitTrace:
    if isinstance(layer, Residual):
        inputs = np.array([part[at] for part in parts])
        formula = "layers(x) + shortcut(x)"
        return _sum(formula, inputs, np.ones(len(parts)), result)
    branch, c = 0, at[-1]
    while c >= parts[branch].shape[-1]:
        c -= parts[branch].shape[-1]
        branch += 1
    source = (*at[:-1], c)
    formula = f"channel {c} of branch {branch}, as it is"
    return UnitTrace(formula, np.array([parts[branch][source]]), result, source=source)


# A layer class that is not listed is shown as input and output; add yours with its function.
FORMULAS: dict[type[Layer], Callable[[Any, FloatArray, float, Index], UnitTrace]] = {
    Conv2D: _conv,
    DepthwiseConv2D: _conv,
    Dense: _dense,
    MaxPool2D: _max_pool,
    AvgPool2D: _avg_pool,
    GlobalAvgPool2D: _global_avg_pool,
    BatchNorm: _batch_norm,
    ReLU: _relu,
    Dropout: _handed_on,
    Flatten: _handed_on,
}


def softmax_unit(logits: FloatArray, probabilities: FloatArray, k: int) -> UnitTrace:
    """Say how the probability of a class follows from the logits.

    Parameters
    ----------
    logits, probabilities : ndarray (classes,)
    k : int

    Returns
    -------
    Cell
        Its `products` are ``e^(z - max z)``, of which `total` is the sum.
    """
    powers = np.exp(logits.astype(np.float64) - logits.max())
    formula = f"e^(z[{k}] - max z) / Σ e^(z - max z)"
    return UnitTrace(
        formula,
        logits,
        float(probabilities[k]),
        products=powers,
        total=float(powers.sum()),
        columns=("z", "", "e^(z-max)"),
    )


# ---------------------------------------------------------------- backward


def gradient_unit(layer: Layer, x: FloatArray, dy: FloatArray, name: str, at: Index) -> UnitTrace:
    """Say what the gradient of one weight is made of: one product for each place it was used at.

    Parameters
    ----------
    layer : Conv2D, DepthwiseConv2D, Dense or BatchNorm
    x : ndarray
        Input of the layer for one image.
    dy : ndarray
        Gradient of its output.
    name : str
        Of the parameter: ``weight`` or ``bias``.
    at : tuple of int
        A place in it.

    Returns
    -------
    Cell
        `inputs` are what the weight was multiplied by, `weights` is dy, one for each place,
        and `total` is the gradient; `result` is left at 0.
    """
    if not isinstance(layer, (Conv2D, DepthwiseConv2D, Dense, BatchNorm)):
        formula = f"the backward of {layer}, of which only the input x is known"
        return UnitTrace(formula, x, 0.0, columns=("x", "", ""))
    upstream = np.atleast_1d(dy[..., at[-1]])
    met = np.ones_like(upstream) if name == "bias" else _met(layer, x, at)
    columns = ("x", "dy", "x · dy")
    return _sum("Σ x · dy, over all places of dy", met, upstream, 0.0, columns=columns)


def _met(
    layer: Conv2D | DepthwiseConv2D | Dense | BatchNorm, x: FloatArray, at: Index
) -> FloatArray:
    """Return what a weight was multiplied by, for each number of dy that it has a part in."""
    if isinstance(layer, Dense):
        return x[at[0] : at[0] + 1]
    if isinstance(layer, BatchNorm):
        mean, scale = normalization(layer)
        normalized: FloatArray = np.atleast_1d((x[..., at[0]] - mean[at[0]]) * scale[at[0]])
        return normalized
    window = window_of(layer, x.shape)
    met = np.empty((window.OH, window.OW), x.dtype)
    for oh in range(window.OH):
        for ow in range(window.OW):
            inputs, _ = _taken(x, window, (oh, ow), 0.0)
            met[oh, ow] = inputs[at[:3]]
    return met


def normalization(layer: BatchNorm) -> tuple[FloatArray, FloatArray]:
    """Return what a batch norm in use subtracts from each channel, and then multiplies it by.

    Parameters
    ----------
    layer : BatchNorm

    Returns
    -------
    mean, scale : ndarray of float64 (C,)
        ``scale = 1 / √(variance + ε)``.
    """
    mean, variance = (layer.statistics[name].astype(np.float64) for name in ("mean", "variance"))
    return mean, 1 / np.sqrt(variance + layer.epsilon)


def window_of(
    layer: Conv2D | DepthwiseConv2D | MaxPool2D | AvgPool2D, input_shape: Shape
) -> Window:
    """Return how a layer's window slides over its input.

    Parameters
    ----------
    layer : Conv2D, DepthwiseConv2D, MaxPool2D or AvgPool2D
    input_shape : tuple of int
        ``(H, W, C)``.

    Returns
    -------
    Window
    """
    op, H, W = type(layer).__name__, *input_shape[:2]
    if isinstance(layer, (MaxPool2D, AvgPool2D)):
        return pool_window(op, (H, W), layer.pool_size, layer.stride, layer.padding)
    return make_window(op, (H, W), layer.kernel_size, layer.stride, layer.padding)
