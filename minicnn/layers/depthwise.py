"""The depthwise convolution layer."""

from dataclasses import dataclass
from typing import Any

from minicnn import ops, shapes
from minicnn.initialisers import he_normal
from minicnn.layers.affine import Affine
from minicnn.layers.base import Gradients, Initialiser
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray, IntPair, Padding, Shape


@dataclass(eq=False, repr=False)
class DepthwiseConv2D(Affine):
    """Convolution of each channel with a filter of its own, and a bias unless it is to have none.

    With a 1×1 `Conv2D` behind it, which mixes the channels, it takes the place of a convolution at
    a fraction of the weights and multiply-adds.

    Parameters
    ----------
    kernel_size : int or pair of int
        ``(KH, KW)``.
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
    initialiser : callable
        From `minicnn.initialisers`; the biases start at 0.
    bias : bool
        False where a `BatchNorm` follows, which takes any constant off again.

    Raises
    ------
    TypeError
        If `bias` is no truth value; other arguments are checked in `build`.
    """

    kernel_size: IntPair
    stride: IntPair = 1
    padding: Padding = 0
    initialiser: Initialiser = he_normal
    bias: bool = True

    def __post_init__(self) -> None:
        shapes.check_flag("DepthwiseConv2D", "bias", self.bias)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        window, C = self._window(input_shape), input_shape[2]
        weight = (window.KH, window.KW, C)
        return {"weight": weight, "bias": (C,)} if self.bias else {"weight": weight}

    def output_shape(self, input_shape: Shape) -> Shape:
        window = self._window(input_shape)
        return window.OH, window.OW, input_shape[2]

    def multiply_adds(self, input_shape: Shape) -> int:
        window = self._window(input_shape)
        return window.OH * window.OW * window.KH * window.KW * input_shape[2]

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
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
        return self.gradients_by(ops.depthwise_conv2d_backward, dy, cache, need_dx, gradients)

    def _window(self, input_shape: Shape) -> shapes.Window:
        where = "DepthwiseConv2D"
        H, W, _ = shapes.check_image_shape(where, input_shape)
        return shapes.window(where, (H, W), self.kernel_size, self.stride, self.padding)
