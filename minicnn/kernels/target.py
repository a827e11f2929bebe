"""Vector widths, tile sizes and L1 size of the CPU that Numba targets.

The accumulators of a microtile must stay in registers. On AVX2, 6 pixels × 16 channels take 12 of
the 16 registers (of 8 float32). Even 4 pixels × 32 channels leave none for the factors, and halve
the speed. On AVX-512, 6 pixels × 64 channels take 24 of the 32 registers (of 16 float32). Three
widths are enough; each further width adds a compilation. The 6 is MR in `minicnn.kernels.gemm`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numba import config
from numba.core.codegen import get_host_cpu_features

from minicnn.kernels.jit import kernel

Kernel = Callable[..., None]


def nr_choices(features: str) -> tuple[int, int, int]:
    """Return NR for few, for medium and for many channels.

    `features` are LLVM's names of the CPU's features: ``"+avx2,-avx512f,..."``. The result is
    powers of two, in rising order; two may be equal.
    """
    if "+avx512f" in features:
        return 16, 32, 64
    if "+avx2" in features or "+neon" in features:
        return 8, 16, 16
    return 4, 8, 8


def simd_registers(features: str) -> tuple[int, int]:
    """Return the float32 lanes and the number of accumulator registers.

    A third or a quarter of the registers stays free for factors and for the compiler.
    """
    if "+avx512f" in features:
        return 16, 20
    if "+avx2" in features:
        return 8, 12
    return 4, 20 if "+neon" in features else 12


def l1_data_bytes(folder: str = "/sys/devices/system/cpu/cpu0/cache") -> int:
    """Return the L1 data cache size that Linux reports, or 32 KiB."""
    for cache in sorted(Path(folder).glob("index*")):
        try:
            level, kind, size = (
                (cache / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if (level, kind) == ("1", "Data") and size.endswith("K"):
            return int(size[:-1]) * 1024
    return 32 * 1024  # no CPU with vector registers has less


def _features() -> str:
    """Return the CPU features, which the environment may override."""
    override: str | None = vars(config)["CPU_FEATURES"]
    if override is not None:
        return override
    return "" if vars(config)["CPU_NAME"] == "generic" else str(get_host_cpu_features())


# In plain Python there are no registers. The widths differ, so that tests without a compiler run
# the code for each of them.
_PLAIN_PYTHON = bool(vars(config)["DISABLE_JIT"])
NR_CHOICES = (8, 16, 32) if _PLAIN_PYTHON else nr_choices(_features())
NR_SMALL, NR_MEDIUM, NR_LARGE = NR_CHOICES
SIMD_WIDTH, ACCUMULATOR_REGISTERS = (8, 12) if _PLAIN_PYTHON else simd_registers(_features())
# Lanes of a vector in kernels without a register tile; two registers on NEON, one elsewhere.
LANES = NR_SMALL
# LANES as an argument of a device function. Numba would compile the function once more for a Python
# constant; LLVM treats this as a constant all the same.
FULL_VECTOR: Any = np.int64(LANES)
# Rows per block. One vector of columns is read from all rows of a block before the next vector; a
# block of rows stays in L1, however wide it is.
BLOCK_ROWS = 64
# Bytes that an array may occupy in a core's L1 data cache. Lists and accumulators need an eighth.
L1_BYTES = l1_data_bytes() * 7 // 8


def specialize(values: Iterable[int]) -> Callable[[Callable[[int], Kernel]], dict[int, Kernel]]:
    """Compile one kernel for each value of a constant: ``name[value]``.

    The decorated function takes NR (or another constant of a tile) and returns the kernel. As a
    constant, it lets the compiler keep the accumulators in registers. A kernel that is never called
    is never compiled.
    """
    return lambda make: {value: _named_kernel(make, value) for value in sorted(set(values))}


def _named_kernel(make: Callable[[int], Kernel], value: int) -> Kernel:
    """Return a kernel under a name of its own, which Numba's cache requires."""
    function = make(value)
    function.__qualname__ = f"{make.__qualname__}_{value}"
    return kernel(function)


def choose_nr(F: int) -> int:
    """Return the smallest NR ≥ F, else the NR with fewer empty lanes."""
    if F <= NR_MEDIUM:
        return NR_SMALL if F <= NR_SMALL else NR_MEDIUM
    return NR_LARGE if -F % NR_LARGE <= -F % NR_MEDIUM else NR_MEDIUM
