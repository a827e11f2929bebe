"""Data augmentation: random changes of training images."""

import warnings
from dataclasses import astuple, dataclass, field, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from minicnn.augment import sample
from minicnn.augment.transform import elastic_smoothing, transform_images
from minicnn.random import random_bits
from minicnn.runtime import arena
from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import check_bool, check_labels, check_pixel_range, check_pixels


def _range(maximum: float) -> Any:
    """Return a field that is 0 (off) by default, and at most `maximum`."""
    return field(default=0.0, metadata={"maximum": maximum})


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images: the argument ``augment=`` of `fit`.

    A transformation with range 0 is off. The order is: warp (rotation, shift, shear, zoom, flips
    and elastic distortion in one interpolation), stroke width, sharpness, brightness, erasing. The
    changes of an image depend on the seed, the epoch and the image's index only.

    Lengths are in pixels, angles in degrees. Each range is the largest change; each image's change
    is uniform within it. Pixels from outside the image are 0.

    Parameters
    ----------
    rotation : float
        In both directions, 0 to 180 degrees.
    shift : float
        In both directions, independently for the two axes.
    shear : float
        Slant of vertical lines in both directions, 0 to 80 degrees.
    zoom : float
        0.25 scales by 1 / 1.25 to 1.25, independently for the two axes. 0 to 10.
    horizontal_flip, vertical_flip : bool
        Mirror each image with probability 1/2.
    elastic : float
        Standard deviation of the displacement of pixels by Simard's elastic distortion. The
        displacements are smoothed by a Gaussian of 4 pixels.
    thin, thicken : float
        Distance that the edges of strokes move on each side, 0 to 100. Strokes are bright on dark.
    blur : float
        Share of the image blurred by a Gaussian of one pixel, 0 to 1.
    sharpen : float
        Amount of unsharp masking, 0 to 100.
    brightness : float
        0.2 multiplies pixels by 0.8 to 1.2. 0 to 1.
    erase : float
        Probability of setting a random rectangle to 0: 2 to 20 % of the image, with an aspect ratio
        of 0.3 to 1 / 0.3.

    Raises
    ------
    TypeError, ValueError
        If a range is not a number or out of bounds.

    Warns
    -----
    UserWarning
        If images are to be flipped: a mirrored digit or letter is another one, or none.

    References
    ----------
    Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual
    document analysis" (ICDAR 2003), section 2. Zhong, Zheng, Kang, Li, Yang, "Random erasing data
    augmentation" (AAAI 2020), section 3.
    """

    rotation: float = _range(180.0)
    shift: float = _range(np.inf)
    shear: float = _range(80.0)
    zoom: float = _range(10.0)
    horizontal_flip: bool = False
    vertical_flip: bool = False
    elastic: float = _range(np.inf)
    thin: float = _range(100.0)
    thicken: float = _range(100.0)
    blur: float = _range(1.0)
    sharpen: float = _range(100.0)
    brightness: float = _range(1.0)
    erase: float = _range(1.0)

    def __post_init__(self) -> None:
        """Check every field."""
        for each in fields(self):
            value = getattr(self, each.name)
            if "maximum" in each.metadata:
                _check_range(each.name, value, each.metadata["maximum"])
            else:
                _check_flip(each.name, value)

    @classmethod
    def digits(cls) -> Self:
        """Return ranges for digits: MNIST's, and drawings with other pens.

        With geometry alone a network reads drawings with other pens than MNIST's worse. With stroke
        width, sharpness, brightness and erasing it reads both better. Chosen among about sixteen
        settings, with one training each, on validation images of MNIST and on synthetic drawings.

        Returns
        -------
        Augment
        """
        return cls(
            rotation=10.0,
            shift=1.5,
            shear=10.0,
            zoom=0.1,
            elastic=0.6,
            thin=0.3,
            thicken=0.6,
            blur=0.4,
            sharpen=2.0,
            brightness=0.3,
            erase=0.1,
        )

    def __call__(
        self, images: NDArray[Any], image_ids: IntArray, *, seed: int, epoch: int
    ) -> Array:
        """Return the images as they look in an epoch.

        Parameters
        ----------
        images : ndarray (N, H, W, C) or (N, H, W)
            uint8 (0 to 255), or float (0 to 1).
        image_ids : ndarray of int (N,)
            Indices of the images in the data set, 0 to 2³² - 1.
        seed : int
            0 to 2⁶⁴ - 1.
        epoch : int
            0 to 2³² - 1.

        Returns
        -------
        ndarray, shaped as `images`
            0 to 1; float64 for float64 images, else float32. Inside `arena.scope` it lies in the
            arena.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type, shape or value.
        """
        _check_batch(images, image_ids)
        dtype = np.dtype(np.float64 if images.dtype == np.float64 else np.float32)
        N, H, W = images.shape[:3]
        smoothing = elastic_smoothing(H, W, self.elastic, dtype)
        elastic_words = 2 * smoothing[0].shape[1] * len(smoothing[1])
        bits = random_bits(seed, "augmentation", epoch, image_ids, sample.WORDS)
        elastic_bits = random_bits(seed, "elastic", epoch, image_ids, elastic_words)
        affine, magnitudes, boxes, draws = arena.allocate(
            (((N, 2, 3), dtype), ((N, 3), dtype), ((N, 4), np.int64), ((sample.WORDS,), np.float64))
        )
        sample.sample_transforms(self._ranges, bits, H, W, affine, magnitudes, boxes, draws)
        return transform_images(
            images, self._moves, affine, magnitudes, boxes, elastic_bits, smoothing
        )

    @cached_property
    def _ranges(self) -> Array:
        return np.array(astuple(self), np.float64)

    @cached_property
    def _moves(self) -> bool:
        return bool(self._ranges[: sample.ELASTIC + 1].any())  # elastic is the last of the warp


def _check_range(name: str, value: object, maximum: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"Augment: {name} must be a number, not {value!r}")
    if not 0 <= value <= maximum or value == np.inf:
        allowed = f"0 to {maximum:g}" if maximum < np.inf else "0 or more, and finite"
        raise ValueError(f"Augment: {name} must be {allowed}, not {value!r}")


def _check_flip(name: str, value: object) -> None:
    check_bool("Augment", name, value)
    if value:
        warnings.warn(
            f"Augment: {name} is for photos of things; a mirrored digit or letter is another or "
            f"none, and a network that learns from it reads worse",
            UserWarning,
            stacklevel=4,  # the caller of the constructor: _check_flip, __post_init__, __init__
        )


def _check_batch(images: NDArray[Any], image_ids: IntArray) -> None:
    check_pixels("Augment", images)
    if images.ndim not in (3, 4):
        raise ValueError(
            f"Augment: images must have axes (N, H, W) or (N, H, W, C), not {images.ndim} axes "
            f"(shape {images.shape}); images[None] makes a batch of one"
        )
    check_labels("Augment", image_ids, len(images), 2**32, name="image_ids")
    if images.dtype != np.uint8:
        check_pixel_range("Augment", images)
