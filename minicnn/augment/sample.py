"""Sample the transformation of each image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.augment.transform import BRIGHTNESS_FACTOR, SHARPNESS, STROKE_WIDTH, RandomBits
from minicnn.kernels.jit import device_function, kernel
from minicnn.shapes import Array

# Indices of the fields of `minicnn.Augment`, in their order.
(ROTATION, SHIFT, SHEAR, ZOOM, HORIZONTAL_FLIP, VERTICAL_FLIP, ELASTIC, THIN, THICKEN, BLUR,
 SHARPEN, BRIGHTNESS, ERASE) = range(13)  # fmt: skip

# Indices of an image's random words. Each draw has a word of its own, so switching one
# transformation on or off leaves the others unchanged. 11, 12 and 18 are free; moving a draw or
# changing the number of words would change every trained network.
WORDS = 19
(ANGLE_DRAW, SHEAR_DRAW, ZOOM_H_DRAW, ZOOM_W_DRAW, SHIFT_H_DRAW, SHIFT_W_DRAW, FLIP_W_DRAW,
 FLIP_H_DRAW, STROKE_DRAW, EDGE_DRAW, BRIGHTNESS_DRAW) = range(11)  # fmt: skip
ERASE_DRAW, AREA_DRAW, ASPECT_DRAW, ERASE_H_DRAW, ERASE_W_DRAW = range(13, 18)


@kernel
def sample_transforms(
    ranges: Array,  # float64: the fields of `minicnn.Augment`; 0 is off
    random_bits: RandomBits,  # (N, at least WORDS)
    H: int,
    W: int,
    affine: Array,  # out (N, 2, 3), this and the next two as `transform` takes them
    magnitudes: Array,  # out (N, 3)
    erase_boxes: NDArray[np.int64],  # out (N, 4)
    draws: Array,  # scratch float64 (WORDS,): uniform in -1..1, without the ends
) -> None:
    """Sample the transformation of each image; the loop is n."""
    zoom, shift = 1 + ranges[ZOOM], ranges[SHIFT]
    for n in range(len(random_bits)):
        for i in range(WORDS):
            draws[i] = (random_bits[n, i] + 0.5) / 2.0**31
        inverse_affine(
            np.radians(ranges[ROTATION]) * draws[ANGLE_DRAW],
            np.tan(np.radians(ranges[SHEAR]) * draws[SHEAR_DRAW]),
            _flip(zoom ** draws[ZOOM_H_DRAW], ranges[VERTICAL_FLIP], draws[FLIP_H_DRAW]),
            _flip(zoom ** draws[ZOOM_W_DRAW], ranges[HORIZONTAL_FLIP], draws[FLIP_W_DRAW]),
            shift * draws[SHIFT_H_DRAW],
            shift * draws[SHIFT_W_DRAW],
            affine,
            n,
        )
        stroke, edge = draws[STROKE_DRAW], draws[EDGE_DRAW]
        magnitudes[n, STROKE_WIDTH] = stroke * ranges[THIN if stroke < 0 else THICKEN]
        magnitudes[n, SHARPNESS] = edge * ranges[SHARPEN if edge < 0 else BLUR]
        magnitudes[n, BRIGHTNESS_FACTOR] = 1 + ranges[BRIGHTNESS] * draws[BRIGHTNESS_DRAW]
        erases = _uniform01(draws[ERASE_DRAW]) < ranges[ERASE]
        area = (0.02 + 0.18 * _uniform01(draws[AREA_DRAW])) * H * W if erases else 0.0
        aspect = 0.3 ** draws[ASPECT_DRAW]
        top, left = _uniform01(draws[ERASE_H_DRAW]), _uniform01(draws[ERASE_W_DRAW])
        erase_boxes[n, 0], erase_boxes[n, 1] = box_side(np.sqrt(area * aspect), H, top)
        erase_boxes[n, 2], erase_boxes[n, 3] = box_side(np.sqrt(area / aspect), W, left)


@device_function
def _uniform01(draw: float) -> Any:
    """Scale a draw from -1..1 to 0..1."""
    return (draw + 1) / 2


@device_function
def _flip(zoom: float, flips: float, draw: float) -> Any:
    """Return the factor of a side; a negative factor also flips."""
    return -zoom if flips and draw < 0 else zoom


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
) -> tuple[Any, Any]:
    """Compute start and end of one side of a rectangle inside an image."""
    pixels = np.int64(min(np.rint(length), np.float64(image_length)))
    start = np.int64(np.floor((image_length + 1 - pixels) * position))
    return start, start + pixels
