"""Shape arithmetic and argument checks.

The symbols, one per axis or size. Kernels define further ones where they use them.

======  ================================================================
``N``   images in the batch
``H``   height of the input, in pixels
``W``   width of the input, in pixels
``C``   channels of the input
``KH``  height of the kernel or pooling window
``KW``  width of the kernel or pooling window
``SH``  stride downwards
``SW``  stride to the right
``OH``  height of the output
``OW``  width of the output
``F``   filters, the channels of the output
``K``   classes
``M``   values of a channel: N·H·W
``P``   parameters of a network
``S``   running statistics of a network
======  ================================================================

Images are ``(N, H, W, C)``, convolution weights ``(KH, KW, C, F)``, dense weights ``(in, out)``.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

Shape = tuple[int, ...]
Cache = tuple[Any, ...]  # of an op in `reference`
IntPair = int | tuple[int, int]
Padding = int | tuple[int, int] | str
Out = tuple[Array, Array] | None  # what a backward op overwrites with dweight and dbias

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MAX_ENTRIES = 256  # of each memoized function; more than a program has shapes


def _memo_key(value: Any) -> tuple[Any, ...]:
    """Return type and value, or shape: 3 and 3.0 are equal, also in a tuple."""
    if isinstance(value, tuple):
        return tuple(map(_memo_key, value))
    if isinstance(value, np.ndarray):
        return type(value), value.shape, value.dtype
    return type(value), value


def memoize_by_shape(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Memoize a function by the shapes and dtypes of its array arguments.

    It must not read array values. A training step calls it with the same few shapes; checking them
    again would take a tenth of a small op. Errors are raised again each time.
    """
    known: dict[Any, tuple[Result]] = {}

    @wraps(function)
    def memoized(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        key = tuple(kwargs), *map(_memo_key, args), *map(_memo_key, kwargs.values())
        try:
            entry = known.get(key)  # one lookup: another thread may clear the dict after it
        except TypeError:  # an unhashable argument, such as a list
            return function(*args, **kwargs)
        if entry is None:
            entry = (function(*args, **kwargs),)
            if len(known) >= MAX_ENTRIES:
                known.clear()
            known[key] = entry
        return entry[0]

    return memoized
