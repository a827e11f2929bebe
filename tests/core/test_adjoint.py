"""Linear ops are adjoint to their backward: ``<A x, c> == <x, Aᵀ c>``.

The pairs are linear in x, so this one equation says all of "backward belongs to forward", and on
small whole numbers it is exact. A mistake that both halves share is left to the reference.
"""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minicnn import ops
from minicnn.kernels import im2col
from minicnn.kernels.gemm import gemm
from minicnn.shapes.window import make_window

SIZES = [(4, 4), (5, 3), (2, 7)]
KERNELS = [(1, 1), (2, 2), (3, 2), (2, 5)]
STRIDES = [1, 2, (3, 1)]
PADDINGS = [0, 1, (2, 0), (1, 3), "same"]


def inner(a, b):
    """Sum of products, in whole numbers."""
    assert a.shape == b.shape
    return int(np.sum(a.astype(np.int64) * b.astype(np.int64)))


def fits(size, kernel, padding):
    pads = {"same": kernel}.get(padding, padding if isinstance(padding, tuple) else (padding,) * 2)
    return all(s + 2 * p >= k for s, k, p in zip(size, kernel, pads, strict=True))


def gather_is_the_adjoint_of_scatter(draw, N, size, C, window):
    x = draw(N, *size, C)
    patches = np.empty((N, window.OH, window.OW, window.KH, window.KW, C), x.dtype)
    im2col.im2col(x, window, patches)
    c, scattered = draw(*patches.shape), np.empty_like(x)
    # One filter for each value of a window: c is the gradient of the windows.
    K = window.KH * window.KW * C
    identity = np.eye(K, dtype=x.dtype).reshape(window.KH, window.KW, C, K)
    im2col.backward_input(c.reshape(N, window.OH, window.OW, K), identity, window, scattered)
    assert inner(patches, c) == inner(x, scattered)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_gather_and_scatter(integers, dtype, stride, padding):
    draw, count = integers(1, dtype), 0
    for size, kernel in product(SIZES, KERNELS):
        if fits(size, kernel, padding):
            window = make_window("test", size, kernel, stride, padding)
            gather_is_the_adjoint_of_scatter(draw, 2, size, 3, window)
            count += 1
    assert count >= 9  # of 12


numbers = st.integers(1, 6)
pads = st.integers(0, 3)


@given(
    size=st.tuples(numbers, numbers),
    kernel=st.tuples(numbers, numbers),
    stride=st.tuples(numbers, numbers),
    padding=st.tuples(pads, pads) | st.just("same"),
    batch=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 99),
)
def test_gather_and_scatter_of_any_shape(integers, size, kernel, stride, padding, batch, seed):
    assume(fits(size, kernel, padding))
    window = make_window("test", size, kernel, stride, padding)
    gather_is_the_adjoint_of_scatter(integers(seed, np.float32), batch[0], size, batch[1], window)


def test_a_pixel_copied_k_times_collects_k_gradients():
    # 3×3 image, 2×2 windows at stride 1: corners are in one window, edges in two, the middle in
    # all four.
    window = make_window("test", (3, 3), 2)
    dx = np.empty((1, 3, 3, 1))
    im2col.backward_input(np.ones((1, 2, 2, 1)), np.ones((2, 2, 1, 1)), window, dx)
    assert dx[0, :, :, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_conv2d_is_bilinear_and_backward_its_two_adjoints(integers, dtype, stride, padding):
    draw = integers(2, dtype)
    x, weight, no_bias = draw(2, 5, 6, 2), draw(3, 2, 2, 3), np.zeros(3, dtype)
    y, cache = ops.conv2d(x, weight, no_bias, stride, padding)
    dy = draw(*y.shape)
    dx, dweight, dbias = ops.conv2d_backward(dy, cache)
    assert inner(y, dy) == inner(x, dx) == inner(weight, dweight)
    assert inner(np.ones_like(y), dy) == inner(np.ones_like(dbias), dbias)


@pytest.mark.parametrize(("N", "inputs", "outputs"), [(1, 1, 1), (4, 3, 5), (7, 66, 2)])
def test_dense_is_bilinear_and_backward_its_two_adjoints(integers, dtype, N, inputs, outputs):
    draw = integers(3, dtype)
    x, weight, no_bias = draw(N, inputs), draw(inputs, outputs), np.zeros(outputs, dtype)
    y, cache = ops.dense(x, weight, no_bias)
    dy = draw(N, outputs)
    dx, dweight, dbias = ops.dense_backward(dy, cache)
    assert inner(y, dy) == inner(x, dx) == inner(weight, dweight)
    assert inner(np.ones_like(y), dy) == inner(np.ones_like(dbias), dbias)


@pytest.mark.parametrize("M", [1, 4, 6])
@pytest.mark.parametrize("K", [1, 5, 65])
def test_matmul_and_its_transposes(integers, dtype, M, K):
    draw, N = integers(4, dtype), 3
    a, b, c = draw(M, K), draw(K, N), draw(M, N)
    ab, at_c, c_bt = (np.zeros(shape, dtype) for shape in [(M, N), (K, N), (M, K)])
    gemm(a, b, ab)
    gemm(a.T, c, at_c)
    gemm(c, np.ascontiguousarray(b.T), c_bt)
    assert inner(ab, c) == inner(b, at_c) == inner(a, c_bt)


@pytest.mark.parametrize(
    ("pool_size", "stride", "padding"),
    [(2, None, 0), (3, 1, 1), ((2, 3), (1, 2), (1, 2)), (2, 3, 0), ((3, 2), 2, "same")],
)
def test_max_pool2d_backward_is_the_adjoint_of_reading_the_argmax(
    integers, dtype, pool_size, stride, padding
):
    draw = integers(5, dtype)
    _, cache = ops.max_pool2d(draw(2, 5, 6, 3), pool_size, stride, padding)
    _, KW, SH, SW, top, left, *_ = cache.window
    argmax = cache.argmax.astype(int)
    n, oh, ow, c = np.indices(argmax.shape)
    # Picking from another image what won in the first is linear, ties and all.
    other = draw(2, 5, 6, 3)
    picked = other[n, oh * SH - top + argmax // KW, ow * SW - left + argmax % KW, c]
    dy = draw(*argmax.shape)
    assert inner(picked, dy) == inner(other, ops.max_pool2d_backward(dy, cache))


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_depthwise_conv2d_is_bilinear_and_backward_its_two_adjoints(
    integers, dtype, stride, padding
):
    draw = integers(7, dtype)
    x, weight, no_bias = draw(2, 5, 6, 9), draw(3, 2, 9), np.zeros(9, dtype)
    y, cache = ops.depthwise_conv2d(x, weight, no_bias, stride, padding)
    dy = draw(*y.shape)
    dx, dweight, dbias = ops.depthwise_conv2d_backward(dy, cache)
    assert inner(y, dy) == inner(x, dx) == inner(weight, dweight)
    assert inner(np.ones_like(y), dy) == inner(np.ones_like(dbias), dbias)


@pytest.mark.parametrize(
    ("pool_size", "stride", "padding"),
    [(2, None, 0), (3, 1, 1), ((2, 3), (1, 2), (1, 2)), (2, 3, 0), ((3, 2), 2, "same")],
)
def test_avg_pool2d_backward_is_its_adjoint(integers, dtype, pool_size, stride, padding):
    draw = integers(8, dtype)
    area = int(np.prod(pool_size)) if isinstance(pool_size, tuple) else pool_size**2
    x = draw(2, 5, 6, 9) * area  # all means and shares are whole
    y, cache = ops.avg_pool2d(x, pool_size, stride, padding)
    dy = draw(*y.shape) * area
    assert inner(y, dy) == inner(x, ops.avg_pool2d_backward(dy, cache))


def test_global_avg_pool2d_backward_is_its_adjoint(integers, dtype):
    draw = integers(9, dtype)
    x = draw(3, 2, 4, 5) * 8
    y, cache = ops.global_avg_pool2d(x)
    dy = draw(*y.shape) * 8
    assert inner(y, dy) == inner(x, ops.global_avg_pool2d_backward(dy, cache))


def test_flatten(integers, dtype):
    draw = integers(6, dtype)
    x = draw(3, 2, 4, 5)
    y, cache = ops.flatten(x)
    dy = draw(*y.shape)
    assert inner(y, dy) == inner(x, ops.flatten_backward(dy, cache))
