"""Addition and concatenation in loops."""

from collections.abc import Sequence

import numpy as np

from minicnn.shapes import Array, Cache


def add(a: Array, b: Array) -> tuple[Array, Cache]:
    """Add two arrays: ``y = a + b``.

    Parameters
    ----------
    a, b : ndarray, of one shape

    Returns
    -------
    y : ndarray, as `a`
    cache : tuple
        Empty.
    """
    y = np.empty_like(a)
    for place in np.ndindex(a.shape):
        y[place] = a[place] + b[place]
    return y, ()


def add_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """Compute the gradients of `add`: ``da = db = dy``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Addition and concatenation".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : tuple
        From `add`.

    Returns
    -------
    da, db : ndarray, as `dy`
    """
    return dy.copy(), dy.copy()


def concat(parts: Sequence[Array]) -> tuple[Array, Cache]:
    """Concatenate arrays along the last axis, the channels.

    Parameters
    ----------
    parts : sequence of ndarray (..., C_i)

    Returns
    -------
    y : ndarray (..., C), with ``C = Σ C_i``
    cache : tuple
        ``(channels,)`` for `concat_backward`.
    """
    channels = [part.shape[-1] for part in parts]
    y = np.empty((*parts[0].shape[:-1], sum(channels)), parts[0].dtype)
    first = 0
    for part in parts:
        for place in np.ndindex(part.shape):
            y[(*place[:-1], first + place[-1])] = part[place]
        first += part.shape[-1]
    return y, (channels,)


def concat_backward(dy: Array, cache: Cache) -> list[Array]:
    """Compute the gradients of `concat`: slices of dy along the channels.

    Derivation: minicnn/reference/DERIVATIONS.md, "Addition and concatenation".

    Parameters
    ----------
    dy : ndarray (..., C)
    cache : tuple
        From `concat`.

    Returns
    -------
    list of ndarray (..., C_i)
    """
    (channels,) = cache
    dparts, first = [], 0
    for count in channels:
        dpart = np.empty((*dy.shape[:-1], count), dy.dtype)
        for place in np.ndindex(dpart.shape):
            dpart[place] = dy[(*place[:-1], first + place[-1])]
        dparts.append(dpart)
        first += count
    return dparts
