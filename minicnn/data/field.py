"""From a digit's ink to MNIST's field: strokes as wide as there, 20×20 box, centre of mass.

MNIST's digits were black-and-white pictures whose longer side was scaled to 20 pixels, with grey
edges from averaging; they were then placed by their centre of mass in a field of 28×28. The pens
were much alike. So a line drawn in a paint program with a hard pen of one pixel, or a felt pen as
wide as the digit's holes, differs from all that a network has learned from in one way more than
place and size: the width of its strokes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import squared_distances

Darkness = NDArray[np.float32]

BOX = 20  # longer side of a digit
FIELD = 28  # side of the whole
FINE = 8  # pixels of the working picture to one of the field, in each direction
CENTRE = 14  # index of the pixel at which the centre of mass of every MNIST digit lies

# Stroke widths, in pixels of the field, that are left as they are; others are brought there.
THINNEST, WIDEST = 2.2, 4.0


def fit_to_field(darkness: Darkness) -> NDArray[np.uint8]:
    """Bring one digit into MNIST's form.

    Parameters
    ----------
    darkness : ndarray of float32 (H, W)
        0 for paper, 1 for the darkest ink; with ink somewhere.

    Returns
    -------
    ndarray of uint8 (28, 28)
        255 is ink. The longer side of the ink is 20 pixels, its centre of mass within half a
        pixel of index 14 in both directions, its darkest pixel 255.
    """
    crop = _crop_to_ink(darkness)
    grow = _missing_width(crop)
    if grow:
        crop = _redraw(crop, grow)
    return _place(_reduce_to_box(crop))


def _crop_to_ink(darkness: Darkness) -> Darkness:
    """Cut away the empty rows and columns around the ink."""
    rows, columns = (np.flatnonzero(darkness.any(axis=axis)) for axis in (1, 0))
    return darkness[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _enlarge(crop: Darkness, side: int, margin: int = 0) -> Darkness:
    from PIL import Image

    scale = side / max(crop.shape)
    edge = 2 + math.ceil(margin / scale)
    padded = np.pad(crop, edge)
    H, W = (max(1, round(n * scale)) for n in padded.shape)
    fine = Image.fromarray(padded).resize((W, H), Image.Resampling.BICUBIC)
    out = np.clip(np.asarray(fine, np.float32), 0, None)
    top = out[out > 0.5 * out.max()]
    stretched: Darkness = np.clip(out / np.quantile(top, 0.5), 0, 1).astype(np.float32)
    return stretched


def _stroke_width(fine: Darkness) -> float:
    """Return the mean width of the strokes, in pixels.

    In a stroke of width w distances to the edge run evenly from 0 to w/2, so their mean is w/4.
    """
    inside = fine > 0.5
    column, d2 = np.empty(inside.shape, np.int64), np.empty(inside.shape, np.int64)
    squared_distances(inside, column, d2)
    return float(4 * (np.sqrt(d2[inside]) - 0.5).mean())


def _missing_width(crop: Darkness) -> float:
    width = _stroke_width(_enlarge(crop, BOX * FINE)) / FINE
    target = min(max(width, THINNEST), WIDEST)
    return BOX / 2 * (target - width) / (BOX - target)


def _redraw(crop: Darkness, grow: float) -> Darkness:
    radius = abs(grow) * FINE
    fine = _enlarge(crop, BOX * FINE, margin=math.ceil(radius) + 1 if grow > 0 else 0)
    fine = _dilate(fine, radius) if grow > 0 else 1 - _dilate(1 - fine, radius)
    fine = np.where(fine > 0.02, fine, 0)
    return _crop_to_ink(fine) if fine.any() else crop


def _dilate(fine: Darkness, radius: float) -> Darkness:
    reach = math.floor(radius)
    out = fine.copy()
    H, W = fine.shape
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if 0 < dx * dx + dy * dy <= radius * radius:
                a = out[max(0, dy) : H + min(0, dy), max(0, dx) : W + min(0, dx)]
                b = fine[max(0, -dy) : H + min(0, -dy), max(0, -dx) : W + min(0, -dx)]
                np.maximum(a, b, out=a)
    return out


def _reduce_to_box(crop: Darkness) -> Darkness:
    from PIL import Image

    scale = BOX / max(crop.shape)
    H, W = (max(1, round(n * scale)) for n in crop.shape)
    box: Darkness = np.asarray(
        Image.fromarray(crop).resize(
            (W, H), Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
        ),
        np.float32,
    )
    return box


def _place(box: Darkness) -> NDArray[np.uint8]:
    """Put the digit where its centre of mass is the middle, and its darkest pixel 255."""
    levels = np.round(np.clip(box, 0, None) * (255 / box.max()))
    field = np.zeros((FIELD, FIELD), np.uint8)
    starts = []
    for axis, n in enumerate(levels.shape):
        mass = levels.sum(axis=1 - axis)
        centre = float((np.arange(n) * mass).sum() / mass.sum())
        starts.append(min(max(round(CENTRE - centre), 0), FIELD - n))
    field[starts[0] : starts[0] + levels.shape[0], starts[1] : starts[1] + levels.shape[1]] = levels
    return field
