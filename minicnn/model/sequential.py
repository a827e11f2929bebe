"""`Sequential`: a network of consecutive layers."""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from itertools import chain
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.kernels import copy
from minicnn.kernels.capture import ReplayCache
from minicnn.layers.base import METHOD_NAMES, METHODS, Layer
from minicnn.layers.container import check_layers, is_replayable, iter_layers
from minicnn.layers.fusion import FusedSequence
from minicnn.model import parameters
from minicnn.model.classifier import Classifier
from minicnn.model.summary import summarize
from minicnn.random import RandomKey, check_key
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import shared_pool
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import as_batch, check_class_names, check_input, float_dtype

# Images per call of the network at inference: their activations stay in the L2 cache.
INFERENCE_BATCH = 32

STALE_STATISTICS = (
    "The weights were trained, but not the running statistics that BatchNorm predicts with: after "
    "each step call model.update_statistics, as in the example of minicnn.BatchGradient."
)


class Sequential(Classifier):
    """A network of consecutive layers.

    Each layer gets its input shape from the layer before it: ``Conv2D(32, 3)`` names output
    channels and kernel only. The input scaling belongs to the model, so that training and inference
    scale alike: a uint8 image is divided by 255, a float image must be in 0..1 already, and both
    then become ``(image - input_mean) / input_std``.

    ``copy.deepcopy(model)`` is an independent model with the same weights.

    Parameters
    ----------
    layers : sequence of Layer
        Each belongs to one model only.
    input_shape : tuple of int
        ``(H, W, C)`` of one image.
    seed : int
        Seed of the initial weights.
    input_mean, input_std : float
        In units of the 0..1 range; those of MNIST are 0.1307 and 0.3081.
    class_names : sequence of str, optional
        One for each output, in order.
    dtype : dtype
        float32; or float64 for gradient checks.

    Attributes
    ----------
    layers : tuple of Layer
        For other layers make another model.
    parameters : ndarray (P,)
        All weights and biases; the layers' arrays are views of it. An assigned vector is copied.
    statistics : ndarray (S,)
        All running statistics, likewise.
    metadata : dict
        Facts about the training. `fit` starts it afresh, `save` stores it.

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
        # A tuple: predictions would not follow another layer in a list, a saved file would.
        self.layers = tuple(check_layers("Sequential", layers))
        self.dtype = float_dtype("Sequential", dtype)
        checked = check_input(input_shape, input_mean, input_std, self.dtype)
        self.input_shape, self.input_mean, self.input_std = checked
        self.output_shape = parameters.build(self.layers, self.input_shape, seed, self.dtype)
        names = check_class_names("Sequential", class_names, self.output_shape[-1])
        self.class_names = None if class_names is None else tuple(names)
        self.metadata: dict[str, Any] = {}
        self._sequence = FusedSequence(self.layers)
        self._layers = list(iter_layers(self.layers))
        self._trains = False  # whether the last forward pass gave batch statistics
        # Every 31st parameter, and the statistics, of backward passes in training since the last
        # `update_statistics`: two with other weights show a step, one may be a gradient alone. Not
        # of forward passes: gradient checks move the weights between these.
        self._trained_on: dict[bytes, bytes] = {}
        self._replay_cache = ReplayCache(self.replayable)
        self._flatten()

    def _flatten(self) -> None:
        """Make the layers' arrays views of two flat vectors."""
        trained = [layer.parameters for layer in self.layers]
        running = [layer.statistics for layer in self.layers]
        self.parameters, self._layout = parameters.flatten(trained, self.dtype)
        self.statistics, self._statistics_layout = parameters.flatten(running, self.dtype)
        views = parameters.unflatten(self.statistics, self._statistics_layout)
        for layer, *arrays in zip(self.layers, self.unflatten(self.parameters), views, strict=True):
            layer.bind(*arrays)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a deep copy or a pickle, whose arrays are not views any more."""
        self.__dict__.update(state)
        del self.parameters, self.statistics
        self._flatten()

    def __setattr__(self, name: str, value: Any) -> None:
        """Write to the two vectors: the layers' arrays are views of them."""
        if name in ("parameters", "statistics"):
            vars(self).setdefault(name, value)[...] = value
        else:
            super().__setattr__(name, value)

    def __copy__(self) -> Self:
        """Return a deep copy: each layer belongs to one model only."""
        return deepcopy(self)

    def __repr__(self) -> str:
        """Return the call that makes such a network, without most options."""
        return f"Sequential({[*self.layers]!r}, {self.input_shape})"

    @property
    def replayable(self) -> bool:
        """Return whether all layers are replayable; False with methods of its own."""
        own = type(self) is not Sequential or not vars(self).keys().isdisjoint(METHOD_NAMES)
        return not own and is_replayable(self.layers)

    def replay_state(self) -> list[object]:
        """Return all objects that the kernel calls of a step depend on.

        Returns
        -------
        list of object
            Arrays, attributes and methods of all layers, and the number of own attributes: a
            method that is replaced on this object adds one.
        """
        attributes = map(dict.values, map(vars, self._layers))
        methods = map(METHODS, {*map(type, self._layers)})
        arrays = (own.arrays() for own in self._layers if own.parameters or own.statistics)
        return [len(vars(self)), *chain(*attributes, *methods, *arrays)]

    def unflatten(self, vector: Array) -> list[dict[str, Array]]:
        """Return a vector of parameters or gradients as arrays per layer.

        Parameters
        ----------
        vector : ndarray (P,)

        Returns
        -------
        list of dict
            For each layer its arrays by name; views, not copies.
        """
        return parameters.unflatten(vector, self._layout)

    # ------------------------------------------------------------ forward and backward

    def forward(self, x: Array, *, key: RandomKey | None = None) -> tuple[Array, list[Any]]:
        """Compute the output of all layers.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            From `preprocess`, or any float array of the model's dtype.
        key : RandomKey, optional
            Present in training, as ``minicnn.RandomKey(seed, epoch, image_ids)``; None at
            inference. `update_statistics` follows a step of training.

        Returns
        -------
        y : ndarray (N, *output_shape)
            The logits, if the last layer is `Dense`.
        caches : list
            One for each step, for `backward`; layers that are fused are one step.

        Raises
        ------
        TypeError
            If `key` is no RandomKey.
        """
        self._trains = check_key("forward", key) and self.statistics.size > 0
        return self._sequence.forward(x, key=key)

    def backward(
        self, dy: Array, caches: list[Any], *, gradients: Array | None = None, need_dx: bool = False
    ) -> tuple[Array | None, Array]:
        """Compute the gradients of all parameters, and optionally of x.

        Parameters
        ----------
        dy : ndarray (N, *output_shape)
        caches : list
            From `forward`.
        gradients : ndarray (P,), optional
            Array to write to; a new one by default.
        need_dx : bool
            Whether to compute the gradient of x; training does not use it.

        Returns
        -------
        dx : ndarray (N, H, W, C), or None
        gradients : ndarray (P,)
            In the order of `parameters`; `unflatten` returns it layer by layer.
        """
        if self._trains and len(self._trained_on) < 2:
            self._trained_on.setdefault(self.parameters[::31].tobytes(), self.statistics.tobytes())
        gradients = np.empty_like(self.parameters) if gradients is None else gradients
        dx = self._sequence.backward(dy, caches, self.unflatten(gradients), need_dx=need_dx)
        return dx, gradients

    def batch_statistics(self, caches: list[Any], out: Array | None = None) -> Array:
        """Return the batch values to update the running statistics from.

        Parameters
        ----------
        caches : list
            From `forward` with a key.
        out : ndarray (S,), optional
            Array to write to; a new one by default.

        Returns
        -------
        ndarray (S,)
            In the order of `statistics`.
        """
        out = np.empty_like(self.statistics) if out is None else out
        found = self._sequence.batch_statistics(caches)
        return parameters.fill(out, self._statistics_layout, found)

    def update_statistics(self, batch_statistics: Array) -> None:
        """Apply ``running += momentum · (batch - running)``, row by row.

        Parameters
        ----------
        batch_statistics : ndarray (microbatches, S)
            From `batch_statistics`, in the order of the microbatches.
        """
        self._trained_on.clear()
        if not self.statistics.size:
            return
        momentum = [layer.statistics_momentum() for layer in self.layers]
        m = parameters.fill(np.empty_like(self.statistics), self._statistics_layout, momentum)
        for row in batch_statistics:
            self.statistics += m * (row - self.statistics)

    def _check_statistics(self) -> None:
        """Warn if weights were trained and the running statistics were not."""
        if len(self._trained_on) == 2:
            weights, statistics = next(iter(self._trained_on.items()))
            trained = weights != self.parameters[::31].tobytes()
            if trained and statistics == self.statistics.tobytes():
                self._trained_on.clear()
                warnings.warn(STALE_STATISTICS, RuntimeWarning, stacklevel=5)

    # ------------------------------------------------------------ prediction

    def preprocess(self, images: NDArray[Any]) -> Array:
        """Scale images to the input of the first layer.

        Parameters
        ----------
        images : ndarray (N, H, W, C) or (H, W, C); without C if the model has one channel
            uint8 (0 to 255), or float (0 to 1).

        Returns
        -------
        ndarray (N, H, W, C)
            In the model's dtype. Inside `minicnn.runtime.arena.scope` it is arena memory.

        Raises
        ------
        TypeError
            If the dtype is neither uint8 nor float.
        ValueError
            If the shape does not fit, there are no images, or a float pixel is not in 0..1.
        """
        pixels = as_batch(type(self).__name__, images, self.input_shape)
        mean, std = map(self.dtype.type, (self.input_mean, self.input_std))
        x: Array = arena.empty(pixels.shape, self.dtype)
        if pixels.dtype == np.uint8:
            levels = (np.arange(256, dtype=self.dtype) / self.dtype.type(255) - mean) / std
            copy.apply_lut(levels, np.ascontiguousarray(pixels).reshape(-1), x.reshape(-1))
        else:
            x[...] = pixels
            x -= mean
            x /= std
        return x

    def infer(self, x: Array, *, threads: int | None = None) -> Array:
        """Compute the logits of preprocessed images, on several threads.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            From `preprocess`.
        threads : int, optional
            One for each usable core by default. The result does not depend on it.

        Returns
        -------
        ndarray (N, *output_shape)
            As `forward` returns it; up to rounding, if a `BatchNorm` is folded into a layer.

        Raises
        ------
        ValueError
            If the largest output of an image is infinity or NaN.
        """
        y: Array = np.empty((len(x), *self.output_shape), self.dtype)
        size = min(INFERENCE_BATCH, max(INFERENCE_BATCH // 4, -(-len(x) // 2)))

        self._check_statistics()
        # Collected at each call, so that arrays that replace a layer's own are used.
        state = self._replay_cache.follow(self)

        def infer_batch(start: int) -> None:
            batch = x[start : start + size]
            with arena.scope():  # y keeps a copy: the next batch overwrites the arena
                images = arena.empty(batch.shape, batch.dtype)
                images[...] = batch
                y[start : start + size] = self._replay_cache.run(
                    lambda: self._sequence.infer(images),
                    ("inference", len(batch)),
                    (images, state),
                    (),
                )

        shared_pool(threads).map(infer_batch, range(0, len(x), size))
        # The largest: a layer of your own may exclude a class by a logit of -infinity.
        if not np.isfinite(y.max(axis=-1)).all():
            raise ValueError(
                "Sequential: the network computes infinity or NaN, so its weights or statistics "
                "are out of range; train it again, or load another file"
            )
        return y

    # ------------------------------------------------------------ description

    def summary(self) -> str:
        """Return a table of layers, output shapes, parameters and multiply-adds.

        Returns
        -------
        str
            ``print(model.summary())`` shows it.
        """
        return summarize(self._sequence, self.input_shape)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file, atomically; `minicnn.load_model` reads it.

        Parameters
        ----------
        path : str or os.PathLike
            Usually ends in ``.npz``: `numpy.load` reads its arrays too.

        Raises
        ------
        TypeError, ValueError
            If an argument of a layer or `metadata` cannot be JSON, or a weight is not finite.
        OSError
            If the file cannot be written; an existing file then stays as it was.
        """
        from minicnn.serialization import save_model

        self._check_statistics()
        save_model(self, path)
