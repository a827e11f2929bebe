"""Operations as pairs: ``name(x, ...)`` and ``name_backward(dy, cache)``.

Forward returns ``(y, cache)``, backward the gradients. The cache is a named tuple with everything
that backward reads. An op checks its arguments, allocates the outputs and calls the kernels. It
never writes to its inputs, and results have the dtype of the inputs. The gradient of the loss with
respect to ``name`` is called ``dname`` and has its shape.

Inside `minicnn.runtime.arena.scope` the returned arrays are overwritten by the next scope.
"""

from minicnn.ops.activations import (
    dropout,
    dropout_backward,
    relu,
    relu_backward,
    softmax,
    softmax_backward,
)
from minicnn.ops.conv import (
    conv2d,
    conv2d_backward,
    depthwise_conv2d,
    depthwise_conv2d_backward,
    register_backend,
)
from minicnn.ops.conv_pool import conv2d_max_pool2d, conv2d_max_pool2d_backward
from minicnn.ops.dense import dense, dense_backward, flatten, flatten_backward
from minicnn.ops.merge import add, add_backward, concat, concat_backward
from minicnn.ops.norm import batch_norm, batch_norm_backward, batch_norm_inference, fold_batch_norm
from minicnn.ops.pooling import (
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
    "conv2d_max_pool2d",
    "conv2d_max_pool2d_backward",
    "dense",
    "dense_backward",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "dropout",
    "dropout_backward",
    "flatten",
    "flatten_backward",
    "fold_batch_norm",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "register_backend",
    "relu",
    "relu_backward",
    "softmax",
    "softmax_backward",
]
