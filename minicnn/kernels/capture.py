"""Kernel calls in a row, repeated without Python between them.

While one thread runs Python the others wait for the interpreter. A step of training calls some
dozens of kernels, with the same arrays in the same places time and again: such a row of calls is
recorded once, as addresses and numbers. From then on one call repeats them all.

Work that is done over and over with arrays in the same places, without Python in between.

A shard of images takes dozens of kernels, each a microsecond or more of Python, in which other
threads wait for the interpreter. Inside `minicnn.memory.scope` the arrays of every shard lie
where those of the last one lay. So its calls of kernels are recorded, as a tape
(`minicnn.kernels.capture`), which one call plays.

A tape is trusted only once it is proven. Work that does anything to its arrays but by kernels
(NumPy, a number drawn by chance) cannot be repeated so; it shows in one of two ways, and is then
done in Python for good:

- recorded twice, it gives two tapes that differ: an array that NumPy made anew lies elsewhere;
- played with other inputs, and on arrays that are filled with NaN first, the tape comes to other
  bits than the work itself.

What is found of one kind of work holds in other threads and for other outputs as well: there a tape
only has to be recorded.
"""

import ctypes
import hashlib
import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from operator import is_
from threading import Lock
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import binding, ir
from numpy.typing import NDArray

from minicnn.kernels import jit
from minicnn.kernels.jit import KernelCall, active_captures, this_thread
from minicnn.runtime import arena

INT32, INT64 = ir.IntType(32), ir.IntType(64)


class CaptureError(Exception):
    """Calls that a tape cannot hold, such as of kernels in plain Python."""


@contextmanager
def capture() -> Iterator[list[KernelCall]]:
    """List the kernels that this thread calls inside the ``with`` block, with their arguments."""
    calls: list[KernelCall] = []
    active_captures[this_thread()] = calls
    try:
        yield calls
    finally:
        del active_captures[this_thread()]


class CallGraph:
    """A row of kernel calls.

    Parameters
    ----------
    calls : sequence of Call
        From `recorded`.

    Attributes
    ----------
    words : ndarray of int64
        All addresses and arguments. Two tapes with the same words do the same to the same memory.

    Raises
    ------
    NotRecordableError
        If a kernel is not compiled for just these arguments, or takes what no word can hold.
    """

    def __init__(self, calls: Sequence[KernelCall]) -> None:
        if not calls:
            raise CaptureError("no kernel was called")
        self._arguments = [call.arguments for call in calls]  # they stay where they are
        self._kernels = [_compiled_kernel(call) for call in calls]
        self._begins: list[int] = []  # of the words of each call
        words: list[int] = []
        for call, kernel in zip(calls, self._kernels, strict=True):
            self._begins.append(len(words))
            address = kernel.library.get_pointer_to_function(kernel.fndesc.llvm_func_name)
            own = _argument_words(call.arguments)
            if len(own) != len(_signature(kernel).args) - 2:  # without result and error
                raise CaptureError(f"{call.dispatcher} takes other words than {len(own)}")
            words += [0, address, *own]
        self.words: NDArray[np.int64] = np.array([*words, 0], np.uint64).view(np.int64)
        self._ready = self.words[:0]

    def play(self) -> None:
        """Call the kernels again, with the arguments that they had; other threads may go on."""
        if not self._ready.size:  # many a tape is never played
            self._ready = self.words.copy()
            self._ready[self._begins] = _trampolines_of(self._kernels)
            self._place = self._ready.ctypes.data
        _replay_loop()(self._place)


def _compiled_kernel(call: KernelCall) -> Any:
    """Return what Numba knows of the machine code that a call has run."""
    types = tuple(map(call.dispatcher.typeof_pyval, call.arguments))
    found = call.dispatcher.overloads.get(types)
    if found is None:
        raise CaptureError(f"{call.dispatcher} is not compiled for {types}")
    return found


def _signature(kernel: Any) -> Any:
    """Return LLVM's type of a kernel: first where result and error go, then the arguments."""
    described = kernel.fndesc
    return kernel.target_context.call_conv.get_function_type(described.restype, described.argtypes)


def _argument_words(value: Any) -> list[int]:
    """Return what Numba hands over for an argument, each number as 64 bits without a sign."""
    if isinstance(value, tuple):
        return [word for part in value for word in _argument_words(part)]
    if isinstance(value, np.ndarray):
        # who counts references and the Python object come first: kernels ask for neither
        place = value.__array_interface__["data"][0]
        return [0, 0, value.size, value.itemsize, place, *value.shape, *value.strides]
    if isinstance(value, np.float32):
        return list(struct.unpack("<I", struct.pack("<f", value)))
    if isinstance(value, float):  # np.float64 too
        return list(struct.unpack("<Q", struct.pack("<d", value)))
    if isinstance(value, bool | int | np.integer | np.bool_):
        return [int(value) & (2**64 - 1)]
    raise CaptureError(f"an argument of type {type(value).__name__}")


# ---------------------------------------------------------------- the code that reads a tape


# By the types of a kernel's arguments the address of what calls such kernels: it takes the place
# of the words of a call, and returns that of the words behind them.
_trampolines: dict[Hashable, int] = {}
_engines: list[Any] = []  # keep the code alive
_compile_lock = Lock()
WORDS = INT64.as_pointer()
TRAMPOLINE = ir.FunctionType(WORDS, [WORDS])


def _trampolines_of(kernels: Sequence[Any]) -> list[int]:
    """Return what calls each kernel; what is not known yet is compiled."""
    with _compile_lock:
        new = {
            kernel.fndesc.argtypes: kernel
            for kernel in kernels
            if kernel.fndesc.argtypes not in _trampolines
        }
        if new:
            module = ir.Module("callers")
            for number, kernel in enumerate(new.values()):
                _add_trampoline(module, f"caller{number}", kernel)
            engine = _compile_module(module)
            for number, types in enumerate(new):
                _trampolines[types] = engine.get_function_address(f"caller{number}")
        return [_trampolines[kernel.fndesc.argtypes] for kernel in kernels]


@cache
def _replay_loop() -> Any:
    """Return the function that plays a tape: call after call, until a word is 0."""
    module = ir.Module("player")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORDS]), "play")
    begin, loop, step, end = map(function.append_basic_block, ("begin", "loop", "step", "end"))
    builder = ir.IRBuilder(begin)
    builder.branch(loop)
    builder.position_at_end(loop)
    place = builder.phi(WORDS)
    caller = builder.load(place)
    builder.cbranch(builder.icmp_unsigned("==", caller, INT64(0)), end, step)
    builder.position_at_end(step)
    after = builder.gep(place, [INT64(1)])
    behind = builder.call(builder.inttoptr(caller, TRAMPOLINE.as_pointer()), [after])
    builder.branch(loop)
    place.add_incoming(function.args[0], begin)
    place.add_incoming(behind, step)
    builder.position_at_end(end)
    builder.ret_void()
    # ctypes lets go of the interpreter around the call
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    return prototype(_compile_module(module).get_function_address("play"))


def _add_trampoline(module: ir.Module, name: str, kernel: Any) -> None:
    """Write the function that calls kernels of some types: of their words the address is first."""
    signature = _signature(kernel)
    function = ir.Function(module, TRAMPOLINE, name)
    builder = ir.IRBuilder(function.append_basic_block())
    words = [
        builder.load(builder.gep(function.args[0], [INT64(place)]))
        for place in range(len(signature.args) - 1)  # two of them are for result and error
    ]
    address = builder.inttoptr(words[0], signature.as_pointer())
    result, error = (builder.alloca(kind.pointee) for kind in signature.args[:2])
    arguments = map(partial(_from_word, builder), words[1:], signature.args[2:])
    builder.call(address, [result, error, *arguments])
    builder.ret(builder.gep(function.args[0], [INT64(len(words))]))


def _from_word(builder: ir.IRBuilder, word: Any, kind: Any) -> Any:
    """Return 64 bits as an argument of another type."""
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(word, kind)
    if isinstance(kind, ir.DoubleType):
        return builder.bitcast(word, kind)
    if isinstance(kind, ir.FloatType):
        return builder.bitcast(builder.trunc(word, INT32), kind)
    return word if kind.width == 64 else builder.trunc(word, kind)


def _compile_module(module: ir.Module) -> Any:
    """Compile a module, for good."""
    # optimizing would take longer than all that it could save
    target = binding.Target.from_default_triple().create_target_machine(opt=0)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), target)
    engine.finalize_object()
    _engines.append(engine)
    return engine


Arrays = Sequence[NDArray[Any]]
Result = TypeVar("Result")

# So often work is recorded before it is given up that two tapes will be the same.
MAX_CAPTURES = 4
# So many kinds of work are kept: more than a training has threads, shards and sizes of them.
MAX_ENTRIES = 256


class ReplayCache:
    """Does work from tapes where it can. Several threads may use it at once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Entry] = {}
        self._repeatable: dict[Hashable, bool] = {}  # by kind

    def __reduce__(self) -> tuple[type["ReplayCache"], tuple[()]]:
        """Let a copy begin without tapes: they belong to arrays, threads and a process."""
        return ReplayCache, ()

    def run(
        self, work: Callable[[], Result], kind: Hashable, inputs: Arrays, outputs: Arrays
    ) -> Result:
        """Do the work, or play its tape.

        Parameters
        ----------
        work : callable
            Inside a `minicnn.memory.scope`. What it does and returns depends on `kind` and the
            numbers in `inputs` alone; whatever it returns is the same object each time a tape is
            played, with other numbers in its arrays.
        kind : hashable
            Tells apart work that differs in more than its arrays.
        inputs : sequence of ndarray
            What the work reads. With other arrays than last time it is recorded anew.
        outputs : sequence of ndarray
            What it overwrites outside of the workspace.

        Returns
        -------
        object
            What `work` returns.
        """
        key = (jit.this_thread(), kind, *map(id, outputs))
        repeat = self._known.get(key)
        if repeat is None or not repeat.is_of(inputs, outputs):
            if len(self._known) >= MAX_ENTRIES:
                self._known.clear()
                self._repeatable.clear()
            repeat = self._known[key] = _Entry(inputs, outputs, kind, self._repeatable)
        return cast(Result, repeat.run(work))


class _Entry:
    """One kind of work of one thread on the same arrays, and how far it is known."""

    def __init__(
        self, inputs: Arrays, outputs: Arrays, kind: Hashable, repeatable: dict[Hashable, bool]
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.kind, self.repeatable = kind, repeatable
        self.run: Callable[[Callable[[], Any]], Any] = self._record
        self.recordings = 0
        self.tapes: list[CallGraph] = []
        self.result: Any = None  # of the work when it was recorded
        self.arrays: list[NDArray[Any]] = []  # that it took from the workspace then

    def is_of(self, inputs: Arrays, outputs: Arrays) -> bool:
        """Tell whether these are the very arrays that it has met before."""
        mine, theirs = (*self.inputs, *self.outputs), (*inputs, *outputs)
        return len(mine) == len(theirs) and all(map(is_, mine, theirs))

    def _record(self, work: Callable[[], Any]) -> Any:
        """Do the work and record it; the second tape that equals the one before is to be proven."""
        if self.repeatable.get(self.kind) is False:
            self.run = _run_eagerly
            return work()
        before = len(arena.allocations())
        with capture() as calls:
            self.result = work()
        self.arrays = arena.allocations()[before:]
        self.recordings += 1
        try:
            # the one before keeps its arrays until here: what is made anew must lie elsewhere
            self.tapes = [*self.tapes[-1:], CallGraph(calls)]
        except CaptureError:
            self._found(False)
            return self.result
        first, last = self.tapes[0], self.tapes[-1]
        if self.repeatable.get(self.kind):
            self.run = self._play
        elif first is not last and np.array_equal(first.words, last.words):
            self.run = self._prove
        elif self.recordings == MAX_CAPTURES:
            self._found(False)
        return self.result

    def _found(self, repeatable: bool) -> None:
        """Note for all threads whether work of this kind can be repeated from a tape."""
        self.repeatable[self.kind] = repeatable
        self.run = self._play if repeatable else _run_eagerly

    def _prove(self, work: Callable[[], Any]) -> Any:
        """Play the tape and do the work, each on arrays full of NaN: both must give the same."""
        self._spoil()
        self._play(work)
        played = self._digest()
        self._spoil()
        result = work()
        self._found(played == self._digest())
        return result

    def _play(self, work: Callable[[], Any]) -> Any:
        """Play the tape instead of the work."""
        self.tapes[-1].play()
        return self.result

    def _spoil(self) -> None:
        for array in (*self.arrays, *self.outputs):
            if array.dtype.kind == "f":
                array.fill(np.nan)

    def _digest(self) -> bytes:
        """Return what tells apart any two contents of the arrays."""
        digest = hashlib.blake2b()
        for array in (*self.arrays, *self.outputs):
            digest.update(np.ascontiguousarray(array).data.cast("B"))
        return digest.digest()


def _run_eagerly(work: Callable[[], Any]) -> Any:
    """Do work that cannot be repeated otherwise."""
    return work()
