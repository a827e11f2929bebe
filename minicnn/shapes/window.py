"""Windows of convolution and pooling: output size, stride, padding."""

from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from minicnn.shapes import Array, Shape, memoize_by_shape
from minicnn.shapes.checks import as_pair, check_array, check_bias, check_same_dtype


class Window(NamedTuple):
    """The geometry of a sliding ``KH × KW`` window.

    Output pixel ``(oh, ow)`` reads the input rows ``oh · SH - top + kh`` and the columns
    ``ow · SW - left + kw``. Outside the image it reads padding.
    """

    KH: int
    KW: int
    SH: int
    SW: int
    top: int
    left: int
    OH: int
    OW: int


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Return the number of windows along an axis; 0 or less if none fits."""
    return (size + before + after - kernel) // stride + 1


def _axis_padding(
    op: str, padding: object, sizes: Shape, kernels: Shape, strides: Shape
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return ((top, bottom), (left, right)).

    "same" gives ``ceil(size / stride)`` outputs. If its padding is odd, the extra pixel is added
    at the bottom or right, as in TensorFlow, Keras, and PyTorch at stride 1.
    """
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding == "same":
            totals = [
                max((-(-size // stride) - 1) * stride + kernel - size, 0)
                for size, kernel, stride in zip(sizes, kernels, strides, strict=True)
            ]
            (top, bottom), (left, right) = ((t // 2, t - t // 2) for t in totals)
            return (top, bottom), (left, right)
        raise ValueError(
            f'{op}: padding must be a whole number, a pair, "same" or "valid", not {padding!r}'
        )
    down, right = as_pair(op, "padding", padding, minimum=0)
    return (down, down), (right, right)


def make_window(
    op: str, size: Shape, kernel: object, stride: object = 1, padding: object = 0
) -> Window:
    """Return the window of an image of `size` (H, W).

    `kernel`, `stride` and `padding` are as in `minicnn.ops.conv2d`. Raises TypeError if one is not
    a whole number, and ValueError if the kernel is larger than the padded input.
    """
    with suppress(TypeError):  # an unhashable argument
        return _window_cached(op, size, kernel, stride, padding)
    return _window(op, size, kernel, stride, padding)


def _window(op: str, size: Shape, kernel: object, stride: object, padding: object) -> Window:
    KH, KW = as_pair(op, "kernel size", kernel, minimum=1)
    SH, SW = as_pair(op, "stride", stride, minimum=1)
    H, W = size
    (top, bottom), (left, right) = _axis_padding(op, padding, (H, W), (KH, KW), (SH, SW))
    OH = output_size(H, KH, SH, top, bottom)
    OW = output_size(W, KW, SW, left, right)
    if OH < 1 or OW < 1:
        raise ValueError(
            f"{op}: the kernel {KH}×{KW} is larger than the padded input "
            f"{H + top + bottom}×{W + left + right} (input {H}×{W}); "
            f"use a smaller kernel, or more padding"
        )
    return Window(KH, KW, SH, SW, top, left, OH, OW)


# A training step requests the same few windows.
_window_cached = lru_cache(maxsize=256, typed=True)(_window)


def pool_window(
    op: str, size: Shape, pool_size: object, stride: object = None, padding: object = 0
) -> Window:
    """Return a pooling window; its stride is its size by default.

    The padding must be smaller than the window: the maximum of padding only is undefined.
    """
    win = make_window(op, size, pool_size, pool_size if stride is None else stride, padding)
    if win.top >= win.KH or win.left >= win.KW:
        raise ValueError(
            f"{op}: padding {padding!r} must be smaller than the pooling window "
            f"{win.KH}×{win.KW}, or a window would hold nothing but padding"
        )
    return win


@memoize_by_shape
def conv2d_window(x: Array, weight: Array, bias: Array, stride: object, padding: object) -> Window:
    """Check the arrays of `conv2d` and return its window."""
    return _weight_window("conv2d", x, weight, bias, "KH KW C F", stride, padding)


@memoize_by_shape
def depthwise_conv2d_window(
    x: Array, weight: Array, bias: Array, stride: object, padding: object
) -> Window:
    """Check the arrays of `depthwise_conv2d` and return its window."""
    return _weight_window("depthwise_conv2d", x, weight, bias, "KH KW C", stride, padding)


def _weight_window(
    op: str, x: Array, weight: Array, bias: Array, axes: str, stride: object, padding: object
) -> Window:
    """Check arrays whose weight has the named axes; return their window."""
    check_array(op, "x", x, "N H W C")
    check_array(op, "weight", weight, axes)
    check_array(op, "bias", bias, axes.split()[-1])
    check_same_dtype(op, x=x, weight=weight, bias=bias)
    if x.shape[3] != weight.shape[2]:
        raise ValueError(
            f"{op}: x has {x.shape[3]} channels but weight expects {weight.shape[2]} "
            f"(x {x.shape}, weight {weight.shape})"
        )
    check_bias(op, bias, weight)
    return make_window(op, x.shape[1:3], weight.shape[:2], stride, padding)
