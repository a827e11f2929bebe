"""SIMD functions as LLVM instructions.

`simd.python` defines the same functions. Each is a Numba intrinsic: from the types of its arguments
it returns a signature and a function that emits the instructions. An index is used as it is: unlike
``array[i]``, no bounds are checked and a negative index does not count from the end, which keeps
the inner loops fast.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

Emit = Callable[[Any, ir.IRBuilder, Any, Any], Any]
INT32, INT64 = ir.IntType(32), ir.IntType(64)


def intrinsic(code: Callable[..., tuple[Any, Emit]]) -> Any:
    """Make a Numba intrinsic that receives constants as literal types."""
    return numba_intrinsic(prefer_literal=True)(code)


class Vector(types.Type):
    """Numba's type of a vector: `lanes`, a power of two, values of one dtype.

    The dtype is float32, float64 or an unsigned integer; boolean makes a mask.
    """

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        self.name = f"Vector({dtype} x {lanes})"  # Numba compares types by name

    @property
    def llvm(self) -> ir.VectorType:
        """Return the LLVM type, such as ``<16 x float>``."""
        floats = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
        bits = getattr(self.dtype, "bitwidth", 1)
        return ir.VectorType(floats.get(self.dtype, ir.IntType(bits)), self.lanes)

    @property
    def suffix(self) -> str:
        """Return the suffix of LLVM's functions on this type, such as ``v16f32``."""
        letter = "f" if isinstance(self.dtype, types.Float) else "i"
        return f"v{self.lanes}{letter}{self.dtype.bitwidth}"

    @property
    def align(self) -> int:
        """Return the alignment: that of one value, since rows begin anywhere."""
        return int(self.dtype.bitwidth // 8)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    """A vector is one LLVM value, so that it can live in registers."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        models.PrimitiveModel.__init__(self, manager, vector, vector.llvm)


# ---------------------------------------------------------------- emitting instructions


def pointer_to(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, i: Any) -> Any:
    """Return a pointer to ``array[i]``."""
    # Not through Numba's array proxy, which would write the struct to the stack for every vector.
    field = context.data_model_manager[array_type].get_field_position("data")
    return builder.gep(builder.extract_value(array, field), [i])


def element(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, i: Any) -> Any:
    """Return ``array[i]``."""
    return builder.load(pointer_to(context, builder, array_type, array, i))


def broadcast_value(builder: ir.IRBuilder, value: Any, kind: ir.VectorType) -> Any:
    """Return an LLVM vector with `value` in each lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, undefined, zeros)


def tail_mask(builder: ir.IRBuilder, remaining: Any, lanes: int) -> Any:
    """Return an LLVM mask that is true in the lanes below `remaining`."""
    kind = ir.VectorType(remaining.type, lanes)
    indices = ir.Constant(kind, list(range(lanes)))
    return builder.icmp_signed("<", indices, broadcast_value(builder, remaining, kind))


def fmuladd(builder: ir.IRBuilder, vector: Vector, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``."""
    # Not llvm.fma: on a CPU without the instruction that calls a library function.
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector.llvm, [vector.llvm] * 3),
        f"llvm.fmuladd.{vector.suffix}",
    )
    return builder.call(function, [a, b, c])


def load_vector(builder: ir.IRBuilder, vector: Vector, address: Any, mask: Any) -> Any:
    """Return the vector at an address; masked lanes are 0 and not read."""
    pointer = builder.bitcast(address, vector.llvm.as_pointer())
    if mask is None:
        return builder.load(pointer, align=vector.align)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector.llvm, [pointer.type, INT32, mask.type, vector.llvm]),
        f"llvm.masked.load.{vector.suffix}.p0",
    )
    return builder.call(
        function, [pointer, INT32(vector.align), mask, ir.Constant(vector.llvm, None)]
    )


def store_vector(
    builder: ir.IRBuilder, vector: Vector, value: Any, address: Any, mask: Any
) -> None:
    """Store a vector at an address; masked lanes are not written."""
    if not isinstance(vector.dtype, types.Float) and isinstance(
        value.type.element, ir.FloatType | ir.DoubleType
    ):
        value = builder.fptoui(value, vector.llvm)
    pointer = builder.bitcast(address, vector.llvm.as_pointer())
    if mask is None:
        builder.store(value, pointer, align=vector.align)
        return
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [vector.llvm, pointer.type, INT32, mask.type]),
        f"llvm.masked.store.{vector.suffix}.p0",
    )
    builder.call(function, [value, pointer, INT32(vector.align), mask])


def whole_or_tail(
    builder: ir.IRBuilder, remaining: Any, lanes: int, emit: Callable[[Any], list[Any]]
) -> list[Any]:
    """Emit code without a mask if all lanes remain, else with one; merge."""
    if isinstance(remaining, ir.Constant) and remaining.constant >= lanes:
        return emit(None)
    whole = builder.icmp_signed(">=", remaining, INT64(lanes))
    with builder.if_else(whole) as (then, otherwise):
        with then:
            values, block = emit(None), builder.block
        with otherwise:
            tail_values = emit(tail_mask(builder, remaining, lanes))
            tail_block = builder.block
    merged = []
    for value, tail_value in zip(values, tail_values, strict=True):
        phi = builder.phi(value.type)
        phi.add_incoming(value, block)
        phi.add_incoming(tail_value, tail_block)
        merged.append(phi)
    return merged


# ---------------------------------------------------------------- loads and stores


@intrinsic
def load_scalar(typing: Any, array: Any, i: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return element(context, builder, signature.args[0], *values)

    return array.dtype(array, types.intp), emit


@intrinsic
def load(typing: Any, array: Any, i: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        return load_vector(builder, vector, address, None)

    return vector(array, types.intp, lanes), emit


@intrinsic
def load_splat(typing: Any, array: Any, i: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        value = element(context, builder, signature.args[0], *values[:2])
        return broadcast_value(builder, value, vector.llvm)

    return vector(array, types.intp, lanes), emit


@intrinsic
def splat(typing: Any, array: Any, value: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return broadcast_value(builder, values[1], vector.llvm)

    return vector(array, array.dtype, lanes), emit


@intrinsic
def load_tail(typing: Any, array: Any, i: Any, remaining: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])

        def load(mask: Any) -> list[Any]:
            return [load_vector(builder, vector, address, mask)]

        return whole_or_tail(builder, values[2], vector.lanes, load)[0]

    return vector(array, types.intp, types.intp, lanes), emit


@intrinsic
def store(typing: Any, array: Any, i: Any, v: Any) -> tuple[Any, Emit]:
    stored = Vector(array.dtype, v.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        store_vector(builder, stored, values[2], address, None)
        return context.get_dummy_value()

    return types.void(array, types.intp, v), emit


@intrinsic
def store_tail(typing: Any, array: Any, i: Any, v: Any, remaining: Any) -> tuple[Any, Emit]:
    stored = Vector(array.dtype, v.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])

        def write(mask: Any) -> list[Any]:
            store_vector(builder, stored, values[2], address, mask)
            return []

        whole_or_tail(builder, values[3], v.lanes, write)
        return context.get_dummy_value()

    return types.void(array, types.intp, v, types.intp), emit


# ---------------------------------------------------------------- arithmetic and shuffles


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return fmuladd(builder, a, *values)

    return a(a, a, a), emit


def _arithmetic(name: str) -> Any:
    """Make an intrinsic of two vectors from an instruction of the builder."""

    def code(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
        def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            return getattr(builder, name)(*values)

        return a(a, a), emit

    return intrinsic(code)


add = _arithmetic("fadd")
subtract = _arithmetic("fsub")
divide = _arithmetic("fdiv")


def _interleave(high: bool) -> Any:
    """Make an intrinsic that interleaves one half of the lanes of two vectors."""

    def code(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
        start = a.lanes // 2 if high else 0
        pairs = [(lane, a.lanes + lane) for lane in range(start, start + a.lanes // 2)]
        lanes = [lane for pair in pairs for lane in pair]

        def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            order = ir.Constant(ir.VectorType(INT32, a.lanes), lanes)
            return builder.shuffle_vector(*values, order)

        return a(a, a), emit

    return intrinsic(code)


interleave_low = _interleave(high=False)
interleave_high = _interleave(high=True)


# ---------------------------------------------------------------- masks


@intrinsic
def equal_bytes(typing: Any, array: Any, i: Any, value: Any, lanes: Any) -> tuple[Any, Emit]:
    mask = Vector(types.boolean, lanes.literal_value)
    vector = Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        byte = builder.trunc(values[2], vector.llvm.element)
        compared = broadcast_value(builder, byte, vector.llvm)
        return builder.icmp_unsigned("==", load_vector(builder, vector, address, None), compared)

    return mask(array, types.intp, types.intp, lanes), emit


def _comparison(compare: Callable[[ir.IRBuilder, Any, Any], Any]) -> Any:
    """Make an intrinsic that compares two vectors."""

    def code(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
        def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            return compare(builder, *values)

        return Vector(types.boolean, a.lanes)(a, a), emit

    return intrinsic(code)


def is_greater_or_nan(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    """Return where a is greater than b, or NaN."""
    nan = builder.fcmp_unordered("uno", a, a)
    return builder.or_(builder.fcmp_ordered(">", a, b), nan)


equals = _comparison(lambda builder, a, b: builder.icmp_unsigned("==", a, b))
greater = _comparison(lambda builder, a, b: builder.fcmp_ordered(">", a, b))
greater_or_nan = _comparison(is_greater_or_nan)


@intrinsic
def select(typing: Any, mask: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.select(*values)

    return a(mask, a, a), emit


@intrinsic
def load_mask(typing: Any, array: Any, i: Any, lanes: Any) -> tuple[Any, Emit]:
    mask = Vector(types.boolean, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, ir.IntType(mask.lanes).as_pointer())
        return builder.bitcast(builder.load(pointer, align=1), mask.llvm)

    return mask(array, types.intp, lanes), emit


@intrinsic
def store_mask(typing: Any, array: Any, i: Any, mask: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[2], ir.IntType(mask.lanes))
        address = pointer_to(context, builder, signature.args[0], *values[:2])
        builder.store(bits, builder.bitcast(address, bits.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, mask), emit


@intrinsic
def movemask(typing: Any, mask: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], ir.IntType(mask.lanes)), INT64)

    return types.int64(mask), emit


@intrinsic
def count_trailing_zeros(typing: Any, bits: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))  # undefined for 0

    return types.int64(types.int64), emit


@intrinsic
def clear_lowest_bit(typing: Any, bits: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.and_(values[0], builder.sub(values[0], INT64(1)))

    return types.int64(types.int64), emit
