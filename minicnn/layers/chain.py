"""Layers in a row, computed in as few steps as they can be."""

from collections.abc import Sequence
from typing import Any

from minicnn.layers.base import Gradients, Layer
from minicnn.layers.folding import fold
from minicnn.layers.fused import fuse
from minicnn.randomness import Draws
from minicnn.shapes import FloatArray


class Chain:
    """Layers in a row; those that can be computed as one are one step.

    Parameters
    ----------
    layers : sequence of Layer
        With the parameters that they are to keep.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.steps = fuse(layers)
        self._in_use = [step.layer for step in fuse(fold(layers))]

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: Draws | None = None
    ) -> tuple[FloatArray, list[Any]]:
        """Send images down through all layers.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        training : bool
            Whether this is a training step.
        draws : Draws, optional
            Each layer gets those of its position.

        Returns
        -------
        y : ndarray (N, *output_shape)
        caches : list
            One of each step.
        """
        caches = []
        for layer, first, _ in self.steps:
            own = None if draws is None else draws.of(first)
            x, cache = layer.forward(x, training=training, draws=own)
            caches.append(cache)
        return x, caches

    def infer(self, x: FloatArray) -> FloatArray:
        """Send images down through all layers, in use: with what can be folded away left out.

        Parameters
        ----------
        x : ndarray (N, *input_shape)

        Returns
        -------
        ndarray (N, *output_shape)
            As `forward` gives, but for rounding.
        """
        for layer in self._in_use:
            x = layer.infer(x)
        return x

    def backward(
        self,
        dy: FloatArray,
        caches: Sequence[Any],
        gradients: Sequence[Gradients],
        *,
        need_dx: bool,
    ) -> FloatArray | None:
        """Send a gradient back up: forward read upside down.

        Parameters
        ----------
        dy : ndarray (N, *output_shape)
        caches : sequence
            From `forward`.
        gradients : sequence of dict of str to ndarray
            For each layer where to write the gradients of its parameters.
        need_dx : bool
            Whether the gradient of the images is wanted.

        Returns
        -------
        dx : ndarray (N, *input_shape), or None
        """
        dx: FloatArray | None = dy
        for step, cache in zip(reversed(self.steps), reversed(caches), strict=True):
            dx, _ = step.layer.backward(
                dy, cache, need_dx=need_dx or step.first > 0, gradients=gradients[step.first]
            )
            if dx is not None:
                dy = dx
        return dx

    def observed(self, caches: Sequence[Any]) -> list[dict[str, FloatArray]]:
        """Return what each layer's statistics are to follow.

        Parameters
        ----------
        caches : sequence
            From `forward`, with ``training=True``.

        Returns
        -------
        list of dict of str to ndarray
            For each layer what `Layer.observed` gives.
        """
        found: list[dict[str, FloatArray]] = [{} for _ in self.layers]
        for step, cache in zip(self.steps, caches, strict=True):
            found[step.first] = step.layer.observed(cache)
        return found
