"""Every Numba function of the library.

A kernel takes arrays and plain numbers, writes its results into arrays that the caller made,
returns nothing and checks nothing: `minicnn.ops` is the caller that checks and allocates. Each
opens with the loop nest that it computes, in the letters of `minicnn.shapes`. With the environment
variable ``NUMBA_DISABLE_JIT=1`` every kernel runs as the plain Python that it is written in, for a
debugger or for coverage.
"""
