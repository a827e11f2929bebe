"""Lines of MNIST digits as on a form or a cheque, with what they say, to measure `detect_digits`
on.

Each line has four to eight digits. What changes from line to line: slant, size, the gaps between
digits, paper and light, dark ink on light paper or the reverse, JPEG or none. What changes from
digit to digit: size and height on the line, by some percent, and the gap.
"""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT = 20  # pixels, of an MNIST digit
INKED = 48  # gray levels: what is fainter does not count for a gap
MOST_OVERLAP = 0.25  # of the height: how far a digit may reach over the one before it

Gray = NDArray[np.uint8]


class Line(NamedTuple):
    """A picture, the digits written in it from left to right, and which images they are."""

    picture: Image.Image
    digits: list[int]
    chosen: NDArray[np.int64]


def make_line(
    images: Gray,
    labels: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    gaps: tuple[float, float] = (0.1, 0.6),
) -> Line:
    """Write a line of four to eight images drawn at random.

    Parameters
    ----------
    images : ndarray of uint8 (N, 28, 28)
        Bright ink on 0.
    labels : ndarray of uint8 (N,)
    rng : Generator
        Decides all that is random.
    gaps : tuple of float
        Least and largest mean gap of a line, in heights of a digit. A gap is the least distance
        between two digits' ink on any row, and differs from the line's mean by up to 40 %.

    Returns
    -------
    Line
    """
    chosen = rng.integers(len(images), size=rng.integers(4, 9))
    scale = rng.uniform(1.0, 4.0)
    slant = rng.uniform(-0.15, 0.35)
    mean_gap = rng.uniform(*gaps)
    ink = _set_out([_slanted(images[i], scale * rng.uniform(0.9, 1.1), slant) for i in chosen],
                   HEIGHT * scale, mean_gap, rng)  # fmt: skip
    return Line(_on_paper(ink, rng), [int(labels[i]) for i in chosen], chosen)


def _slanted(image: Gray, scale: float, slant: float) -> Gray:
    """Enlarge a digit and lean it to the right (`slant` is the shift over one height)."""
    size = round(28 * scale)
    margin = size // 2
    back = (1 / scale, slant / scale, -(margin + slant * size / 2) / scale, 0, 1 / scale, 0)
    leaning = Image.fromarray(image).transform(
        (size + 2 * margin, size), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC
    )
    gray = np.asarray(leaning, dtype=np.uint8)
    columns = np.flatnonzero((gray > INKED).any(axis=0))
    return gray[:, columns[0] : columns[-1] + 1]


def _set_out(digits: list[Gray], height: float, mean_gap: float, rng: np.random.Generator) -> Gray:
    """Put digits in a row, each as near to those before it as the gap allows."""
    margin = round(height * rng.uniform(0.3, 1.0))
    most = max(len(digit) for digit in digits) + round(0.2 * height)
    canvas = np.zeros((most + 2 * margin, sum(digit.shape[1] + 2 * margin for digit in digits)),
                      np.uint8)  # fmt: skip
    reach = np.full(len(canvas), -(10**6))  # the column after the last ink, in each row
    end = margin
    for digit in digits:
        gap = height * mean_gap * rng.uniform(0.6, 1.4)
        top = margin + round((most - len(digit)) / 2 + height * rng.uniform(-0.08, 0.08))
        rows = np.flatnonzero((digit > INKED).any(axis=1))
        first = (digit[rows] > INKED).argmax(axis=1)
        last = digit.shape[1] - (digit[rows] > INKED)[:, ::-1].argmax(axis=1)
        near = int((reach[rows + top] - first).max() + gap) if reach.max() > 0 else margin
        left = max(near, end - round(MOST_OVERLAP * height))
        place = canvas[top : top + len(digit), left : left + digit.shape[1]]
        np.maximum(place, digit, out=place)
        reach[rows + top] = np.maximum(reach[rows + top], left + last)
        end = left + digit.shape[1]
    return canvas[:, : end + margin]


def _on_paper(ink: Gray, rng: np.random.Generator) -> Image.Image:
    """Return the ink on paper under uneven light, or bright ink on a dark ground."""
    cover = ink / 255.0
    ground, color = rng.uniform(200, 250), rng.uniform(0, 90)
    if rng.random() < 0.25:
        ground, color = rng.uniform(0, 40), rng.uniform(190, 255)
    x, y = np.linspace(0, 1, ink.shape[1]), np.linspace(0, 1, len(ink))[:, None]
    light = 1 - rng.uniform(0, 0.3) * (rng.uniform(0, 1) * x + rng.uniform(0, 1) * y)
    picture = (ground * (1 - cover) + color * cover) * light
    picture += rng.normal(0, rng.uniform(0, 4), ink.shape)
    image = Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        return image
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(70, 96)))
    return Image.open(file)
