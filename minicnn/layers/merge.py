"""Containers that add or concatenate their branches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minicnn import ops
from minicnn.layers.activations import ReLU
from minicnn.layers.base import Layer
from minicnn.layers.container import Container, check_layers
from minicnn.layers.conv import Conv2D
from minicnn.layers.fusion import FusedSequence
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import check_concat, check_residual


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
        self.sequences = {
            "": FusedSequence(self.layers),
            "shortcut.": FusedSequence(self.shortcut or []),
        }

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
