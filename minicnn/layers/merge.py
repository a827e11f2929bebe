"""The containers: a sum of branches, and branches side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minicnn import ops
from minicnn.layers.base import Layer
from minicnn.layers.container import Container, list_of_layers
from minicnn.layers.fusion import FusedSequence
from minicnn.shapes import FloatArray, Shape
from minicnn.shapes.checks import check_concat, check_residual


@dataclass(eq=False, repr=False)
class Residual(Container):
    """``y = layers(x) + shortcut(x)``: the layers learn what is to be added to their input.

    Parameters
    ----------
    layers : sequence of Layer
    shortcut : sequence of Layer, optional
        x itself where left out; the layers must then give the shape that they get. Else often
        ``[Conv2D(filters, 1, stride)]``.

    Raises
    ------
    TypeError
        If something else was given.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (CVPR 2016), section 3.2.
    """

    replayable = True

    layers: Sequence[Layer]
    shortcut: Sequence[Layer] | None = None

    def __post_init__(self) -> None:
        self.layers = list_of_layers("Residual", self.layers)
        if self.shortcut is not None:
            self.shortcut = list_of_layers("Residual", self.shortcut)
        self.chains = {
            "": FusedSequence(self.layers),
            "shortcut.": FusedSequence(self.shortcut or []),
        }

    def meet(self, found: Sequence[Shape]) -> Shape:
        return check_residual(*found)

    def join(self, parts: Sequence[FloatArray]) -> tuple[FloatArray, Any]:
        return ops.add(*parts)

    def part(self, dy: FloatArray, cache: Any) -> Sequence[FloatArray]:
        return ops.add_backward(dy, cache)


@dataclass(eq=False, repr=False)
class Concat(Container):
    """The channels that several branches make of one input, side by side.

    Parameters
    ----------
    branches : sequence of sequence of Layer
        An empty one hands its input on: ``Concat([[], [Conv2D(12, 3, padding=1)]])`` is the step
        of a DenseNet.

    Raises
    ------
    TypeError
        If something else was given.

    References
    ----------
    Szegedy et al., "Going deeper with convolutions" (CVPR 2015), section 4; Huang, Liu, van der
    Maaten, Weinberger, "Densely connected convolutional networks" (CVPR 2017), section 3.
    """

    replayable = True

    branches: Sequence[Sequence[Layer]]

    def __post_init__(self) -> None:
        if not isinstance(self.branches, (list, tuple)) or not self.branches:
            raise TypeError(
                f"Concat: give a list of branches, each a list of layers, not {self.branches!r}"
            )
        self.branches = [list_of_layers("Concat", layers) for layers in self.branches]
        self.chains = {
            f"{number}.": FusedSequence(layers) for number, layers in enumerate(self.branches)
        }

    def meet(self, found: Sequence[Shape]) -> Shape:
        return check_concat("Concat", found)

    def join(self, parts: Sequence[FloatArray]) -> tuple[FloatArray, Any]:
        return ops.concat(parts)

    def part(self, dy: FloatArray, cache: Any) -> Sequence[FloatArray]:
        return ops.concat_backward(dy, cache)
