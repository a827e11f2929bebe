"""The functions of `simd` as LLVM instructions.

Numba compiles a call of such a function to what the function of the same name emits here. An index
is used as it is: unlike ``array[i]``, no bounds are checked and a negative index does not count
from the end, which keeps the inner loops fast. Numba represents a tuple of vectors as one LLVM
aggregate, whose elements LLVM keeps in registers.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.ir import IRBuilder
from numba import types
from numba.core.cgutils import get_or_insert_function, pack_array, unpack_tuple
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin, models, register_model

from minicnn.kernels import simd

Value = Any  # of LLVM, typed
Emit = Callable[..., Value]
INT32, INT64 = ir.IntType(32), ir.IntType(64)
INT = types.int64
DATA = 4  # the field of Numba's array struct that points to the values


class Vector(types.Type):
    """Numba's type of a vector: `lanes`, a power of two, values of one dtype.

    The dtype is float32, float64 or an unsigned integer; boolean makes a mask.
    """

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        self.name = f"Vector({dtype} x {lanes})"  # Numba compares types by name


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    """A vector is one LLVM value, so that it can live in registers."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        kind = ir.VectorType(manager[vector.dtype].get_value_type(), vector.lanes)
        models.PrimitiveModel.__init__(self, manager, vector, kind)


def instructions_of(
    function: Callable[..., Any], signature: Callable[..., Any]
) -> Callable[[Emit], Emit]:
    """Compile calls of a function to what the decorated function emits.

    `signature` takes Numba's types of the arguments and returns Numba's signature.
    """

    class Template(AbstractTemplate):
        prefer_literal = True  # the types of constants, such as `lanes`, have the values

        def generic(self, arguments: Any, keywords: Any) -> Any:
            return signature(*arguments)

    def register(emit: Emit) -> Emit:
        def lower(context: Any, builder: IRBuilder, chosen: Any, values: Any) -> Value:
            pairs = zip(chosen.args, values, strict=True)
            result = emit(builder, *(getattr(kind, "literal_value", v) for kind, v in pairs))
            return context.get_dummy_value() if result is None else result

        infer_global(function)(Template)
        lower_builtin(function, types.VarArg(types.Any))(lower)
        return emit

    return register


def vector_of(array: Any, lanes: Any) -> Vector:
    """Return the type of `lanes` values of an array."""
    return Vector(array.dtype, lanes.literal_value)


def rows_of(count: int) -> Any:
    """Return the type of `count` rows."""
    return types.UniTuple(INT, count)


# ---------------------------------------------------------------- emitting instructions


def pointer_to(builder: IRBuilder, array: Value, i: Value) -> Value:
    """Return a pointer to ``array[i]``."""
    # Not through Numba's array proxy, which would write the struct to the stack for every vector.
    return builder.gep(builder.extract_value(array, DATA), [i])


def broadcast(builder: IRBuilder, value: Value, lanes: int) -> Value:
    """Return a vector with `value` in each lane."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, zeros)


def tail_mask(builder: IRBuilder, remaining: Value, lanes: int) -> Value:
    """Return a mask that is true in the lanes below `remaining`."""
    indices = ir.Constant(ir.VectorType(remaining.type, lanes), list(range(lanes)))
    return builder.icmp_signed("<", indices, broadcast(builder, remaining, lanes))


def call(builder: IRBuilder, name: str, vector: Any, result: Any, arguments: list[Value]) -> Value:
    """Call LLVM's function of this name for a type of vectors."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    name = name.format(f"v{vector.count}{vector.element.intrinsic_name}")
    return builder.call(get_or_insert_function(builder.module, kind, name), arguments)


def alignment(vector: Any) -> int:
    """Return the alignment: that of one value, since rows begin anywhere."""
    return int(vector.element.intrinsic_name[1:]) // 8  # such as f32


def load_vector(builder: IRBuilder, pointer: Value, lanes: int, mask: Value) -> Value:
    """Return the vector at an address; masked lanes are 0 and not read."""
    kind = ir.VectorType(pointer.type.pointee, lanes)
    pointer, align = builder.bitcast(pointer, kind.as_pointer()), alignment(kind)
    if mask is None:
        return builder.load(pointer, align=align)
    arguments = [pointer, INT32(align), mask, ir.Constant(kind, None)]
    return call(builder, "llvm.masked.load.{}.p0", kind, kind, arguments)


def store_vector(builder: IRBuilder, v: Value, pointer: Value, mask: Value) -> None:
    """Store a vector at an address; masked lanes are not written."""
    kind = ir.VectorType(pointer.type.pointee, v.type.count)
    if isinstance(kind.element, ir.IntType) and not isinstance(v.type.element, ir.IntType):
        v = builder.fptoui(v, kind)
    pointer, align = builder.bitcast(pointer, kind.as_pointer()), alignment(kind)
    if mask is None:
        builder.store(v, pointer, align=align)
    else:
        arguments = [v, pointer, INT32(align), mask]
        call(builder, "llvm.masked.store.{}.p0", kind, ir.VoidType(), arguments)


def whole_or_tail(
    builder: IRBuilder, remaining: Value, lanes: int, emit: Callable[[Value], list[Value]]
) -> list[Value]:
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


def load_rows(
    builder: IRBuilder, array: Value, rows: list[Value], remaining: Value, lanes: int
) -> list[Value]:
    """Return a vector of `remaining` values from each row on."""
    pointers = [pointer_to(builder, array, row) for row in rows]

    def emit(mask: Value) -> list[Value]:
        return [load_vector(builder, pointer, lanes, mask) for pointer in pointers]

    return whole_or_tail(builder, remaining, lanes, emit)


def store_rows(
    builder: IRBuilder, array: Value, rows: list[Value], vectors: list[Value], remaining: Value
) -> None:
    """Store the first `remaining` lanes of a vector from each row on."""
    pointers = [pointer_to(builder, array, row) for row in rows]

    def emit(mask: Value) -> list[Value]:
        for v, pointer in zip(vectors, pointers, strict=True):
            store_vector(builder, v, pointer, mask)
        return []

    whole_or_tail(builder, remaining, vectors[0].type.count, emit)


# ---------------------------------------------------------------- loads and stores


@instructions_of(simd.load_scalar, lambda array, i: array.dtype(array, INT))
def load_scalar(builder: IRBuilder, array: Value, i: Value) -> Value:
    return builder.load(pointer_to(builder, array, i))


@instructions_of(simd.load, lambda array, i, lanes: vector_of(array, lanes)(array, INT, lanes))
def load(builder: IRBuilder, array: Value, i: Value, lanes: int) -> Value:
    return load_vector(builder, pointer_to(builder, array, i), lanes, None)


@instructions_of(
    simd.load_splat, lambda array, i, lanes: vector_of(array, lanes)(array, INT, lanes)
)
def load_splat(builder: IRBuilder, array: Value, i: Value, lanes: int) -> Value:
    return broadcast(builder, load_scalar(builder, array, i), lanes)


@instructions_of(
    simd.splat, lambda array, value, lanes: vector_of(array, lanes)(array, array.dtype, lanes)
)
def splat(builder: IRBuilder, array: Value, value: Value, lanes: int) -> Value:
    return broadcast(builder, value, lanes)


@instructions_of(
    simd.load_tail,
    lambda array, i, remaining, lanes: vector_of(array, lanes)(array, INT, INT, lanes),
)
def load_tail(builder: IRBuilder, array: Value, i: Value, remaining: Value, lanes: int) -> Value:
    return load_rows(builder, array, [i], remaining, lanes)[0]


@instructions_of(simd.store, lambda array, i, v: types.void(array, INT, v))
def store(builder: IRBuilder, array: Value, i: Value, v: Value) -> None:
    store_vector(builder, v, pointer_to(builder, array, i), None)


@instructions_of(simd.store_tail, lambda array, i, v, remaining: types.void(array, INT, v, INT))
def store_tail(builder: IRBuilder, array: Value, i: Value, v: Value, remaining: Value) -> None:
    store_rows(builder, array, [i], [v], remaining)


# ---------------------------------------------------------------- arithmetic

instructions_of(simd.add, lambda a, b: a(a, b))(IRBuilder.fadd)
instructions_of(simd.subtract, lambda a, b: a(a, b))(IRBuilder.fsub)
instructions_of(simd.divide, lambda a, b: a(a, b))(IRBuilder.fdiv)


@instructions_of(simd.fma, lambda a, b, c: a(a, b, c))
def fma(builder: IRBuilder, a: Value, b: Value, c: Value) -> Value:
    # Not llvm.fma: on a CPU without the instruction that calls a library function.
    return call(builder, "llvm.fmuladd.{}", a.type, a.type, [a, b, c])


# ---------------------------------------------------------------- masks

select = instructions_of(simd.select, lambda mask, a, b: a(mask, a, b))(IRBuilder.select)


@instructions_of(simd.equals, lambda a, b: Vector(types.boolean, a.lanes)(a, b))
def equals(builder: IRBuilder, a: Value, b: Value) -> Value:
    return builder.icmp_unsigned("==", a, b)


@instructions_of(simd.greater, lambda a, b: Vector(types.boolean, a.lanes)(a, b))
def greater(builder: IRBuilder, a: Value, b: Value) -> Value:
    return builder.fcmp_ordered(">", a, b)


@instructions_of(simd.greater_or_nan, lambda a, b: Vector(types.boolean, a.lanes)(a, b))
def greater_or_nan(builder: IRBuilder, a: Value, b: Value) -> Value:
    nan = builder.fcmp_unordered("uno", a, a)
    return builder.or_(builder.fcmp_ordered(">", a, b), nan)


@instructions_of(
    simd.load_mask,
    lambda array, i, lanes: Vector(types.boolean, lanes.literal_value)(array, INT, lanes),
)
def load_mask(builder: IRBuilder, array: Value, i: Value, lanes: int) -> Value:
    pointer = builder.bitcast(pointer_to(builder, array, i), ir.IntType(lanes).as_pointer())
    return builder.bitcast(builder.load(pointer, align=1), ir.VectorType(ir.IntType(1), lanes))


@instructions_of(simd.store_mask, lambda array, i, mask: types.void(array, INT, mask))
def store_mask(builder: IRBuilder, array: Value, i: Value, mask: Value) -> None:
    bits = builder.bitcast(mask, ir.IntType(mask.type.count))
    pointer = builder.bitcast(pointer_to(builder, array, i), bits.type.as_pointer())
    builder.store(bits, pointer, align=1)


@instructions_of(simd.movemask, lambda mask: INT(mask))
def movemask(builder: IRBuilder, mask: Value) -> Value:
    return builder.zext(builder.bitcast(mask, ir.IntType(mask.type.count)), INT64)


@instructions_of(simd.count_trailing_zeros, lambda bits: INT(INT))
def count_trailing_zeros(builder: IRBuilder, bits: Value) -> Value:
    return builder.cttz(bits, ir.Constant(ir.IntType(1), 1))  # undefined for 0


@instructions_of(simd.clear_lowest_bit, lambda bits: INT(INT))
def clear_lowest_bit(builder: IRBuilder, bits: Value) -> Value:
    return builder.and_(bits, builder.sub(bits, INT64(1)))


# ---------------------------------------------------------------- register tiles


@instructions_of(simd.clamp_rows, lambda first, count, MR: rows_of(MR.literal_value)(INT, INT, MR))
def clamp_rows(builder: IRBuilder, first: Value, count: Value, MR: int) -> Value:
    last = builder.sub(count, INT64(1))
    rows = [builder.add(first, INT64(r)) for r in range(MR)]
    clamped = [builder.select(builder.icmp_signed("<", i, last), i, last) for i in rows]
    return pack_array(builder, clamped)


@instructions_of(simd.row_offsets, lambda rows, stride, base: rows_of(rows.count)(rows, INT, INT))
def row_offsets(builder: IRBuilder, rows: Value, stride: Value, base: Value) -> Value:
    offsets = [builder.add(base, builder.mul(i, stride)) for i in unpack_tuple(builder, rows)]
    return pack_array(builder, offsets)


@instructions_of(
    simd.gather_offsets, lambda array, rows, base: rows_of(rows.count)(array, rows, INT)
)
def gather_offsets(builder: IRBuilder, array: Value, rows: Value, base: Value) -> Value:
    gathered = [load_scalar(builder, array, i) for i in unpack_tuple(builder, rows)]
    return pack_array(builder, [builder.add(base, offset) for offset in gathered])


@instructions_of(simd.splat_tile, lambda v, MR: types.UniTuple(v, MR.literal_value)(v, MR))
def splat_tile(builder: IRBuilder, v: Value, MR: int) -> Value:
    return pack_array(builder, [v] * MR)


@instructions_of(simd.fma_tile, lambda acc, x, rows, k, v: acc(acc, x, rows, INT, v))
def fma_tile(builder: IRBuilder, acc: Value, x: Value, rows: Value, k: Value, v: Value) -> Value:
    sums = []
    for a, row in zip(unpack_tuple(builder, acc), unpack_tuple(builder, rows), strict=True):
        factor = load_splat(builder, x, builder.add(row, k), v.type.count)
        sums.append(fma(builder, factor, v, a))
    return pack_array(builder, sums)


@instructions_of(simd.axpy_tile, lambda acc, v, tile: acc(acc, v, tile))
def axpy_tile(builder: IRBuilder, acc: Value, v: Value, tile: Value) -> Value:
    pairs = zip(unpack_tuple(builder, acc), unpack_tuple(builder, tile), strict=True)
    return pack_array(builder, [fma(builder, v, factor, a) for a, factor in pairs])


@instructions_of(simd.relu_tile, lambda tile: tile(tile))
def relu_tile(builder: IRBuilder, tile: Value) -> Value:
    vectors = unpack_tuple(builder, tile)
    zero = ir.Constant(vectors[0].type, None)
    clipped = [select(builder, greater_or_nan(builder, v, zero), v, zero) for v in vectors]
    return pack_array(builder, clipped)


@instructions_of(simd.transpose_tile, lambda tile: tile(tile))
def transpose_tile(builder: IRBuilder, tile: Value) -> Value:
    # Each interleaving moves the value in lane c₂c₁c₀ of vector r₂r₁r₀ (bits of the indices) to
    # lane c₁c₀r₂ of vector r₁r₀c₂. After three interleavings lane and vector are exchanged.
    vectors = unpack_tuple(builder, tile)
    half = len(vectors) // 2
    low = [index for lane in range(half) for index in (lane, lane + 2 * half)]
    high = [index + half for index in low]
    orders = [ir.Constant(ir.VectorType(INT32, 2 * half), lanes) for lanes in (low, high)]
    for _ in range(half.bit_length()):
        pairs = zip(vectors[:half], vectors[half:], strict=True)
        vectors = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in orders]
    return pack_array(builder, vectors)


@instructions_of(
    simd.load_tile,
    lambda array, rows, remaining, lanes: types.UniTuple(vector_of(array, lanes), rows.count)(
        array, rows, INT, lanes
    ),
)
def load_tile(builder: IRBuilder, array: Value, rows: Value, remaining: Value, lanes: int) -> Value:
    vectors = load_rows(builder, array, unpack_tuple(builder, rows), remaining, lanes)
    return pack_array(builder, vectors)


@instructions_of(
    simd.store_tile, lambda array, rows, tile, remaining: types.void(array, rows, tile, INT)
)
def store_tile(
    builder: IRBuilder, array: Value, rows: Value, tile: Value, remaining: Value
) -> None:
    rows, vectors = unpack_tuple(builder, rows), unpack_tuple(builder, tile)
    store_rows(builder, array, rows, vectors, remaining)
