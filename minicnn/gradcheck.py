"""Gradient checks: compare backward with central differences of forward.

For a function y(x) and an upstream gradient dy, backward returns dx, the slope of ``L = Σ dy · y``.
The central difference ``(L(x + ε) - L(x - ε)) / 2ε``, taken for one element of x, is exact up to ε²
and rounding, which in float64 leaves at least eight digits to compare. dy is random, never all
ones: a plain sum hides mistakes such as a transposed matrix.

References
----------
Karpathy, Li, Johnson, CS231n notes, "Neural networks part 3: gradient checks" (2016).
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from minicnn.layers.base import Layer
from minicnn.random import RandomKey
from minicnn.shapes import Array, Shape
from minicnn.table import lay_out

MAX_ELEMENTS = 2000
DIRECTIONS = 20


class GradientCheck(NamedTuple):
    """The worst element of one gradient.

    `element` is its index in the argument, or for a large argument the number of one of 20 random
    directions. `relative_error` is
    ``|analytic - numeric| / max(|analytic|, |numeric|, M / 1000)`` with M the largest magnitude in
    the gradient: the rounding noise of central differences hides elements a thousand times smaller.
    """

    name: str
    argument: str
    element: Shape
    analytic: float
    numeric: float
    relative_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """True if the relative error is within the tolerance."""
        return self.relative_error <= self.tolerance


def check_gradients(
    name: str,
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], Mapping[str, Array]],
    arguments: Mapping[str, Array],
    rng: Generator,
    *,
    epsilon: float = 1e-5,
    tolerance: float = 1e-6,
    max_elements: int = MAX_ELEMENTS,
) -> list[GradientCheck]:
    """Compare the gradients of a pair with central differences.

    Parameters
    ----------
    name : str
        Name for the report.
    forward : callable
        ``forward(**arguments) -> (y, cache)``; y is an array or a number.
    backward : callable
        ``backward(dy, cache) -> {argument: gradient}``, one for each of `arguments`.
    arguments : dict of str to ndarray of float64
        Where to check. Keep them away from kinks: see `away_from_kinks`.
    rng : numpy.random.Generator
        Draws the upstream gradient and the directions.
    epsilon : float
        The step of the central difference.
    tolerance : float
        The largest relative error that passes.
    max_elements : int
        An argument with more elements is checked along 20 random directions; 0 checks every
        argument so. In a deep network, rounding may hide the gradient of a single weight.

    Returns
    -------
    list of GradientCheck
        One for each argument.

    Raises
    ------
    TypeError
        If an argument is not float64: float32 has too few digits.
    ValueError
        If a gradient is missing or superfluous, or does not have the shape of its argument.
    """
    for argument, array in arguments.items():
        if array.dtype != np.float64:
            raise TypeError(
                f"{name}: gradient checks need float64, but {argument} is {array.dtype}"
            )
    y, cache = forward(**arguments)
    dy = rng.standard_normal(np.shape(y))[()]  # [()]: a scalar if y is a scalar
    gradients = backward(dy, cache)
    if set(gradients) != set(arguments):
        raise ValueError(
            f"{name}: backward must return the gradients of {sorted(arguments)}, not of "
            f"{sorted(gradients)}"
        )

    def slope(argument: str, direction: Array) -> float:
        above, _ = forward(**{**arguments, argument: arguments[argument] + epsilon * direction})
        below, _ = forward(**{**arguments, argument: arguments[argument] - epsilon * direction})
        # Subtract before summing: outputs that did not change add 0, not rounding.
        return float(np.sum(dy * ((above - below) / (2 * epsilon))))

    checks = []
    for argument, array in arguments.items():
        gradient = gradients[argument]
        if gradient.shape != array.shape:
            raise ValueError(
                f"{name}: d{argument} has shape {gradient.shape} but {argument} has {array.shape}"
            )
        if array.size > max_elements:
            directions = rng.standard_normal((DIRECTIONS, *array.shape))
            analytic = np.array([np.sum(gradient * direction) for direction in directions])
        else:
            directions = np.eye(array.size).reshape(array.size, *array.shape)
            analytic = gradient.ravel()
        numeric = np.array([slope(argument, direction) for direction in directions])
        error = relative_errors(analytic, numeric)
        worst = int(error.argmax())
        values = float(analytic[worst]), float(numeric[worst]), float(error[worst])
        index = (worst,) if array.size > max_elements else np.unravel_index(worst, array.shape)
        checks.append(GradientCheck(name, argument, tuple(map(int, index)), *values, tolerance))
    return checks


def check_layer(layer: Layer, input_shape: Shape, *, batch: int = 2) -> list[GradientCheck]:
    """Check the gradients of a layer's input and parameters, in training.

    Parameters
    ----------
    layer : Layer
        Its arrays are replaced by random float64 values.
    input_shape : tuple of int
        Of one image.
    batch : int
        Number of images.

    Returns
    -------
    list of GradientCheck
        One for ``x``, then one for each parameter.
    """
    rng = np.random.default_rng(1)
    layer.build(input_shape, rng, np.float64)
    key = RandomKey(0, 0, np.arange(batch))
    parameters = {name: rng.standard_normal(p.shape) for name, p in layer.parameters.items()}

    def forward(x: Array, **parameters: Array) -> tuple[Array, Any]:
        layer.bind(parameters, layer.statistics)
        return layer.forward(x, key=key)

    def backward(dy: Array, cache: Any) -> dict[str, Array]:
        dx, gradients = layer.backward(dy, cache)
        return gradients if dx is None else {"x": dx, **gradients}

    shape = (batch, *input_shape)
    # Values beyond ±50 make the rounding of large layers too coarse to compare.
    x = away_from_kinks(rng, shape, min(0.05, 100 / prod(shape)))
    return check_gradients(str(layer), forward, backward, {"x": x, **parameters}, rng)


def relative_errors(analytic: Array, numeric: Array) -> Array:
    """Return the relative errors as `GradientCheck` defines them.

    Parameters
    ----------
    analytic, numeric : ndarray
        Of one shape.

    Returns
    -------
    ndarray
        0 where both are 0; infinity where one is infinite or NaN.
    """
    finite = np.isfinite(analytic) & np.isfinite(numeric)
    analytic, numeric = np.where(finite, analytic, 0), np.where(finite, numeric, 0)
    magnitude = np.maximum(np.abs(analytic), np.abs(numeric))
    scale = np.maximum(magnitude, magnitude.max() / 1000)
    errors: Array = np.zeros(scale.shape)
    np.divide(np.abs(analytic - numeric), scale, out=errors, where=scale != 0)
    errors[~finite] = np.inf
    return errors


def away_from_kinks(rng: Generator, shape: Shape, gap: float = 0.05) -> Array:
    """Return random values that keep a ReLU and a maximum off their kinks.

    They are at least `gap` apart and at least half of it from 0.

    Parameters
    ----------
    rng : numpy.random.Generator
        Shuffles the values.
    shape : tuple of int
    gap : float

    Returns
    -------
    ndarray of float64
    """
    size = prod(shape)
    ladder: Array = (np.arange(size) - size // 2 + 0.5) * gap
    return rng.permutation(ladder).reshape(shape)


def format_report(checks: list[GradientCheck]) -> str:
    """Format checks as a table.

    Parameters
    ----------
    checks : list of GradientCheck

    Returns
    -------
    str
        One line per check: name, argument, worst element, both values, relative error, verdict.
    """
    rows = [("Layer", "Argument", "Worst element", "Analytic", "Numeric", "Relative error", "")]
    for check in checks:
        values = f"{check.analytic:.10f}", f"{check.numeric:.10f}", f"{check.relative_error:.1e}"
        verdict = "ok" if check.passed else "FAILED"
        rows.append((check.name, check.argument, str(list(check.element)), *values, verdict))
    return lay_out(rows, "<<<>>><")
