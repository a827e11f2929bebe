"""Every Numba function of the library.

A kernel takes arrays and plain numbers, writes its results into arrays that the caller made,
returns nothing and checks nothing: `minicnn.ops` is the caller that checks and allocates. Each
opens with the loop nest that it computes, in the letters of `minicnn.shapes`. With the environment
variable ``NUMBA_DISABLE_JIT=1`` every kernel runs as the plain Python that it is written in, for a
debugger or for coverage.
"""

from minicnn.kernels.compilation import announce_compilation
from minicnn.kernels.direct import NARROW, direct_forward, direct_weight_gradient
from minicnn.kernels.matmul import matmul_add
from minicnn.kernels.optimisers import adam_update, sgd_update
from minicnn.kernels.patches import gather_patches, scatter_patches
from minicnn.kernels.pooled import pooled_forward
from minicnn.kernels.pooled_gradients import pooled_input_gradient, pooled_weight_gradient
from minicnn.kernels.pooling import max_pool, max_pool_backward

__all__ = [
    "NARROW",
    "adam_update",
    "announce_compilation",
    "direct_forward",
    "direct_weight_gradient",
    "gather_patches",
    "matmul_add",
    "max_pool",
    "max_pool_backward",
    "pooled_forward",
    "pooled_input_gradient",
    "pooled_weight_gradient",
    "scatter_patches",
    "sgd_update",
]
