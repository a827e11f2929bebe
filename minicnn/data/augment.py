"""Variations of images to learn from: what a network has met in many forms, it reads in others."""

import warnings
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, shapes
from minicnn.data import pixels
from minicnn.data.geometry import inverse_maps, rectangles, smoothing
from minicnn.randomness import keyed_words
from minicnn.shapes import FloatArray, IntArray

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
}

# Which random number of an image decides what. A row for each: what is switched on or off does not
# change the rest.
DRAWS = (
    "rotation",
    "shear",
    "zoom h",
    "zoom w",
    "shift h",
    "shift w",
    "horizontal flip",
    "vertical flip",
    "stroke",
    "edge",
    "brightness",
    "contrast",
    "noise",
    "erase",
    "area",
    "aspect",
    "place h",
    "place w",
)
Draws = dict[str, FloatArray]


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
        Over how many pixels neighbours are moved alike: the standard deviation of the Gaussian
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
        """Return what serves handwritten digits: MNIST's own, and drawings through `to_mnist`.

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
        x = pixels.planes(images)
        words = keyed_words(seed, "augmentation", epoch, numbers, len(DRAWS))
        draws: Draws = dict(zip(DRAWS, (words[:, : len(DRAWS)].T + 0.5) / 2**31, strict=True))
        if self._moves:
            H, W = x.shape[2:]
            rows, columns = smoothing(H, W, self.elastic, self.elastic_sigma, x.dtype)
            count = 2 * rows.shape[1] * len(columns)
            bends = keyed_words(seed, "elastic", epoch, numbers, count)
            x = pixels.warp(x, self._maps(draws), bends, rows, columns)
        if self.thin or self.thicken:
            pixels.thicken(x, _two_sided(self.thin, self.thicken, draws["stroke"]))
        if self.blur or self.sharpen:
            pixels.blur(x, _two_sided(self.sharpen, self.blur, draws["edge"]))
        if self.brightness or self.contrast:
            brightness = 1 + self.brightness * draws["brightness"]
            contrast = 1 + self.contrast * draws["contrast"]
            kernels.shade(x, brightness.astype(x.dtype), contrast.astype(x.dtype))
        if self.noise:
            amounts = (self.noise * (draws["noise"] + 1) / 2).astype(x.dtype)
            kernels.add_noise(x, amounts, keyed_words(seed, "noise", epoch, numbers, x[0].size))
        if self.erase:
            kernels.erase(x, self._rectangles(draws, *x.shape[2:]))
        return pixels.channels_last(x).reshape(images.shape)

    @property
    def _moves(self) -> bool:
        strengths = (self.rotation, self.shift, self.shear, self.zoom, self.elastic)
        return any(strengths) or self.horizontal_flip or self.vertical_flip

    def _maps(self, draws: Draws) -> FloatArray:
        """Return ``(N, 2, 3)``: where each pixel comes from, as `inverse_maps`."""
        zoom = [(1 + self.zoom) ** draws[name] for name in ("zoom h", "zoom w")]
        if self.vertical_flip:
            zoom[0] = np.copysign(zoom[0], draws["vertical flip"])
        if self.horizontal_flip:
            zoom[1] = np.copysign(zoom[1], draws["horizontal flip"])
        return inverse_maps(
            np.radians(self.rotation) * draws["rotation"],
            np.tan(np.radians(self.shear) * draws["shear"]),
            (zoom[0], zoom[1]),
            (self.shift * draws["shift h"], self.shift * draws["shift w"]),
        )

    def _rectangles(self, draws: Draws, H: int, W: int) -> NDArray[np.int64]:
        """Return what is erased of each image; nothing of most."""
        chance, size, down, right = (
            (draws[name] + 1) / 2 for name in ("erase", "area", "place h", "place w")
        )
        area = (0.02 + 0.18 * size) * (chance < self.erase)
        return rectangles(area, 0.3 ** draws["aspect"], (down, right), H, W)


def _two_sided(below: float, above: float, draws: FloatArray) -> FloatArray:
    """Return -`below` .. 0 for negative numbers of -1..1, and 0 .. `above` for the others."""
    return np.where(draws < 0, below, above) * draws


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
    shapes.check_pixels("Augment", images)
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
        shapes.check_pixel_range("Augment", images)
