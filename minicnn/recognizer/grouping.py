"""Which pieces of ink make one digit: the loose bar of a 5, a 4 of two strokes, a broken line.

All is measured in heights of the writing, so that a photo and a thumbnail come out the same, and
upright: as if the writing did not lean. Of two digits that lean, the box of one reaches over the
box of the other; once upright, their boxes lie side by side, and those of a broken digit's pieces
lie one over the other.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.recognizer.segmentation import Components, boxes_around

Points = NDArray[np.float64]  # (n, 2): y, x
Boxes = NDArray[np.float64]  # (n, 4): top, left, bottom, right

SLANTS = (-0.5, 0.8)  # writing that leans further is taken to lean by so much
OUTLINE = 40  # points on a height
MOST_PIECES = 1000  # each is compared with each
# In heights of the writing:
DUST = 0.12  # a piece that is nowhere longer is dirt, or the grain of the paper
FRAGMENT = 0.6  # a piece that is lower may be a part of a digit
NEAR = 0.3  # pieces that are farther apart belong to two digits,
ASIDE = 0.2  # and so much nearer they must be if none lies under the other
HIGHEST, WIDEST = 1.6, 1.25  # a digit of joined pieces; its width in relation to its height
SMALLEST = 0.6  # height and width together: what has less when all is joined is a point, a comma
FLATTEST = 0.2  # what is lower when all is joined is a dash


class Writing(NamedTuple):
    """How digits on a picture are written: `height` in pixels; `slant` as in `upright`."""

    height: float
    slant: float


def writing_height(boxes: NDArray[np.int64]) -> float:
    """Estimate how high the digits are.

    The median over the pieces of ink, of which a high one counts for more: so many dots as there
    are do not make the digits small.

    Parameters
    ----------
    boxes : ndarray of int64 (n, 4)
        As in `Components`.

    Returns
    -------
    float
        In pixels.
    """
    heights = np.sort(boxes[:, 2] - boxes[:, 0])
    counts = np.cumsum(heights.astype(np.float64) ** 2)
    return float(heights[np.searchsorted(counts, counts[-1] / 2)])


def upright(points: Points, slant: float) -> Points:
    """Shift each point to where it would be if the writing did not lean.

    Parameters
    ----------
    points : ndarray (n, 2)
        y down, x to the right.
    slant : float
        How far the writing leans to the right over its height, as a share of the height.

    Returns
    -------
    ndarray (n, 2)
    """
    stood_up: Points = points @ np.array([[1.0, slant], [0.0, 1.0]])
    return stood_up


def join_pieces(pieces: Components) -> tuple[Components, Writing]:
    """Put pieces of ink together that make one digit; leave out dirt, points and commas.

    In each round every piece chooses another, at least as high, to join: a piece that is low
    enough to be a fragment, one whose ink is near and that preferably lies above or below it; a
    piece as high as a digit, only one that it half covers. Then all that chose each other are one.

    Parameters
    ----------
    pieces : Components
        At least one.

    Returns
    -------
    digits : Components
        At least one; some may still be several digits that touch each other.
    writing : Writing

    Raises
    ------
    ValueError
        If there are more than 1000 pieces that are not dirt.
    """
    height = writing_height(pieces.boxes)
    kept = np.flatnonzero((pieces.boxes[:, 2:] - pieces.boxes[:, :2]).max(axis=1) >= DUST * height)
    if len(kept) > MOST_PIECES:
        raise ValueError(
            f"{len(kept)} pieces of ink are more than a page of digits has (up to {MOST_PIECES}); "
            f"cut out the part with the digits"
        )
    outlines = [_outline(pieces, piece, height) for piece in kept.tolist()]
    writing = Writing(height, _slant(outlines))
    outlines = [upright(points, writing.slant) for points in outlines]
    owner = _join(outlines)
    boxes = _boxes(outlines, owner)
    sizes = boxes[:, 2:] - boxes[:, :2]
    large = (sizes.sum(axis=1) >= SMALLEST) & (sizes[:, 0] >= FLATTEST)
    new = np.zeros(len(pieces.areas) + 1, np.int32)  # 0 for paper and for what is left out
    new[kept + 1] = np.where(large, np.cumsum(large), 0)[owner]
    return relabeled(new[pieces.labels], int(large.sum())), writing


def relabeled(labels: NDArray[np.int32], count: int) -> Components:
    """Measure pieces anew.

    Parameters
    ----------
    labels : ndarray of int32 (H, W)
        0 for paper, 1 to `count` for the pieces, of which none is empty.
    count : int

    Returns
    -------
    Components
    """
    y, x = np.nonzero(labels)
    index = labels[y, x] - 1
    boxes = boxes_around(index, count, y, x, x + 1)  # a pixel is a short run
    return Components(labels, boxes, np.bincount(index, minlength=count))


def _outline(pieces: Components, piece: int, height: float) -> Points:
    """Return where the ink of a piece begins and ends in some of its rows and columns."""
    top, left, bottom, right = pieces.boxes[piece]
    own = pieces.labels[top:bottom, left:right] == piece + 1
    H, W = own.shape
    step = max(1, round(height / OUTLINE))
    y, x = np.arange(0, H, step), np.arange(0, W, step)
    ends = (
        (y, own[y].argmax(axis=1)),
        (y, W - 1 - own[y, ::-1].argmax(axis=1)),
        (own[:, x].argmax(axis=0), x),
        (H - 1 - own[::-1, x].argmax(axis=0), x),
    )
    points = np.concatenate([np.stack(end, axis=1) for end in ends])
    corner = pieces.boxes[piece, :2]
    return (points + corner) / height


def _slant(outlines: list[Points]) -> float:
    """Estimate the slant from the second moments of what is as high as a digit."""
    across = along = 0.0
    for points in outlines:
        y, x = (points - points.mean(axis=0)).T
        if np.ptp(y) > FRAGMENT:
            across, along = across + float(x @ y), along + float(y @ y)
    return float(np.clip(-across / max(along, 1e-9), *SLANTS))


def _boxes(outlines: list[Points], owner: NDArray[np.int64]) -> Boxes:
    """Return the box around all outlines of each owner."""
    boxes = np.empty((owner.max() + 1, 4))
    for number in range(len(boxes)):
        points = np.concatenate([outlines[i] for i in np.flatnonzero(owner == number)])
        boxes[number] = *points.min(axis=0), *points.max(axis=0)
    return boxes


def _join(outlines: list[Points]) -> NDArray[np.int64]:
    """Return for each piece the number of the digit that it is a part of."""
    owner = np.arange(len(outlines))
    apart = _distances(outlines)
    while True:
        boxes = _boxes(outlines, owner)
        cost = _cost(boxes, apart)
        choice = np.where(cost.min(axis=1) < NEAR, cost.argmin(axis=1), np.arange(len(cost)))
        if (choice == np.arange(len(cost))).all():
            return owner
        while not np.array_equal(choice[choice], choice):  # whom I chose has itself chosen another
            choice = choice[choice]
        chosen, number = np.unique(choice, return_inverse=True)
        owner = number[owner]
        apart = np.array([apart[choice == c].min(axis=0) for c in chosen])
        apart = np.array([apart[:, choice == c].min(axis=1) for c in chosen]).T


def _distances(outlines: list[Points]) -> NDArray[np.float64]:
    """Return the least distance between the outlines of each two pieces; inf where it is far."""
    n = len(outlines)
    boxes = _boxes(outlines, np.arange(n))
    apart = np.full((n, n), np.inf)
    for i in range(n):
        before = boxes[:i]
        gaps = np.maximum(before[:, :2] - boxes[i, 2:], boxes[i, :2] - before[:, 2:])
        for j in np.flatnonzero(gaps.max(axis=1) < NEAR):
            difference = outlines[i][:, None] - outlines[j]
            apart[i, j] = apart[j, i] = np.sqrt((difference**2).sum(axis=2).min())
    return apart


def _cost(boxes: Boxes, apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what it costs a piece (row) to join another (column) that is as high or higher.

    The distance of the ink; and the share of the narrower one's width that does not lie under or
    over the other.
    """
    top, left, bottom, right = (boxes[:, column] for column in range(4))
    heights, widths = bottom - top, right - left
    shared = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    overlap = np.clip(shared / np.minimum.outer(widths, widths), 0, 1)
    together_high = np.maximum.outer(bottom, bottom) - np.minimum.outer(top, top)
    together_wide = np.maximum.outer(right, right) - np.minimum.outer(left, left)
    grows = together_wide > np.maximum.outer(widths, widths) * 1.1
    order = np.lexsort((np.arange(len(boxes)), heights)).argsort()
    refused = order[:, None] >= order
    refused |= together_high > HIGHEST
    refused |= grows & (together_wide > WIDEST * np.maximum(together_high, 1))
    refused |= (heights[:, None] >= FRAGMENT) & (overlap < 0.5)
    return np.where(refused, np.inf, apart + ASIDE * (1 - overlap))
