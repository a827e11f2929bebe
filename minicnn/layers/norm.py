"""Batch normalization."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from minicnn import ops
from minicnn.layers.base import Layer
from minicnn.random import RandomKey
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import check_norm_shape, check_range


def _batch_norm(
    x: Array, *arrays: Array, epsilon: float, relu: bool = False, key: RandomKey | None
) -> tuple[Array, Any]:
    """Normalize by the batch in training, else by the running statistics."""
    if key is None:
        return ops.batch_norm_inference(x, *arrays, epsilon=epsilon, relu=relu)
    weight, bias, _, _ = arrays
    return ops.batch_norm(x, weight, bias, epsilon=epsilon, relu=relu)


@dataclass(eq=False, repr=False)
class BatchNorm(Layer):
    """Normalize each channel to mean 0 and variance 1, then scale and shift.

    Scale (`weight`) and shift (`bias`) are learned.

    Training uses mean and variance of the microbatch, up to 32 images (see
    `minicnn.train.data_parallel`). Inference uses running statistics. Best placed after a
    convolution and its pool and before the ReLU: conv, pool, norm, ReLU. The convolution's own bias
    is then without effect: ``Conv2D(..., bias=False)``. At inference a normalization right after a
    convolution or dense layer is folded into its weights and costs nothing.

    Parameters
    ----------
    momentum : float
        0 to below 1: after each microbatch ``running += momentum · (batch - running)``, as in
        PyTorch. (SGD's momentum is the weight of the old value instead.) The running variance is
        the unbiased one, divided by ``M - 1``.
    epsilon : float
        0 or more; added to the variance.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number or out of range.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    ops = _batch_norm, ops.batch_norm_backward
    options = ("epsilon",)
    uses_key = True
    initial_values: ClassVar = {"weight": 1, "variance": 1}
    replayable = True

    def __post_init__(self) -> None:
        self.momentum = check_range("BatchNorm", "momentum", self.momentum, high=1)
        self.epsilon = check_range("BatchNorm", "epsilon", self.epsilon)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        channels = (check_norm_shape("BatchNorm", input_shape),)
        return {"weight": channels, "bias": channels}

    def statistics_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        channels = (check_norm_shape("BatchNorm", input_shape),)
        return {"mean": channels, "variance": channels}

    def fold(self, weight: Array, bias: Array) -> Sequence[Array]:
        """Fold this batch norm into the weight and bias of the preceding layer.

        Parameters
        ----------
        weight : ndarray (..., C)
        bias : ndarray (C,)

        Returns
        -------
        weight, bias : ndarray
        """
        return ops.fold_batch_norm(weight, bias, *self._op_inputs(), epsilon=self.epsilon)

    def batch_statistics(self, cache: Any) -> dict[str, Array]:
        return {"mean": cache.mean, "variance": cache.variance}

    def statistics_momentum(self) -> dict[str, float]:
        return {"mean": self.momentum, "variance": self.momentum}
