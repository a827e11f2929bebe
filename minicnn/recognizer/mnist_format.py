"""From a digit's ink to MNIST's field: strokes as wide as there, 20×20 box, center of mass.

MNIST's digits were black-and-white pictures whose longer side was scaled to 20 pixels, with gray
edges from averaging; they were then placed by their center of mass in a field of 28×28. The pens
were much alike. So a line drawn in a paint program with a hard pen of one pixel, or a felt pen as
wide as the digit's holes, differs from all that a network has learned from in one way more than
place and size: the width of its strokes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.distance import squared_distances

Darkness = NDArray[np.float32]  # (H, W): 0 is paper, 1 the darkest ink

BOX = 20  # longer side of a digit
FIELD = 28  # side of the whole
FINE = 8  # pixels of the fine picture to one of the field, in each direction
CENTER = 14  # index of the pixel at which the center of mass of every MNIST digit lies

# Stroke widths in pixels of the field. Of MNIST's digits half have 2.2 to 3.0, and 80 % have 1.9 to
# 3.7; what lies outside of these is redrawn with a wider or narrower pen.
THINNEST, WIDEST = 2.2, 4.0


def fit_to_mnist_field(darkness: Darkness) -> NDArray[np.uint8]:
    """Bring one digit into MNIST's form.

    1. Cut away the empty paper around the ink.
    2. Measure the width of the strokes; where it is not MNIST's, widen or narrow them.
    3. Scale so that the longer side is 20 pixels, each the mean of what falls on it.
    4. Stretch so that the darkest pixel is 255, and move by whole pixels to the center of mass.

    Parameters
    ----------
    darkness : ndarray of float32 (H, W)
        0 for paper, 1 for the darkest ink; with ink somewhere.

    Returns
    -------
    ndarray of uint8 (28, 28)
        255 is ink. The longer side of the ink is 20 pixels, its center of mass within half a
        pixel of index 14 in both directions, its darkest pixel 255.

    References
    ----------
    Steps 3 and 4: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    crop = _cropped(darkness)
    change = _change_of_width(crop)
    return _placed(_boxed(_redrawn(crop, change) if change else crop))


def _cropped(darkness: Darkness) -> Darkness:
    """Cut away the empty rows and columns around the ink."""
    rows, columns = (np.flatnonzero(darkness.any(axis=axis)) for axis in (1, 0))
    return darkness[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _resized(picture: Darkness, scale: float, how: str) -> Darkness:
    """Scale: by averaging where the picture becomes smaller, by `how` where it becomes larger."""
    from PIL import Image

    H, W = (max(1, round(n * scale)) for n in picture.shape)
    method = Image.Resampling[how] if scale > 1 else Image.Resampling.BOX
    resized: Darkness = np.asarray(Image.fromarray(picture).resize((W, H), method), np.float32)
    return resized


# ---------------------------------------------------------------- the width of the strokes


def _change_of_width(crop: Darkness) -> float:
    """Return what is missing (or, negative, too much) on each side of a stroke.

    In pixels of the field while the digit's longer side is 20. A digit whose strokes grow by g on
    each side is 20 + 2g long and is scaled back by 20 / (20 + 2g), its strokes with it. From
    ``(width + 2g) · 20 / (20 + 2g) = target`` follows ``g = 10 (target - width) / (20 - target)``.
    """
    width = _stroke_width(_fine(crop)) / FINE
    target = min(max(width, THINNEST), WIDEST)
    return BOX / 2 * (target - width) / (BOX - target)


def _fine(crop: Darkness, margin: int = 0) -> Darkness:
    """Draw the digit 160 pixels long, with smooth edges and at least `margin` of paper around it.

    A line much thinner than a pixel becomes a pale one. So brightness is stretched until half of
    the ink is fully dark.
    """
    scale = BOX * FINE / max(crop.shape)
    padded = np.pad(crop, 2 + math.ceil(margin / scale))
    fine = _resized(padded, scale, "BICUBIC")  # smooth curves from stairs of pixels
    dark = np.median(fine[fine > 0.5 * fine.max()])
    stretched: Darkness = np.clip(fine / dark, 0, 1)
    return stretched


def _stroke_width(fine: Darkness) -> float:
    """Return the mean width of the strokes, in pixels.

    In a stroke of width w the distances to its edge run evenly from 0 to w/2: their mean is w/4.
    """
    inside = fine > 0.5
    column, squared = np.empty(inside.shape, np.int64), np.empty(inside.shape, np.int64)
    squared_distances(inside, column, squared)
    # The edge lies half a pixel before the middle of the first pixel outside.
    return float(4 * (np.sqrt(squared[inside]) - 0.5).mean())


def _redrawn(crop: Darkness, change: float) -> Darkness:
    """Draw the digit with strokes that are wider by `change` on each side, or narrower."""
    radius = abs(change) * FINE
    if change > 0:
        drawn = _widened(_fine(crop, margin=math.ceil(radius)), radius)
    else:
        drawn = 1 - _widened(1 - _fine(crop), radius)  # less ink is more paper
    drawn = np.where(drawn > 0.25, drawn, np.float32(0))
    return _cropped(drawn) if drawn.any() else crop


def _widened(fine: Darkness, radius: float) -> Darkness:
    """Give each pixel the largest value within a radius: the ink of a pen that much wider."""
    reach = math.floor(radius)
    padded = np.pad(fine, reach, mode="edge")
    H, W = fine.shape
    wide = fine.copy()
    for dy in range(2 * reach + 1):
        for dx in range(2 * reach + 1):
            if (dy - reach) ** 2 + (dx - reach) ** 2 <= radius**2:
                np.maximum(wide, padded[dy : dy + H, dx : dx + W], out=wide)
    return wide


# ---------------------------------------------------------------- the field


def _boxed(crop: Darkness) -> Darkness:
    """Scale to a longer side of 20 pixels."""
    # Linear: a curve could swing below zero beside dark ink, and take away an edge.
    return _resized(crop, BOX / max(crop.shape), "BILINEAR")


def _placed(box: Darkness) -> NDArray[np.uint8]:
    """Stretch to 255, and put the center of mass at the middle of the field."""
    # An edge that is ink at all stays so: 1 of 255 at least. Else the longer side would be 19.
    levels = np.where(box > 0, np.maximum(np.rint(box * (255 / box.max())), 1), 0)
    field = np.zeros((FIELD, FIELD), np.uint8)
    place = []
    for axis, n in enumerate(levels.shape):
        mass = levels.sum(axis=1 - axis)
        center = float(np.arange(n) @ mass / mass.sum())
        start = min(max(round(CENTER - center), 0), FIELD - n)  # the whole digit stays inside
        place.append(slice(start, start + n))
    field[tuple(place)] = levels
    return field
