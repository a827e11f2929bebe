"""All tensors of one image on its way through a network, as an object, a table, and JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.explanation.cell import Cell
from minicnn.explanation.kinds import softmax_cell
from minicnn.explanation.step import Step
from minicnn.shapes import FloatArray
from minicnn.state import Optimiser
from minicnn.tables import Table, lay_out


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

    def facts(self) -> dict[str, Any]:
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
        The same of the same image, after the optimiser's step.
    optimiser : Optimiser, or None
        A copy of the one given, after the step.
    """

    image: NDArray[Any]
    steps: list[Step]
    probabilities: FloatArray
    class_names: list[str]
    label: int | None = None
    loss: float | None = None
    loss_after: float | None = None
    optimiser: Optimiser | None = None

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

    def step(self, number: int | str) -> Step:
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

    def softmax(self, k: int) -> Cell:
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
        return softmax_cell(self.logits, self.probabilities, k)

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
            found = tensor.facts()
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
            "optimiser": None if self.optimiser is None else str(self.optimiser),
        }
        about["tensors"] = [
            tensor.facts() | ({"values": tensor.array.tolist()} if values else {})
            for tensor in self.tensors()
        ]
        return json.dumps(about)

    def _every(self) -> Iterator[Step]:
        for step in self.steps:
            yield from step.inside()
