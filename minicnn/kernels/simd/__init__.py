"""Vectors for kernels: so many numbers that are loaded, multiplied and stored as one.

Left to itself the compiler turns only simple loops into vector code. These functions give it
vectors outright (LLVM's ``<16 x float>``), of any power of two of lanes; one that is wider than the
machine's registers is spread over several. A kernel that keeps its sums in such vectors is then a
plain loop nest. What each function means, `minicnn.kernels.simd.python` says, and of truth
values, one for each lane, `minicnn.kernels.simd.python`.
"""

from numba import config

if vars(config)["DISABLE_JIT"]:
    from minicnn.kernels.simd.python import (
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
        masked_load,
        masked_store,
        movemask,
        select,
        splat,
        store,
        store_mask,
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
        masked_load,
        masked_store,
        movemask,
        select,
        splat,
        store,
        store_mask,
        subtract,
    )

__all__ = [
    "add",
    "clear_lowest_bit",
    "count_trailing_zeros",
    "divide",
    "equal_bytes",
    "equals",
    "fma",
    "greater",
    "greater_or_nan",
    "interleave_high",
    "interleave_low",
    "load",
    "load_mask",
    "load_scalar",
    "load_splat",
    "masked_load",
    "masked_store",
    "movemask",
    "select",
    "splat",
    "store",
    "store_mask",
    "subtract",
]
