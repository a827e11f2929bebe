"""Register tiles as LLVM instructions.

A tile is a tuple of MR vectors of one width. Numba represents a tuple of vectors as one LLVM
aggregate, whose elements LLVM keeps in registers. MR is a compile-time constant, so every function
is fully unrolled. `simd.python` defines the same functions.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import unpack_tuple

from minicnn.kernels.simd.llvm import (
    INT64,
    Emit,
    Vector,
    broadcast_value,
    element,
    fmuladd,
    intrinsic,
    is_greater_or_nan,
    load_vector,
    pointer_to,
    store_vector,
    whole_or_tail,
)


@intrinsic
def clamp_rows(typing: Any, first: Any, count: Any, MR: Any) -> tuple[Any, Emit]:
    rows = types.UniTuple(types.int64, MR.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        last = builder.sub(values[1], INT64(1))
        indices = [builder.add(values[0], INT64(r)) for r in range(rows.count)]
        clamped = [builder.select(builder.icmp_signed("<", i, last), i, last) for i in indices]
        return context.make_tuple(builder, rows, clamped)

    return rows(types.int64, types.int64, MR), emit


@intrinsic
def row_offsets(typing: Any, rows: Any, stride: Any, base: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        indices = unpack_tuple(builder, values[0])
        offsets = [builder.add(values[2], builder.mul(i, values[1])) for i in indices]
        return context.make_tuple(builder, rows, offsets)

    return rows(rows, types.int64, types.int64), emit


@intrinsic
def gather_offsets(typing: Any, array: Any, rows: Any, base: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        indices = unpack_tuple(builder, values[1])
        gathered = [element(context, builder, array, values[0], i) for i in indices]
        offsets = [builder.add(values[2], offset) for offset in gathered]
        return context.make_tuple(builder, rows, offsets)

    return rows(array, rows, types.int64), emit


@intrinsic
def splat_tile(typing: Any, v: Any, MR: Any) -> tuple[Any, Emit]:
    tile = types.UniTuple(v, MR.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return context.make_tuple(builder, tile, [values[0]] * tile.count)

    return tile(v, MR), emit


@intrinsic
def fma_tile(typing: Any, acc: Any, x: Any, rows: Any, k: Any, v: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        accumulators, offsets = (unpack_tuple(builder, values[i]) for i in (0, 2))
        sums = []
        for a, offset in zip(accumulators, offsets, strict=True):
            value = element(context, builder, x, values[1], builder.add(offset, values[3]))
            factor = broadcast_value(builder, value, v.llvm)
            sums.append(fmuladd(builder, v, factor, values[4], a))
        return context.make_tuple(builder, acc, sums)

    return acc(acc, x, rows, types.int64, v), emit


@intrinsic
def axpy_tile(typing: Any, acc: Any, v: Any, tile: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        accumulators, factors = (unpack_tuple(builder, values[i]) for i in (0, 2))
        pairs = zip(accumulators, factors, strict=True)
        sums = [fmuladd(builder, v, values[1], factor, a) for a, factor in pairs]
        return context.make_tuple(builder, acc, sums)

    return acc(acc, v, tile), emit


@intrinsic
def relu_tile(typing: Any, tile: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        zero = ir.Constant(tile.dtype.llvm, None)
        clipped = [
            builder.select(is_greater_or_nan(builder, v, zero), v, zero)
            for v in unpack_tuple(builder, values[0])
        ]
        return context.make_tuple(builder, tile, clipped)

    return tile(tile), emit


@intrinsic
def load_tile(typing: Any, array: Any, rows: Any, remaining: Any, lanes: Any) -> tuple[Any, Emit]:
    vector = Vector(array.dtype, lanes.literal_value)
    tile = types.UniTuple(vector, rows.count)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        offsets = unpack_tuple(builder, values[1])
        addresses = [pointer_to(context, builder, array, values[0], i) for i in offsets]

        def load(mask: Any) -> list[Any]:
            return [load_vector(builder, vector, address, mask) for address in addresses]

        vectors = whole_or_tail(builder, values[2], vector.lanes, load)
        return context.make_tuple(builder, tile, vectors)

    return tile(array, rows, types.int64, lanes), emit


@intrinsic
def store_tile(typing: Any, array: Any, rows: Any, tile: Any, remaining: Any) -> tuple[Any, Emit]:
    vector = Vector(array.dtype, tile.dtype.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        offsets, vectors = (unpack_tuple(builder, values[i]) for i in (1, 2))
        addresses = [pointer_to(context, builder, array, values[0], i) for i in offsets]

        def store(mask: Any) -> list[Any]:
            for address, v in zip(addresses, vectors, strict=True):
                store_vector(builder, vector, v, address, mask)
            return []

        whole_or_tail(builder, values[3], vector.lanes, store)
        return context.get_dummy_value()

    return types.void(array, rows, tile, types.int64), emit
