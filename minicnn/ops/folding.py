"""Batch normalisation folded into the layer before it."""

import numpy as np

from minicnn import kernels, memory, shapes
from minicnn.memory import Request
from minicnn.shapes import FloatArray


def fold_batch_norm(
    weight: FloatArray,
    bias: FloatArray,
    norm_weight: FloatArray,
    norm_bias: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
    *,
    epsilon: float = 1e-5,
) -> tuple[FloatArray, FloatArray]:
    """Give a convolution or dense layer weights with which it normalises as well.

    With ``s = norm_weight / √(variance + ε)``, what the layer gives with ``weight · s`` and
    ``(bias - mean) · s + norm_bias`` is what `batch_norm_inference` makes of what it gives with
    `weight` and `bias`, but for rounding.

    Derivation: minicnn/reference/DERIVATIONS.md, "Folding a batch normalisation".

    Parameters
    ----------
    weight : ndarray (..., F)
        float32 or float64.
    bias : ndarray (F,)
    norm_weight, norm_bias, mean, variance : ndarray (F,)
        Of the normalisation.
    epsilon : float
        0 or more.

    Returns
    -------
    weight : ndarray (..., F)
    bias : ndarray (F,)

    Raises
    ------
    TypeError
        If an array is not float32 or float64, their dtypes differ, or ε is no number.
    ValueError
        If shapes do not fit, or ε is out of range.

    References
    ----------
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-
    only inference" (CVPR 2018), section 3.2.
    """
    folded, folded_bias, scale = memory.several(
        _fold_plan(weight, bias, norm_weight, norm_bias, mean, variance, epsilon)
    )
    matrix = np.ascontiguousarray(weight).reshape(folded.shape)
    numbers = (bias, norm_weight, norm_bias, mean, variance)
    bias, norm_weight, norm_bias, mean, variance = map(np.ascontiguousarray, numbers)
    kernels.fold_batch_norm(
        matrix,
        bias,
        norm_weight,
        norm_bias,
        mean,
        variance,
        epsilon,
        scale,
        folded,
        folded_bias,
    )
    return folded.reshape(weight.shape), folded_bias


@shapes.once_for_shapes
def _fold_plan(
    weight: FloatArray,
    bias: FloatArray,
    norm_weight: FloatArray,
    norm_bias: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
    epsilon: float,
) -> tuple[Request, ...]:
    """Check the arguments of `fold_batch_norm`; return the room for both results and the scale."""
    shapes.check_fold(
        "fold_batch_norm",
        weight,
        epsilon,
        bias=bias,
        norm_weight=norm_weight,
        norm_bias=norm_bias,
        mean=mean,
        variance=variance,
    )
    F, dtype = weight.shape[-1], weight.dtype
    return ((weight.size // F, F), dtype), ((F,), dtype), ((F,), dtype)
