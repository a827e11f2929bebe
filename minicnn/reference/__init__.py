"""Every operation as slow, obvious loops: the textbook.

These functions are never optimized. They compute the formulas element by element, with sums in
double precision, and every faster version must give their values. The symbols are those of
`minicnn.shapes`. ``name(x, ...)`` returns ``(y, cache)`` and ``name_backward(dy, cache)`` the
gradients, as in `minicnn.ops`. DERIVATIONS.md, beside this file, derives the formulas.

Convolution is cross-correlation, as everywhere in the field: the kernel is not flipped.
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
