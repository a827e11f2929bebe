"""What branches of a network demand of each other where they meet."""

from collections.abc import Sequence

from minicnn.shapes.checks import FloatArray, check_float, check_same_dtype
from minicnn.shapes.windows import Shape


def check_sum(where: str, a: Shape, b: Shape) -> Shape:
    """Check that two branches can be added.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the message.
    a, b : tuple of int
        What they give.

    Returns
    -------
    tuple of int
        The shape of the sum.

    Raises
    ------
    ValueError
        If they differ.
    """
    if a != b:
        raise ValueError(f"{where}: what is added must be of one shape, not {a} and {b}")
    return a


def check_residual(layers: Shape, shortcut: Shape) -> Shape:
    """Check that a residual and what goes past it can be added.

    Parameters
    ----------
    layers, shortcut : tuple of int
        What they give.

    Returns
    -------
    tuple of int
        The shape of the sum.

    Raises
    ------
    ValueError
        If they differ.
    """
    if layers != shortcut:
        raise ValueError(
            f"Residual: the layers give {layers} but the shortcut {shortcut}, which cannot be "
            f"added; a shortcut such as [Conv2D(filters, 1, stride)] can change its shape"
        )
    return layers


def check_concat(where: str, found: Sequence[Shape]) -> Shape:
    """Check that the channels of branches can be put side by side.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the message.
    found : sequence of tuple of int
        What they give; the channels are the last axis.

    Returns
    -------
    tuple of int
        What they give together.

    Raises
    ------
    ValueError
        If there are none, or they differ in more than their channels.
    """
    if not found:
        raise ValueError(f"{where}: give at least one branch")
    if len({shape[:-1] for shape in found}) > 1:
        shown = ", ".join(map(str, found))
        raise ValueError(f"{where}: only the last axis, the channels, may differ, not {shown}")
    return *found[0][:-1], sum(shape[-1] for shape in found)


def check_parts(where: str, **parts: FloatArray) -> None:
    """Check that arrays that meet are float32 or float64, and of one dtype.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    **parts : ndarray
        Each under the name of its argument.

    Raises
    ------
    TypeError
        If they are not.
    """
    for name, part in parts.items():
        check_float(where, name, part)
    check_same_dtype(where, **parts)
