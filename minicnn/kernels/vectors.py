"""Vectors for kernels: so many numbers that are loaded, multiplied and stored as one.

Left to itself the compiler turns only simple loops into vector code. These functions give it
vectors outright (LLVM's ``<16 x float>``), of any power of two of lanes; one that is wider than the
machine's registers is spread over several. A kernel that keeps its sums in such vectors is then a
plain loop nest. What each function means, `minicnn.kernels.vectors_python` says, and of truth
values, one for each lane, `minicnn.kernels.masks_python`.
"""

from numba import config

if vars(config)["DISABLE_JIT"]:
    from minicnn.kernels.masks_python import (
        beats,
        bits_of,
        equals,
        exceeds,
        load_mask,
        lowest,
        matches,
        select,
        store_mask,
        without_lowest,
    )
    from minicnn.kernels.vectors_python import (
        add,
        at,
        broadcast,
        divide,
        fill,
        first_halves,
        load,
        load_first,
        multiply_add,
        second_halves,
        store,
        store_first,
        subtract,
    )
else:
    from minicnn.kernels.masks_llvm import (
        beats,
        bits_of,
        equals,
        exceeds,
        load_mask,
        lowest,
        matches,
        select,
        store_mask,
        without_lowest,
    )
    from minicnn.kernels.vectors_llvm import (
        add,
        at,
        broadcast,
        divide,
        fill,
        first_halves,
        load,
        load_first,
        multiply_add,
        second_halves,
        store,
        store_first,
        subtract,
    )

__all__ = [
    "add",
    "at",
    "beats",
    "bits_of",
    "broadcast",
    "divide",
    "equals",
    "exceeds",
    "fill",
    "first_halves",
    "load",
    "load_first",
    "load_mask",
    "lowest",
    "matches",
    "multiply_add",
    "second_halves",
    "select",
    "store",
    "store_first",
    "store_mask",
    "subtract",
    "without_lowest",
]
