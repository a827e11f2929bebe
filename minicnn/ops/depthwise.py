"""Depthwise convolution: the op pair."""

from typing import NamedTuple

import numpy as np

from minicnn import kernels, memory, shapes
from minicnn.memory import Request
from minicnn.ops import arrays
from minicnn.ops.taps import Taps, there_and_back
from minicnn.shapes import FloatArray, IntPair, Padding, Window


class Plan(NamedTuple):
    """What follows from shapes and options alone.

    `there` leads from x to y and `back` from dy to dx; `blocks` is the room for the weights as the
    kernel reads them.
    """

    window: Window
    there: Taps
    back: Taps
    blocks: Request


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
    y: FloatArray = memory.empty((len(x), plan.window.OH, plan.window.OW, x.shape[3]), x.dtype)
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
    shapes.check_gradient("depthwise_conv2d_backward", dy, shape, x.dtype)
    dy = np.ascontiguousarray(dy)
    dweight, dbias = arrays.weight_gradients("depthwise_conv2d_backward", weight, dy, out)
    kernels.sum_rows(dy.reshape(-1, C), dbias)
    taps = plan.there
    kernels.depthwise_weight_gradient(
        arrays.padded(x, taps.around).reshape(N, -1),
        *taps[1:],
        dy.reshape(N, -1),
        dweight.reshape(-1, C),
    )
    if not need_dx:
        return None, dweight, dbias
    dx: FloatArray = memory.empty(x.shape, x.dtype)
    _convolve(dy, plan.back, weight, memory.lasting_zeros(C, x.dtype), plan.blocks, dx)
    return dx, dweight, dbias


def _convolve(
    x: FloatArray, taps: Taps, weight: FloatArray, bias: FloatArray, blocks: Request, y: FloatArray
) -> None:
    (_, _, lanes), _ = blocks
    kernels.depthwise[lanes](
        arrays.padded(x, taps.around).reshape(len(x), -1),
        *taps[1:],
        np.ascontiguousarray(weight).reshape(-1, len(bias)),
        np.ascontiguousarray(bias),
        memory.empty(*blocks),
        y.reshape(len(y), -1),
    )


@shapes.once_for_shapes
def _plan(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: IntPair, padding: Padding
) -> Plan:
    """Check the arguments of `depthwise_conv2d`, and work out what they need."""
    window = shapes.depthwise_conv2d_window(x, weight, bias, stride, padding)
    C = x.shape[3]
    lanes = kernels.NARROW if C % kernels.WIDE else kernels.WIDE
    room = (-(-C // lanes), 1 + window.KH * window.KW, lanes), x.dtype
    return Plan(window, *there_and_back(window, *x.shape[1:]), room)
