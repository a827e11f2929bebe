"""What happens to each image of a shard, drawn from its random words, and done."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.augment.pixels import (
    add_noise,
    adjust_brightness_contrast,
    blur,
    dilate_or_erode,
    random_erase,
)
from minicnn.augment.warp import warp
from minicnn.kernels.jit import device_function, kernel

Array = NDArray[Any]
Words = NDArray[np.int32]
Boxes = NDArray[np.int64]

# The places of the strengths of `minicnn.Augment` in an array. (All places are NumPy's integers: a
# piece would be compiled anew for each of Python's.)
STRENGTHS = (
    "rotation",
    "shift",
    "shear",
    "zoom",
    "horizontal_flip",
    "vertical_flip",
    "thin",
    "thicken",
    "blur",
    "sharpen",
    "brightness",
    "contrast",
    "noise",
    "erase",
    "untouched",
)
(ROTATION, SHIFT, SHEAR, ZOOM, HORIZONTAL_FLIP, VERTICAL_FLIP, THIN, THICKEN, BLUR, SHARPEN,
 BRIGHTNESS, CONTRAST, NOISE, ERASE, UNTOUCHED,
 ) = np.arange(len(STRENGTHS), dtype=np.int64)  # fmt: skip

# Which random word of an image decides what. Each has its own: what is switched on or off does not
# change the rest.
WORDS = 19
(
    ANGLE_DRAW,
    SHEAR_DRAW,
    ZOOM_H_DRAW,
    ZOOM_W_DRAW,
    SHIFT_H_DRAW,
    SHIFT_W_DRAW,
    FLIP_W_DRAW,
    FLIP_H_DRAW,
    STROKE_DRAW,
    EDGE_DRAW,
    BRIGHTNESS_DRAW,
    CONTRAST_DRAW,
    NOISE_DRAW,
    ERASE_DRAW,
    AREA_DRAW,
    ASPECT_DRAW,
    ERASE_H_DRAW,
    ERASE_W_DRAW,
    SKIP_DRAW,
) = np.arange(WORDS, dtype=np.int64)  # fmt: skip

# The rows of `amounts`.
AMOUNTS = 5
STROKES, EDGES, BRIGHT, RANGE, GRAINS = np.arange(AMOUNTS, dtype=np.int64)


@kernel
def sample_transforms(
    strengths: Array,
    words: Words,
    H: int,
    W: int,
    bends: Words,
    maps: Array,
    amounts: Array,
    boxes: Boxes,
) -> None:
    """Draw by how much each image is changed; the loop is n.

    Parameters
    ----------
    strengths : ndarray of float64 (len(STRENGTHS),)
        In the order of `STRENGTHS`; 0 is off.
    words : ndarray of int32 (N, M)
        At least `WORDS` random words for each image.
    H, W : int
        Of the images.
    bends : ndarray of int32 (N, M)
        Random words for `warp`; those of an image that stays as it is become 0.
    maps : ndarray (N, 2, 3)
        Overwritten by where pixels come from, as `warp` takes it.
    amounts : ndarray (AMOUNTS, N)
        Overwritten: pixels to `dilate_or_erode` by, share to `blur`, brightness and contrast to
        `adjust_brightness_contrast` by, standard deviation for `add_noise`.
    boxes : ndarray of int64 (N, 4)
        Overwritten by what is to `erase`.
    """
    for n in range(len(words)):
        inverse_affine(
            np.radians(strengths[ROTATION]) * _uniform_pm1(words, n, ANGLE_DRAW),
            np.tan(np.radians(strengths[SHEAR]) * _uniform_pm1(words, n, SHEAR_DRAW)),
            _zoom(strengths, VERTICAL_FLIP, words, n, ZOOM_H_DRAW, FLIP_H_DRAW),
            _zoom(strengths, HORIZONTAL_FLIP, words, n, ZOOM_W_DRAW, FLIP_W_DRAW),
            strengths[SHIFT] * _uniform_pm1(words, n, SHIFT_H_DRAW),
            strengths[SHIFT] * _uniform_pm1(words, n, SHIFT_W_DRAW),
            maps,
            n,
        )
        amounts[STROKES, n] = _signed_range(
            strengths, THIN, THICKEN, _uniform_pm1(words, n, STROKE_DRAW)
        )
        amounts[EDGES, n] = _signed_range(
            strengths, SHARPEN, BLUR, _uniform_pm1(words, n, EDGE_DRAW)
        )
        amounts[BRIGHT, n] = 1 + strengths[BRIGHTNESS] * _uniform_pm1(words, n, BRIGHTNESS_DRAW)
        amounts[RANGE, n] = 1 + strengths[CONTRAST] * _uniform_pm1(words, n, CONTRAST_DRAW)
        amounts[GRAINS, n] = strengths[NOISE] * _uniform01(words, n, NOISE_DRAW)
        happens = _uniform01(words, n, ERASE_DRAW) < strengths[ERASE]
        area = (0.02 + 0.18 * _uniform01(words, n, AREA_DRAW)) * H * W if happens else 0.0
        aspect = 0.3 ** _uniform_pm1(words, n, ASPECT_DRAW)
        segment(
            np.sqrt(area * aspect), H, _uniform01(words, n, ERASE_H_DRAW), boxes, n, np.int64(0)
        )
        segment(
            np.sqrt(area / aspect), W, _uniform01(words, n, ERASE_W_DRAW), boxes, n, np.int64(2)
        )
        if _uniform01(words, n, SKIP_DRAW) < strengths[UNTOUCHED]:
            _set_identity(bends, maps, amounts, boxes, n)


@device_function
def _set_identity(bends: Words, maps: Array, amounts: Array, boxes: Boxes, n: int) -> None:
    """Write what changes nothing."""
    bends[n, :] = 0
    for a in range(2):
        for b in range(3):
            maps[n, a, b] = a == b
    for which in range(AMOUNTS):
        amounts[which, n] = which in (BRIGHT, RANGE)
    boxes[n, :] = 0


@device_function
def _uniform_pm1(words: Words, n: int, which: np.int64) -> Any:
    """Return a number that is evenly distributed over -1..1, without the ends."""
    return (words[n, which] + 0.5) / 2.0**31


@device_function
def _uniform01(words: Words, n: int, which: np.int64) -> Any:
    """Return a number that is evenly distributed over 0..1, without the ends."""
    return (_uniform_pm1(words, n, which) + 1) / 2


@device_function
def _signed_range(strengths: Array, below: np.int64, above: np.int64, even: float) -> Any:
    """Return what lies in -`below` .. 0 for one half of the images, in 0 .. `above` for others."""
    return even * strengths[below if even < 0 else above]


@device_function
def _zoom(
    strengths: Array, flip: np.int64, words: Words, n: int, which: np.int64, mirror: np.int64
) -> Any:
    """Return by how much a side becomes longer; negative where it is mirrored, too."""
    zoom = (1 + strengths[ZOOM]) ** _uniform_pm1(words, n, which)
    return -zoom if strengths[flip] and _uniform_pm1(words, n, mirror) < 0 else zoom


@device_function
def inverse_affine(
    angle: float,
    slant: float,
    zoom_h: float,
    zoom_w: float,
    down: float,
    right: float,
    maps: Array,
    n: int,
) -> None:
    """Write where each pixel of an image that is zoomed, sheared, turned and shifted comes from.

    ``maps[n] · (h, w, 1)`` is where (h, w) comes from; both count from the image's middle. All that
    happens to an image is undone here, the last first.

    Parameters
    ----------
    angle : float
        Anticlockwise, in radians.
    slant : float
        Pixels to the right for each pixel upwards.
    zoom_h, zoom_w : float
        Of the height and of the width; negative ones also flip.
    down, right : float
        Pixels to shift by.
    maps : ndarray (N, 2, 3)
        One of them is overwritten.
    n : int
    """
    cos, sin = np.cos(angle), np.sin(angle)
    upper = (cos / zoom_h, sin / zoom_h)
    lower = ((slant * cos - sin) / zoom_w, (slant * sin + cos) / zoom_w)
    maps[n, 0, 0], maps[n, 0, 1] = upper
    maps[n, 0, 2] = -(upper[0] * down + upper[1] * right)
    maps[n, 1, 0], maps[n, 1, 1] = lower
    maps[n, 1, 2] = -(lower[0] * down + lower[1] * right)


@device_function
def segment(
    length: float, longest: int, place: float, boxes: Boxes, n: int, first: np.int64
) -> None:
    """Write the two ends of a side of a rectangle that lies somewhere in an image.

    Parameters
    ----------
    length : float
        Of the side; a longer one than `longest` is as long.
    longest : int
        Of the image's side.
    place : float
        0 to below 1: how far along, of what is possible.
    boxes : ndarray of int64 (N, 4)
        ``boxes[n, first]`` and the number after it are overwritten.
    n : int
    first : int64
    """
    whole = np.int64(min(np.rint(length), np.float64(longest)))
    start = np.int64(np.floor((longest + 1 - whole) * place))
    boxes[n, first], boxes[n, first + 1] = start, start + whole


@kernel
def augment(
    images: Array,
    moves: bool,
    maps: Array,
    amounts: Array,
    boxes: Boxes,
    bends: Words,
    noise: Words,
    rows: Array,
    columns: Array,
    numbers: Array,
    places: Array,
    corners: NDArray[np.int32],
    padded: Array,
    wide: Array,
    column: Array,
    planes: Array,
    out: Array,
) -> None:
    """Change images: move, thicken, blur, shade, add noise, erase.

    One kernel for all of it, because a thread that comes back from a kernel waits for the
    interpreter; another may have it. The loop nests are those of the kernels.

    Parameters
    ----------
    images : ndarray (N, H, W, C)
        uint8, or floats of out's dtype.
    moves : bool
        Whether `maps` and `bends` count.
    maps, amounts, boxes : ndarray
        From `sample_transforms`.
    bends, noise : ndarray of int32
        Random words for `warp` and `add_noise`; none for the latter where its amounts are 0.
    rows, columns, numbers, places, corners, padded : ndarray
        As in `warp`.
    wide : ndarray (H + 4, W + 4)
        Room for an image with its border repeated.
    column : ndarray (W + 4,)
        Room as in `dilate_or_erode` and `blur`.
    planes : ndarray (N, C, H, W)
        Room for the images as they were.
    out : ndarray (N, C, H, W)
        Overwritten.
    """
    if moves:
        _to_planes(images, planes)
        warp(planes, maps, bends, rows, columns, numbers, places, corners, padded, out)
    else:
        _to_planes(images, out)
    dilate_or_erode(out, amounts[STROKES], wide, column)
    blur(out, amounts[EDGES], wide, column)
    adjust_brightness_contrast(out, amounts[BRIGHT], amounts[RANGE])
    add_noise(out, amounts[GRAINS], noise)
    random_erase(out, boxes)


@device_function
def _to_planes(images: Array, planes: Array) -> None:
    """Copy images with channels first; bytes become 0 to 1."""
    N, H, W, C = images.shape
    whole = planes.dtype.type(255 if images.itemsize == 1 else 1)
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    planes[n, c, h, w] = planes.dtype.type(images[n, h, w, c]) / whole
