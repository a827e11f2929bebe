"""Explain a network on one image: forward, backward and update."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.explanation.formulas import Index, UnitTrace, gradient_unit, softmax_unit, unit_trace
from minicnn.layers.base import Layer
from minicnn.layers.container import Container
from minicnn.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.model.classifier import check_model
from minicnn.model.sequential import Sequential
from minicnn.ops.activations import softmax
from minicnn.optim import Adam
from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import as_batch, check_brightness, check_class_names, check_labels
from minicnn.table import Table, lay_out
from minicnn.train.state import Optimizer, Resumable, decay_mask


@dataclass(eq=False, repr=False)
class LayerStep:
    """One layer of a trace; ``step[oh, ow, f]`` is the trace of one output.

    Parameters
    ----------
    number : str
        The layer number, from 1 as in `Sequential.summary`; inside a container its number, branch
        and position, as in ``4.shortcut.0``.
    layer : Layer
    x, y : ndarray
        Input and output, without the axis N.
    cache : object
        The cache of the forward pass.
    branches : list of list of LayerStep
        The steps inside a container.

    Attributes
    ----------
    dy, dx : ndarray, or None
        The gradients of the loss with respect to `y` and `x`, if there is a label.
    gradients : dict of str to ndarray
        The gradients of the layer's own parameters, by name.
    moments : dict of str to dict of str to ndarray
        The optimizer's state of each parameter after the step, such as ``m`` and ``v``.
    updated : dict of str to ndarray
        The parameters after the step.
    """

    number: str
    layer: Layer
    x: Array
    y: Array
    cache: Any
    branches: list[list["LayerStep"]]
    dy: Array | None = field(default=None, init=False)
    dx: Array | None = field(default=None, init=False)
    gradients: dict[str, Array] = field(default_factory=dict, init=False)
    moments: dict[str, dict[str, Array]] = field(default_factory=dict, init=False)
    updated: dict[str, Array] = field(default_factory=dict, init=False)

    def __repr__(self) -> str:
        """Return layer number, layer and shapes."""
        return f"{self.number} {self.title()}: {self.x.shape} to {self.y.shape}"

    def __getitem__(self, at: int | Index) -> UnitTrace:
        """Return the trace of one output."""
        parts = [branch[-1].y if branch else self.x for branch in self.branches]
        position = _checked_index("y", self.y, at)
        unit = unit_trace(self.layer, self.x, self.y, parts, position)
        return unit._replace(result=float(self.y[position]))

    def title(self) -> str:
        """Return the layer's repr, or the class name of a container."""
        return type(self.layer).__name__ if self.branches else str(self.layer)

    def gradient(self, name: str, at: int | Index) -> UnitTrace:
        """Trace the gradient of one weight: a product for each position.

        Parameters
        ----------
        name : str
            The parameter: ``weight`` or ``bias``.
        at : int or tuple of int
            The index in it.

        Returns
        -------
        UnitTrace
            Its `weights` are dy; `result` is the element of `gradients`.

        Raises
        ------
        TypeError
            If the gradient of the layer's weights is not a sum over positions.
        ValueError
            If the parameter does not exist, or the trace has no label.
        IndexError
            If the index does not exist.
        """
        if self.dy is None:
            raise ValueError("a trace without a label has no gradients; pass explain a label")
        if name not in self.layer.parameters or self.branches:
            own = "" if self.branches else ", ".join(self.layer.parameters)
            raise ValueError(
                f"{self.title()} has no parameter {name!r} of its own, but {own or 'none'}"
            )
        position = _checked_index(name, self.layer.parameters[name], at)
        unit = gradient_unit(self.layer, self.x, self.dy, name, position)
        return unit._replace(result=float(self.gradients[name][position]))

    def iter_steps(self) -> Iterator["LayerStep"]:
        """Yield the steps inside, in the order of the data, then this step."""
        for branch in self.branches:
            for step in branch:
                yield from step.iter_steps()
        yield self


def _checked_index(name: str, array: Array, at: int | Index) -> Index:
    """Return an index of one integer for each axis; raise if it is outside."""
    position = tuple(index(axis) for axis in (at if isinstance(at, tuple) else (at,)))
    if len(position) != array.ndim or not all(
        0 <= axis < size for axis, size in zip(position, array.shape, strict=True)
    ):
        raise IndexError(f"{name} has shape {array.shape}, so there is no index {position}")
    return position


def forward(layers: Sequence[Layer], x: Array, prefix: str = "") -> list[LayerStep]:
    """Run layers one by one at inference on an image (1, ...).

    `prefix` begins the layer numbers inside a container, where positions count from 0.
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


def backward(steps: Sequence[LayerStep], dy: Array) -> Array:
    """Backpropagate dy (1, ...) into the gradients of the steps; return dx."""
    for step in reversed(steps):
        step.dy = dy[0]
        if isinstance(step.layer, Container):
            dparts = step.layer.split_gradient(dy, step.cache)
            branches = zip(step.branches, dparts, strict=True)
            first, *others = [backward(branch, dpart) for branch, dpart in branches]
            dx = sum(others, first)
        else:
            layer_dx, step.gradients = step.layer.backward(dy, step.cache)
            # A layer that ignores its input may return None.
            dx = np.zeros((1, *step.x.shape), dy.dtype) if layer_dx is None else layer_dx
        step.dx = dx[0]
        dy = dx
    return dy


class Tensor(NamedTuple):
    """One array of a trace.

    `number` and `layer` name its layer, and are empty for the image and the probabilities. `name`
    follows the library's rule: ``y`` is the output, ``dweight`` the gradient of the loss with
    respect to the weight. After the update ``weight m`` and ``weight v`` are Adam's state, and
    ``weight new`` is the updated weight.
    """

    number: str
    layer: str
    name: str
    array: NDArray[Any]

    def statistics(self) -> dict[str, Any]:
        """Return layer, name, shape, minimum, maximum, mean and share of zeros."""
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
    """Everything that a network computes for one image.

    ``print(trace)`` shows a table of all tensors.

    Parameters
    ----------
    image : ndarray (H, W, C)
        The image before preprocessing.
    steps : list of LayerStep
        One for each layer.
    probabilities : ndarray (classes,)
    class_names : list of str
    label : int, or None
    loss : float, or None
        The cross-entropy, if there is a label.
    loss_after : float, or None
        The loss of the same image after the optimizer's step.
    optimizer : Optimizer, or None
        A copy of the optimizer after the step.
    """

    image: NDArray[Any]
    steps: list[LayerStep]
    probabilities: Array
    class_names: list[str]
    label: int | None = None
    loss: float | None = None
    loss_after: float | None = None
    optimizer: Optimizer | None = None

    def __repr__(self) -> str:
        """Return the table."""
        return self.table()

    @property
    def logits(self) -> Array:
        """Return the output of the last layer (classes,)."""
        return self.steps[-1].y

    def step(self, number: int | str) -> LayerStep:
        """Return the step of a layer.

        Parameters
        ----------
        number : int or str
            The layer number, from 1 as in `Sequential.summary`; inside a container such as
            ``"4.shortcut.0"``.

        Returns
        -------
        LayerStep

        Raises
        ------
        KeyError
            If the layer does not exist.
        """
        steps = {step.number: step for step in self._iter_steps()}
        if str(number) not in steps:
            raise KeyError(f"there is no layer {number!r}; the layers are {', '.join(steps)}")
        return steps[str(number)]

    def softmax(self, k: int) -> UnitTrace:
        """Trace the probability of a class back to the logits.

        Parameters
        ----------
        k : int
            The class.

        Returns
        -------
        UnitTrace

        Raises
        ------
        IndexError
            If the class does not exist.
        """
        if not 0 <= k < len(self.logits):
            raise IndexError(f"class must be 0 to {len(self.logits) - 1}, not {k}")
        return softmax_unit(self.logits, self.probabilities, k)

    def tensors(self) -> Iterator[Tensor]:
        """Yield all arrays in the order of their computation.

        Yields
        ------
        Tensor
            Image, input and the output of each layer. With a label then the gradients, from the
            last layer to the first, and the updated parameters.
        """
        yield Tensor("", "", "image", self.image)
        yield Tensor("", "", "x", self.steps[0].x)
        for step in self._iter_steps():
            yield Tensor(step.number, step.title(), "y", step.y)
        yield Tensor("", "softmax", "probabilities", self.probabilities)
        for step in reversed(list(self._iter_steps())):
            gradients = {f"d{name}": array for name, array in step.gradients.items()}
            for name, array in {"dy": step.dy, **gradients, "dx": step.dx}.items():
                if array is not None:  # dy and dx are None without a label
                    yield Tensor(step.number, step.title(), name, array)
        for step in self._iter_steps():
            for name, array in step.updated.items():
                moments = {f"{name} {key}": moment for key, moment in step.moments[name].items()}
                for full_name, value in {**moments, f"{name} new": array}.items():
                    yield Tensor(step.number, step.title(), full_name, value)

    def table(self) -> Table:
        """Tabulate shape, minimum, maximum, mean and zeros of all tensors."""
        rows: list[tuple[str, ...]] = [
            ("", "Layer", "Tensor", "Shape", "Minimum", "Maximum", "Mean", "Zeros")
        ]
        for tensor in self.tensors():
            values = tensor.statistics()
            texts = [f"{values[name]:.4g}" for name in ("minimum", "maximum", "mean")]
            shape, zeros = str(tuple(values["shape"])), f"{values['zeros']:.0%}"
            rows.append((tensor.number, tensor.layer, tensor.name, shape, *texts, zeros))
        return lay_out(rows, "><<<>>>>")

    def _iter_steps(self) -> Iterator[LayerStep]:
        for step in self.steps:
            yield from step.iter_steps()


def explain(
    model: Sequential,
    image: NDArray[Any],
    label: int | None = None,
    *,
    optimizer: Optimizer | None = None,
    label_smoothing: float = 0.0,
) -> Trace:
    """Trace one image through a network; with a label, a training step too.

    The image runs layer by layer at inference: dropout is off, and a batch norm uses its running
    mean and variance, in the gradients too. Where the model fuses layers, the trace computes the
    arrays between them. The model stays unchanged, and so does the trace when the model changes.

    Parameters
    ----------
    model : Sequential
    image : ndarray (H, W, C); without C if the model has one channel
        uint8 (0 to 255), or float (0 to 1).
    label : int, optional
        The true class: adds the loss, all gradients, and the optimizer's step to the trace.
    optimizer : object with a ``step``, optional
        Default: `Adam()`. It stays unchanged: a copy takes the step.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.

    Returns
    -------
    Trace

    Raises
    ------
    TypeError
        If the model is not a `Sequential`, or image or label have the wrong type.
    ValueError
        If the image does not fit, the label is out of range, or there is an optimizer without a
        label.

    References
    ----------
    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323
    (1986): the same three parts, forward, backward and update.
    """
    check_model("explain", model, Sequential)
    batch = one_image("explain", model, image)
    if label is None and (optimizer is not None or label_smoothing):
        raise ValueError("explain: optimizer and label_smoothing need a label; pass one")
    copy = deepcopy(model)
    steps = forward(copy.layers, copy.preprocess(batch))
    classes = model.output_shape[-1]
    names = check_class_names("explain", model.class_names, classes)
    probabilities, _ = softmax(steps[-1].y[None])
    trace = Trace(batch[0].copy(), steps, probabilities[0], names)
    if label is not None:
        labels = np.asarray(label)[None]
        check_labels("explain", labels, 1, classes, "label")
        _learn(trace, deepcopy(model), labels, deepcopy(optimizer) or Adam(), label_smoothing)
    return trace


def one_image(op: str, model: Sequential, image: NDArray[Any]) -> NDArray[Any]:
    """Return an image as a batch (1, H, W, C) for the model."""
    batch = as_batch(op, image, model.input_shape)
    if len(batch) != 1:
        raise ValueError(f"{op}: give one image, not {len(batch)}; for example images[0]")
    check_brightness(op, batch)
    return batch


def _learn(
    trace: Trace, copy: Sequential, labels: IntArray, optimizer: Optimizer, label_smoothing: float
) -> None:
    """Take a training step on a copy of the model, and add it to the trace."""
    loss, cache = softmax_cross_entropy(trace.logits[None], labels, label_smoothing=label_smoothing)
    backward(trace.steps, softmax_cross_entropy_backward(1.0, cache))
    gradient = np.empty_like(copy.parameters)
    for step, name, view in _by_parameter(trace, copy.unflatten(gradient)):
        view[...] = step.gradients[name]
    optimizer.step(copy.parameters, gradient, 1.0, decay_mask(copy))
    for step, name, view in _by_parameter(trace, copy.unflatten(copy.parameters)):
        step.updated[name], step.moments[name] = view, {}
    state = optimizer.state_dict(copy.parameters) if isinstance(optimizer, Resumable) else {}
    for key, vector in state.items():
        if vector.shape == copy.parameters.shape:  # leaves out the step count
            for step, name, view in _by_parameter(trace, copy.unflatten(vector)):
                step.moments[name][key] = view
    after = forward(copy.layers, copy.preprocess(trace.image))[-1].y[None]
    loss_after, _ = softmax_cross_entropy(after, labels, label_smoothing=label_smoothing)
    trace.label, trace.optimizer = int(labels[0]), optimizer
    trace.loss, trace.loss_after = float(loss), float(loss_after)


def _by_parameter(
    trace: Trace, layers: Sequence[dict[str, Array]]
) -> Iterator[tuple[LayerStep, str, Array]]:
    """Yield each parameter's step and name, and its array in `layers`."""
    for outer, arrays in zip(trace.steps, layers, strict=True):
        for step in outer.iter_steps():
            prefix = "".join(f"{part}." for part in step.number.split(".")[1:])
            for name in [] if step.branches else step.layer.parameters:
                yield step, name, arrays[f"{prefix}{name}"]
