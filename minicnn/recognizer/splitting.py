"""Digits that touch each other, cut apart where they hang together by the least ink.

A four and a wide zero can be cut in two as well. So a cut is made only where the whole is wider
than it is high, goes through little ink and no loop, and leaves two parts that are about as high as
the whole. The numbers below were chosen on lines of MNIST's training digits (see
``benchmarks/line_maker.py``): in 1,500 lines with a gap everywhere they cut two single digits; of
300 lines whose digits touch or all but touch they get 235 into the right number of pieces. What
hangs together over a longer stretch, or is narrow, stays in one piece.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.recognizer.grouping import Writing, relabeled
from minicnn.recognizer.segmentation import Components, Darkness, Mask, connected_components

# In heights of the writing, upright; or of the whole, where that is higher:
WIDE, WIDE_ALONE = 1.2, 1.6  # what is no wider is one digit; sooner so if there is no other
HIGH = 0.8  # a cut leaves ink so high on either side,
MARGIN = 0.15  # stays so far from either end
INK = 0.16  # and goes through no more ink than this,
HOLE = 0.1  # nor through a loop of this area, in squares of the height
LOW = 0.8  # a whole that is lower counts as so high
SIDEWAYS = 0.05  # what a step to the side costs a cut, in pixels of full ink
OFF_CENTER = 0.2  # what a cut at the very end costs, in heights of full ink


def cut_touching(digits: Components, darkness: Darkness, writing: Writing) -> Components:
    """Cut in two what is two digits, and the parts again.

    A cut is a seam from the upper to the lower edge, in the direction of the writing's slant, that
    moves by one pixel to the side at most from row to row and meets the least ink (Avidan and
    Shamir, "Seam carving for content-aware image resizing", SIGGRAPH 2007, section 3).

    Parameters
    ----------
    digits : Components
    darkness : ndarray of float32 (H, W)
        Of the same picture.
    writing : Writing

    Returns
    -------
    Components
        Of the same ink.
    """
    labels, count = digits.labels.copy(), len(digits.areas)
    waiting = [(index + 1, box) for index, box in enumerate(digits.boxes)]
    while waiting:
        number, (top, left, bottom, right) = waiting.pop()
        place = labels[top:bottom, left:right]
        own = place == number
        wide = WIDE if count > 1 else WIDE_ALONE
        behind = _cut(own, darkness[top:bottom, left:right], writing, wide)
        if behind is not None:
            count += 1
            place[own & behind] = count
            waiting += [(part, _box(place == part, top, left)) for part in (number, count)]
    return relabeled(labels, count)


def _box(own: Mask, top: int, left: int) -> NDArray[np.int64]:
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    return np.array([top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1])


def _cut(own: Mask, darkness: Darkness, writing: Writing, wide: float) -> Mask | None:
    """Return which pixels lie behind the best cut, or None if there is none to make."""
    ink, columns = _upright(np.where(own, darkness, np.float32(0)), writing.slant)
    H, W = ink.shape
    unit = max(H, LOW * writing.height)
    margin = round(MARGIN * writing.height)
    if W / unit <= wide:
        return None
    inner = ink[:, margin : W - margin]
    cost, back = _seams(inner)
    off_center = np.abs(np.linspace(-1, 1, inner.shape[1]))
    hole = _holes(darkness == 0, HOLE * writing.height**2)
    for end in np.argsort(cost + OFF_CENTER * writing.height * off_center, kind="stable"):
        seam = margin + _follow(back, int(end))
        met = np.arange(H), seam
        behind = np.asarray(columns >= seam[:, None])
        high = min(int((own & side).any(axis=1).sum()) for side in (behind, ~behind))
        if (
            high >= HIGH * unit
            and np.count_nonzero(ink[met]) <= INK * writing.height
            and not hole[columns == seam[:, None]].any()
        ):
            return behind
    return None


def _upright(ink: Darkness, slant: float) -> tuple[Darkness, NDArray[np.int64]]:
    """Shift the rows until the writing does not lean; return also each pixel's new column."""
    H, W = ink.shape
    shift = np.round(slant * np.arange(H)).astype(np.int64)
    columns = np.arange(W) + shift[:, None]
    inked = columns[ink > 0]
    columns -= inked.min()
    stood_up = np.zeros((H, int(np.ptp(inked)) + 1), np.float32)
    y, x = np.nonzero(ink)
    stood_up[y, columns[y, x]] = ink[y, x]
    return stood_up, columns


def _holes(paper: Mask, area: float) -> Mask:
    """Return where ink encloses paper of a larger area than this."""
    parts = connected_components(np.pad(paper, 1, constant_values=True))
    large = np.concatenate([[False, False], parts.areas[1:] > area])  # ink; all around; holes
    return large[parts.labels[1:-1, 1:-1]]


def _seams(ink: Darkness) -> tuple[Darkness, NDArray[np.int8]]:
    """Return for each column of the last row what the cheapest way down to it costs.

    Parameters
    ----------
    ink : ndarray of float32 (H, W)

    Returns
    -------
    cost : ndarray of float32 (W,)
    back : ndarray of int8 (H, W)
        The step (-1, 0, 1) that leads from a pixel to the one before it on its way.
    """
    H, W = ink.shape
    back = np.zeros((H, W), np.int8)
    ways = np.full((3, W), np.inf, np.float32)
    cost = ink[0].copy()
    for y in range(1, H):
        ways[0, 1:], ways[1], ways[2, :-1] = cost[:-1] + SIDEWAYS, cost, cost[1:] + SIDEWAYS
        step = ways.argmin(axis=0)
        back[y] = step - 1
        cost = ways[step, np.arange(W)] + ink[y]
    return cost, back


def _follow(back: NDArray[np.int8], end: int) -> NDArray[np.int64]:
    """Return the column of a seam in each row, from its end in the last row."""
    seam = np.empty(len(back), np.int64)
    for y in range(len(back) - 1, -1, -1):
        seam[y] = end
        end += int(back[y, end])
    return seam
