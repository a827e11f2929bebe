"""Max-pooling, average pooling and global average pooling."""

from dataclasses import dataclass

from minicnn import ops
from minicnn.layers.base import Layer
from minicnn.shapes import IntPair, Padding, Shape
from minicnn.shapes.checks import check_image_shape
from minicnn.shapes.window import Window, pool_window


@dataclass(eq=False, repr=False)
class _Pool2D(Layer):
    """Pooling over windows; the fields are those of `MaxPool2D`."""

    pool_size: IntPair
    stride: IntPair | None = None
    padding: Padding = 0

    options = "pool_size", "stride", "padding"
    example = (2,), (6, 4, 3)

    def window(self, input_shape: Shape) -> Window:
        """Return the geometry of the window.

        Parameters
        ----------
        input_shape : tuple of int
            (H, W, C).

        Returns
        -------
        Window
        """
        op = type(self).__name__
        H, W, _ = check_image_shape(op, input_shape)
        return pool_window(op, (H, W), self.pool_size, self.stride, self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        window = self.window(input_shape)
        return window.OH, window.OW, input_shape[2]


@dataclass(eq=False, repr=False)
class MaxPool2D(_Pool2D):
    """Maximum of each window, for each channel.

    Parameters
    ----------
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        The pool size by default.
    padding : int, pair of int, "same" or "valid"
    """

    ops = ops.max_pool2d, ops.max_pool2d_backward
    replayable = True

    def is_two_by_two(self) -> bool:
        """Return whether the windows are 2×2, adjacent and inside the image.

        Returns
        -------
        bool
        """
        sizes = self.pool_size, self.stride or self.pool_size
        unpadded = self.padding in (0, (0, 0), "valid")
        return unpadded and all(size in (2, (2, 2)) for size in sizes)


@dataclass(eq=False, repr=False)
class AvgPool2D(_Pool2D):
    """Mean of each window, for each channel.

    Padding counts as zeros, as in PyTorch.

    Parameters
    ----------
    pool_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int, optional
        The pool size by default.
    padding : int, pair of int, "same" or "valid"
    """

    ops = ops.avg_pool2d, ops.avg_pool2d_backward
    replayable = True


@dataclass(eq=False, repr=False)
class GlobalAvgPool2D(Layer):
    """Mean of each channel over the whole image: C values for each image."""

    ops = ops.global_avg_pool2d, ops.global_avg_pool2d_backward
    replayable = True

    def output_shape(self, input_shape: Shape) -> Shape:
        _, _, C = check_image_shape("GlobalAvgPool2D", input_shape)
        return (C,)
