"""Direct convolution in NHWC: an implicit GEMM whose accumulators stay in registers.

For output pixel p and filter f::

    y[n, p, f] = bias[f] + Σ_{kh,q} x[n, origin[p] + kh·row_stride + q] · weight[kh, q, f]

q runs over the KW·C contiguous values of one window row. Stride and padding are hidden in the
window origins and in the padded copy of the image, so the inner loops know neither.

Blocking, in the terms of BLIS and XNNPACK:

- microtile: MR pixels x NR filters of y, held in MR vectors of NR lanes;
- panel: the weights of NR filters, packed as ``(1 + KH * KW * C, NR)`` with the bias first, so that
  the microkernel reads them with stride 1;
- edges: the last microtile repeats its last pixel, which stores the same value twice; the last
  panel is padded with zeros and stored with a mask.

The file reads top down: the backend interface that `minicnn.ops.conv` calls, then the kernels.
"""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import conv_col2im, copy
from minicnn.kernels.copy import pad_image
from minicnn.kernels.jit import inline_function, kernel
from minicnn.kernels.pack import (
    outer_sum,
    pad_channels,
    pad_images,
    padded_shape,
    panels_spec,
    round_up,
    window_origins,
)
from minicnn.kernels.simd import fma, load, load_splat
from minicnn.kernels.six import (
    Six,
    SixPlaces,
    load_six,
    six_from,
    six_of,
    six_sums,
    six_times,
    store_six,
)
from minicnn.kernels.target import NR_SMALL, SIMD_WIDTH, Kernel, choose_nr, specialize_nr
from minicnn.kernels.tiles import pack_weights
from minicnn.kernels.transpose import rotate180_swap_channels
from minicnn.runtime import arena
from minicnn.shapes import FloatArray
from minicnn.shapes.window import Window

Array = NDArray[np.float32]
Indices = NDArray[np.int64]

# L1 bytes for a block of pixels while its weight gradient is summed: all channels of dy, and one or
# two cache lines of x per pixel.
BLOCK_BYTES = 32 * 1024
X_VALUES_PER_PIXEL = 32
MIN_BLOCK_PIXELS = 16  # below this, loading and storing the accumulators dominates
MR = 6  # vectors that a microtile accumulates


# ---------------------------------------------------------------- backend interface


def forward(
    x: FloatArray, weight: FloatArray, bias: FloatArray, window: Window, y: FloatArray
) -> None:
    """Compute y (N, OH, OW, F)."""
    _, H, W, C = x.shape
    KH, KW, _, F = weight.shape
    if conv_col2im.forward_is_faster(window, H, W, C, F):
        conv_col2im.forward(x, weight, bias, window, y)
        return
    shape = padded_shape(x.shape, window)
    row_stride = (W if shape is None else shape[2]) * C
    padded_size = 0 if shape is None else shape[1] * row_stride
    padded, panels = arena.allocate(
        (((padded_size,), x.dtype), panels_spec(KH * KW * C, F, x.dtype))
    )
    forward_kernel[choose_nr(F)](
        np.ascontiguousarray(x).reshape(-1),
        (H, W * C, window.top, window.left * C),
        padded,
        row_stride,
        window_origins(window.OH, window.OW, window.SH * row_stride, window.SW * C),
        KH,
        np.ascontiguousarray(weight),
        np.ascontiguousarray(bias),
        panels,
        y,
    )


def backward_weight(x: FloatArray, dy: FloatArray, window: Window, dweight: FloatArray) -> None:
    """Compute dweight (KH, KW, C, F)."""
    x = pad_images(x, window)
    KH, KW, SH, SW, _, _, OH, OW = window
    N, C, F = len(x), x.shape[3], dy.shape[3]
    row_stride = x[0, 0].size
    if _prefers_row_vectors(KH, KW * C, F):
        _backward_weight_few_filters(x, dy, window, dweight)
        return
    h_stride, w_stride = SH * row_stride, SW * C
    if h_stride == OW * w_stride:  # rows follow each other without a gap: treat them as one
        OH, OW = 1, OH * OW
    NR = choose_nr(F)
    block = max(MIN_BLOCK_PIXELS, BLOCK_BYTES // (x.itemsize * (F + X_VALUES_PER_PIXEL)))
    copy.fill_zero(dweight.reshape(-1))
    # Vectors may read past the last channel of a pixel. At the end of dy that would be past the
    # array, so the last images take a copy with padded channels.
    tail = 0 if F % NR == 0 else min(N, -(-NR // (OH * OW * F)))
    for images, gradients in (
        (x[: N - tail], dy),
        (x[N - tail :], pad_channels(dy[N - tail :], NR)),
    ):
        backward_weight_kernel[NR](
            images,
            x[0].size,
            window_origins(KH, KW * C, row_stride, 1),
            OH,
            h_stride,
            OW,
            w_stride,
            block,
            gradients.reshape(len(gradients), OH * OW, gradients.shape[3]),
            dweight.reshape(-1, F),
        )


def backward_input(dy: FloatArray, weight: FloatArray, window: Window, dx: FloatArray) -> None:
    """Compute dx (N, H, W, C): dy convolved with the kernel rotated by 180°, or GEMM + col2im.

    dy takes KH - 1 - top rows of zeros before it. If that is negative, its first rows have no
    pixel of the image in their windows and are cut off. Columns likewise.
    """
    KH, KW, C, F = weight.shape
    N, H, W, _ = dx.shape
    if conv_col2im.is_faster(window, H * W, C, F):
        conv_col2im.backward_input(dy, weight, window, dx)
        return
    rotated = arena.empty((KH, KW, F, C), dy.dtype)
    rotate180_swap_channels(np.ascontiguousarray(weight), rotated)
    top, left = KH - 1 - window.top, KW - 1 - window.left
    if min(top, left) < 0:
        cut_top, cut_left = max(0, -top), max(0, -left)
        whole = dy
        dy = arena.empty((N, window.OH - cut_top, window.OW - cut_left, F), dy.dtype)
        copy.crop_images(whole, cut_top, cut_left, dy)
    transposed = Window(KH, KW, 1, 1, max(0, top), max(0, left), H, W)
    forward(dy, rotated, arena.constant_zeros(C, dy.dtype), transposed, dx)


def _prefers_row_vectors(KH: int, K_row: int, F: int) -> bool:
    """Return whether dweight takes fewer vectors along window rows than along filters."""
    vectors = F * round_up(KH * -(-K_row // NR_SMALL), MR)
    return F < NR_SMALL <= K_row and vectors < round_up(KH * K_row, MR)


def _backward_weight_few_filters(
    x: FloatArray, dy: FloatArray, window: Window, dweight: FloatArray
) -> None:
    """Compute dweight where F is below the lanes of a vector."""
    KH, KW, SH, SW, _, _, OH, OW = window
    N, row_stride, C, F = len(x), x[0, 0].size, x.shape[3], dy.shape[3]
    K_row = KW * C
    chunks = np.minimum(np.arange(0, K_row, NR_SMALL), K_row - NR_SMALL)  # the last may overlap
    offsets = outer_sum(np.arange(KH) * row_stride, chunks)
    sums = arena.empty((F, len(offsets), NR_SMALL), x.dtype)
    backward_weight_few_filters_kernel(
        x,
        x[0].size,
        offsets,
        OH,
        SH * row_stride,
        OW,
        SW * C,
        dy.reshape(N, OH * OW, F),
        sums,
        dweight.reshape(KH, K_row, F),
    )


# ---------------------------------------------------------------- kernels


@specialize_nr
def forward_kernel(lanes: int) -> Kernel:
    """Make the convolution for tiles of so many lanes.

    Where a tile is one register wide, two tiles are taken as a pair: twelve sums wait for each
    other less than six.
    """
    in_pairs = lanes <= SIMD_WIDTH

    def forward(
        x: Array,
        image: tuple[int, int, int, int],
        padded: Array,
        row: int,
        corners: Indices,
        KH: int,
        weight: Array,
        bias: Array,
        blocks: Array,
        y: Array,
    ) -> None:
        """Convolve images.

        ``y[n, p, f] = bias[f] + Σ_{kh,q} x[n, corners[p] + kh·row + q] · weight[kh, q, f]``.

        The loop nest is n, f, p, kh, q. Six pixels and one vector of channels are a tile; a block
        of weights stays in the first-level cache while the pixels of an image go by. An image that
        needs padding is copied just before, into a place that stays in the second-level cache.

        Parameters
        ----------
        x : ndarray (N·H·W·C,)
        image : tuple of int
            H, W·C, and the rows and numbers of padding before them.
        padded : ndarray (H'·row,) or (0,)
            Room for one image with its padding; empty if it has none.
        row : int
            Numbers from one row of a (padded) image to the next.
        corners : ndarray of int (P,)
        KH : int
        weight : ndarray (KH, KW, C, F)
        bias : ndarray (F,)
        blocks : ndarray (blocks, 1 + KH·R, lanes)
            Room for both in blocks of channels.
        y : ndarray (N, OH, OW, F)
            Overwritten.
        """
        pack_weights(weight, bias, blocks, lanes)
        H, W, top, left = image
        N, OH, OW, F = y.shape
        P, rows = OH * OW, blocks.shape[1]
        R = (rows - 1) // KH
        source = padded if padded.size > 0 else x
        for n in range(N):
            base, first = n * H * W, n * P
            if padded.size > 0:
                pad_image(x, base, H, W, top, left, padded, 0, padded.size // row, row)
                base = 0
            for f in range(0, F, lanes):
                s = load(blocks, f * rows, lanes)
                for p in range(0, P, 12 if in_pairs else 6):
                    six, sums = six_from(p, P), (s, s, s, s, s, s)
                    others, more = six_from(min(p + 6, P - 1), P), sums
                    for kh in range(KH):
                        b, w = base + kh * row, f * rows + (1 + kh * R) * lanes
                        pixels = six_of(corners, six, b)
                        if in_pairs:
                            beyond = six_of(corners, others, b)
                            sums, more = _twelve_sums(
                                source, pixels, beyond, R, blocks, w, sums, more, lanes
                            )
                        else:
                            sums = six_sums(source, pixels, R, 1, blocks, w, lanes, sums, lanes)
                    store_six(y, six_times(six, F, first * F), f, F - f, sums, lanes)
                    if in_pairs:
                        store_six(y, six_times(others, F, first * F), f, F - f, more, lanes)

    return forward


@inline_function
def _twelve_sums(
    x: Array,
    places: SixPlaces,
    others: SixPlaces,
    count: int,
    weight: Array,
    w: int,
    start: Six,
    more: Six,
    lanes: int,
) -> tuple[Six, Six]:
    """Return what `six_sums` gives for two tiles that take the same weights, side by side."""
    p0, p1, p2, p3, p4, p5 = places
    q0, q1, q2, q3, q4, q5 = others
    a0, a1, a2, a3, a4, a5 = start
    b0, b1, b2, b3, b4, b5 = more
    for i in range(count):
        v = load(weight, w + i * lanes, lanes)
        a0 = fma(load_splat(x, p0 + i, lanes), v, a0)
        a1 = fma(load_splat(x, p1 + i, lanes), v, a1)
        a2 = fma(load_splat(x, p2 + i, lanes), v, a2)
        a3 = fma(load_splat(x, p3 + i, lanes), v, a3)
        a4 = fma(load_splat(x, p4 + i, lanes), v, a4)
        a5 = fma(load_splat(x, p5 + i, lanes), v, a5)
        b0 = fma(load_splat(x, q0 + i, lanes), v, b0)
        b1 = fma(load_splat(x, q1 + i, lanes), v, b1)
        b2 = fma(load_splat(x, q2 + i, lanes), v, b2)
        b3 = fma(load_splat(x, q3 + i, lanes), v, b3)
        b4 = fma(load_splat(x, q4 + i, lanes), v, b4)
        b5 = fma(load_splat(x, q5 + i, lanes), v, b5)
    return (a0, a1, a2, a3, a4, a5), (b0, b1, b2, b3, b4, b5)


@specialize_nr
def backward_weight_kernel(lanes: int) -> Kernel:
    """Make the gradient of the weights for tiles of so many lanes."""

    def backward_weight(
        x: Array,
        image: int,
        window: Indices,
        OH: int,
        down: int,
        OW: int,
        right: int,
        block: int,
        dy: Array,
        dweight: Array,
    ) -> None:
        """Add up the gradient of the weights over all pixels of all images.

        ``dweight[k, f] += Σ_{n,oh,ow} x[n, oh·down + ow·right + window[k]] · dy[n, oh, ow, f]``.
        The loop nest is n, block of pixels, k, f, oh, ow: six weights and one vector of channels
        are a tile, whose sums stay in registers over a block; what a block needs of x and dy stays
        in the first-level cache while all tiles go by.

        Parameters
        ----------
        x : ndarray (N, image)
        image : int
            Numbers from one image to the next.
        window : ndarray of int (KH·R,)
            Where the numbers of a window lie, counted from its corner.
        OH, down : int
            Rows of windows, and numbers from one to the next.
        OW, right : int
            Windows in a row, and numbers from one to the next.
        block : int
            Pixels of a block: several rows, or a part of one.
        dy : ndarray (≥ N, OH·OW, ≥ F)
            So long that a vector may run over the end of a pixel of image N - 1.
        dweight : ndarray (KH·R, F)
            Updated.
        """
        _, P, step = dy.shape
        K, F = dweight.shape
        rows, columns = max(1, block // OW), min(block, OW)
        for n in range(x.shape[0]):
            for oh in range(0, OH, rows):
                for ow in range(0, OW, columns):
                    corner = n * image + oh * down + ow * right
                    first = (n * P + oh * OW + ow) * step
                    height, width = min(rows, OH - oh), min(columns, OW - ow)
                    for k in range(0, K, 6):
                        six = six_from(k, K)
                        places = six_times(six, F, 0)
                        for f in range(0, F, lanes):
                            sums = load_six(dweight, places, f, F - f, lanes)
                            for h in range(height):
                                numbers = six_of(window, six, corner + h * down)
                                g = first + h * OW * step + f
                                sums = six_sums(x, numbers, width, right, dy, g, step, sums, lanes)
                            store_six(dweight, places, f, F - f, sums, lanes)

    return backward_weight


@kernel
def backward_weight_few_filters_kernel(
    x: Array,  # (N, H, W, C), padded
    image_stride: int,
    offsets: Indices,  # (V,) offset of each vector inside a window
    OH: int,
    h_stride: int,
    OW: int,
    w_stride: int,
    dy: Array,  # (N, OH * OW, F)
    sums: Array,  # scratch (F, V, NR_SMALL)
    dweight: Array,  # out (KH, KW * C, F)
) -> None:
    """Sum ``dy[n, p, f] · x[n, origin[p] + offsets[v] + l]``; the lanes l lie along a window row.

    Loop order: n, f, v, oh, ow. Six vectors are a microtile.
    """
    N, P, F = dy.shape
    V = len(offsets)
    sums[:] = 0
    for n in range(N):
        for f in range(F):
            for v in range(0, V, 6):
                six = six_from(v, V)
                places = six_times(six, NR_SMALL, f * V * NR_SMALL)
                a0, a1, a2, a3, a4, a5 = load_six(sums, places, 0, NR_SMALL, NR_SMALL)
                v0, v1, v2, v3, v4, v5 = six_of(offsets, six, 0)
                g = n * P * F + f
                for oh in range(OH):
                    i = n * image_stride + oh * h_stride
                    for _ in range(OW):
                        d = load_splat(dy, g, NR_SMALL)
                        a0 = fma(d, load(x, i + v0, NR_SMALL), a0)
                        a1 = fma(d, load(x, i + v1, NR_SMALL), a1)
                        a2 = fma(d, load(x, i + v2, NR_SMALL), a2)
                        a3 = fma(d, load(x, i + v3, NR_SMALL), a3)
                        a4 = fma(d, load(x, i + v4, NR_SMALL), a4)
                        a5 = fma(d, load(x, i + v5, NR_SMALL), a5)
                        i += w_stride
                        g += F
                store_six(sums, places, 0, NR_SMALL, (a0, a1, a2, a3, a4, a5), NR_SMALL)
    KH, K_row, _ = dweight.shape
    chunks = V // KH  # vectors of a window row; the last one overlaps the one before
    for kh in range(KH):
        for j in range(chunks):
            q = min(j * NR_SMALL, K_row - NR_SMALL)
            for lane in range(NR_SMALL):
                for f in range(F):
                    dweight[kh, q + lane, f] = sums[f, kh * chunks + j, lane]
