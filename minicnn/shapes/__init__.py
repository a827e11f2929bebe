"""Shape arithmetic and argument checks: the only room that raises about a shape.

The letters used everywhere in the library, one per axis or size:

======  ================================================================
``N``   images in the batch
``H``   height of the input, in pixels
``W``   width of the input, in pixels
``C``   channels of the input
``KH``  height of the kernel or pooling window
``KW``  width of the kernel or pooling window
``S``   stride (``SH`` downwards, ``SW`` to the right)
``P``   padding (``top``, ``bottom``, ``left``, ``right``)
``OH``  height of the output
``OW``  width of the output
``F``   filters, that is channels of the output
======  ================================================================

Images are ``(N, H, W, C)``, convolution weights ``(KH, KW, C, F)``, dense weights ``(in, out)``.
"""

from minicnn.shapes.checks import (
    FloatArray,
    IntArray,
    check_array,
    check_bias,
    check_dense,
    check_flat_shape,
    check_float,
    check_gradient,
    check_image_shape,
    check_out,
    check_same_dtype,
    float_dtype,
)
from minicnn.shapes.convolutions import conv2d_window, depthwise_conv2d_window
from minicnn.shapes.dropout import check_dropout, check_rate
from minicnn.shapes.images import (
    as_batch,
    check_labels,
    check_pixel_range,
    check_pixels,
    check_probability_rows,
    check_scaling,
    class_names,
)
from minicnn.shapes.joining import check_concat, check_parts, check_residual, check_sum
from minicnn.shapes.kept import once_for_shapes
from minicnn.shapes.normalisation import check_batch_norm, check_fold, check_norm_shape
from minicnn.shapes.numbers import IntPair, check_flag, int_pair, number_in, positive_int
from minicnn.shapes.windows import Padding, Shape, Window, output_size, pool_window, window

__all__ = [
    "FloatArray",
    "IntArray",
    "IntPair",
    "Padding",
    "Shape",
    "Window",
    "as_batch",
    "check_array",
    "check_batch_norm",
    "check_bias",
    "check_concat",
    "check_dense",
    "check_dropout",
    "check_flag",
    "check_flat_shape",
    "check_float",
    "check_fold",
    "check_gradient",
    "check_image_shape",
    "check_labels",
    "check_norm_shape",
    "check_out",
    "check_parts",
    "check_pixel_range",
    "check_pixels",
    "check_probability_rows",
    "check_rate",
    "check_residual",
    "check_same_dtype",
    "check_scaling",
    "check_sum",
    "class_names",
    "conv2d_window",
    "depthwise_conv2d_window",
    "float_dtype",
    "int_pair",
    "number_in",
    "once_for_shapes",
    "output_size",
    "pool_window",
    "positive_int",
    "window",
]
