"""Variations of images to learn from: what a network has met in many forms, it reads in others."""

import warnings
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from minicnn.augment import sample, warp
from minicnn.augment.warp import smoothing
from minicnn.random import random_bits
from minicnn.runtime import arena
from minicnn.shapes import FloatArray, IntArray
from minicnn.shapes.checks import check_pixel_range, check_pixels

# The largest value of each strength; all begin at 0.
LARGEST = {
    "rotation": 180.0,
    "shift": np.inf,
    "shear": 80.0,
    "zoom": 10.0,
    "elastic": np.inf,
    "thin": 100.0,
    "thicken": 100.0,
    "blur": 1.0,
    "sharpen": 100.0,
    "brightness": 1.0,
    "contrast": 1.0,
    "noise": 1.0,
    "erase": 1.0,
    "untouched": 1.0,
}


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Varies images at random, each time in another way: `fit` takes it as ``augment=``.

    A transformation that is left at 0 does not happen. They come in this order: geometry (all of it
    in one step), strokes, edges, brightness and contrast, noise, erasing. What a given image looks
    like depends on the seed, the epoch and its number, and on nothing else.

    Lengths are in pixels, angles in degrees; every number below is the largest change, and each
    image gets a random part of it, evenly distributed. Pixels that come from outside are 0.

    Parameters
    ----------
    rotation : float
        Either way, 0 to 180 degrees.
    shift : float
        In any direction, downwards and to the right by itself.
    shear : float
        Slant of upright lines, either way, 0 to 80 degrees.
    zoom : float
        0.25 makes images up to 1.25 times as large, or as small; height and width by themselves.
    horizontal_flip, vertical_flip : bool
        Whether every second image is mirrored, left to right or upside down.
    elastic : float
        How far pixels are moved by the elastic distortion: the standard deviation, in pixels.
    elastic_sigma : float
        Over how many pixels neighbors are moved alike: the standard deviation of the Gaussian
        that random numbers are smoothed with. Simard et al. have 4, and about 1.4 for `elastic`.
    thin, thicken : float
        How far the edges of strokes move, on each side; strokes are bright on dark.
    blur, sharpen : float
        How much of the image blurred by one pixel is mixed in (0 to 1), or subtracted (0 to 100,
        for hard edges).
    brightness : float
        0.2 multiplies images by 0.8 to 1.2. 0 to 1.
    contrast : float
        0.2 multiplies the distance of pixels from their mean by 0.8 to 1.2. 0 to 1.
    noise : float
        Standard deviation of what is added to each pixel, 0 to 1.
    erase : float
        Probability that a random rectangle becomes 0, of 2 to 20 % of the image and sides in a
        ratio of 0.3 to 1 / 0.3.
    untouched : float
        Probability that nothing of all this happens to an image: some of each batch, other ones in
        each epoch, are as they will be met in use.

    Raises
    ------
    TypeError, ValueError
        If a strength is no number or out of its range.

    Warns
    -----
    UserWarning
        If images are to be flipped: mirrored digits and letters are others, or none.

    References
    ----------
    Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual
    document analysis" (ICDAR 2003), section 2. Zhong, Zheng, Kang, Li, Yang, "Random erasing data
    augmentation" (AAAI 2020), section 3.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    elastic: float = 0.0
    elastic_sigma: float = 4.0
    thin: float = 0.0
    thicken: float = 0.0
    blur: float = 0.0
    sharpen: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    untouched: float = 0.0

    def __post_init__(self) -> None:
        """Check every strength."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_flip"):
                _check_flip(field.name, value)
            elif field.name == "elastic_sigma":
                _check_number(field.name, value, 0.5, np.inf)
            else:
                _check_number(field.name, value, 0.0, LARGEST[field.name])

    @classmethod
    def digits(cls) -> Self:
        """Return what serves handwritten digits: MNIST's own, and drawings through
        `to_mnist_format`.

        Geometry alone made a network worse at drawings with other pens than MNIST's; with other
        widths and edges of strokes, fainter ink and missing parts it read both better. Chosen among
        some sixteen settings, one training each, on MNIST's validation images and on stand-in
        drawings.

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
        self, images: NDArray[Any], numbers: IntArray, *, seed: int, epoch: int
    ) -> FloatArray:
        """Return the images as they look in an epoch.

        Parameters
        ----------
        images : ndarray (N, H, W, C) or (N, H, W)
            uint8 (0 to 255), or float (0 to 1).
        numbers : ndarray of int (N,)
            Their numbers in the data set, 0 to 2³² - 1.
        seed : int
            0 to 2⁶⁴ - 1.
        epoch : int
            0 to 2³² - 1.

        Returns
        -------
        ndarray, shaped as `images`
            0 to 1; float64 if the images are, else float32. In the workspace, where there is one.

        Raises
        ------
        TypeError, ValueError
            If an argument is of another type or shape, or out of range.
        """
        _check_batch(images, numbers)
        dtype = np.dtype(np.float64 if images.dtype == np.float64 else np.float32)
        batch = images[..., None] if images.ndim == 3 else images
        batch = np.ascontiguousarray(batch, None if images.dtype == np.uint8 else dtype)
        N, H, W, C = batch.shape
        rows, columns = smoothing(H, W, self.elastic, self.elastic_sigma, dtype)
        bent, grains = 2 * rows.shape[1] * len(columns), C * H * W if self.noise else 0
        words = random_bits(seed, "augmentation", epoch, numbers, sample.WORDS)
        bends = random_bits(seed, "elastic", epoch, numbers, bent)
        noise = random_bits(seed, "noise", epoch, numbers, grains)
        maps, amounts, boxes = arena.allocate(
            (((N, 2, 3), dtype), ((sample.AMOUNTS, N), dtype), ((N, 4), np.int64))
        )
        sample.sample_transforms(self._strengths, words, H, W, bends, maps, amounts, boxes)
        rooms = arena.allocate(_rooms((N, C, H, W), rows, columns))
        sample.augment(
            batch, self._moves, maps, amounts, boxes, bends, noise, rows, columns, *rooms
        )
        return _channels_last(rooms[-1]).reshape(images.shape)

    @cached_property
    def _strengths(self) -> FloatArray:
        return np.array([getattr(self, name) for name in sample.STRENGTHS], np.float64)

    @cached_property
    def _moves(self) -> bool:
        strengths = (self.rotation, self.shift, self.shear, self.zoom, self.elastic)
        return any(strengths) or self.horizontal_flip or self.vertical_flip


def _rooms(
    shape: tuple[int, int, int, int], rows: FloatArray, columns: FloatArray
) -> tuple[arena.ArraySpec, ...]:
    """Return shapes and dtypes of what `kernels.vary` works in, and last of what it writes."""
    H, W = shape[2:]
    K, (J, width), dtype = rows.shape[1], columns.shape, rows.dtype
    return (
        ((K * (J + warp.WARP_LANES),), dtype),
        ((2, H, width), dtype),
        ((H, width), np.int32),
        ((H + 3, W + 3), dtype),
        ((H + 4, W + 4), dtype),
        ((W + 4,), dtype),
        (shape, dtype),
        (shape, dtype),
    )


def _channels_last(planes: FloatArray) -> FloatArray:
    """Return images (N, H, W, C); without another copy where there is one channel."""
    N, C, H, W = planes.shape
    if C == 1:
        return planes.reshape(N, H, W, 1)
    out: FloatArray = arena.empty((N, H, W, C), planes.dtype)
    out[...] = planes.transpose(0, 2, 3, 1)
    return out


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"Augment: {name} must be a number, not {value!r}")
    if not low <= value <= high or value == np.inf:
        wanted = f"{low:g} to {high:g}" if high < np.inf else f"{low:g} or more, and finite"
        raise ValueError(f"Augment: {name} must be {wanted}, not {value!r}")


def _check_flip(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"Augment: {name} must be True or False, not {value!r}")
    if value:
        warnings.warn(
            f"Augment: {name} is for photos of things; a mirrored digit or letter is another or "
            f"none, and a network that learns from it reads worse",
            UserWarning,
            stacklevel=4,  # _check_flip, __post_init__, __init__, and then who made the object
        )


def _check_batch(images: NDArray[Any], numbers: IntArray) -> None:
    check_pixels("Augment", images)
    if images.ndim not in (3, 4):
        raise ValueError(
            f"Augment: images must have axes (N, H, W) or (N, H, W, C), not {images.ndim} axes "
            f"(shape {images.shape}); images[None] makes a batch of one"
        )
    if not isinstance(numbers, np.ndarray) or not np.issubdtype(numbers.dtype, np.integer):
        given = numbers.dtype if isinstance(numbers, np.ndarray) else type(numbers).__name__
        raise TypeError(f"Augment: numbers must be an integer array, not {given}")
    if numbers.shape != images.shape[:1]:
        raise ValueError(
            f"Augment: numbers must have shape ({len(images)},), one for each image, "
            f"not {numbers.shape}"
        )
    if numbers.min() < 0 or numbers.max() >= 2**32:
        raise ValueError("Augment: numbers must lie in 0 .. 2**32 - 1")
    if images.dtype != np.uint8:
        check_pixel_range("Augment", images)
