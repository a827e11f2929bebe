"""Padding, packing and window offsets: the preparations of a backend."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import copy, target
from minicnn.kernels.jit import device_function
from minicnn.kernels.simd import load_tail, store
from minicnn.runtime import arena
from minicnn.shapes import Array, IntArray, Shape
from minicnn.shapes.window import Window

Offsets = NDArray[np.int64]


def round_up(count: int, multiple: int) -> int:
    """Return `count` rounded up to a multiple."""
    return -(-count // multiple) * multiple


def outer_sum(rows: IntArray, columns: IntArray) -> Offsets:
    """Return ``rows[i] + columns[j]`` in row order."""
    return np.ascontiguousarray((rows[:, None] + columns).ravel(), dtype=np.int64)


@lru_cache(maxsize=256)
def grid_offsets(height: int, width: int, h_stride: int, w_stride: int) -> Offsets:
    """Return ``h · h_stride + w · w_stride`` of each point of a grid."""
    return outer_sum(np.arange(height) * h_stride, np.arange(width) * w_stride)


def receptive_size(window: Window) -> tuple[int, int]:
    """Return the rows and columns of the padded image that the windows cover."""
    KH, KW, SH, SW, _, _, OH, OW = window
    return (OH - 1) * SH + KH, (OW - 1) * SW + KW


def padded_shape(shape: Shape, window: Window) -> Shape | None:
    """Return (N, H', W', C) of padded images; None if no window needs it."""
    N, H, W, C = shape
    height, width = receptive_size(window)
    if window.top == 0 and window.left == 0 and height <= H and width <= W:
        return None
    return N, height, width, C


def pad_images(x: Array, window: Window) -> Array:
    """Return the padded images; `x` itself if no window needs padding."""
    shape = padded_shape(x.shape, window)
    if shape is None:
        return np.ascontiguousarray(x)
    padded: Array = arena.empty(shape, x.dtype)
    copy.pad_or_crop(np.ascontiguousarray(x), window.top, window.left, padded)
    return padded


def pad_channels(array: NDArray[Any], NR: int) -> NDArray[Any]:
    """Return an array (..., F) with F rounded up to a multiple of NR by zeros."""
    F = array.shape[-1]
    Fp = round_up(F, NR)
    if Fp == F:
        return np.ascontiguousarray(array)
    padded = arena.empty((*array.shape[:-1], Fp), array.dtype)
    copy.fill_zero(padded.reshape(-1))
    rows = np.ascontiguousarray(array).reshape(-1, F)
    copy.copy_columns(rows, 0, padded.reshape(-1, Fp), 0, F)
    return padded


def empty_panels(weight: Array) -> Array:
    """Return the array that `pack_weights` fills: (panels, 1 + K, NR)."""
    F = weight.shape[-1]
    NR = target.choose_nr(F)
    panels: Array = arena.empty((-(-F // NR), 1 + weight.size // F, NR), weight.dtype)
    return panels


@device_function
def pack_weights(weight: Array, bias: Array, panels: Array, NR: int) -> None:
    """Pack weights (..., F) into panels: row 0 is the bias, zeros pad F."""
    F, o = bias.size, 0
    for f in range(0, F, NR):
        store(panels, o, load_tail(bias, f, F - f, NR))
        for k in range(f, weight.size, F):
            o += NR
            store(panels, o, load_tail(weight, k, F - f, NR))
        o += NR
