"""The table that `Sequential.summary` gives."""

from collections.abc import Sequence

from minicnn.layers import Layer
from minicnn.shapes import Shape


class Summary(str):
    """A text that also shows as one, line by line, where an interpreter displays it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def summarise(layers: Sequence[Layer], shapes: Sequence[Shape]) -> Summary:
    """Lay out layer, output shape, parameters and multiply-adds of one image, and the totals.

    Parameters
    ----------
    layers : sequence of Layer
    shapes : sequence of tuple of int
        The shape before the first layer and after each.

    Returns
    -------
    str
    """
    rows = [("", "Layer", "Output shape", "Parameters", "Multiply-adds")]
    parameters = multiply_adds = 0
    for position, layer in enumerate(layers):
        size = sum(array.size for array in layer.parameters.values())
        work = layer.multiply_adds(shapes[position])
        name, shape = str(layer), str(shapes[position + 1])
        rows.append((str(position + 1), name, shape, f"{size:,}", f"{work:,}"))
        parameters += size
        multiply_adds += work
    rows.append(("", "Total", "", f"{parameters:,}", f"{multiply_adds:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    alignment = "><<>>"
    lines = [
        "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, alignment, widths, strict=True)
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return Summary("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]))
