"""Functions of masks as LLVM instructions; `minicnn.kernels.masks_python` says what they mean."""

from typing import Any

from llvmlite import ir
from numba import types

from minicnn.kernels.vectors_llvm import Emit, address_of, in_each_lane, instruction, vector_of

INT64 = ir.IntType(64)


@instruction
def matches(typing: Any, array: Any, i: Any, number: Any, lanes: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, lanes.literal_value)
    bytes_ = vector_of(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = address_of(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, bytes_.llvm.as_pointer())
        wanted = in_each_lane(builder, builder.trunc(values[2], bytes_.llvm.element), bytes_)
        return builder.icmp_unsigned("==", builder.load(pointer, align=1), wanted)

    return mask(array, types.intp, types.intp, lanes), emit


@instruction
def equals(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, a.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.icmp_unsigned("==", *values)

    return mask(a, a), emit


@instruction
def exceeds(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, a.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.fcmp_ordered(">", *values)

    return mask(a, a), emit


@instruction
def beats(typing: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, a.lanes)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        greater = builder.fcmp_ordered(">", *values)
        nan = builder.fcmp_unordered("uno", values[0], values[0])
        return builder.or_(greater, nan)

    return mask(a, a), emit


@instruction
def select(typing: Any, mask: Any, a: Any, b: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.select(*values)

    return a(mask, a, a), emit


@instruction
def load_mask(typing: Any, array: Any, i: Any, lanes: Any) -> tuple[Any, Emit]:
    mask = vector_of(types.boolean, lanes.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        address = address_of(context, builder, signature.args[0], *values[:2])
        pointer = builder.bitcast(address, ir.IntType(mask.lanes).as_pointer())
        return builder.bitcast(builder.load(pointer, align=1), mask.llvm)

    return mask(array, types.intp, lanes), emit


@instruction
def store_mask(typing: Any, array: Any, i: Any, mask: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[2], ir.IntType(mask.lanes))
        address = address_of(context, builder, signature.args[0], *values[:2])
        builder.store(bits, builder.bitcast(address, bits.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, mask), emit


@instruction
def bits_of(typing: Any, mask: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], ir.IntType(mask.lanes)), INT64)

    return types.int64(mask), emit


@instruction
def lowest(typing: Any, bits: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))  # 0 has no lowest bit

    return types.int64(types.int64), emit


@instruction
def without_lowest(typing: Any, bits: Any) -> tuple[Any, Emit]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.and_(values[0], builder.sub(values[0], INT64(1)))

    return types.int64(types.int64), emit
