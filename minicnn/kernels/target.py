"""How many numbers are taken at once on this machine: chosen here, and nowhere else.

A tile's sums must stay in registers. Four pixels × 16 channels are 8 registers of 8 numbers, of the
16 that AVX2 has; 32 channels would leave none for the factors and halve the speed. With AVX-512 it
is 32 registers of 16 numbers: four pixels × 64 channels fill half of them. What is not in between
is not worth a tile of its own: each is compiled once more.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from numba import config
from numba.core.codegen import get_host_cpu_features

from minicnn.kernels.jit import kernel

Kernel = Callable[..., None]

CACHE_FILES = ("level", "type", "size")  # "1", "Data" and "48K"


def nr_choices(features: str) -> tuple[int, int, int]:
    """Choose the lanes of the three tiles: for few channels, for some, for many.

    Parameters
    ----------
    features : str
        LLVM's names of what the CPU can do: ``"+avx2,-avx512f,..."``.

    Returns
    -------
    tuple of int
        Powers of two, in rising order; two may be equal.
    """
    if "+avx512f" in features:
        return 16, 32, 64
    if "+avx2" in features or "+neon" in features:
        return 8, 16, 16
    return 4, 8, 8


def simd_registers(features: str) -> tuple[int, int]:
    """Say how many numbers a register holds, and how many registers of sums leave enough free.

    A third of them, or a quarter, is for factors and for what the compiler needs.

    Parameters
    ----------
    features : str
        As for `nr_choices`.

    Returns
    -------
    tuple of int
        Numbers of float32, and registers.
    """
    if "+avx512f" in features:
        return 16, 20
    if "+avx2" in features:
        return 8, 12
    return 4, 20 if "+neon" in features else 12


def l1_data_bytes(folder: str = "/sys/devices/system/cpu/cpu0/cache") -> int:
    """Return the bytes of a core's first-level cache for data.

    Parameters
    ----------
    folder : str
        Where Linux describes the caches.

    Returns
    -------
    int
        32 KiB where the system says nothing: no CPU with vectors has less.
    """
    for cache in sorted(Path(folder).glob("index*")):
        try:
            level, kind, size = ((cache / name).read_text().strip() for name in CACHE_FILES)
        except OSError:
            continue
        if (level, kind) == ("1", "Data") and size.endswith("K"):
            return int(size[:-1]) * 1024
    return 32 * 1024


def _features() -> str:
    """Return what Numba compiles for: the environment may name other features than the host's."""
    named: str | None = vars(config)["CPU_FEATURES"]
    if named is not None:
        return named
    return "" if vars(config)["CPU_NAME"] == "generic" else str(get_host_cpu_features())


def _nr_choices() -> tuple[int, int, int]:
    """Return the lanes of the three tiles; in plain Python, without registers, any that differ."""
    return (8, 16, 32) if vars(config)["DISABLE_JIT"] else nr_choices(_features())


NR_SMALL, NR_MEDIUM, NR_LARGE = _nr_choices()
# In plain Python so that both what fits and what does not is met.
SIMD_WIDTH, ACCUMULATOR_REGISTERS = (
    (8, 12) if vars(config)["DISABLE_JIT"] else simd_registers(_features())
)
# Bytes that an array may take of a core's first-level cache, beside lists and sums.
L1_BYTES = l1_data_bytes() * 7 // 8


def specialize(widths: Iterable[int]) -> Callable[[Callable[[int], Kernel]], dict[int, Kernel]]:
    """Make a kernel for each of several widths: ``name[lanes]``.

    The lanes are a constant of each, so that its sums stay in registers. A width that is never
    asked for is never compiled.

    Parameters
    ----------
    widths : iterable of int

    Returns
    -------
    callable
        For a function that takes the lanes and returns one for
        `minicnn.kernels.jit.kernel`.
    """
    return lambda make: {lanes: _named(make, lanes) for lanes in sorted(set(widths))}


def specialize_nr(make: Callable[[int], Kernel]) -> dict[int, Kernel]:
    """Make a kernel for each width of tile, as `specialize`.

    Parameters
    ----------
    make : callable

    Returns
    -------
    dict of int to callable
    """
    return specialize((NR_SMALL, NR_MEDIUM, NR_LARGE))(make)


def _named(make: Callable[[int], Kernel], lanes: int) -> Kernel:
    """Return a kernel under a name of its own, by which Numba's cache tells it from the others."""
    function = make(lanes)
    function.__qualname__ = f"{make.__qualname__}_{lanes}"
    return kernel(function)


def choose_nr(F: int) -> int:
    """Return the lanes of the tile that fits so many channels.

    The smallest that takes them all; where none does, the one that leaves fewer lanes empty, and
    of equals the larger.

    Parameters
    ----------
    F : int
        Output channels.

    Returns
    -------
    int
        `NR_SMALL`, `NR_MEDIUM` or `NR_LARGE`.
    """
    if F <= NR_MEDIUM:
        return NR_SMALL if F <= NR_SMALL else NR_MEDIUM
    return NR_LARGE if -F % NR_LARGE <= -F % NR_MEDIUM else NR_MEDIUM
