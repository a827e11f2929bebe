"""Separate ink from paper, and label the connected regions of the ink.

All contrast is relative to the paper, whose brightness is read along the image's border. So black
on white, white on black, pencil on gray and a photo with a shadow give the same result: 0 for
paper, 1 for ink.
"""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

Gray = NDArray[np.uint8]  # (H, W) brightness
InkDensity = NDArray[np.float32]  # (H, W), 0 = paper, 1 = darkest ink
InkLevels = NDArray[np.uint8]  # (H, W), contrast to the paper; 255 = black on white
Mask = NDArray[np.bool_]
Box = tuple[slice, slice]  # rows, columns
Value = TypeVar("Value", np.uint8, np.bool_)

UNIFORM_SHARE = 0.4  # of the border has one brightness if the background is uniform
JPEG_NOISE = 12  # gray levels by which a small JPEG differs from the drawing
PHOTO_SIZE = 800  # longer side of a reduced photo; averaging removes noise
BACKGROUND_SIZE = 128  # longer side of the copy on which an uneven background is estimated
MAX_COVERAGE = 0.6  # of the image; no drawing covers more of its paper
MIN_PHOTO_CONTRAST = 1.3  # contrast of ink on a photo, relative to the paper's own
MIN_INK_LEVEL = 16  # a smaller contrast is not ink
MIN_TOUCHING_LEVEL = 64  # of ink at opposite edges of a crop; creases have less contrast
MAX_TOUCHES = 7  # of a cropped digit and the border; printed lines and grain touch it more often
EIGHT_NEIGHBORS = np.ones((3, 3), np.bool_)  # pixels that touch at a corner are connected


class Foreground(NamedTuple):
    """Ink of an image.

    `density` (H, W) float32 is 0 for paper and 1 for the darkest ink. It is 0 outside `mask`
    (H, W) bool, which includes soft edges. One pixel is `scale`×`scale` pixels of the image.
    `uniform_background` is True for a drawing and False for a photo.
    """

    density: InkDensity
    mask: Mask
    scale: int
    uniform_background: bool


class Regions(NamedTuple):
    """Regions of a label image.

    `labels` (H, W) int32 is 0 for background, else 1 + the index of the region. `boxes` (n, 4)
    int64 holds ``top, left, bottom, right``, the last two exclusive. `areas` (n,) int64 counts
    pixels.
    """

    labels: NDArray[np.int32]
    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]


def segment_foreground(gray: Gray) -> Foreground:
    """Separate the ink from the paper."""
    uniform = has_uniform_background(gray)
    scale = 1 if uniform else -(-max(gray.shape) // PHOTO_SIZE)
    levels = global_contrast(gray) if uniform else local_contrast(denoise(gray, scale))
    levels = levels - np.minimum(levels, np.uint8(np.median(border_pixels(levels))))
    peak = nth_largest(levels, max(4, max(levels.shape) // 8))
    background = background_level(levels)
    if not uniform and MIN_TOUCHING_LEVEL <= peak < MIN_PHOTO_CONTRAST * background:
        background = min(background, level_beside_ink(levels, peak))
    if peak < MIN_INK_LEVEL or (not uniform and peak < MIN_PHOTO_CONTRAST * background):
        blank = np.zeros(levels.shape, np.bool_)
        return Foreground(blank.astype(np.float32), blank, scale, uniform)
    high = isodata_threshold(levels, peak)
    if background < 0.7 * peak:  # else the digit itself reaches the border
        high = max(high, (background + peak) / 2)
    # Soft edges and weak strokes touch ink above `high`; the grain of paper does not.
    low = min(max(0.15 * high, 1.1 * background), high)
    mask = hysteresis_threshold(levels, low, high)
    # Ink that covers most of the image is a sheet of paper in a frame of another brightness.
    if uniform and mask.mean() > MAX_COVERAGE and not border_pixels(mask).any():
        return segment_inside_frame(gray, mask)
    density = np.minimum(np.arange(256, dtype=np.float32) / np.float32(peak), np.float32(1))
    return Foreground(np.where(mask, density[levels], np.float32(0)), mask, scale, uniform)


def segment_inside_frame(gray: Gray, paper: Mask) -> Foreground:
    """Segment the sheet of paper; the frame around it is background."""
    sheet = bounding_box(paper)
    inside = segment_foreground(gray[sheet])
    density, mask = np.zeros(gray.shape, np.float32), np.zeros(gray.shape, np.bool_)
    H, W = gray[sheet].shape
    for whole, part in (density, inside.density), (mask, inside.mask):
        # A reduced photo in a frame is enlarged to the pixels of the frame.
        whole[sheet] = part.repeat(inside.scale, 0).repeat(inside.scale, 1)[:H, :W]
    return inside._replace(density=density, mask=mask, scale=1)


# ---------------------------------------------------------------- regions


def label_regions(mask: Mask) -> Regions:
    """Label the 8-connected components, in order of their first pixels."""
    labels, _ = ndimage.label(mask, EIGHT_NEIGHBORS)
    return measure_regions(labels)


def measure_regions(labels: NDArray[np.int32]) -> Regions:
    """Compute boxes and areas of the labels 1 to n, none of them empty."""
    areas = np.bincount(labels.ravel(), minlength=1)[1:]
    boxes = np.repeat([[*labels.shape, 0, 0]], len(areas), axis=0)
    owner = labels[labels > 0] - 1
    # An array of boxes, because a million of SciPy's slices takes seconds.
    for axis, indices in enumerate(np.nonzero(labels)):
        np.minimum.at(boxes[:, axis], owner, indices)
        np.maximum.at(boxes[:, 2 + axis], owner, indices + 1)
    return Regions(labels, boxes, areas)


def bounding_box(mask: Mask) -> Box:
    """Return the rows and columns of the box around all True pixels."""
    box: Box = ndimage.find_objects(mask.astype(np.int8))[0]
    return box


# ---------------------------------------------------------------- background


def border_pixels(image: NDArray[Value]) -> NDArray[Value]:
    """Return the pixels along the four edges."""
    k = max(1, min(image.shape) // 32)
    inner = image[k:-k]
    edges = (image[:k], image[-k:], inner[:, :k], inner[:, -k:])
    return np.concatenate([edge.ravel() for edge in edges])


def has_uniform_background(gray: Gray) -> bool:
    """Return whether the border is uniform: a drawing, not a photo."""
    border = border_pixels(gray)
    difference = np.abs(border - np.median(border))
    # No photo of a digit is as small as this, so small differences are JPEG noise.
    tolerance = 0 if max(gray.shape) > BACKGROUND_SIZE else JPEG_NOISE
    return float(np.mean(difference <= tolerance)) >= UNIFORM_SHARE


def denoise(gray: Gray, scale: int) -> Gray:
    """Reduce a photo by `scale` and blur it slightly."""
    image = Image.fromarray(gray).reduce(scale)
    radius = min(1.0, max(image.size) / 400)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))


def global_contrast(gray: Gray) -> InkLevels:
    """Measure contrast to one paper brightness, darker or brighter."""
    paper = float(np.median(border_pixels(gray)))
    contrast = np.arange(256) - paper
    weight = np.bincount(gray.ravel(), minlength=256) * contrast**2
    # Ink is the side with more contrast.
    if weight[contrast < 0].sum() >= weight[contrast > 0].sum():
        ratio = -contrast / max(paper, 1)
    else:
        ratio = contrast / max(255 - paper, 1)
    levels: InkLevels = np.rint(np.clip(ratio, 0, 1) * 255).astype(np.uint8)
    return levels[gray]


def local_contrast(gray: Gray) -> InkLevels:
    """Measure contrast to the paper's brightness around each pixel."""
    image = Image.fromarray(gray)
    small = image.reduce(-(-max(image.size) // BACKGROUND_SIZE))
    if not ink_is_dark(small):
        image, small = (Image.fromarray(255 - np.asarray(each)) for each in (image, small))
    # Grey closing: the maximum over a neighborhood wider than a stroke is paper, and the minimum
    # of these maxima moves the edges of shadows back.
    size = max(3, max(small.size) // 6 | 1)
    closed = small.filter(ImageFilter.MedianFilter(3))
    closed = closed.filter(ImageFilter.MaxFilter(size)).filter(ImageFilter.MinFilter(size))
    paper = closed.filter(ImageFilter.GaussianBlur(2)).resize(image.size, Image.Resampling.BICUBIC)
    ratio = 1 - np.asarray(image, np.float32) / np.maximum(np.asarray(paper, np.float32), 1)
    return np.rint(np.clip(ratio, 0, 1) * 255).astype(np.uint8)


def ink_is_dark(small: Image.Image) -> bool:
    """Return whether the skewness of the local contrast is negative."""
    # Ink is rarer than paper, so it is the long tail of the distribution.
    surroundings = small.filter(ImageFilter.GaussianBlur(max(small.size) / 8))
    difference = np.asarray(small, np.float32) - np.asarray(surroundings, np.float32)
    difference -= np.median(difference)
    return bool((difference**3).sum() <= 0)


def background_level(levels: InkLevels) -> float:
    """Return the highest level of the paper: printed lines and grain.

    Printed lines cross the whole image, so they appear at opposite edges. A digit or a table
    reaches one edge only.
    """
    k = max(1, min(levels.shape) // 32)
    h, w = (n // 8 for n in levels.shape)  # a table at the left edge also fills two corners
    across, down = levels[h : len(levels) - h], levels[:, w : levels.shape[1] - w]
    edges = (across[:, :k], across[:, -k:]), (down[:k], down[-k:])
    n = max(1, k * max(levels.shape) // 500)
    return max(min(nth_largest(edge, n) for edge in pair) for pair in edges)


def level_beside_ink(levels: InkLevels, peak: float) -> float:
    """Return the highest level of the paper beside a digit cropped to its ink."""
    k = max(1, min(levels.shape) // 32)
    clockwise = levels[:k], levels[:, -k:].T, levels[-k:, ::-1], levels[::-1, :k].T
    border = np.concatenate([edge.max(axis=0) for edge in clockwise])
    is_ink = border > peak / 2
    if np.count_nonzero(is_ink & ~np.roll(is_ink, 1)) > MAX_TOUCHES:
        return 255
    near_ink = ndimage.binary_dilation(is_ink, iterations=max(2, max(levels.shape) // 30))
    return nth_largest(border[~near_ink], max(1, border.size // 100))


# ---------------------------------------------------------------- thresholds


def nth_largest(levels: InkLevels, n: int) -> float:
    """Return the n-th largest level."""
    counts_from_top = np.bincount(levels.ravel(), minlength=256)[::-1].cumsum()
    return float(255 - np.searchsorted(counts_from_top, min(n, levels.size)))


def isodata_threshold(levels: InkLevels, peak: float) -> float:
    """Return the level half way between mean paper and mean ink."""
    # Ridler and Calvard, "Picture thresholding using an iterative selection method", 1978.
    counts = np.bincount(levels.ravel(), minlength=256)
    values = np.minimum(np.arange(256), peak)
    # The start at half the peak keeps rare ink a class of its own; Otsu's threshold would split
    # the grain of the paper.
    threshold = peak / 2
    for _ in range(10):  # converges in a few iterations
        sides = values > threshold, values <= threshold
        means = (counts[side] @ values[side] / max(1, counts[side].sum()) for side in sides)
        threshold = sum(means) / 2
    return float(threshold)


def hysteresis_threshold(levels: InkLevels, low: float, high: float) -> Mask:
    """Return the pixels above `low` connected to one above `high`."""
    labels, _ = ndimage.label(levels > low, EIGHT_NEIGHBORS)
    return np.isin(labels, labels[levels > high])
