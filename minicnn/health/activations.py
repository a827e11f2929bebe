"""What the layers of a network give for some images, containers looked into."""

from collections.abc import Sequence

import numpy as np

from minicnn.layers import Container, Layer
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray

# Where a layer stands: its position in the model, from 0, and its place inside a container there,
# such as ``shortcut.0``, empty where it is in none.
Place = tuple[int, str]


class Tally:
    """What was seen of the numbers that a layer gives, shard by shard.

    Parameters
    ----------
    layer : Layer, or None
        None for the images themselves.

    Attributes
    ----------
    count, zeros : int
        How many numbers, and how many of them were 0.
    total, squares : float
        Sum of the numbers, and of their squares.
    silent : ndarray of bool (C,)
        Which units have given nothing but 0.
    constant : bool
        Whether every image gave the same numbers.
    """

    def __init__(self, layer: Layer | None) -> None:
        self.layer = layer
        self.count, self.zeros, self.total, self.squares = 0, 0, 0.0, 0.0
        self.silent = np.ones(1, np.bool_)
        self.constant = True
        self._first: FloatArray | None = None  # what the first image gave

    def add(self, y: FloatArray) -> None:
        """Count in what a shard gave.

        Parameters
        ----------
        y : ndarray (N, ..., C)
        """
        self._first = y[0].copy() if self._first is None else self._first
        self.count += y.size
        self.zeros += y.size - int(np.count_nonzero(y))
        self.total += float(y.sum(dtype=np.float64))
        self.squares += float(np.square(y, dtype=np.float64).sum())
        self.silent = self.silent & ~y.reshape(-1, y.shape[-1]).any(axis=0)
        self.constant = self.constant and bool((y == self._first).all())

    @property
    def mean(self) -> float:
        """Mean of all numbers."""
        return self.total / self.count

    @property
    def std(self) -> float:
        """Standard deviation of all numbers."""
        variance = self.squares / self.count - self.mean**2
        return float(np.sqrt(np.maximum(variance, 0)))  # NaN where they hold NaN or infinity


def run(
    layers: Sequence[Layer],
    x: FloatArray,
    draws: Draws,
    tallies: dict[Place, Tally],
    inside: tuple[int, str] | None = None,
) -> FloatArray:
    """Send a shard down in training, layer by layer, and count in what each gives.

    Parameters
    ----------
    layers : sequence of Layer
    x : ndarray (N, ...)
    draws : Draws
        Of the model, or of the branch that the layers are.
    tallies : dict
        What was seen so far, by place; those of new places are added in the order of the layers.
    inside : (int, str), optional
        Position of the container that the layers are in, and what their places begin with.

    Returns
    -------
    ndarray (N, ...)
        What the last layer gives.
    """
    for position, layer in enumerate(layers):
        place = (inside[0], f"{inside[1]}{position}") if inside else (position, "")
        tally = tallies.setdefault(place, Tally(layer))
        own = draws.of(position)
        if isinstance(layer, Container):
            outer, names = place[0], f"{place[1]}." if place[1] else ""
            parts = [
                run(chain.layers, x, own.of(branch), tallies, (outer, f"{names}{prefix}"))
                for branch, (prefix, chain) in enumerate(layer.chains.items())
            ]
            x, _ = layer.join(parts)
        else:
            x, _ = layer.forward(x, training=True, draws=own)
        tally.add(x)
    return x
