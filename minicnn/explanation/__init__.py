"""Explain a network on one image: forward, backward and update."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.explanation.trace import LayerStep, Trace, backward, forward
from minicnn.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.model.classifier import check_model
from minicnn.model.sequential import Sequential
from minicnn.ops.activations import softmax
from minicnn.optim import Adam
from minicnn.shapes import Array
from minicnn.shapes.checks import as_batch, check_class_names, check_labels
from minicnn.train.state import Optimizer, Resumable, decay_mask


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
    batch, _ = as_batch("explain", image, model.input_shape)
    if len(batch) != 1:
        raise ValueError(f"explain: give one image, not {len(batch)}; for example images[0]")
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


def _learn(
    trace: Trace,
    copy: Sequential,
    labels: NDArray[np.integer[Any]],
    optimizer: Optimizer,
    label_smoothing: float,
) -> None:
    """Take a training step on a copy of the model, and add it to the trace."""
    loss, cache = softmax_cross_entropy(trace.logits[None], labels, label_smoothing=label_smoothing)
    backward(trace.steps, softmax_cross_entropy_backward(1.0, cache))
    gradient = np.empty_like(copy.parameters)
    for step, views in _by_layer(trace.steps, copy.unflatten(gradient)):
        for name, view in views.items():
            view[...] = step.gradients[name]
    optimizer.step(copy.parameters, gradient, 1.0, decay_mask(copy))
    for step, views in _by_layer(trace.steps, copy.unflatten(copy.parameters)):
        step.updated = views
        step.moments = {name: {} for name in views}
    state = optimizer.state_dict(copy.parameters) if isinstance(optimizer, Resumable) else {}
    for key, vector in state.items():
        if vector.shape == copy.parameters.shape:  # leaves out the step count
            for step, views in _by_layer(trace.steps, copy.unflatten(vector)):
                for name, view in views.items():
                    step.moments[name][key] = view
    after = forward(copy.layers, copy.preprocess(trace.image))[-1].y[None]
    loss_after, _ = softmax_cross_entropy(after, labels, label_smoothing=label_smoothing)
    trace.label, trace.optimizer = int(labels[0]), optimizer
    trace.loss, trace.loss_after = float(loss), float(loss_after)


def _by_layer(
    steps: Sequence[LayerStep], layers: Sequence[dict[str, Array]]
) -> Iterator[tuple[LayerStep, dict[str, Array]]]:
    """Yield each step of a layer with parameters, and its arrays by name."""
    for outer, arrays in zip(steps, layers, strict=True):
        for step in outer.iter_steps():
            if not step.branches:
                prefix = "".join(f"{part}." for part in step.number.split(".")[1:])
                yield step, {name: arrays[f"{prefix}{name}"] for name in step.layer.parameters}
