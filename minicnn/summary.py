"""The table that `Sequential.summary` gives."""

from collections.abc import Sequence

from minicnn.layers import Layer, Step
from minicnn.shapes import Shape
from minicnn.tables import Table, lay_out


def summarise(layers: Sequence[Layer], shapes: Sequence[Shape], steps: Sequence[Step]) -> Table:
    """Lay out layer, output shape, parameters and multiply-adds of one image, and the totals.

    Parameters
    ----------
    layers : sequence of Layer
    shapes : sequence of tuple of int
        The shape before the first layer and after each.
    steps : sequence of Step
        What is computed as one; a bracket shows it.

    Returns
    -------
    str
    """
    brackets = [""] * len(layers)
    for step in steps:
        if step.length > 1:
            last = step.first + step.length - 1
            brackets[step.first : last + 1] = ["┐", *"│" * (step.length - 2), "┘ one kernel"]
    rows = [("", "Layer", "Output shape", "Parameters", "Multiply-adds", "")]
    parameters = multiply_adds = 0
    for position, layer in enumerate(layers):
        size = sum(array.size for array in layer.parameters.values())
        work = layer.multiply_adds(shapes[position])
        name, shape = str(layer), str(shapes[position + 1])
        rows.append((str(position + 1), name, shape, f"{size:,}", f"{work:,}", brackets[position]))
        parameters += size
        multiply_adds += work
    total = ("", "Total", "", f"{parameters:,}", f"{multiply_adds:,}", "")
    return lay_out(rows, "><<>><", footer=[total])
