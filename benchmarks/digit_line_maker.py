"""Make labeled lines of MNIST digits, to test `detect_digits`.

Each line has four to eight digits. Slant, size, mean gap, paper, light, colors and JPEG compression
vary from line to line. Size, height on the line and gap vary from digit to digit.
"""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT = 20  # pixels, of an MNIST digit
MIN_INK = 48  # gray levels; fainter pixels do not count for a gap
MAX_OVERLAP = 0.25  # of a digit's box with the one before, in heights

Gray = NDArray[np.uint8]


class Line(NamedTuple):
    """An image, its digits, and the indices of their MNIST images."""

    image: Image.Image
    digits: list[int]
    chosen: NDArray[np.int64]


def make_line(
    images: Gray,  # (N, 28, 28), ink is bright
    labels: NDArray[np.uint8],  # (N,)
    rng: np.random.Generator,
    *,
    gaps: tuple[float, float] = (0.1, 0.6),  # range of the mean gap, in heights of a digit
) -> Line:
    """Make a line of four to eight random images.

    A gap is the least distance between the ink of two digits on any row. It differs from the mean
    gap of the line by up to 40 %.
    """
    chosen = rng.integers(len(images), size=rng.integers(4, 9))
    scale = rng.uniform(1.0, 4.0)
    slant = rng.uniform(-0.15, 0.35)
    mean_gap = rng.uniform(*gaps)
    digits = [_slant(images[i], scale * rng.uniform(0.9, 1.1), slant) for i in chosen]
    ink = _set_line(digits, HEIGHT * scale, mean_gap, rng)
    return Line(_on_paper(ink, rng), [int(labels[i]) for i in chosen], chosen)


def _slant(image: Gray, scale: float, slant: float) -> Gray:
    """Enlarge a digit and shear it right by `slant` times its height."""
    size = round(28 * scale)
    margin = size // 2
    inverse = (1 / scale, slant / scale, -(margin + slant * size / 2) / scale, 0, 1 / scale, 0)
    sheared = Image.fromarray(image).transform(
        (size + 2 * margin, size), Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC
    )
    gray = np.asarray(sheared, dtype=np.uint8)
    columns = np.flatnonzero((gray > MIN_INK).any(axis=0))
    return gray[:, columns[0] : columns[-1] + 1]


def _set_line(digits: list[Gray], height: float, mean_gap: float, rng: np.random.Generator) -> Gray:
    """Set digits in a row, each as close to those before it as the gap allows."""
    margin = round(height * rng.uniform(0.3, 1.0))
    line_height = max(len(digit) for digit in digits) + round(0.2 * height)
    width = sum(digit.shape[1] + 2 * margin for digit in digits)
    canvas = np.zeros((line_height + 2 * margin, width), np.uint8)
    reach = np.full(len(canvas), -(10**6))  # the column after the last ink of each row
    end = margin
    for digit in digits:
        gap = height * mean_gap * rng.uniform(0.6, 1.4)
        top = margin + round((line_height - len(digit)) / 2 + height * rng.uniform(-0.08, 0.08))
        rows = np.flatnonzero((digit > MIN_INK).any(axis=1))
        first = (digit[rows] > MIN_INK).argmax(axis=1)
        last = digit.shape[1] - (digit[rows] > MIN_INK)[:, ::-1].argmax(axis=1)
        closest = int((reach[rows + top] - first).max() + gap) if reach.max() > 0 else margin
        left = max(closest, end - round(MAX_OVERLAP * height))
        part = canvas[top : top + len(digit), left : left + digit.shape[1]]
        np.maximum(part, digit, out=part)
        reach[rows + top] = np.maximum(reach[rows + top], left + last)
        end = left + digit.shape[1]
    return canvas[:, : end + margin]


def _on_paper(ink: Gray, rng: np.random.Generator) -> Image.Image:
    """Return the ink on paper under uneven light, or on a dark board."""
    cover = ink / 255.0
    paper, color = rng.uniform(200, 250), rng.uniform(0, 90)
    if rng.random() < 0.25:
        paper, color = rng.uniform(0, 40), rng.uniform(190, 255)
    x, y = np.linspace(0, 1, ink.shape[1]), np.linspace(0, 1, len(ink))[:, None]
    light = 1 - rng.uniform(0, 0.3) * (rng.uniform(0, 1) * x + rng.uniform(0, 1) * y)
    levels = (paper * (1 - cover) + color * cover) * light
    levels += rng.normal(0, rng.uniform(0, 4), ink.shape)
    image = Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        return image
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(70, 96)))
    return Image.open(file)
