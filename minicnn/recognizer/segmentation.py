"""Ink and paper: how dark each pixel is against the paper around it, and which ink hangs together.

Everything is measured against the paper, not against black and white: the paper is what lies along
the border, the ink is what differs from it. So black on white, white on black, pencil on gray and
a photo with a shadow across it all come out the same: 0 is paper, 1 is ink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.components import join_runs
from minicnn.shapes import IntArray

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Gray = NDArray[np.uint8]
Darkness = NDArray[np.float32]  # 0 is paper, 1 the darkest ink
Shades = NDArray[np.uint8]  # the same before it is stretched: 255 is black on white
Mask = NDArray[np.bool_]
Value = TypeVar("Value", np.uint8, np.bool_)

EVEN_SHARE = 0.4  # of the border has one brightness, where the paper has one color
NOISE = 12  # levels of brightness by which a small JPEG may differ from what was drawn
LARGE = 800  # longer side to which photos are reduced: averaging takes their noise away
SMALL = 128  # longer side of the copy on which uneven paper is studied
MOST = 0.6  # no drawing covers more of its paper than this
CLEAR = 1.3  # ink on a photo is so many times as dark as what the paper shows by itself
FAINTEST = 16  # shades; what differs less from the paper is no ink


class Ink(NamedTuple):
    """What was drawn.

    `darkness` (H, W) float32 is 0 for paper and 1 for the darkest ink; it is 0 outside `mask`
    (H, W) bool, which is where there is ink, soft edges included. `scale` pixels of the picture in
    each direction are one of these. `even` says that the paper was of one color.
    """

    darkness: Darkness
    mask: Mask
    scale: int
    even: bool


class Components(NamedTuple):
    """The connected pieces of a mask, in reading order of their first pixels.

    `labels` (H, W) int32 is 0 where there is no ink, else 1 + the index of the piece; `boxes`
    (n, 4) int64 holds ``top, left, bottom, right`` of each (the last two exclusive), `areas`
    (n,) int64 its number of pixels.
    """

    labels: NDArray[np.int32]
    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]


def find_ink(gray: Gray) -> Ink:
    """Tell ink from paper.

    1. The paper's brightness: one number, or a smooth surface where the light is uneven.
    2. Whether ink is darker or brighter than paper.
    3. How dark each pixel is against its paper: ``1 - brightness / paper``.
    4. The threshold half way between the mean paper and the mean ink; or between ink and the
       darkest that is found along opposite edges, where printed lines and grain are seen.
    5. Pixels above it are ink. Fainter ones are if they hang together with such a pixel: soft edges
       and weak strokes do, grain of paper does not.
    6. If most of the picture is "ink" now, it is rather the paper, and what lies around it a frame:
       then all of this is done again inside the frame.

    Parameters
    ----------
    gray : ndarray of uint8 (H, W)

    Returns
    -------
    Ink
        Without a single pixel in its mask where the picture is blank.
    """
    even = _is_even(gray)
    scale = 1 if even else max(1, -(-max(gray.shape) // LARGE))
    shades = _even_shades(gray) if even else _uneven_shades(_smooth(gray, scale))
    shades = shades - np.minimum(shades, np.uint8(np.median(_border(shades))))
    peak = _nth_largest(shades, max(4, max(shades.shape) // 8))
    printed = _printed(shades)
    if peak < FAINTEST or (not even and peak < CLEAR * printed):
        nothing = np.zeros(shades.shape, np.bool_)
        return Ink(nothing.astype(np.float32), nothing, scale, even)
    sure = _threshold(shades, peak)
    if printed < 0.7 * peak:  # else the digit itself reaches the border
        sure = max(sure, (printed + peak) / 2)
    faint = min(max(0.15 * sure, 1.1 * printed), sure)
    mask = _hanging_together(shades, faint, sure)
    if even and mask.mean() > MOST and not _border(mask).any():
        return _inside_frame(gray, mask)
    levels = np.minimum(np.arange(256, dtype=np.float32) / np.float32(peak), np.float32(1))
    return Ink(np.where(mask, levels[shades], np.float32(0)), mask, scale, even)


def _inside_frame(gray: Gray, paper: Mask) -> Ink:
    """Find the ink on a sheet that lies in a frame."""
    rows, columns = (np.flatnonzero(paper.any(axis=axis)) for axis in (1, 0))
    sheet = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    found = find_ink(gray[sheet])
    darkness, mask = np.zeros(gray.shape, np.float32), np.zeros(gray.shape, np.bool_)
    darkness[sheet], mask[sheet] = found.darkness, found.mask
    return found._replace(darkness=darkness, mask=mask)


def connected_components(mask: Mask) -> Components:
    """Find the pieces of a mask that hang together, by sides or corners.

    Parameters
    ----------
    mask : ndarray of bool (H, W)

    Returns
    -------
    Components
    """
    row, start, stop = _runs(mask)
    parent = np.empty(len(row), np.int64)
    join_runs(row, start, stop, parent)
    firsts, index = np.unique(parent, return_inverse=True)
    n = len(firsts)
    areas = np.zeros(n, np.int64)
    np.add.at(areas, index, stop - start)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(index + 1, stop - start)  # both in reading order
    return Components(labels, boxes_around(index, n, row, start, stop), areas)


def boxes_around(
    index: IntArray, count: int, row: IntArray, start: IntArray, stop: IntArray
) -> NDArray[np.int64]:
    """Return the box around each piece of ink, from runs of pixels in a row.

    Parameters
    ----------
    index : ndarray of int (runs,)
        Of the piece that a run belongs to, 0 to ``count - 1``.
    count : int
        Of the pieces, each with a run at least.
    row, start, stop : ndarray of int (runs,)
        Where a run lies: its row, first column and the column after its last.

    Returns
    -------
    ndarray of int64 (count, 4)
        As in `Components`.
    """
    boxes = np.empty((count, 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, 0
    np.minimum.at(boxes[:, 0], index, row)
    np.minimum.at(boxes[:, 1], index, start)
    np.maximum.at(boxes[:, 2], index, row + 1)
    np.maximum.at(boxes[:, 3], index, stop)
    return boxes


def _runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return row, first column and column after the last of every run of True."""
    H, W = mask.shape
    framed = np.zeros((H, W + 1), np.int8)
    framed[:, :W] = mask
    steps = np.diff(framed.ravel(), prepend=np.int8(0))
    starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return starts // (W + 1), starts % (W + 1), stops % (W + 1)


# ---------------------------------------------------------------- paper


def _border(picture: NDArray[Value]) -> NDArray[Value]:
    """Return the pixels along the four edges."""
    k = max(1, min(picture.shape) // 32)
    inner = picture[k:-k]
    parts = (picture[:k], picture[-k:], inner[:, :k], inner[:, -k:])
    return np.concatenate([part.ravel() for part in parts])


def _is_even(gray: Gray) -> bool:
    """Tell a drawing, whose paper is of one color, from a photo, whose paper has grain and shade.

    On small pictures a little of it is noise: no photo of a digit is that small.
    """
    border = _border(gray)
    difference = np.abs(border - np.median(border))
    level = 0 if max(gray.shape) > SMALL else NOISE
    return float(np.mean(difference <= level)) >= EVEN_SHARE


def _smooth(gray: Gray, scale: int) -> Gray:
    """Take away noise: make a large picture smaller, and blur a little."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(gray).reduce(scale)
    blurred: Gray = np.asarray(
        image.filter(ImageFilter.GaussianBlur(min(1.0, max(image.size) / 400)))
    )
    return blurred


def _even_shades(gray: Gray) -> Shades:
    """Measure against paper of one brightness; ink is on the side with more contrast."""
    paper = float(np.median(_border(gray)))
    contrast = np.arange(256) - paper
    weight = np.bincount(gray.ravel(), minlength=256) * contrast**2
    if weight[contrast < 0].sum() >= weight[contrast > 0].sum():
        share = -contrast / max(paper, 1)
    else:
        share = contrast / max(255 - paper, 1)
    shades: Shades = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return shades[gray]


def _uneven_shades(gray: Gray) -> Shades:
    """Measure against paper whose brightness changes from place to place."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(gray)
    small = image.reduce(max(1, -(-max(image.size) // SMALL)))
    if not _ink_is_dark(small):
        image, small = (Image.fromarray(255 - np.asarray(each)) for each in (image, small))
    # The brightest pixel near by is paper wherever no stroke is as wide as the neighborhood;
    # the darkest of these brings edges of shadows back to where they were.
    around = max(3, max(small.size) // 6 | 1)
    closed = small.filter(ImageFilter.MedianFilter(3))
    closed = closed.filter(ImageFilter.MaxFilter(around)).filter(ImageFilter.MinFilter(around))
    paper = closed.filter(ImageFilter.GaussianBlur(2)).resize(image.size, Image.Resampling.BICUBIC)
    share = 1 - np.asarray(image, np.float32) / np.maximum(np.asarray(paper, np.float32), 1)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def _ink_is_dark(small: PillowImage) -> bool:
    """Tell by the skewness of what differs from its wider surroundings: strokes are few."""
    from PIL import ImageFilter

    wide = small.filter(ImageFilter.GaussianBlur(max(small.size) / 8))
    difference = np.asarray(small, np.float32) - np.asarray(wide, np.float32)
    difference -= np.median(difference)
    return bool((difference**3).sum() <= 0)


# ---------------------------------------------------------------- ink


def _nth_largest(shades: Shades, n: int) -> float:
    from_the_top = np.bincount(shades.ravel(), minlength=256)[::-1].cumsum()
    return float(255 - np.searchsorted(from_the_top, min(n, shades.size)))


def _printed(shades: Shades) -> float:
    """Return how dark the paper gets: lines run from edge to edge, and grain is everywhere.

    A digit that reaches one edge, or the table beyond it, is not seen at the edge opposite.
    """
    k = max(1, min(shades.shape) // 32)
    h, w = (n // 8 for n in shades.shape)  # a strip of table on the left is seen in two corners
    across, down = shades[h : len(shades) - h], shades[:, w : shades.shape[1] - w]
    edges = (across[:, :k], across[:, -k:]), (down[:k], down[-k:])
    n = max(1, k * max(shades.shape) // 500)
    return max(min(_nth_largest(edge, n) for edge in pair) for pair in edges)


def _threshold(shades: Shades, peak: float) -> float:
    """Return the shade half way between mean paper and mean ink (Ridler and Calvard, 1978).

    Started from half the darkest ink, so that however little ink there is, it is a class of its
    own; Otsu's threshold would then rather split the grain of the paper.
    """
    counts = np.bincount(shades.ravel(), minlength=256)
    values = np.minimum(np.arange(256), peak)
    level = peak / 2
    for _ in range(10):  # it settles within a few rounds
        sides = values > level, values <= level
        level = sum(counts[side] @ values[side] / max(1, counts[side].sum()) for side in sides) / 2
    return float(level)


def _hanging_together(shades: Shades, faint: float, sure: float) -> Mask:
    """Return the pixels above `faint` whose component has a pixel above `sure`."""
    mask = shades > faint
    components = connected_components(mask)
    kept = np.zeros(len(components.areas) + 1, np.bool_)
    kept[components.labels[shades > sure]] = True
    return kept[components.labels]
