"""The pooling layers."""

from dataclasses import dataclass
from typing import Any

from minicnn import ops
from minicnn.layers.base import Gradients, Layer
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, IntPair, Padding, Shape
from minicnn.shapes.checks import check_image_shape
from minicnn.shapes.window import pool_window


@dataclass(eq=False, repr=False)
class MaxPool2D(Layer):
    """Maximum of each window, for each channel.

    Parameters
    ----------
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        The pool size where left out.
    padding : int, pair of int, "same" or "valid"
    """

    replayable = True

    pool_size: IntPair
    stride: IntPair | None = None
    padding: Padding = 0

    def output_shape(self, input_shape: Shape) -> Shape:
        H, W, C = check_image_shape("MaxPool2D", input_shape)
        window = pool_window("MaxPool2D", (H, W), self.pool_size, self.stride, self.padding)
        return window.OH, window.OW, C

    def is_two_by_two(self) -> bool:
        """Return whether the windows are 2×2, side by side and inside the image.

        Returns
        -------
        bool
        """
        sizes = self.pool_size, self.stride or self.pool_size
        return all(size in (2, (2, 2)) for size in sizes) and self.padding in (
            0,
            (0, 0),
            "valid",
        )

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.max_pool2d(x, self.pool_size, self.stride, self.padding)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return ops.max_pool2d_backward(dy, cache), {}


@dataclass(eq=False, repr=False)
class AvgPool2D(Layer):
    """Mean of each window, for each channel; padding counts as zeros, as in PyTorch.

    Parameters
    ----------
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        The pool size where left out.
    padding : int, pair of int, "same" or "valid"
    """

    replayable = True

    pool_size: IntPair
    stride: IntPair | None = None
    padding: Padding = 0

    def output_shape(self, input_shape: Shape) -> Shape:
        H, W, C = check_image_shape("AvgPool2D", input_shape)
        window = pool_window("AvgPool2D", (H, W), self.pool_size, self.stride, self.padding)
        return window.OH, window.OW, C

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.avg_pool2d(x, self.pool_size, self.stride, self.padding)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return ops.avg_pool2d_backward(dy, cache), {}


@dataclass(eq=False, repr=False)
class GlobalAvgPool2D(Layer):
    """Mean of each channel over the whole image: one row of C numbers for each image."""

    replayable = True

    def output_shape(self, input_shape: Shape) -> Shape:
        _, _, C = check_image_shape("GlobalAvgPool2D", input_shape)
        return (C,)

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.global_avg_pool2d(x)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return ops.global_avg_pool2d_backward(dy, cache), {}
