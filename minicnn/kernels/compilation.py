"""How kernels are compiled: once, cached on disk, and announced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, cast

import numba
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., None])

# Numba compiles a cached function anew when its own file has changed, but does not see a change in
# another file that it calls into. So the hash of all kernels' sources is made part of the name
# under which each is cached.
_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
_VERSION = sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:12]


def kernel(function: Function) -> Function:
    """Make a kernel: compiled at its first call, cached on disk, without the GIL.

    The flag ``contract`` lets a multiplication and an addition become one instruction; no other
    liberty is taken with the arithmetic, least of all with NaN and infinity.

    Parameters
    ----------
    function : callable
        Writes its results into arrays that it is given.

    Returns
    -------
    callable
    """
    function.__qualname__ += f"_{_VERSION}"
    # error_model: a division by zero gives infinity as in NumPy; to look for one each time, as
    # Python does, would keep the compiler from using vectors.
    compile_later = numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
    return cast(Function, compile_later(function))


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
