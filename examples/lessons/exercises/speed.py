"""Exercises of lesson 8: GFLOP/s and Winograd's four multiplications."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.random import Generator

from exercises.checking import Arguments, Exercise


def convolutions(rng: Generator) -> Iterator[Arguments]:
    """Draw the sizes of convolutions and their times."""
    for _ in range(5):
        names = ("N", "OH", "OW", "KH", "KW", "C", "F")
        sizes = rng.integers((2, 5, 6, 1, 2, 3, 4), (64, 30, 40, 6, 6, 40, 80))
        yield {**dict(zip(names, sizes.tolist(), strict=True)), "seconds": float(rng.random())}


def speed(N: int, OH: int, OW: int, KH: int, KW: int, C: int, F: int, seconds: float) -> float:
    """Return GFLOP/s; a multiply-add counts as two operations."""
    return 2 * N * OH * OW * KH * KW * C * F / seconds / 1e9


class Counted:
    """A number that records its multiplications by numbers of its kind.

    Sums and multiples by plain numbers are free.
    """

    def __init__(self, value: float, products: list[None]) -> None:
        self.value = value
        self.products = products

    def __repr__(self) -> str:
        return f"{self.value:g}"

    def __float__(self) -> float:
        return float(self.value)

    def __add__(self, other: Self | float) -> Self:
        return type(self)(self.value + float(other), self.products)

    def __sub__(self, other: Self | float) -> Self:
        return type(self)(self.value - float(other), self.products)

    def __rsub__(self, other: float) -> Self:
        return type(self)(other - self.value, self.products)

    def __neg__(self) -> Self:
        return type(self)(-self.value, self.products)

    def __mul__(self, other: Self | float) -> Self:
        if isinstance(other, Counted):
            self.products.append(None)
        return type(self)(self.value * float(other), self.products)

    def __truediv__(self, other: float) -> Self:
        return type(self)(self.value / other, self.products)

    __radd__ = __add__
    __rmul__ = __mul__


def signals(rng: Generator) -> Iterator[Arguments]:
    """Draw four inputs and three weights: integers, so that halves are exact."""
    for _ in range(5):
        products: list[None] = []
        values = [Counted(float(value), products) for value in rng.integers(-9, 10, 7)]
        yield {"d": values[:4], "g": values[4:]}


def two_outputs(d: Any, g: Any) -> list[float]:
    """Return two outputs of a filter of three weights."""
    inputs, weights = np.array(d, np.float64), np.array(g, np.float64)
    return [float(inputs[i : i + 3] @ weights) for i in (0, 1)]


def too_many(arguments: Arguments) -> str:
    """Return a message if more than four products were computed."""
    count = len(arguments["d"][0].products)
    if count <= 4:
        return ""
    return f"the results are right, but with {count} multiplications; 4 are enough"


SPEED = {
    "gflops": Exercise(
        convolutions,
        speed,
        {
            "A multiply-add is two operations.": lambda **sizes: speed(**sizes) / 2,
            "Giga means 10⁹.": lambda **sizes: 1000 * speed(**sizes),
            "Count each of the F filters.": lambda F, **sizes: speed(F=1, **sizes),
            "Count all C channels.": lambda C, **sizes: speed(C=1, **sizes),
            "Count each of the N images.": lambda N, **sizes: speed(N=1, **sizes),
        },
    ),
    "winograd": Exercise(
        signals,
        two_outputs,
        {
            "The kernel is not flipped: y0 = d0 g0 + d1 g1 + d2 g2.": (
                lambda d, g: two_outputs(d, g[::-1])
            ),
            "The second output begins one input later: y1 = d1 g0 + d2 g1 + d3 g2.": (
                lambda d, g: [two_outputs(d, g)[0]] * 2
            ),
        },
        also=too_many,
    ),
}
