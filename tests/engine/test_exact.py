"""Every op and kernel equals the reference with ``==``.

On small whole numbers each sum is exact, so the order of additions, the blocks of the matrix
product and fused multiply-adds make no difference. Any other result is an error.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import ops, reference
from minicnn.kernels import copy, gemm, im2col
from minicnn.kernels.gemm import BLOCK
from minicnn.ops import conv
from minicnn.shapes.window import make_window

THREADS = 4
# The backends that support every convolution, registered ones included.
BACKENDS = [name for name in conv.BACKENDS if name != "winograd"]


def equal(found, expected):
    """Compare values, shape and dtype; of tuples, element by element."""
    if isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            equal(one, other)
    else:
        np.testing.assert_array_equal(found, expected, strict=True)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


unequal_sides = pairs(1, 6).filter(lambda size: size[0] != size[1])

# ------------------------------------------------------------ convolution

# x (N, H, W, C), kernel (KH, KW, F), stride, padding
CONVOLUTIONS = {
    "3x3": ((2, 5, 4, 2), (3, 3, 2), 1, 0),
    "1x1": ((2, 3, 4, 3), (1, 1, 2), 1, 0),
    "5x5, K odd and above one block": ((1, 6, 5, 3), (5, 5, 2), 1, 0),
    "K even and above one block": ((1, 4, 3, 8), (3, 3, 3), 1, 1),
    "stride 2": ((2, 7, 6, 2), (3, 3, 2), 2, 0),
    "stride (2, 1)": ((1, 6, 5, 1), (2, 3, 2), (2, 1), 0),
    "stride larger than the kernel": ((1, 8, 7, 1), (2, 1, 2), (3, 4), 0),
    "padding 1": ((2, 4, 3, 2), (3, 3, 2), 1, 1),
    "padding (2, 0)": ((1, 3, 5, 2), (3, 2, 2), 1, (2, 0)),
    "padding larger than the kernel": ((1, 2, 3, 1), (1, 2, 1), 1, 3),
    "same, even kernel, stride (2, 3)": ((1, 5, 7, 2), (4, 2, 2), (2, 3), "same"),
    "valid": ((1, 4, 6, 1), (2, 3, 1), 2, "valid"),
    "kernel as large as the padded image": ((3, 3, 2, 2), (5, 4, 1), 1, 1),
    "padding larger than the kernel, stride 3": ((1, 4, 3, 1), (2, 1, 2), 3, 3),
    "one whole tile of filters": ((1, 3, 3, 1), (2, 2, 8), 1, 0),
    "one wide tile and a filter": ((1, 3, 4, 2), (2, 2, 17), 1, 0),
    "a wide tile, a narrow one and a filter": ((1, 2, 3, 1), (1, 2, 25), 1, 0),
    "several wide tiles and a rest": ((1, 2, 3, 2), (2, 2, 70), 1, 0),
    "one pixel, one channel, one filter": ((1, 1, 1, 1), (1, 1, 1), 1, 0),
    "5 rows of patches": ((5, 2, 2, 1), (2, 2, 3), 1, 0),
    "6 rows of patches": ((1, 4, 3, 1), (2, 2, 5), 1, 0),
    "7 rows of patches": ((1, 1, 7, 1), (1, 1, 1), 1, 0),
    "one filter of many channels": ((2, 5, 4, 9), (3, 3, 1), 1, 1),
    "few filters of many channels": ((3, 4, 5, 16), (2, 3, 2), 1, 0),
    "few filters of many channels, stride 2": ((2, 5, 6, 8), (3, 2, 3), 2, 1),
    "few channels of many filters": ((2, 5, 4, 3), (3, 3, 20), 1, 1),
    "few channels of many filters, stride 2": ((2, 7, 6, 2), (3, 4, 17), 2, 1),
    "more pixels in a row than a block takes": ((2, 17, 16, 1), (1, 1, 1), 1, 0),
    "more rows than a block takes": ((1, 30, 12, 1), (2, 2, 9), 1, 0),
}
# Winograd: x, filters, padding. Its tiles are 2×2 outputs, its blocks 24 tiles, its
# vectors 8 channels.
THREE_BY_THREE = {
    "one whole tile": ((1, 4, 4, 1), 1, 0),
    "one output": ((1, 3, 3, 2), 3, 0),
    "an odd row and column": ((2, 5, 7, 3), 2, 0),
    "an odd row": ((1, 5, 6, 8), 8, 0),
    "an odd column": ((1, 6, 5, 9), 17, 0),
    "padding": ((2, 3, 4, 2), 2, 1),
    "more padding than image": ((1, 2, 1, 1), 2, (3, 2)),
    "same": ((1, 5, 4, 2), 5, "same"),
    "more than a block of tiles": ((3, 8, 9, 2), 3, 1),
}


def convolution_equals_reference(draw, x_shape, kernel, stride, padding, backend="direct"):
    KH, KW, F = kernel
    x, weight, bias = draw(*x_shape), draw(KH, KW, x_shape[3], F), draw(F)
    y, cache = ops.conv2d(x, weight, bias, stride, padding, backend=backend)
    expected, reference_cache = reference.conv.conv2d(x, weight, bias, stride, padding)
    equal(y, expected)
    dy = draw(*y.shape)
    gradients = reference.conv.conv2d_backward(dy, reference_cache)
    equal(ops.conv2d_backward(dy, cache), gradients)
    no_dx, *others = ops.conv2d_backward(dy, cache, need_dx=False)
    assert no_dx is None
    equal(tuple(others), gradients[1:])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_conv2d(integers, dtype, case, backend):
    convolution_equals_reference(integers(1, dtype), *case, backend)


@pytest.mark.parametrize("case", THREE_BY_THREE.values(), ids=THREE_BY_THREE)
def test_conv2d_winograd(integers, dtype, case):
    x_shape, F, padding = case
    convolution_equals_reference(integers(1, dtype), x_shape, (3, 3, F), 1, padding, "winograd")


@pytest.mark.parametrize(
    ("images_per_chunk", "chunks"), [(0.5, [1] * 5), (1, [1] * 5), (2.5, [2, 2, 1]), (5, [5])]
)
def test_conv2d_in_chunks_with_a_smaller_last_chunk(
    integers, dtype, monkeypatch, images_per_chunk, chunks
):
    image_bytes = (5 * 3) * (2 * 2 * 2) * np.dtype(dtype).itemsize  # (OH*OW) * (KH*KW*C)
    limit = int(images_per_chunk * image_bytes)
    monkeypatch.setattr("minicnn.kernels.im2col.PATCHES_BYTES", limit)
    gathered, gather = [], im2col.im2col

    def counted(x, window, patches):
        gathered.append(len(x))
        gather(x, window, patches)

    monkeypatch.setattr(im2col, "im2col", counted)
    convolution_equals_reference(integers(2, dtype), (5, 6, 4, 2), (2, 2, 3), 1, 0, "im2col")
    assert gathered == chunks * 3  # forward, and dweight twice


@st.composite
def convolutions(draw):
    """Draw a row like those of CONVOLUTIONS: sizes up to 6, H other than W."""
    H, W = draw(unequal_sides)
    down, right = draw(pairs(0, 2))
    kernel = draw(st.integers(1, min(6, H + 2 * down))), draw(st.integers(1, min(6, W + 2 * right)))
    padding = draw(st.sampled_from([(down, right), "same"]))  # "same" takes any kernel
    stride = draw(st.integers(1, 3) | pairs(1, 6))
    N, C, F = (draw(st.integers(1, 3)) for _ in range(3))
    return (N, H, W, C), (*kernel, F), stride, padding


WORKING = st.sampled_from([name for name in BACKENDS if name != "reference"])


@given(convolutions(), st.integers(0, 99), st.sampled_from([np.float32, np.float64]), WORKING)
def test_conv2d_of_any_shape(integers, case, seed, dtype, backend):
    convolution_equals_reference(integers(seed, dtype), *case, backend)


@pytest.mark.slow
@settings(max_examples=5000)
@given(convolutions(), st.integers(0, 99), st.sampled_from([np.float32, np.float64]), WORKING)
def test_conv2d_of_any_shape_many_times(integers, case, seed, dtype, backend):
    convolution_equals_reference(integers(seed, dtype), *case, backend)


@st.composite
def three_by_three(draw):
    """Draw a row like those of THREE_BY_THREE."""
    down, right = padding = draw(pairs(0, 2))
    H, W = (draw(st.integers(max(1, 3 - 2 * p), 7)) for p in (down, right))
    N, C, F = draw(st.integers(1, 3)), draw(st.integers(1, 10)), draw(st.integers(1, 18))
    return (N, H, W, C), F, padding


FILTERED = (three_by_three(), st.integers(0, 99), st.sampled_from([np.float32, np.float64]))


@given(*FILTERED)
def test_winograd_of_any_shape(integers, case, seed, dtype):
    x_shape, F, padding = case
    convolution_equals_reference(integers(seed, dtype), x_shape, (3, 3, F), 1, padding, "winograd")


@pytest.mark.slow
@settings(max_examples=5000)
@given(*FILTERED)
def test_winograd_of_any_shape_many_times(integers, case, seed, dtype):
    x_shape, F, padding = case
    convolution_equals_reference(integers(seed, dtype), x_shape, (3, 3, F), 1, padding, "winograd")


# ------------------------------------------------------------ depthwise convolution

# The cases of convolutions, and more channels: whole vectors, narrow and wide, and ones that end
# inside one. A microtile is MR pixels forward and nine taps backward.
DEPTHWISE = {
    **{
        name: (x_shape, kernel[:2], stride, padding)
        for name, (x_shape, kernel, stride, padding) in CONVOLUTIONS.items()
    },
    "one narrow vector": ((2, 5, 4, 8), (3, 3), 1, 1),
    "a narrow vector and a channel": ((1, 4, 5, 9), (3, 3), 2, 1),
    "one wide vector": ((2, 5, 4, 16), (3, 3), 1, 1),
    "wide vectors, stride 2": ((2, 7, 6, 32), (5, 3), 2, 2),
    "three narrow vectors": ((1, 5, 6, 24), (2, 5), (1, 2), "same"),
    "several wide vectors and a rest": ((1, 2, 3, 70), (2, 2), 1, 0),
    "nothing but padding is seen": ((1, 1, 2, 3), (1, 1), 3, 2),
    "a seventh pixel": ((2, 1, 7, 3), (1, 1), 1, 0),
    "a tenth tap": ((1, 2, 9, 3), (1, 10), 1, 1),
}


def depthwise_equals_reference(draw, x_shape, kernel, stride, padding):
    C = x_shape[3]
    x, weight, bias = draw(*x_shape), draw(*kernel, C), draw(C)
    y, cache = ops.depthwise_conv2d(x, weight, bias, stride, padding)
    expected, reference_cache = reference.conv.depthwise_conv2d(x, weight, bias, stride, padding)
    equal(y, expected)
    dy = draw(*y.shape)
    gradients = reference.conv.depthwise_conv2d_backward(dy, reference_cache)
    equal(ops.depthwise_conv2d_backward(dy, cache), gradients)
    no_dx, *others = ops.depthwise_conv2d_backward(dy, cache, need_dx=False)
    assert no_dx is None
    equal(tuple(others), gradients[1:])


@pytest.mark.parametrize("case", DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_conv2d(integers, dtype, case):
    depthwise_equals_reference(integers(12, dtype), *case)


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_depthwise_conv2d_equals_conv2d_with_a_diagonal_weight(integers, dtype, case):
    (N, H, W, C), (KH, KW, _), *options = case
    draw = integers(13, dtype)
    x, weight, bias = draw(N, H, W, C), draw(KH, KW, C), draw(C)
    across = weight[..., None] * np.eye(C, dtype=dtype)  # (KH, KW, C, C)
    y, cache = ops.depthwise_conv2d(x, weight, bias, *options)
    expected, expected_cache = ops.conv2d(x, across, bias, *options)
    equal(y, expected)
    dy = draw(*y.shape)
    dx, dweight, dbias = ops.conv2d_backward(dy, expected_cache)
    own = np.einsum("hwcc->hwc", dweight).copy()
    equal(ops.depthwise_conv2d_backward(dy, cache), (dx, own, dbias))


@st.composite
def depthwise_cases(draw):
    """Draw a row like those of DEPTHWISE."""
    (N, H, W, few), (KH, KW, _), stride, padding = draw(convolutions())
    C = draw(st.just(few) | st.sampled_from([8, 9, 16, 24]))
    return (N, H, W, C), (KH, KW), stride, padding


DEPTHWISE_CASES = depthwise_cases(), st.integers(0, 99), st.sampled_from([np.float32, np.float64])


@given(*DEPTHWISE_CASES)
def test_depthwise_conv2d_of_any_shape(integers, case, seed, dtype):
    depthwise_equals_reference(integers(seed, dtype), *case)


@pytest.mark.slow
@settings(max_examples=3000)
@given(*DEPTHWISE_CASES)
def test_depthwise_conv2d_of_any_shape_many_times(integers, case, seed, dtype):
    depthwise_equals_reference(integers(seed, dtype), *case)


# ------------------------------------------------------------ the matrix product


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("K", [1, 2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1])
@pytest.mark.parametrize("M", [1, 2, 3, 4, 5, 7, 8])
def test_gemm_adds_a_product(integers, dtype, M, K, transposed):
    draw = integers(3, dtype)
    a = draw(K, M).T if transposed else draw(M, K)
    for N in (1, 3):
        b, out = draw(K, N), draw(M, N)
        expected = out.astype(np.int64) + a.astype(np.int64) @ b.astype(np.int64)
        gemm.gemm(a, b, out)
        equal(out, expected.astype(dtype))


# ------------------------------------------------------------ max-pooling

# x (N, H, W, C), pool size, stride, padding
POOLS = {
    "2x2": ((2, 4, 6, 3), 2, None, 0),
    "2x2, a row and a column left over": ((1, 5, 7, 2), 2, None, 0),
    "overlapping": ((1, 5, 6, 2), 3, 1, 0),
    "overlapping and padded": ((2, 5, 4, 1), (3, 2), (2, 1), (2, 1)),
    "with gaps": ((1, 7, 8, 2), 2, (3, 4), 0),
    "same": ((1, 5, 6, 1), (4, 3), (2, 3), "same"),
    "window larger than the image": ((1, 2, 3, 2), (5, 4), 1, (2, 3)),
    "1x1": ((1, 2, 3, 1), 1, None, 0),
    # Whole vectors of channels: one, three, one wide vector, two wide vectors.
    "2x2, 16 channels": ((2, 4, 6, 16), 2, None, 0),
    "2x2, 48 channels, a row and a column left over": ((1, 5, 7, 48), 2, None, 0),
    "2x2 with gaps, 128 channels": ((1, 7, 8, 128), 2, (3, 4), 0),
    "2x2 at a stride of 1, 16 channels": ((2, 3, 4, 16), 2, 1, 0),
    "2x2, same, 16 channels": ((1, 5, 7, 16), 2, None, "same"),
    "2x2 beyond the right edge only": ((1, 4, 5, 16), 2, None, "same"),
    "3x3 at a stride of 2, 128 channels": ((2, 6, 8, 128), 3, 2, 0),
    "overlapping and padded, 16 channels": ((2, 5, 4, 16), (3, 2), (2, 1), (2, 1)),
    "padded by more than overlaps, 16 channels": ((1, 3, 5, 16), 4, 1, 3),
    "with gaps one way, 16 channels": ((1, 7, 8, 16), (3, 2), (1, 3), 0),
    "window larger than the image, 16 channels": ((1, 2, 3, 16), (5, 4), 1, (2, 3)),
    "places beyond a byte, 16 channels": ((1, 17, 18, 16), (17, 16), 1, 0),
}


def pool_equals_reference(x, dy_draw, pool_size, stride, padding):
    y, cache = ops.max_pool2d(x, pool_size, stride, padding)
    expected, reference_cache = reference.pooling.max_pool2d(x, pool_size, stride, padding)
    equal(y, expected)
    # The pixel of each maximum, as (h, w) of the image.
    _, KW, SH, SW, top, left, OH, OW = cache.window
    oh, ow = np.arange(OH)[:, None, None], np.arange(OW)[:, None]
    position = cache.argmax.astype(np.int64)
    h, w = oh * SH - top + position // KW, ow * SW - left + position % KW
    equal(np.stack([h, w], axis=-1), reference_cache[1])
    dy = dy_draw(*y.shape)
    equal(
        ops.max_pool2d_backward(dy, cache),
        reference.pooling.max_pool2d_backward(dy, reference_cache),
    )


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
def test_max_pool2d(integers, dtype, case):
    x_shape, *options = case
    draw = integers(4, dtype)
    pool_equals_reference(draw(*x_shape), draw, *options)


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("values", [[0.0], [1.0, 2.0], [-np.inf, -1.0], [np.nan, 0.0, np.inf]])
def test_max_pool2d_of_equal_values(integers, case, values):
    x_shape, *options = case
    x = np.random.default_rng(5).choice(np.array(values), x_shape)
    pool_equals_reference(x, integers(5, np.float64), *options)


@st.composite
def pools(draw):
    """Draw a row like those of POOLS: sizes up to 6, H other than W."""
    H, W = draw(unequal_sides)
    KH, KW = draw(pairs(1, 4))
    down = draw(st.integers(max(0, (KH - H + 1) // 2), KH - 1))
    right = draw(st.integers(max(0, (KW - W + 1) // 2), KW - 1))
    padding = draw(st.sampled_from([(down, right), "same"]))
    N, C = draw(st.integers(1, 3)), draw(st.integers(1, 3) | st.sampled_from([8, 16, 32, 40, 64]))
    return (N, H, W, C), (KH, KW), draw(st.none() | pairs(1, 4)), padding


@given(pools(), st.integers(0, 99), st.sampled_from([np.float32, np.float64]))
def test_max_pool2d_of_any_shape(integers, case, seed, dtype):
    x_shape, *options = case
    draw = integers(seed, dtype)
    pool_equals_reference(draw(*x_shape), draw, *options)


@pytest.mark.slow
@settings(max_examples=3000)
@given(pools(), st.integers(0, 99), st.sampled_from([np.float32, np.float64]))
def test_max_pool2d_of_any_shape_many_times(integers, case, seed, dtype):
    x_shape, *options = case
    draw = integers(seed, dtype)
    pool_equals_reference(draw(*x_shape), draw, *options)


# ------------------------------------------------------------ average pooling
# A mean is rounded once, to the same value on both sides. dy is a multiple of the pixels of a
# window, so that each share is whole.


def average_equals_reference(draw, x_shape, pool_size, stride, padding):
    x = draw(*x_shape)
    y, cache = ops.avg_pool2d(x, pool_size, stride, padding)
    expected, reference_cache = reference.pooling.avg_pool2d(x, pool_size, stride, padding)
    equal(y, expected)
    dy = draw(*y.shape) * (cache.window.KH * cache.window.KW)
    equal(
        ops.avg_pool2d_backward(dy, cache),
        reference.pooling.avg_pool2d_backward(dy, reference_cache),
    )


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
def test_avg_pool2d(integers, dtype, case):
    average_equals_reference(integers(14, dtype), *case)


AVERAGES = (pools(), st.integers(0, 99), st.sampled_from([np.float32, np.float64]))


@given(*AVERAGES)
def test_avg_pool2d_of_any_shape(integers, case, seed, dtype):
    average_equals_reference(integers(seed, dtype), *case)


@pytest.mark.slow
@settings(max_examples=3000)
@given(*AVERAGES)
def test_avg_pool2d_of_any_shape_many_times(integers, case, seed, dtype):
    average_equals_reference(integers(seed, dtype), *case)


def global_average_equals_reference(draw, x_shape):
    x = draw(*x_shape)
    y, cache = ops.global_avg_pool2d(x)
    expected, reference_cache = reference.pooling.global_avg_pool2d(x)
    equal(y, expected)
    dy = draw(*y.shape)
    gradient = reference.pooling.global_avg_pool2d_backward(dy, reference_cache)
    equal(ops.global_avg_pool2d_backward(dy, cache), gradient)


@pytest.mark.parametrize(
    "x_shape", [(2, 3, 4, 2), (1, 1, 1, 1), (3, 5, 13, 16), (1, 9, 8, 7), (2, 1, 3, 33)]
)
def test_global_avg_pool2d(integers, dtype, x_shape):
    global_average_equals_reference(integers(15, dtype), x_shape)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 18)),
    st.integers(0, 99),
    st.sampled_from([np.float32, np.float64]),
)
def test_global_avg_pool2d_of_any_shape(integers, x_shape, seed, dtype):
    global_average_equals_reference(integers(seed, dtype), x_shape)


# ------------------------------------------------------------ dense, flatten, relu, im2col


@pytest.mark.parametrize(
    ("N", "inputs", "outputs"), [(1, 1, 1), (4, 3, 2), (3, 5, 1), (6, 65, 3), (9, 128, 2)]
)
def test_dense(integers, dtype, N, inputs, outputs):
    draw = integers(6, dtype)
    x, weight, bias = draw(N, inputs), draw(inputs, outputs), draw(outputs)
    y, cache = ops.dense(x, weight, bias)
    expected, reference_cache = reference.dense.dense(x, weight, bias)
    equal(y, expected)
    dy = draw(N, outputs)
    gradients = reference.dense.dense_backward(dy, reference_cache)
    equal(ops.dense_backward(dy, cache), gradients)
    no_dx, *others = ops.dense_backward(dy, cache, need_dx=False)
    assert no_dx is None
    equal(tuple(others), gradients[1:])


@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (1, 1, 5, 1), (3, 2, 1, 4)])
def test_flatten(integers, dtype, shape):
    draw = integers(7, dtype)
    x = draw(*shape)
    y, cache = ops.flatten(x)
    expected, reference_cache = reference.dense.flatten(x)
    equal(y, expected)
    dy = draw(*y.shape)
    equal(ops.flatten_backward(dy, cache), reference.dense.flatten_backward(dy, reference_cache))


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 2), (5, 7), (6,), (31,), (32,), (3, 11), (2, 4, 8), ()]
)
def test_relu(integers, dtype, shape):
    draw = integers(8, dtype)
    x, dy = draw(*shape), draw(*shape)
    y, cache = ops.relu(x)
    expected, reference_cache = reference.activations.relu(x)
    equal(y, expected)
    equal(ops.relu_backward(dy, cache), reference.activations.relu_backward(dy, reference_cache))


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_im2col_and_col2im(integers, dtype, case):
    (N, H, W, C), (KH, KW, _), stride, padding = case
    draw = integers(9, dtype)
    window = make_window("test", (H, W), (KH, KW), stride, padding)
    x = draw(N, H, W, C)
    dx = np.full_like(x, np.nan)
    patches = np.full((N, window.OH, window.OW, KH, KW, C), np.nan, dtype)
    dpatches = draw(*patches.shape)
    expected_patches, expected_dx = np.zeros_like(patches), np.zeros_like(x)
    for oh, ow, kh, kw in product(range(window.OH), range(window.OW), range(KH), range(KW)):
        h, w = oh * window.SH - window.top + kh, ow * window.SW - window.left + kw
        if 0 <= h < H and 0 <= w < W:
            expected_patches[:, oh, ow, kh, kw] = x[:, h, w]
            expected_dx[:, h, w] += dpatches[:, oh, ow, kh, kw]
    im2col.im2col(x, window, patches)  # must overwrite every NaN
    equal(patches, expected_patches)
    # One filter for each value of a window: dy is the gradient of the windows.
    K = KH * KW * C
    dy, identity = dpatches.reshape(*patches.shape[:3], K), np.eye(K, dtype=dtype)
    im2col.backward_input(dy, identity.reshape(KH, KW, C, K), window, dx)  # here too
    equal(dx, expected_dx)


# ------------------------------------------------------------ batches and threads
# Here the values are normal, so sums are rounded: equal bytes mean one order of additions.


def test_an_image_has_the_same_output_alone_and_in_a_batch(normals, dtype):
    draw = normals(10, dtype)
    x, weight, bias = draw(5, 5, 3, 8), draw(3, 3, 8, 7), draw(7)  # K = 72, above one block
    y, cache = ops.conv2d(x, weight, bias, padding=(1, 0))
    dy = draw(*y.shape)
    dx, _, _ = ops.conv2d_backward(dy, cache)
    for n in range(5):
        one = slice(n, n + 1)
        y_one, cache = ops.conv2d(x[one], weight, bias, padding=(1, 0))
        equal(y_one, y[one])
        equal(ops.conv2d_backward(dy[one], cache)[0], dx[one])


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 10), (64, 10), (131, 75)])
def test_a_row_has_the_same_output_alone_and_in_a_batch(normals, dtype, inputs, outputs, relu):
    draw = normals(11, dtype)
    x, weight, bias = draw(7, inputs), draw(inputs, outputs), draw(outputs)
    dy = draw(7, outputs)
    y, cache = ops.dense(x, weight, bias, relu=relu)
    dx, _, _ = ops.dense_backward(dy, cache)
    for n in range(7):
        one = slice(n, n + 1)
        y_one, cache = ops.dense(x[one], weight, bias, relu=relu)
        equal(y_one, y[one])
        equal(ops.dense_backward(dy[one], cache)[0], dx[one])


def run_conv2d(draw):
    x, weight, bias = draw(5, 6, 5, 3), draw(3, 3, 3, 4), draw(4)
    y, cache = ops.conv2d(x, weight, bias, padding=1)
    return (y, *ops.conv2d_backward(y, cache))


def run_max_pool2d(draw):
    y, cache = ops.max_pool2d(draw(4, 6, 5, 3), 3, 1)
    return y, cache.argmax, ops.max_pool2d_backward(y, cache)


def run_avg_pool2d(draw):
    y, cache = ops.avg_pool2d(draw(4, 6, 5, 3), 3, 1, 1)
    return y, ops.avg_pool2d_backward(y, cache)


def run_global_avg_pool2d(draw):
    y, cache = ops.global_avg_pool2d(draw(4, 6, 5, 11))
    return y, ops.global_avg_pool2d_backward(y, cache)


def run_depthwise_conv2d(draw):
    y, cache = ops.depthwise_conv2d(draw(5, 6, 5, 11), draw(3, 3, 11), draw(11), 2, 1)
    return (y, *ops.depthwise_conv2d_backward(y, cache))


def run_dense(draw):
    y, cache = ops.dense(draw(9, 70), draw(70, 5), draw(5))
    return (y, *ops.dense_backward(y, cache))


def run_relu(draw):
    y, cache = ops.relu(draw(9, 70))
    return y, ops.relu_backward(draw(9, 70), cache)


def run_softmax(draw):
    y, cache = ops.softmax(draw(9, 10))
    return y, ops.softmax_backward(draw(9, 10), cache)


def run_batch_norm(draw):
    y, cache = ops.batch_norm(draw(9, 5, 4, 11), draw(11), draw(11), relu=True)
    return (y, cache.mean, cache.variance, *ops.batch_norm_backward(y, cache))


@pytest.mark.parametrize(
    "run",
    [
        run_conv2d,
        run_depthwise_conv2d,
        run_max_pool2d,
        run_avg_pool2d,
        run_global_avg_pool2d,
        run_dense,
        run_relu,
        run_softmax,
        run_batch_norm,
    ],
)
def test_concurrent_threads_compute_the_bytes_of_one_thread(normals, dtype, run, monkeypatch):
    monkeypatch.setattr("minicnn.kernels.im2col.PATCHES_BYTES", 2**14)  # several chunks

    def alone(seed):
        return [array.tobytes() for array in run(normals(seed, dtype))]

    barrier = Barrier(THREADS, timeout=60)

    def together(seed):
        barrier.wait()
        return [alone(seed) for _ in range(3)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(together, range(THREADS)))  # different values in each thread
    assert found == [[alone(seed)] * 3 for seed in range(THREADS)]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 9), (8, 8), (16, 24), (21, 13), (33, 5)])
def test_transpose(integers, dtype, rows, columns):
    matrix = integers(3, dtype)(rows, columns)
    transposed = np.full((columns, rows), 7, dtype)
    copy.transpose(matrix, transposed)
    np.testing.assert_array_equal(transposed, matrix.T)
