"""Compile kernels once, cache them on disk, announce the compilation."""

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
    """Hash the sources and the CPU that kernels are compiled from and for."""
    package = Path(__file__).parents[1]
    sources = sorted(
        path for name in ("kernels", "augment") for path in (package / name).rglob("*.py")
    )
    settings = vars(config)  # Numba reads NUMBA_CPU_NAME and NUMBA_CPU_FEATURES into it
    cpu = (
        settings["CPU_NAME"],
        settings["CPU_FEATURES"],
        binding.get_host_cpu_name(),
        get_host_cpu_features(),
    )
    return sha256(b"".join(path.read_bytes() for path in sources) + repr(cpu).encode()).hexdigest()


# Part of the name under which a kernel is cached. Numba recompiles a function when its own file
# changes, but it does not notice a change in another file that the function calls. Numba does tell
# CPUs apart, but two machines that share a folder and start together could overwrite each other's
# code; with different names they cannot.
_VERSION = _version()[:12]


_OPTIONS: dict[str, Any] = {
    "nogil": True,
    # Only `contract`: a multiplication and an addition may become one instruction. NaN and infinity
    # keep their meaning.
    "fastmath": {"contract"},
    # Division by zero gives infinity, as in NumPy. Python's check of every divisor would keep the
    # compiler from vectorizing.
    "error_model": "numpy",
    # Kernels allocate no arrays, so reference counting is off. With it every array is counted up
    # and down in the innermost loops, and every vector register is saved and restored around the
    # call: some kernels take twice as long.
    "_nrt": False,
    "no_cfunc_wrapper": True,  # no C code calls a kernel
}
# Device functions are called by kernels only, so they need no CPython wrapper.
_DEVICE_OPTIONS = _OPTIONS | {"forceinline": True, "no_cpython_wrapper": True}


class KernelCall(NamedTuple):
    """Record of one kernel call: Numba's dispatcher and the arguments.

    ``KernelCall(None, (reason,))`` records a refusal: the steps around it cannot be captured.
    """

    dispatcher: Any
    arguments: tuple[Any, ...]


# Thread → the list that its kernel calls are appended to; see `minicnn.kernels.capture`.
active_captures: dict[int, list[KernelCall]] = {}
this_thread = threading.get_ident


class KernelDispatcher:
    """Numba's dispatcher, plus a record of its calls for capturing threads."""

    def __init__(self, dispatcher: Any) -> None:
        self.dispatcher = dispatcher
        update_wrapper(self, dispatcher.py_func)

    def __getattr__(self, name: str) -> Any:
        """Delegate to the dispatcher, also when a kernel calls this kernel."""
        return getattr(self.dispatcher, name)

    def __call__(self, *arguments: Any) -> None:
        """Run the kernel."""
        self.dispatcher(*arguments)
        if active_captures and this_thread() in active_captures:
            active_captures[this_thread()].append(KernelCall(self.dispatcher, arguments))


def kernel(function: Function) -> Function:
    """Compile a function at its first call; cache it; run it without the GIL.

    The function writes its results into arrays that the caller allocates. With
    ``NUMBA_DISABLE_JIT=1`` it is returned as it is.
    """
    function.__qualname__ += f"_{_VERSION}"
    if vars(config)["DISABLE_JIT"]:
        return function
    compiled: Any = numba.njit(**_OPTIONS)(function)
    # ``cache=True`` would do the same, but it accepts no cache class.
    compiled._cache = _cache_for(function)
    return cast(Function, KernelDispatcher(compiled))


def device_function(function: DeviceFunction) -> DeviceFunction:
    """Compile a function that only kernels call; LLVM inlines it.

    Numba compiles it once more for each constant among the arguments, such as NR, MR or `lanes`:
    these are parts of vector types.
    """
    return cast(DeviceFunction, numba.njit(**_DEVICE_OPTIONS)(function))


# ---------------------------------------------------------------- a cache that may fail


class _KernelCache(FunctionCache):
    """Numba's cache of one kernel; a failure warns and recompiles.

    Numba raises if the disk is full, if the folder has become read-only, or if a crash of the
    machine has truncated a file.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        FunctionCache.__init__(self, function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel for a signature, or None to compile it."""
        damage: Exception | None = None
        try:
            loaded = FunctionCache.load_overload(self, sig, target_context)
            # Two processes that save different signatures in the same instant write to the same
            # file name, so the file may hold the other signature.
            if loaded is None or loaded.signature.args == normalize_signature(sig)[0]:
                return loaded
        except Exception as error:  # damaged files can make pickle raise anything
            damage = error
        try:
            FunctionCache.flush(self)  # or Numba would fail again when it adds to the index
        except OSError as error:
            _warn_not_cached(error)
        else:
            if damage is not None:
                _warn_once(
                    f"A compiled kernel in {self.cache_path} could not be read "
                    f"({type(damage).__name__}: {damage}).",
                    "It is compiled again. If this warning returns at every start, delete that "
                    "folder.",
                )
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel to disk, or warn."""
        try:
            FunctionCache.save_overload(self, sig, data)
        except Exception as error:  # the compiled kernel works without its file
            _warn_not_cached(error)


class _NoCache(NullCache):
    """Replacement for the cache where Numba finds no writable folder."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Warn: at the first compilation, not at import."""
        _warn_not_cached(self._error)


def _cache_for(function: Callable[..., None]) -> FunctionCache | NullCache:
    try:
        return _KernelCache(function)
    except (OSError, RuntimeError) as error:
        return _NoCache(error)


def _warn_not_cached(error: Exception) -> None:
    _warn_once(
        f"Compiled kernels cannot be cached for later runs ({type(error).__name__}: {error}).",
        "The results are right, but each process compiles the kernels again, which takes seconds. "
        "To cache them, set the environment variable NUMBA_CACHE_DIR to a writable folder.",
    )


_warned: set[str] = set()  # one warning per cause, not one per kernel


def _warn_once(problem: str, advice: str) -> None:
    if advice not in _warned:
        _warned.add(advice)
        warnings.warn(f"{problem} {advice}", RuntimeWarning, stacklevel=3)


# ---------------------------------------------------------------- the announcement


class _FirstCompilation(event.Listener):
    """Call `notify` when the first kernel starts to compile."""

    def __init__(self, notify: Callable[[str], object]) -> None:
        self._notify = notify
        self._done = False

    def on_start(self, event: event.Event) -> None:
        if not self._done:
            self._done = True
            self._notify(
                "Compiling the kernels for this machine (some seconds, once; later runs load "
                "them from Numba's cache) ..."
            )

    def on_end(self, event: event.Event) -> None:
        """Do nothing; Numba requires the method."""


@contextmanager
def announce_compilation(notify: Callable[[str], object]) -> Iterator[None]:
    """Call `notify` with one sentence if the ``with`` block compiles a kernel.

    Loading a kernel from Numba's cache takes milliseconds and is not announced.
    """
    with event.install_listener("numba:compile", _FirstCompilation(notify)):
        yield
