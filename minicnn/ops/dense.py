"""Dense (fully connected) and flatten: the op pairs."""

from typing import NamedTuple

import numpy as np

from minicnn import shapes
from minicnn.ops import arrays, products
from minicnn.shapes import FloatArray, Shape


class DenseCache(NamedTuple):
    """What `dense_backward` needs: references to the arguments, no copy."""

    x: FloatArray
    weight: FloatArray


class FlattenCache(NamedTuple):
    """What `flatten_backward` needs: the shape that was flattened."""

    shape: Shape


def dense(x: FloatArray, weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, DenseCache]:
    """Connect every input with every output: ``y = x · weight + bias``.

    ``y[n, j] = bias[j] + Σ_i x[n, i] · weight[i, j]``.

    Parameters
    ----------
    x : ndarray (N, in)
        float32 or float64.
    weight : ndarray (in, out)
    bias : ndarray (out,)

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
        If shapes do not fit.

    References
    ----------
    Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors",
    Nature 323 (1986), equation 1.
    """
    shapes.check_dense(x, weight, bias)
    return products.matmul(x, weight, bias), DenseCache(x, weight)


def dense_backward(
    dy: FloatArray,
    cache: DenseCache,
    *,
    need_dx: bool = True,
    out: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    """Give the gradients of `dense`.

    ``dx = dy · weightᵀ``, ``dweight = xᵀ · dy``, ``dbias = Σ_n dy[n]``.

    Parameters
    ----------
    dy : ndarray (N, out)
    cache : DenseCache
    need_dx : bool
        False leaves dx out: the first layer of a network has no use for it.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to be overwritten; new arrays where left out.

    Returns
    -------
    dx : ndarray (N, in), or None
    dweight : ndarray (in, out)
    dbias : ndarray (out,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    x, weight = cache
    shapes.check_gradient("dense_backward", dy, (x.shape[0], weight.shape[1]), x.dtype)
    dy = np.ascontiguousarray(dy)
    dweight, dbias = out or arrays.like(weight, dy)
    products.matmul(x.T, dy, np.zeros_like(dbias), dweight)
    dy.sum(axis=0, out=dbias)
    return products.matmul_rows(dy, weight) if need_dx else None, dweight, dbias


def flatten(x: FloatArray) -> tuple[FloatArray, FlattenCache]:
    """Lay each image out as one row: ``y[n, (h·W + w)·C + c] = x[n, h, w, c]``.

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
        If x has not four axes.
    """
    shapes.check_array("flatten", "x", x, "N H W C")
    return x.reshape(x.shape[0], -1), FlattenCache(x.shape)


def flatten_backward(dy: FloatArray, cache: FlattenCache) -> FloatArray:
    """Give the gradient of `flatten`: the same numbers in the shape that they had.

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
        If `dy` does not fit the output.
    """
    N, H, W, C = cache.shape
    shapes.check_array("flatten_backward", "dy", dy, "N H*W*C")
    shapes.check_gradient("flatten_backward", dy, (N, H * W * C), dy.dtype)
    return dy.reshape(cache.shape)
