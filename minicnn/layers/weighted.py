"""What a convolution and a dense layer have in common: a weight, and mostly a bias."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn.layers.base import Gradients, Initializer, Layer
from minicnn.layers.norm import BatchNorm
from minicnn.runtime import arena
from minicnn.shapes import FloatArray, Shape


class Weighted(Layer, ABC):
    """A layer whose outputs are sums of inputs times a weight, plus a bias unless it has none.

    Attributes
    ----------
    norm : BatchNorm, or None
        In use, a normalization right behind the layer whose work it does as well.
    """

    initializer: Initializer
    bias: bool
    norm: BatchNorm | None = None

    @abstractmethod
    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shapes that weight and, unless there is none, bias have.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        dict of str to tuple of int

        Raises
        ------
        ValueError
            If the layer cannot take such an input.
        """

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        sizes = self.parameter_shapes(input_shape)
        self.parameters = {name: np.zeros(size, dtype) for name, size in sizes.items()}
        self.parameters["weight"] = self.initializer(rng, sizes["weight"], dtype)

    def folded(self, norm: BatchNorm) -> Self:
        """Return a layer on the same arrays, for use only, that does what both do.

        Parameters
        ----------
        norm : BatchNorm

        Returns
        -------
        Affine
        """
        layer = copy(self)
        layer.norm = norm
        return layer

    def weights(self) -> tuple[FloatArray, FloatArray]:
        """Return what the op takes: a bias in any case, and both with `norm` folded in.

        They are folded anew each time, which takes a few microseconds, so they are never out of
        date.

        Returns
        -------
        weight, bias : ndarray
        """
        weight = self._parameter("weight")
        if self.bias:
            bias = self._parameter("bias")
        else:
            bias = arena.constant_zeros(weight.shape[-1], weight.dtype)
        return (weight, bias) if self.norm is None else self.norm.fold(weight, bias)

    def _backward(
        self,
        backward: Callable[..., tuple[FloatArray | None, FloatArray, FloatArray]],
        dy: FloatArray,
        cache: Any,
        need_dx: bool,
        gradients: Gradients | None,
    ) -> tuple[FloatArray | None, Gradients]:
        """Return what `backward` of the layer does, by the op's own.

        Parameters
        ----------
        backward : callable
            The op's backward.
        dy : ndarray
        cache : object
        need_dx : bool
        gradients : dict of str to ndarray, or None

        Returns
        -------
        dx : ndarray, or None
        gradients : dict of str to ndarray
        """
        out = None
        if gradients is not None:
            weight = gradients["weight"]
            unused = arena.empty(weight.shape[-1:], weight.dtype)
            out = weight, gradients.get("bias", unused)
        dx, dweight, dbias = backward(dy, cache, need_dx=need_dx, out=out)
        return dx, {"weight": dweight, "bias": dbias} if self.bias else {"weight": dweight}
