"""Convolution on the direct kernels: what they need is worked out here."""

import numpy as np

from minicnn.kernels import conv_col2im, conv_direct, copy, target, transpose
from minicnn.kernels.capture import refuse_capture
from minicnn.ops import arrays
from minicnn.ops.arrays import origins, pad_channels, receptive_size, round_up
from minicnn.runtime import arena
from minicnn.shapes import FloatArray
from minicnn.shapes.window import Window

# What the pixels of a block may take of the first-level cache while the gradient of the weights is
# summed: all channels of dy, and of x a line or two at a time.
BLOCK_BYTES = 32 * 1024
NUMBERS_OF_X = 32
BLOCK_OF_PIXELS = 24  # that are spread at once: four tiles of six
MR = 6  # so many vectors are summed at once
FEWEST_PIXELS = 16  # or to load and store the sums takes too long


def conv2d(x: FloatArray, weight: FloatArray, bias: FloatArray, window: Window) -> FloatArray:
    """Return the convolution ``(N, OH, OW, F)``; arguments are those of `minicnn.ops.conv2d`.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    window : Window

    Returns
    -------
    ndarray (N, OH, OW, F)
    """
    seen = _transposed_window(window, *x.shape[1:3])
    F, C = weight.shape[3], weight.shape[2]
    if seen and prefers_col2im(seen, window.OH * window.OW, F, C):
        y = spread(np.ascontiguousarray(x), turn_round(weight), seen, window.OH, window.OW)
        refuse_capture("NumPy adds the bias")
        y += bias
        return y
    N, H, W = x.shape[:3]
    height, width = receptive_size(window)
    needed = window.top > 0 or window.left > 0 or height > H or width > W
    row = (width if needed else W) * C
    y, padded, blocks = arena.allocate(
        (
            ((N, window.OH, window.OW, F), x.dtype),
            ((height * row if needed else 0,), x.dtype),
            arrays.allocate_panels(window.KH * window.KW * C, F, x.dtype),
        )
    )
    conv_direct.forward[target.choose_nr(F)](
        np.ascontiguousarray(x).reshape(-1),
        (H, W * C, window.top, window.left * C),
        padded,
        row,
        origins(window.OH, window.OW, window.SH * row, window.SW * C),
        window.KH,
        np.ascontiguousarray(weight),
        np.ascontiguousarray(bias),
        blocks,
        y,
    )
    return y


def _transposed_window(window: Window, H: int, W: int) -> Window | None:
    """Return the window whose gradient with respect to its input is this convolution, if any."""
    KH, KW, SH, SW, top, left, _, _ = window
    if SH * SW > 1 or top >= KH or left >= KW:
        return None
    return Window(KH, KW, 1, 1, KH - 1 - top, KW - 1 - left, H, W)


def weight_gradient(x: FloatArray, dy: FloatArray, window: Window, dweight: FloatArray) -> None:
    """Compute dweight.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    dy : ndarray (N, OH, OW, F)
    window : Window
    dweight : ndarray (KH, KW, C, F)
        Overwritten.
    """
    x = arrays.pad_images(x, window)
    C, F = x.shape[3], dy.shape[3]
    copy.fill_zero(dweight.reshape(-1))
    N, row = len(x), x[0, 0].size
    KH, KW, SH, SW, _, _, OH, OW = window
    if _prefers_row_vectors(KH, KW * C, F):
        _few_weight_gradient(x, dy, window, dweight)
        return
    down, right = SH * row, SW * C
    if down == OW * right:  # no gap between the rows: they are as one
        OH, OW = 1, OH * OW
    lanes = target.choose_nr(F)
    block = max(FEWEST_PIXELS, BLOCK_BYTES // (x.itemsize * (F + NUMBERS_OF_X)))
    # Vectors run over the end of a pixel: into the next image, but not over the end of the memory.
    last = 0 if F % lanes == 0 else min(N, -(-lanes // (OH * OW * F)))
    for images, gradients in (
        (x[: N - last], dy),
        (x[N - last :], pad_channels(dy[N - last :], lanes)),
    ):
        conv_direct.backward_weight[lanes](
            images,
            x[0].size,
            origins(KH, KW * C, row, 1),
            OH,
            down,
            OW,
            right,
            block,
            gradients.reshape(len(gradients), OH * OW, gradients.shape[3]),
            dweight.reshape(-1, F),
        )


def _prefers_row_vectors(KH: int, R: int, F: int) -> bool:
    """Return whether dweight takes fewer vectors of numbers of the window than of filters."""
    lanes = target.NR_SMALL
    of_numbers = F * round_up(KH * -(-R // lanes), MR)
    return F < lanes <= R and of_numbers < round_up(KH * R, MR)


def _few_weight_gradient(
    x: FloatArray, dy: FloatArray, window: Window, dweight: FloatArray
) -> None:
    """Compute dweight of fewer filters than lanes."""
    KH, KW, SH, SW, _, _, OH, OW = window
    N, row, C, F = len(x), x[0, 0].size, x.shape[3], dy.shape[3]
    R = KW * C
    starts = np.minimum(np.arange(0, R, target.NR_SMALL), R - target.NR_SMALL)
    vectors = (np.arange(KH)[:, None] * row + starts).ravel()
    refuse_capture("NumPy transposes dweight")
    found = arena.zeros((F, KH, len(starts), target.NR_SMALL), x.dtype)
    conv_direct.backward_weight_few_filters(
        x, x[0].size, vectors, OH, SH * row, OW, SW * C, dy.reshape(N, -1, F), found
    )
    rows = dweight.reshape(KH, R, F)
    for j, start in enumerate(starts):
        rows[:, start : start + target.NR_SMALL] = found[:, :, j].transpose(1, 2, 0)


def input_gradient(
    dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int
) -> FloatArray:
    """Return dx ``(N, H, W, C)``: itself a convolution, of dy with the kernels turned round.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    weight : ndarray (KH, KW, C, F)
    window : Window
    H, W : int
        Of the input.

    Returns
    -------
    ndarray (N, H, W, C)
    """
    if prefers_col2im(window, H * W, *weight.shape[2:]):
        return spread(dy, weight, window, H, W)
    return conv2d(*turned_round(dy, weight, window, H, W))


def prefers_col2im(window: Window, pixels: int, C: int, F: int) -> bool:
    """Return whether `spread` is faster than the convolution of dy with the kernels turned round.

    That one computes whole vectors of channels, for each pixel of the input; the other adds up each
    product once more, which takes as long as some multiplications.

    Parameters
    ----------
    window : Window
    pixels : int
        Of the input.
    C, F : int
        Channels that go in and come out.

    Returns
    -------
    bool
    """
    lanes = target.NR_SMALL
    adding = window.OH * window.OW * C * (F + lanes)
    return window.SH * window.SW > 1 or adding < pixels * -(-C // lanes) * lanes * F


def spread(dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int) -> FloatArray:
    """Return dx ``(N, H, W, C)`` by adding up what each pixel of dy sends to its window.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    weight : ndarray (KH, KW, C, F)
    window : Window
    H, W : int
        Of the input.

    Returns
    -------
    ndarray (N, H, W, C)
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    N, C, F = len(dy), weight.shape[2], weight.shape[3]
    lanes = target.choose_nr(KH * KW * C)
    columns = _in_blocks(weight.reshape(-1, F).T, lanes)
    height, width = max(H + top, (OH - 1) * SH + KH), max(W + left, (OW - 1) * SW + KW)
    image = arena.empty((height, width * C), dy.dtype)
    dx = arena.empty((N, H, W, C), dy.dtype)
    row = width * C
    sent = arena.empty((BLOCK_OF_PIXELS, len(columns) * lanes), dy.dtype)
    conv_col2im.backward_input[lanes](
        dy.reshape(N, OH * OW, F),
        columns,
        KH,
        KW * C,
        OW,
        SH * row,
        SW * C,
        top * row + left * C,
        dx.reshape(N, H, W * C),
        image,
        sent,
    )
    return dx


def _in_blocks(matrix: FloatArray, lanes: int) -> FloatArray:
    """Return the columns of a matrix (K, F) in blocks, filled up with zeros: (blocks, K, lanes)."""
    K, F = matrix.shape
    refuse_capture("NumPy packs the columns")
    result: FloatArray = arena.zeros((-(-F // lanes), K, lanes), matrix.dtype)
    for block, columns in enumerate(result):
        part = matrix[:, block * lanes : (block + 1) * lanes]
        columns[:, : part.shape[1]] = part
    return result


def turn_round(weight: FloatArray) -> FloatArray:
    """Return the kernels turned by half a turn, with their channels exchanged.

    Parameters
    ----------
    weight : ndarray (KH, KW, C, F)

    Returns
    -------
    ndarray (KH, KW, F, C)
        In the workspace.
    """
    KH, KW, C, F = weight.shape
    turned: FloatArray = arena.empty((KH, KW, F, C), weight.dtype)
    transpose.rotate180_swap_channels(np.ascontiguousarray(weight), turned)
    return turned


def turned_round(
    dy: FloatArray, weight: FloatArray, window: Window, H: int, W: int
) -> tuple[FloatArray, FloatArray, FloatArray, Window]:
    """Return the arguments of the convolution that is the gradient of the input at stride 1.

    Around dy are as many zeros as KH - 1 less the padding. Counted with them, row h of the input
    was seen by row ``h + KH - 1 - kh`` of the output through row kh of the kernel.

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    weight : ndarray (KH, KW, C, F)
    window : Window
    H, W : int
        Of the input.

    Returns
    -------
    dy : ndarray (N, ..., ..., F)
        Without rows and columns that saw nothing but padding.
    turned : ndarray (KH, KW, F, C)
    bias : ndarray (C,)
        Zeros.
    window : Window
    """
    KH, KW = window.KH, window.KW
    up, back = KH - 1 - window.top, KW - 1 - window.left
    turned = turn_round(weight)
    bias = arena.constant_zeros(weight.shape[2], dy.dtype)
    seen = dy[:, max(0, -up) :, max(0, -back) :]
    if not seen.flags.c_contiguous:
        refuse_capture("NumPy copies dy without its border")
    return seen, turned, bias, Window(KH, KW, 1, 1, max(0, up), max(0, back), H, W)
