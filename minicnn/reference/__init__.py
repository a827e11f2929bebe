"""Every operation as slow, obvious loops: the textbook.

These functions are never optimized. They are what the formulas say, one element at a time, with
sums in double precision, and every faster version in the library must give their numbers. The
letters are those of `minicnn.shapes`. Each ``name(x, ...)`` returns ``(y, cache)`` and each
``name_backward(dy, cache)`` returns the gradients, as in the working versions in `minicnn.ops`. How
their formulas follow from the definitions is in DERIVATIONS.md, beside this file.

What the field calls convolution is cross-correlation: the kernel is not flipped.
"""

from minicnn.reference.activations import (
    dropout,
    dropout_backward,
    relu,
    relu_backward,
    softmax,
    softmax_backward,
)
from minicnn.reference.conv import conv2d, conv2d_backward
from minicnn.reference.dense import dense, dense_backward, flatten, flatten_backward
from minicnn.reference.depthwise import depthwise_conv2d, depthwise_conv2d_backward
from minicnn.reference.losses import one_hot, softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.reference.merge import add, add_backward, concat, concat_backward
from minicnn.reference.norm import batch_norm, batch_norm_backward, batch_norm_inference
from minicnn.reference.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

__all__ = [
    "add",
    "add_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "concat",
    "concat_backward",
    "conv2d",
    "conv2d_backward",
    "dense",
    "dense_backward",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "dropout",
    "dropout_backward",
    "flatten",
    "flatten_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "one_hot",
    "relu",
    "relu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
]
