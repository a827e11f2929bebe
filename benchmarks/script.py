"""Offer the benchmarks what the scripts in examples/ share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from console import Help, run_script
from files import writable

__all__ = ["Help", "run_script", "writable"]
