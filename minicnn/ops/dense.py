"""Dense (fully connected) and flatten: the op pairs."""

from typing import NamedTuple

import numpy as np

from minicnn.kernels import gemm, target, transpose
from minicnn.ops import arrays
from minicnn.runtime import arena
from minicnn.runtime.arena import ArraySpec
from minicnn.shapes import FloatArray, Shape
from minicnn.shapes.checks import check_array, check_dense, check_gradient
from minicnn.shapes.memoize import memoize_by_shape


class Plan(NamedTuple):
    """What follows from shapes alone: lanes for the outputs and for the images, and room.

    `forward` is for y and, if they need it, the weights filled up to whole tiles; `backward` for
    dx and what its kernel needs. The zeros are as many as that wants.
    """

    lanes: int
    lanes_of_images: int
    forward: tuple[ArraySpec, ...]
    backward: tuple[ArraySpec, ...]
    zeros: FloatArray


class DenseCache(NamedTuple):
    """What `dense_backward` needs: references to the arguments, and to the output behind a ReLU."""

    x: FloatArray
    weight: FloatArray
    y: FloatArray | None
    plan: Plan


class FlattenCache(NamedTuple):
    """What `flatten_backward` needs: the shape that was flattened."""

    shape: Shape


def dense(
    x: FloatArray, weight: FloatArray, bias: FloatArray, *, relu: bool = False
) -> tuple[FloatArray, DenseCache]:
    """Connect every input with every output: ``y = x · weight + bias``.

    ``y[n, j] = bias[j] + Σ_i x[n, i] · weight[i, j]``, and then ``max(y, 0)`` if there is a ReLU.

    Parameters
    ----------
    x : ndarray (N, in)
        float32 or float64.
    weight : ndarray (in, out)
    bias : ndarray (out,)
    relu : bool
        Whether a ReLU follows, which then costs nothing: the same numbers as `ops.relu` gives.

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
    plan = _plan(x, weight, bias)
    y, *room = arena.allocate(plan.forward)
    rows, weights = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    inputs, filled_up = len(weight), room[0] if room else weights
    bias = np.ascontiguousarray(bias)
    if len(x) == 1:
        gemm.gemv(rows, weights, bias, relu, y)
    else:
        multiply = gemm.gemm[plan.lanes]
        multiply(rows, inputs, 1, inputs, weights, filled_up, bias, relu, y)
    return y, DenseCache(x, weight, y if relu else None, plan)


@memoize_by_shape
def _plan(x: FloatArray, weight: FloatArray, bias: FloatArray) -> Plan:
    """Check the arguments of `dense`, and work out what they need."""
    check_dense(x, weight, bias)
    N, (inputs, outputs), dtype = len(x), weight.shape, x.dtype
    lanes, lanes_of_images = target.choose_nr(outputs), target.choose_nr(N)
    row, column = arrays.round_up(outputs, lanes), arrays.round_up(N, lanes_of_images)
    forward = [(N, outputs), (inputs, row)] if row > outputs else [(N, outputs)]
    backward = [(N, inputs), (N, row), (outputs, column), (inputs, N)]
    return Plan(
        lanes,
        lanes_of_images,
        tuple((shape, dtype) for shape in forward),
        tuple((shape, dtype) for shape in backward),
        np.zeros(max(outputs, N), dtype),
    )


def dense_backward(
    dy: FloatArray,
    cache: DenseCache,
    *,
    need_dx: bool = True,
    out: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    """Give the gradients of `dense`.

    ``dx = dy · weightᵀ``, ``dweight = xᵀ · dy``, ``dbias = Σ_n dy[n]``; dy counts as 0 where a ReLU
    made the output 0.

    Derivation: minicnn/reference/DERIVATIONS.md, "Dense".

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
    x, weight, y, plan = cache
    check_gradient("dense_backward", dy, (len(x), weight.shape[1]), x.dtype)
    dweight, dbias = arrays.gradient_buffers("dense_backward", weight, dy, out)
    dx, rows, columns, dx_transposed = arena.allocate(plan.backward)
    passed = dx[:0] if y is None else y
    gemm.mask_and_transpose_dy(np.ascontiguousarray(dy), passed, rows, columns, dbias)
    (N, inputs), outputs = x.shape, weight.shape[1]
    multiply, zeros = gemm.gemm[plan.lanes], plan.zeros
    multiply(np.ascontiguousarray(x), 1, inputs, N, rows, rows, zeros, False, dweight)
    if not need_dx:
        return None, dweight, dbias
    # dxᵀ = weight · dyᵀ: this way round only the small matrices are transposed, not the weights
    multiply, weights = gemm.gemm[plan.lanes_of_images], np.ascontiguousarray(weight)
    multiply(weights, outputs, 1, outputs, columns, columns, zeros, False, dx_transposed)
    transpose.transpose(dx_transposed, dx)
    return dx, dweight, dbias


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
    check_array("flatten", "x", x, "N H W C")
    return x.reshape(x.shape[0], -1), FlattenCache(x.shape)


def flatten_backward(dy: FloatArray, cache: FlattenCache) -> FloatArray:
    """Give the gradient of `flatten`: the same numbers in the shape that they had.

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
        If `dy` does not fit the output.
    """
    N, H, W, C = cache.shape
    check_array("flatten_backward", "dy", dy, "N H*W*C")
    check_gradient("flatten_backward", dy, (N, H * W * C), dy.dtype)
    return dy.reshape(cache.shape)
