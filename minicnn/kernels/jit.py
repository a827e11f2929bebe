"""How kernels are compiled: once, cached on disk, and announced."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numba
from llvmlite import binding
from numba import config
from numba.core import event
from numba.core.caching import FunctionCache, NullCache
from numba.core.codegen import get_host_cpu_features
from numba.core.sigutils import normalize_signature

Function = TypeVar("Function", bound=Callable[..., None])
DeviceFunction = TypeVar("DeviceFunction", bound=Callable[..., Any])


def _version() -> str:
    """Return a hash of all that compiled kernels depend on besides Numba: sources and CPU."""
    package = Path(__file__).parents[1]
    sources = sorted(
        path for name in ("kernels", "augment") for path in (package / name).rglob("*.py")
    )
    settings = vars(config)  # in which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES arrive
    cpu = (
        settings["CPU_NAME"],
        settings["CPU_FEATURES"],
        binding.get_host_cpu_name(),
        get_host_cpu_features(),
    )
    return sha256(b"".join(path.read_bytes() for path in sources) + repr(cpu).encode()).hexdigest()


# Part of the name under which each kernel is cached. Numba by itself compiles a function anew when
# its own file has changed, but does not see a change in another file that it calls into. And while
# it does tell CPUs apart, two machines that share a folder and start at the same moment could
# overwrite each other's code: with names of their own they cannot.
_VERSION = _version()[:12]


# error_model: a division by zero gives infinity as in NumPy; to look for one each time, as Python
# does, would keep the compiler from using vectors.
# _nrt: kernels make no arrays. With Numba's reference counting, which they do not need, each array
# would be counted up and down in the innermost loops, and every vector register be saved and loaded
# around it: some kernels take twice as long.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "_nrt": False,
    "no_cfunc_wrapper": True,  # by which C would call it
}
# A piece is called by kernels alone: what Python would call it by need not be compiled.
_DEVICE_OPTIONS = _OPTIONS | {"forceinline": True, "no_cpython_wrapper": True}


class KernelCall(NamedTuple):
    """A call of a kernel: by whom, Numba's dispatcher, and with what."""

    dispatcher: Any
    arguments: tuple[Any, ...]


# By thread, where its calls of kernels are listed; see `minicnn.kernels.capture`.
active_captures: dict[int, list[KernelCall]] = {}
this_thread = threading.get_ident


class Kernel:
    """A compiled kernel: Numba's dispatcher, but for listing the calls of threads that ask for it.

    Parameters
    ----------
    dispatcher : Dispatcher
        It compiles for the types that it meets.
    """

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher = dispatcher
        update_wrapper(self, dispatcher.py_func)

    def __getattr__(self, name: str) -> Any:
        """Be the dispatcher in everything else: in other kernels' eyes too."""
        return getattr(self.dispatcher, name)

    def __call__(self, *arguments: Any) -> None:
        """Run the kernel."""
        self.dispatcher(*arguments)
        if active_captures and this_thread() in active_captures:
            active_captures[this_thread()].append(KernelCall(self.dispatcher, arguments))


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
    if vars(config)["DISABLE_JIT"]:
        return function
    compiled: Any = numba.njit(**_OPTIONS)(function)
    # This is what ``cache=True`` does, which has no way to hand over a cache of one's own.
    compiled._cache = _cache_for(function)
    return cast(Function, Kernel(compiled))


def device_function(function: DeviceFunction) -> DeviceFunction:
    """Make a piece of kernels: a function that the compiler puts in place wherever it is called.

    A piece that takes the lanes of a tile must be put there earlier, by Numba
    (``numba.njit(inline="always")``), which alone sees that they are a constant; that takes several
    times as long to compile.

    Parameters
    ----------
    function : callable

    Returns
    -------
    callable
    """
    return cast(DeviceFunction, numba.njit(**_DEVICE_OPTIONS)(function))


# ---------------------------------------------------------------- a cache that may fail


class _KernelCache(FunctionCache):
    """Numba's cache of one kernel, except that a failure costs time and stops nobody.

    Numba would raise: at a disk that is full, a folder that has become unwritable, a file that a
    crash of the machine has cut short.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        FunctionCache.__init__(self, function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel for a signature, or None: then it will be compiled."""
        damage: Exception | None = None
        try:
            found = FunctionCache.load_overload(self, sig, target_context)
            # Two processes that save different signatures in the same instant give both the same
            # file, so what is in a file may be the other one's.
            if found is None or found.signature.args == normalize_signature(sig)[0]:
                return found
        except Exception as error:  # damaged files can make pickle raise anything
            damage = error
        try:
            FunctionCache.flush(self)  # or Numba would fail again when it adds to the index
        except OSError as error:
            _warn_not_kept(error)
        else:
            if damage is not None:
                _warn_once(
                    f"A compiled kernel in {self.cache_path} could not be read "
                    f"({type(damage).__name__}: {damage}).",
                    "It is compiled again. If this is said at every start, delete that folder.",
                )
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel to disk, if that is possible."""
        try:
            FunctionCache.save_overload(self, sig, data)
        except Exception as error:  # the kernel is compiled and works, whatever happens here
            _warn_not_kept(error)


class _NoCache(NullCache):
    """Takes the cache's place where Numba finds no folder to write to."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep nothing, and say so: at the first compilation, not at import."""
        _warn_not_kept(self._error)


def _cache_for(function: Callable[..., None]) -> FunctionCache | NullCache:
    try:
        return _KernelCache(function)
    except (OSError, RuntimeError) as error:
        return _NoCache(error)


def _warn_not_kept(error: Exception) -> None:
    _warn_once(
        f"Compiled kernels cannot be kept for later runs ({type(error).__name__}: {error}).",
        "Everything works, but each process compiles them again, which takes some seconds. To "
        "keep them, set the environment variable NUMBA_CACHE_DIR to a folder that can be written.",
    )


_warned: set[str] = set()  # what all kernels have in common, they say once


def _warn_once(trouble: str, advice: str) -> None:
    if advice not in _warned:
        _warned.add(advice)
        warnings.warn(f"{trouble} {advice}", RuntimeWarning, stacklevel=3)


# ---------------------------------------------------------------- the announcement


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
