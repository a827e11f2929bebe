"""Every Numba function of the library.

A kernel takes arrays and plain numbers, writes its results into arrays that the caller made,
returns nothing and checks nothing: `minicnn.ops` is the caller that checks and allocates. Each
opens with the loop nest that it computes, in the letters of `minicnn.shapes`. With the environment
variable ``NUMBA_DISABLE_JIT=1`` every kernel runs as the plain Python that it is written in, for a
debugger or for coverage.
"""

from minicnn.kernels.activations import RELU_LANES, relu_backward, relu_forward
from minicnn.kernels.averages import (
    avg_pool,
    avg_pool_backward,
    global_avg_pool,
    global_avg_pool_backward,
)
from minicnn.kernels.compilation import announce_compilation, this_thread
from minicnn.kernels.components import join_runs
from minicnn.kernels.dense import dense_upstream
from minicnn.kernels.depthwise import depthwise, depthwise_weight_gradient
from minicnn.kernels.direct import (
    direct_few_weight_gradient,
    direct_forward,
    direct_weight_gradient,
)
from minicnn.kernels.distance import squared_distances
from minicnn.kernels.dropout import CHANCES, DROPOUT_LANES, keep_scaled, random_bits
from minicnn.kernels.exchange import exchange_channels, transpose, turn_round
from minicnn.kernels.joining import add_arrays, copy_columns, crop_images
from minicnn.kernels.losses import cross_entropy, cross_entropy_step
from minicnn.kernels.machine import FIRST_LEVEL, NARROW, WIDE, WIDEST, lanes_for
from minicnn.kernels.matmul import matmul, multiply_row
from minicnn.kernels.normalisation import (
    CHANNEL_ROWS,
    MEAN,
    VARIANCE,
    batch_norm_given,
    batch_norm_statistics,
    fold_batch_norm,
    normalise,
)
from minicnn.kernels.normalisation_gradients import (
    batch_norm_gradients,
    batch_norm_input_gradient,
)
from minicnn.kernels.optimisers import adam_update, add_rows, move_towards, sgd_update
from minicnn.kernels.patches import gather_patches, scatter_patches
from minicnn.kernels.philox import random_words
from minicnn.kernels.pooled import pooled_forward
from minicnn.kernels.pooled_dweight import pooled_weight_gradient
from minicnn.kernels.pooled_dx import pooled_input_gradient
from minicnn.kernels.pooled_small import pooled_small_weight_gradient
from minicnn.kernels.pooling import max_pool, max_pool_backward, max_pool_scatter
from minicnn.kernels.rows import clear, look_up, pad_images
from minicnn.kernels.spread import spread
from minicnn.kernels.stretches import STRETCHES, holds_nine, stretch_for
from minicnn.kernels.strokes import blur, thicken
from minicnn.kernels.sums import sum_rows
from minicnn.kernels.tape import NotRecordableError, Tape, recorded
from minicnn.kernels.tones import add_noise, erase, shade
from minicnn.kernels.vary import AMOUNTS, STRENGTHS, WORDS, draw_changes, vary
from minicnn.kernels.warp import WARP_LANES, warp
from minicnn.kernels.winograd import winograd_forward, winograd_pooled_forward
from minicnn.kernels.winograd_gradients import winograd_input_gradient, winograd_weight_gradient
from minicnn.kernels.winograd_weights import winograd_weights, winograd_weights_gradient

__all__ = [
    "AMOUNTS",
    "CHANCES",
    "CHANNEL_ROWS",
    "DROPOUT_LANES",
    "FIRST_LEVEL",
    "MEAN",
    "NARROW",
    "RELU_LANES",
    "STRENGTHS",
    "STRETCHES",
    "VARIANCE",
    "WARP_LANES",
    "WIDE",
    "WIDEST",
    "WORDS",
    "NotRecordableError",
    "Tape",
    "adam_update",
    "add_arrays",
    "add_noise",
    "add_rows",
    "announce_compilation",
    "avg_pool",
    "avg_pool_backward",
    "batch_norm_given",
    "batch_norm_gradients",
    "batch_norm_input_gradient",
    "batch_norm_statistics",
    "blur",
    "clear",
    "copy_columns",
    "crop_images",
    "cross_entropy",
    "cross_entropy_step",
    "dense_upstream",
    "depthwise",
    "depthwise_weight_gradient",
    "direct_few_weight_gradient",
    "direct_forward",
    "direct_weight_gradient",
    "draw_changes",
    "erase",
    "exchange_channels",
    "fold_batch_norm",
    "gather_patches",
    "global_avg_pool",
    "global_avg_pool_backward",
    "holds_nine",
    "join_runs",
    "keep_scaled",
    "lanes_for",
    "look_up",
    "matmul",
    "max_pool",
    "max_pool_backward",
    "max_pool_scatter",
    "move_towards",
    "multiply_row",
    "normalise",
    "pad_images",
    "pooled_forward",
    "pooled_input_gradient",
    "pooled_small_weight_gradient",
    "pooled_weight_gradient",
    "random_bits",
    "random_words",
    "recorded",
    "relu_backward",
    "relu_forward",
    "scatter_patches",
    "sgd_update",
    "shade",
    "spread",
    "squared_distances",
    "stretch_for",
    "sum_rows",
    "thicken",
    "this_thread",
    "transpose",
    "turn_round",
    "vary",
    "warp",
    "winograd_forward",
    "winograd_input_gradient",
    "winograd_pooled_forward",
    "winograd_weight_gradient",
    "winograd_weights",
    "winograd_weights_gradient",
]
