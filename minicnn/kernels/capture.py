"""Capture the kernel calls of a step once; replay them without Python.

A microbatch takes dozens of kernel calls. Each costs a microsecond or more of Python, in which
other threads wait for the interpreter. Inside `arena.scope()` equal steps pass the same arrays to
the same kernels. So the calls are captured as a `CallGraph` of addresses and argument words, and
one C call replays them all. Measured on the reference CNN: 16 to 19 % less time for a training step
of 128 images, 54 % less for inference of one image. (Compiling one function per network instead
gives the same speed, but takes 11 s per network: Numba optimizes all callees again.)

Replay repeats kernel calls and nothing else. So it is declared, never guessed:

- a layer sets `Layer.replayable`; one layer without it, and the whole network runs eagerly;
- an op that writes arrays by NumPy calls `refuse_capture`;
- a step is captured again after an attribute or an array of a layer, or a method of its class, was
  replaced. A method of one layer object cannot be replaced, and one of a model turns replay off.

The first replay of each network is compared with an eager run; where a bit differs, the network
runs eagerly, with a warning. ``MINICNN_VERIFY_REPLAY=1`` compares every replay, and raises.
"""

import ctypes
import os
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from operator import is_
from threading import Lock
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from llvmlite import binding, ir
from numpy.typing import NDArray

from minicnn.kernels.jit import KernelCall, active_captures, this_thread
from minicnn.runtime import arena

Objects = Sequence[Any]
Result = TypeVar("Result")

INT32, INT64 = ir.IntType(32), ir.IntType(64)
WORDS = INT64.as_pointer()
TRAMPOLINE = ir.FunctionType(WORDS, [WORDS])

# Maximum number of captured steps; more than a training has threads, microbatches and their sizes.
MAX_ENTRIES = 256


class CaptureError(Exception):
    """The calls cannot be captured."""


class ReplayError(Exception):
    """A replay gave other bytes than an eager run."""


# ---------------------------------------------------------------- capture


@contextmanager
def capture() -> Iterator[list[KernelCall]]:
    """List the kernel calls of this thread inside the ``with`` block."""
    calls: list[KernelCall] = []
    active_captures[this_thread()] = calls
    try:
        yield calls
    finally:
        del active_captures[this_thread()]


def refuse_capture(reason: str) -> None:
    """Declare that the caller does work that a replay would leave out."""
    if this_thread() in active_captures:
        active_captures[this_thread()].append(KernelCall(None, (reason,)))


class CallGraph:
    """Captured kernel calls, ready to be replayed with the arguments they had.

    It keeps the arrays alive. Raises `CaptureError` where a call cannot be captured.
    """

    def __init__(self, calls: Sequence[KernelCall]) -> None:
        if not calls:
            raise CaptureError("no kernel was called")
        self._calls = list(calls)  # their arrays must stay where they are
        self._kernels = [_compiled_kernel(call) for call in calls]
        words: list[int] = []
        callers = _trampolines_of(self._kernels)
        for call, kernel, trampoline in zip(calls, self._kernels, callers, strict=True):
            address = kernel.library.get_pointer_to_function(kernel.fndesc.llvm_func_name)
            arguments = _argument_words(call.arguments)
            if len(arguments) != len(_signature(kernel).args) - 2:  # without result and error
                raise CaptureError(f"{call.dispatcher} does not take {len(arguments)} words")
            words += [trampoline, address, *arguments]
        self._words = np.array([*words, 0], np.uint64)

    def replay(self) -> None:
        """Call the kernels again, without the GIL."""
        _replay_loop()(self._words.ctypes.data)


def _compiled_kernel(call: KernelCall) -> Any:
    """Return Numba's compile result for the types of a call."""
    if call.dispatcher is None:
        raise CaptureError(call.arguments[0])
    types = tuple(map(call.dispatcher.typeof_pyval, call.arguments))
    compiled = call.dispatcher.overloads.get(types)
    if compiled is None:
        raise CaptureError(f"{call.dispatcher} is not compiled for {types}")
    return compiled


def _signature(kernel: Any) -> Any:
    """Return the LLVM function type: result, error, then the arguments."""
    descriptor, convention = kernel.fndesc, kernel.target_context.call_conv
    return convention.get_function_type(descriptor.restype, descriptor.argtypes)


def _argument_words(value: Any) -> list[int]:
    """Return an argument as Numba passes it: unsigned words of 64 bits."""
    if isinstance(value, tuple):
        return [word for element in value for word in _argument_words(element)]
    if isinstance(value, np.ndarray):
        # Numba's array struct begins with meminfo and parent, which kernels do not use.
        address = value.__array_interface__["data"][0]
        return [0, 0, value.size, value.itemsize, address, *value.shape, *value.strides]
    if isinstance(value, np.float32):
        return [int(value.view(np.uint32))]
    if isinstance(value, float):  # includes np.float64
        return [int(np.float64(value).view(np.uint64))]
    if isinstance(value, bool | int | np.integer | np.bool_):
        return [int(value) & (2**64 - 1)]
    raise CaptureError(f"an argument of type {type(value).__name__}")


# ---------------------------------------------------------------- machine code of a replay

# Argument types -> address of a function that calls kernels of these types. It takes the address of
# a call's words, and returns the address after them.
_trampolines: dict[Hashable, int] = {}
_engines: list[Any] = []  # keep the machine code alive
_compile_lock = Lock()


def _trampolines_of(kernels: Sequence[Any]) -> list[int]:
    """Return the trampoline of each kernel; compile those that are missing."""
    with _compile_lock:
        missing = {
            kernel.fndesc.argtypes: kernel
            for kernel in kernels
            if kernel.fndesc.argtypes not in _trampolines
        }
        if missing:
            module = ir.Module("trampolines")
            for number, kernel in enumerate(missing.values()):
                _add_trampoline(module, f"trampoline{number}", kernel)
            engine = _compile_module(module)
            for number, types in enumerate(missing):
                _trampolines[types] = engine.get_function_address(f"trampoline{number}")
        return [_trampolines[kernel.fndesc.argtypes] for kernel in kernels]


def _add_trampoline(module: ir.Module, name: str, kernel: Any) -> None:
    """Write a function that calls the kernel whose words it is given."""
    signature = _signature(kernel)
    function = ir.Function(module, TRAMPOLINE, name)
    builder = ir.IRBuilder(function.append_basic_block())
    words = [
        builder.load(builder.gep(function.args[0], [INT64(offset)]))
        for offset in range(len(signature.args) - 1)  # the address, and all but result and error
    ]
    address = builder.inttoptr(words[0], signature.as_pointer())
    result, error = (builder.alloca(pointer.pointee) for pointer in signature.args[:2])
    arguments = map(partial(_from_word, builder), words[1:], signature.args[2:])
    builder.call(address, [result, error, *arguments])
    builder.ret(builder.gep(function.args[0], [INT64(len(words))]))


def _from_word(builder: ir.IRBuilder, word: Any, type_: Any) -> Any:
    """Convert a word of 64 bits to an argument type."""
    if isinstance(type_, ir.PointerType):
        return builder.inttoptr(word, type_)
    if isinstance(type_, ir.DoubleType):
        return builder.bitcast(word, type_)
    if isinstance(type_, ir.FloatType):
        return builder.bitcast(builder.trunc(word, INT32), type_)
    return word if type_.width == 64 else builder.trunc(word, type_)


@cache
def _replay_loop() -> Any:
    """Return the C function that calls all trampolines, up to a word of 0."""
    module = ir.Module("replay")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORDS]), "replay")
    entry, loop, step, end = map(function.append_basic_block, ("entry", "loop", "step", "end"))
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    position = builder.phi(WORDS)
    trampoline = builder.load(position)
    builder.cbranch(builder.icmp_unsigned("==", trampoline, INT64(0)), end, step)
    builder.position_at_end(step)
    arguments = builder.gep(position, [INT64(1)])
    following = builder.call(builder.inttoptr(trampoline, TRAMPOLINE.as_pointer()), [arguments])
    builder.branch(loop)
    position.add_incoming(function.args[0], entry)
    position.add_incoming(following, step)
    builder.position_at_end(end)
    builder.ret_void()
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # ctypes releases the GIL around the call
    return prototype(_compile_module(module).get_function_address("replay"))


def _compile_module(module: ir.Module) -> Any:
    """Compile a module for the life of the process."""
    # Without optimization, which would take longer than it could save.
    target = binding.Target.from_default_triple().create_target_machine(opt=0)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), target)
    engine.finalize_object()
    _engines.append(engine)
    return engine


# ---------------------------------------------------------------- capture once, replay


class _Entry(NamedTuple):
    """A captured step of one thread."""

    objects: Objects  # inputs and outputs
    graph: CallGraph | None  # None: the step cannot be captured
    result: Any  # of the captured run
    scratch: NDArray[np.uint8]  # the step's memory in the arena


def _same(known: Objects, objects: Objects) -> bool:
    """Return whether both sequences hold the same objects."""
    return len(known) == len(objects) and all(map(is_, known, objects))


class ReplayCache:
    """Replays steps captured on the same arrays; threads may share it.

    Parameters
    ----------
    replayable : bool
        Whether the steps are declared to consist of kernel calls; otherwise all run eagerly.
    """

    def __init__(self, replayable: bool) -> None:
        self.replayable = replayable
        self._verify = os.environ.get("MINICNN_VERIFY_REPLAY") == "1"
        self._agrees = False  # before the first comparison
        self._state: list[object] = []
        self._entries: dict[Hashable, _Entry] = {}

    def __reduce__(self) -> tuple[type["ReplayCache"], tuple[bool]]:
        """Copy without entries: they belong to arrays, threads and a process."""
        return ReplayCache, (self.replayable,)

    def follow(self, model: Any) -> list[object]:
        """Return the state of a model: the same list while nothing is replaced.

        Otherwise steps are captured, and a replay is compared, again. Once the model is not
        replayable, its steps run eagerly from then on.

        Parameters
        ----------
        model : Sequential

        Returns
        -------
        list of object
            For the inputs of `run`.
        """
        state = model.replay_state()
        if not _same(self._state, state):
            self._state, self._agrees = state, False
            self.replayable = self.replayable and model.replayable
        return self._state

    def run(
        self, work: Callable[[], Result], key: Hashable, inputs: Objects, outputs: Objects
    ) -> Result:
        """Run a step, or replay it if it was captured on the same arrays.

        Parameters
        ----------
        work : callable
            The step. It runs inside `arena.scope()`, and depends on `key` and the contents of
            `inputs` alone.
        key : hashable
            Distinguishes steps that differ in more than their arrays; names the step in an error.
        inputs : sequence of object
            All arrays that the step reads, and the list of `follow`. A step is captured again if
            one is another object.
        outputs : sequence of ndarray
            The arrays outside the arena that the step overwrites, in C order.

        Returns
        -------
        object
            The result of `work`: the same object for each replay, its arrays overwritten.

        Raises
        ------
        ReplayError
            If MINICNN_VERIFY_REPLAY is 1 and a replay differs from an eager run.
        """
        thread = this_thread()
        if not self.replayable or thread in active_captures:
            return work()
        owner = (thread, key, *map(id, outputs))
        objects = (*inputs, *outputs)
        entry = self._entries.get(owner)
        if entry is None or not _same(entry.objects, objects):
            return self._capture(work, owner, objects)
        if entry.graph is None:
            return work()
        if self._verify or not self._agrees:
            return cast(Result, self._compare(entry, entry.graph, work, key, outputs))
        entry.graph.replay()
        return cast(Result, entry.result)

    def _capture(self, work: Callable[[], Result], owner: Hashable, objects: Objects) -> Result:
        """Run a step eagerly and keep its calls."""
        start = arena.top()
        with capture() as calls:
            result = work()
        if arena.overflowed():  # arrays are elsewhere; the next run gets arrays of a larger arena
            return result
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
        graph = None
        try:
            graph = CallGraph(calls)
        except CaptureError:
            pass
        except Exception as error:  # Numba's private functions are not those that were tested
            self._run_eagerly(f"calls cannot be captured ({type(error).__name__}: {error})")
        self._entries[owner] = _Entry(objects, graph, result, arena.memory(start, arena.top()))
        return result

    def _compare(
        self,
        entry: _Entry,
        graph: CallGraph,
        work: Callable[[], Any],
        key: Hashable,
        outputs: Objects,
    ) -> Any:
        """Replay a step and run it eagerly, both on NaN; compare the bytes."""
        written = [entry.scratch, *(array.reshape(-1).view(np.uint8) for array in outputs)]

        def run_on_nan(step: Callable[[], Any]) -> tuple[Any, list[bytes]]:
            for memory in written:
                memory.fill(0xFF)
            return step(), [memory.tobytes() for memory in written]

        _, replayed = run_on_nan(graph.replay)
        result, eager = run_on_nan(work)
        if self._verify and replayed != eager:
            raise ReplayError(
                f"the replay of {key} differs from an eager run: an op or a layer that is declared "
                f"replayable changes arrays by other means than kernels"
            )
        self._agrees = replayed == eager
        if not self._agrees:
            self._run_eagerly(f"the replay of {key} differs from an eager run")
        return result

    def _run_eagerly(self, finding: str) -> None:
        """Replay no step from now on, and warn."""
        self.replayable = False
        warnings.warn(
            f"This network runs without replay, slower but right: {finding}. If a layer of your "
            f"own sets replayable = True, it changes arrays by other means than kernels: remove "
            f"that line. If all layers are minicnn's, install a Numba that minicnn allows instead "
            f"of {numba.__version__} (see pyproject.toml).",
            RuntimeWarning,
            stacklevel=2,
        )
