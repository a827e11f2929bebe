"""How a window slides over an image: output sizes, strides and padding.

What convolutions demand of their arguments, and the window that follows.
"""

from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from minicnn.shapes import FloatArray, Shape
from minicnn.shapes.checks import as_pair, check_array, check_bias, check_same_dtype


class Window(NamedTuple):
    """How a ``KH × KW`` window slides over an image; what every kernel needs to know of it.

    Output pixel ``(oh, ow)`` sees the input rows ``oh * SH - top + kh`` and the columns
    ``ow * SW - left + kw``. Where that falls outside the image it sees padding.
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
    """Return how many windows fit: ``(size + before + after - kernel) // stride + 1``.

    Parameters
    ----------
    size : int
        Pixels of the input along one axis.
    kernel : int
        Pixels of the window along that axis.
    stride : int
        Pixels from one window to the next.
    before, after : int
        Padding in front of the first and behind the last pixel.

    Returns
    -------
    int
        Zero or less where the window is larger than the padded input.
    """
    return (size + before + after - kernel) // stride + 1


def _axis_padding(
    op: str, padding: object, sizes: Shape, kernels: Shape, strides: Shape
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return ((top, bottom), (left, right)) for a number, a pair, "valid" or "same".

    "same" gives ``ceil(size / stride)`` outputs. Where the padding that this takes is odd, the
    extra pixel goes to the bottom or the right (as in TensorFlow and Keras; PyTorch agrees where
    it accepts "same", at stride 1).
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
    """Work out how a window slides over an image of a given size.

    Parameters
    ----------
    op : str
        Name of the function or class that asks, for the messages.
    size : tuple of int
        ``(H, W)`` of the input.
    kernel : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int
        ``(SH, SW)``.
    padding : int, pair of int, "same" or "valid"
        Pixels added above and below, and left and right; "valid" is 0, "same" gives
        ``ceil(H / SH) × ceil(W / SW)`` outputs.

    Returns
    -------
    Window

    Raises
    ------
    TypeError
        If an argument is not a whole number where one is wanted.
    ValueError
        If a kernel or stride is below 1, a padding is negative, or the kernel is larger than the
        padded input.
    """
    with suppress(TypeError):  # what cannot be looked up, or is wrong, is worked out below
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


# A training step asks for the same few windows over and over.
_window_cached = lru_cache(maxsize=256, typed=True)(_window)


def pool_window(
    op: str, size: Shape, pool_size: object, stride: object = None, padding: object = 0
) -> Window:
    """Work out how a pooling window slides; its stride is its own size unless given.

    Every window must hold at least one pixel of the image, since the maximum of nothing but
    padding is no number.

    Parameters
    ----------
    op : str
        Name of the function or class that asks, for the messages.
    size : tuple of int
        ``(H, W)`` of the input.
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        ``(SH, SW)``; the pool size where left out.
    padding : int, pair of int, "same" or "valid"
        As in `window`.

    Returns
    -------
    Window

    Raises
    ------
    TypeError
        If an argument is not a whole number where one is wanted.
    ValueError
        As in `window`, and if the padding is not smaller than the pooling window.
    """
    win = make_window(op, size, pool_size, pool_size if stride is None else stride, padding)
    if win.top >= win.KH or win.left >= win.KW:
        raise ValueError(
            f"{op}: padding {padding!r} must be smaller than the pooling window "
            f"{win.KH}×{win.KW}, or a window would hold nothing but padding"
        )
    return win


def conv2d_window(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: object, padding: object
) -> Window:
    """Check the arguments of a convolution and work out its window.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    Window

    Raises
    ------
    TypeError, ValueError
        With the argument's name, what was given and what is wanted.
    """
    return _weight_window("conv2d", x, weight, bias, "KH KW C F", stride, padding)


def depthwise_conv2d_window(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: object, padding: object
) -> Window:
    """Check the arguments of a depthwise convolution and work out its window.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C)
    bias : ndarray (C,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    Window

    Raises
    ------
    TypeError, ValueError
        With the argument's name, what was given and what is wanted.
    """
    return _weight_window("depthwise_conv2d", x, weight, bias, "KH KW C", stride, padding)


def _weight_window(
    op: str,
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    axes: str,
    stride: object,
    padding: object,
) -> Window:
    """Check arguments whose weights have the axes named, and work out their window."""
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
