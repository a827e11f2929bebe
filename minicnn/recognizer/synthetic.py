"""Handwritten digits as strokes of a pen, for training, example scans and stand-in test sets.

A digit is a list of strokes, a stroke a line through points. What differs from writer to writer
(the form: open or closed 4, crossed 7, 1 with a flag; slant, proportions, an unsteady hand) is
drawn at random; paper, pen width and edges are up to `draw`.

    rng = np.random.default_rng(0)
    mask = draw(digit_strokes(5, rng), (64, 64), height=44, pen=5)     # (64, 64) uint8, 255 = ink

Digits drawn from strokes, in MNIST's form: what the Americans who wrote MNIST do not write.

Of MNIST's ones hardly any has a flag, of its zeros hardly any a slash; a network that knows only
MNIST reads a 1 with a flag as 7. One drawn digit for every twenty-five teaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.data.mnist import load_mnist_sample
from minicnn.random import generator
from minicnn.recognizer.glyphs import FORMS, Runs
from minicnn.recognizer.mnist_format import FINE, fit_to_mnist_field
from minicnn.shapes import IntArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Pencil

Stroke = NDArray[np.float64]  # (points, 2): x to the right, y down

STEPS = 12  # points on the curve between two anchors
SOFT = 4  # subpixels in each direction, for soft edges


class Hand(NamedTuple):
    """How somebody writes.

    `slant` is the shift to the right over the whole height (0.2: leaning a little to the right),
    `width` a factor for the digits' width, `turn` an angle in radians (positive: clockwise),
    `wobble` the standard deviation of each anchor, in heights of the digit.
    """

    slant: float = 0.0
    width: float = 1.0
    turn: float = 0.0
    wobble: float = 0.0


def some_hand(rng: np.random.Generator) -> Hand:
    """Draw a writer at random.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    Hand
    """
    return Hand(
        slant=float(np.clip(rng.normal(0.12, 0.13), -0.15, 0.45)),
        width=float(rng.uniform(0.75, 1.25)),
        turn=float(rng.normal(0, 0.05)),
        wobble=float(rng.uniform(0.005, 0.025)),
    )


def digit_strokes(
    digit: int, rng: np.random.Generator, *, form: str | None = None, hand: Hand | None = None
) -> list[Stroke]:
    """Write one digit.

    Parameters
    ----------
    digit : int
        0 to 9.
    rng : Generator
        Decides what is left out below, and the wobble.
    form : str, optional
        A name in ``FORMS[digit]``; any of them where left out.
    hand : Hand, optional
        `some_hand` where left out.

    Returns
    -------
    list of ndarray (points, 2)
        Lines in units of the digit's height: x from 0 on, y from 0 at its top to 1.
    """
    form = form or str(rng.choice(sorted(FORMS[digit])))
    hand = hand or some_hand(rng)
    strokes = [_curve(runs, hand.wobble, rng) for runs in FORMS[digit][form]]
    cos, sin = np.cos(hand.turn), np.sin(hand.turn)
    leaning = np.array([[hand.width, 0.0], [-hand.slant, 1.0]])  # x grows where y is small
    turned = [stroke @ leaning @ np.array([[cos, sin], [-sin, cos]]) for stroke in strokes]
    points = np.concatenate(turned)
    top_left, height = points.min(axis=0), np.ptp(points[:, 1])
    return [(stroke - top_left) / height for stroke in turned]


def _curve(runs: Runs, wobble: float, rng: np.random.Generator) -> Stroke:
    """Draw a smooth line through each run; each run begins where the one before it ended."""
    pieces: list[Stroke] = []
    for run in runs:
        anchors = np.array(run) + rng.normal(0, wobble, (len(run), 2))
        if pieces:
            anchors = np.concatenate([pieces[-1][-1:], anchors])
        pieces.append(_spline(anchors))
    return np.concatenate(pieces)


def _spline(anchors: Stroke) -> Stroke:
    """Return the Catmull-Rom spline through the anchors."""
    before = 2 * anchors[0] - anchors[1]
    after = 2 * anchors[-1] - anchors[-2]
    p = np.concatenate([[before], anchors, [after]])
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
               + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True)
    ]  # fmt: skip
    return np.concatenate([*pieces, anchors[-1:]])


def draw(
    strokes: Sequence[Stroke],
    size: tuple[int, int],
    *,
    height: float,
    pen: float,
    origin: tuple[float, float] | None = None,
    soft: bool = True,
    pressure: float = 0.0,
) -> NDArray[np.uint8]:
    """Draw strokes with a round pen.

    Parameters
    ----------
    strokes : sequence of ndarray (points, 2)
        From `digit_strokes`.
    size : tuple of int
        ``(width, height)`` of the canvas, as in Pillow.
    height : float
        Of the digit from the middle of its top line to the middle of its lowest, in pixels.
    pen : float
        Width of the line, in pixels.
    origin : tuple of float, optional
        ``(x, y)`` of the digit's top left corner; where left out, it is put in the middle.
    soft : bool
        Gray edges, as of a scan; or ink and paper only, as in a paint program.
    pressure : float
        How much the width changes on the way: 0.3 is 30 % to both sides.

    Returns
    -------
    ndarray of uint8 (height, width)
        0 where there is no ink, 255 where there is nothing else.
    """
    from PIL import Image, ImageDraw

    if origin is None:
        widest = max(stroke[:, 0].max() for stroke in strokes)
        origin = ((size[0] - widest * height) / 2, (size[1] - height) / 2)
    scale = SOFT if soft else 1
    canvas = Image.new("L", (size[0] * scale, size[1] * scale))
    pencil = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = (stroke * height + origin) * scale
        way = np.concatenate([[0.0], np.hypot(*np.diff(stroke, axis=0).T).cumsum()])
        radii = pen * scale / 2 * (1 + pressure * np.sin(7 * way))
        _stamp(pencil, points, radii)
    reduced = canvas.reduce(scale) if soft else canvas
    return np.asarray(reduced, dtype=np.uint8)


def _stamp(pencil: Pencil, points: Stroke, radii: NDArray[np.float64]) -> None:
    """Set a disc on each point and join them."""
    for (x, y), r in zip(points - 0.5, radii, strict=True):  # Pillow's 0 is the middle of a pixel
        if r < 0.75:
            pencil.point((round(x), round(y)), fill=255)
        else:
            pencil.ellipse((x - r, y - r, x + r, y + r), fill=255)
    for a, b, r in zip(points[:-1] - 0.5, points[1:] - 0.5, radii, strict=False):
        pencil.line((*a, *b), fill=255, width=max(1, round(2 * r)))


HEIGHT = 12 * FINE  # of a digit when it is drawn, in pixels
PENS = (0.05, 0.2)  # narrowest and widest, in heights of the digit
LOOKED_AT = 1000  # images by which digits are told from other things


def synthetic_digits(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw digits in all forms, by all hands and with all pens, 0, 1, ... 9, 0, 1, ...

    Parameters
    ----------
    count : int
        0 or more.
    seed : int
        The same seed draws the same digits.

    Returns
    -------
    images : ndarray of uint8 (count, 28, 28)
        As `minicnn.to_mnist_format` gives them.
    labels : ndarray of uint8 (count,)

    Raises
    ------
    ValueError
        If `count` is below 0.
    """
    if count < 0:
        raise ValueError(f"drawn_digits: count must be 0 or more, not {count}")
    images = np.empty((count, 28, 28), np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for index, label in enumerate(labels):
        rng = generator(seed, "drawn digits", index=index)
        images[index] = _drawn_digit(int(label), rng)
    return images, labels


def _drawn_digit(digit: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    strokes = digit_strokes(digit, rng)
    pen = HEIGHT * rng.uniform(*PENS)
    width = HEIGHT * max(float(stroke[:, 0].max()) for stroke in strokes)
    margin = 2 * pen
    ink = draw(
        strokes,
        (round(width + margin), round(HEIGHT + margin)),
        height=HEIGHT,
        pen=pen,
        soft=False,  # the reduction to the field makes edges soft
        pressure=rng.uniform(0, 0.2),
    )
    return fit_to_mnist_field(np.asarray(ink / 255, np.float32))


def are_digits(images: NDArray[np.uint8], labels: IntArray) -> bool:
    """Tell whether labeled images are digits, and not clothes or letters in MNIST's file format.

    Each image is given the label of the mean digit of the embedded sample that it resembles most
    (by the cosine of the angle between them). Of MNIST that is right for 82 %, of anything else
    for about 10 %.

    Parameters
    ----------
    images : ndarray of uint8 (N, H, W)
        Of the first 1,000 every one is looked at.
    labels : ndarray of int (N,)

    Returns
    -------
    bool
    """
    if images.shape[1:] != (28, 28):
        return False
    sample = load_mnist_sample()
    known = sample.train_images.reshape(-1, 10, 28 * 28)  # the classes alternate
    means = known.mean(axis=0)  # (10, 784)
    directions = means / np.linalg.norm(means, axis=1, keepdims=True)
    nearest = (images[:LOOKED_AT].reshape(-1, 28 * 28) @ directions.T).argmax(axis=1)
    return bool((nearest == labels[:LOOKED_AT]).mean() > 0.5)
