"""What batch normalisation demands of its arrays and numbers."""

from math import inf, prod

import numpy as np

from minicnn.shapes.checks import FloatArray, check_array, check_float, check_same_dtype
from minicnn.shapes.windows import Shape


def check_batch_norm(where: str, x: FloatArray, epsilon: float, **channels: FloatArray) -> int:
    """Return how many numbers of x each channel has, if x and the arrays by channel fit.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    x : ndarray (N, H, W, C) or (N, C)
    epsilon : float
    **channels : ndarray (C,)
        The arrays with one number for each channel, under the names of their arguments.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        With the argument's name, what was given and what is wanted.
    """
    check_float(where, "x", x)
    if x.ndim not in (2, 4):
        raise ValueError(
            f"{where}: x must be images (N, H, W, C) or rows (N, C), not of shape {x.shape}"
        )
    check_array(where, "x", x, "N C" if x.ndim == 2 else "N H W C")
    for name, array in channels.items():
        check_array(where, name, array, "C")
        if array.shape[0] != x.shape[-1]:
            raise ValueError(
                f"{where}: {name} has {array.shape[0]} elements but x has {x.shape[-1]} channels "
                f"({name} {array.shape}, x {x.shape})"
            )
    check_same_dtype(where, x=x, **channels)
    positive_number(where, "epsilon", epsilon)
    return prod(x.shape[:-1])


def check_norm_shape(where: str, shape: Shape) -> int:
    """Return the number of channels if batch normalisation can take such an input.

    Parameters
    ----------
    where : str
        Name of the layer that asks, for the message.
    shape : tuple of int
        Shape of one image.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is neither an image nor a row.
    """
    if len(shape) not in (1, 3):
        raise ValueError(
            f"{where}: needs images (H, W, C) or one row for each, but its input has shape {shape}"
        )
    return shape[-1]


def positive_number(where: str, name: str, value: object, most: float = inf) -> float:
    """Return `value` as a float above 0, finite and not above `most`.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the messages.
    name : str
        Name of the argument.
    value : object
        What was given.
    most : float

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is out of range.
    """
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        raise TypeError(f"{where}: {name} must be a number, not {value!r}")
    number = float(value)
    if not (0 < number <= most and number < inf):  # nor NaN
        limit = "finite" if most == inf else f"at most {most:g}"
        raise ValueError(f"{where}: {name} must be above 0 and {limit}, not {value!r}")
    return number
