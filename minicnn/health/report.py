"""The report on the health of a network."""

from typing import NamedTuple

from minicnn.tables import lay_out


class ParameterHealth(NamedTuple):
    """One array that is learned.

    `axes` is how many it has, `scale` the root mean square of its numbers, `gradient` that of the
    gradient, and `update` what one step of the optimiser changes beside what is there,
    ``‖Δw‖ / ‖w‖``: infinity where w is all 0, None where no optimiser was given.
    """

    axes: int
    scale: float
    gradient: float
    update: float | None


class LayerHealth(NamedTuple):
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
    parameters: dict[str, ParameterHealth]

    @property
    def name(self) -> str:
        """The layer as a sentence names it."""
        if self.position == 0:
            return "the input"
        within = f"{self.inside} inside " if self.inside else ""
        return f"{within}layer {self.position} ({self.layer})"

    @property
    def weight(self) -> ParameterHealth | None:
        """The parameter with the most axes, which is the weight where there is one."""
        return max(self.parameters.values(), key=lambda p: p.axes, default=None)


class HealthReport(NamedTuple):
    """What an examination has found; ``str(report)`` is a table, and below it what to look at.

    `images` is how many were looked at, `loss` their mean loss, `factor` what the schedule
    multiplied the learning rate of the step by, None where no optimiser was given. `layers` begin
    with the input. `warnings` are sentences, in the order of the layers, and none where nothing is
    unusual.
    """

    images: int
    loss: float
    factor: float | None
    layers: tuple[LayerHealth, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        heading = ("", "Layer", "Mean", "Std", "Zeros", "Dead", "Gradient", "Update/weight")
        table = lay_out([heading, *map(_row, self.layers)], "><>>>>>>")
        loss = f"Loss {self.loss:.4f} on {self.images} images; gradient and update are the weight's"
        step = "" if self.factor is None else f", at {self.factor:.3g} × the learning rate"
        verdict = [f"WARNING: {warning}" for warning in self.warnings] or ["Nothing unusual."]
        return "\n".join([table, f"{loss}{step}.", *verdict])


def _row(layer: LayerHealth) -> tuple[str, ...]:
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
