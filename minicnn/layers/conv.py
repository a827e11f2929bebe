"""Convolution and depthwise convolution."""

from dataclasses import dataclass

from minicnn import ops
from minicnn.initializers import he_normal
from minicnn.layers.base import Initializer, WeightedLayer
from minicnn.ops.conv import select_backend
from minicnn.shapes import IntPair, Padding, Shape
from minicnn.shapes.checks import check_image_shape, positive_int
from minicnn.shapes.window import Window, make_window


class _Convolution(WeightedLayer):
    """A layer whose weight slides over the image as a window."""

    kernel_size: IntPair
    stride: IntPair
    padding: Padding

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
        return make_window(op, (H, W), self.kernel_size, self.stride, self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        window = self.window(input_shape)
        return window.OH, window.OW, self._weight_shape(input_shape)[-1]


@dataclass(eq=False, repr=False)
class Conv2D(_Convolution):
    """Convolution of images with `filters` kernels, plus a bias for each.

    Parameters
    ----------
    filters : int
        Output channels, F.
    kernel_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
    backend : str
        Algorithm; see `minicnn.ops.conv2d`.
    initializer : callable
        From `minicnn.initializers`; biases start at 0.
    bias : bool
        False if a `BatchNorm` follows, which subtracts any constant.

    Raises
    ------
    TypeError, ValueError
        If `filters` is not an integer of at least 1, or `bias` is not a bool. `build` checks the
        other arguments.
    """

    filters: int
    kernel_size: IntPair
    stride: IntPair = 1
    padding: Padding = 0
    backend: str = "auto"
    initializer: Initializer = he_normal
    bias: bool = True

    ops = ops.conv2d, ops.conv2d_backward
    options = "stride", "padding", "backend"
    example = (4, 3), (6, 5, 3)
    replayable = True

    def __post_init__(self) -> None:
        self.filters = positive_int("Conv2D", "filters", self.filters)
        super().__post_init__()

    def _weight_shape(self, input_shape: Shape) -> Shape:
        window, C = self.window(input_shape), input_shape[2]
        # Raises an error if the backend does not support the window.
        select_backend("Conv2D", self.backend, window, C, self.filters)
        return window.KH, window.KW, C, self.filters


@dataclass(eq=False, repr=False)
class DepthwiseConv2D(_Convolution):
    """Convolution of each channel with its own filter, plus a bias for each.

    Followed by a 1×1 `Conv2D`, which mixes the channels, it replaces a convolution with a fraction
    of the weights and multiply-adds.

    Parameters
    ----------
    kernel_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
    initializer : callable
        From `minicnn.initializers`; biases start at 0.
    bias : bool
        False if a `BatchNorm` follows, which subtracts any constant.

    Raises
    ------
    TypeError
        If `bias` is not a bool. `build` checks the other arguments.
    """

    kernel_size: IntPair
    stride: IntPair = 1
    padding: Padding = 0
    initializer: Initializer = he_normal
    bias: bool = True

    ops = ops.depthwise_conv2d, ops.depthwise_conv2d_backward
    options = "stride", "padding"
    example = (3,), (6, 5, 3)
    replayable = True

    def _weight_shape(self, input_shape: Shape) -> Shape:
        window = self.window(input_shape)
        return window.KH, window.KW, input_shape[2]
