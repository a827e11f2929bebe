"""What a model demands of images and labels, and the messages where they do not fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.shapes.checks import FloatArray
from minicnn.shapes.windows import Shape


def check_pixels(where: str, images: object) -> None:
    """Check that `images` is an array of pixels, and not empty.

    Parameters
    ----------
    where : str
        Name of the class that asks, for the messages.
    images : object
        What was given.

    Raises
    ------
    TypeError
        If it is no array, or neither uint8 nor float.
    ValueError
        If it has no elements.
    """
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"{where}: images must be a NumPy array, not {type(images).__name__}; "
            f"np.asarray may turn it into one"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(
            f"{where}: images must be uint8 (0 to 255) or float (0 to 1), not {images.dtype}; "
            f"images.astype(np.uint8) if the pixels are 0 to 255"
        )
    if images.size == 0:
        raise ValueError(f"{where}: images is empty (shape {images.shape})")


def check_pixel_range(where: str, images: FloatArray) -> None:
    """Check that every pixel of float images lies in 0..1, up to rounding.

    Parameters
    ----------
    where : str
        Name of the class that asks, for the message.
    images : ndarray of float (N, H, W, C)

    Raises
    ------
    ValueError
        If one does not, or is NaN.
    """
    low, high = -1e-6, 1 + 1e-6
    if not (images.min() >= low and images.max() <= high):  # NaN is neither
        first = np.argwhere(~((images >= low) & (images <= high)))[0]
        raise ValueError(
            f"{where}: pixels of float images must lie in 0..1, but image {first[0]} holds "
            f"{images[tuple(first)]}; pass uint8 images, or divide by 255"
        )


def check_scaling(mean: float, std: float) -> tuple[float, float]:
    """Check what a model subtracts from pixels, and what it divides them by.

    Parameters
    ----------
    mean, std : float

    Returns
    -------
    mean, std : float

    Raises
    ------
    ValueError
        If one is not finite, or `std` not above 0.
    """
    if not (np.isfinite(mean) and 0 < std < np.inf):
        raise ValueError(
            f"Sequential: input_mean must be finite and input_std above 0, not {mean!r} and {std!r}"
        )
    return float(mean), float(std)


def as_batch(where: str, images: NDArray[Any], input_shape: Shape) -> tuple[NDArray[Any], bool]:
    """Return images with all four axes.

    Parameters
    ----------
    where : str
        Name of the class that asks, for the messages.
    images : ndarray (N, H, W, C) or (H, W, C); without C where the model has one channel
    input_shape : tuple of int
        ``(H, W, C)`` of the model.

    Returns
    -------
    images : ndarray (N, H, W, C)
    single : bool
        Whether it was a single one.

    Raises
    ------
    TypeError, ValueError
        As `check_pixels`, and if the shape does not fit.
    """
    check_pixels(where, images)
    H, W, C = input_shape
    single = images.shape == (H, W, C) or (C == 1 and images.shape == (H, W))
    count = 1 if single else len(images)
    if not single and images.shape[1:] != (H, W, C) and (C > 1 or images.shape[1:] != (H, W)):
        wanted = f"({H}, {W}, {C}) or (N, {H}, {W}, {C})"
        if C == 1:
            wanted = f"({H}, {W}), (N, {H}, {W}), {wanted}"
        raise ValueError(
            f"{where}: images have shape {images.shape}, but the model takes {wanted}; if the "
            f"pixels are all there, images.reshape(-1, {H}, {W}, {C}) brings them into form"
        )
    return images.reshape(count, H, W, C), single


def check_labels(
    where: str, labels: object, count: int, num_classes: int, name: str = "labels"
) -> None:
    """Check integer class labels.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    labels : object
        What was given; wanted is an integer array ``(count,)`` of values in
        ``0 .. num_classes - 1``.
    count : int
        How many labels there must be.
    num_classes : int
        How many classes there are.
    name : str
        Name of the argument.

    Raises
    ------
    TypeError
        If `labels` is no integer array.
    ValueError
        If there are more or fewer than `count`, or one is out of range.
    """
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        given = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        raise TypeError(f"{where}: {name} must be an integer array, not {given}")
    if labels.shape != (count,):
        raise ValueError(
            f"{where}: {name} must have shape ({count},), one for each image, not {labels.shape}"
        )
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"{where}: {name} must lie in 0..{num_classes - 1}, "
            f"but {name}[{first}] is {labels[first]}"
        )


def check_probability_rows(
    where: str, rows: NDArray[Any], shape: Sequence[int], name: str = "label row"
) -> None:
    """Check that each row is a probability distribution over the classes.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    rows : ndarray (N, classes)
        What was given.
    shape : sequence of int
        The shape wanted.
    name : str
        What a row is called in the message.

    Raises
    ------
    ValueError
        If the shape differs, an element is negative or not finite, or a row does not sum to 1
        within 1e-4 (float32 rounding is far below, a forgotten class far above).
    """
    if rows.shape != tuple(shape):
        raise ValueError(
            f"{where}: label rows must have shape {tuple(shape)} like the logits, not {rows.shape}"
        )
    with np.errstate(invalid="ignore"):  # ∞ - ∞ is NaN, and that is no distribution
        sums = rows.sum(axis=1)
    wrong = np.flatnonzero(~((rows >= 0).all(axis=1) & (abs(sums - 1) < 1e-4)))
    if wrong.size:
        first = wrong[0]
        raise ValueError(
            f"{where}: each {name} must be probabilities that sum to 1, but row {first} is "
            f"{rows[first].tolist()}"
        )


def class_names(where: str, names: Sequence[str] | None, classes: int) -> list[str]:
    """Return one name for each class: those given, or their numbers.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    names : sequence of str, or None
        What was given.
    classes : int
        How many classes there are.

    Returns
    -------
    list of str

    Raises
    ------
    TypeError
        If a name is no text.
    ValueError
        If there are more or fewer names than classes.
    """
    if names is None:
        return [str(number) for number in range(classes)]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{where}: class_names must be texts, but one is {name!r}")
    if len(names) != classes:
        raise ValueError(
            f"{where}: class_names must be {classes}, one for each class, not {len(names)}"
        )
    return list(names)
