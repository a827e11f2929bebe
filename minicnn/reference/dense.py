"""Dense and flatten in loops."""

from itertools import product

import numpy as np

from minicnn.shapes import Array, Cache
from minicnn.shapes.checks import check_dy, check_weight


def dense(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
    """Compute a fully connected layer.

    ``y[n, j] = bias[j] + Σ_i x[n, i] · weight[i, j]``

    Parameters
    ----------
    x : ndarray (N, in)
    weight : ndarray (in, out)
    bias : ndarray (out,)

    Returns
    -------
    y : ndarray (N, out)
    cache : tuple
        ``(x, weight)`` for `dense_backward`.

    Raises
    ------
    TypeError, ValueError
        As `minicnn.ops.dense`.
    """
    check_weight("dense", "N in", "in out", x, weight, bias)
    N, inputs = x.shape
    outputs = weight.shape[1]
    y = np.empty((N, outputs), x.dtype)
    for n, j in product(range(N), range(outputs)):
        total = float(bias[j])
        for i in range(inputs):
            total += float(x[n, i]) * float(weight[i, j])
        y[n, j] = total
    return y, (x, weight)


def dense_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Compute the gradients of `dense`.

    ``dx += dy · weight``, ``dweight += dy · x``, ``dbias += dy``

    Derivation: minicnn/reference/DERIVATIONS.md, "Dense".

    Parameters
    ----------
    dy : ndarray (N, out)
    cache : tuple
        From `dense`.

    Returns
    -------
    dx : ndarray (N, in)
    dweight : ndarray (in, out)
    dbias : ndarray (out,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    x, weight = cache
    N, inputs = x.shape
    outputs = weight.shape[1]
    check_dy("dense_backward", dy, (N, outputs), x.dtype)
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(outputs)
    for n, j in product(range(N), range(outputs)):
        upstream = float(dy[n, j])
        dbias[j] += upstream
        for i in range(inputs):
            dx[n, i] += upstream * float(weight[i, j])
            dweight[i, j] += upstream * float(x[n, i])
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)


def flatten(x: Array) -> tuple[Array, Cache]:
    """Reshape each image to a row.

    ``y[n, (h·W + w)·C + c] = x[n, h, w, c]``

    Parameters
    ----------
    x : ndarray (N, H, W, C)

    Returns
    -------
    y : ndarray (N, H·W·C)
    cache : tuple
        ``(x.shape,)`` for `flatten_backward`.
    """
    N, H, W, C = x.shape
    y = np.empty((N, H * W * C), x.dtype)
    for n, h, w, c in product(range(N), range(H), range(W), range(C)):
        y[n, (h * W + w) * C + c] = x[n, h, w, c]
    return y, (x.shape,)


def flatten_backward(dy: Array, cache: Cache) -> Array:
    """Compute the gradient of `flatten`: dy in the shape of x.

    Derivation: minicnn/reference/DERIVATIONS.md, "Flatten".

    Parameters
    ----------
    dy : ndarray (N, H·W·C)
    cache : tuple
        From `flatten`.

    Returns
    -------
    dx : ndarray (N, H, W, C)
    """
    ((N, H, W, C),) = cache
    dx = np.empty((N, H, W, C), dy.dtype)
    for n, h, w, c in product(range(N), range(H), range(W), range(C)):
        dx[n, h, w, c] = dy[n, (h * W + w) * C + c]
    return dx
