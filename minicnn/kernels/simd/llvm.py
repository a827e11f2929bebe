"""The vector functions as LLVM instructions; `minicnn.kernels.simd.python` says what they mean.

Each is an `intrinsic`: Numba asks it for the type of its result and, once that is settled, for the
instructions. An index is taken as it is: unlike in ``array[i]`` no bounds are checked and a
negative one does not count from the end, which is what makes the inner loops fast.

Functions of masks as LLVM instructions; `minicnn.kernels.simd.python` says what they mean.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

Emit = Callable[[Any, ir.IRBuilder, Any, Any], Any]
INT32 = ir.IntType(32)


def vector_intrinsic(code: Callable[..., tuple[Any, Emit]]) -> Any:
    """Make an intrinsic, to which Numba hands constants such as the number of lanes as such.

    Parameters
    ----------
    code : callable
        From Numba's typing context and the types of the arguments to a signature, and what writes
        the instructions.

    Returns
    -------
    intrinsic
    """
    return intrinsic(prefer_literal=True)(code)


class _Vector(types.Type):
    """Numba's type of a vector: so many lanes of one dtype; made by `vector_of`."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        self.name = f"Vector({dtype} x {lanes})"  # by which Numba tells types apart

    @property
    def llvm(self) -> ir.VectorType:
        """The same type in LLVM's terms."""
        floats = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
        bits = getattr(self.dtype, "bitwidth", 1)
        return ir.VectorType(floats.get(self.dtype, ir.IntType(bits)), self.lanes)

    @property
    def suffix(self) -> str:
        """What LLVM appends to the names of its functions on this type."""
        letter = "f" if isinstance(self.dtype, types.Float) else "i"
        return f"v{self.lanes}{letter}{self.dtype.bitwidth}"


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    """A vector is one LLVM value, which may live in registers."""

    def __init__(self, manager: Any, vector: _Vector) -> None:
        models.PrimitiveModel.__init__(self, manager, vector, vector.llvm)


def vector_of(dtype: Any, lanes: int) -> _Vector:
    """Return Numba's type of a vector.

    Parameters
    ----------
    dtype : numba type
        float32, float64 or an unsigned integer; boolean for a mask.
    lanes : int
        A power of two.

    Returns
    -------
    numba type
    """
    return _Vector(dtype, lanes)


def pointer_to(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, i: Any) -> Any:
    """Write the instructions that work out where ``array[i]`` lies.

    Parameters
    ----------
    context : numba target context
    builder : llvmlite.ir.IRBuilder
    array_type : numba type
    array, i : LLVM value

    Returns
    -------
    LLVM value
        A pointer.
    """
    # not through a proxy of the array, which would be written to the stack for each vector
    place = context.data_model_manager[array_type].get_field_position("data")
    return builder.gep(builder.extract_value(array, place), [i])


def _element(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, i: Any) -> Any:
    return builder.load(pointer_to(context, builder, array_type, array, i))


def broadcast_value(builder: ir.IRBuilder, number: Any, vector: _Vector) -> Any:
    """Write the instructions that put a number into each lane of a vector.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    number : LLVM value
    vector : numba type
        From `vector_of`.

    Returns
    -------
    LLVM value
    """
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(first, undefined, zeros)


@vector_intrinsic
def load_scalar(typing: Any, array: Any, i: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return _element(context, builder, signature.args[0], *values)

    return array.dtype(array, types.intp), emit


@vector_intrinsic
def load(typing: Any, array: Any, i: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = _Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, vector.llvm.as_pointer())
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(array, types.intp, lanes), emit


@vector_intrinsic
def load_splat(typing: Any, array: Any, i: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = _Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        number = _element(context, builder, signature.args[0], *values[:2])
        return broadcast_value(builder, number, vector)

    return vector(array, types.intp, lanes), emit


@vector_intrinsic
def splat(typing: Any, array: Any, number: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = _Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return broadcast_value(builder, values[1], vector)

    return vector(array, array.dtype, lanes), emit


def _tail_mask(builder: ir.IRBuilder, count: Any, lanes: int) -> Any:
    """Return a mask that is true in the lanes below `count`."""
    kind = ir.VectorType(count.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, count, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
    counts = builder.shuffle_vector(first, undefined, zeros)
    return builder.icmp_signed("<", ir.Constant(kind, list(range(lanes))), counts)


@vector_intrinsic
def masked_load(typing: Any, array: Any, i: Any, count: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = _Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, vector.llvm.as_pointer())
        mask = _tail_mask(builder, values[2], vector.lanes)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector.llvm, [pointer.type, INT32, mask.type, vector.llvm]),
            f"llvm.masked.load.{vector.suffix}.p0",
        )
        align = ir.Constant(INT32, vector.dtype.bitwidth // 8)
        zeros = ir.Constant(vector.llvm, None)
        return builder.call(function, [pointer, align, mask, zeros])

    return vector(array, types.intp, types.intp, lanes), emit


@vector_intrinsic
def store(typing: Any, array: Any, i: Any, v: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        vector = _cast(builder, values[2], array.dtype, v.lanes)
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, vector.type.as_pointer())
        builder.store(vector, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, v), emit


@vector_intrinsic
def masked_store(typing: Any, array: Any, i: Any, v: Any, count: Any) -> tuple[Any, Emit]:
    stored = _Vector(array.dtype, v.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        vector = _cast(builder, values[2], array.dtype, v.lanes)
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, vector.type.as_pointer())
        mask = _tail_mask(builder, values[3], v.lanes)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [vector.type, pointer.type, INT32, mask.type]),
            f"llvm.masked.store.{stored.suffix}.p0",
        )
        align = ir.Constant(INT32, stored.dtype.bitwidth // 8)
        builder.call(function, [vector, pointer, align, mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, v, types.intp), emit


def _cast(builder: ir.IRBuilder, vector: Any, dtype: Any, lanes: int) -> Any:
    """Return a vector of floats as whole numbers if that is what the array holds."""
    if isinstance(dtype, types.Float) or isinstance(vector.type.element, ir.IntType):
        return vector
    return builder.fptoui(vector, ir.VectorType(ir.IntType(dtype.bitwidth), lanes))


@vector_intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        # fmuladd, not fma: where the CPU has no such instruction the latter calls a library
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(a.llvm, [a.llvm] * 3),
            f"llvm.fmuladd.{a.suffix}",
        )
        return builder.call(function, values)

    return a(a, a, a), emit


def _arithmetic(name: str) -> Any:
    """Make an intrinsic of two vectors that is one instruction of LLVM's builder."""

    def code(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
        def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            return getattr(builder, name)(*values)

        return a(a, a), emit

    return vector_intrinsic(code)


add = _arithmetic("fadd")
subtract = _arithmetic("fsub")
divide = _arithmetic("fdiv")


def _interleaved(second: bool) -> Any:
    """Make an intrinsic that lets the lanes of one half of two vectors take turns."""

    def code(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
        start = a.lanes // 2 if second else 0
        pairs = [(lane, a.lanes + lane) for lane in range(start, start + a.lanes // 2)]
        places = [lane for pair in pairs for lane in pair]

        def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            order = ir.Constant(ir.VectorType(INT32, a.lanes), places)
            return builder.shuffle_vector(*values, order)

        return a(a, a), emit

    return vector_intrinsic(code)


interleave_low = _interleaved(second=False)
interleave_high = _interleaved(second=True)


INT64 = ir.IntType(64)


@vector_intrinsic
def equal_bytes(typing: Any, array: Any, i: Any, number: Any, lanes: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, lanes.literal_value)
    bytes_ = vector_of(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, bytes_.llvm.as_pointer())
        wanted = broadcast_value(builder, builder.trunc(values[2], bytes_.llvm.element), bytes_)
        return builder.icmp_unsigned("==", builder.load(pointer, align=1), wanted)

    return mask(array, types.intp, types.intp, lanes), emit


@vector_intrinsic
def equals(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, a.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.icmp_unsigned("==", *values)

    return mask(a, a), emit


@vector_intrinsic
def greater(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, a.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.fcmp_ordered(">", *values)

    return mask(a, a), emit


@vector_intrinsic
def greater_or_nan(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, a.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        greater = builder.fcmp_ordered(">", *values)
        nan = builder.fcmp_unordered("uno", values[0], values[0])
        return builder.or_(greater, nan)

    return mask(a, a), emit


@vector_intrinsic
def select(typing: Any, mask: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.select(*values)

    return a(mask, a, a), emit


@vector_intrinsic
def load_mask(typing: Any, array: Any, i: Any, lanes: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, ir.IntType(mask.lanes).as_pointer())
        return builder.bitcast(builder.load(pointer, align=1), mask.llvm)

    return mask(array, types.intp, lanes), emit


@vector_intrinsic
def store_mask(typing: Any, array: Any, i: Any, mask: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[2], ir.IntType(mask.lanes))
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        builder.store(bits, builder.bitcast(address, bits.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, mask), emit


@vector_intrinsic
def movemask(typing: Any, mask: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], ir.IntType(mask.lanes)), INT64)

    return types.int64(mask), emit


@vector_intrinsic
def count_trailing_zeros(typing: Any, bits: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))  # 0 has no lowest bit

    return types.int64(types.int64), emit


@vector_intrinsic
def clear_lowest_bit(typing: Any, bits: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.and_(values[0], builder.sub(values[0], INT64(1)))

    return types.int64(types.int64), emit
