"""Windows of convolution and pooling: output size, stride, padding."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from minicnn.shapes import Array, Shape, memoize_by_shape
from minicnn.shapes.checks import as_pair, check_weight


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

    def pixels(self, oh: int, ow: int, H: int, W: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield ``kh, kw, h, w`` of each pixel that lies in the image."""
        for kh, kw in product(range(self.KH), range(self.KW)):
            h, w = oh * self.SH - self.top + kh, ow * self.SW - self.left + kw
            if 0 <= h < H and 0 <= w < W:
                yield kh, kw, h, w


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Return the number of windows along an axis; 0 or less if none fits."""
    return (size + before + after - kernel) // stride + 1


def _pad_amounts(
    op: str, padding: object, sizes: Shape, kernels: Shape, strides: Shape
) -> list[tuple[int, int]]:
    """Return (top, bottom) and (left, right).

    "same" gives ``ceil(size / stride)`` outputs. If its padding is odd, the extra pixel is added
    at the bottom or right, as in TensorFlow, Keras, and PyTorch at stride 1.
    """
    if padding == "same":
        amounts = []
        for size, kernel, stride in zip(sizes, kernels, strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            amounts.append((total // 2, total - total // 2))
        return amounts
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(
            f'{op}: padding must be a whole number, a pair, "same" or "valid", not {padding!r}'
        )
    down, right = as_pair(op, "padding", 0 if padding == "valid" else padding, minimum=0)
    return [(down, down), (right, right)]


@memoize_by_shape  # a training step requests the same few windows
def make_window(
    op: str, size: Shape, kernel: Any, stride: Any = 1, padding: Any = 0, name: str = "kernel"
) -> Window:
    """Return the window of an image of `size` (H, W).

    `kernel`, `stride` and `padding` are as in `minicnn.ops.conv2d`. Raises TypeError if one is not
    a whole number, and ValueError if the kernel is larger than the padded input.
    """
    KH, KW = as_pair(op, f"{name} size", kernel, minimum=1)
    SH, SW = as_pair(op, "stride", stride, minimum=1)
    H, W = size
    (top, bottom), (left, right) = _pad_amounts(op, padding, (H, W), (KH, KW), (SH, SW))
    OH = output_size(H, KH, SH, top, bottom)
    OW = output_size(W, KW, SW, left, right)
    if OH < 1 or OW < 1:
        raise ValueError(
            f"{op}: the {name} {KH}×{KW} is larger than the padded input "
            f"{H + top + bottom}×{W + left + right} (input {H}×{W}); "
            f"use a smaller {name}, or more padding"
        )
    return Window(KH, KW, SH, SW, top, left, OH, OW)


def pool_window(
    op: str, size: Shape, pool_size: object, stride: object = None, padding: object = 0
) -> Window:
    """Return a pooling window; its stride is its size by default.

    The padding must be smaller than the window: the maximum of padding only is undefined.
    """
    stride = pool_size if stride is None else stride
    win = make_window(op, size, pool_size, stride, padding, "pool")
    if win.top >= win.KH or win.left >= win.KW:
        raise ValueError(
            f"{op}: padding {padding!r} must be smaller than the pooling window "
            f"{win.KH}×{win.KW}, or a window would hold nothing but padding"
        )
    return win


@memoize_by_shape
def conv_window(
    op: str, axes: str, x: Array, weight: Array, bias: Array, stride: object, padding: object
) -> Window:
    """Check the arrays of a convolution and return its window."""
    check_weight(op, "N H W C", axes, x, weight, bias)
    return make_window(op, x.shape[1:3], weight.shape[:2], stride, padding)
