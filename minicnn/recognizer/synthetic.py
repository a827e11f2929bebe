"""Draw synthetic digits, for training and for example scans.

A stroke is a line through points. The glyph (open or closed 4, crossed 7, 1 with a flag), slant,
proportions and wobble are random; `render_strokes` adds the pen.

    rng = np.random.default_rng(0)
    ink = render_strokes(digit_strokes(5, rng), (64, 64), height=44, pen=5)  # (64, 64), 255 = ink

MNIST's American writers hardly ever write a 1 with a flag or a 0 with a slash. A network that
learns from MNIST alone reads a 1 with a flag as 7. One synthetic digit for every 25 of MNIST
corrects this.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from minicnn.random import generator
from minicnn.recognizer.mnist_format import IMAGE_SIZE, SUPERSAMPLING, normalize_digit

Stroke = NDArray[np.float64]  # (points, 2): x to the right, y down
PointOrArc = tuple[int, ...]  # see GLYPHS
GlyphStroke = list[list[PointOrArc]]  # smooth segments; the stroke has a corner between two

SPLINE_STEPS = 12  # points of a curve between two points of a glyph
ANTIALIASING = 4  # subpixels in each direction
HEIGHT = 12 * SUPERSAMPLING  # of a rendered digit, in pixels
PEN_WIDTHS = (0.05, 0.2)  # range, in heights of the digit


class HandStyle(NamedTuple):
    """Style of one writer.

    `slant` is the shift to the right over the height. `width` is a factor. `turn` is an angle in
    radians; positive is clockwise. `wobble` is the standard deviation of each point, in heights of
    the digit.
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
        points = np.concatenate([_points(item) for item in segment])
        points += rng.normal(0, wobble, points.shape)
        if curves:  # a segment begins where the one before it ended
            points = np.concatenate([curves[-1][-1:], points])
        curves.append(_catmull_rom(points))
    return np.concatenate(curves)


def _points(item: PointOrArc) -> Stroke:
    """Return a point, or points along an arc, in heights of the digit."""
    if len(item) == 2:
        return np.array([item]) / 100
    x, y, rx, ry = np.array(item[:4]) / 100
    start, end = item[4:]
    angles = np.radians(np.linspace(start, end, max(3, round(abs(end - start) / 40) + 1)))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def _catmull_rom(points: Stroke) -> Stroke:
    """Return the Catmull-Rom spline through points."""
    p = np.pad(points, ((1, 1), (0, 0)), "reflect", reflect_type="odd")[:, None]
    t = np.linspace(0, 1, SPLINE_STEPS, endpoint=False)[:, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    quadratic, cubic = 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d
    curves = 0.5 * (2 * b + (c - a) * t + quadratic * t**2 + cubic * t**3)
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
    return np.asarray(canvas.reduce(scale))


def _draw_stroke(draw: ImageDraw.ImageDraw, points: Stroke, radii: NDArray[np.float64]) -> None:
    """Draw at each point a disc, at least one pixel, and a line to the next."""
    for (x, y), r in zip(points, radii, strict=True):
        if r < 0.75:
            draw.point((round(x), round(y)), fill=255)
        else:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
    for a, b, r in zip(points[:-1], points[1:], radii, strict=False):
        draw.line((*a, *b), fill=255, width=max(1, round(2 * r)))


# ---------------------------------------------------------------- glyphs

# Digit -> name of the glyph -> strokes -> segments -> points (x, y), in percent of the height.
# Six numbers are an arc of an ellipse: center x, y; radii x, y; start and end in degrees, where 0
# is right and 90 is down.
GLYPHS: dict[int, dict[str, list[GlyphStroke]]] = {
    0: {"round": [[[(32, 50, 32, 50, -100, 262)]]],
        "open": [[[(32, 50, 32, 50, -65, 250)]]],
        "slashed": [[[(32, 50, 32, 50, -90, 270)]], [[(62, 8), (4, 92)]]],
        "slashed-inside": [[[(32, 50, 32, 50, -90, 270)]], [[(52, 20), (12, 80)]]]},
    1: {"bar": [[[(0, 0), (0, 50), (0, 100)]]],
        "flag": [[[(0, 24), (14, 13), (24, 0)], [(24, 50), (24, 100)]]],
        "flag-short": [[[(0, 14), (14, 0)], [(14, 50), (14, 100)]]],
        "flag-long": [[[(0, 42), (18, 24), (34, 0)], [(34, 50), (34, 100)]]],
        "flag-foot": [[[(0, 24), (14, 13), (24, 0)], [(24, 50), (24, 100)]],
                      [[(2, 100), (46, 100)]]]},
    2: {"plain": [[[(30, 28, 28, 28, -165, 20), (40, 60), (2, 100)], [(30, 98), (64, 100)]]],
        "loop": [[[(30, 26, 28, 26, -170, 25), (40, 62), (16, 94), (2, 90), (8, 78), (26, 84),
                   (46, 98), (66, 94)]]]},
    3: {"round": [[[(27, 25, 27, 25, -155, 70), (20, 48)], [(26, 74, 32, 26, -75, 155)]]],
        "flat": [[[(2, 0), (30, 1), (54, 0)], [(40, 20), (24, 40)], [(24, 70, 32, 30, -75, 155)]]]},
    4: {"open": [[[(8, 0), (4, 30), (0, 56)], [(30, 57), (64, 54)]],
                 [[(48, 2), (46, 50), (43, 100)]]],
        "closed": [[[(42, 0), (20, 36), (0, 66)], [(30, 66), (64, 65)]],
                   [[(42, 0), (42, 50), (42, 100)]]]},
    5: {"one": [[[(56, 0), (30, 1), (10, 1)], [(7, 22), (4, 44)], [(26, 69, 32, 31, -130, 145)]]],
        "bar": [[[(10, 2), (7, 22), (4, 44)], [(26, 69, 32, 31, -130, 145)]],
                [[(10, 2), (32, 1), (58, 0)]]],
        "loose": [[[(10, 10), (8, 26), (4, 45)], [(26, 69, 32, 31, -130, 145)]],
                  [[(18, 3), (38, 1), (60, 0)]]]},
    6: {"round": [[[(44, 0), (20, 20), (4, 50), (29, 72, 28, 28, 190, -170)]]],
        "straight": [[[(30, 0), (12, 34), (1, 66), (29, 76, 28, 24, 165, -180)]]]},
    7: {"plain": [[[(0, 2), (30, 2), (58, 0)], [(40, 36), (26, 70), (18, 100)]]],
        "crossed": [[[(0, 2), (30, 2), (58, 0)], [(40, 36), (26, 70), (18, 100)]],
                    [[(12, 51), (34, 50), (54, 49)]]],
        "hook": [[[(0, 16), (2, 2)], [(30, 3), (60, 0)], [(44, 36), (32, 70), (27, 100)]]]},
    8: {"one": [[[(50, 12), (28, 0), (7, 16), (18, 38), (42, 56), (54, 78), (28, 100), (2, 80),
                  (16, 56), (40, 38), (53, 16), (44, 3)]]],
        "open": [[[(60, 10), (34, 0), (10, 14), (20, 38), (42, 56), (54, 78), (28, 100), (2, 80),
                   (16, 56), (40, 40), (58, 26)]]],
        "from-left": [[[(4, 12), (28, 0), (50, 12), (36, 36), (12, 60), (6, 84), (30, 100),
                        (54, 82), (42, 56), (20, 36), (6, 16)]]],
        "circles": [[[(29, 23, 22, 23, 90, 450)]], [[(29, 73, 29, 27, -90, 270)]]]},
    9: {"straight": [[[(52, 14), (27, 27, 26, 27, -70, -350), (54, 12)], [(52, 50), (48, 100)]]],
        "open": [[[(50, 6), (26, 0), (2, 24), (20, 50), (46, 38), (56, 14)],
                  [(54, 50), (46, 100)]]],
        "curved": [[[(52, 14), (27, 27, 26, 27, -70, -350), (54, 12)],
                    [(54, 50), (46, 86), (26, 100), (6, 90)]]]},
}  # fmt: skip
