"""The table that `Sequential.summary` gives."""

from collections.abc import Iterator

from minicnn._table import Table, lay_out
from minicnn.layers.container import Container
from minicnn.layers.fusion import FusedSequence
from minicnn.shapes import Shape

Row = tuple[str, ...]


def summarize(chain: FusedSequence, input_shape: Shape) -> Table:
    """Lay out layer, output shape, parameters and multiply-adds of one image, and the totals.

    What is inside a container is indented below it. A bracket shows what is computed as one.

    Parameters
    ----------
    chain : Chain
    input_shape : tuple of int
        ``(H, W, C)``.

    Returns
    -------
    str
    """
    rows = [("", "Layer", "Output shape", "Parameters", "Multiply-adds", "")]
    parameters = macs = 0
    shape = input_shape
    for layer in chain.layers:
        parameters += sum(array.size for array in layer.parameters.values())
        macs += layer.macs(shape)
        shape = layer.output_shape(shape)
    total = ("", "Total", "", f"{parameters:,}", f"{macs:,}", "")
    return lay_out([*rows, *_rows(chain, input_shape)], "><<>><", footer=[total])


def _rows(chain: FusedSequence, shape: Shape, indent: str = "") -> Iterator[Row]:
    brackets = [""] * len(chain.layers)
    for step in chain.steps:
        if step.length > 1:
            last = step.first + step.length - 1
            brackets[step.first : last + 1] = ["┐", *"│" * (step.length - 2), "┘ one kernel"]
    for position, (layer, bracket) in enumerate(zip(chain.layers, brackets, strict=True)):
        number = "" if indent else str(position + 1)
        after = layer.output_shape(shape)
        if isinstance(layer, Container):
            yield number, f"{indent}{type(layer).__name__}", str(after), "", "", ""
            for prefix, inner in layer.chains.items():
                if prefix:
                    what = "" if inner.layers else " its input"
                    yield "", f"{indent}  {prefix.rstrip('.')}:{what}", "", "", "", ""
                yield from _rows(inner, shape, f"{indent}    ")
        else:
            size = sum(array.size for array in layer.parameters.values())
            work = layer.macs(shape)
            yield number, f"{indent}{layer}", str(after), f"{size:,}", f"{work:,}", bracket
        shape = after
