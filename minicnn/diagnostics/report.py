"""The report of a diagnosis: its table, and warnings with advice."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minicnn._table import lay_out


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
    warnings = [_constant(layers, images), _scale(layers)]
    warnings += [_dead(layer, images) for layer in layers]
    warnings += [_no_gradient(layers), _too_large(layers)]
    if lr_scale:
        warnings.append(_too_small(layers, lr_scale))
    return tuple(warning for warning in warnings if warning)


def _constant(layers: Sequence[LayerDiagnosis], images: int) -> str | None:
    """Name the first layer with one output for all images."""
    first = next((layer for layer in layers if layer.constant), None)
    if images == 1 or first is None:
        return None
    cause = (
        "Are all images the same?"
        if first.position == 0
        else "Are its weights all 0, or is every unit before it dead?"
    )
    return (
        f"{first.name} is the same for all {images} images, so no later layer can distinguish "
        f"them. {cause}"
    )


def _scale(layers: Sequence[LayerDiagnosis]) -> str | None:
    """Name the first layer with an unusual scale; later layers inherit it."""
    low, high = SCALES
    for layer in layers:
        if layer.std > high or (layer.std < low and not layer.constant):
            size = "large" if layer.std > high else "small"
            cause = (
                "Scale pixels to about 0 to 1, or -1 to 1: check input_std."
                if layer.position == 0
                else f"Is its input scaled, or are its initial weights too {size}? A BatchNorm "
                f"after it brings any scale to 1."
            )
            return f"{layer.name} has a standard deviation of {layer.std:.2g}, usual is 1. {cause}"
    return None


def _dead(layer: LayerDiagnosis, images: int) -> str | None:
    """Warn if a large share of the units of a ReLU is dead."""
    if layer.dead is None or layer.dead < DEAD * layer.units:
        return None
    return (
        f"{layer.name}: {layer.dead} of {layer.units} units are 0 for all {images} images. Dead "
        f"units learn nothing. Usually the learning rate was too high: train again with a tenth of "
        f"it, or put a BatchNorm before the ReLU."
    )


def _no_gradient(layers: Sequence[LayerDiagnosis]) -> str | None:
    """Name the parameters with a gradient of 0."""
    names = [
        f"the {name} of {layer.name}"
        for layer in layers
        for name, parameter in layer.parameters.items()
        if parameter.gradient_rms == 0
    ]
    if not names:
        return None
    return (
        f"No gradient at all reaches {_list(names)}: the layers after it pass none back, so it "
        f"learns nothing."
    )


def _weights(layers: Sequence[LayerDiagnosis]) -> list[tuple[str, ParameterDiagnosis, float]]:
    """Return the weights and their updates, without biases and norms.

    Biases and norms start at 0 or 1, so the ratio of their update says little.
    """
    return [
        (layer.name, weight, weight.update_ratio)
        for layer in layers
        if (weight := layer.weight) and weight.ndim > 1 and weight.update_ratio is not None
    ]


def _too_large(layers: Sequence[LayerDiagnosis]) -> str | None:
    """Name the weights that one step changes too much."""
    _, high = UPDATES
    changes = [
        f"that of {name} by {ratio:.0%}" if np.isfinite(ratio) else f"that of {name}, now 0"
        for name, _, ratio in _weights(layers)
        if ratio > high
    ]
    if not changes:
        return None
    return (
        f"One step changes weights by more than {high:.0%}: {_list(changes)}. The usual "
        f"change is about {USUAL_UPDATE:.1%}: the learning rate is too high, or the weights are "
        f"too small."
    )


def _too_small(layers: Sequence[LayerDiagnosis], lr_scale: float) -> str | None:
    """Name the weights that one step changes too little."""
    low, _ = UPDATES
    names = [
        name
        for name, weight, ratio in _weights(layers)
        if ratio / lr_scale < low and weight.gradient_rms > 0
    ]
    if not names:
        return None
    return (
        f"Even at the full learning rate one step changes the weight of {_list(names)} by less "
        f"than {low:.3%}; the usual change is about {USUAL_UPDATE:.1%}: the learning rate is too "
        f"low, or hardly any gradient reaches it."
    )


def _list(names: Sequence[str], limit: int = 3) -> str:
    """Join the first names, and count the remaining ones."""
    shown, more = names[:limit], len(names) - limit
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
