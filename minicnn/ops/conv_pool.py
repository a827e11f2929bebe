"""Convolution and 2×2 max-pool as one op, with or without a ReLU between them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import (
    conv_pool,
    conv_pool_backward_input,
    conv_pool_backward_weight,
    conv_winograd,
    copy,
    stretches,
    target,
)
from minicnn.ops import arrays, winograd
from minicnn.ops.conv import select_backend
from minicnn.runtime import arena
from minicnn.runtime.arena import ArraySpec
from minicnn.shapes import FloatArray, IntPair, Padding
from minicnn.shapes.checks import check_gradient
from minicnn.shapes.memoize import memoize_by_shape
from minicnn.shapes.window import Window, conv2d_window, pool_window

Bytes = NDArray[np.unsignedinteger[Any]]
Indices = NDArray[np.int64]


# Windows of up to so many squares of three by three numbers are small: for them all pixels are
# taken, with masks; for larger ones only the winners.
DENSE_MAX_TILES = 3


class WindowChunks(NamedTuple):
    """A window in vectors: their lanes, and where each begins, counted from the window's corner.

    `nine` says whether nine of them are summed at once, rather than three.
    """

    lanes: int
    starts: Indices
    nine: bool


class Plan(NamedTuple):
    """What follows from shapes and options alone.

    `window` is that of the convolution, without rows and columns that the pool drops. `layout` says
    how the windows lie in the padded images: numbers of an image, the windows' corners, numbers of
    a row, KH; `read` and `written` are how the gradients of the weights and of the images take a
    window. The rest is memory to be asked for: for y, the winners and what the forward kernels
    need; for each of the gradients.
    """

    winograd: bool
    lanes: int
    small: bool
    window: Window
    layout: tuple[int, Indices, int, int]
    read: WindowChunks
    written: WindowChunks
    forward: tuple[ArraySpec, ...]
    weight_gradient: tuple[ArraySpec, ...]
    input_gradient: tuple[ArraySpec, ...]


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
    source = arrays.pad_images(x, plan.window)
    weights, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    y, winner, blocks, *room = arena.allocate(plan.forward)
    if plan.winograd:
        conv_winograd.transform_weight(weights, plan.lanes, blocks)
        forward = conv_winograd.forward_pool[plan.lanes]
        forward(source, blocks, bias, relu, y, winner, *room)
    else:
        forward = conv_pool.forward[plan.lanes]
        forward(source, *plan.layout, weights, bias, blocks, relu, y, winner)
    return y, Conv2DMaxPool2DCache(x, weight, plan, winner)


@memoize_by_shape
def _plan(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: IntPair,
    padding: Padding,
    backend: str,
) -> Plan:
    """Check the arguments of `conv2d_max_pool2d`, and work out what they need."""
    window = conv2d_window(x, weight, bias, stride, padding)
    pool = pool_window("conv2d_max_pool2d", (window.OH, window.OW), 2)
    KH, KW, C, F = weight.shape
    backend = select_backend("conv2d_max_pool2d", backend, window, C, F)
    # rows and columns that the pool drops need not be there
    window = window._replace(OH=2 * pool.OH, OW=2 * pool.OW)
    N, H, W, _ = arrays.padded_shape(x.shape, window) or x.shape
    row, floats, integers = W * C, x.dtype, np.dtype(np.int64)
    pooled = (N, pool.OH, pool.OW, F)
    filtered = backend == "winograd"
    needs = (
        winograd.room(C, F, floats)
        if filtered
        else (arrays.allocate_panels(KH * KW * C, F, floats),)
    )
    corners = _pooled_origins(window.OH, window.OW, window.SH * row, window.SW * C)
    read = _overlapping_chunks(KH, KW * C, row)
    written = _padded_chunks(KH, KW * C, row, F * floats.itemsize)
    block = pool.OW * _rows_of_a_block(window, pool.OH, row * floats.itemsize)
    return Plan(
        filtered,
        winograd.lanes_of(F) if filtered else target.choose_nr(F),
        -(-KH // 3) * -(-KW * C // 3) <= DENSE_MAX_TILES,
        window,
        (H * row, corners, row, KH),
        read,
        written,
        ((pooled, floats), (pooled, np.dtype(np.uint8)), *needs),
        (
            ((F * read.starts.size * read.lanes,), floats),
            ((block + 1,), integers),
            ((block + 1,), floats),
        ),
        (
            ((N * H * row + written.lanes,), floats),
            ((written.starts.size, F, written.lanes), floats),
        ),
    )


def _overlapping_chunks(KH: int, R: int, row: int) -> WindowChunks:
    """Cut a window into vectors of which none reaches out of it, for what may be taken twice."""
    fitting = (size for size in stretches.VECTOR_WIDTHS if size <= R)
    lanes = stretches.choose_width(KH, R, fitting, stretches.nine_fit_in_registers)
    starts = np.minimum(np.arange(0, R, lanes), R - lanes)
    return WindowChunks(
        lanes, arrays.outer_sum(np.arange(KH) * row, starts), stretches.nine_fit_in_registers(lanes)
    )


def _padded_chunks(KH: int, R: int, row: int, column: int) -> WindowChunks:
    """Cut a window into vectors that reach out of it rather than take anything twice.

    But not as far as to where the next row of the window begins. Nine are summed at once where
    their weights stay in the first-level cache; `column` is the bytes of one for each channel.
    """

    def nine(lanes: int) -> bool:
        return stretches.nine_fit_in_registers(lanes) and 9 * lanes * column <= target.L1_BYTES

    fitting = (
        size for size in stretches.VECTOR_WIDTHS if KH == 1 or arrays.round_up(R, size) <= row
    )
    lanes = stretches.choose_width(KH, R, fitting, nine)
    return WindowChunks(
        lanes, arrays.outer_sum(np.arange(KH) * row, np.arange(0, R, lanes)), nine(lanes)
    )


def _rows_of_a_block(window: Window, rows: int, row: int) -> int:
    """Return how many rows of pooling windows may be read from the first-level cache.

    At least one, and no more than there are; `row` is the bytes of a row of the image.
    """
    read = target.L1_BYTES // row  # rows of the image
    read -= window.KH - window.SH  # blocks overlap in these
    return min(rows, max(1, read // (2 * window.SH)))


def conv2d_max_pool2d_backward(
    dy: FloatArray,
    cache: Conv2DMaxPool2DCache,
    *,
    need_dx: bool = True,
    out: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    """Give the gradients of `conv2d_max_pool2d`.

    Only a winner that the ReLU let through passes its gradient on. With (h, w) the corner of the
    winner's window in the padded image: ``dweight[:, :, :, f] += dy · x[h : h + KH, w : w + KW]``,
    ``dx[h : h + KH, w : w + KW] += dy · weight[:, :, :, f]`` and ``dbias[f] += dy``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Convolution with max-pooling".

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
    check_gradient("conv2d_max_pool2d_backward", dy, winner.shape, x.dtype)
    source, dy = arrays.pad_images(x, plan.window), np.ascontiguousarray(dy)
    dweight, dbias = arrays.gradient_buffers("conv2d_max_pool2d_backward", weight, dy, out)
    if plan.small:
        _small_weight_gradient(source, plan, dy, winner, dweight, dbias)
    else:
        room, (image, corners, _, _) = arena.allocate(plan.weight_gradient), plan.layout
        (lanes, starts, _), rows = plan.read, dweight.reshape(len(weight), -1, len(dbias))
        weight_gradient = conv_pool_backward_weight.backward_weight_sparse[lanes]
        flat = source.reshape(-1)
        weight_gradient(flat, image, corners, starts, dy, winner, rows, dbias, *room)
    if not need_dx:
        return None, dweight, dbias
    dsource, vectors = arena.allocate(plan.input_gradient)
    (image, corners, _, _), (lanes, starts, nine) = plan.layout, plan.written
    weights = np.ascontiguousarray(weight)
    input_gradient = conv_pool_backward_input.backward_input_sparse[lanes]
    input_gradient(dy, winner, image, corners, starts, weights, dsource, vectors, nine)
    dx = arrays.crop_images(dsource[: source.size].reshape(source.shape), plan.window, x.shape)
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
    dy, winner = (
        arrays.pad_channels(dy, target.NR_SMALL),
        arrays.pad_channels(winner, target.NR_SMALL),
    )
    F, Fp = len(dbias), dy.shape[3]
    sums, total = dweight, dbias
    if Fp > F:
        sums = arena.empty((*dweight.shape[:3], Fp), dy.dtype)
        total = arena.empty((Fp,), dy.dtype)
    conv_pool_backward_weight.backward_weight_dense(source, *plan.layout, dy, winner, sums, total)
    if Fp > F:
        copy.copy_columns(sums.reshape(-1, Fp), 0, dweight.reshape(-1, F), 0, F)
        copy.copy_columns(total[None], 0, dbias[None], 0, F)


def _pooled_origins(OH: int, OW: int, down: int, right: int) -> Indices:
    """Return where the window of each pixel begins, the four of a 2×2 square one after another."""
    squares = arrays.origins(OH, OW, down, right).reshape(OH // 2, 2, OW // 2, 2)
    return np.ascontiguousarray(squares.transpose(0, 2, 1, 3).ravel())
