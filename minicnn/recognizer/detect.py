"""A line or a page of several digits, cut into single ones in reading order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.recognizer.grouping import Writing, join_pieces, relabeled
from minicnn.recognizer.load_image import BlankImageError, ImageError, ImageSource, read_gray
from minicnn.recognizer.mnist_format import fit_to_mnist_field
from minicnn.recognizer.segmentation import Components, Gray, Mask, connected_components, find_ink
from minicnn.recognizer.splitting import cut_touching

LONGEST = 2400  # pixels; larger pictures are reduced
# Ink that is fainter, in relation to the darkest, does not hold two pieces together: between two
# strokes that nearly touch, soft edges overlap.
CORE = 0.4
EDGE = 0.15  # soft edges are not wider, in heights of the writing
SAME_LINE = 0.4  # of the lower one's height, that two neighbors on a line share

Box = tuple[int, int, int, int]


class DigitBox(NamedTuple):
    """One digit of a line or page.

    `box` is ``(left, top, right, bottom)`` in pixels of the picture, the last two exclusive, as in
    Pillow; `image` (28, 28) uint8 is what `to_mnist_format` makes of it; `line` counts the lines of
    writing from 0.
    """

    box: Box
    image: NDArray[np.uint8]
    line: int


def detect_digits(image: ImageSource) -> list[DigitBox]:
    """Cut a picture of several digits into single ones, as `to_mnist_format` makes them.

    Pieces of ink that make one digit are joined: the loose bar of a 5, a 4 of two strokes. Digits
    that touch are cut apart, where they are wide enough together to be told from one digit. What
    is too small for a digit is left out: points, commas, dashes, dirt.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image or ndarray
        As in `to_mnist_format`. One digit is found as well as many.

    Returns
    -------
    list of FoundDigit
        Line by line from top to bottom, each from left to right; at least one.

    Raises
    ------
    FileNotFoundError, ImageError
        As in `to_mnist_format`; or if there are more than 1000 pieces of ink on it.
    BlankImageError
        If nothing is drawn on it.
    """
    name, gray = read_gray(image)
    reduced, scale = _reduced(gray)
    ink = find_ink(reduced)
    if not ink.mask.any():
        raise BlankImageError(f"{name}: nothing is drawn on this picture; draw digits, darker")
    try:
        joined, writing = join_pieces(connected_components(ink.darkness >= CORE))
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error
    digits = _with_soft_edges(cut_touching(joined, ink.darkness, writing), ink.mask, writing)
    found = []
    for line, members in enumerate(_lines(digits.boxes, writing)):
        for member in members:
            top, left, bottom, right = digits.boxes[member].tolist()
            own = digits.labels[top:bottom, left:right] == member + 1
            darkness = np.where(own, ink.darkness[top:bottom, left:right], np.float32(0))
            left, top, right, bottom = (
                scale * ink.scale * side for side in (left, top, right, bottom)
            )
            box = left, top, min(right, gray.shape[1]), min(bottom, gray.shape[0])
            found.append(DigitBox(box, fit_to_mnist_field(darkness), line))
    return found


def _reduced(gray: Gray) -> tuple[Gray, int]:
    """Return a picture of bearable size, and how many pixels of the given one are one of it."""
    from PIL import Image

    scale = -(-max(gray.shape) // LONGEST)
    return np.asarray(Image.fromarray(gray).reduce(scale)), scale


def _with_soft_edges(digits: Components, mask: Mask, writing: Writing) -> Components:
    """Give the fainter ink to the digit that it lies next to, from the core outwards."""
    labels = digits.labels
    for _ in range(1 + round(EDGE * writing.height)):
        p = np.pad(labels, 1)
        p = np.maximum(np.maximum(p[:-2], p[1:-1]), p[2:])
        p = np.maximum(np.maximum(p[:, :-2], p[:, 1:-1]), p[:, 2:])
        spread = np.where(mask & (labels == 0), p, labels)
        if np.array_equal(spread, labels):
            break
        labels = spread
    return relabeled(labels, len(digits.areas))


def _lines(boxes: NDArray[np.int64], writing: Writing) -> list[list[int]]:
    """Sort boxes into lines, top to bottom, and each line from left to right.

    A box belongs to the line whose last box so far shares the most of its height: so a line may
    climb or fall.
    """
    top, left, bottom, right = boxes.T
    middle = (left + right) / 2 + writing.slant * (top + bottom) / 2
    lines: list[list[int]] = []
    for box in np.argsort(middle, kind="stable").tolist():
        last = [line[-1] for line in lines]
        shared = np.minimum(bottom[box], bottom[last]) - np.maximum(top[box], top[last])
        lower = np.minimum(bottom[box] - top[box], bottom[last] - top[last])
        share = shared / lower
        if share.max(initial=0) >= SAME_LINE:
            lines[int(share.argmax())].append(box)
        else:
            lines.append([box])
    return sorted(lines, key=lambda line: float(np.mean(top[line] + bottom[line])))
