"""Convert the image of one digit to MNIST's format.

MNIST's authors scaled each digit with anti-aliasing to a longer side of 20 pixels. They placed its
center of mass at the center of a 28×28 image. Their pens had similar widths. A line of one pixel
from a paint program is thinner; a marker can be as wide as the holes of the digit. So
`normalize_digit` also corrects the stroke width.

References
----------
Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits" (box, center).
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from minicnn.recognizer.load_image import BlankImageError, ImageSource, read_picture
from minicnn.recognizer.segmentation import (
    Foreground,
    InkDensity,
    bounding_box,
    label_regions,
    segment_foreground,
)

IMAGE_SIZE = 28
DIGIT_SIZE = 20  # longer side of the digit inside the image
CENTER = 14  # pixel index of the center of mass in every MNIST image
SUPERSAMPLING = 8  # stroke widths are measured and corrected at 8 times the resolution
# Stroke width in pixels of the 28×28 image. The middle half of MNIST's digits lies in 2.2 to 3.0,
# the middle 80 % in 1.9 to 3.7. A width outside this range is corrected to its nearer end.
MIN_STROKE_WIDTH, MAX_STROKE_WIDTH = 2.2, 4.0

MIN_AREA = 0.02  # a region smaller than this part of the largest is not part of the digit
MAX_DISTANCE = 0.4  # nor is one farther from it than this part of its longer side


def to_mnist_format(image: ImageSource) -> NDArray[np.uint8]:
    """Convert an image of one digit to the format of MNIST's images.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image or ndarray
        An image file, its bytes, a Pillow image of any mode, or an array ``(H, W)``,
        ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` of uint8, uint16, bool, or float in 0..1.
        White may also be 1, 15, or the largest number of 9 to 15 bits. Images with more than 2400
        pixels along a side are reduced. The first of several pages is read, with a `UserWarning`.

    Returns
    -------
    ndarray of uint8 (28, 28)
        Ink is 255 on 0. The longer side of the digit is 20 pixels, its center of mass within half
        a pixel of index 14 in both directions.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ImageError
        If the file is not an image, is damaged or too large, or the array has another dtype or
        shape, or the pixels are nearly black, negative or NaN.
    BlankImageError
        If the image has no ink.
    """
    name, _, gray, *_ = read_picture(image)
    foreground = segment_foreground(gray)
    if not foreground.mask.any():
        raise BlankImageError(f"{name}: the image is blank; draw one digit with more contrast")
    return normalize_digit(select_digit(foreground))


def select_digit(foreground: Foreground) -> InkDensity:
    """Keep the ink of the largest region and of the regions near it."""
    labels, boxes, areas = label_regions(foreground.mask)
    H, W = foreground.mask.shape
    # On a photo, the edge of a table or a shadow reaches the border; the digit does not.
    inside = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < (H, W)).all(axis=1)
    inside &= areas > MIN_AREA * areas.sum()
    use_inside = not foreground.uniform_background and inside.any()
    candidates = inside if use_inside else areas > 0
    largest = int(np.where(candidates, areas, 0).argmax())
    top, left, bottom, right = boxes[largest]
    max_gap = MAX_DISTANCE * max(bottom - top, right - left)
    gaps = np.maximum(boxes[:, :2] - (bottom, right), (top, left) - boxes[:, 2:])
    selected = candidates & (gaps <= max_gap).all(axis=1) & (areas >= MIN_AREA * areas[largest])
    mask = np.concatenate([[False], selected])[labels]
    return np.where(mask, foreground.density, np.float32(0))


def normalize_digit(ink: InkDensity) -> NDArray[np.uint8]:
    """Correct the stroke width, resize to 20 pixels and center by mass."""
    digit = correct_stroke_width(crop_to_ink(ink))
    # Bilinear, because a cubic kernel overshoots below 0 beside dark ink and removes edge pixels.
    return center_by_mass(resize(digit, DIGIT_SIZE / max(digit.shape), "BILINEAR"))


def crop_to_ink(ink: InkDensity) -> InkDensity:
    """Crop to the bounding box of the nonzero pixels."""
    return ink[bounding_box(ink > 0)]


def resize(image: InkDensity, scale: float, upsampling: str) -> InkDensity:
    """Resize by area averaging when shrinking, by `upsampling` when enlarging."""
    height, width = (max(1, round(n * scale)) for n in image.shape)
    method = Image.Resampling[upsampling] if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((width, height), method))


# ---------------------------------------------------------------- stroke width


def correct_stroke_width(digit: InkDensity) -> InkDensity:
    """Dilate or erode until the mean stroke width is in MNIST's range."""
    fine = supersample(digit)
    width = stroke_width(fine) / SUPERSAMPLING
    target = min(max(width, MIN_STROKE_WIDTH), MAX_STROKE_WIDTH)
    if target == width:
        return digit
    # Strokes that grow by g on each side make the digit 20 + 2g long. Scaling it back to 20 shrinks
    # the strokes too, so (width + 2g) · 20 / (20 + 2g) = target, which gives g.
    growth = DIGIT_SIZE / 2 * (target - width) / (DIGIT_SIZE - target)
    radius = abs(growth) * SUPERSAMPLING
    if growth > 0:
        changed = dilate(np.pad(fine, math.ceil(radius)), radius)
    else:
        changed = 1 - dilate(1 - fine, radius)  # erosion
    return crop_to_ink(changed) if changed.any() else digit


def supersample(digit: InkDensity) -> InkDensity:
    """Enlarge to 160 pixels, with a pixel of paper around."""
    scale = DIGIT_SIZE * SUPERSAMPLING / max(digit.shape)
    enlarged = resize(np.pad(digit, 2), scale, "BICUBIC")
    # A line much thinner than a pixel is pale. Scale until half of the ink is fully dark.
    full_ink = np.median(enlarged[enlarged > 0.5 * enlarged.max()])
    density = np.clip(enlarged / full_ink, 0, 1)
    # Two source pixels of a tiny digit are a wide margin, and every pixel costs time.
    return np.pad(crop_to_ink(np.where(density > 0.25, density, np.float32(0))), 1)


def stroke_width(ink: InkDensity) -> float:
    """Return the mean stroke width in pixels, from the distance transform.

    Across a stroke of width w, the distance to the edge runs evenly from 0 to w/2: its mean is w/4.
    """
    foreground = np.pad(ink > 0.5, 1)  # outside the image is background
    distance = ndimage.distance_transform_edt(foreground)
    # The edge lies half a pixel before the center of the first background pixel.
    return float(4 * (distance[foreground] - 0.5).mean())


def dilate(ink: InkDensity, radius: float) -> InkDensity:
    """Dilate gray levels with a disk, as a wider pen would."""
    reach, (H, W) = math.floor(radius), ink.shape
    padded = np.pad(ink, reach, mode="edge")
    row_max = padded[:, reach : reach + W].copy()
    dilated, half = ink.copy(), 0
    # From the top row of the disk to its middle each row is wider, so `row_max` only grows.
    for dy in range(reach, -1, -1):
        while (half + 1) ** 2 + dy**2 <= radius**2:
            half += 1
            for start in (reach - half, reach + half):
                np.maximum(row_max, padded[:, start : start + W], out=row_max)
        for start in (reach - dy, reach + dy):
            np.maximum(dilated, row_max[start : start + H], out=dilated)
    return dilated


# ---------------------------------------------------------------- placement


def center_by_mass(digit: InkDensity) -> NDArray[np.uint8]:
    """Rescale to 0..255 and place the center of mass at (14, 14)."""
    # Faint edge pixels keep at least level 1; otherwise the longer side would be 19 pixels.
    levels = np.where(digit > 0, np.maximum(np.rint(digit * (255 / digit.max())), 1), 0)
    height, width = levels.shape
    y, x = ndimage.center_of_mass(levels)
    # The whole digit stays inside the image.
    top = min(max(round(CENTER - y), 0), IMAGE_SIZE - height)
    left = min(max(round(CENTER - x), 0), IMAGE_SIZE - width)
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    image[top : top + height, left : left + width] = levels
    return image
