"""Sample the transformations of each image, and apply them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.augment.pixels import adjust_brightness, blur, dilate_or_erode, random_erase
from minicnn.augment.warp import warp
from minicnn.kernels.jit import device_function, kernel
from minicnn.shapes import Array

RandomBits = NDArray[np.int32]
Boxes = NDArray[np.int64]

# All indices are NumPy integers: Numba would specialize a device function for each Python literal.

# Indices of the fields of `minicnn.Augment` in `ranges`.
RANGES = (
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
    "erase",
)
(ROTATION, SHIFT, SHEAR, ZOOM, HORIZONTAL_FLIP, VERTICAL_FLIP, THIN, THICKEN, BLUR, SHARPEN,
 BRIGHTNESS, ERASE) = np.arange(len(RANGES), dtype=np.int64)  # fmt: skip

# Indices of an image's random words. Each draw has a word of its own, so switching one
# transformation on or off leaves the others unchanged. 11, 12 and 18 are free; moving a draw or
# changing the number of words would change every trained network.
WORDS = 19
(ANGLE_DRAW, SHEAR_DRAW, ZOOM_H_DRAW, ZOOM_W_DRAW, SHIFT_H_DRAW, SHIFT_W_DRAW, FLIP_W_DRAW,
 FLIP_H_DRAW, STROKE_DRAW, EDGE_DRAW, BRIGHTNESS_DRAW) = np.arange(11, dtype=np.int64)  # fmt: skip
(ERASE_DRAW, AREA_DRAW, ASPECT_DRAW, ERASE_H_DRAW, ERASE_W_DRAW,
 ) = np.arange(13, 18, dtype=np.int64)  # fmt: skip

# Rows of `magnitudes`.
MAGNITUDES = 3
STROKE_WIDTH, SHARPNESS, BRIGHTNESS_FACTOR = np.arange(MAGNITUDES, dtype=np.int64)


@kernel
def sample_transforms(
    ranges: Array,  # float64 (len(RANGES),); 0 is off
    random_bits: RandomBits,  # (N, at least WORDS)
    H: int,
    W: int,
    affine: Array,  # out (N, 2, 3), as `warp` takes it
    magnitudes: Array,  # out (MAGNITUDES, N)
    erase_boxes: Boxes,  # out (N, 4)
) -> None:
    """Sample the transformation of each image; the loop is n."""
    for n in range(len(random_bits)):
        inverse_affine(
            np.radians(ranges[ROTATION]) * _uniform_pm1(random_bits, n, ANGLE_DRAW),
            np.tan(np.radians(ranges[SHEAR]) * _uniform_pm1(random_bits, n, SHEAR_DRAW)),
            _zoom(ranges, VERTICAL_FLIP, random_bits, n, ZOOM_H_DRAW, FLIP_H_DRAW),
            _zoom(ranges, HORIZONTAL_FLIP, random_bits, n, ZOOM_W_DRAW, FLIP_W_DRAW),
            ranges[SHIFT] * _uniform_pm1(random_bits, n, SHIFT_H_DRAW),
            ranges[SHIFT] * _uniform_pm1(random_bits, n, SHIFT_W_DRAW),
            affine,
            n,
        )
        magnitudes[STROKE_WIDTH, n] = _signed_range(
            ranges, THIN, THICKEN, _uniform_pm1(random_bits, n, STROKE_DRAW)
        )
        magnitudes[SHARPNESS, n] = _signed_range(
            ranges, SHARPEN, BLUR, _uniform_pm1(random_bits, n, EDGE_DRAW)
        )
        magnitudes[BRIGHTNESS_FACTOR, n] = 1 + ranges[BRIGHTNESS] * _uniform_pm1(
            random_bits, n, BRIGHTNESS_DRAW
        )
        erases = _uniform01(random_bits, n, ERASE_DRAW) < ranges[ERASE]
        area = (0.02 + 0.18 * _uniform01(random_bits, n, AREA_DRAW)) * H * W if erases else 0.0
        aspect = 0.3 ** _uniform_pm1(random_bits, n, ASPECT_DRAW)
        top, left = (
            _uniform01(random_bits, n, ERASE_H_DRAW),
            _uniform01(random_bits, n, ERASE_W_DRAW),
        )
        box_side(np.sqrt(area * aspect), H, top, erase_boxes, n, np.int64(0))
        box_side(np.sqrt(area / aspect), W, left, erase_boxes, n, np.int64(2))


@device_function
def _uniform_pm1(random_bits: RandomBits, n: int, draw: np.int64) -> Any:
    """Return a uniform number in -1..1, without the ends."""
    return (random_bits[n, draw] + 0.5) / 2.0**31


@device_function
def _uniform01(random_bits: RandomBits, n: int, draw: np.int64) -> Any:
    """Return a uniform number in 0..1, without the ends."""
    return (_uniform_pm1(random_bits, n, draw) + 1) / 2


@device_function
def _signed_range(ranges: Array, below: np.int64, above: np.int64, u: float) -> Any:
    """Scale u in -1..1 to ``-ranges[below]..0`` or ``0..ranges[above]``."""
    return u * ranges[below if u < 0 else above]


@device_function
def _zoom(
    ranges: Array,
    flip: np.int64,
    random_bits: RandomBits,
    n: int,
    zoom_draw: np.int64,
    flip_draw: np.int64,
) -> Any:
    """Return the factor of a side; a negative factor also flips."""
    zoom = (1 + ranges[ZOOM]) ** _uniform_pm1(random_bits, n, zoom_draw)
    return -zoom if ranges[flip] and _uniform_pm1(random_bits, n, flip_draw) < 0 else zoom


@device_function
def inverse_affine(
    angle: float,  # anticlockwise, in radians
    slant: float,  # pixels to the right for each pixel upwards
    zoom_h: float,  # negative also flips
    zoom_w: float,
    shift_h: float,  # pixels
    shift_w: float,
    affine: Array,  # out: row n of (N, 2, 3)
    n: int,
) -> None:
    """Compute the map from output pixels to source pixels.

    The source of pixel (h, w) is ``affine[n] · (h, w, 1)``, both counted from the image's center.
    The map inverts zoom, shear, rotation and shift, the last first.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    upper = (cos / zoom_h, sin / zoom_h)
    lower = ((slant * cos - sin) / zoom_w, (slant * sin + cos) / zoom_w)
    affine[n, 0, 0], affine[n, 0, 1] = upper
    affine[n, 0, 2] = -(upper[0] * shift_h + upper[1] * shift_w)
    affine[n, 1, 0], affine[n, 1, 1] = lower
    affine[n, 1, 2] = -(lower[0] * shift_h + lower[1] * shift_w)


@device_function
def box_side(
    length: float,
    image_length: int,
    position: float,  # 0 to below 1, as a fraction of the possible positions
    erase_boxes: Boxes,  # out: columns `first` and `first` + 1 of row n
    n: int,
    first: np.int64,
) -> None:
    """Compute start and end of one side of a rectangle inside an image."""
    pixels = np.int64(min(np.rint(length), np.float64(image_length)))
    start = np.int64(np.floor((image_length + 1 - pixels) * position))
    erase_boxes[n, first], erase_boxes[n, first + 1] = start, start + pixels


@kernel
def augment(
    images: Array,  # (N, H, W, C), uint8 or out's dtype
    moves: bool,  # whether to warp
    affine: Array,  # from `sample_transforms`
    magnitudes: Array,
    erase_boxes: Boxes,
    elastic_bits: RandomBits,  # random words for `warp`
    rows: Array,  # this and the next five: see `warp`
    columns: Array,
    displacements: Array,
    coordinates: Array,
    sources: NDArray[np.int32],
    padded: Array,
    wide: Array,  # scratch (H + 4, W + 4) for `dilate_or_erode` and `blur`
    column: Array,  # scratch (W + 4,), likewise
    planes: Array,  # scratch (N, C, H, W): the images, channels first
    out: Array,  # out (N, C, H, W)
) -> None:
    """Apply the sampled transformations to a microbatch.

    One kernel, because a thread that returns from a kernel needs the interpreter lock, which
    another thread may hold. The loop nests are those of the kernels.
    """
    if moves:
        _to_planes(images, planes)
        warp(
            planes, affine, elastic_bits, rows, columns, displacements, coordinates, sources,
            padded, out,
        )  # fmt: skip
    else:
        _to_planes(images, out)
    dilate_or_erode(out, magnitudes[STROKE_WIDTH], wide, column)
    blur(out, magnitudes[SHARPNESS], wide, column)
    adjust_brightness(out, magnitudes[BRIGHTNESS_FACTOR])
    random_erase(out, erase_boxes)


@device_function
def _to_planes(images: Array, planes: Array) -> None:
    """Copy images with channels first; bytes are divided by 255."""
    N, H, W, C = images.shape
    divisor = planes.dtype.type(255 if images.itemsize == 1 else 1)
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    planes[n, c, h, w] = planes.dtype.type(images[n, h, w, c]) / divisor
