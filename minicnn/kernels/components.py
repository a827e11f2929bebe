"""Which pieces of ink belong together: runs of ink pixels, joined from row to row."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel

Indices = NDArray[np.int64]


@device_function
def _first_of(parent: Indices, run: int) -> int:
    """Follow the parents of a run to the first run of its component."""
    while parent[run] != run:
        run = parent[run]
    return run


@kernel
def join_runs(row: Indices, start: Indices, stop: Indices, parent: Indices) -> None:
    """Give every run of ink the first run of its component: union-find over runs.

    Two runs touch if they lie in neighboring rows and share a column or a corner. The loop nest is
    run, touching run of the row above. Both rows are walked from left to right, so no pair is
    looked for twice; and of two components that meet, the one that began earlier stays.

    Parameters
    ----------
    row, start, stop : ndarray of int64 (runs,)
        Columns ``start .. stop - 1`` of `row` are ink; in reading order.
    parent : ndarray of int64 (runs,)
        Overwritten: the number of the first run of the same component.
    """
    above = 0
    for run in range(len(row)):
        parent[run] = run
        while above < run and (
            row[above] < row[run] - 1 or (row[above] == row[run] - 1 and stop[above] < start[run])
        ):
            above += 1
        other = above
        while row[other] == row[run] - 1 and start[other] <= stop[run]:
            a, b = _first_of(parent, run), _first_of(parent, other)
            parent[max(a, b)] = min(a, b)
            other += 1
    for run in range(len(row)):
        parent[run] = parent[parent[run]]  # a parent comes first, so it has been resolved
