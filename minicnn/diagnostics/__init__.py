"""What the layers of a network give for some images, containers looked into.

One batch through a network, to see what each layer does with it.
"""

from collections.abc import Sequence
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
from minicnn.shapes import FloatArray, IntArray
from minicnn.shapes.checks import check_range
from minicnn.train.data_parallel import DataParallelGradient, microbatches
from minicnn.train.evaluate import check_data
from minicnn.train.nonfinite import find_non_finite
from minicnn.train.state import TrainingState

# Where a layer stands: its position in the model, from 0, and its place inside a container there,
# such as ``shortcut.0``, empty where it is in none.
Place = tuple[int, str]


class Tally:
    """What was seen of the numbers that a layer gives, shard by shard.

    Parameters
    ----------
    layer : Layer, or None
        None for the images themselves.

    Attributes
    ----------
    count, zeros : int
        How many numbers, and how many of them were 0.
    total, squares : float
        Sum of the numbers, and of their squares.
    silent : ndarray of bool (C,)
        Which units have given nothing but 0.
    constant : bool
        Whether every image gave the same numbers.
    """

    def __init__(self, layer: Layer | None) -> None:
        self.layer = layer
        self.count, self.zeros, self.total, self.squares = 0, 0, 0.0, 0.0
        self.silent = np.ones(1, np.bool_)
        self.constant = True
        self._first: FloatArray | None = None  # what the first image gave

    def add(self, y: FloatArray) -> None:
        """Count in what a shard gave.

        Parameters
        ----------
        y : ndarray (N, ..., C)
        """
        self._first = y[0].copy() if self._first is None else self._first
        self.count += y.size
        self.zeros += y.size - int(np.count_nonzero(y))
        self.total += float(y.sum(dtype=np.float64))
        self.squares += float(np.square(y, dtype=np.float64).sum())
        self.silent = self.silent & ~y.reshape(-1, y.shape[-1]).any(axis=0)
        self.constant = self.constant and bool((y == self._first).all())

    @property
    def mean(self) -> float:
        """Mean of all numbers."""
        return self.total / self.count

    @property
    def std(self) -> float:
        """Standard deviation of all numbers."""
        variance = self.squares / self.count - self.mean**2
        return float(np.sqrt(np.maximum(variance, 0)))  # NaN where they hold NaN or infinity


def run(
    layers: Sequence[Layer],
    x: FloatArray,
    draws: RandomKey,
    tallies: dict[Place, Tally],
    inside: tuple[int, str] | None = None,
) -> FloatArray:
    """Send a shard down in training, layer by layer, and count in what each gives.

    Parameters
    ----------
    layers : sequence of Layer
    x : ndarray (N, ...)
    draws : Draws
        Of the model, or of the branch that the layers are.
    tallies : dict
        What was seen so far, by place; those of new places are added in the order of the layers.
    inside : (int, str), optional
        Position of the container that the layers are in, and what their places begin with.

    Returns
    -------
    ndarray (N, ...)
        What the last layer gives.
    """
    for position, layer in enumerate(layers):
        place = (inside[0], f"{inside[1]}{position}") if inside else (position, "")
        tally = tallies.setdefault(place, Tally(layer))
        own = draws.fold_in(position)
        if isinstance(layer, Container):
            outer, names = place[0], f"{place[1]}." if place[1] else ""
            parts = [
                run(chain.layers, x, own.fold_in(branch), tallies, (outer, f"{names}{prefix}"))
                for branch, (prefix, chain) in enumerate(layer.chains.items())
            ]
            x, _ = layer.join(parts)
        else:
            x, _ = layer.forward(x, training=True, draws=own)
        tally.add(x)
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
    """Examine a network on one batch, as training would see it, without changing anything.

    Forward is that of training: in shards of up to 32 images, so that a `BatchNorm` normalizes by
    them, with what is random in training; but layer by layer, while training computes some
    neighbors as one, which may round in another way. The gradient is that of a training step. The
    update is measured by a further step: the optimizer takes it on copies of weights and of itself,
    with this batch's gradient and the learning rate of its last step.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        As in `Sequential.preprocess`; 100 or more, of all classes, make the numbers worth reading.
    labels : ndarray of int (N,)
    state : TrainingState, optional
        Of the model's training: what `minicnn.fit` hands to `on_epoch_end`. Without it no update is
        measured.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.
    seed : int
        For layers that are random in training.

    Returns
    -------
    HealthReport

    Raises
    ------
    TypeError, ValueError
        If images or labels do not fit the model or each other, or `state` is another model's.

    References
    ----------
    Karpathy, Li, Johnson, CS231n notes, "Neural networks part 3: babysitting the learning process"
    (2016); Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (AISTATS 2010), section 4 (scale of activations and gradients, by layer).
    """
    check_model("examine", model, Sequential)
    check_data("examine", model, images, labels)
    smoothing = check_range("examine", "label_smoothing", label_smoothing, high=1)
    if state is not None and state.model is not model:
        raise ValueError("examine: state is that of another model's training")
    batch = np.arange(len(images))
    tallies: dict[Place, Tally] = {(-1, ""): Tally(None)}
    with np.errstate(over="ignore", invalid="ignore"), ThreadPool("examine", 1) as workers:
        for shard in microbatches(batch):
            x = model.preprocess(images[shard])
            tallies[-1, ""].add(x)
            run(model.layers, x, RandomKey(seed, 0, shard), tallies)
        gradient_of = DataParallelGradient(
            model, images, labels, workers, seed=seed, label_smoothing=smoothing
        )
        found = gradient_of(batch)
        change = None if state is None else state.further_step(found.gradient)
        layers = _layers(model, tallies, found.gradient, change)
    factor = None if state is None else state.factor
    if all(np.isfinite(part).all() for part in found):
        warnings = warnings_of(layers, len(images), factor)
    else:
        warnings = (find_non_finite(model, gradient_of.shards(batch, 0), smoothing),)
    return Diagnosis(len(images), found.loss, factor, layers, warnings)


def _layers(
    model: Sequential,
    tallies: dict[Place, Tally],
    gradient: FloatArray,
    change: FloatArray | None,
) -> tuple[LayerDiagnosis, ...]:
    gradients = model.split(gradient)
    changes = None if change is None else model.split(change)
    found = []
    for (position, inside), tally in tallies.items():
        layer = tally.layer
        parameters = {}
        if layer is not None and not isinstance(layer, Container):
            for name, array in layer.parameters.items():
                full = f"{inside}.{name}" if inside else name
                step = None if changes is None else changes[position][full]
                parameters[name] = _parameter(array, gradients[position][full], step)
        found.append(
            LayerDiagnosis(
                position + 1,
                inside,
                _label(layer, model),
                tally.mean,
                tally.std,
                tally.zeros / tally.count,
                tally.constant,
                len(tally.silent),
                int(tally.silent.sum()) if isinstance(layer, ReLU) else None,
                parameters,
            )
        )
    return tuple(found)


def _parameter(
    array: FloatArray, gradient: FloatArray, change: FloatArray | None
) -> ParameterDiagnosis:
    scale = _rms(array)
    update = None
    if change is not None:
        moved = _rms(change)
        update = moved / scale if scale else (np.inf if moved else 0.0)
    return ParameterDiagnosis(array.ndim, scale, _rms(gradient), update)


def _rms(array: FloatArray) -> float:
    """Return the root mean square; in float64, whose squares neither overflow nor vanish."""
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def _label(layer: object, model: Sequential) -> str:
    if layer is None:
        return f"input {model.input_shape}"
    return type(layer).__name__ if isinstance(layer, Container) else repr(layer)
