"""The lists of pixels and taps that the depthwise kernels walk."""

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.pack import outer_sum
from minicnn.shapes import Shape
from minicnn.shapes.window import Window

Indices = NDArray[np.int64]

# Along an axis: (output pixel, input pixel, offset in the window).
AxisTaps = list[tuple[int, int, int]]

# Average pixels of a group below which padding the images is faster: the last microtile of each
# group is partly empty.
MIN_GROUP_PIXELS = 8


class Taps(NamedTuple):
    """Which pixels of one image see which of another, as `minicnn.kernels.depthwise` wants it.

    Pixels that see through the same places of the window are a group: `groups` holds of each where
    its pixels and its taps begin and end; the others are the lists that these are parts of.
    `around` is the window of one pixel that goes over an image and the zeros it needs around it.
    """

    around: Window
    groups: Indices
    corners: Indices
    targets: Indices
    taps: Indices
    places: Indices


class TapGroup(NamedTuple):
    """Pixels along an axis that see through the same places.

    Pixel ``targets[i]`` sees pixel ``corners[i] + taps[j]`` through ``places[j]``.
    """

    targets: Indices
    corners: Indices
    taps: Indices
    places: Indices


@lru_cache(maxsize=256)
def forward_taps(window: Window, H: int, W: int, C: int) -> Taps:
    """List which pixels of x each pixel of y reads, for images (H, W, C)."""
    KH, KW, SH, SW, top, left, OH, OW = window
    rows = [(oh, oh * SH - top + kh, kh) for oh, kh in product(range(OH), range(KH))]
    columns = [(ow, ow * SW - left + kw, kw) for ow, kw in product(range(OW), range(KW))]
    return _taps((H, W, C), (OH, OW), (rows, columns), KW)


@lru_cache(maxsize=256)
def backward_taps(window: Window, H: int, W: int, C: int) -> Taps:
    """List which pixels of dy each pixel of dx reads, for images (H, W, C)."""
    KH, KW, SH, SW, top, left, OH, OW = window
    rows = [
        (h, (h + top - kh) // SH, kh)
        for h, kh in product(range(H), range(KH))
        if (h + top - kh) % SH == 0
    ]
    columns = [
        (w, (w + left - kw) // SW, kw)
        for w, kw in product(range(W), range(KW))
        if (w + left - kw) % SW == 0
    ]
    return _taps((OH, OW, C), (H, W), (rows, columns), KW)


def _taps(source: Shape, target: Shape, seen: tuple[AxisTaps, AxisTaps], KW: int) -> Taps:
    """List how pixels (H, W) see images (H, W, C): what is outside, not at all or as zeros."""
    rows, columns = (
        [one for one in along if 0 <= one[1] < size]
        for along, size in zip(seen, source[:2], strict=True)
    )
    inside = _lists(source, target, (rows, columns), KW)
    if len(inside.corners) >= MIN_GROUP_PIXELS * len(inside.groups):
        return inside
    return _lists(source, target, seen, KW)


def _lists(source: Shape, target: Shape, seen: tuple[AxisTaps, AxisTaps], KW: int) -> Taps:
    C, OW = source[2], target[1]
    (top, height, rows), (left, width, columns) = map(_along_axis, source[:2], target, seen)
    row = width * C
    parts = [
        (
            outer_sum(down.corners * row, right.corners * C),
            outer_sum(down.targets * OW * C, right.targets * C),
            outer_sum(down.taps * row, right.taps * C),
            outer_sum(down.places * KW, right.places),
        )
        for down, right in product(rows, columns)
    ]
    ends = np.cumsum([(0, 0), *((len(part[0]), len(part[2])) for part in parts)], axis=0)
    groups = np.column_stack([ends[:-1, 0], ends[1:, 0], ends[:-1, 1], ends[1:, 1]])
    return Taps(
        Window(1, 1, 1, 1, top, left, height, width),
        np.ascontiguousarray(groups),
        *(np.concatenate(part) for part in zip(*parts, strict=True)),
    )


def _along_axis(size: int, targets: int, seen: AxisTaps) -> tuple[int, int, list[TapGroup]]:
    """Return how many zeros stand in front, the length with all zeros, and the groups."""
    sources = [source for _, source, _ in seen]
    before = max(0, -min(sources, default=0))
    length = before + max(size, max(sources, default=0) + 1)
    pairs: list[list[tuple[int, int]]] = [[] for _ in range(targets)]
    for target, source, place in seen:
        pairs[target].append((source + before, place))
    alike: dict[tuple[int, ...], list[int]] = {}
    for target, one in enumerate(pairs):
        alike.setdefault(tuple(place for _, place in one), []).append(target)
    groups = []
    for places, pixels in alike.items():
        corners = [pairs[target][0][0] if places else 0 for target in pixels]
        taps = [source - corners[0] for source, _ in pairs[pixels[0]]]
        lists = pixels, corners, taps, places
        groups.append(TapGroup(*(np.array(numbers, np.int64) for numbers in lists)))
    return before, length, groups
