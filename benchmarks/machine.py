"""Describe the machine, and measure the peak of one core."""

import datetime
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np

import minicnn
from minicnn.kernels.simd import fma, load, store

# Vector instruction sets, widest first: LLVM's name of the feature, the usual name, and the number
# of float32 lanes of a register.
SIMD = (
    ("avx512f", "AVX-512", 16),
    ("avx2", "AVX2", 8),
    ("avx", "AVX", 8),
    ("sse2", "SSE2", 4),
    ("neon", "NEON", 4),
)
CHAINS = 12
PACKAGES = ("numpy", "numba", "torch", "onnxruntime")


def simd() -> tuple[str, int]:
    """Return the widest vector instruction set and its float32 lanes."""
    features = llvmlite.binding.get_host_cpu_features()
    for feature, name, lanes in SIMD:
        if features.get(feature):
            return name, lanes
    return "unknown", 4


def cpu_model() -> str:
    """Return the model name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def metadata(*, peak: bool = True) -> dict[str, Any]:
    """Return CPU, versions and peak, to be stored beside the measurements."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": minicnn.cpu_count(),
        "simd": simd()[0],
        "os": platform.platform(),
        "python": platform.python_version(),
        **versions,
        "peak_gflops_one_core": peak_gflops(simd()[1]) if peak else None,
        "date": datetime.date.today().isoformat(),
    }


def peak_gflops(lanes: int, steps: int = 100_000, runs: int = 1000) -> float:
    """Measure the float32 GFLOP/s of one core, two for each multiply-add.

    A multiply-add takes about four cycles, and a core starts two in each. So twelve independent
    chains keep it busy, and they fit in 16 registers. The fastest of many short runs counts,
    because any other load of the machine makes a run slower.
    """
    chains = _chains(lanes)
    values = np.linspace(0.5, 0.9, (CHAINS + 2) * lanes).astype(np.float32)
    chains(values, 1)  # compiles
    best = np.inf
    for _ in range(runs):
        started = time.perf_counter()
        chains(values, steps)
        best = min(best, time.perf_counter() - started)
    return 2 * CHAINS * lanes * steps / best / 1e9


def _chains(lanes: int) -> Any:
    """Return a function with twelve chains of vector multiply-adds."""

    @numba.njit(fastmath={"contract"})
    def chains(x: Any, steps: int) -> None:
        a, b = load(x, 12 * lanes, lanes), load(x, 13 * lanes, lanes)
        c0, c1, c2 = load(x, 0, lanes), load(x, lanes, lanes), load(x, 2 * lanes, lanes)
        c3, c4, c5 = load(x, 3 * lanes, lanes), load(x, 4 * lanes, lanes), load(x, 5 * lanes, lanes)
        c6, c7, c8 = load(x, 6 * lanes, lanes), load(x, 7 * lanes, lanes), load(x, 8 * lanes, lanes)
        c9, c10 = load(x, 9 * lanes, lanes), load(x, 10 * lanes, lanes)
        c11 = load(x, 11 * lanes, lanes)
        for _ in range(steps):
            c0, c1 = fma(c0, a, b), fma(c1, a, b)
            c2, c3 = fma(c2, a, b), fma(c3, a, b)
            c4, c5 = fma(c4, a, b), fma(c5, a, b)
            c6, c7 = fma(c6, a, b), fma(c7, a, b)
            c8, c9 = fma(c8, a, b), fma(c9, a, b)
            c10, c11 = fma(c10, a, b), fma(c11, a, b)
        # Stored, or the compiler would delete the work.
        for index, c in enumerate((c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11)):
            store(x, index * lanes, c)

    return chains
