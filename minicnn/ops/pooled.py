"""Convolution and 2×2 max-pool as one op, with or without a ReLU between them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory, shapes
from minicnn.memory import Request
from minicnn.ops import arrays, winograd
from minicnn.ops.convolution import chosen_backend
from minicnn.shapes import FloatArray, IntPair, Padding, Window

Bytes = NDArray[np.unsignedinteger[Any]]
Indices = NDArray[np.int64]


# Windows of up to so many squares of three by three numbers are small: for them all pixels are
# taken, with masks; for larger ones only the winners.
SMALL = 3


class Plan(NamedTuple):
    """What follows from shapes and options alone.

    `window` is that of the convolution, without rows and columns that the pool drops. `layout` says
    how the windows lie in the padded images: numbers of an image, the windows' corners, numbers of
    a row, KH. The rest is memory to be asked for: for y, the winners and what the forward kernels
    need; for each of the gradients.
    """

    winograd: bool
    lanes: int
    small: bool
    window: Window
    layout: tuple[int, Indices, int, int]
    forward: tuple[Request, ...]
    weight_gradient: tuple[Request, ...]
    input_gradient: tuple[Request, ...]


class Conv2DMaxPool2DCache(NamedTuple):
    """What `conv2d_max_pool2d_backward` needs: the arguments, and one byte for each output.

    `winner` says which of the four pixels of a pooling window was the greatest (0 to 3, in row
    order), or that the ReLU made the output 0 (4).
    """

    x: FloatArray
    weight: FloatArray
    plan: Plan
    winner: Bytes


def conv2d_max_pool2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: IntPair = 1,
    padding: Padding = 0,
    *,
    relu: bool = False,
    backend: str = "auto",
) -> tuple[FloatArray, Conv2DMaxPool2DCache]:
    """Convolve, cut off what is negative if asked to, and take the maximum of each 2×2 square.

    ``y = max_pool2d(relu(conv2d(x, weight, bias)), 2)``, the same numbers up to the order in which
    sums are taken; but the map before the pool is never written, and rows and columns that the pool
    drops are not computed.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    stride : int or pair of int
        Of the convolution.
    padding : int, pair of int, "same" or "valid"
        Of the convolution.
    relu : bool
    backend : {"auto", "direct", "winograd"}
        As in `conv2d`.

    Returns
    -------
    y : ndarray (N, OH // 2, OW // 2, F)
        Of x's dtype.
    cache : Conv2DMaxPool2DCache

    Raises
    ------
    TypeError, ValueError
        As `conv2d`; and if the convolution's output is smaller than 2×2.
    """
    plan = _plan(x, weight, bias, stride, padding, backend)
    source = arrays.padded(x, plan.window)
    weights, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    y, winner, blocks, *room = memory.several(plan.forward)
    if plan.winograd:
        kernels.winograd_weights(weights, blocks)
        forward = kernels.winograd_pooled_forward[plan.lanes]
        forward(source, blocks, bias, relu, y, winner, *room)
    else:
        forward = kernels.pooled_forward[plan.lanes]
        forward(source, *plan.layout, weights, bias, blocks, relu, y, winner)
    return y, Conv2DMaxPool2DCache(x, weight, plan, winner)


@shapes.once_for_shapes
def _plan(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: IntPair,
    padding: Padding,
    backend: str,
) -> Plan:
    """Check the arguments of `conv2d_max_pool2d`, and work out what they need."""
    window = shapes.conv2d_window(x, weight, bias, stride, padding)
    pool = shapes.pool_window("conv2d_max_pool2d", (window.OH, window.OW), 2)
    KH, KW, C, F = weight.shape
    backend = chosen_backend("conv2d_max_pool2d", backend, window, C, F)
    # rows and columns that the pool drops need not be there
    window = window._replace(OH=2 * pool.OH, OW=2 * pool.OW)
    N, H, W, _ = arrays.padded_shape(x.shape, window) or x.shape
    P, R, floats, integers = pool.OH * pool.OW, KW * C, x.dtype, np.dtype(np.int64)
    pooled, Rp = (N, pool.OH, pool.OW, F), arrays.rounded(R, kernels.ROW)
    filtered = backend == "winograd"
    needs = winograd.room(C, F, floats) if filtered else (arrays.blocks(KH * R, F, floats),)
    corners = _pooled_corners(window.OH, window.OW, window.SH * W * C, window.SW * C)
    return Plan(
        filtered,
        kernels.lanes_for(F),
        -(-KH // 3) * -(-R // 3) <= SMALL,
        window,
        (H * W * C, corners, W * C, KH),
        ((pooled, floats), (pooled, np.dtype(np.uint8)), *needs),
        (((F * KH * Rp,), floats), ((P + 1,), integers), ((P + 1,), floats)),
        (
            ((N * H * W * C + kernels.ROW,), floats),
            ((KH * F * Rp,), floats),
            ((5 * P,), integers),
            ((5 * P * F,), integers),
            ((5 * P * F,), floats),
        ),
    )


def conv2d_max_pool2d_backward(
    dy: FloatArray,
    cache: Conv2DMaxPool2DCache,
    *,
    need_dx: bool = True,
    out: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    """Give the gradients of `conv2d_max_pool2d`.

    Only a winner that the ReLU let through passes its gradient on. With (h, w) the corner of the
    winner's window: ``dweight[:, :, :, f] += dy · x[h : h + KH, w : w + KW]`` and
    ``dx[h : h + KH, w : w + KW] += dy · weight[:, :, :, f]``.

    Parameters
    ----------
    dy : ndarray (N, OH // 2, OW // 2, F)
    cache : Conv2DMaxPool2DCache
    need_dx : bool
        False leaves dx out: the first layer of a network has no use for it.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to be overwritten; new arrays where left out.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C, F)
    dbias : ndarray (F,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    x, weight, plan, winner = cache
    shapes.check_gradient("conv2d_max_pool2d_backward", dy, winner.shape, x.dtype)
    source, dy = arrays.padded(x, plan.window), np.ascontiguousarray(dy)
    dweight, dbias = out or arrays.like(weight, dy)
    if plan.small:
        _small_weight_gradient(source, plan, dy, winner, dweight, dbias)
    else:
        room = memory.several(plan.weight_gradient)
        x_flat = source.reshape(-1)
        kernels.pooled_weight_gradient(x_flat, *plan.layout, dy, winner, dweight, dbias, *room)
    if not need_dx:
        return None, dweight, dbias
    dsource, *room = memory.several(plan.input_gradient)
    weights = np.ascontiguousarray(weight)
    kernels.pooled_input_gradient(dy, winner, *plan.layout, weights, dsource, *room)
    dx = arrays.cropped(dsource[: source.size].reshape(source.shape), plan.window, x.shape)
    return dx, dweight, dbias


def _small_weight_gradient(
    source: FloatArray,
    plan: Plan,
    dy: FloatArray,
    winner: Bytes,
    dweight: FloatArray,
    dbias: FloatArray,
) -> None:
    """Compute dweight and dbias for small windows, whose kernel wants whole tiles of channels."""
    dy, winner = arrays.filled(dy, kernels.NARROW), arrays.filled(winner, kernels.NARROW)
    F, Fp = len(dbias), dy.shape[3]
    sums, total = dweight, dbias
    if Fp > F:
        sums = memory.empty((*dweight.shape[:3], Fp), dy.dtype)
        total = memory.empty((Fp,), dy.dtype)
    kernels.pooled_small_weight_gradient(source, *plan.layout, dy, winner, sums, total)
    if Fp > F:
        dweight[...], dbias[...] = sums[..., :F], total[:F]


def _pooled_corners(OH: int, OW: int, down: int, right: int) -> Indices:
    """Return where the window of each pixel begins, the four of a 2×2 square one after another."""
    squares = arrays.corners(OH, OW, down, right).reshape(OH // 2, 2, OW // 2, 2)
    return np.ascontiguousarray(squares.transpose(0, 2, 1, 3).ravel())
