"""A pool of threads, in which the calling thread works too.

NumPy and the kernels release the GIL while they compute, so threads are enough. The calling thread
takes part because waking one thread less counts in a batch of a few milliseconds.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar, cast

from minicnn.shapes.checks import positive_int

Item = TypeVar("Item")
Result = TypeVar("Result")


def cpu_count() -> int:
    """Return the number of usable cores: the default number of threads.

    Returns
    -------
    int
    """
    affinity = getattr(os, "sched_getaffinity", None)  # missing on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class ThreadPool:
    """A pool of threads, which end with the process.

    Several threads may call `map` together, and a call of `map` may contain another: no call waits
    for a busy thread, and the calling thread can process all items alone.

    Parameters
    ----------
    threads : int, optional
        Number of threads, including the calling one; one per usable core by default.

    Raises
    ------
    TypeError, ValueError
        If `threads` is not an integer of at least 1.
    """

    def __init__(self, threads: int | None = None) -> None:
        count = cpu_count() if threads is None else threads
        self.threads = positive_int("ThreadPool", "threads", count)
        self._helpers = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Call a function for each item; a free thread takes the next one.

        Parameters
        ----------
        function : callable
        items : sequence

        Returns
        -------
        list
            The results, in the order of the items.
        """
        helpers = min(self.threads, len(items)) - 1
        if self._helpers is None or helpers < 1:
            return [function(item) for item in items]
        pending: Iterator[tuple[int, Item]] = iter(enumerate(items))
        lock = threading.Lock()
        results: dict[int, Result] = {}

        futures: list[Future[None]] = []

        def work(number: int) -> None:
            while True:
                with lock:
                    # Without a future: a submit that failed may leave its work in the queue.
                    index, item = next(pending, (-1, None)) if number < len(futures) else (-1, None)
                if index < 0:
                    return
                results[index] = function(cast(Item, item))

        try:
            # The system can refuse another thread, and after the main thread's end none starts.
            # Then the calling thread and the helpers so far do the work.
            with lock, suppress(RuntimeError):
                futures.extend(self._helpers.submit(work, number) for number in range(helpers))
            work(-1)
        finally:
            with lock:  # after an error no thread begins another item
                pending = iter(())
            started = [future for future in futures if not future.cancel()]
            for future in started:
                future.exception()  # blocks until the thread has finished
        for future in started:
            future.result()
        return [results[index] for index in range(len(items))]


# Lasting, because making a thread takes as long as reading some images.
shared_pool = lru_cache(maxsize=16, typed=True)(ThreadPool)
