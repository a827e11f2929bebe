"""SIMD vectors, masks and register tiles for kernels.

The compiler by itself turns only simple loops into vector code. These functions give it LLVM
vectors (``<16 x float>``) of any power of two of lanes; LLVM splits one that is wider than a
register over several registers. A kernel that keeps its accumulators in such vectors is a plain
loop nest.

`simd.python` defines each function in plain Python, which runs under ``NUMBA_DISABLE_JIT=1``.
"""

from numba import config

from minicnn.kernels.simd.python import Rows, Tile, Vector

if vars(config)["DISABLE_JIT"]:
    from minicnn.kernels.simd.python import (
        add,
        axpy_tile,
        clamp_rows,
        clear_lowest_bit,
        count_trailing_zeros,
        divide,
        equal_bytes,
        equals,
        fma,
        fma_tile,
        gather_offsets,
        greater,
        greater_or_nan,
        interleave_high,
        interleave_low,
        load,
        load_mask,
        load_scalar,
        load_splat,
        load_tail,
        load_tile,
        movemask,
        relu_tile,
        row_offsets,
        select,
        splat,
        splat_tile,
        store,
        store_mask,
        store_tail,
        store_tile,
        subtract,
    )
else:
    from minicnn.kernels.simd.llvm import (
        add,
        clear_lowest_bit,
        count_trailing_zeros,
        divide,
        equal_bytes,
        equals,
        fma,
        greater,
        greater_or_nan,
        interleave_high,
        interleave_low,
        load,
        load_mask,
        load_scalar,
        load_splat,
        load_tail,
        movemask,
        select,
        splat,
        store,
        store_mask,
        store_tail,
        subtract,
    )
    from minicnn.kernels.simd.tile import (
        axpy_tile,
        clamp_rows,
        fma_tile,
        gather_offsets,
        load_tile,
        relu_tile,
        row_offsets,
        splat_tile,
        store_tile,
    )

__all__ = [
    "Rows",
    "Tile",
    "Vector",
    "add",
    "axpy_tile",
    "clamp_rows",
    "clear_lowest_bit",
    "count_trailing_zeros",
    "divide",
    "equal_bytes",
    "equals",
    "fma",
    "fma_tile",
    "gather_offsets",
    "greater",
    "greater_or_nan",
    "interleave_high",
    "interleave_low",
    "load",
    "load_mask",
    "load_scalar",
    "load_splat",
    "load_tail",
    "load_tile",
    "movemask",
    "relu_tile",
    "row_offsets",
    "select",
    "splat",
    "splat_tile",
    "store",
    "store_mask",
    "store_tail",
    "store_tile",
    "subtract",
]
