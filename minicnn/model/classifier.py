"""The common interface of single networks and ensembles."""

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray

from minicnn.ops.activations import softmax
from minicnn.shapes import Array, IntArray, Shape
from minicnn.shapes.checks import check_brightness


class Classifier(ABC):
    """A model that computes the probability of each class for an image.

    Attributes
    ----------
    input_shape : tuple of int
        ``(H, W, C)`` of one image.
    output_shape : tuple of int
        ``(classes,)``
    class_names : tuple of str, or None
    """

    input_shape: Shape
    output_shape: Shape
    class_names: tuple[str, ...] | None

    @abstractmethod
    def preprocess(self, images: NDArray[Any]) -> NDArray[Any]:
        """Convert images to the input of `infer`.

        Parameters
        ----------
        images : ndarray (N, H, W, C) or (H, W, C); without C if there is one channel
            uint8 (0 to 255), or float (0 to 1).

        Returns
        -------
        ndarray (N, H, W, C)

        Raises
        ------
        TypeError
            If the dtype is neither uint8 nor float.
        ValueError
            If the shape does not fit, there are no images, or a float pixel is not in 0..1.
        """

    @abstractmethod
    def infer(self, x: NDArray[Any], *, threads: int | None = None) -> Array:
        """Compute the logits of preprocessed images.

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

    def predict_proba(self, images: NDArray[Any], *, threads: int | None = None) -> Array:
        """Compute the probability of each class.

        Parameters
        ----------
        images : ndarray
            One image or a batch, as for `preprocess`.
        threads : int, optional
            As for `infer`.

        Returns
        -------
        ndarray (N, classes)
            Rows that sum to 1; ``(classes,)`` for one image.

        Raises
        ------
        TypeError, ValueError
            As `preprocess` does; or if no pixel is above 16 of 255 but one above 0, because the
            images have another range; or if the model has not two or more logits.
        """
        check_logits(type(self).__name__, self)
        x = self.preprocess(images)
        check_brightness(type(self).__name__, images)
        probabilities, _ = softmax(self.infer(x, threads=threads))
        single = images.shape in (self.input_shape, self.input_shape[:2])  # (H, W, C) or (H, W)
        return probabilities[0] if single else probabilities

    def predict(self, images: NDArray[Any], *, threads: int | None = None) -> IntArray:
        """Return the most probable class.

        Parameters
        ----------
        images : ndarray
            One image or a batch, as for `preprocess`.
        threads : int, optional
            As for `infer`.

        Returns
        -------
        ndarray of int (N,)
            A single integer for one image.

        Raises
        ------
        TypeError, ValueError
            As `predict_proba` does.
        """
        classes: IntArray = self.predict_proba(images, threads=threads).argmax(axis=-1)
        return classes


def check_model(op: str, model: object, kind: type) -> None:
    """Raise a TypeError unless a model is of a kind, such as `Sequential`."""
    if not isinstance(model, kind):
        expected = "Classifier such as Sequential" if kind is Classifier else kind.__name__
        hint = "; call it for each network" if isinstance(model, Classifier) else ""
        raise TypeError(f"{op}: model must be a {expected}, not {type(model).__name__}{hint}")


def check_logits(op: str, model: Classifier) -> None:
    """Raise a ValueError unless a model gives two or more logits an image."""
    if len(model.output_shape) != 1 or model.output_shape[0] < 2:
        raise ValueError(
            f"{op}: the model gives {model.output_shape} for an image, not a logit for each of two "
            f"or more classes; end it with Flatten() and Dense(classes)"
        )
