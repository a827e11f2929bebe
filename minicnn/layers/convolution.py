"""The convolution layer."""

from dataclasses import dataclass
from typing import Any

from minicnn import ops, shapes
from minicnn.initialisers import he_normal
from minicnn.layers.affine import Affine
from minicnn.layers.base import Gradients, Initialiser
from minicnn.ops.convolution import chosen_backend
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray, IntPair, Padding, Shape


@dataclass(eq=False, repr=False)
class Conv2D(Affine):
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
    initialiser : callable
        From `minicnn.initialisers`; the biases start at 0.
    bias : bool
        False where a `BatchNorm` follows, which takes any constant off again.

    Raises
    ------
    TypeError, ValueError
        If `filters` is no whole number of at least 1; other arguments are checked in `build`.
    """

    filters: int
    kernel_size: IntPair
    stride: IntPair = 1
    padding: Padding = 0
    backend: str = "auto"
    initialiser: Initialiser = he_normal
    bias: bool = True

    def __post_init__(self) -> None:
        self.filters = shapes.positive_int("Conv2D", "filters", self.filters)
        shapes.check_flag("Conv2D", "bias", self.bias)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        window, C = self._window(input_shape), input_shape[2]
        chosen_backend("Conv2D", self.backend, window, C, self.filters)  # raises where none fits
        weight = (window.KH, window.KW, C, self.filters)
        return {"weight": weight, "bias": (self.filters,)} if self.bias else {"weight": weight}

    def output_shape(self, input_shape: Shape) -> Shape:
        window = self._window(input_shape)
        return window.OH, window.OW, self.filters

    def multiply_adds(self, input_shape: Shape) -> int:
        window = self._window(input_shape)
        return window.OH * window.OW * self.filters * window.KH * window.KW * input_shape[2]

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
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
        return self.gradients_by(ops.conv2d_backward, dy, cache, need_dx, gradients)

    def _window(self, input_shape: Shape) -> shapes.Window:
        H, W, _ = shapes.check_image_shape("Conv2D", input_shape)
        return shapes.window("Conv2D", (H, W), self.kernel_size, self.stride, self.padding)
