"""What convolutions demand of their arguments, and the window that follows."""

from minicnn.shapes.checks import FloatArray, check_array, check_bias, check_same_dtype
from minicnn.shapes.windows import Window, window


def conv2d_window(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: object, padding: object
) -> Window:
    """Check the arguments of a convolution and work out its window.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    Window

    Raises
    ------
    TypeError, ValueError
        With the argument's name, what was given and what is wanted.
    """
    return _window("conv2d", x, weight, bias, "KH KW C F", stride, padding)


def depthwise_conv2d_window(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: object, padding: object
) -> Window:
    """Check the arguments of a depthwise convolution and work out its window.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C)
    bias : ndarray (C,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"

    Returns
    -------
    Window

    Raises
    ------
    TypeError, ValueError
        With the argument's name, what was given and what is wanted.
    """
    return _window("depthwise_conv2d", x, weight, bias, "KH KW C", stride, padding)


def _window(
    where: str,
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    axes: str,
    stride: object,
    padding: object,
) -> Window:
    """Check arguments whose weights have the axes named, and work out their window."""
    check_array(where, "x", x, "N H W C")
    check_array(where, "weight", weight, axes)
    check_array(where, "bias", bias, axes.split()[-1])
    check_same_dtype(where, x=x, weight=weight, bias=bias)
    if x.shape[3] != weight.shape[2]:
        raise ValueError(
            f"{where}: x has {x.shape[3]} channels but weight expects {weight.shape[2]} "
            f"(x {x.shape}, weight {weight.shape})"
        )
    check_bias(where, bias, weight)
    return window(where, x.shape[1:3], weight.shape[:2], stride, padding)
