"""Group the fragments of each digit, and split touching digits.

Fragments: the loose bar of a 5, the two strokes of a 4, the parts of a broken line. All limits are
in heights of the handwriting, so a photo and a thumbnail give the same result. Boxes are compared
after deskewing: the boxes of two slanted digits overlap, their deskewed boxes do not.

A 4 or a wide 0 could be split like two touching digits. So only a region that is wider than high is
split. The seam crosses little ink and no loop, and both parts are about as high as the whole. The
limits were tuned on lines of MNIST's training digits (``benchmarks/digit_line_maker.py``). Among
1,500 lines with gaps, two single digits are split; of 300 lines with touching or nearly touching
digits, 235 are split into the right number of digits.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.recognizer.segmentation import (
    InkDensity,
    Mask,
    Regions,
    bounding_box,
    label_regions,
    measure_regions,
)

Points = NDArray[np.float64]  # (n, 2): y, x
Boxes = NDArray[np.float64]  # (n, 4): top, left, bottom, right

SLANT_RANGE = (-0.5, 0.8)  # estimates are clipped to this range
OUTLINE_POINTS = 40  # per height of the handwriting
# Bounds of the cost of a page. A full page of digits has a fifth of the pixels and pairs or less.
MAX_COMPONENTS = 600  # 5 ms each: a page takes 3 s
MAX_BOX_PIXELS = 30_000_000  # in all boxes; those of nested and of touching strokes overlap
MAX_POINT_PAIRS = 200_000_000  # of outlines that may belong to one digit
# In heights of the handwriting:
MIN_SIZE = 0.12  # a component whose longer side is shorter is dirt or grain of the paper
FRAGMENT_HEIGHT = 0.6  # a lower component may be a fragment of a digit
MAX_COST = 0.3  # of a merge: the gap between the fragments,
SIDEWAYS_COST = 0.2  # plus this if they lie side by side
MAX_HEIGHT, MAX_ASPECT = 1.6, 1.25  # of a merged digit: height; width over height
MIN_HALF_PERIMETER = 0.6  # of a digit; points and commas have less
MIN_HEIGHT = 0.2  # of a digit; a dash is lower

# Limits of a split, in heights of the region, but at least of MIN_UNIT handwriting heights:
MIN_UNIT = 0.8
SPLIT_ASPECT, SPLIT_ASPECT_ALONE = 1.2, 1.6  # a narrower region is one digit; alone, the second
MIN_PART_HEIGHT = 0.8  # height of the ink on each side of the seam
# In heights of the handwriting:
SEAM_MARGIN = 0.15  # distance of a seam from both ends
MAX_SEAM_INK = 0.16  # pixels of ink on the seam
MAX_HOLE = 0.1  # area of a loop that a seam may cross, in squares of the height
DIAGONAL_COST = 0.05  # of one diagonal step of a seam, in pixels of full ink
OFF_CENTER_COST = 0.2  # of a seam at the very end, in heights of full ink


class Handwriting(NamedTuple):
    """Height of the digits in pixels; slant in heights per height."""

    height: float
    slant: float


def estimate_height(boxes: NDArray[np.int64]) -> float:
    """Return the median height of boxes (n, 4), weighted by its square."""
    # The weight keeps many small dots from lowering the median.
    heights = np.sort(boxes[:, 2] - boxes[:, 0])
    weights = np.cumsum(heights.astype(np.float64) ** 2)
    return float(heights[np.searchsorted(weights, weights[-1] / 2)])


def estimate_slant(outlines: list[Points]) -> float:
    """Estimate the slant from the second moments of high components."""
    xy = yy = 0.0
    for points in outlines:
        y, x = (points - points.mean(axis=0)).T
        if np.ptp(y) > FRAGMENT_HEIGHT:
            xy, yy = xy + float(x @ y), yy + float(y @ y)
    return float(np.clip(-xy / max(yy, 1e-9), *SLANT_RANGE))


def check_limit(amount: int, limit: int, things: str) -> None:
    """Raise ValueError if a page has more of something than its limit."""
    if amount > limit:
        raise ValueError(
            f"the image has {amount} {things}, but a page of digits has at most {limit}; crop the "
            "image to the digits"
        )


def deskew(points: Points, slant: float) -> Points:
    """Shear points until writing that leans by `slant` is vertical."""
    deskewed: Points = points @ np.array([[1.0, slant], [0.0, 1.0]])
    return deskewed


# ---------------------------------------------------------------- group fragments


def group_components(components: Regions) -> tuple[Regions, Handwriting]:
    """Merge the components of each digit and drop dirt and punctuation.

    Raises ValueError if there are more components than `MAX_COMPONENTS`, or if they overlap so
    much that `MAX_BOX_PIXELS` or `MAX_POINT_PAIRS` is exceeded.
    """
    height = estimate_height(components.boxes)
    sizes = components.boxes[:, 2:] - components.boxes[:, :2]
    large = np.flatnonzero(sizes.max(axis=1) >= MIN_SIZE * height)
    check_limit(len(large), MAX_COMPONENTS, "separate strokes")
    check_limit(int(sizes[large].prod(axis=1).sum()), MAX_BOX_PIXELS, "pixels in boxes of strokes")
    outlines = [outline(components, index, height) for index in large.tolist()]
    handwriting = Handwriting(height, estimate_slant(outlines))
    outlines = [deskew(points, handwriting.slant) for points in outlines]
    owner = merge_fragments(outlines)
    boxes = outline_boxes(outlines, owner)
    extents = boxes[:, 2:] - boxes[:, :2]
    is_digit = (extents.sum(axis=1) >= MIN_HALF_PERIMETER) & (extents[:, 0] >= MIN_HEIGHT)
    new_label = np.zeros(len(components.areas) + 1, np.int32)  # 0 also for dropped components
    new_label[large + 1] = np.where(is_digit, np.cumsum(is_digit), 0)[owner]
    return measure_regions(new_label[components.labels]), handwriting


def outline(components: Regions, index: int, height: float) -> Points:
    """Return the first and last pixels of sampled rows and columns."""
    top, left, bottom, right = components.boxes[index]
    own = components.labels[top:bottom, left:right] == index + 1
    H, W = own.shape
    step = max(1, round(max(height, max(own.shape) / 4) / OUTLINE_POINTS))
    y, x = np.arange(0, H, step), np.arange(0, W, step)
    ends = (
        (y, own[y].argmax(axis=1)),
        (y, W - 1 - own[y, ::-1].argmax(axis=1)),
        (own[:, x].argmax(axis=0), x),
        (H - 1 - own[::-1, x].argmax(axis=0), x),
    )
    points = np.concatenate([np.stack(end, axis=1) for end in ends])
    return (points + components.boxes[index, :2]) / height


def outline_boxes(outlines: list[Points], owner: NDArray[np.int64]) -> Boxes:
    """Return the bounding box of the outlines of each owner."""
    boxes = np.empty((owner.max() + 1, 4))
    for index in range(len(boxes)):
        points = np.concatenate([outlines[i] for i in np.flatnonzero(owner == index)])
        boxes[index] = *points.min(axis=0), *points.max(axis=0)
    return boxes


def merge_fragments(outlines: list[Points]) -> NDArray[np.int64]:
    """Return the index of the digit that each component belongs to.

    In each round every group chooses the cheapest partner at least as high as itself; then groups
    connected by choices are merged.
    """
    owner = np.arange(len(outlines))
    counts = np.array([len(points) for points in outlines])
    distances = np.full((len(outlines), len(outlines)), np.inf)
    point_pairs = 0
    while True:
        cost = merge_cost(outline_boxes(outlines, owner))
        # Distances take time in proportion to the pairs of points: only those that matter.
        possible = (cost < MAX_COST) | (cost.T < MAX_COST)
        pairs = np.argwhere(np.triu(np.isinf(distances) & possible[owner][:, owner]))
        point_pairs += int(counts[pairs].prod(axis=1).sum())
        check_limit(point_pairs, MAX_POINT_PAIRS, "pairs of points on close strokes")
        for i, j in pairs:
            distances[i, j] = distances[j, i] = least_distance(outlines[i], outlines[j])
        order = np.argsort(owner, kind="stable")
        first = np.searchsorted(owner[order], np.arange(len(cost)))
        within = np.minimum.reduceat(distances[order][:, order], first, axis=1)
        cost += np.minimum.reduceat(within, first, axis=0)
        own = np.arange(len(cost))
        choice = np.where(cost.min(axis=1) < MAX_COST, cost.argmin(axis=1), own)
        if (choice == own).all():
            return owner
        while not np.array_equal(choice[choice], choice):  # follow chains of choices to the end
            choice = choice[choice]
        owner = np.unique(choice, return_inverse=True)[1][owner]


def least_distance(a: Points, b: Points) -> float:
    """Return the least distance of a point of `a` from one of `b`."""
    return float(np.sqrt(((a[:, None] - b) ** 2).sum(axis=2).min()))


def merge_cost(boxes: Boxes) -> NDArray[np.float64]:
    """Return the cost (n, n) of a merge of row into column, but for gaps."""
    top, left, bottom, right = (boxes[:, column] for column in range(4))
    heights, widths = bottom - top, right - left
    common = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    narrower = np.minimum.outer(widths, widths)
    inside = (common >= 0).astype(float)  # of a stroke one pixel wide, whose width is 0 here
    overlap = np.clip(np.divide(common, narrower, out=inside, where=narrower > 0), 0, 1)
    merged_height = np.maximum.outer(bottom, bottom) - np.minimum.outer(top, top)
    merged_width = np.maximum.outer(right, right) - np.minimum.outer(left, left)
    grows = merged_width > np.maximum.outer(widths, widths) * 1.1
    # Only into a higher group, or of equal height into a later one: so choices form no cycle.
    rank = np.lexsort((np.arange(len(boxes)), heights)).argsort()
    forbidden = rank[:, None] >= rank
    forbidden |= merged_height > MAX_HEIGHT
    # The distance of two strokes is at least the gap between their boxes.
    forbidden |= np.maximum(-common, merged_height - np.add.outer(heights, heights)) >= MAX_COST
    forbidden |= grows & (merged_width > MAX_ASPECT * np.maximum(merged_height, 1))
    forbidden |= (heights[:, None] >= FRAGMENT_HEIGHT) & (overlap < 0.5)
    return np.where(forbidden, np.inf, SIDEWAYS_COST * (1 - overlap))  # inf if not one digit


# ---------------------------------------------------------------- split touching digits


def split_touching(digits: Regions, density: InkDensity, handwriting: Handwriting) -> Regions:
    """Split regions of two digits, then the parts again."""
    labels, count = digits.labels.copy(), len(digits.areas)
    queue, pixels = [(index + 1, box) for index, box in enumerate(digits.boxes)], 0
    while queue:
        label, (top, left, bottom, right) = queue.pop()
        part = labels[top:bottom, left:right]  # a view
        pixels += part.size
        check_limit(pixels, MAX_BOX_PIXELS, "pixels in boxes of touching strokes")
        check_limit(count, MAX_COMPONENTS, "digits")
        own = part == label
        max_aspect = SPLIT_ASPECT if count > 1 else SPLIT_ASPECT_ALONE
        right_side = find_split(own, density[top:bottom, left:right], handwriting, max_aspect)
        if right_side is not None:
            count += 1
            part[own & right_side] = count
            for each in (label, count):
                y, x = bounding_box(part == each)
                box = np.array([top + y.start, left + x.start, top + y.stop, left + x.stop])
                queue.append((each, box))
    return measure_regions(labels)


def find_split(
    own: Mask,  # (H, W)
    density: InkDensity,  # (H, W)
    handwriting: Handwriting,
    max_aspect: float,
) -> Mask | None:
    """Return the pixels right of the best seam, or None for one digit."""
    ink, shift = deskew_rows(np.where(own, density, np.float32(0)), handwriting.slant)
    H, W = ink.shape
    height = handwriting.height
    unit = max(H, MIN_UNIT * height)
    margin = round(SEAM_MARGIN * height)
    if W / unit <= max_aspect:
        return None
    inner = ink[:, margin : W - margin]
    cost, steps = minimum_cost_seams(inner)
    total = cost + OFF_CENTER_COST * height * np.abs(np.linspace(-1, 1, inner.shape[1]))
    # All seams together: one by one, a wide region takes time in proportion to its squared width.
    seams = margin + backtrack(steps)
    rows = np.arange(H)[:, None]
    little_ink = np.count_nonzero(ink[rows, seams], axis=0) <= MAX_SEAM_INK * height
    total, seams = total[little_ink], seams[:, little_ink] - shift[:, None]
    starts = np.where(own.any(axis=1), own.argmax(axis=1), own.shape[1])[:, None]
    ends = np.where(own.any(axis=1), own.shape[1] - own[:, ::-1].argmax(axis=1), 0)[:, None]
    part_height = np.minimum((starts < seams).sum(axis=0), (seams < ends).sum(axis=0))
    holes = large_holes(density == 0, MAX_HOLE * height**2)
    crossed = np.pad(holes, ((0, 0), (1, 1)))[rows, np.clip(seams, -1, own.shape[1]) + 1]
    total[(part_height < MIN_PART_HEIGHT * unit) | crossed.any(axis=0)] = np.inf
    if total.min(initial=np.inf) == np.inf:
        return None
    return np.asarray(np.arange(own.shape[1]) >= seams[:, [total.argmin()]])


def deskew_rows(ink: InkDensity, slant: float) -> tuple[InkDensity, NDArray[np.int64]]:
    """Shift rows until the writing is vertical; return also the shifts."""
    shift = np.round(slant * np.arange(len(ink))).astype(np.int64)
    y, x = np.nonzero(ink)
    shift -= (x + shift[y]).min()
    x += shift[y]
    deskewed = np.zeros((len(ink), int(x.max()) + 1), np.float32)
    deskewed[y, x] = ink[ink > 0]
    return deskewed, shift


def large_holes(paper: Mask, min_area: float) -> Mask:
    """Return the paper enclosed by ink, in holes larger than `min_area`."""
    regions = label_regions(np.pad(paper, 1, constant_values=True))
    holes = 2 + np.flatnonzero(regions.areas[1:] > min_area)  # label 1 is the paper around the ink
    return np.isin(regions.labels[1:-1, 1:-1], holes)


def minimum_cost_seams(ink: InkDensity) -> tuple[InkDensity, NDArray[np.int8]]:
    """Compute costs (W,) and steps (H, W) of the cheapest seams.

    A seam moves by at most one column per row (Avidan and Shamir, "Seam carving for content-aware
    image resizing", SIGGRAPH 2007, section 3). A step is the move -1, 0 or 1 to the row above.
    """
    H, W = ink.shape
    steps = np.zeros((H, W), np.int8)
    options = np.full((3, W), np.inf, np.float32)
    cost = ink[0].copy()
    for y in range(1, H):
        options[0, 1:] = cost[:-1] + DIAGONAL_COST
        options[1] = cost
        options[2, :-1] = cost[1:] + DIAGONAL_COST
        best = options.argmin(axis=0)
        steps[y] = best - 1
        cost = options[best, np.arange(W)] + ink[y]
    return cost, steps


def backtrack(steps: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the columns (H, W) of all seams, one per end in the last row."""
    seams = np.empty(steps.shape, np.int64)
    end = np.arange(steps.shape[1])
    for y in range(len(steps) - 1, -1, -1):
        seams[y] = end
        end = end + steps[y, end]
    return seams
