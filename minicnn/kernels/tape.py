"""Kernel calls in a row, repeated without Python between them.

While one thread runs Python the others wait for the interpreter. A step of training calls some
dozens of kernels, with the same arrays in the same places time and again: such a row of calls is
recorded once, as addresses and numbers. From then on one call repeats them all.
"""

import ctypes
import struct
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from threading import Lock
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numpy.typing import NDArray

from minicnn.kernels.compilation import Call, recorders, this_thread

INT32, INT64 = ir.IntType(32), ir.IntType(64)


class NotRecordableError(Exception):
    """Calls that a tape cannot hold, such as of kernels in plain Python."""


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """List the kernels that this thread calls inside the ``with`` block, with their arguments."""
    calls: list[Call] = []
    recorders[this_thread()] = calls
    try:
        yield calls
    finally:
        del recorders[this_thread()]


class Tape:
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

    def __init__(self, calls: Sequence[Call]) -> None:
        if not calls:
            raise NotRecordableError("no kernel was called")
        self._arguments = [call.arguments for call in calls]  # they stay where they are
        self._kernels = [_compiled(call) for call in calls]
        self._begins: list[int] = []  # of the words of each call
        words: list[int] = []
        for call, kernel in zip(calls, self._kernels, strict=True):
            self._begins.append(len(words))
            address = kernel.library.get_pointer_to_function(kernel.fndesc.llvm_func_name)
            own = _words(call.arguments)
            if len(own) != len(_signature(kernel).args) - 2:  # without result and error
                raise NotRecordableError(f"{call.dispatcher} takes other words than {len(own)}")
            words += [0, address, *own]
        self.words: NDArray[np.int64] = np.array([*words, 0], np.uint64).view(np.int64)
        self._ready = self.words[:0]

    def play(self) -> None:
        """Call the kernels again, with the arguments that they had; other threads may go on."""
        if not self._ready.size:  # many a tape is never played
            self._ready = self.words.copy()
            self._ready[self._begins] = _callers_of(self._kernels)
            self._place = self._ready.ctypes.data
        _player()(self._place)


def _compiled(call: Call) -> Any:
    """Return what Numba knows of the machine code that a call has run."""
    types = tuple(map(call.dispatcher.typeof_pyval, call.arguments))
    found = call.dispatcher.overloads.get(types)
    if found is None:
        raise NotRecordableError(f"{call.dispatcher} is not compiled for {types}")
    return found


def _signature(kernel: Any) -> Any:
    """Return LLVM's type of a kernel: first where result and error go, then the arguments."""
    described = kernel.fndesc
    return kernel.target_context.call_conv.get_function_type(described.restype, described.argtypes)


def _words(value: Any) -> list[int]:
    """Return what Numba hands over for an argument, each number as 64 bits without a sign."""
    if isinstance(value, tuple):
        return [word for part in value for word in _words(part)]
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
    raise NotRecordableError(f"an argument of type {type(value).__name__}")


# ---------------------------------------------------------------- the code that reads a tape


# By the types of a kernel's arguments the address of what calls such kernels: it takes the place
# of the words of a call, and returns that of the words behind them.
_callers: dict[Hashable, int] = {}
_engines: list[Any] = []  # keep the code alive
_one_at_a_time = Lock()
WORDS = INT64.as_pointer()
CALLER = ir.FunctionType(WORDS, [WORDS])


def _callers_of(kernels: Sequence[Any]) -> list[int]:
    """Return what calls each kernel; what is not known yet is compiled."""
    with _one_at_a_time:
        new = {
            kernel.fndesc.argtypes: kernel
            for kernel in kernels
            if kernel.fndesc.argtypes not in _callers
        }
        if new:
            module = ir.Module("callers")
            for number, kernel in enumerate(new.values()):
                _add_caller(module, f"caller{number}", kernel)
            engine = _engine(module)
            for number, types in enumerate(new):
                _callers[types] = engine.get_function_address(f"caller{number}")
        return [_callers[kernel.fndesc.argtypes] for kernel in kernels]


@cache
def _player() -> Any:
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
    behind = builder.call(builder.inttoptr(caller, CALLER.as_pointer()), [after])
    builder.branch(loop)
    place.add_incoming(function.args[0], begin)
    place.add_incoming(behind, step)
    builder.position_at_end(end)
    builder.ret_void()
    # ctypes lets go of the interpreter around the call
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    return prototype(_engine(module).get_function_address("play"))


def _add_caller(module: ir.Module, name: str, kernel: Any) -> None:
    """Write the function that calls kernels of some types: of their words the address is first."""
    signature = _signature(kernel)
    function = ir.Function(module, CALLER, name)
    builder = ir.IRBuilder(function.append_basic_block())
    words = [
        builder.load(builder.gep(function.args[0], [INT64(place)]))
        for place in range(len(signature.args) - 1)  # two of them are for result and error
    ]
    address = builder.inttoptr(words[0], signature.as_pointer())
    result, error = (builder.alloca(kind.pointee) for kind in signature.args[:2])
    arguments = map(partial(_converted, builder), words[1:], signature.args[2:])
    builder.call(address, [result, error, *arguments])
    builder.ret(builder.gep(function.args[0], [INT64(len(words))]))


def _converted(builder: ir.IRBuilder, word: Any, kind: Any) -> Any:
    """Return 64 bits as an argument of another type."""
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(word, kind)
    if isinstance(kind, ir.DoubleType):
        return builder.bitcast(word, kind)
    if isinstance(kind, ir.FloatType):
        return builder.bitcast(builder.trunc(word, INT32), kind)
    return word if kind.width == 64 else builder.trunc(word, kind)


def _engine(module: ir.Module) -> Any:
    """Compile a module, for good."""
    # optimising would take longer than all that it could save
    target = binding.Target.from_default_triple().create_target_machine(opt=0)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), target)
    engine.finalize_object()
    _engines.append(engine)
    return engine
