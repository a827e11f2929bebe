"""What follows from the shapes of arrays alone is worked out once."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

Arguments = ParamSpec("Arguments")
Plan = TypeVar("Plan")

# Of each function so many answers are kept: more than a program has shapes.
MAX_ENTRIES = 256


def memoize_by_shape(function: Callable[Arguments, Plan]) -> Callable[Arguments, Plan]:
    """Let a function be called once for arrays of the same shapes and dtypes.

    A training step asks the same of the same few shapes over and over. What was returned is
    returned again; an error is raised anew each time.

    Parameters
    ----------
    function : callable
        Takes arrays, of which it sees no more than type, shape and dtype, and other values. It is
        called with positional arguments.

    Returns
    -------
    callable
    """
    known: dict[Any, tuple[Plan]] = {}

    @wraps(function)
    def kept(*arguments: Arguments.args, **nothing: Arguments.kwargs) -> Plan:
        key = tuple(
            [
                (type(a), a.shape, a.dtype) if isinstance(a, np.ndarray) else (type(a), a)
                for a in arguments
            ]
        )
        try:
            found = known.get(key)  # one look: another thread may clear all in the next moment
        except TypeError:  # such as a list, which cannot be looked up
            return function(*arguments, **nothing)
        if found is None:
            found = (function(*arguments, **nothing),)
            if len(known) >= MAX_ENTRIES:
                known.clear()
            known[key] = found
        return found[0]

    return kept
