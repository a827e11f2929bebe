"""Detect the digits of a line or a page, in reading order."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.recognizer.grouping import Handwriting, group_components, split_touching
from minicnn.recognizer.load_image import BlankImageError, ImageError, ImageSource, read_picture
from minicnn.recognizer.mnist_format import normalize_digit
from minicnn.recognizer.segmentation import (
    Mask,
    Regions,
    label_regions,
    measure_regions,
    segment_foreground,
)

# Density that connects two components. Between two strokes that nearly touch, soft edges overlap.
CORE_DENSITY = 0.4
EDGE_WIDTH = 0.15  # width of soft edges, in heights of the handwriting
MIN_OVERLAP = 0.4  # common part of the heights of two neighbors on a line


class DigitBox(NamedTuple):
    """One digit of a line or a page.

    `box` is ``(left, top, right, bottom)`` in pixels of the image, the last two exclusive, as in
    Pillow. `image` (28, 28) uint8 is the digit in the format of `to_mnist_format`. `line` counts
    the lines of text from 0.
    """

    box: tuple[int, int, int, int]
    image: NDArray[np.uint8]
    line: int


def detect_digits(image: ImageSource) -> list[DigitBox]:
    """Detect all digits of an image and convert each to MNIST's format.

    Components that form one digit are grouped: the loose bar of a 5, a 4 of two strokes. Touching
    digits are split if they are too wide for one digit. Components that are too small for a digit
    are dropped: points, commas, dashes, dirt.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image or ndarray
        As in `to_mnist_format`, with one digit or more.

    Returns
    -------
    list of DigitBox
        At least one; lines from top to bottom, each from left to right.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ImageError
        As in `to_mnist_format`, or if the image has more than 600 components or digits, or
        strokes that overlap or touch more than digits on a page do.
    BlankImageError
        If the image has no ink, or none as high as a digit.
    """
    name, _, gray, scale, (W, H) = read_picture(image)
    foreground = segment_foreground(gray)
    density = foreground.density
    if not foreground.mask.any():
        raise BlankImageError(f"{name}: the image is blank; draw digits with more contrast")
    try:
        grouped, handwriting = group_components(label_regions(density >= CORE_DENSITY))
        cores = split_touching(grouped, density, handwriting)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error
    if not len(cores.areas):
        raise BlankImageError(f"{name}: no stroke is high enough for a digit; crop to the digits")
    digits = grow_into_soft_edges(cores, foreground.mask, handwriting)
    scale *= foreground.scale
    detected = []
    for line, members in enumerate(text_lines(digits.boxes, handwriting)):
        for member in members:
            top, left, bottom, right = digits.boxes[member].tolist()
            own = digits.labels[top:bottom, left:right] == member + 1
            ink = np.where(own, density[top:bottom, left:right], np.float32(0))
            box = scale * left, scale * top, min(scale * right, W), min(scale * bottom, H)
            detected.append(DigitBox(box, normalize_digit(ink), line))
    return detected


def grow_into_soft_edges(digits: Regions, mask: Mask, handwriting: Handwriting) -> Regions:
    """Assign fainter ink to the adjacent digit, from its core outward."""
    labels = np.pad(digits.labels, 1)
    free = np.pad(mask, 1) & (labels == 0)
    front = np.flatnonzero(labels)  # only pixels next to the last ones can be reached
    row = labels.shape[1]
    around = [dy * row + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    for _ in range(1 + round(EDGE_WIDTH * handwriting.height)):
        reached = []
        for step in around:
            source = front[free.flat[front + step]]
            np.maximum.at(labels.reshape(-1), source + step, labels.flat[source])
            reached.append(source + step)
        front = np.unique(np.concatenate(reached))
        free.flat[front] = False
    return measure_regions(labels[1:-1, 1:-1])


def text_lines(boxes: NDArray[np.int64], handwriting: Handwriting) -> list[list[int]]:
    """Sort boxes into lines from top to bottom, each line from left to right.

    A box joins the line whose last box overlaps it most in height, so a line may climb or fall.
    """
    top, left, bottom, right = boxes.T
    x = (left + right) / 2 + handwriting.slant * (top + bottom) / 2
    lines: list[list[int]] = []
    for box in np.argsort(x, kind="stable").tolist():
        last = [line[-1] for line in lines]
        common = np.minimum(bottom[box], bottom[last]) - np.maximum(top[box], top[last])
        overlap = common / np.minimum(bottom[box] - top[box], bottom[last] - top[last])
        if overlap.max(initial=0) >= MIN_OVERLAP:
            lines[int(overlap.argmax())].append(box)
        else:
            lines.append([box])
    return sorted(lines, key=lambda line: float(np.mean(top[line] + bottom[line])))
