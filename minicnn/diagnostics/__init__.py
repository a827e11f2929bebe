"""Diagnose a network on one batch: activations, gradients, update sizes."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.diagnostics.report import Diagnosis, LayerDiagnosis, ParameterDiagnosis, warnings_of
from minicnn.layers.activations import ReLU
from minicnn.layers.base import Layer
from minicnn.layers.container import Container
from minicnn.model.classifier import check_model
from minicnn.model.sequential import Sequential
from minicnn.random import RandomKey
from minicnn.runtime.thread_pool import ThreadPool
from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import check_range
from minicnn.train.data_parallel import DataParallelGradient, microbatches
from minicnn.train.evaluate import check_data
from minicnn.train.nonfinite import find_non_finite
from minicnn.train.state import TrainingState, decay_mask

__all__ = ["Diagnosis", "LayerDiagnosis", "ParameterDiagnosis", "diagnose"]

# The position of a layer in the model, from 0, and its path inside a container there, such as
# ``shortcut.0``; the path is empty outside containers.
Location = tuple[int, str]


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
    statistics: dict[Location, ActivationStatistics],
    inside: Location | None = None,  # of the container, and the prefix of the paths in it
) -> Array:
    """Run layers in training mode, and add their outputs to the statistics."""
    for position, layer in enumerate(layers):
        location = (inside[0], f"{inside[1]}{position}") if inside else (position, "")
        # Entered before the layers inside a container, so that the report lists it first.
        own_statistics = statistics.setdefault(location, ActivationStatistics(layer))
        own = key.fold_in(position)
        if isinstance(layer, Container):
            outer, path = location[0], f"{location[1]}." if location[1] else ""
            parts = [
                _run_layers(
                    chain.layers, x, own.fold_in(branch), statistics, (outer, f"{path}{prefix}")
                )
                for branch, (prefix, chain) in enumerate(layer.sequences.items())
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
    check_model("diagnose", model, Sequential)
    check_data("diagnose", model, images, labels)
    smoothing = check_range("diagnose", "label_smoothing", label_smoothing, high=1)
    if state is not None and state.model is not model:
        raise ValueError("diagnose: state belongs to another model; pass the state of this one")
    batch = np.arange(len(images))
    statistics: dict[Location, ActivationStatistics] = {(-1, ""): ActivationStatistics(None)}
    with np.errstate(over="ignore", invalid="ignore"), ThreadPool(1) as workers:
        for image_ids in microbatches(batch):
            x = model.preprocess(images[image_ids])
            statistics[-1, ""].add(x)
            _run_layers(model.layers, x, RandomKey(seed, 0, image_ids), statistics)
        gradient_of = DataParallelGradient(
            model, images, labels, workers, seed=seed, label_smoothing=smoothing
        )
        result = gradient_of(batch)
        change = None if state is None else peek_update(state, result.gradient)
        layers = _layer_diagnoses(model, statistics, result.gradient, change)
    lr_scale = None if state is None else state.lr_scale
    if all(np.isfinite(part).all() for part in result):
        warnings = warnings_of(layers, len(images), lr_scale)
    else:
        warnings = (find_non_finite(model, gradient_of.microbatches(batch, 0), smoothing),)
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
    statistics: dict[Location, ActivationStatistics],
    gradient: Array,
    change: Array | None,
) -> tuple[LayerDiagnosis, ...]:
    gradients = model.unflatten(gradient)
    changes = None if change is None else model.unflatten(change)
    diagnoses = []
    for (position, path), activations in statistics.items():
        layer = activations.layer
        parameters = {}
        if layer is not None and not isinstance(layer, Container):
            for name, array in layer.parameters.items():
                full = f"{path}.{name}" if path else name
                step = None if changes is None else changes[position][full]
                parameters[name] = _parameter(array, gradients[position][full], step)
        diagnoses.append(
            LayerDiagnosis(
                position + 1,
                path,
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
