"""Addition and concatenation: the forward/backward pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minicnn.kernels import copy
from minicnn.runtime import arena
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import check_concat, check_dy, check_parts, check_sum


class AddCache(NamedTuple):
    """Shape and dtype of the sum."""

    shape: Shape
    dtype: DTypeLike


class ConcatCache(NamedTuple):
    """Shape and dtype of the result, and the channels of each part."""

    shape: Shape
    dtype: DTypeLike
    channels: tuple[int, ...]


def add(a: Array, b: Array) -> tuple[Array, AddCache]:
    """Add two arrays: ``y = a + b``.

    Parameters
    ----------
    a, b : ndarray, of one shape
        float32 or float64.

    Returns
    -------
    y : ndarray, as `a`
    cache : AddCache

    Raises
    ------
    TypeError, ValueError
        If they differ in dtype or shape.
    """
    check_sum(a, b)
    y: Array = arena.empty(a.shape, a.dtype)
    copy.add_arrays(
        np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1), y.reshape(-1)
    )
    return y, AddCache(y.shape, y.dtype)


def add_backward(dy: Array, cache: AddCache) -> tuple[Array, Array]:
    """Compute the gradients of `add`: ``da = db = dy``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Addition and concatenation".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : AddCache

    Returns
    -------
    da, db : ndarray, as `dy`
        `dy` itself.

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    check_dy("add_backward", dy, cache.shape, cache.dtype)
    return dy, dy


def concat(parts: Sequence[Array]) -> tuple[Array, ConcatCache]:
    """Concatenate arrays along the last axis, the channels.

    Parameters
    ----------
    parts : sequence of ndarray (..., C_i)
        float32 or float64; only the last axis may differ.

    Returns
    -------
    y : ndarray (..., C), with ``C = Σ C_i``
    cache : ConcatCache

    Raises
    ------
    TypeError, ValueError
        If `parts` is empty, or the arrays do not match.
    """
    whole = check_concat("concat", [np.shape(part) for part in parts])
    check_parts("concat", **{f"parts[{n}]": part for n, part in enumerate(parts)})
    y: Array = arena.empty(whole, parts[0].dtype)
    rows, first = y.reshape(-1, whole[-1]), 0
    for part in parts:
        count = part.shape[-1]
        copy.copy_columns(np.ascontiguousarray(part).reshape(-1, count), 0, rows, first, count)
        first += count
    return y, ConcatCache(whole, y.dtype, tuple(part.shape[-1] for part in parts))


def concat_backward(dy: Array, cache: ConcatCache) -> tuple[Array, ...]:
    """Compute the gradients of `concat`: slices of dy along the channels.

    Derivation: minicnn/reference/DERIVATIONS.md, "Addition and concatenation".

    Parameters
    ----------
    dy : ndarray (..., C)
    cache : ConcatCache

    Returns
    -------
    tuple of ndarray (..., C_i)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    check_dy("concat_backward", dy, cache.shape, cache.dtype)
    rows = np.ascontiguousarray(dy).reshape(-1, cache.shape[-1])
    dparts, first = [], 0
    for count in cache.channels:
        dpart = arena.empty((*cache.shape[:-1], count), dy.dtype)
        copy.copy_columns(rows, first, dpart.reshape(-1, count), 0, count)
        dparts.append(dpart)
        first += count
    return tuple(dparts)
