"""Numba kernels: the fast part of the library. Read GUIDE.md first.

A kernel takes arrays and scalars, writes its results into arrays of the caller, returns nothing and
checks nothing; `minicnn.ops` checks and allocates. Each kernel's docstring has its formula and loop
nest, in the letters of `minicnn.shapes`. With ``NUMBA_DISABLE_JIT=1`` every kernel runs as plain
Python, for a debugger or for coverage.
"""

from minicnn.kernels import llvm as llvm  # tells Numba how to compile the functions of `simd`
