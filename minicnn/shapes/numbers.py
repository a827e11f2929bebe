"""Numbers, checked: whole ones, pairs of them, and those of a range; and flags."""

from operator import index
from typing import Any

import numpy as np

IntPair = int | tuple[int, int]


def positive_int(where: str, name: str, value: object) -> int:
    """Return `value` as an int of at least 1.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the message.
    name : str
        Name of the argument.
    value : object
        What was given.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `value` is not a whole number.
    ValueError
        If it is below 1.
    """
    number = _whole_number(where, name, value)
    if number < 1:
        raise ValueError(f"{where}: {name} must be at least 1, not {number}")
    return number


def _whole_number(where: str, name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{where}: {name} must be a whole number, not {value!r}")
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{where}: {name} must be a whole number, not {value!r}") from None


def int_pair(where: str, name: str, value: object, minimum: int) -> tuple[int, int]:
    """Return one whole number as a pair of equals, and a pair as it is.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the message.
    name : str
        Name of the argument.
    value : object
        What was given.
    minimum : int
        The smallest number allowed.

    Returns
    -------
    tuple of int
        ``(vertical, horizontal)``.

    Raises
    ------
    TypeError
        If an element is not a whole number.
    ValueError
        If there are not two, or one is below `minimum`.
    """
    items = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(items) != 2:
        raise ValueError(
            f"{where}: {name} must be a whole number or a pair (vertical, horizontal), "
            f"not {value!r}"
        )
    down, right = (_whole_number(where, name, item) for item in items)
    if min(down, right) < minimum:
        raise ValueError(f"{where}: {name} must be at least {minimum}, not {value!r}")
    return down, right


def number_in(where: str, name: str, value: Any, low: float = 0.0, high: float = np.inf) -> float:
    """Return `value` as a float of at least `low` and below `high`.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the message.
    name : str
        Name of the argument.
    value : object
        What was given.
    low, high : float

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If `value` is no number.
    ValueError
        If it is out of the range, or NaN.
    """
    try:
        if isinstance(value, (bool, np.bool_, str)):
            raise TypeError
        number = float(value)
    except TypeError:
        raise TypeError(f"{where}: {name} must be a number, not {value!r}") from None
    if not low <= number < high:  # False for NaN too
        within = f"lie in {low:g} .. {high:g}, below {high:g}"
        wanted = within if high < np.inf else f"be {low:g} or more, and finite"
        raise ValueError(f"{where}: {name} must {wanted}, not {value!r}")
    return number


def check_flag(where: str, name: str, value: object) -> None:
    """Check that `value` is True or False.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the message.
    name : str
        Name of the argument.
    value : object
        What was given.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{where}: {name} must be True or False, not {value!r}")
