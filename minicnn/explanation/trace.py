"""One layer on the way of one image: what went in, what came out, and back.

All tensors of one image on its way through a network, as an object, a table, and JSON.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import ops
from minicnn._table import Table, lay_out
from minicnn.explanation.formulas import Index, UnitTrace, gradient_unit, softmax_unit, unit_trace
from minicnn.layers.base import Layer
from minicnn.layers.container import Container
from minicnn.shapes import FloatArray
from minicnn.train.state import Optimizer


@dataclass(eq=False, repr=False)
class LayerStep:
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
        What the optimizer keeps of each parameter, such as ``m`` and ``v``, after the step.
    updated : dict of str to ndarray
        The parameters after the step.
    """

    number: str
    layer: Layer
    x: FloatArray
    y: FloatArray
    cache: Any
    branches: list[list["LayerStep"]]
    dy: FloatArray | None = field(default=None, init=False)
    dx: FloatArray | None = field(default=None, init=False)
    gradients: dict[str, FloatArray] = field(default_factory=dict, init=False)
    moments: dict[str, dict[str, FloatArray]] = field(default_factory=dict, init=False)
    updated: dict[str, FloatArray] = field(default_factory=dict, init=False)

    def __repr__(self) -> str:
        """Return number, layer and shapes."""
        return f"{self.number} {self.title()}: {self.x.shape} to {self.y.shape}"

    def __getitem__(self, at: int | Index) -> UnitTrace:
        """Return what one number of the output was made of."""
        parts = [branch[-1].y if branch else self.x for branch in self.branches]
        return unit_trace(self.layer, self.x, self.y, parts, _place("y", self.y, at))

    def title(self) -> str:
        """Return the layer's call; of a container its name alone.

        Returns
        -------
        str
        """
        return type(self.layer).__name__ if self.branches else str(self.layer)

    def gradient(self, name: str, at: int | Index) -> UnitTrace:
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
        cell = gradient_unit(self.layer, self.x, self.dy, name, place)
        return cell._replace(result=float(self.gradients[name][place]))

    def inside(self) -> Iterator["LayerStep"]:
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


def forward(layers: Sequence[Layer], x: FloatArray, prefix: str = "") -> list[LayerStep]:
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
        branches: list[list[LayerStep]] = []
        if isinstance(layer, Container):
            for name, chain in layer.sequences.items():
                branches.append(forward(chain.layers, x, f"{number}.{name}"))
            y, cache = layer.merge([branch[-1].y[None] if branch else x for branch in branches])
        else:
            y, cache = layer.forward(x)
        steps.append(LayerStep(number, layer, x[0], y[0], cache, branches))
        x = y
    return steps


def backward(steps: Sequence[LayerStep], dy: FloatArray) -> FloatArray:
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
            dparts = step.layer.split_gradient(dy, step.cache)
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


class Tensor(NamedTuple):
    """One array of a trace.

    `number` and `layer` say whose it is (empty where it is no layer's), `name` what it is in the
    naming law of the library: ``y`` the output, ``dweight`` the gradient of the loss with respect
    to the weight; after the update ``weight m`` and ``weight v`` are what Adam keeps, and
    ``weight new`` is the weight after the step.
    """

    number: str
    layer: str
    name: str
    array: NDArray[Any]

    def metadata(self) -> dict[str, Any]:
        """Return whose it is, its shape, and what its numbers are like, as JSON can hold it.

        Returns
        -------
        dict
            ``number, layer, name, shape, minimum, maximum, mean`` and the share of ``zeros``.
        """
        array = self.array
        return {
            "number": self.number,
            "layer": self.layer,
            "name": self.name,
            "shape": list(array.shape),
            "minimum": float(array.min()),
            "maximum": float(array.max()),
            "mean": float(array.mean(dtype=np.float64)),
            "zeros": float(np.mean(array == 0)),
        }


@dataclass(eq=False, repr=False)
class Trace:
    """What a network did with one image. ``print(trace)`` shows a table of all tensors.

    Parameters
    ----------
    image : ndarray (H, W, C)
        As it was given.
    steps : list of Step
        One for each layer.
    probabilities : ndarray (classes,)
    class_names : list of str
    label : int, or None
    loss : float, or None
        The cross-entropy, where there is a label.
    loss_after : float, or None
        The same of the same image, after the optimizer's step.
    optimizer : Optimizer, or None
        A copy of the one given, after the step.
    """

    image: NDArray[Any]
    steps: list[LayerStep]
    probabilities: FloatArray
    class_names: list[str]
    label: int | None = None
    loss: float | None = None
    loss_after: float | None = None
    optimizer: Optimizer | None = None

    def __repr__(self) -> str:
        """Return the table."""
        return str(self)

    def __str__(self) -> str:
        """Lay out all tensors: layer, name, shape, minimum, maximum, mean, share of zeros."""
        return self.table()

    @property
    def logits(self) -> FloatArray:
        """What the last layer gave: one number for each class."""
        return self.steps[-1].y

    def step(self, number: int | str) -> LayerStep:
        """Return what happened in one layer.

        Parameters
        ----------
        number : int or str
            From 1, as `Sequential.summary` counts; inside a container such as ``"4.shortcut.0"``.

        Returns
        -------
        Step

        Raises
        ------
        KeyError
            If there is no such layer.
        """
        every = {step.number: step for step in self._every()}
        if str(number) not in every:
            raise KeyError(f"there is no layer {number!r}; there are {', '.join(every)}")
        return every[str(number)]

    def softmax(self, k: int) -> UnitTrace:
        """Say how the probability of a class follows from the logits.

        Parameters
        ----------
        k : int
            The class.

        Returns
        -------
        Cell

        Raises
        ------
        IndexError
            If there is no such class.
        """
        if not 0 <= k < len(self.logits):
            raise IndexError(f"there is no class {k}: they are 0 to {len(self.logits) - 1}")
        return softmax_unit(self.logits, self.probabilities, k)

    def tensors(self) -> Iterator[Tensor]:
        """Yield all arrays, in the order in which they are made.

        Yields
        ------
        Tensor
            Image and input, then of each layer what comes out; with a label the gradients, from
            the last layer to the first, and then the update.
        """
        yield Tensor("", "", "image", self.image)
        yield Tensor("", "", "x", self.steps[0].x)
        for step in self._every():
            yield Tensor(step.number, step.title(), "y", step.y)
        yield Tensor("", "softmax", "probabilities", self.probabilities)
        for step in reversed(list(self._every())):
            gradients = {f"d{name}": array for name, array in step.gradients.items()}
            for name, array in {"dy": step.dy, **gradients, "dx": step.dx}.items():
                if array is not None:  # there is a label
                    yield Tensor(step.number, step.title(), name, array)
        for step in self._every():
            for name, array in step.updated.items():
                kept = {f"{name} {key}": moment for key, moment in step.moments[name].items()}
                for own, value in {**kept, f"{name} new": array}.items():
                    yield Tensor(step.number, step.title(), own, value)

    def table(self) -> Table:
        """Lay out all tensors: layer, name, shape, minimum, maximum, mean and share of zeros.

        Returns
        -------
        str
        """
        rows: list[tuple[str, ...]] = [
            ("", "Layer", "Tensor", "Shape", "Minimum", "Maximum", "Mean", "Zeros")
        ]
        for tensor in self.tensors():
            found = tensor.metadata()
            numbers = [f"{found[name]:.4g}" for name in ("minimum", "maximum", "mean")]
            shape = str(tuple(found["shape"]))
            zeros = f"{found['zeros']:.0%}"
            rows.append((tensor.number, tensor.layer, tensor.name, shape, *numbers, zeros))
        return lay_out(rows, "><<<>>>>")

    def to_json(self, *, values: bool = False) -> str:
        """Write the trace as JSON.

        Parameters
        ----------
        values : bool
            Whether to write every number of every tensor, as nested lists; else only what the
            table says of it.

        Returns
        -------
        str
        """
        about: dict[str, Any] = {
            "class_names": self.class_names,
            "label": self.label,
            "loss": self.loss,
            "loss_after": self.loss_after,
            "optimizer": None if self.optimizer is None else str(self.optimizer),
        }
        about["tensors"] = [
            tensor.metadata() | ({"values": tensor.array.tolist()} if values else {})
            for tensor in self.tensors()
        ]
        return json.dumps(about)

    def _every(self) -> Iterator[LayerStep]:
        for step in self.steps:
            yield from step.inside()
