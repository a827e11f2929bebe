"""The convolution layer.

The depthwise convolution layer.
"""

from dataclasses import dataclass
from typing import Any

from minicnn import ops
from minicnn.initializers import he_normal
from minicnn.layers.base import Gradients, Initializer
from minicnn.layers.weighted import Weighted
from minicnn.ops.conv import select_backend
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, IntPair, Padding, Shape
from minicnn.shapes.checks import check_bool, check_image_shape, positive_int
from minicnn.shapes.window import Window, make_window


@dataclass(eq=False, repr=False)
class Conv2D(Weighted):
    """Convolution with `filters` kernels, and a bias for each unless it is to have none.

    Parameters
    ----------
    filters : int
        Channels of the output, F.
    kernel_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
    backend : {"auto", "direct", "winograd", "im2col", "reference"}
        How it is computed; see `minicnn.ops.conv2d`.
    initializer : callable
        From `minicnn.initializers`; the biases start at 0.
    bias : bool
        False where a `BatchNorm` follows, which takes any constant off again.

    Raises
    ------
    TypeError, ValueError
        If `filters` is no whole number of at least 1; other arguments are checked in `build`.
    """

    replayable = True

    filters: int
    kernel_size: IntPair
    stride: IntPair = 1
    padding: Padding = 0
    backend: str = "auto"
    initializer: Initializer = he_normal
    bias: bool = True

    def __post_init__(self) -> None:
        self.filters = positive_int("Conv2D", "filters", self.filters)
        check_bool("Conv2D", "bias", self.bias)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        window, C = self._window(input_shape), input_shape[2]
        select_backend("Conv2D", self.backend, window, C, self.filters)  # raises where none fits
        weight = (window.KH, window.KW, C, self.filters)
        return {"weight": weight, "bias": (self.filters,)} if self.bias else {"weight": weight}

    def output_shape(self, input_shape: Shape) -> Shape:
        window = self._window(input_shape)
        return window.OH, window.OW, self.filters

    def macs(self, input_shape: Shape) -> int:
        window = self._window(input_shape)
        return window.OH * window.OW * self.filters * window.KH * window.KW * input_shape[2]

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        weight, bias = self.weights()
        return ops.conv2d(x, weight, bias, self.stride, self.padding, backend=self.backend)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return self._backward(ops.conv2d_backward, dy, cache, need_dx, gradients)

    def _window(self, input_shape: Shape) -> Window:
        H, W, _ = check_image_shape("Conv2D", input_shape)
        return make_window("Conv2D", (H, W), self.kernel_size, self.stride, self.padding)


@dataclass(eq=False, repr=False)
class DepthwiseConv2D(Weighted):
    """Convolution of each channel with a filter of its own, and a bias unless it is to have none.

    With a 1×1 `Conv2D` behind it, which mixes the channels, it takes the place of a convolution at
    a fraction of the weights and multiply-adds.

    Parameters
    ----------
    kernel_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
    initializer : callable
        From `minicnn.initializers`; the biases start at 0.
    bias : bool
        False where a `BatchNorm` follows, which takes any constant off again.

    Raises
    ------
    TypeError
        If `bias` is no truth value; other arguments are checked in `build`.
    """

    replayable = True

    kernel_size: IntPair
    stride: IntPair = 1
    padding: Padding = 0
    initializer: Initializer = he_normal
    bias: bool = True

    def __post_init__(self) -> None:
        check_bool("DepthwiseConv2D", "bias", self.bias)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        window, C = self._window(input_shape), input_shape[2]
        weight = (window.KH, window.KW, C)
        return {"weight": weight, "bias": (C,)} if self.bias else {"weight": weight}

    def output_shape(self, input_shape: Shape) -> Shape:
        window = self._window(input_shape)
        return window.OH, window.OW, input_shape[2]

    def macs(self, input_shape: Shape) -> int:
        window = self._window(input_shape)
        return window.OH * window.OW * window.KH * window.KW * input_shape[2]

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        weight, bias = self.weights()
        return ops.depthwise_conv2d(x, weight, bias, self.stride, self.padding)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return self._backward(ops.depthwise_conv2d_backward, dy, cache, need_dx, gradients)

    def _window(self, input_shape: Shape) -> Window:
        op = "DepthwiseConv2D"
        H, W, _ = check_image_shape(op, input_shape)
        return make_window(op, (H, W), self.kernel_size, self.stride, self.padding)
