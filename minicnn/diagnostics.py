"""Diagnose a network on one batch: activations, gradients, update sizes."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.layers.activations import ReLU
from minicnn.layers.base import Layer
from minicnn.layers.container import Container
from minicnn.model.sequential import Sequential
from minicnn.random import RandomKey
from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import check_range
from minicnn.table import lay_out
from minicnn.train.data_parallel import BatchGradient, split_batch
from minicnn.train.evaluate import check_data
from minicnn.train.nonfinite import find_non_finite
from minicnn.train.state import TrainingState, decay_mask

__all__ = ["Diagnosis", "LayerDiagnosis", "ParameterDiagnosis", "diagnose"]


# ---------------------------------------------------------------- the report


class ParameterDiagnosis(NamedTuple):
    """Size, gradient and update of one parameter array.

    `ndim` is the number of its axes, `rms` and `gradient_rms` the root mean squares of the array
    and of its gradient. `update_ratio` is ``‖Δw‖ / ‖w‖`` of one optimizer step: infinite if w is 0,
    None without an optimizer.
    """

    ndim: int
    rms: float
    gradient_rms: float
    update_ratio: float | None


class LayerDiagnosis(NamedTuple):
    """Outputs of a layer for the images, and its parameters.

    `position` is the layer's number in the model, from 1; 0 is the input. `inside` is its path in a
    container, such as ``shortcut.0``, or empty. `mean` and `std` are those of all output elements,
    `zeros` the share of them that is 0, and `constant` says whether all images give the same
    output. `units` is the number of channels or units; `dead`, for a ReLU, the number of units that
    are 0 for every image and position, for any other layer None. `parameters` are by name; a
    container has none of its own.
    """

    position: int
    inside: str
    layer: str
    mean: float
    std: float
    zeros: float
    constant: bool
    units: int
    dead: int | None
    parameters: dict[str, ParameterDiagnosis]

    @property
    def name(self) -> str:
        """Return the layer's name in a sentence."""
        if self.position == 0:
            return "the input"
        within = f"{self.inside} inside " if self.inside else ""
        return f"{within}layer {self.position} ({self.layer})"

    @property
    def weight(self) -> ParameterDiagnosis | None:
        """Return the parameter with the most axes: the weight, if there is one."""
        return max(self.parameters.values(), key=lambda p: p.ndim, default=None)


class Diagnosis(NamedTuple):
    """Result of `diagnose`; ``str(diagnosis)`` is a table with warnings below.

    `images` is the number of images, `loss` their mean loss, and `lr_scale` the schedule's factor
    on the learning rate, None without an optimizer. `layers` begin with the input. `warnings` are
    sentences in the order of the layers, empty for a healthy network.
    """

    images: int
    loss: float
    lr_scale: float | None
    layers: tuple[LayerDiagnosis, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        heading = ("", "Layer", "Mean", "Std", "Zeros", "Dead", "Gradient", "Update/weight")
        table = lay_out([heading, *map(_row, self.layers)], "><>>>>>>")
        loss = f"Loss {self.loss:.4f} on {self.images} images; gradient and update are the weight's"
        step = "" if self.lr_scale is None else f", at {self.lr_scale:.3g} × the learning rate"
        verdict = [f"WARNING: {warning}" for warning in self.warnings] or ["Nothing unusual."]
        return "\n".join([table, f"{loss}{step}.", *verdict])


def _row(layer: LayerDiagnosis) -> tuple[str, ...]:
    weight = layer.weight
    return (
        "" if layer.inside or not layer.position else str(layer.position),
        f"  {layer.inside} {layer.layer}" if layer.inside else layer.layer,
        f"{layer.mean:.3g}",
        f"{layer.std:.3g}",
        f"{layer.zeros:.0%}",
        "" if layer.dead is None else f"{layer.dead} of {layer.units}",
        "" if weight is None else f"{weight.gradient_rms:.1e}",
        "" if weight is None or weight.update_ratio is None else f"{weight.update_ratio:.1e}",
    )


# A step usually changes a weight by about a thousandth of it (Karpathy, Li, Johnson, CS231n notes,
# "Neural networks part 3: ratio of weights:updates", 2016). Warn from a hundred times more or less:
# Adam's first steps and a batch norm after a weight make ten times more usual. (Before a batch norm
# only the direction of a weight counts, not its size.)
USUAL_UPDATE = 1e-3
UPDATES = (USUAL_UPDATE / 100, USUAL_UPDATE * 100)
# He initialization and batch norm both keep outputs at a scale of about 1. Warn from a hundred
# times more or less: the next layer's initial weights assume a scale of 1.
SCALES = (0.01, 100.0)
# The CS231n notes ("Neural networks part 1: commonly used activation functions") report 40 % of a
# network dead after a learning rate that was too high. Fewer are harmless: on MNIST, networks
# without batch norm that Adam trains to 96 % at its usual rate have up to 37 % of the units of a
# dense layer at 0 on 128 images, and no channel of a convolution; at 20 times that rate it is 94 %
# of the channels.
DEAD = 0.4


def warnings_of(
    layers: Sequence[LayerDiagnosis],  # all values finite
    images: int,
    lr_scale: float | None,  # the schedule's factor on the learning rate of the step
) -> tuple[str, ...]:
    """Return the warnings about unusual values, most important first.

    The schedule makes steps small on purpose. So a step is too small only if it would be at a
    factor of 1.
    """
    return *_output_warnings(layers, images), *_update_warnings(layers, lr_scale)


def _output_warnings(layers: Sequence[LayerDiagnosis], images: int) -> Iterator[str]:
    """Name layers with one output for all images, unusual scale, dead units."""
    constant = next((layer for layer in layers if layer.constant), None)
    if images > 1 and constant:
        cause = (
            "Are all images the same?"
            if constant.position == 0
            else "Are its weights all 0, or is every unit before it dead?"
        )
        yield (
            f"{constant.name} is the same for all {images} images, so no later layer can "
            f"distinguish them. {cause}"
        )
    low, high = SCALES
    scaled = (
        layer for layer in layers if layer.std > high or (layer.std < low and not layer.constant)
    )
    if first := next(scaled, None):  # later layers inherit its scale
        size = "large" if first.std > high else "small"
        cause = (
            "Scale pixels to about 0 to 1, or -1 to 1: check input_std."
            if first.position == 0
            else f"Is its input scaled, or are its initial weights too {size}? A BatchNorm after "
            f"it brings any scale to 1."
        )
        yield f"{first.name} has a standard deviation of {first.std:.2g}, usual is 1. {cause}"
    for layer in layers:
        if layer.dead is not None and layer.dead >= DEAD * layer.units:
            yield (
                f"{layer.name}: {layer.dead} of {layer.units} units are 0 for all {images} images. "
                f"Dead units learn nothing. Usually the learning rate was too high: train again "
                f"with a tenth of it, or put a BatchNorm before the ReLU."
            )


def _update_warnings(layers: Sequence[LayerDiagnosis], lr_scale: float | None) -> Iterator[str]:
    """Name parameters without a gradient, and steps of an unusual size."""
    silent = [
        f"the {name} of {layer.name}"
        for layer in layers
        for name, parameter in layer.parameters.items()
        if parameter.gradient_rms == 0
    ]
    if silent:
        yield (
            f"No gradient at all reaches {_list(silent)}: the layers after it pass none back, so "
            f"it learns nothing."
        )
    # Biases and norms start at 0 or 1, so the ratio of their update says little.
    updates = [
        (layer.name, weight, weight.update_ratio)
        for layer in layers
        if (weight := layer.weight) and weight.ndim > 1 and weight.update_ratio is not None
    ]
    low, high = UPDATES
    changes = [
        f"that of {name} by {ratio:.0%}" if np.isfinite(ratio) else f"that of {name}, now 0"
        for name, _, ratio in updates
        if ratio > high
    ]
    if changes:
        yield (
            f"One step changes weights by more than {high:.0%}: {_list(changes)}. The usual "
            f"change is about {USUAL_UPDATE:.1%}: the learning rate is too high, or the weights "
            f"are too small."
        )
    slow = [
        name
        for name, weight, ratio in updates
        if lr_scale and ratio / lr_scale < low and weight.gradient_rms > 0
    ]
    if slow:
        yield (
            f"Even at the full learning rate one step changes the weight of {_list(slow)} by less "
            f"than {low:.3%}; the usual change is about {USUAL_UPDATE:.1%}: the learning rate is "
            f"too low, or hardly any gradient reaches it."
        )


def _list(names: Sequence[str], limit: int = 3) -> str:
    """Join the first names, and count the remaining ones."""
    shown, more = names[:limit], len(names) - limit
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- the measurement


class ActivationStatistics:
    """Statistics of a layer's outputs, accumulated over microbatches.

    `layer` is None for the images. `dead` (C,) marks the units that were 0 everywhere so far, and
    `constant` says whether all images gave the same output.
    """

    def __init__(self, layer: Layer | None) -> None:
        self.layer = layer
        self.count, self.zeros = 0, 0
        self.total, self.squares = 0.0, 0.0
        self.dead = np.ones(1, np.bool_)
        self.constant = True
        self._first: Array | None = None  # the output for the first image

    def add(self, y: Array) -> None:
        """Add the outputs (N, ..., C) of a microbatch."""
        self._first = y[0].copy() if self._first is None else self._first
        self.count += y.size
        self.zeros += y.size - int(np.count_nonzero(y))
        self.total += float(y.sum(dtype=np.float64))
        self.squares += float(np.square(y, dtype=np.float64).sum())
        self.dead = self.dead & ~y.reshape(-1, y.shape[-1]).any(axis=0)
        self.constant = self.constant and bool((y == self._first).all())

    @property
    def mean(self) -> float:
        """Return the mean of all elements."""
        return self.total / self.count

    @property
    def std(self) -> float:
        """Return the standard deviation of all elements."""
        variance = self.squares / self.count - self.mean**2
        return float(np.sqrt(np.maximum(variance, 0)))  # NaN if an element is NaN or infinite


def _run_layers(
    layers: Sequence[Layer],
    x: Array,  # (N, ...)
    key: RandomKey,
    statistics: dict[str, ActivationStatistics],  # by path, such as ``2.shortcut.0``
    prefix: str = "",  # of the paths inside a container
) -> Array:
    """Run layers in training mode, and add their outputs to the statistics."""
    for position, layer in enumerate(layers):
        path, own = f"{prefix}{position}", key.fold_in(position)
        # Entered before the layers inside a container, so that the report lists it first.
        own_statistics = statistics.setdefault(path, ActivationStatistics(layer))
        if isinstance(layer, Container):
            parts = [
                _run_layers(chain.layers, x, own.fold_in(branch), statistics, f"{path}.{inside}")
                for branch, (inside, chain) in enumerate(layer.sequences.items())
            ]
            x, _ = layer.merge(parts)
        else:
            x, _ = layer.forward(x, key=own)
        own_statistics.add(x)
    return x


def diagnose(
    model: Sequential,
    images: NDArray[Any],
    labels: IntArray,
    *,
    state: TrainingState | None = None,
    label_smoothing: float = 0.0,
    seed: int = 0,
) -> Diagnosis:
    """Measure activations, gradients and updates on one batch.

    The forward pass is that of training: microbatches of up to 32 images, which a `BatchNorm`
    normalizes by their own statistics, with dropout on. It runs layer by layer, while training
    fuses adjacent layers, which may round differently. The gradient is that of a training step. The
    update is that of one more step, which the optimizer takes on copies of the weights and of
    itself, at the learning rate of its last step. The model stays unchanged.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C if the model has one channel
        As in `Sequential.preprocess`; use 100 or more, of all classes, for stable statistics.
    labels : ndarray of int (N,)
    state : TrainingState, optional
        The state that `minicnn.fit` passes to `on_epoch_end`. Without it the report has no update.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.
    seed : int
        For layers that are random in training.

    Returns
    -------
    Diagnosis

    Raises
    ------
    TypeError, ValueError
        If images or labels do not fit the model or each other, or `state` has another model.

    References
    ----------
    Karpathy, Li, Johnson, CS231n notes, "Neural networks part 3: babysitting the learning process"
    (2016); Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (AISTATS 2010), section 4 (scale of activations and gradients, by layer).
    """
    check_data("diagnose", model, images, labels, Sequential)
    smoothing = check_range("diagnose", "label_smoothing", label_smoothing, high=1)
    if state is not None and state.model is not model:
        raise ValueError("diagnose: state belongs to another model; pass the state of this one")
    batch = np.arange(len(images))
    statistics = {"-1": ActivationStatistics(None)}
    with np.errstate(over="ignore", invalid="ignore"):
        for image_ids in split_batch(batch):
            x = model.preprocess(images[image_ids])
            statistics["-1"].add(x)
            _run_layers(model.layers, x, RandomKey(seed, 0, image_ids), statistics)
        run_batch = BatchGradient(model, images, labels, None, seed, smoothing, threads=1)
        result = run_batch(batch)
        change = None if state is None else peek_update(state, result.gradient)
        layers = _layer_diagnoses(model, statistics, result.gradient, change)
    lr_scale = None if state is None else state.lr_scale
    if all(np.isfinite(part).all() for part in result):
        warnings = warnings_of(layers, len(images), lr_scale)
    else:
        warnings = (find_non_finite(model, run_batch.microbatches(batch, 0), smoothing),)
    return Diagnosis(len(images), result.loss, lr_scale, layers, warnings)


def peek_update(state: TrainingState, gradient: Array) -> Array:
    """Compute the update of one more step, on copies.

    Parameters
    ----------
    state : TrainingState
    gradient : ndarray (P,)

    Returns
    -------
    ndarray (P,)
        New parameters minus old ones, at the learning rate of the last step.
    """
    model, optimizer = state.model, deepcopy(state.optimizer)
    parameters = model.parameters.copy()
    optimizer.step(parameters, gradient, state.lr_scale, decay_mask(model))
    return parameters - model.parameters


def _layer_diagnoses(
    model: Sequential,
    statistics: dict[str, ActivationStatistics],
    gradient: Array,
    change: Array | None,
) -> tuple[LayerDiagnosis, ...]:
    gradients = model.unflatten(gradient)
    changes = None if change is None else model.unflatten(change)
    diagnoses = []
    for path, activations in statistics.items():
        top, _, inside = path.partition(".")
        position = int(top)
        layer = activations.layer
        parameters = {}
        if layer is not None and not isinstance(layer, Container):
            for name, array in layer.parameters.items():
                full = f"{inside}.{name}" if inside else name
                step = None if changes is None else changes[position][full]
                parameters[name] = _parameter(array, gradients[position][full], step)
        diagnoses.append(
            LayerDiagnosis(
                position + 1,
                inside,
                _label(layer, model),
                activations.mean,
                activations.std,
                activations.zeros / activations.count,
                activations.constant,
                len(activations.dead),
                int(activations.dead.sum()) if isinstance(layer, ReLU) else None,
                parameters,
            )
        )
    return tuple(diagnoses)


def _parameter(array: Array, gradient: Array, change: Array | None) -> ParameterDiagnosis:
    scale = _rms(array)
    update_ratio = None
    if change is not None:
        update = _rms(change)
        update_ratio = update / scale if scale else (np.inf if update else 0.0)
    return ParameterDiagnosis(array.ndim, scale, _rms(gradient), update_ratio)


def _rms(array: Array) -> float:
    """Return the root mean square, in float64 against overflow."""
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def _label(layer: object, model: Sequential) -> str:
    if layer is None:
        return f"input {model.input_shape}"
    return type(layer).__name__ if isinstance(layer, Container) else repr(layer)
