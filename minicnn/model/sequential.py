"""`Sequential`: layers in a row, their shapes, and all parameters in one flat vector.

Pixels as the first layer gets them.
"""

from collections.abc import Sequence
from copy import deepcopy
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.kernels import copy
from minicnn.kernels.capture import ReplayCache
from minicnn.layers.base import Layer
from minicnn.layers.container import is_replayable, iter_layers
from minicnn.layers.fusion import FusedSequence
from minicnn.model import parameters
from minicnn.model.classifier import Classifier
from minicnn.model.summary import summarize
from minicnn.random import RandomKey
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import shared_pool
from minicnn.shapes import FloatArray, Shape
from minicnn.shapes.checks import (
    as_batch,
    check_class_names,
    check_image_shape,
    check_pixel_range,
    check_scaling,
    float_dtype,
    positive_int,
)

# Images that go through the network at a time: their activations stay in cache.
INFERENCE_BATCH = 32


class Sequential(Classifier):
    """A network of layers in a row.

    Shapes are worked out from `input_shape`, so that a layer only says what it makes:
    ``Conv2D(32, 3)``. The input scaling belongs to the model, so that training and use cannot
    differ: a uint8 image is divided by 255, a float image must be in 0..1 already, and both then
    become ``(image - input_mean) / input_std``.

    ``copy.deepcopy(model)`` is a model of its own, with the same weights.

    Parameters
    ----------
    layers : sequence of Layer
        Each belongs to one model only.
    input_shape : tuple of int
        ``(H, W, C)`` of one image.
    seed : int
        Decides the first weights.
    input_mean, input_std : float
        In units of the 0..1 range; MNIST's own are 0.1307 and 0.3081.
    class_names : sequence of str, optional
        One for each output, in order.
    dtype : dtype
        float32; or float64 for gradient checks.

    Attributes
    ----------
    parameters : ndarray (P,)
        All weights and biases; the layers' arrays are views of it.
    statistics : ndarray (S,)
        All that training follows but does not learn, such as running means; views too.
    metadata : dict
        What is known of its training, for people; `fit` begins it anew, `save` keeps it.

    Raises
    ------
    TypeError, ValueError
        If the layers do not fit each other; the message names the layer.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Shape,
        *,
        seed: int = 0,
        input_mean: float = 0.0,
        input_std: float = 1.0,
        class_names: Sequence[str] | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.layers = list(layers)
        self.dtype = float_dtype("Sequential", dtype)
        H, W, C = check_image_shape("Sequential", tuple(input_shape))
        self.input_shape: Shape = tuple(
            positive_int("Sequential", "input_shape", axis) for axis in (H, W, C)
        )
        self.input_mean, self.input_std = check_scaling(input_mean, input_std)
        self.output_shape = parameters.build(self.layers, self.input_shape, seed, self.dtype)
        names = check_class_names("Sequential", class_names, self.output_shape[-1])
        self.class_names = None if class_names is None else tuple(names)
        self.metadata: dict[str, Any] = {}
        self._gather()

    def _gather(self) -> None:
        """Make the layers' arrays views of two vectors, and what is made of the layers anew."""
        self.parameters, self.statistics, self._layout = parameters.flatten(self.layers, self.dtype)
        self._chain = FusedSequence(self.layers)
        self._learned = [layer for layer in iter_layers(self.layers) if layer.arrays()]
        self._replay_cache = ReplayCache(self.replayable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a deep copy or what a pickle holds, in which no array is a view any more."""
        self.__dict__.update(state)
        self._gather()

    def __copy__(self) -> Self:
        """Return a deep copy: each layer belongs to one model only."""
        return deepcopy(self)

    def __repr__(self) -> str:
        """Return the call that makes such a network, without seed, scaling and names."""
        return f"Sequential({self.layers!r}, {self.input_shape})"

    @property
    def replayable(self) -> bool:
        """Whether all layers declare that they touch arrays by kernels only."""
        return type(self) is Sequential and is_replayable(self.layers)

    def arrays(self) -> list[FloatArray]:
        """Return the arrays of all layers.

        Returns
        -------
        list of ndarray
            Layer by layer, those inside containers too: the parameters, then the statistics.
        """
        return [array for layer in self._learned for array in layer.arrays()]

    def split(self, vector: FloatArray) -> list[dict[str, FloatArray]]:
        """Show a flat vector, of parameters or of gradients, as each layer's arrays.

        Parameters
        ----------
        vector : ndarray (P,)

        Returns
        -------
        list of dict
            For each layer its arrays by name: views, no copies.
        """
        return parameters.unflatten(vector, self._layout)

    # ------------------------------------------------------------ forward and backward

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, list[Any]]:
        """Send prepared images down through all layers.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            From `preprocess`, or any float array of the model's dtype.
        training : bool
            Whether this is a training step.
        draws : Draws, optional
            What layers that are random in training need there.

        Returns
        -------
        y : ndarray (N, *output_shape)
            The logits, where the last layer is `Dense`.
        caches : list
            One of each step, for `backward`; layers that can be computed as one are one step.
        """
        return self._chain.forward(x, training=training, draws=draws)

    def backward(
        self,
        dy: FloatArray,
        caches: list[Any],
        *,
        gradients: FloatArray | None = None,
        need_dx: bool = False,
    ) -> tuple[FloatArray | None, FloatArray]:
        """Send a gradient back up: forward read upside down.

        Parameters
        ----------
        dy : ndarray (N, *output_shape)
        caches : list
            From `forward`.
        gradients : ndarray (P,), optional
            Where to write; a new vector where left out.
        need_dx : bool
            Whether the gradient of the images is wanted; training has no use for it.

        Returns
        -------
        dx : ndarray (N, H, W, C), or None
        gradients : ndarray (P,)
            Laid out as `parameters`; `split` shows it by layers.
        """
        if gradients is None:
            gradients = np.empty_like(self.parameters)
        dx = self._chain.backward(dy, caches, self.split(gradients), need_dx=need_dx)
        return dx, gradients

    def batch_statistics(self, caches: list[Any], out: FloatArray | None = None) -> FloatArray:
        """Return what one forward in training saw of that which the statistics follow.

        Parameters
        ----------
        caches : list
            From `forward`, with ``training=True``.
        out : ndarray (S,), optional
            Where to write; a new vector where left out.

        Returns
        -------
        ndarray (S,)
            Laid out as `statistics`.
        """
        out = np.empty_like(self.statistics) if out is None else out
        return parameters.flatten_statistics(self.layers, self._chain.batch_statistics(caches), out)

    # ------------------------------------------------------------ images in, answers out

    def preprocess(self, images: NDArray[Any]) -> FloatArray:
        """Turn images into what the first layer gets; the only place where pixels are scaled.

        Parameters
        ----------
        images : ndarray (N, H, W, C) or (H, W, C); without C where the model has one channel
            uint8 (0 to 255), or float (0 to 1).

        Returns
        -------
        ndarray (N, H, W, C)
            In the model's dtype; in the workspace, where there is one.

        Raises
        ------
        TypeError
            If the dtype is neither uint8 nor float.
        ValueError
            If the shape does not fit, there are no images, or a float pixel is not in 0..1.
        """
        batch, _ = as_batch("Sequential", images, self.input_shape)
        return scale_pixels(batch, self.input_mean, self.input_std, self.dtype)

    def infer(self, x: FloatArray, *, threads: int | None = None) -> FloatArray:
        """Send prepared images through all layers, some at a time, on several threads.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            From `preprocess`.
        threads : int, optional
            One for each usable core where left out. The numbers come out the same.

        Returns
        -------
        ndarray (N, *output_shape)
            What `forward` gives; but for rounding, where a `BatchNorm` was folded into the layer
            before it.
        """
        y: FloatArray = np.empty((len(x), *self.output_shape), self.dtype)
        size = min(INFERENCE_BATCH, max(INFERENCE_BATCH // 4, -(-len(x) // 2)))

        weights = self.arrays()  # looked up in each call: a layer may have been given new arrays

        def infer_batch(start: int) -> None:
            part = x[start : start + size]
            with arena.scope():  # y copies the logits, which the next scope overwrites
                images = arena.empty(part.shape, part.dtype)
                images[...] = part
                y[start : start + size] = self._replay_cache.run(
                    lambda: self._chain.infer(images),
                    ("inference", len(part)),
                    (images, *weights),
                    (),
                )

        shared_pool("infer", threads).map(infer_batch, range(0, len(x), size))
        return y

    # ------------------------------------------------------------ description

    def summary(self) -> str:
        """Describe the network: layer, output shape, parameters and multiply-adds, and totals.

        Returns
        -------
        str
            A table; ``print(model.summary())`` shows it.
        """
        return summarize(self._chain, self.input_shape)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file, whole or not at all; `minicnn.load_model` reads it.

        Parameters
        ----------
        path : str or os.PathLike
            Usually ends in ``.npz``: `numpy.load` reads its arrays too.

        Raises
        ------
        TypeError, ValueError
            If a layer is not the library's own, `metadata` are not JSON's, or a weight is not
            finite.
        OSError
            If the file cannot be written; one that was there before stays as it was.
        """
        from minicnn.serialization import save_model

        save_model(self, path)


def scale_pixels(
    pixels: NDArray[Any], mean: float, std: float, dtype: np.dtype[np.floating[Any]]
) -> FloatArray:
    """Return ``(pixels - mean) / std`` of pixels in 0..1; of uint8 ones after division by 255.

    Parameters
    ----------
    pixels : ndarray of uint8 or float
    mean, std : float
        In units of the 0..1 range.
    dtype : numpy.dtype
        Wanted.

    Returns
    -------
    ndarray of `dtype`, as `pixels`
        In the workspace, where there is one.

    Raises
    ------
    ValueError
        If a float pixel is not in 0..1.
    """
    x: FloatArray = arena.empty(pixels.shape, dtype)
    center, width = dtype.type(mean), dtype.type(std)
    if pixels.dtype == np.uint8:
        levels = np.arange(256, dtype=dtype) / dtype.type(255)
        levels = (levels - center) / width
        copy.apply_lut(levels, np.ascontiguousarray(pixels).reshape(-1), x.reshape(-1))
        return x
    check_pixel_range("Sequential", pixels)
    x[...] = pixels
    x -= center
    x /= width
    return x
