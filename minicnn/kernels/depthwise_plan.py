"""The lists of pixels and taps that the depthwise kernels walk."""

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.pack import outer_sum
from minicnn.shapes import Shape
from minicnn.shapes.window import Window

Offsets = NDArray[np.int64]

# Along an axis: (output pixel, input pixel, offset in the window).
AxisTaps = list[tuple[int, int, int]]

# Average pixels of a group below which padding the images is faster: the last microtile of each
# group is partly empty.
MIN_GROUP_PIXELS = 8


class Taps(NamedTuple):
    """The pixels of an image that each pixel of another one reads."""

    around: Window  # 1×1, over the image and the padding that the reads need
    tap_groups: Offsets  # (groups, 4): first and last pixel, first and last tap of each group
    origins: Offsets  # (pixels,) in the image that is read
    output_offsets: Offsets  # (pixels,)
    taps: Offsets  # (taps,) offset from the origin
    weight_rows: Offsets  # (taps,) row of the weights (KH * KW, C)


class AxisGroup(NamedTuple):
    """Pixels along an axis that read through the same offsets in the window.

    Pixel ``outputs[i]`` reads pixel ``origins[i] + taps[j]`` through ``window_offsets[j]``.
    """

    outputs: Offsets
    origins: Offsets
    taps: Offsets
    window_offsets: Offsets


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


def _taps(source: Shape, target: Shape, reads: tuple[AxisTaps, AxisTaps], KW: int) -> Taps:
    """List the reads of pixels (H, W) from images (H, W, C).

    Reads outside the image are dropped, or read padding if that would split the pixels into too
    small groups.
    """
    rows, columns = (
        [read for read in along if 0 <= read[1] < size]
        for along, size in zip(reads, source[:2], strict=True)
    )
    inside = _combine_axes(source, target, (rows, columns), KW)
    if len(inside.origins) >= MIN_GROUP_PIXELS * len(inside.tap_groups):
        return inside
    return _combine_axes(source, target, reads, KW)


def _combine_axes(source: Shape, target: Shape, reads: tuple[AxisTaps, AxisTaps], KW: int) -> Taps:
    """Combine each group of rows with each group of columns."""
    C, OW = source[2], target[1]
    (top, height, rows), (left, width, columns) = map(_group_axis, source[:2], target, reads)
    row_stride = width * C
    lists = [
        (
            outer_sum(row.origins * row_stride, column.origins * C),
            outer_sum(row.outputs * OW * C, column.outputs * C),
            outer_sum(row.taps * row_stride, column.taps * C),
            outer_sum(row.window_offsets * KW, column.window_offsets),
        )
        for row, column in product(rows, columns)
    ]
    ends = np.cumsum([(0, 0), *((len(group[0]), len(group[2])) for group in lists)], axis=0)
    tap_groups = np.column_stack([ends[:-1, 0], ends[1:, 0], ends[:-1, 1], ends[1:, 1]])
    return Taps(
        Window(1, 1, 1, 1, top, left, height, width),
        np.ascontiguousarray(tap_groups),
        *(np.concatenate(group) for group in zip(*lists, strict=True)),
    )


def _group_axis(size: int, outputs: int, reads: AxisTaps) -> tuple[int, int, list[AxisGroup]]:
    """Return the padding before an axis, its padded length, and the groups."""
    sources = [source for _, source, _ in reads]
    before = max(0, -min(sources, default=0))
    length = before + max(size, max(sources, default=0) + 1)
    by_output: list[list[tuple[int, int]]] = [[] for _ in range(outputs)]
    for output, source, offset in reads:
        by_output[output].append((source + before, offset))
    by_offsets: dict[tuple[int, ...], list[int]] = {}
    for output, pairs in enumerate(by_output):
        by_offsets.setdefault(tuple(offset for _, offset in pairs), []).append(output)
    groups = []
    for window_offsets, pixels in by_offsets.items():
        origins = [by_output[output][0][0] if window_offsets else 0 for output in pixels]
        taps = [source - origins[0] for source, _ in by_output[pixels[0]]]
        lists = pixels, origins, taps, window_offsets
        groups.append(AxisGroup(*(np.array(indices, np.int64) for indices in lists)))
    return before, length, groups
