"""What batch normalisation demands of its arrays and numbers."""

from math import prod

from minicnn.shapes.checks import FloatArray, check_array, check_float, check_same_dtype
from minicnn.shapes.numbers import number_in
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
    _check_channels(where, "x", x, epsilon, channels)
    return prod(x.shape[:-1])


def check_fold(where: str, weight: FloatArray, epsilon: float, **channels: FloatArray) -> None:
    """Check what is to be folded into a layer's weight.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    weight : ndarray (..., F)
    epsilon : float
    **channels : ndarray (F,)
        The arrays with one number for each output, under the names of their arguments.

    Raises
    ------
    TypeError, ValueError
        With the argument's name, what was given and what is wanted.
    """
    check_float(where, "weight", weight)
    if weight.ndim < 2:
        raise ValueError(
            f"{where}: weight must have at least 2 axes (..., F), not {weight.ndim} "
            f"(shape {weight.shape})"
        )
    _check_channels(where, "weight", weight, epsilon, channels)


def _check_channels(
    where: str, name: str, array: FloatArray, epsilon: float, channels: dict[str, FloatArray]
) -> None:
    """Check that there is one number for each channel of an array, which its last axis counts."""
    C = array.shape[-1]
    for other, numbers in channels.items():
        check_array(where, other, numbers, "C")
        if numbers.shape[0] != C:
            raise ValueError(
                f"{where}: {other} has {numbers.shape[0]} elements but {name} has {C} channels "
                f"({other} {numbers.shape}, {name} {array.shape})"
            )
    check_same_dtype(where, **{name: array}, **channels)
    number_in(where, "epsilon", epsilon)


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
