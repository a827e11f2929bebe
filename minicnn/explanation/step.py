"""One layer on the way of one image: what went in, what came out, and back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import numpy as np

from minicnn import ops
from minicnn.explanation.cell import Cell, Index
from minicnn.explanation.kinds import cell_of, gradient_cell
from minicnn.layers import Container, Layer
from minicnn.shapes import FloatArray


@dataclass(eq=False, repr=False)
class Step:
    """One layer on the way of one image. ``step[oh, ow, f]`` is what one number was made of.

    Parameters
    ----------
    number : str
        Of the layer, from 1 as in `Sequential.summary`; inside a container its number, the branch
        and the position there, as in ``4.shortcut.0``.
    layer : Layer
    x, y : ndarray
        Its input and its output, without the axis N.
    cache : object
        Of its forward.
    branches : list of list of Step
        Of a container what happened inside.

    Attributes
    ----------
    dy, dx : ndarray, or None
        The gradients of the loss with respect to `y` and `x`, where there is a label.
    gradients : dict of str to ndarray
        Those with respect to the parameters, by name: each layer its own.
    moments : dict of str to dict of str to ndarray
        What the optimiser keeps of each parameter, such as ``m`` and ``v``, after the step.
    updated : dict of str to ndarray
        The parameters after the step.
    """

    number: str
    layer: Layer
    x: FloatArray
    y: FloatArray
    cache: Any
    branches: list[list["Step"]]
    dy: FloatArray | None = field(default=None, init=False)
    dx: FloatArray | None = field(default=None, init=False)
    gradients: dict[str, FloatArray] = field(default_factory=dict, init=False)
    moments: dict[str, dict[str, FloatArray]] = field(default_factory=dict, init=False)
    updated: dict[str, FloatArray] = field(default_factory=dict, init=False)

    def __repr__(self) -> str:
        """Return number, layer and shapes."""
        return f"{self.number} {self.title()}: {self.x.shape} to {self.y.shape}"

    def __getitem__(self, at: int | Index) -> Cell:
        """Return what one number of the output was made of."""
        parts = [branch[-1].y if branch else self.x for branch in self.branches]
        return cell_of(self.layer, self.x, self.y, parts, _place("y", self.y, at))

    def title(self) -> str:
        """Return the layer's call; of a container its name alone.

        Returns
        -------
        str
        """
        return type(self.layer).__name__ if self.branches else str(self.layer)

    def gradient(self, name: str, at: int | Index) -> Cell:
        """Return what the gradient of one weight is made of: a product for each place.

        Parameters
        ----------
        name : str
            Of the parameter: ``weight`` or ``bias``.
        at : int or tuple of int
            Where in it.

        Returns
        -------
        Cell
            Its `weights` are dy; `result` is what `gradients` has there.

        Raises
        ------
        TypeError
            If the layer's weights are not of this kind.
        ValueError
            If there is no such parameter, or no label was given.
        IndexError
            If it has no such place.
        """
        if self.dy is None:
            raise ValueError("there are no gradients without a label: explain(model, image, label)")
        if name not in self.layer.parameters or self.branches:
            known = ", ".join(self.layer.parameters) if not self.branches else ""
            raise ValueError(f"{self.title()} has no {name!r} of its own, but {known or 'nothing'}")
        place = _place(name, self.layer.parameters[name], at)
        cell = gradient_cell(self.layer, self.x, self.dy, name, place)
        return cell._replace(result=float(self.gradients[name][place]))

    def inside(self) -> Iterator["Step"]:
        """Yield the step, and all that happened inside, in the order of the data.

        Yields
        ------
        Step
            What is inside a container before itself.
        """
        for branch in self.branches:
            for step in branch:
                yield from step.inside()
        yield self


def _place(name: str, array: FloatArray, at: int | Index) -> Index:
    """Return an index into an array, checked: one whole number for each axis."""
    place = tuple(index(axis) for axis in (at if isinstance(at, tuple) else (at,)))
    if len(place) != array.ndim or not all(
        0 <= axis < size for axis, size in zip(place, array.shape, strict=True)
    ):
        raise IndexError(f"{name} has shape {array.shape}, so there is no place {place}")
    return place


def forward(layers: Sequence[Layer], x: FloatArray, prefix: str = "") -> list[Step]:
    """Take an image through layers one by one, in use: dropout off, batch norm as it has learned.

    Parameters
    ----------
    layers : sequence of Layer
    x : ndarray (1, H, W, C) or (1, ...)
    prefix : str
        What the numbers begin with: inside a container, where they count from 0.

    Returns
    -------
    list of Step
    """
    steps = []
    for position, layer in enumerate(layers, start=0 if prefix else 1):
        number = f"{prefix}{position}"
        branches: list[list[Step]] = []
        if isinstance(layer, Container):
            for name, chain in layer.chains.items():
                branches.append(forward(chain.layers, x, f"{number}.{name}"))
            y, cache = layer.join([branch[-1].y[None] if branch else x for branch in branches])
        else:
            y, cache = layer.forward(x)
        steps.append(Step(number, layer, x[0], y[0], cache, branches))
        x = y
    return steps


def backward(steps: Sequence[Step], dy: FloatArray) -> FloatArray:
    """Send a gradient back up, layer by layer, and write it into the steps.

    Parameters
    ----------
    steps : sequence of Step
        From `forward`.
    dy : ndarray (1, ...)

    Returns
    -------
    ndarray (1, ...)
        The gradient of what went into the first.
    """
    for step in reversed(steps):
        step.dy = dy[0]
        if isinstance(step.layer, Container):
            dparts = step.layer.part(dy, step.cache)
            found = [backward(branch, d) for branch, d in zip(step.branches, dparts, strict=True)]
            dx = found[0]
            for further in found[1:]:
                dx = ops.add(dx, further)[0]
        else:
            given, step.gradients = step.layer.backward(dy, step.cache)
            dx = np.zeros((1, *step.x.shape), dy.dtype) if given is None else given
        step.dx = dx[0]
        dy = dx
    return dy
