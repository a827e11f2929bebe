"""The table of `Sequential.summary`."""

from collections.abc import Iterator

from minicnn.layers.container import Container
from minicnn.layers.fusion import FusedSequence
from minicnn.shapes import Shape
from minicnn.table import Table, lay_out, wrap

Row = tuple[str, ...]


def summarize(sequence: FusedSequence, input_shape: Shape) -> Table:
    """Tabulate layers, output shapes, parameters and multiply-adds.

    Multiply-adds are those of one image. Layers inside a container are indented. A bracket marks
    layers that run as one kernel.
    """
    rows = [("", "Layer", "Output shape", "Parameters", "Multiply-adds", "")]
    parameters = macs = 0
    shape = input_shape
    for layer in sequence.layers:
        parameters += sum(array.size for array in layer.parameters.values())
        macs += layer.macs(shape)
        shape = layer.output_shape(shape)
    total = ("", "Total", "", f"{parameters:,}", f"{macs:,}", "")
    table = lay_out([*rows, *_rows(sequence, input_shape)], "><<>><", footer=[total])
    return Table(f"{table}\n    ┐┘ run as one kernel") if "┘" in table else table


def _rows(sequence: FusedSequence, shape: Shape, indent: str = "") -> Iterator[Row]:
    """Yield one row for each layer, and those of the layers inside containers."""
    brackets: list[str] = []
    for step in sequence.steps:
        fused = ["┐", *"│" * (step.length - 2), "┘"]
        brackets += fused if step.length > 1 else [""]
    for position, (layer, bracket) in enumerate(zip(sequence.layers, brackets, strict=True)):
        number = "" if indent else str(position + 1)
        after = layer.output_shape(shape)
        if isinstance(layer, Container):
            yield number, f"{indent}{type(layer).__name__}", str(after), "", "", ""
            for prefix, branch in layer.sequences.items():
                if prefix:
                    note = "" if branch.layers else " its input"
                    yield "", f"{indent}  {prefix.rstrip('.')}:{note}", "", "", "", ""
                yield from _rows(branch, shape, f"{indent}    ")
        else:
            size = sum(array.size for array in layer.parameters.values())
            macs = layer.macs(shape)
            yield number, wrap(str(layer), indent), str(after), f"{size:,}", f"{macs:,}", bracket
        shape = after
