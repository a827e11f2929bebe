"""Dense (fully connected) and flatten: the forward/backward pairs."""

from typing import NamedTuple

import numpy as np

from minicnn.kernels.copy import transpose
from minicnn.kernels.gemm import gemm, mask_and_transpose
from minicnn.runtime import arena
from minicnn.shapes import Array, Out, Shape
from minicnn.shapes.checks import check_array, check_dy, check_weight


class DenseCache(NamedTuple):
    """Inputs of `dense`, not copied; with a fused ReLU, its output."""

    x: Array
    weight: Array
    y: Array | None


class FlattenCache(NamedTuple):
    """The shape of x."""

    shape: Shape


def dense(x: Array, weight: Array, bias: Array, *, relu: bool = False) -> tuple[Array, DenseCache]:
    """Compute a fully connected layer: ``y = x · weight + bias``.

    ``y[n, j] = bias[j] + Σ_i x[n, i] · weight[i, j]``, then ``max(y, 0)`` if `relu`.

    Parameters
    ----------
    x : ndarray (N, in)
        float32 or float64.
    weight : ndarray (in, out)
    bias : ndarray (out,)
    relu : bool
        Apply a ReLU in registers: the values of `ops.relu`.

    Returns
    -------
    y : ndarray (N, out)
        Of x's dtype.
    cache : DenseCache

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or their dtypes differ.
    ValueError
        If shapes do not match.

    References
    ----------
    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors",
    Nature 323 (1986), equation 1.
    """
    check_weight("dense", "N in", "in out", x, weight, bias)
    y: Array = arena.empty((len(x), weight.shape[1]), x.dtype)
    x, weight, bias = (np.ascontiguousarray(array) for array in (x, weight, bias))
    gemm(x, weight, y, bias, relu)
    return y, DenseCache(x, weight, y if relu else None)


def dense_backward(
    dy: Array, cache: DenseCache, *, need_dx: bool = True, out: Out = None
) -> tuple[Array | None, Array, Array]:
    """Compute the gradients of `dense`.

    ``dx = dy · weightᵀ``, ``dweight = xᵀ · dy``, ``dbias = Σ_n dy[n]``; dy counts as 0 where a ReLU
    set the output to 0.

    Derivation: minicnn/reference/DERIVATIONS.md, "Dense".

    Parameters
    ----------
    dy : ndarray (N, out)
    cache : DenseCache
    need_dx : bool
        False skips dx, which the first layer of a network does not use.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to overwrite instead of new arrays.

    Returns
    -------
    dx : ndarray (N, in), or None
    dweight : ndarray (in, out)
    dbias : ndarray (out,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, weight, y = cache
    (N, inputs), outputs = x.shape, weight.shape[1]
    check_dy("dense_backward", dy, (N, outputs), x.dtype)
    dweight, dbias = arena.gradient_buffers("dense_backward", weight, out)
    dy, dy_transposed = mask_and_transpose(np.ascontiguousarray(dy), y, dbias)
    gemm(x.T, dy, dweight, arena.constant_zeros(outputs, x.dtype))
    if not need_dx:
        return None, dweight, dbias
    # dxᵀ = weight · dyᵀ transposes the small matrices dy and dx instead of the weights.
    dx, dx_transposed = arena.allocate((((N, inputs), x.dtype), ((inputs, N), x.dtype)))
    gemm(weight, dy_transposed, dx_transposed, arena.constant_zeros(N, x.dtype))
    transpose(dx_transposed, dx)
    return dx, dweight, dbias


def flatten(x: Array) -> tuple[Array, FlattenCache]:
    """Reshape each image to a row.

    ``y[n, (h·W + w)·C + c] = x[n, h, w, c]``

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.

    Returns
    -------
    y : ndarray (N, H·W·C)
        A view of `x` where its layout allows.
    cache : FlattenCache

    Raises
    ------
    TypeError
        If x is not float32 or float64.
    ValueError
        If x does not have four axes.
    """
    check_array("flatten", "x", x, "N H W C")
    return x.reshape(x.shape[0], -1), FlattenCache(x.shape)


def flatten_backward(dy: Array, cache: FlattenCache) -> Array:
    """Compute the gradient of `flatten`: dy in the shape of x.

    Derivation: minicnn/reference/DERIVATIONS.md, "Flatten".

    Parameters
    ----------
    dy : ndarray (N, H·W·C)
    cache : FlattenCache

    Returns
    -------
    dx : ndarray (N, H, W, C)

    Raises
    ------
    TypeError, ValueError
        If `dy` is not float32 or float64, or does not have the shape of the output.
    """
    N, H, W, C = cache.shape
    check_array("flatten_backward", "dy", dy, "N H*W*C")
    check_dy("flatten_backward", dy, (N, H * W * C), dy.dtype)
    return dy.reshape(cache.shape)
