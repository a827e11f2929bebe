"""The report on the health of a network.

When a number of the examination is unusual, and what to do about it, in words.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minicnn._table import lay_out


class ParameterDiagnosis(NamedTuple):
    """One array that is learned.

    `axes` is how many it has, `scale` the root mean square of its numbers, `gradient` that of the
    gradient, and `update` what one step of the optimizer changes beside what is there,
    ``‖Δw‖ / ‖w‖``: infinity where w is all 0, None where no optimizer was given.
    """

    axes: int
    scale: float
    gradient: float
    update: float | None


class LayerDiagnosis(NamedTuple):
    """What a layer gave for the images of the examination, and what becomes of its parameters.

    `position` is the layer's number in the model, from 1; 0 stands for the images as the first
    layer gets them. `inside` is its place in a container there, such as ``shortcut.0``, or empty.
    `mean` and `std` are those of all numbers that it gave, `zeros` the share that was 0, and
    `constant` says whether all images gave the same. `units` is how many channels or units it has;
    `dead`, of a ReLU, how many of them were 0 for every image and at every place of it, None of
    other layers. `parameters` are by name; those of a container stand at the layers inside.
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
        """The layer as a sentence names it."""
        if self.position == 0:
            return "the input"
        within = f"{self.inside} inside " if self.inside else ""
        return f"{within}layer {self.position} ({self.layer})"

    @property
    def weight(self) -> ParameterDiagnosis | None:
        """The parameter with the most axes, which is the weight where there is one."""
        return max(self.parameters.values(), key=lambda p: p.axes, default=None)


class Diagnosis(NamedTuple):
    """What an examination has found; ``str(report)`` is a table, and below it what to look at.

    `images` is how many were looked at, `loss` their mean loss, `factor` what the schedule
    multiplied the learning rate of the step by, None where no optimizer was given. `layers` begin
    with the input. `warnings` are sentences, in the order of the layers, and none where nothing is
    unusual.
    """

    images: int
    loss: float
    factor: float | None
    layers: tuple[LayerDiagnosis, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        heading = ("", "Layer", "Mean", "Std", "Zeros", "Dead", "Gradient", "Update/weight")
        table = lay_out([heading, *map(_row, self.layers)], "><>>>>>>")
        loss = f"Loss {self.loss:.4f} on {self.images} images; gradient and update are the weight's"
        step = "" if self.factor is None else f", at {self.factor:.3g} × the learning rate"
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
        "" if weight is None else f"{weight.gradient:.1e}",
        "" if weight is None or weight.update is None else f"{weight.update:.1e}",
    )


# A step usually changes a weight by about a thousandth of it (Karpathy, Li, Johnson, CS231n notes,
# "Neural networks part 3: ratio of weights:updates", 2016). A hundred times more or less is worth
# a word; less is not, since Adam's first steps and a batch norm behind a weight make ten times more
# usual. (Behind a norm only the direction of a weight counts, not its size.)
USUAL_UPDATE = 1e-3
UPDATES = (USUAL_UPDATE / 100, USUAL_UPDATE * 100)
# First weights by He and batch norm both keep a layer's numbers at a scale of about 1. A hundred
# times more or less, and what follows starts far from where its own first weights are made for.
SCALES = (0.01, 100.0)
# The CS231n notes ("Neural networks part 1: commonly used activation functions") tell of 40 % of a
# network dead after a learning rate that was too high. Fewer may be well: on MNIST, networks
# without batch norm that Adam trains to 96 % at its usual rate have up to 37 % of the units of a
# dense layer silent on 128 images, and no channel of a convolution; at 20 times that rate it is
# 94 % of the channels.
DEAD = 0.4


def warnings_of(
    layers: Sequence[LayerDiagnosis], images: int, factor: float | None
) -> tuple[str, ...]:
    """Say what is unusual.

    Parameters
    ----------
    layers : sequence of LayerHealth
        All numbers finite.
    images : int
        How many were looked at.
    factor : float, or None
        Of the step's learning rate. Small steps are asked for where it is small, so too small is
        what would be too small at a factor of 1.

    Returns
    -------
    tuple of str
        A sentence or two each, most telling first.
    """
    found = [_constant(layers, images), _scale(layers)]
    found += [_dead(layer, images) for layer in layers]
    found += [_no_gradient(layers), _too_large(layers)]
    if factor:
        found.append(_too_small(layers, factor))
    return tuple(warning for warning in found if warning)


def _constant(layers: Sequence[LayerDiagnosis], images: int) -> str | None:
    """Name the first layer whose output says nothing of the image: what follows inherits it."""
    first = next((layer for layer in layers if layer.constant), None)
    if images == 1 or first is None:
        return None
    cause = (
        "Are all images alike?"
        if first.position == 0
        else "Are its weights all 0, or is every unit before it dead?"
    )
    return (
        f"{first.name} is the same for all {images} images, so nothing behind it can tell them "
        f"apart. {cause}"
    )


def _scale(layers: Sequence[LayerDiagnosis]) -> str | None:
    """Name the first layer out of scale: what follows inherits it."""
    low, high = SCALES
    for layer in layers:
        if layer.std > high or (layer.std < low and not layer.constant):
            size = "large" if layer.std > high else "small"
            cause = (
                "Pixels should become numbers of about 0 to 1, or -1 to 1: look at input_std."
                if layer.position == 0
                else f"Is its input scaled, or are its first weights too {size}? A BatchNorm "
                f"behind it brings any scale to 1."
            )
            return f"{layer.name} has a standard deviation of {layer.std:.2g}, usual is 1. {cause}"
    return None


def _dead(layer: LayerDiagnosis, images: int) -> str | None:
    if layer.dead is None or layer.dead < DEAD * layer.units:
        return None
    return (
        f"{layer.name}: {layer.dead} of {layer.units} units are 0 for all {images} images. What "
        f"answers nothing learns nothing. Usually the learning rate was too high: begin anew with "
        f"a tenth of it, or put a BatchNorm before the ReLU."
    )


def _no_gradient(layers: Sequence[LayerDiagnosis]) -> str | None:
    found = [
        f"the {name} of {layer.name}"
        for layer in layers
        for name, parameter in layer.parameters.items()
        if parameter.gradient == 0
    ]
    if not found:
        return None
    return (
        f"No gradient at all reaches {_list(found)}: what is behind passes nothing back, so there "
        f"is nothing to learn from."
    )


def _weights(layers: Sequence[LayerDiagnosis]) -> list[tuple[str, ParameterDiagnosis, float]]:
    """Return the weights with an update; biases and norms start at 0 or 1, and say little."""
    return [
        (layer.name, weight, weight.update)
        for layer in layers
        if (weight := layer.weight) and weight.axes > 1 and weight.update is not None
    ]


def _too_large(layers: Sequence[LayerDiagnosis]) -> str | None:
    _, high = UPDATES
    found = [
        f"that of {name} by {update:.0%}" if np.isfinite(update) else f"that of {name}, now 0"
        for name, _, update in _weights(layers)
        if update > high
    ]
    if not found:
        return None
    return (
        f"One step changes weights by more than {high:.0%}: {_list(found)}. The usual "
        f"change is about {USUAL_UPDATE:.1%}: the learning rate is too high, or the weights are "
        f"too small."
    )


def _too_small(layers: Sequence[LayerDiagnosis], factor: float) -> str | None:
    low, _ = UPDATES
    found = [
        name
        for name, weight, update in _weights(layers)
        if update / factor < low and weight.gradient > 0
    ]
    if not found:
        return None
    return (
        f"Even at the full learning rate one step changes the weight of {_list(found)} by less "
        f"than {low:.3%}; the usual change is about {USUAL_UPDATE:.1%}: the learning rate is too "
        f"low, or hardly any gradient gets there."
    )


def _list(names: Sequence[str], most: int = 3) -> str:
    """Join names; where there are many the first ones and how many more."""
    shown, more = names[:most], len(names) - most
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
