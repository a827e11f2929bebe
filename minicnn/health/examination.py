"""One batch through a network, to see what each layer does with it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import shapes
from minicnn.classifier import check_model
from minicnn.evaluation import check_data
from minicnn.health.activations import Place, Tally, run
from minicnn.health.advice import warnings_of
from minicnn.health.non_finite import find_non_finite
from minicnn.health.report import HealthReport, LayerHealth, ParameterHealth
from minicnn.layers import Container, ReLU
from minicnn.model import Sequential
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray, IntArray
from minicnn.shards import BatchGradient, shards_of
from minicnn.state import TrainingState
from minicnn.workers import Workers


def examine(
    model: Sequential,
    images: NDArray[Any],
    labels: IntArray,
    *,
    state: TrainingState | None = None,
    label_smoothing: float = 0.0,
    seed: int = 0,
) -> HealthReport:
    """Examine a network on one batch, as training would see it, without changing anything.

    Forward is that of training: in shards of up to 32 images, so that a `BatchNorm` normalises by
    them, with what is random in training; but layer by layer, while training computes some
    neighbours as one, which may round in another way. The gradient is that of a training step. The
    update is measured by a further step: the optimiser takes it on copies of weights and of itself,
    with this batch's gradient and the learning rate of its last step.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        As in `Sequential.prepare`; 100 or more, of all classes, make the numbers worth reading.
    labels : ndarray of int (N,)
    state : TrainingState, optional
        Of the model's training: what `minicnn.fit` hands to `after_epoch`. Without it no update is
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
    smoothing = shapes.number_in("examine", "label_smoothing", label_smoothing, high=1)
    if state is not None and state.model is not model:
        raise ValueError("examine: state is that of another model's training")
    batch = np.arange(len(images))
    tallies: dict[Place, Tally] = {(-1, ""): Tally(None)}
    with np.errstate(over="ignore", invalid="ignore"), Workers("examine", 1) as workers:
        for shard in shards_of(batch):
            x = model.prepare(images[shard])
            tallies[-1, ""].add(x)
            run(model.layers, x, Draws(seed, 0, shard), tallies)
        gradient_of = BatchGradient(
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
    return HealthReport(len(images), found.loss, factor, layers, warnings)


def _layers(
    model: Sequential,
    tallies: dict[Place, Tally],
    gradient: FloatArray,
    change: FloatArray | None,
) -> tuple[LayerHealth, ...]:
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
            LayerHealth(
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
) -> ParameterHealth:
    scale = _rms(array)
    update = None
    if change is not None:
        moved = _rms(change)
        update = moved / scale if scale else (np.inf if moved else 0.0)
    return ParameterHealth(array.ndim, scale, _rms(gradient), update)


def _rms(array: FloatArray) -> float:
    """Return the root mean square; in float64, whose squares neither overflow nor vanish."""
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def _label(layer: object, model: Sequential) -> str:
    if layer is None:
        return f"input {model.input_shape}"
    return type(layer).__name__ if isinstance(layer, Container) else repr(layer)
