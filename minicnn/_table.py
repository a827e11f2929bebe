"""Tables as text: what `Sequential.summary` and the reports show."""

from collections.abc import Sequence


class Table(str):
    """A text that also shows as one, line by line, where an interpreter displays it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def lay_out(
    rows: Sequence[Sequence[str]], alignment: str, footer: Sequence[Sequence[str]] = ()
) -> Table:
    """Put cells into columns, with a rule under the first row and one above the footer.

    Parameters
    ----------
    rows : sequence of sequence of str
        The heading, then the cells of each line.
    alignment : str
        ``<`` or ``>`` for each column.
    footer : sequence of sequence of str
        Lines that sum up.

    Returns
    -------
    Table
        Rules are as long as the heading.
    """
    every = [*rows, *footer]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    lines = [
        "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, alignment, widths, strict=True)
        ).rstrip()
        for row in every
    ]
    rule = "-" * len(lines[0])
    lines.insert(1, rule)
    if footer:
        lines.insert(len(rows) + 1, rule)
    return Table("\n".join(lines))
