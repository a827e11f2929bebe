"""Depthwise convolution: the op pair."""

from typing import NamedTuple

import numpy as np

from minicnn.kernels import depthwise, reduce, target
from minicnn.ops import arrays
from minicnn.ops.taps import Taps, forward_and_backward_taps
from minicnn.runtime import arena
from minicnn.runtime.arena import ArraySpec
from minicnn.shapes import FloatArray, IntPair, Padding
from minicnn.shapes.checks import check_gradient
from minicnn.shapes.memoize import memoize_by_shape
from minicnn.shapes.window import Window, depthwise_conv2d_window


class Plan(NamedTuple):
    """What follows from shapes and options alone.

    `there` leads from x to y and `back` from dy to dx; `blocks` is the room for the weights as the
    kernel reads them.
    """

    window: Window
    there: Taps
    back: Taps
    blocks: ArraySpec


class DepthwiseConv2DCache(NamedTuple):
    """What `depthwise_conv2d_backward` needs: references to the arguments."""

    x: FloatArray
    weight: FloatArray
    plan: Plan


def depthwise_conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: IntPair = 1,
    padding: Padding = 0,
) -> tuple[FloatArray, DepthwiseConv2DCache]:
    """Convolve each channel with a filter of its own (cross-correlation, as in `conv2d`).

    ``y[n, oh, ow, c] = bias[c] + Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]
    · weight[kh, kw, c]``, where x is 0 outside the image. PyTorch calls it a convolution with as
    many groups as channels.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    weight : ndarray (KH, KW, C)
    bias : ndarray (C,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
        "same" gives ``ceil(H / SH) × ceil(W / SW)`` outputs, "valid" is 0.

    Returns
    -------
    y : ndarray (N, OH, OW, C)
        Of x's dtype.
    cache : DepthwiseConv2DCache

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or their dtypes differ.
    ValueError
        If shapes do not fit.

    References
    ----------
    Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
    applications" (2017), section 3.1, equation 3.
    """
    plan = _plan(x, weight, bias, stride, padding)
    y: FloatArray = arena.empty((len(x), plan.window.OH, plan.window.OW, x.shape[3]), x.dtype)
    _convolve(x, plan.there, weight, bias, plan.blocks, y)
    return y, DepthwiseConv2DCache(x, weight, plan)


def depthwise_conv2d_backward(
    dy: FloatArray,
    cache: DepthwiseConv2DCache,
    *,
    need_dx: bool = True,
    out: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    """Give the gradients of `depthwise_conv2d`.

    With (h, w) the pixel that window (oh, ow) sees at its place (kh, kw):
    ``dweight[kh, kw, c] = Σ_{n,oh,ow} x[n, h, w, c] · dy[n, oh, ow, c]``,
    ``dx[n, h, w, c] = Σ dy[n, oh, ow, c] · weight[kh, kw, c]`` over the windows that see it, and
    ``dbias[c] = Σ_{n,oh,ow} dy[n, oh, ow, c]``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Depthwise convolution".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : DepthwiseConv2DCache
    need_dx : bool
        False leaves dx out: the first layer of a network has no use for it.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to be overwritten; new arrays where left out.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C)
    dbias : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    x, weight, plan = cache
    N, C = len(x), x.shape[3]
    shape = N, plan.window.OH, plan.window.OW, C
    check_gradient("depthwise_conv2d_backward", dy, shape, x.dtype)
    dy = np.ascontiguousarray(dy)
    dweight, dbias = arrays.gradient_buffers("depthwise_conv2d_backward", weight, dy, out)
    reduce.column_sums(dy.reshape(-1, C), dbias)
    taps = plan.there
    depthwise.depthwise_weight_gradient(
        arrays.pad_images(x, taps.around).reshape(N, -1),
        *taps[1:],
        dy.reshape(N, -1),
        dweight.reshape(-1, C),
    )
    if not need_dx:
        return None, dweight, dbias
    dx: FloatArray = arena.empty(x.shape, x.dtype)
    _convolve(dy, plan.back, weight, arena.constant_zeros(C, x.dtype), plan.blocks, dx)
    return dx, dweight, dbias


def _convolve(
    x: FloatArray,
    taps: Taps,
    weight: FloatArray,
    bias: FloatArray,
    blocks: ArraySpec,
    y: FloatArray,
) -> None:
    (_, _, lanes), _ = blocks
    depthwise.depthwise[lanes](
        arrays.pad_images(x, taps.around).reshape(len(x), -1),
        *taps[1:],
        np.ascontiguousarray(weight).reshape(-1, len(bias)),
        np.ascontiguousarray(bias),
        arena.empty(*blocks),
        y.reshape(len(y), -1),
    )


@memoize_by_shape
def _plan(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: IntPair, padding: Padding
) -> Plan:
    """Check the arguments of `depthwise_conv2d`, and work out what they need."""
    window = depthwise_conv2d_window(x, weight, bias, stride, padding)
    C = x.shape[3]
    lanes = target.NR_SMALL if C % target.NR_MEDIUM else target.NR_MEDIUM
    room = (-(-C // lanes), 1 + window.KH * window.KW, lanes), x.dtype
    return Plan(window, *forward_and_backward_taps(window, *x.shape[1:]), room)
