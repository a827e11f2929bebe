"""Vectors for kernels: so many numbers that are loaded, multiplied and stored as one.

Left to itself the compiler turns only simple loops into vector code. These functions give it
vectors outright (LLVM's ``<16 x float>``), of any power of two of lanes; one that is wider than the
machine's registers is spread over several. A kernel that keeps its sums in such vectors is then a
plain loop nest. `minicnn.kernels.vectors_python` says what each function means.
"""

from numba import config

if vars(config)["DISABLE_JIT"]:
    from minicnn.kernels.vectors_python import (
        add,
        at,
        beats,
        broadcast,
        divide,
        equals,
        exceeds,
        fill,
        load,
        load_first,
        load_mask,
        matches,
        multiply_add,
        select,
        store,
        store_first,
        store_mask,
        subtract,
    )
else:
    from minicnn.kernels.vectors_llvm import (
        add,
        at,
        beats,
        broadcast,
        divide,
        equals,
        exceeds,
        fill,
        load,
        load_first,
        load_mask,
        matches,
        multiply_add,
        select,
        store,
        store_first,
        store_mask,
        subtract,
    )

__all__ = [
    "add",
    "at",
    "beats",
    "broadcast",
    "divide",
    "equals",
    "exceeds",
    "fill",
    "load",
    "load_first",
    "load_mask",
    "matches",
    "multiply_add",
    "select",
    "store",
    "store_first",
    "store_mask",
    "subtract",
]
