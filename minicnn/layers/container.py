"""Containers: layers that hold branches and merge their outputs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn import ops
from minicnn.layers.activations import ReLU
from minicnn.layers.base import Arrays, Layer
from minicnn.layers.conv import Conv2D
from minicnn.layers.fusion import FusedSequence
from minicnn.random import RandomKey
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import check_concat, check_residual

T = TypeVar("T")


@dataclass(eq=False, repr=False)
class Container(Layer, ABC):
    """A layer that holds layers, in one or more branches.

    The arrays of a layer inside are named by branch, position and own name, for example
    ``0.weight`` or ``shortcut.0.weight``.

    Attributes
    ----------
    sequences : dict of str to FusedSequence
        The layers of each branch, by the prefix of their arrays' names. The output of an empty
        branch is its input.
    """

    sequences: dict[str, FusedSequence] = field(default_factory=dict, init=False)

    @abstractmethod
    def merge_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the output shape for the output shapes of the branches.

        Parameters
        ----------
        shapes : sequence of tuple of int

        Returns
        -------
        tuple of int

        Raises
        ------
        ValueError
            If the shapes do not fit each other.
        """

    @abstractmethod
    def merge(self, outputs: Sequence[Array]) -> tuple[Array, Any]:
        """Merge the outputs of the branches.

        Parameters
        ----------
        outputs : sequence of ndarray

        Returns
        -------
        y : ndarray
        cache : object
            For `split_gradient`.
        """

    @abstractmethod
    def split_gradient(self, dy: Array, cache: Any) -> Sequence[Array]:
        """Compute the gradient of each branch's output; inverts `merge`.

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
        return _join((prefix, layer.parameter_shapes(shape)) for prefix, layer, shape in inside)

    def statistics_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        inside = self._inside(input_shape)
        return _join((prefix, layer.statistics_shapes(shape)) for prefix, layer, shape in inside)

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        self.output_shape(input_shape)  # raises an error if the branches do not fit each other
        inside = self._inside(input_shape)
        for _, layer, shape in inside:
            layer.build(shape, rng, dtype)
        self.parameters = _join((prefix, layer.parameters) for prefix, layer, _ in inside)
        self.statistics = _join((prefix, layer.statistics) for prefix, layer, _ in inside)

    def bind(self, parameters: Arrays, statistics: Arrays) -> None:
        super().bind(parameters, statistics)
        for prefix, layer in self._layers():
            layer.bind(
                _select(layer.parameters, prefix, parameters),
                _select(layer.statistics, prefix, statistics),
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes = [self._shapes(prefix, input_shape)[-1] for prefix in self.sequences]
        return self.merge_shape(shapes)

    def macs(self, input_shape: Shape) -> int:
        return sum(layer.macs(shape) for _, layer, shape in self._inside(input_shape))

    def forward(self, x: Array, *, key: RandomKey | None = None) -> tuple[Array, Any]:
        outputs, caches = [], []
        for position, branch in enumerate(self.sequences.values()):
            y, cache = branch.forward(x, key=None if key is None else key.fold_in(position))
            outputs.append(y)
            caches.append(cache)
        y, merge_cache = self.merge(outputs)
        return y, (caches, merge_cache)

    def infer(self, x: Array) -> Array:
        return self.merge([branch.infer(x) for branch in self.sequences.values()])[0]

    def backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, gradients: Arrays | None = None
    ) -> tuple[Array | None, Arrays]:
        if not gradients:
            gradients = {name: np.empty_like(own) for name, own in self.parameters.items()}
        caches, merge_cache = cache
        dx: Array | None = None
        for (prefix, branch), dbranch, own in zip(
            self.sequences.items(), self.split_gradient(dy, merge_cache), caches, strict=True
        ):
            views = [
                _select(layer.parameters, f"{prefix}{position}.", gradients)
                for position, layer in enumerate(branch.layers)
            ]
            more = branch.backward(dbranch, own, views, need_dx=need_dx)
            dx = more if dx is None or more is None else ops.add(dx, more)[0]
        return dx if need_dx else None, gradients

    def batch_statistics(self, cache: Any) -> dict[str, Array]:
        branches = zip(self.sequences.items(), cache[0], strict=True)
        return _join(
            (f"{prefix}{position}.", found)
            for (prefix, branch), own in branches
            for position, found in enumerate(branch.batch_statistics(own))
        )

    def statistics_momentum(self) -> dict[str, float]:
        return _join((prefix, layer.statistics_momentum()) for prefix, layer in self._layers())

    def _layers(self) -> Iterator[tuple[str, Layer]]:
        """Yield the prefix of its arrays' names and each layer inside."""
        for prefix, branch in self.sequences.items():
            for position, layer in enumerate(branch.layers):
                yield f"{prefix}{position}.", layer

    def _shapes(self, prefix: str, input_shape: Shape) -> list[Shape]:
        """Return the input shape of a branch, and the shape after each layer."""
        shapes = [input_shape]
        for position, layer in enumerate(self.sequences[prefix].layers):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except (TypeError, ValueError) as error:
                raise type(error)(f"{prefix}{position} inside, {layer}: {error}") from error
        return shapes

    def _inside(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """Return prefix, layer and input shape of each layer inside."""
        shapes = chain(*(self._shapes(prefix, input_shape)[:-1] for prefix in self.sequences))
        return [(*inside, shape) for inside, shape in zip(self._layers(), shapes, strict=True)]


@dataclass(eq=False, repr=False)
class Residual(Container):
    """Residual block: ``y = layers(x) + shortcut(x)``.

    Parameters
    ----------
    layers : sequence of Layer
    shortcut : sequence of Layer, optional
        x itself by default; the layers must then keep the shape. If they do not, often
        ``[Conv2D(filters, 1, stride)]``.

    Raises
    ------
    TypeError
        If an argument is not a list of layers.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (CVPR 2016), section 3.2.
    """

    layers: Sequence[Layer]
    shortcut: Sequence[Layer] | None = None

    example = ([Conv2D(2, 3, padding=1), ReLU()],), (4, 6, 2)
    replayable = True

    def __post_init__(self) -> None:
        self.layers = check_layers("Residual", self.layers)
        if self.shortcut is not None:
            self.shortcut = check_layers("Residual", self.shortcut)
        branches = {"": self.layers, "shortcut.": self.shortcut or []}
        self.sequences = {prefix: FusedSequence(own) for prefix, own in branches.items()}

    def merge_shape(self, shapes: Sequence[Shape]) -> Shape:
        return check_residual(*shapes)

    def merge(self, outputs: Sequence[Array]) -> tuple[Array, Any]:
        return ops.add(*outputs)

    def split_gradient(self, dy: Array, cache: Any) -> Sequence[Array]:
        return ops.add_backward(dy, cache)


@dataclass(eq=False, repr=False)
class Concat(Container):
    """Concatenation of the channels of several branches.

    Parameters
    ----------
    branches : sequence of sequence of Layer
        The output of an empty branch is its input: ``Concat([[], [Conv2D(12, 3, padding=1)]])`` is
        the step of a DenseNet.

    Raises
    ------
    TypeError
        If `branches` is not a list of lists of layers.

    References
    ----------
    Szegedy et al., "Going deeper with convolutions" (CVPR 2015), section 4; Huang, Liu, van der
    Maaten, Weinberger, "Densely connected convolutional networks" (CVPR 2017), section 3.
    """

    branches: Sequence[Sequence[Layer]]

    example = ([[], [Conv2D(3, 3, padding=1)]],), (4, 6, 2)
    replayable = True

    def __post_init__(self) -> None:
        if not isinstance(self.branches, (list, tuple)) or not self.branches:
            raise TypeError(
                f"Concat: give a list of branches, each a list of layers, not {self.branches!r}"
            )
        self.branches = [check_layers("Concat", layers) for layers in self.branches]
        self.sequences = {
            f"{position}.": FusedSequence(layers) for position, layers in enumerate(self.branches)
        }

    def merge_shape(self, shapes: Sequence[Shape]) -> Shape:
        return check_concat("Concat", shapes)

    def merge(self, outputs: Sequence[Array]) -> tuple[Array, Any]:
        return ops.concat(outputs)

    def split_gradient(self, dy: Array, cache: Any) -> Sequence[Array]:
        return ops.concat_backward(dy, cache)


def iter_layers(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yield all layers, nested ones too, in the order of their arrays."""
    for layer in layers:
        yield layer
        if isinstance(layer, Container):
            yield from iter_layers([inner for _, inner in layer._layers()])


def is_replayable(layers: Sequence[Layer]) -> bool:
    """Return whether all layers, nested ones too, are declared replayable."""
    # Not with an array that NumPy must copy for the kernels.
    return all(
        layer.replayable and all(array.flags.c_contiguous for array in layer.arrays())
        for layer in iter_layers(layers)
    )


def check_layers(op: str, layers: object) -> list[Layer]:
    """Return layers as a list; raise a TypeError if an item is no layer."""
    if not isinstance(layers, (list, tuple)):
        raise TypeError(f"{op}: give a list of layers, not {layers!r}")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"{op}: layers must be layer objects such as ReLU(), not {layer!r}")
    return list(layers)


def _join(parts: Iterable[tuple[str, Mapping[str, T]]]) -> dict[str, T]:
    """Merge the dicts of several layers, each with the prefix of its names."""
    return {f"{prefix}{name}": value for prefix, own in parts for name, value in own.items()}


def _select(names: Iterable[str], prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    """Return the values of one layer, by its own names; inverts `_join`."""
    return {name: values[f"{prefix}{name}"] for name in names}
