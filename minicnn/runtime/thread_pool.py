"""The threads that share a job: this one and some others.

NumPy and the kernels let go of the interpreter while they compute, so threads are enough. The
calling thread works too: to wake one thread less for each batch of a few milliseconds counts.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from types import TracebackType
from typing import TypeVar, cast

from minicnn.shapes.checks import positive_int

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def cpu_count() -> int:
    """Return how many cores this process may use: the default number of threads.

    Returns
    -------
    int
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@lru_cache(maxsize=16, typed=True)
def shared_pool(op: str, threads: int | None = None) -> "ThreadPool":
    """Return workers that stay for whoever asks for the same.

    To make a thread takes as long as to read some images.

    Parameters
    ----------
    op : str
        Name of the function that wants them, for the message.
    threads : int, optional
        As in `ThreadPool`.

    Returns
    -------
    Workers

    Raises
    ------
    TypeError, ValueError
        As `ThreadPool`.
    """
    return ThreadPool(op, threads)


class ThreadPool:
    """Threads, to be used in a ``with`` block.

    Several may be at work at once, one inside another too: a thread that is not free is not waited
    for, and the one that calls can do all pieces by itself.

    Parameters
    ----------
    op : str
        Name of the function that wants them, for the message.
    threads : int, optional
        How many, the calling one included; one for each usable core where left out.

    Raises
    ------
    TypeError, ValueError
        If `threads` is no whole number of at least 1.
    """

    def __init__(self, op: str, threads: int | None = None) -> None:
        count = cpu_count() if threads is None else threads
        self.threads = positive_int(op, "threads", count)
        self._others = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def __enter__(self) -> "ThreadPool":
        """Return the workers themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the threads end."""
        if self._others:
            self._others.shutdown()

    def map(self, function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
        """Call a function for each piece; whoever is free takes the next.

        Parameters
        ----------
        function : callable
        pieces : sequence

        Returns
        -------
        list
            The results, in the order of the pieces.
        """
        helpers = min(self.threads, len(pieces)) - 1
        if self._others is None or helpers < 1:
            return [function(piece) for piece in pieces]
        waiting: Iterator[tuple[int, Piece]] = iter(enumerate(pieces))
        one_at_a_time = threading.Lock()
        results: dict[int, Result] = {}

        def work() -> None:
            while True:
                with one_at_a_time:
                    number, piece = next(waiting, (-1, None))
                if number < 0:
                    return
                results[number] = function(cast(Piece, piece))

        futures: list[Future[None]] = []
        try:
            futures = [self._others.submit(work) for _ in range(helpers)]
            work()
        finally:
            with one_at_a_time:  # after an error nobody begins another piece
                waiting = iter(())
            begun = [future for future in futures if not future.cancel()]
            for future in begun:
                future.exception()  # waits for its end
        for future in begun:
            future.result()
        return [results[number] for number in range(len(pieces))]
