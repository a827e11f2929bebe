"""What layers with layers inside have in common: branches that part from one input and meet."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn import ops
from minicnn.layers.base import Gradients, Layer
from minicnn.layers.fusion import FusedSequence
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, Shape

T = TypeVar("T")


@dataclass(eq=False, repr=False)
class Container(Layer, ABC):
    """A layer with layers inside.

    What a layer inside has is named by its branch, its position there and its own name, such as
    ``0.weight`` or ``shortcut.0.weight``.

    Attributes
    ----------
    chains : dict of str to Chain
        The layers of each branch, by what begins the names there; a branch without layers hands
        its input on.
    """

    chains: dict[str, FusedSequence] = field(default_factory=dict, init=False)

    @abstractmethod
    def meet(self, found: Sequence[Shape]) -> Shape:
        """Return what comes out where the branches give these shapes.

        Parameters
        ----------
        found : sequence of tuple of int

        Returns
        -------
        tuple of int

        Raises
        ------
        ValueError
            If they do not fit each other.
        """

    @abstractmethod
    def join(self, parts: Sequence[FloatArray]) -> tuple[FloatArray, Any]:
        """Make one of what the branches give.

        Parameters
        ----------
        parts : sequence of ndarray

        Returns
        -------
        y : ndarray
        cache : object
            For `part`.
        """

    @abstractmethod
    def part(self, dy: FloatArray, cache: Any) -> Sequence[FloatArray]:
        """Give each branch its gradient: the way back of `join`.

        Parameters
        ----------
        dy : ndarray
        cache : object

        Returns
        -------
        sequence of ndarray
        """

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        inside = self._inside(input_shape)
        return _named((place, layer.parameter_shapes(shape)) for place, layer, shape in inside)

    def statistics_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        inside = self._inside(input_shape)
        return _named((place, layer.statistics_shapes(shape)) for place, layer, shape in inside)

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        self.output_shape(input_shape)  # raises where the branches do not fit each other
        inside = list(self._inside(input_shape))
        for _, layer, shape in inside:
            layer.build(shape, rng, dtype)
        self.bind(
            _named((place, layer.parameters) for place, layer, _ in inside),
            _named((place, layer.statistics) for place, layer, _ in inside),
        )

    def bind(self, parameters: Gradients, statistics: Gradients) -> None:
        super().bind(parameters, statistics)
        for prefix, chain in self.chains.items():
            for position, layer in enumerate(chain.layers):
                place = f"{prefix}{position}."
                layer.bind(
                    _those(layer.parameters, place, parameters),
                    _those(layer.statistics, place, statistics),
                )
            self.chains[prefix] = FusedSequence(chain.layers)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.meet([self._shapes(prefix, input_shape)[-1] for prefix in self.chains])

    def macs(self, input_shape: Shape) -> int:
        return sum(layer.macs(shape) for _, layer, shape in self._inside(input_shape))

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        parts, caches = [], []
        for number, chain in enumerate(self.chains.values()):
            own = None if draws is None else draws.fold_in(number)
            part, cache = chain.forward(x, training=training, draws=own)
            parts.append(part)
            caches.append(cache)
        y, joined = self.join(parts)
        return y, (caches, joined)

    def infer(self, x: FloatArray) -> FloatArray:
        return self.join([chain.infer(x) for chain in self.chains.values()])[0]

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        if not gradients:
            gradients = {name: np.empty_like(own) for name, own in self.parameters.items()}
        caches, joined = cache
        dx: FloatArray | None = None
        for (prefix, chain), dpart, own in zip(
            self.chains.items(), self.part(dy, joined), caches, strict=True
        ):
            views = [
                _those(layer.parameters, f"{prefix}{position}.", gradients)
                for position, layer in enumerate(chain.layers)
            ]
            further = chain.backward(dpart, own, views, need_dx=need_dx)
            dx = further if dx is None or further is None else ops.add(dx, further)[0]
        return dx if need_dx else None, gradients

    def batch_statistics(self, cache: Any) -> dict[str, FloatArray]:
        chains = zip(self.chains.items(), cache[0], strict=True)
        return _named(
            (f"{prefix}{position}.", found)
            for (prefix, chain), own in chains
            for position, found in enumerate(chain.batch_statistics(own))
        )

    def statistics_momentum(self) -> dict[str, float]:
        return _named(
            (f"{prefix}{position}.", layer.statistics_momentum())
            for prefix, chain in self.chains.items()
            for position, layer in enumerate(chain.layers)
        )

    def _shapes(self, prefix: str, input_shape: Shape) -> list[Shape]:
        """Return the shape before the first layer of a branch, and after each."""
        found = [input_shape]
        for position, layer in enumerate(self.chains[prefix].layers):
            try:
                found.append(layer.output_shape(found[-1]))
            except (TypeError, ValueError) as error:
                raise type(error)(f"{prefix}{position} inside, {layer}: {error}") from error
        return found

    def _inside(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        """Yield what the names of each layer's arrays begin with, the layer, and its input."""
        for prefix, chain in self.chains.items():
            before = self._shapes(prefix, input_shape)
            for position, layer in enumerate(chain.layers):
                yield f"{prefix}{position}.", layer, before[position]


def iter_layers(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yield layers, and the layers inside them, in the order of their arrays.

    Parameters
    ----------
    layers : sequence of Layer

    Yields
    ------
    Layer
    """
    for layer in layers:
        yield layer
        if isinstance(layer, Container):
            for chain in layer.chains.values():
                yield from iter_layers(chain.layers)


def is_replayable(layers: Sequence[Layer]) -> bool:
    """Return whether all layers, those inside containers too, are declared replayable."""
    return all(layer.replayable for layer in iter_layers(layers))


def list_of_layers(op: str, layers: object) -> list[Layer]:
    """Return layers as a list.

    Parameters
    ----------
    op : str
        Name of the class that asks, for the message.
    layers : object
        What was given.

    Returns
    -------
    list of Layer

    Raises
    ------
    TypeError
        If it is something else.
    """
    if not isinstance(layers, (list, tuple)):
        raise TypeError(f"{op}: a branch must be a list of layers, not {layers!r}")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"{op}: layers must be layer objects such as ReLU(), not {layer!r}")
    return list(layers)


def _named(parts: Iterable[tuple[str, Mapping[str, T]]]) -> dict[str, T]:
    """Put together what several layers have, each with what its names begin with."""
    return {f"{place}{name}": thing for place, own in parts for name, thing in own.items()}


def _those(names: Iterable[str], place: str, things: Mapping[str, T]) -> dict[str, T]:
    """Return what belongs to one layer, by its own names: the way back of `_named`."""
    return {name: things[f"{place}{name}"] for name in names}
