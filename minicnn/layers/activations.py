"""The ReLU layer."""

from dataclasses import dataclass
from typing import Any

from minicnn import ops
from minicnn.layers.base import Gradients, Layer
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray


@dataclass(eq=False, repr=False)
class ReLU(Layer):
    """``y = max(x, 0)``."""

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, Any]:
        return ops.relu(x)

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        return ops.relu_backward(dy, cache), {}
