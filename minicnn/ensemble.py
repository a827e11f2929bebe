"""Ensembles and test-time augmentation: averages of probabilities."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.augment.transform import UNCHANGED, elastic_smoothing, transform_images
from minicnn.model.classifier import Classifier, check_model
from minicnn.runtime import arena
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import as_batch, check_range


class _Average(Classifier):
    """A classifier whose probabilities are the mean of several."""

    def preprocess(self, images: NDArray[Any]) -> NDArray[Any]:
        return as_batch(type(self).__name__, images, self.input_shape)

    def infer(self, x: NDArray[Any], *, threads: int | None = None) -> Array:
        """Compute the logarithm of the mean probabilities.

        These are logits: softmax turns them into the mean probabilities.

        Parameters
        ----------
        x : ndarray (N, H, W, C)
            From `preprocess`.
        threads : int, optional
            One for each usable core by default. The result does not depend on it.

        Returns
        -------
        ndarray (N, *output_shape)
        """
        logarithms = [
            logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
            for logits in self._logits(x, threads)
        ]
        mean: Array = np.logaddexp.reduce(logarithms) - np.log(len(logarithms))
        return mean.astype(logarithms[0].dtype, copy=False)

    @abstractmethod
    def _logits(self, x: NDArray[Any], threads: int | None) -> Iterable[Array]:
        """Yield the logits to average."""


class Ensemble(_Average):
    """Average the probabilities of several models.

    Networks with different initial weights make different errors, which the average reduces. Each
    model has its own file: ``Ensemble([load_model(path) for path in paths])``.

    Parameters
    ----------
    models : sequence of Classifier

    Raises
    ------
    TypeError, ValueError
        If there are no models, or they differ in input, outputs or class names.

    References
    ----------
    Hansen, Salamon, "Neural network ensembles" (IEEE Transactions on Pattern Analysis and Machine
    Intelligence 12, 1990).
    """

    def __init__(self, models: Sequence[Classifier]) -> None:
        self.models = list(models)
        if not self.models:
            raise ValueError("Ensemble: give at least one model")
        for position, model in enumerate(self.models):
            check_model("Ensemble", model, Classifier)
            if _interface(model) != _interface(self.models[0]):
                raise ValueError(
                    f"Ensemble: the models must agree in input, outputs and class names, but "
                    f"models[{position}] has {_interface(model)}, "
                    f"models[0] {_interface(self.models[0])}"
                )
        self.input_shape, self.output_shape, self.class_names = _interface(self.models[0])

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"Ensemble({self.models!r})"

    def _logits(self, x: NDArray[Any], threads: int | None) -> Iterable[Array]:
        return (model.infer(model.preprocess(x), threads=threads) for model in self.models)


class TestTimeAugmentation(_Average):
    """Average the probabilities of a model over several views of each image.

    Views are the image itself, shifted in four directions, rotated in both directions, smaller and
    larger. A transform whose argument is 0 is omitted.

    Parameters
    ----------
    model : Classifier
    shift : float
        In pixels.
    rotation : float
        In degrees, 0 to below 180.
    zoom : float
        0.1 adds a view that is 10 % larger, and its inverse.

    Attributes
    ----------
    views : int
        Number of views of each image.

    Raises
    ------
    TypeError, ValueError
        If `model` is not a classifier, or an argument is out of range.

    References
    ----------
    Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks"
    (NIPS 2012), section 4.1.
    """

    def __init__(
        self, model: Classifier, *, shift: float = 1.0, rotation: float = 0.0, zoom: float = 0.0
    ) -> None:
        check_model("TestTimeAugmentation", model, Classifier)
        self.model = model
        self.shift = check_range("TestTimeAugmentation", "shift", shift)
        self.rotation = check_range("TestTimeAugmentation", "rotation", rotation, high=180)
        self.zoom = check_range("TestTimeAugmentation", "zoom", zoom)
        turn, larger = np.radians(self.rotation), 1 + self.zoom
        self.input_shape, self.output_shape, self.class_names = _interface(model)
        self._maps = [_inverse_affine()]
        if self.shift:
            self._maps += [_inverse_affine(down=offset) for offset in (-self.shift, self.shift)]
            self._maps += [_inverse_affine(right=offset) for offset in (-self.shift, self.shift)]
        if turn:
            self._maps += [_inverse_affine(turn=-turn), _inverse_affine(turn=turn)]
        if larger > 1:
            self._maps += [_inverse_affine(zoom=larger), _inverse_affine(zoom=1 / larger)]
        self.views = len(self._maps)

    def __repr__(self) -> str:
        """Return the call that makes it."""
        arguments = f"shift={self.shift}, rotation={self.rotation}, zoom={self.zoom}"
        return f"TestTimeAugmentation({self.model!r}, {arguments})"

    def _logits(self, x: NDArray[Any], threads: int | None) -> Iterable[Array]:
        views = (_warp_images(x, matrix) for matrix in self._maps)
        return (self.model.infer(self.model.preprocess(view), threads=threads) for view in views)


def _interface(model: Classifier) -> tuple[Shape, Shape, tuple[str, ...] | None]:
    """Return input shape, output shape and class names."""
    return model.input_shape, model.output_shape, model.class_names


def _inverse_affine(
    *, turn: float = 0.0, zoom: float = 1.0, down: float = 0.0, right: float = 0.0
) -> Array:
    """Return the matrix (2, 3) from output to input pixels."""
    cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
    return np.array([[cos, sin, -down], [-sin, cos, -right]])


def _warp_images(
    images: NDArray[Any],  # (N, H, W, C)
    matrix: Array,  # (2, 3)
) -> Array:
    """Return images as floats, all transformed by one matrix."""
    dtype = np.dtype(np.float64 if images.dtype == np.float64 else np.float32)
    N, H, W, _ = images.shape
    affine, magnitudes = np.full((N, 2, 3), matrix, dtype), np.full((N, 3), UNCHANGED, dtype)
    erase_boxes, bits = np.zeros((N, 4), np.int64), np.empty((N, 0), np.int32)
    smoothing = elastic_smoothing(H, W, 0.0, dtype)
    with arena.scope():
        return transform_images(
            images, True, affine, magnitudes, erase_boxes, bits, smoothing
        ).copy()
