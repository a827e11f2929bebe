"""Check answers to exercises and explain what is wrong with them.

An answer is called with random arguments of several shapes and compared with the library's result.
If it returns the values of a common mistake, the mistake is named.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

Function = Callable[..., Any]
Arguments = dict[str, Any]


class Exercise(NamedTuple):
    """A function to write, with its test cases.

    `cases` draws the arguments of several calls, and `right` computes the correct results.
    `results` names them if there are several. `mistakes` maps a hint to a wrong function. `also`
    examines the arguments after a call with correct results and returns another fault.
    """

    cases: Callable[[Generator], Iterator[Arguments]]
    right: Function
    mistakes: Mapping[str, Function]
    results: tuple[str, ...] = ()
    also: Callable[[Arguments], str] = lambda arguments: ""


def verdict(answer: Function, exercise: Exercise) -> str:
    """Return the fault of an answer, or an empty string."""
    for arguments in exercise.cases(np.random.default_rng(1)):
        given = deepcopy(arguments)
        try:
            with np.errstate(all="ignore"):  # an overflow shows in the result
                found = answer(**given)
        except NotImplementedError:
            return f"{answer.__name__} is still to be written"
        except Exception as error:  # a reader's code can raise anything
            return f"{_call(answer, arguments)} raises {type(error).__name__}: {error}"
        wrong = _difference(found, exercise.right(**arguments), exercise.results)
        if wrong:
            hints = _mistakes_made(found, exercise, arguments)
            return " ".join([f"{_call(answer, arguments)}: {wrong}.", *hints])
        for name, value in arguments.items():
            if not _same(given[name], value):
                return f"{answer.__name__} writes into its argument {name}; make a new array"
        wrong = exercise.also(given)
        if wrong:
            return f"{_call(answer, arguments)}: {wrong}"
    return ""


def _call(answer: Function, arguments: Arguments) -> str:
    """Format a call: numbers as they are, large arrays by shape."""
    shown = [f"{name}={_shown(value)}" for name, value in arguments.items()]
    return f"{answer.__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array {value.shape}" if value.size > 6 else str(value.round(4).tolist())
    return str(value)


def _difference(found: Any, wanted: Any, results: tuple[str, ...]) -> str:
    """Return the difference of the first wrong result."""
    if found is None:
        return "it returns nothing"
    if not results:
        return _array_difference("the result", found, wanted)
    if not isinstance(found, (tuple, list)) or len(found) != len(results):
        return f"it should return {', '.join(results)}"
    for name, *pair in zip(results, found, wanted, strict=True):
        wrong = _array_difference(name, *pair)
        if wrong:
            return wrong
    return ""


def _array_difference(name: str, found: Any, wanted: Any) -> str:
    try:
        found = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        return f"{name} should be numbers, not {type(found).__name__}"
    wanted = np.asarray(wanted, np.float64)
    if found.shape != wanted.shape:
        return f"{name} has shape {found.shape}, wanted is {wanted.shape}"
    if not found.ndim:
        return "" if _same(found, wanted) else f"{name} is {found:.6g}, wanted is {wanted:.6g}"
    differ = ~np.isclose(found, wanted, rtol=1e-6, atol=1e-12)
    if not differ.any():
        return ""
    place = tuple(int(axis) for axis in np.argwhere(differ)[0])
    return (
        f"{name} is wrong in {differ.sum()} of {differ.size} elements; at {list(place)} it is "
        f"{found[place]:.6g}, wanted is {wanted[place]:.6g}"
    )


def _same(found: Any, wanted: Any) -> bool:
    """Return whether all values are equal within rounding."""
    found, wanted = (np.asarray(value, np.float64) for value in (found, wanted))
    return found.shape == wanted.shape and np.allclose(
        found, wanted, rtol=1e-6, atol=1e-12, equal_nan=True
    )


def _mistakes_made(found: Any, exercise: Exercise, arguments: Arguments) -> Iterator[str]:
    """Yield the hint of each mistake with the same result."""
    for words, mistake in exercise.mistakes.items():
        # A mistake may fail for some shapes, and an answer may not be numeric.
        with suppress(TypeError, ValueError, IndexError), np.errstate(all="ignore"):
            made = mistake(**deepcopy(arguments))
            pairs = zip(found, made, strict=True) if exercise.results else [(found, made)]
            if all(_same(*pair) for pair in pairs):
                yield words
