"""The batch normalization layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn import ops
from minicnn.layers.base import Gradients, Layer
from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, Shape
from minicnn.shapes.checks import check_norm_shape, check_range


@dataclass(eq=False, repr=False)
class BatchNorm(Layer):
    """Every channel at mean 0 and variance 1, then times a weight and plus a bias that are learned.

    In training mean and variance are those of the shard, which is up to 32 images of a batch (see
    `minicnn.train.data_parallel`); in use they are the running ones that training has followed.
    Best placed after a convolution and its pool and before the ReLU: conv, pool, norm, ReLU. The
    convolution's own bias is then without effect: ``Conv2D(..., bias=False)``. In use a
    normalization right behind a convolution or dense layer is folded into its weights and costs
    nothing.

    Parameters
    ----------
    momentum : float
        0 to below 1: after each shard ``running += momentum · (observed - running)``, as in
        PyTorch. The variance that is followed is the one by ``M - 1``.
    epsilon : float
        0 or more; added to the variance.

    Raises
    ------
    TypeError, ValueError
        If a number is none, or out of range.
    """

    replayable = True

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        self.momentum = check_range("BatchNorm", "momentum", self.momentum, high=1)
        self.epsilon = check_range("BatchNorm", "epsilon", self.epsilon)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        channels = (check_norm_shape("BatchNorm", input_shape),)
        return {"weight": channels, "bias": channels}

    def statistics_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        channels = (check_norm_shape("BatchNorm", input_shape),)
        return {"mean": channels, "variance": channels}

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        C = check_norm_shape("BatchNorm", input_shape)
        self.parameters = {"weight": np.ones(C, dtype), "bias": np.zeros(C, dtype)}
        self.statistics = {"mean": np.zeros(C, dtype), "variance": np.ones(C, dtype)}

    def output_shape(self, input_shape: Shape) -> Shape:
        check_norm_shape("BatchNorm", input_shape)
        return input_shape

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        return self.normalize(x, training=training, relu=False)

    def normalize(self, x: FloatArray, *, training: bool, relu: bool) -> tuple[FloatArray, Any]:
        """Do what `forward` does, with or without a ReLU behind it.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        training, relu : bool

        Returns
        -------
        y : ndarray (N, *input_shape)
        cache : BatchNormCache
        """
        if training:
            weight, bias = self._parameter("weight"), self._parameter("bias")
            return ops.batch_norm(x, weight, bias, epsilon=self.epsilon, relu=relu)
        return ops.batch_norm_inference(x, *self._in_use(), epsilon=self.epsilon, relu=relu)

    def fold(self, weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return weight and bias of a layer that does what one with these and then this one does.

        Parameters
        ----------
        weight : ndarray (..., C)
        bias : ndarray (C,)

        Returns
        -------
        weight, bias : ndarray
        """
        return ops.fold_batch_norm(weight, bias, *self._in_use(), epsilon=self.epsilon)

    def _in_use(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        weight, bias = self._parameter("weight"), self._parameter("bias")
        return weight, bias, self.statistics["mean"], self.statistics["variance"]

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        out = (gradients["weight"], gradients["bias"]) if gradients else None
        dx, dweight, dbias = ops.batch_norm_backward(dy, cache, need_dx=need_dx, out=out)
        return dx, {"weight": dweight, "bias": dbias}

    def batch_statistics(self, cache: Any) -> dict[str, FloatArray]:
        return {"mean": cache.mean, "variance": cache.variance}

    def statistics_momentum(self) -> dict[str, float]:
        return {"mean": self.momentum, "variance": self.momentum}
