"""What an operation demands of its arrays, and the messages where they do not fit."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.shapes.windows import Shape

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def check_float(where: str, name: str, array: object) -> None:
    """Check that `array` is a NumPy array of float32 or float64.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    name : str
        Name of the argument.
    array : object
        What was given.

    Raises
    ------
    TypeError
        If it is no NumPy array, or of another dtype.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{where}: {name} must be a NumPy array, not {type(array).__name__}")
    if array.dtype not in FLOAT_DTYPES:
        raise TypeError(
            f"{where}: {name} must be float32 or float64, not {array.dtype}; "
            f"cast it with {name}.astype(np.float32)"
        )


def check_array(where: str, name: str, array: FloatArray, axes: str) -> None:
    """Check that `array` is a non-empty float array with the axes named.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    name : str
        Name of the argument.
    array : ndarray
        What was given.
    axes : str
        The axes wanted, such as ``"N H W C"``.

    Raises
    ------
    TypeError
        As `check_float`.
    ValueError
        If it has another number of axes, or an axis of length 0.
    """
    check_float(where, name, array)
    wanted = axes.split()
    if array.ndim != len(wanted):
        raise ValueError(
            f"{where}: {name} must have {len(wanted)} axes ({', '.join(wanted)}), "
            f"not {array.ndim} (shape {array.shape})"
        )
    if array.size == 0:
        raise ValueError(f"{where}: {name} is empty (shape {array.shape}); give at least one image")


def check_same_dtype(where: str, **arrays: FloatArray) -> None:
    """Check that all arrays given by name have one dtype, that of the first.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the message.
    **arrays : ndarray
        The arrays, each under the name of its argument.

    Raises
    ------
    TypeError
        If two dtypes differ.
    """
    (first, reference), *others = arrays.items()
    for name, array in others:
        if array.dtype != reference.dtype:
            raise TypeError(
                f"{where}: {name} is {array.dtype} but {first} is {reference.dtype}; "
                f"cast one with .astype(np.{reference.dtype})"
            )


def check_gradient(where: str, dy: object, shape: Shape, dtype: DTypeLike) -> None:
    """Check that an upstream gradient fits the output that it belongs to.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    dy : object
        The upstream gradient that was given.
    shape : tuple of int
        Shape of the output.
    dtype : dtype
        Dtype of the output.

    Raises
    ------
    TypeError
        If `dy` is no array, or of another dtype.
    ValueError
        If its shape differs.
    """
    if not isinstance(dy, np.ndarray):
        raise TypeError(f"{where}: dy must be a NumPy array, not {type(dy).__name__}")
    if dy.shape != shape:
        raise ValueError(f"{where}: dy has shape {dy.shape} but the output has {shape}")
    if dy.dtype != dtype:
        raise TypeError(f"{where}: dy is {dy.dtype} but the output is {np.dtype(dtype)}")


def check_out(where: str, out: object, sizes: tuple[Shape, ...], dtype: DTypeLike) -> None:
    """Check that arrays to be overwritten are what a kernel writes into.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    out : object
        What was given: wanted is a tuple of arrays in C order.
    sizes : tuple of tuple of int
        The shape of each.
    dtype : dtype
        Of all.

    Raises
    ------
    TypeError
        If it is no tuple of so many arrays, or one is of another dtype.
    ValueError
        If a shape differs, or one is not in C order: a kernel would write into a copy.
    """
    if not isinstance(out, tuple) or [type(array) for array in out] != [np.ndarray] * len(sizes):
        raise TypeError(f"{where}: out must be a tuple of {len(sizes)} NumPy arrays")
    for array, size in zip(out, sizes, strict=True):
        if array.shape != size:
            raise ValueError(f"{where}: out has an array of shape {array.shape}, wanted is {size}")
        if array.dtype != dtype:
            raise TypeError(f"{where}: out is {array.dtype}, but the gradient is {np.dtype(dtype)}")
        if not array.flags.c_contiguous:
            raise ValueError(f"{where}: out must be in C order, as np.empty makes it")


def check_bias(where: str, bias: FloatArray, weight: FloatArray) -> None:
    """Check that `bias` has one element for each output of `weight`.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the message.
    bias : ndarray (F,)
    weight : ndarray (..., F)

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    if bias.shape[0] != weight.shape[-1]:
        raise ValueError(
            f"{where}: bias has {bias.shape[0]} elements but weight gives {weight.shape[-1]} "
            f"outputs (bias {bias.shape}, weight {weight.shape})"
        )


def check_image_shape(where: str, shape: Shape) -> tuple[int, int, int]:
    """Return ``(H, W, C)`` if that is what a layer gets.

    Parameters
    ----------
    where : str
        Name of the layer that asks, for the message.
    shape : tuple of int
        Shape of one image.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If the shape has not three axes.
    """
    if len(shape) != 3:
        raise ValueError(
            f"{where}: needs images (H, W, C), but its input has shape {shape}; "
            f"it must stand before Flatten and Dense"
        )
    H, W, C = shape
    return H, W, C


def check_flat_shape(where: str, shape: Shape) -> int:
    """Return the number of features if each image is one row.

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
        If the shape has more than one axis.
    """
    if len(shape) != 1:
        raise ValueError(
            f"{where}: needs one row for each image, but its input has shape {shape}; "
            f"put Flatten() before it"
        )
    return shape[0]


def check_dense(x: FloatArray, weight: FloatArray, bias: FloatArray) -> None:
    """Check the arguments of a dense layer.

    Parameters
    ----------
    x : ndarray (N, in)
    weight : ndarray (in, out)
    bias : ndarray (out,)

    Raises
    ------
    TypeError, ValueError
        With the argument's name, what was given and what is wanted.
    """
    check_array("dense", "x", x, "N in")
    check_array("dense", "weight", weight, "in out")
    check_array("dense", "bias", bias, "out")
    check_same_dtype("dense", x=x, weight=weight, bias=bias)
    if x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"dense: x has {x.shape[1]} features but weight expects {weight.shape[0]} "
            f"(x {x.shape}, weight {weight.shape})"
        )
    check_bias("dense", bias, weight)


def float_dtype(where: str, dtype: DTypeLike) -> np.dtype[np.floating[Any]]:
    """Return `dtype` if the library computes in it.

    Parameters
    ----------
    where : str
        Name of the class that asks, for the message.
    dtype : dtype
        What was given.

    Returns
    -------
    dtype

    Raises
    ------
    TypeError
        If it is neither float32 nor float64.
    """
    found: np.dtype[Any] = np.dtype(dtype)
    if found not in FLOAT_DTYPES:
        raise TypeError(f"{where}: dtype must be float32 or float64, not {found}")
    return found
