"""How each layer makes one number, and what the gradient of one weight is made of."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import shapes
from minicnn.explanation.cell import Box, Cell, Index
from minicnn.layers import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
)
from minicnn.shapes import FloatArray, Shape, Window

# ---------------------------------------------------------------- forward


def cell_of(layer: Layer, x: FloatArray, y: FloatArray, parts: list[FloatArray], at: Index) -> Cell:
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
    TypeError
        If the layer is not one of the library's own.
    IndexError
        If y has no such place.
    """
    kind = type(layer)
    if isinstance(layer, (Residual, Concat)):
        return _joined(layer, parts, float(y[at]), at)
    if kind not in KINDS:
        raise TypeError(f"{layer} is not one of the library's own layers: how it works is unknown")
    return KINDS[kind](layer, x, float(y[at]), at)


def _sum(formula: str, inputs: FloatArray, weights: FloatArray, result: float, **rest: Any) -> Cell:
    """Return the cell of a number that is a sum of products, and perhaps a bias."""
    products = inputs.astype(np.float64) * weights
    total = float(products.sum())
    return Cell(formula, inputs, result, weights, products, total, **rest)


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


def _conv(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    window = window_of(layer, x.shape)
    inputs, box = _taken(x, window, at, 0.0)
    f = at[2]
    if isinstance(layer, DepthwiseConv2D):
        inputs = inputs[..., f]
    weights = layer.parameters["weight"][..., f]
    formula = "Σ inputs · weights + bias"
    return _sum(formula, inputs, weights, result, bias=_bias(layer, f), box=box)


def _dense(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    weights = layer.parameters["weight"][:, at[0]]
    return _sum("Σ inputs · weights + bias", x, weights, result, bias=_bias(layer, at[0]))


def _max_pool(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    inputs, box = _taken(x, window_of(layer, x.shape), at, -np.inf)
    inputs = inputs[..., at[2]]
    kh, kw = divmod(int(inputs.argmax()), inputs.shape[1])  # of equal ones the first
    source = (box[0] + kh, box[1] + kw, at[2])
    return Cell("the largest of the inputs", inputs, result, box=box, source=source)


def _avg_pool(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    inputs, box = _taken(x, window_of(layer, x.shape), at, 0.0)
    return _mean(inputs[..., at[2]], result, box)


def _global_avg_pool(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    return _mean(x[..., at[0]], result, (0, 0, *x.shape[:2]))


def _mean(inputs: FloatArray, result: float, box: Box) -> Cell:
    weights = np.full(inputs.shape, 1 / inputs.size)
    return _sum("the mean: Σ inputs · 1 / how many", inputs, weights, result, box=box)


def _batch_norm(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    c = at[-1]
    mean, scale = normalisation(layer)
    inputs = np.array([x[at] - mean[c]], np.float64)
    weights = np.array([scale[c] * layer.parameters["weight"][c]])
    formula = "(x - mean) · weight / √(variance + ε) + bias"
    bias = float(layer.parameters["bias"][c])
    return _sum(formula, inputs, weights, result, bias=bias, source=at)


def _relu(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    return Cell("max(x, 0)", np.array([x[at]]), result, source=at)


def _handed_on(layer: Any, x: FloatArray, result: float, at: Index) -> Cell:
    """Return the cell of a number that is as it was: `Dropout` in use, and `Flatten`."""
    source = at if isinstance(layer, Dropout) else tuple(map(int, np.unravel_index(at[0], x.shape)))
    return Cell("x, as it is", np.array([x[source]]), result, source=source)


def _joined(layer: Layer, parts: list[FloatArray], result: float, at: Index) -> Cell:
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
    return Cell(formula, np.array([parts[branch][source]]), result, source=source)


KINDS: dict[type[Layer], Callable[[Any, FloatArray, float, Index], Cell]] = {
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


def softmax_cell(logits: FloatArray, probabilities: FloatArray, k: int) -> Cell:
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
    return Cell(
        formula,
        logits,
        float(probabilities[k]),
        products=powers,
        total=float(powers.sum()),
        columns=("z", "", "e^(z-max)"),
    )


# ---------------------------------------------------------------- backward


def gradient_cell(layer: Layer, x: FloatArray, dy: FloatArray, name: str, at: Index) -> Cell:
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

    Raises
    ------
    TypeError
        If the layer is none of these.
    """
    if not isinstance(layer, (Conv2D, DepthwiseConv2D, Dense, BatchNorm)):
        raise TypeError(f"{layer} has no weights whose gradient is a sum over places")
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
        mean, scale = normalisation(layer)
        normalised: FloatArray = np.atleast_1d((x[..., at[0]] - mean[at[0]]) * scale[at[0]])
        return normalised
    window = window_of(layer, x.shape)
    met = np.empty((window.OH, window.OW), x.dtype)
    for oh in range(window.OH):
        for ow in range(window.OW):
            inputs, _ = _taken(x, window, (oh, ow), 0.0)
            met[oh, ow] = inputs[at[:3]]
    return met


def normalisation(layer: BatchNorm) -> tuple[FloatArray, FloatArray]:
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
    where, H, W = type(layer).__name__, *input_shape[:2]
    if isinstance(layer, (MaxPool2D, AvgPool2D)):
        return shapes.pool_window(where, (H, W), layer.pool_size, layer.stride, layer.padding)
    return shapes.window(where, (H, W), layer.kernel_size, layer.stride, layer.padding)
