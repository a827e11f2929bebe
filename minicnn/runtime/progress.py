"""Progress of a training: lines, and a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from tqdm import tqdm


def say(text: str) -> None:
    """Print and flush a line; a stream that fails ends no training."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    # No console (None), a closed stream, a closed pipe or a full disk.
    with suppress(AttributeError, ValueError, OSError):
        tqdm.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()  # stderr is not buffered: keeps the order of lines in one pipe


def progress_bar(total: int, title: str, shown: bool) -> tqdm[NoReturn]:
    """Return a bar, invisible unless stderr is a terminal."""
    # tqdm finds out whether it is one for None. There is no stderr without a console.
    hidden = None if shown and not getattr(sys.stderr, "closed", True) else True
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    return tqdm(total=total, desc=title, leave=False, disable=hidden, bar_format=form)


def epoch_text(epoch: str, metrics: Mapping[str, float], started: float, *, head: bool) -> str:
    """Return the line of an epoch, at most 79 columns; with `head` two."""
    values = [f"{value:.4f}" if value < 1000 else f"{value:.3e}" for value in metrics.values()]
    names = ["epoch", *metrics, "time"]
    rows = [names, [epoch, *values, f"{time.perf_counter() - started:.1f} s"]][not head :]
    widths = [max(len(name), 9) for name in names]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)
