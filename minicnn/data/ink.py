"""Ink and paper: how dark each pixel is against the paper around it, and which ink hangs together.

Everything is measured against the paper, not against black and white: the paper is what lies along
the border, the ink is what differs from it. So black on white, white on black, pencil on grey and
a photo with a shadow across it all come out the same: 0 is paper, 1 is ink.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import join_runs

Grey = NDArray[np.uint8]
Darkness = NDArray[np.float32]
Mask = NDArray[np.bool_]

# The paper counts as evenly lit if so much of the border differs by no more than so many levels.
EVEN_SHARE, EVEN_LEVELS = 0.7, 12
SMALL = 128  # longer side of the picture on which uneven paper is studied
FAINTEST = 0.06  # ink that is less dark than this against the paper is no ink


class Ink(NamedTuple):
    """What was drawn.

    `darkness` (H, W) float32 is 0 for paper and 1 for the darkest ink; it is 0 outside `mask`
    (H, W) bool, which is where there is ink, soft edges included. `even` says that the paper was
    of one colour, as in a paint program: then nothing had to be guessed.
    """

    darkness: Darkness
    mask: Mask
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


def find_ink(grey: Grey) -> Ink:
    """Tell ink from paper.

    1. The paper's brightness: one number, or a smooth surface where the light is uneven.
    2. Whether ink is darker or brighter than paper.
    3. How dark each pixel is against its paper: ``1 - brightness / paper``.
    4. The threshold half way between the mean paper and the mean ink. Pixels above it are ink;
       fainter ones are if they hang together with such a pixel: soft edges and weak strokes do,
       grain of paper does not.

    Parameters
    ----------
    grey : ndarray of uint8 (H, W)

    Returns
    -------
    Ink
        Without a single pixel in its mask where the picture is blank.
    """
    paper = _paper_level(grey)
    even = _is_even(grey, paper)
    dark = _flat_darkness(grey, paper) if even else _uneven_darkness(grey)
    noise = 1.4826 * float(np.median(np.abs(dark))) if not even else _flat_noise(dark)
    count = max(4, max(grey.shape) // 8)
    peak = _nth_largest(dark, count)
    if peak < max(FAINTEST, 6 * noise):
        return Ink(np.zeros(grey.shape, np.float32), np.zeros(grey.shape, np.bool_), even)
    sure = _threshold(dark, peak)
    faint = max((0.15 if even else 0.5) * sure, 4 * noise)
    mask = _hanging_together(dark, min(faint, sure), sure)
    darkness = np.where(mask, np.clip(dark / peak, 0, 1), 0).astype(np.float32)
    return Ink(darkness, mask, even)


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
    boxes = np.empty((n, 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = max(mask.shape), 0
    np.minimum.at(boxes[:, 0], index, row)
    np.minimum.at(boxes[:, 1], index, start)
    np.maximum.at(boxes[:, 2], index, row + 1)
    np.maximum.at(boxes[:, 3], index, stop)
    areas = np.zeros(n, np.int64)
    np.add.at(areas, index, stop - start)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(index + 1, stop - start)  # both in reading order
    return Components(labels, boxes, areas)


def _runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return row, first column and column after the last of every run of True."""
    H, W = mask.shape
    framed = np.zeros((H, W + 1), np.int8)
    framed[:, :W] = mask
    steps = np.diff(framed.ravel(), prepend=np.int8(0))
    starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return starts // (W + 1), starts % (W + 1), stops % (W + 1)


# ---------------------------------------------------------------- paper


def _border(grey: Grey) -> Grey:
    """Return the pixels along the four edges."""
    k = max(1, min(grey.shape) // 32)
    inner = grey[k:-k]
    parts = (grey[:k], grey[-k:], inner[:, :k], inner[:, -k:])
    return np.concatenate([part.ravel() for part in parts])


def _paper_level(grey: Grey) -> float:
    return float(np.median(_border(grey)))


def _is_even(grey: Grey, paper: float) -> bool:
    difference = np.abs(_border(grey).astype(np.int16) - paper)
    return float(np.mean(difference <= EVEN_LEVELS)) >= EVEN_SHARE


def _flat_darkness(grey: Grey, paper: float) -> Darkness:
    """Darkness against paper of one brightness; ink is on the side with more contrast."""
    counts = np.bincount(grey.ravel(), minlength=256)
    contrast = np.arange(256) - paper
    ink_is_dark = (counts * np.minimum(contrast, 0) ** 2).sum() >= (
        counts * np.maximum(contrast, 0) ** 2
    ).sum()
    shades = -contrast / max(paper, 1) if ink_is_dark else contrast / max(255 - paper, 1)
    return np.asarray(shades, np.float32)[grey]


def _flat_noise(dark: Darkness) -> float:
    return 1.4826 * float(np.median(np.abs(_border_of(dark))))


def _border_of(dark: Darkness) -> Darkness:
    k = max(1, min(dark.shape) // 32)
    inner = dark[k:-k]
    return np.concatenate(
        [part.ravel() for part in (dark[:k], dark[-k:], inner[:, :k], inner[:, -k:])]
    )


def _uneven_darkness(grey: Grey) -> Darkness:
    """Darkness against paper whose brightness changes from place to place."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(grey)
    small = image.reduce(max(1, -(-max(grey.shape) // SMALL)))
    if not _ink_is_dark(np.asarray(small, np.float32)):
        image, small = (Image.fromarray(255 - np.asarray(each)) for each in (image, small))
    # The brightest pixel near by is paper wherever no stroke is as wide as the neighbourhood;
    # the darkest of these brings edges of shadows back to where they were.
    around = max(3, max(small.size) // 6 | 1)
    closed = small.filter(ImageFilter.MedianFilter(3))
    closed = closed.filter(ImageFilter.MaxFilter(around)).filter(ImageFilter.MinFilter(around))
    paper = closed.filter(ImageFilter.GaussianBlur(2)).resize(image.size, Image.Resampling.BICUBIC)
    level = np.maximum(np.asarray(paper, np.float32), 1)
    dark = 1 - np.asarray(image, np.float32) / level
    return np.asarray(dark, np.float32)


def _ink_is_dark(small: Darkness) -> bool:
    """Tell by the skewness of what differs from its wider surroundings: strokes are few."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(small)
    wide = np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(max(small.shape) / 8)))
    difference = small - wide
    difference -= np.median(difference)
    return bool((difference**3).sum() <= 0)


# ---------------------------------------------------------------- ink


def _nth_largest(dark: Darkness, n: int) -> float:
    flat = dark.ravel()
    n = min(n, flat.size)
    return float(np.partition(flat, -n)[-n])


def _threshold(dark: Darkness, peak: float) -> float:
    """Return the level half way between mean paper and mean ink (Ridler and Calvard, 1978).

    Started from half the darkest ink, so that however little ink there is, it is a class of its
    own; Otsu's threshold would then rather split the grain of the paper.
    """
    values = dark.ravel()
    level = peak / 2
    for _ in range(20):
        ink = values > level
        new = float(np.minimum(values[ink], peak).mean() + values[~ink].mean()) / 2
        if abs(new - level) < 1e-4:
            break
        level = new
    return level


def _hanging_together(dark: Darkness, faint: float, sure: float) -> Mask:
    """Return the pixels above `faint` whose component has a pixel above `sure`."""
    mask = dark > faint
    components = connected_components(mask)
    kept = np.zeros(len(components.areas) + 1, np.bool_)
    kept[components.labels[dark > sure]] = True
    return kept[components.labels]
