"""Draw synthetic digits, for training and for example scans.

A stroke is a line through points. The glyph (open or closed 4, crossed 7, 1 with a flag), slant,
proportions and wobble are random; `render_strokes` adds the pen.

    rng = np.random.default_rng(0)
    ink = render_strokes(digit_strokes(5, rng), (64, 64), height=44, pen=5)  # (64, 64), 255 = ink

MNIST's American writers hardly ever write a 1 with a flag or a 0 with a slash. A network that
learns from MNIST alone reads a 1 with a flag as 7. One synthetic digit for every 25 of MNIST
corrects this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.random import generator
from minicnn.recognizer.glyphs import GLYPHS, GlyphStroke
from minicnn.recognizer.mnist_format import IMAGE_SIZE, SUPERSAMPLING, normalize_digit

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Pen

Stroke = NDArray[np.float64]  # (points, 2): x to the right, y down

SPLINE_STEPS = 12  # points of a curve between two points of a glyph
ANTIALIASING = 4  # subpixels in each direction
HEIGHT = 12 * SUPERSAMPLING  # of a rendered digit, in pixels
PEN_WIDTHS = (0.05, 0.2)  # range, in heights of the digit


class HandStyle(NamedTuple):
    """Style of one writer.

    `slant` is the shift to the right over the height, `width` a factor, `turn` an angle in radians
    (positive is clockwise), `wobble` the standard deviation of each point, in heights of the digit.
    """

    slant: float = 0.0
    width: float = 1.0
    turn: float = 0.0
    wobble: float = 0.0


def random_hand(rng: np.random.Generator) -> HandStyle:
    """Draw the style of a random writer."""
    return HandStyle(
        slant=float(np.clip(rng.normal(0.12, 0.13), -0.15, 0.45)),
        width=float(rng.uniform(0.75, 1.25)),
        turn=float(rng.normal(0, 0.05)),
        wobble=float(rng.uniform(0.005, 0.025)),
    )


def synthetic_digits(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw random digits 0, 1, ..., 9, 0, 1, ... in MNIST's format.

    Parameters
    ----------
    count : int
        0 or more.
    seed : int
        The same seed draws the same digits; a larger `count` appends to them.

    Returns
    -------
    images : ndarray of uint8 (count, 28, 28)
        In the format of `minicnn.to_mnist_format`.
    labels : ndarray of uint8 (count,)

    Raises
    ------
    ValueError
        If `count` is below 0.
    """
    if count < 0:
        raise ValueError(f"synthetic_digits: count must be 0 or more, not {count}")
    images = np.empty((count, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for index, label in enumerate(labels):
        images[index] = _random_digit(int(label), generator(seed, "synthetic digits", index=index))
    return images, labels


def _random_digit(digit: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one digit in MNIST's format, with a random glyph, hand and pen."""
    strokes = digit_strokes(digit, rng)
    pen = HEIGHT * rng.uniform(*PEN_WIDTHS)
    width = HEIGHT * max(float(stroke[:, 0].max()) for stroke in strokes)
    margin = 2 * pen
    ink = render_strokes(
        strokes,
        (round(width + margin), round(HEIGHT + margin)),
        height=HEIGHT,
        pen=pen,
        antialias=False,  # the reduction to 28×28 pixels smooths the edges
        pressure=rng.uniform(0, 0.2),
    )
    return normalize_digit(np.asarray(ink / 255, np.float32))


# ---------------------------------------------------------------- strokes


def digit_strokes(
    digit: int,
    rng: np.random.Generator,
    *,
    glyph: str | None = None,  # a name in GLYPHS[digit]; a random one if None
    hand: HandStyle | None = None,  # a random one if None
) -> list[Stroke]:  # x from 0, y from 0 to 1
    """Return the strokes of a digit in units of its height."""
    glyph = glyph or str(rng.choice(sorted(GLYPHS[digit])))
    hand = hand or random_hand(rng)
    strokes = [_smooth_stroke(stroke, hand.wobble, rng) for stroke in GLYPHS[digit][glyph]]
    cos, sin = np.cos(hand.turn), np.sin(hand.turn)
    shear = np.array([[hand.width, 0.0], [-hand.slant, 1.0]])  # to the right toward small y
    turned = [stroke @ shear @ np.array([[cos, sin], [-sin, cos]]) for stroke in strokes]
    points = np.concatenate(turned)
    top_left, height = points.min(axis=0), np.ptp(points[:, 1])
    return [(stroke - top_left) / height for stroke in turned]


def _smooth_stroke(segments: GlyphStroke, wobble: float, rng: np.random.Generator) -> Stroke:
    """Return a curve through the points of all segments."""
    curves: list[Stroke] = []
    for segment in segments:
        points = np.array(segment) + rng.normal(0, wobble, (len(segment), 2))
        if curves:  # a segment begins where the one before it ended
            points = np.concatenate([curves[-1][-1:], points])
        curves.append(_catmull_rom(points))
    return np.concatenate(curves)


def _catmull_rom(points: Stroke) -> Stroke:
    """Return the Catmull-Rom spline through points."""
    before = 2 * points[0] - points[1]
    after = 2 * points[-1] - points[-2]
    p = np.concatenate([[before], points, [after]])
    t = np.linspace(0, 1, SPLINE_STEPS, endpoint=False)[:, None]
    curves = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
               + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True)
    ]  # fmt: skip
    return np.concatenate([*curves, points[-1:]])


# ---------------------------------------------------------------- pen


def render_strokes(
    strokes: Sequence[Stroke],  # from `digit_strokes`
    size: tuple[int, int],  # (width, height) of the canvas, as in Pillow
    *,
    height: float,  # pixels from the center of the top line to the center of the bottom line
    pen: float,  # width of the line in pixels
    origin: tuple[float, float] | None = None,  # (x, y) of the top left corner; centered if None
    antialias: bool = True,
    pressure: float = 0.0,  # relative change of the pen's width along a stroke
) -> NDArray[np.uint8]:  # (height, width), 255 = ink
    """Render strokes with a round pen."""
    from PIL import Image, ImageDraw

    if origin is None:
        width = max(stroke[:, 0].max() for stroke in strokes)
        origin = ((size[0] - width * height) / 2, (size[1] - height) / 2)
    scale = ANTIALIASING if antialias else 1
    canvas = Image.new("L", (size[0] * scale, size[1] * scale))
    draw = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = (stroke * height + origin) * scale
        length = np.concatenate([[0.0], np.hypot(*np.diff(stroke, axis=0).T).cumsum()])
        radii = pen * scale / 2 * (1 + pressure * np.sin(7 * length))
        _draw_stroke(draw, points - 0.5, radii)  # Pillow's 0 is the center of a pixel
    reduced = canvas.reduce(scale) if antialias else canvas
    return np.asarray(reduced, dtype=np.uint8)


def _draw_stroke(draw: Pen, points: Stroke, radii: NDArray[np.float64]) -> None:
    """Draw a disc at each point and a line to the next."""
    for (x, y), r in zip(points, radii, strict=True):
        _draw_disc(draw, x, y, r)
    for a, b, r in zip(points[:-1], points[1:], radii, strict=False):
        draw.line((*a, *b), fill=255, width=max(1, round(2 * r)))


def _draw_disc(draw: Pen, x: float, y: float, r: float) -> None:
    """Draw a disc, or one pixel if it is smaller."""
    if r < 0.75:
        draw.point((round(x), round(y)), fill=255)
    else:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
