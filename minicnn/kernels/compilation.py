"""Say so when a kernel has to be compiled, so that a first run is not a silent wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event


class _FirstCompilation(event.Listener):
    """Calls `say` once, when the first of our kernels starts to compile."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._said = False

    def on_start(self, event: event.Event) -> None:
        if not self._said:
            self._said = True
            self._say(
                "Compiling the kernels for this machine (some seconds, once; later runs load "
                "them from Numba's cache) ..."
            )

    def on_end(self, event: event.Event) -> None:
        """Nothing to do: Numba asks for both ends."""


@contextmanager
def announce_compilation(say: Callable[[str], object]) -> Iterator[None]:
    """Call `say` with one sentence if a kernel is compiled inside the ``with`` block.

    A kernel that is loaded from Numba's cache takes milliseconds and is not announced.

    Parameters
    ----------
    say : callable
        Takes the sentence; ``print`` will do.
    """
    with event.install_listener("numba:compile", _FirstCompilation(say)):
        yield
