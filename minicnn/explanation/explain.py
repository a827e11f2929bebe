"""`explain`: an image through a network layer by layer, and with a label a whole training step."""

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
from minicnn.shapes import FloatArray
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
    """Say what a model makes of one image, in every number; with a label how it would learn of it.

    The image goes through layer by layer as in use: dropout drops nothing, and a batch norm takes
    its running mean and variance, in the gradients too. Where the model computes several layers at
    once, the numbers between them are made here. The model stays as it is, and so does the trace
    when the model changes.

    Parameters
    ----------
    model : Sequential
    image : ndarray (H, W, C); without C where the model has one channel
        uint8 (0 to 255), or float (0 to 1).
    label : int, optional
        The true class: the trace then has the loss, all gradients, and the optimizer's step.
    optimizer : object with a ``step``, optional
        `Adam()` where left out. It stays as it is: a copy takes the step.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.

    Returns
    -------
    Trace

    Raises
    ------
    TypeError
        If the model is something else, or image or label have the wrong type.
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
        raise ValueError(f"explain: give one image, not {len(batch)}: images[0], say")
    if label is None and (optimizer is not None or label_smoothing):
        raise ValueError("explain: optimizer and label_smoothing need a label to learn from")
    twin = deepcopy(model)
    steps = forward(twin.layers, twin.preprocess(batch))
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
    twin: Sequential,
    labels: NDArray[np.integer[Any]],
    optimizer: Optimizer,
    label_smoothing: float,
) -> None:
    """Take a training step on the image and write it into the trace; it is `twin` that learns."""
    loss, cache = softmax_cross_entropy(trace.logits[None], labels, label_smoothing=label_smoothing)
    backward(trace.steps, softmax_cross_entropy_backward(1.0, cache))
    gradient = np.empty_like(twin.parameters)
    for step, views in _by_layer(trace.steps, twin.unflatten(gradient)):
        for name, view in views.items():
            view[...] = step.gradients[name]
    optimizer.step(twin.parameters, gradient, 1.0, decay_mask(twin))
    for step, views in _by_layer(trace.steps, twin.unflatten(twin.parameters)):
        step.updated = views
        step.moments = {name: {} for name in views}
    state = optimizer.state_dict(twin.parameters) if isinstance(optimizer, Resumable) else {}
    for key, vector in state.items():
        if vector.shape == twin.parameters.shape:  # not the number of steps
            for step, views in _by_layer(trace.steps, twin.unflatten(vector)):
                for name, view in views.items():
                    step.moments[name][key] = view
    after = forward(twin.layers, twin.preprocess(trace.image))[-1].y[None]
    loss_after, _ = softmax_cross_entropy(after, labels, label_smoothing=label_smoothing)
    trace.label, trace.optimizer = int(labels[0]), optimizer
    trace.loss, trace.loss_after = float(loss), float(loss_after)


def _by_layer(
    steps: Sequence[LayerStep], layers: Sequence[dict[str, FloatArray]]
) -> Iterator[tuple[LayerStep, dict[str, FloatArray]]]:
    """Yield each layer with weights of its own, inside containers too, and its arrays by name."""
    for outer, arrays in zip(steps, layers, strict=True):
        for step in outer.inside():
            if not step.branches:
                place = "".join(f"{part}." for part in step.number.split(".")[1:])
                yield step, {name: arrays[f"{place}{name}"] for name in step.layer.parameters}
