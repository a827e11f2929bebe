"""Batch normalization: the forward/backward pair, inference and folding."""

from typing import NamedTuple

import numpy as np

from minicnn.kernels import norm
from minicnn.runtime import arena
from minicnn.shapes import Array, Out
from minicnn.shapes.checks import check_channels, check_dy


class BatchNormCache(NamedTuple):
    """x, not copied, and the constants of each channel.

    The rows of `channels` are listed in `minicnn.kernels.norm`. `mean` and `variance` (C,), which
    divides by ``M - 1``, are two of them. `frozen` is True if they were arguments. Backward
    computes the mask of the ReLU from x again.
    """

    x: Array
    channels: Array
    mean: Array
    variance: Array
    relu: bool
    frozen: bool


def batch_norm(
    x: Array, weight: Array, bias: Array, *, epsilon: float = 1e-5, relu: bool = False
) -> tuple[Array, BatchNormCache]:
    """Normalize each channel over the batch, then scale and shift it.

    With m and v the mean and variance of the M = N·H·W values of channel c:
    ``y[..., c] = (x[..., c] - m) / √(v + ε) · weight[c] + bias[c]``, where ``v = Σ (x - m)² / M``;
    then ``max(y, 0)`` if `relu`.

    Parameters
    ----------
    x : ndarray (N, H, W, C) or (N, C)
        float32 or float64; at least two values per channel.
    weight, bias : ndarray (C,)
    epsilon : float
        0 or more; above 0 it keeps the quotient finite for a constant channel.
    relu : bool
        Apply a ReLU in the same pass: the values of `ops.relu`.

    Returns
    -------
    y : ndarray, as `x`
    cache : BatchNormCache
        Its `mean` and `variance` update the running statistics; the variance divides by ``M - 1``,
        as in PyTorch.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, their dtypes differ, or ε is not a number.
    ValueError
        If shapes do not match, there is only one value per channel, or ε is out of range.

    References
    ----------
    Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift" (ICML 2015), algorithm 1.
    """
    check_channels("batch_norm", "x", "N C | N H W C", x, epsilon, weight=weight, bias=bias)
    M = x.size // x.shape[-1]
    if M == 1:
        raise ValueError(
            f"batch_norm: x has one value per channel {x.shape}, which has no variance; "
            f"give at least two images"
        )
    matrix, weight, bias = map(np.ascontiguousarray, (x.reshape(M, -1), weight, bias))
    channels: Array = arena.empty((norm.CHANNEL_ROWS, len(weight)), x.dtype)
    norm.batch_norm_statistics(matrix, weight, bias, epsilon, channels)
    return _normalize(x, channels, relu, frozen=False)


def batch_norm_inference(
    x: Array,
    weight: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    relu: bool = False,
) -> tuple[Array, BatchNormCache]:
    """Compute `batch_norm` with the given mean and variance.

    Parameters
    ----------
    x : ndarray (N, H, W, C) or (N, C)
        float32 or float64.
    weight, bias : ndarray (C,)
    mean, variance : ndarray (C,)
        The running statistics.
    epsilon : float
        0 or more.
    relu : bool
        Apply a ReLU in the same pass.

    Returns
    -------
    y : ndarray, as `x`
    cache : BatchNormCache

    Raises
    ------
    TypeError
        If an array is not float32 or float64, their dtypes differ, or ε is not a number.
    ValueError
        If shapes do not match, or ε is out of range.

    References
    ----------
    Ioffe, Szegedy (ICML 2015), algorithm 2, steps 10 and 11.
    """
    arrays = {"weight": weight, "bias": bias, "mean": mean, "variance": variance}
    check_channels("batch_norm_inference", "x", "N C | N H W C", x, epsilon, **arrays)
    channels: Array = arena.empty((norm.CHANNEL_ROWS, len(weight)), x.dtype)
    weight, bias, mean, variance = map(np.ascontiguousarray, arrays.values())
    norm.batch_norm_from_running(weight, bias, mean, variance, epsilon, channels)
    return _normalize(x, channels, relu, frozen=True)


def _normalize(
    x: Array, channels: Array, relu: bool, *, frozen: bool
) -> tuple[Array, BatchNormCache]:
    y: Array = arena.empty(x.shape, x.dtype)
    matrix, out = (array.reshape(-1, x.shape[-1]) for array in (np.ascontiguousarray(x), y))
    norm.normalize(matrix, channels, relu, out)
    mean, variance = channels[norm.MEAN], channels[norm.VARIANCE]
    return y, BatchNormCache(x, channels, mean, variance, relu, frozen)


def batch_norm_backward(
    dy: Array, cache: BatchNormCache, *, need_dx: bool = True, out: Out = None
) -> tuple[Array | None, Array, Array]:
    """Compute the gradients of `batch_norm` and of `batch_norm_inference`.

    With n the normalized value, so that ``y = n · weight + bias``: ``dbias = Σ dy`` and
    ``dweight = Σ dy · n``. An x changes its own y, and through mean and variance all others:
    ``dx = weight / √(v + ε) · (dy - dbias / M - n · dweight / M)``. With a given mean and variance
    only the first of the three terms remains. dy counts as 0 where a ReLU set the output to 0.

    Derivation: minicnn/reference/DERIVATIONS.md, "Batch normalization".

    Parameters
    ----------
    dy : ndarray, as the output
    cache : BatchNormCache
    need_dx : bool
        False skips dx, which the first layer of a network does not use.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to overwrite instead of new arrays.

    Returns
    -------
    dx : ndarray, as `dy`, or None
    dweight, dbias : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, channels, _, _, relu, frozen = cache
    check_dy("batch_norm_backward", dy, x.shape, x.dtype)
    C = x.shape[-1]
    rows, matrix = (np.ascontiguousarray(array).reshape(-1, C) for array in (dy, x))
    dweight, dbias = arena.gradient_buffers("batch_norm_backward", channels[0], out)
    norm.batch_norm_gradients(rows, matrix, channels, relu, dweight, dbias)
    if not need_dx:
        return None, dweight, dbias
    dx, factors = arena.allocate(((rows.shape, dy.dtype), ((2, C), dy.dtype)))
    norm.batch_norm_input_gradient(
        rows, matrix, channels, relu, frozen, dweight, dbias, factors, dx
    )
    return dx.reshape(x.shape), dweight, dbias


def fold_batch_norm(
    weight: Array,
    bias: Array,
    norm_weight: Array,
    norm_bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
) -> tuple[Array, Array]:
    """Fold a batch norm into the weight and bias of the layer before it.

    With ``s = norm_weight / √(variance + ε)``, the layer computes with ``weight · s`` and
    ``(bias - mean) · s + norm_bias`` the output of `batch_norm_inference`, up to rounding.

    Derivation: minicnn/reference/DERIVATIONS.md, "Folding a batch normalization".

    Parameters
    ----------
    weight : ndarray (..., F)
        float32 or float64.
    bias : ndarray (F,)
    norm_weight, norm_bias, mean, variance : ndarray (F,)
        Of the batch norm.
    epsilon : float
        0 or more.

    Returns
    -------
    weight : ndarray (..., F)
    bias : ndarray (F,)

    Raises
    ------
    TypeError
        If an array is not float32 or float64, their dtypes differ, or ε is not a number.
    ValueError
        If shapes do not match, or ε is out of range.

    References
    ----------
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-
    only inference" (CVPR 2018), section 3.2.
    """
    channels = {"bias": bias, "norm_weight": norm_weight, "norm_bias": norm_bias}
    channels |= {"mean": mean, "variance": variance}
    axes = "in out | KH KW C | KH KW C F"
    check_channels("fold_batch_norm", "weight", axes, weight, epsilon, **channels)
    F = weight.shape[-1]
    matrix = np.ascontiguousarray(weight).reshape(-1, F)
    folded, folded_bias, scale = arena.allocate(
        ((matrix.shape, weight.dtype), ((F,), weight.dtype), ((F,), weight.dtype))
    )
    bias, norm_weight, norm_bias, mean, variance = map(np.ascontiguousarray, channels.values())
    norm.fold_batch_norm(
        matrix, bias, norm_weight, norm_bias, mean, variance, epsilon, scale, folded, folded_bias
    )
    return folded.reshape(weight.shape), folded_bias
