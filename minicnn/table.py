"""Tables as text, for `Sequential.summary` and the reports."""

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import fill

WRAP_WIDTH = 30  # keeps the summaries of usual networks within 80 columns


class Table(str):
    """A string that an interpreter displays line by line, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def wrap(text: str, indent: str) -> str:
    """Indent a text and break it into lines of one cell."""
    width = max(WRAP_WIDTH, len(indent) + 12)
    return fill(text, width, initial_indent=indent, subsequent_indent=f"{indent}  ")


def lay_out(
    rows: Sequence[Sequence[str]], alignment: str, footer: Sequence[Sequence[str]] = ()
) -> Table:
    """Align cells in columns, a rule below the heading and above a footer.

    Parameters
    ----------
    rows : sequence of sequence of str
        The heading, then the cells of each line. A cell may have several lines.
    alignment : str
        ``<`` or ``>`` for each column.
    footer : sequence of sequence of str
        Lines of totals.

    Returns
    -------
    Table
    """
    cells = [[cell.split("\n") for cell in row] for row in [*rows, *footer]]
    every = [line for row in cells for line in zip_longest(*row, fillvalue="")]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    columns = zip(alignment, widths, strict=True)
    line = "  ".join(f"{{:{side}{width}}}" for side, width in columns)
    lines = [line.format(*row).rstrip() for row in every]
    rule = "-" * len(lines[0])
    lines.insert(1, rule)
    if footer:
        lines.insert(len(lines) - len(footer), rule)
    return Table("\n".join(lines))


def percent(share: float) -> str:
    """Format a share so that only 0 reads as 0 % and only 1 as 100 %.

    Parameters
    ----------
    share : float
        0 to 1.

    Returns
    -------
    str
    """
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"
