"""Argument checks: an error states the name, the value and the fix.

`op` is the name of the function or class in the message.
"""

from collections.abc import Sequence
from operator import index
from reprlib import repr as short_repr
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minicnn.shapes import FLOAT_DTYPES, Array, Shape, memoize_by_shape

LARGEST_INT = 2**31 - 1  # of a size: the product of two then fits into 64 bits


def positive_int(
    op: str, name: str, value: Any, minimum: int = 1, maximum: int = LARGEST_INT
) -> int:
    """Return `value` as an int of at least `minimum` and at most `maximum`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be a whole number, not {value!r}") from None
    if not minimum <= number <= maximum:
        bound = f"at least {minimum}" if number < minimum else f"at most {maximum:,}"
        raise ValueError(f"{op}: {name} must be {bound}, not {short_repr(number)}")
    return number


def as_pair(op: str, name: str, value: object, minimum: int) -> tuple[int, int]:
    """Return an int as a pair (vertical, horizontal), and a pair as it is."""
    items = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(items) != 2:
        raise ValueError(
            f"{op}: {name} must be a whole number or a pair (vertical, horizontal), not {value!r}"
        )
    down, right = (positive_int(op, name, item, minimum) for item in items)
    return down, right


def check_number(op: str, name: str, value: Any) -> float:
    """Return `value` as a float."""
    try:
        if isinstance(value, (bool, np.bool_, str)):
            raise TypeError
        return float(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be a number, not {value!r}") from None


def check_range(op: str, name: str, value: Any, high: float = np.inf) -> float:
    """Return `value` as a float with ``0 <= value < high``."""
    number = check_number(op, name, value)
    if not 0 <= number < high:  # False for NaN too
        wanted = f"at least 0 and below {high:g}" if high < np.inf else "0 or more, and finite"
        raise ValueError(f"{op}: {name} must be {wanted}, not {value!r}")
    return number


def check_bool(op: str, name: str, value: object) -> None:
    """Raise TypeError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{op}: {name} must be True or False, not {value!r}")


def check_float(op: str, name: str, array: object) -> None:
    """Raise TypeError unless `array` is an ndarray of float32 or float64."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{op}: {name} must be a NumPy array, not {type(array).__name__}")
    if array.dtype not in FLOAT_DTYPES:
        raise TypeError(
            f"{op}: {name} must be float32 or float64, not {array.dtype}; "
            f"cast it with {name}.astype(np.float32), or images with model.preprocess(images)"
        )


def check_array(op: str, name: str, array: Array, axes: str) -> None:
    """Check for a non-empty float array with axes such as "N C | N H W C"."""
    check_float(op, name, array)
    forms = [form.split() for form in axes.split(" | ")]
    if array.ndim not in map(len, forms):
        wanted = " or ".join(f"{len(form)} axes ({', '.join(form)})" for form in forms)
        raise ValueError(f"{op}: {name} must have {wanted}, not {array.ndim} (shape {array.shape})")
    if array.size == 0:
        fix = "; give at least one image" if axes.startswith("N") else ""
        raise ValueError(f"{op}: {name} is empty (shape {array.shape}){fix}")


def check_same_dtype(op: str, **arrays: Array) -> None:
    """Raise TypeError unless all arrays have the dtype of the first."""
    (first, reference), *others = arrays.items()
    for name, array in others:
        if array.dtype != reference.dtype:
            raise TypeError(
                f"{op}: {name} is {array.dtype} but {first} is {reference.dtype}; "
                f"cast one with .astype(np.{reference.dtype})"
            )


def check_dy(
    op: str, dy: object, shape: Shape, dtype: DTypeLike, name: str = "dy", like: str = "output"
) -> None:
    """Check that `dy` has the shape and dtype of the output."""
    if not isinstance(dy, np.ndarray):
        raise TypeError(f"{op}: {name} must be a NumPy array, not {type(dy).__name__}")
    if dy.shape != shape:
        raise ValueError(f"{op}: {name} has shape {dy.shape} but the {like} has {shape}")
    if dy.dtype != dtype:
        raise TypeError(f"{op}: {name} is {dy.dtype} but the {like} is {np.dtype(dtype)}")


def check_out(op: str, out: object, sizes: tuple[Shape, ...], dtype: DTypeLike) -> None:
    """Check that `out` is a tuple of C-ordered arrays of these shapes."""
    if not isinstance(out, tuple) or [type(array) for array in out] != [np.ndarray] * len(sizes):
        raise TypeError(f"{op}: out must be a tuple of {len(sizes)} NumPy arrays")
    for array, size in zip(out, sizes, strict=True):
        check_dy(op, array, size, dtype, "each array of out", "gradient")
        if not array.flags.c_contiguous:
            raise ValueError(f"{op}: out must be in C order, as np.empty makes it")


def check_image_shape(op: str, shape: Shape) -> tuple[int, int, int]:
    """Return (H, W, C) if a layer's input is an image."""
    if len(shape) != 3:
        raise ValueError(
            f"{op}: needs images (H, W, C), but its input has shape {shape}; "
            f"it must stand before Flatten and Dense"
        )
    H, W, C = shape
    return H, W, C


def check_flat_shape(op: str, shape: Shape) -> int:
    """Return the number of features if a layer's input is a row."""
    if len(shape) != 1:
        raise ValueError(
            f"{op}: needs one row for each image, but its input has shape {shape}; "
            f"put Flatten() before it"
        )
    return shape[0]


@memoize_by_shape
def check_weight(
    op: str, x_axes: str, weight_axes: str, x: Array, weight: Array, bias: Array
) -> None:
    """Check that x, weight and bias have the named axes and fit each other."""
    check_array(op, "x", x, x_axes)
    check_array(op, "weight", weight, weight_axes)
    check_array(op, "bias", bias, weight_axes.split()[-1])
    check_same_dtype(op, x=x, weight=weight, bias=bias)
    # The weight's input axis follows the kernel's axes, which are those of x between N and C.
    given, wanted = x.shape[-1], weight.shape[x.ndim - 2]
    if given != wanted:
        raise ValueError(
            f"{op}: x has {given} {'channels' if x.ndim == 4 else 'features'} but weight expects "
            f"{wanted} (x {x.shape}, weight {weight.shape})"
        )
    if bias.shape[0] != weight.shape[-1]:
        raise ValueError(
            f"{op}: bias has {bias.shape[0]} elements but weight gives {weight.shape[-1]} "
            f"outputs (bias {bias.shape}, weight {weight.shape})"
        )


def float_dtype(op: str, dtype: DTypeLike) -> np.dtype[np.floating[Any]]:
    """Return `dtype` if it is float32 or float64."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found not in FLOAT_DTYPES:
        raise TypeError(f"{op}: dtype must be float32 or float64, not {found}")
    return found


def check_pixels(op: str, images: object) -> None:
    """Raise unless `images` is a non-empty array of uint8 or float."""
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"{op}: images must be a NumPy array, not {type(images).__name__}; "
            f"np.asarray turns lists into one, minicnn.to_mnist_format a picture of a digit"
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(
            f"{op}: images must be uint8 (0 to 255) or float (0 to 1), not {images.dtype}; "
            f"images.astype(np.uint8) if the pixels are 0 to 255, else divide by the value of "
            f"white, as in images / 1 for pixels of 0 and 1"
        )
    if images.size == 0:
        raise ValueError(f"{op}: images is empty (shape {images.shape})")


def check_pixel_range(op: str, images: Array) -> None:
    """Raise ValueError unless all pixels of float images lie in 0..1."""
    low, high = -1e-6, 1 + 1e-6
    if not (images.min() >= low and images.max() <= high):  # NaN is neither
        first = np.argwhere(~((images >= low) & (images <= high)))[0]
        pixel = images[tuple(first)]
        if not np.isfinite(pixel):
            fix = "replace it by a number"
        elif pixel < low:
            fix = "the model standardizes pixels itself, so pass them as they were before"
        else:
            fix = "pass uint8 images, or divide by the value of white, such as 255"
        raise ValueError(
            f"{op}: pixels of float images must lie in 0..1, but image {first[0]} holds {pixel}; "
            f"{fix}"
        )


def check_brightness(op: str, images: Array) -> None:
    """Raise ValueError if images of another range are nearly black."""
    full = 255 if images.dtype == np.uint8 else 1
    dark = 16 / 255 * full  # nobody sees ink so dark; 0 is a black image
    # One bright image is enough, and usually the first one is.
    if images[:1].max() <= dark and 0 < (top := images.max()) <= dark:
        raise ValueError(
            f"{op}: {images.dtype} images must have pixels 0 to {full}, but the largest of all is "
            f"{top:.3g}; scale them, as in images / images.max()"
        )


def check_input(
    shape: Any, mean: float, std: float, dtype: np.dtype[Any]
) -> tuple[Shape, float, float]:
    """Return input_shape, input_mean and input_std of a `Sequential`."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"Sequential: input_shape must be (H, W, C), not {shape!r}")
    mean = check_number("Sequential", "input_mean", mean)
    std = check_number("Sequential", "input_std", std)
    with np.errstate(all="ignore"):
        scaled = (np.array([0, 1], dtype) - dtype.type(mean)) / dtype.type(std)
    if not (0 < std < np.inf and np.isfinite(scaled).all()):
        raise ValueError(
            f"Sequential: input_mean and input_std must scale 0..1 to finite numbers in {dtype}, "
            f"with input_std above 0, not {mean!r} and {std!r}"
        )
    H, W, C = (positive_int("Sequential", "input_shape", axis) for axis in shape)
    return (H, W, C), mean, std


def as_batch(op: str, images: NDArray[Any], input_shape: Shape) -> NDArray[Any]:
    """Check one image or a batch, pixels too; return it as (N, H, W, C)."""
    check_pixels(op, images)
    H, W, C = input_shape
    forms = [(H, W), (H, W, C)] if C == 1 else [(H, W, C)]
    single = images.shape in forms
    if not single and images.shape[1:] not in forms:
        wanted, fix = ", ".join(f"{form} or (N, {str(form)[1:]}" for form in forms), ""
        if images.shape[-3:] == (C, H, W):
            fix = "; the channels come first: np.moveaxis(images, -3, -1) puts them last"
        elif images.shape[-1] == H * W and C == 1:  # with more channels their order is unknown
            fix = f"; images.reshape(-1, {H}, {W}) makes images of rows of pixels"
        raise ValueError(
            f"{op}: images have shape {images.shape}, but the model takes {wanted}{fix}"
        )
    batch = images.reshape(1 if single else len(images), H, W, C)
    if batch.dtype != np.uint8:
        check_pixel_range(op, batch)
    return batch


def check_labels(
    op: str, labels: object, count: int, num_classes: int, name: str = "labels"
) -> None:
    """Check for an integer array (count,) in ``0 .. num_classes - 1``."""
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        given = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        raise TypeError(f"{op}: {name} must be an integer array, not {given}")
    if labels.shape != (count,):
        raise ValueError(
            f"{op}: {name} must have shape ({count},), one for each image, not {labels.shape}"
        )
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"{op}: {name} must lie in 0..{num_classes - 1}, but {name}[{first}] is {labels[first]}"
        )


def check_probability_rows(
    op: str, rows: NDArray[Any], shape: Sequence[int], name: str = "label row"
) -> None:
    """Check that each row is a probability distribution.

    Rows may miss a sum of 1 by 1e-4: float32 rounding is far below, a forgotten class far above.
    """
    if rows.shape != tuple(shape):
        raise ValueError(
            f"{op}: label rows must have shape {tuple(shape)} like the logits, not {rows.shape}"
        )
    with np.errstate(invalid="ignore"):  # ∞ - ∞ is NaN, and that is no distribution
        sums = rows.sum(axis=1)
    wrong = np.flatnonzero(~((rows >= 0).all(axis=1) & (abs(sums - 1) < 1e-4)))
    if wrong.size:
        first = wrong[0]
        raise ValueError(
            f"{op}: each {name} must be probabilities that sum to 1, but row {first} is "
            f"{rows[first].tolist()}"
        )


def check_class_names(op: str, names: Sequence[str] | None, classes: int) -> list[str]:
    """Return one name per class: those given, or the class numbers."""
    if names is None:
        return [str(number) for number in range(classes)]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{op}: class_names must be texts, but one is {name!r}")
    if len(names) != classes:
        raise ValueError(
            f"{op}: class_names must be {classes}, one for each class, not {len(names)}"
        )
    return list(names)


@memoize_by_shape
def check_channels(
    op: str, name: str, axes: str, array: Array, epsilon: float, **channels: Array
) -> None:
    """Check an array, and arrays with one element for each of its channels."""
    check_array(op, name, array, axes)
    C = array.shape[-1]
    for other, numbers in channels.items():
        check_array(op, other, numbers, "C")
        if numbers.shape[0] != C:
            raise ValueError(
                f"{op}: {other} has {numbers.shape[0]} elements but {name} has {C} channels "
                f"({other} {numbers.shape}, {name} {array.shape})"
            )
    check_same_dtype(op, **{name: array}, **channels)
    check_range(op, "epsilon", epsilon)


def check_norm_shape(op: str, shape: Shape) -> int:
    """Return the channels of a layer's input, an image or a row."""
    if len(shape) not in (1, 3):
        raise ValueError(
            f"{op}: needs images (H, W, C) or one row for each, but its input has shape {shape}"
        )
    return shape[-1]


def check_residual(layers: Shape, shortcut: Shape) -> Shape:
    """Return the shape of layers plus shortcut, which must be equal."""
    if layers != shortcut:
        raise ValueError(
            f"Residual: the layers give {layers} but the shortcut {shortcut}, which cannot be "
            f"added; a shortcut such as [Conv2D(filters, 1, stride)] can change its shape"
        )
    return layers


def check_concat(op: str, found: Sequence[Shape]) -> Shape:
    """Return the shape of concatenated branches; only channels may differ."""
    if not found:
        raise ValueError(f"{op}: give at least one branch")
    if len({shape[:-1] for shape in found}) > 1:
        shown = ", ".join(map(str, found))
        raise ValueError(f"{op}: only the last axis, the channels, may differ, not {shown}")
    return *found[0][:-1], sum(shape[-1] for shape in found)


def check_sum(a: Array, b: Array) -> None:
    """Check for two float arrays of one shape and dtype."""
    check_parts("add", a=a, b=b)
    if a.shape != b.shape:
        raise ValueError(f"add: a and b must have the same shape, not {a.shape} and {b.shape}")


def check_parts(op: str, **parts: Array) -> None:
    """Check that arrays are float32 or float64 and of one dtype."""
    for name, part in parts.items():
        check_float(op, name, part)
    check_same_dtype(op, **parts)


def check_dropout(x: Array, rate: object, images: int) -> float:
    """Return the rate if x is a float array of as many images as the key."""
    check_float("dropout", "x", x)
    if x.shape[:1] != (images,) or x.size == 0:
        raise ValueError(f"dropout: RandomKey has {images} image_ids, but x has shape {x.shape}")
    return check_range("dropout", "rate", rate, high=1)
