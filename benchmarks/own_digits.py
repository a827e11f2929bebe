"""How well people's own digits are read: stand-in drawings in many media, read by a network.

    python benchmarks/own_digits.py --data-dir FOLDER --model plain.npz augmented.npz

Two sources of shapes, neither of which the network has learned from: digits of MNIST's validation
part, reduced to their middle lines and drawn anew with other pens, and the strokes of
``minicnn/data/strokes.py``, whose forms (crossed 7, slashed 0, open 4 ...) are not those of the
Americans who wrote MNIST. Each is drawn in all media of `own_media.py`, and read

- as most tutorials do: grey, scaled to 28×28, inverted; and
- through `minicnn.to_mnist`.
"""

import numpy as np
from numpy.typing import NDArray
from own_media import Strokes
from PIL import Image

Points = NDArray[np.float64]


# ---------------------------------------------------------------- MNIST's digits as strokes


def middle_lines(image: NDArray[np.uint8], fine: int = 3) -> Strokes:
    """Reduce a digit of MNIST to its middle lines: short strokes in units of its height."""
    side = fine * 28
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    skeleton = thin(np.asarray(picture) > 100)
    points = np.argwhere(skeleton)[:, ::-1].astype(float)  # x, y
    gaps = np.abs(points[:, None] - points[None]).max(axis=2)
    near = gaps <= fine  # averaged with these, so that the stairs of the pixels go
    smooth = np.stack([points[row].mean(axis=0) for row in near])
    smooth -= smooth.min(axis=0)
    smooth /= max(np.ptp(smooth[:, 1]), 0.5 * np.ptp(smooth[:, 0]), 1.0)
    pairs = np.argwhere(np.triu(gaps == 1))
    return [smooth[pair] for pair in pairs] or [smooth[:1].repeat(2, axis=0)]


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Peel a shape until its lines are one pixel wide (Zhang and Suen, CACM 27, 1984)."""
    ink = np.pad(mask, 1)
    while True:
        before = ink.sum()
        for first in (True, False):
            up, down = np.roll(ink, 1, 0), np.roll(ink, -1, 0)
            around = [
                up, np.roll(up, -1, 1), np.roll(ink, -1, 1), np.roll(down, -1, 1),
                down, np.roll(down, 1, 1), np.roll(ink, 1, 1), np.roll(up, 1, 1),
            ]  # clockwise from above  # fmt: skip
            count = np.sum(around, axis=0)
            turns = np.sum(
                [~a & b for a, b in zip(around, around[1:] + around[:1], strict=True)], axis=0
            )
            n, e, s, w = around[0], around[2], around[4], around[6]
            open_sides = ~(n & e & s) & ~(e & s & w) if first else ~(n & e & w) & ~(n & s & w)
            ink = ink & ~((count >= 2) & (count <= 6) & (turns == 1) & open_sides)
        if ink.sum() == before:
            return ink[1:-1, 1:-1]
