"""The fused convolution, ReLU and 2×2 max-pooling equal the three ops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential, ops
from minicnn.kernels import conv_pool_backward
from minicnn.layers.fusion import CONV_POOL, fuse
from minicnn.shapes.window import Window

# Without their caches, because some tests change the register count.
overlapping_chunks = conv_pool_backward._overlapping_chunks.__wrapped__
padded_chunks = conv_pool_backward._padded_chunks.__wrapped__

# x (N, H, W, C), kernel (KH, KW, F), stride, padding: a window row is KW·C values, which
# the kernels cut into vectors of 1 to 32 lanes and accumulate nine or three at a time.
CASES = {
    "3x3": ((2, 6, 5, 2), (3, 3, 2), 1, 0),
    "rows and columns that the pool drops": ((2, 6, 7, 2), (2, 3, 3), 1, 0),
    "padding": ((1, 4, 3, 2), (3, 3, 2), 1, 1),
    "stride": ((1, 9, 8, 1), (2, 3, 2), (3, 2), 0),
    "padding on the left, and as many columns outside all windows": (
        (1, 2, 6, 1),
        (1, 3, 1),
        (1, 3),
        (0, 1),
    ),
    "stride and same": ((1, 9, 7, 2), (4, 2, 2), 2, "same"),
    "8 values in a row": ((1, 4, 9, 1), (2, 8, 1), 1, 0),
    "9 values in a row, 9 filters": ((1, 3, 4, 3), (2, 3, 9), 1, 0),
    "40 values in a row, 8 filters": ((1, 3, 5, 10), (1, 4, 8), 1, 0),
    "96 values in a row, 16 filters": ((1, 2, 4, 32), (1, 3, 16), 1, 0),
    "105 values in a row, 25 filters": ((1, 2, 4, 35), (1, 3, 25), 1, 0),
    "70 filters, so that argmax times filters exceeds a byte": ((1, 2, 3, 1), (1, 2, 70), 1, 0),
    "130 values in a row": ((1, 3, 3, 65), (2, 2, 2), 1, 0),
    "5x5, one channel": ((1, 6, 7, 1), (5, 5, 9), 1, 0),
    "a flat window of 27, for the dense kernel": ((1, 4, 5, 3), (3, 3, 8), 1, 1),
    "a high window of 27, for the dense kernel": ((1, 11, 5, 1), (9, 3, 9), 1, 0),
    "3x3, 16 channels": ((1, 7, 6, 16), (3, 3, 17), 1, 0),
}


def assert_equals_separate_ops(draw, x_shape, kernel, stride, padding, relu, backend="direct"):
    KH, KW, F = kernel
    x, weight, bias = draw(*x_shape), draw(KH, KW, x_shape[3], F), draw(F)
    expected, conv_cache = ops.conv2d(x, weight, bias, stride, padding, backend="im2col")
    if relu:
        expected, relu_cache = ops.relu(expected)
    expected, pool_cache = ops.max_pool2d(expected, 2)
    y, cache = ops.conv2d_max_pool2d(x, weight, bias, stride, padding, relu=relu, backend=backend)
    np.testing.assert_array_equal(y, expected, strict=True)

    dy = draw(*y.shape)
    dx = ops.max_pool2d_backward(dy, pool_cache)
    if relu:
        dx = ops.relu_backward(dx, relu_cache)
    gradients = ops.conv2d_backward(dx, conv_cache)
    for gradient, other in zip(ops.conv2d_max_pool2d_backward(dy, cache), gradients, strict=True):
        np.testing.assert_array_equal(gradient, other, strict=True)
    no_dx, *others = ops.conv2d_max_pool2d_backward(dy, cache, need_dx=False)
    assert no_dx is None
    for gradient, other in zip(others, gradients[1:], strict=True):
        np.testing.assert_array_equal(gradient, other, strict=True)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conv_pool_equals_separate_ops(integers, dtype, case, relu):
    assert_equals_separate_ops(integers(1, dtype), *case, relu)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case[1][:2] == (3, 3) and case[2] == 1],
    ids=lambda case: str(case),
)
def test_winograd_conv_pool_equals_separate_ops(integers, dtype, case, relu):
    assert_equals_separate_ops(integers(1, dtype), *case, relu, "winograd")


@pytest.mark.parametrize("registers", [(16, 20), (8, 12), (4, 12)], ids="{0[0]} lanes".format)
@pytest.mark.parametrize("KH", [1, 2, 3, 5])
@pytest.mark.parametrize("R", [1, 3, 5, 8, 18, 30, 31, 32, 48, 96, 105, 144])
def test_chunks_cover_a_window(monkeypatch, registers, KH, R):
    monkeypatch.setattr(conv_pool_backward, "SIMD_WIDTH", registers[0])
    monkeypatch.setattr(conv_pool_backward, "ACCUMULATOR_REGISTERS", registers[1])
    row = R + 2
    window = [kh * row + q for kh in range(KH) for q in range(R)]

    lanes, starts = overlapping_chunks(KH, R, row)
    assert sorted({start + lane for start in starts for lane in range(lanes)}) == window

    lanes, starts, _ = padded_chunks(KH, R, row, 4)
    covered = sorted(start + lane for start in starts for lane in range(lanes))
    assert len(set(covered)) == len(covered)
    assert set(covered) >= set(window)


def test_choose_width_uses_the_fewest_registers(monkeypatch):
    def chosen(R):
        return conv_pool_backward.choose_width(
            3, R, conv_pool_backward.VECTOR_WIDTHS, conv_pool_backward.nine_fit_in_registers
        )

    monkeypatch.setattr(conv_pool_backward, "SIMD_WIDTH", 16)
    monkeypatch.setattr(conv_pool_backward, "ACCUMULATOR_REGISTERS", 20)
    assert list(map(conv_pool_backward.nine_fit_in_registers, (8, 16, 32))) == [True, True, True]
    assert [chosen(R) for R in (30, 48, 96, 144)] == [32, 16, 32, 16]
    monkeypatch.setattr(conv_pool_backward, "SIMD_WIDTH", 8)
    monkeypatch.setattr(conv_pool_backward, "ACCUMULATOR_REGISTERS", 12)
    assert list(map(conv_pool_backward.nine_fit_in_registers, (8, 16, 32))) == [True, False, False]
    assert [chosen(R) for R in (30, 48, 96, 144)] == [32, 8, 32, 8]


def test_rows_of_a_block_fit_in_l1(monkeypatch):
    monkeypatch.setattr(conv_pool_backward, "L1_BYTES", 28 * 1024)
    rows_per_block = conv_pool_backward._rows_per_block
    window = Window(3, 3, 1, 1, 0, 0, 24, 24)
    assert rows_per_block(window, 5, 13 * 32 * 4) == 5  # all windows
    assert rows_per_block(window, 12, 26 * 32 * 4) == 3  # eight rows of 3328 bytes
    assert rows_per_block(window, 12, 26 * 32 * 8) == 1  # of float64
    assert rows_per_block(window, 12, 6 * 2000 * 4) == 1  # a row of the image is longer than L1


def test_nine_chunks_require_that_their_weights_fit_in_l1(monkeypatch):
    monkeypatch.setattr(conv_pool_backward, "SIMD_WIDTH", 16)
    monkeypatch.setattr(conv_pool_backward, "ACCUMULATOR_REGISTERS", 20)
    monkeypatch.setattr(conv_pool_backward, "L1_BYTES", 42 * 1024)
    cuts = {F: padded_chunks(3, 3 * C, 26 * C, 4 * F) for C, F in ((32, 32), (64, 64), (96, 96))}
    assert {F: (width, use_nine) for F, (width, _, use_nine) in cuts.items()} == {
        32: (32, True),
        64: (16, True),  # 36 KiB; of 32 lanes 72
        96: (32, False),
    }


@pytest.mark.parametrize("F", [1, 63, 64, 65, 130])
def test_any_number_of_filters(integers, F):
    assert_equals_separate_ops(integers(2, np.float64), (2, 6, 4, 3), (3, 3, F), 1, 0, True)


@st.composite
def convolutions(draw):
    """Draw sizes, strides and paddings that leave at least 2×2 pixels to pool."""
    KH, KW = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    SH, SW = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    down, right = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    H = draw(st.integers(max(1, KH + SH - 2 * down), 7))
    W = draw(st.integers(max(1, KW + SW - 2 * right), 7))
    N, C, F = (draw(st.integers(1, 3)) for _ in range(3))
    return (N, H, W, C), (KH, KW, F), (SH, SW), (down, right)


ANY = (convolutions(), st.integers(0, 99), st.sampled_from([np.float32, np.float64]), st.booleans())


@given(*ANY)
def test_conv_pool_of_any_shape(integers, case, seed, dtype, relu):
    assert_equals_separate_ops(integers(seed, dtype), *case, relu)


@pytest.mark.slow
@settings(max_examples=5000)
@given(*ANY)
def test_conv_pool_of_any_shape_many_times(integers, case, seed, dtype, relu):
    assert_equals_separate_ops(integers(seed, dtype), *case, relu)


@pytest.mark.parametrize("relu", [False, True])
def test_nan_and_infinity_propagate(dtype, relu):
    x = np.zeros((1, 6, 6, 1), dtype)
    x[0, 1, 1, 0], x[0, 4, 4, 0] = np.nan, np.inf
    weight, bias = np.ones((1, 1, 1, 2), dtype), np.full(2, -1, dtype)
    y, _ = ops.conv2d_max_pool2d(x, weight, bias, relu=relu)
    expected = np.full((1, 3, 3, 2), 0 if relu else -1, dtype)
    expected[0, 0, 0], expected[0, 2, 2] = np.nan, np.inf
    np.testing.assert_array_equal(y, expected)


def test_conv2d_max_pool2d_rejects_wrong_shapes():
    ones = np.ones
    with pytest.raises(ValueError, match="x has 3 channels but weight expects 1"):
        ops.conv2d_max_pool2d(ones((1, 4, 4, 3)), ones((3, 3, 1, 2)), ones(2))
    with pytest.raises(ValueError, match=r"conv2d_max_pool2d: the pool 2×2 is larger .* 1×2"):
        ops.conv2d_max_pool2d(ones((1, 3, 4, 1)), ones((3, 3, 1, 2)), ones(2))
    _, cache = ops.conv2d_max_pool2d(ones((1, 4, 4, 1)), ones((3, 3, 1, 2)), ones(2))
    with pytest.raises(ValueError, match=r"dy has shape \(1, 2, 2, 2\) but the output has \(1, 1,"):
        ops.conv2d_max_pool2d_backward(ones((1, 2, 2, 2)), cache)


# ---------------------------------------------------------------- fusion of layers


def fused(*layers):
    """Return (first layer, number of layers) of every fused step."""
    return [(step.first, step.length) for step in fuse(layers) if step.length > 1]


def test_fuse_finds_conv_relu_and_pool():
    conv, relu, pool = Conv2D(2, 3), ReLU(), MaxPool2D(2)
    assert fused(conv, relu, pool, conv, pool, Flatten()) == [(0, 3), (3, 2)]
    assert fused(conv, conv, relu, pool) == [(1, 3)]
    assert fused(conv, relu, conv, relu, MaxPool2D(3)) == [(0, 2), (2, 2)]
    assert fused(conv, relu, MaxPool2D(2, stride=1)) == [(0, 2)]
    assert fused(Flatten(), Dense(3), relu, relu, Dense(2)) == [(1, 2)]
    assert fused(conv, relu, MaxPool2D((2, 2), stride=2, padding="valid")) == [(0, 3)]


@pytest.mark.parametrize(
    "layers",
    [
        [Conv2D(2, 3)],
        [ReLU(), MaxPool2D(2)],
        [Conv2D(2, 3), MaxPool2D(3)],
        [Conv2D(2, 3), MaxPool2D(2, stride=1)],
        [Conv2D(2, 3, backend="im2col"), ReLU(), MaxPool2D(2)],
        [Conv2D(2, 3, backend="reference"), ReLU()],
        [Flatten(), Dense(3)],
        [Flatten(), ReLU()],
    ],
)
def test_fuse_leaves_other_layers_alone(layers):
    assert fused(*layers) == []
    assert [step.layer for step in fuse(layers)] == layers


def test_a_fused_network_equals_its_layers(integers):
    convolutions = [Conv2D(3, 3), ReLU(), MaxPool2D(2), Conv2D(2, 2), ReLU(), Conv2D(2, 1)]
    layers = [*convolutions, MaxPool2D(2), Flatten(), Dense(4), ReLU(), Dense(3)]
    model = Sequential(layers, input_shape=(12, 11, 2), dtype=np.float64)
    model.parameters[...] = integers(2, np.float64)(model.parameters.size)
    x = integers(3, np.float64)(3, 12, 11, 2)
    y, caches = model.forward(x)
    dy = integers(4, np.float64)(*y.shape)
    dx, gradients = model.backward(dy, caches, need_dx=True)

    separate_caches = []
    for layer in layers:
        x, cache = layer.forward(x)
        separate_caches.append(cache)
    np.testing.assert_array_equal(y, x)
    views = model.unflatten(gradients)
    for layer, cache, view in reversed(list(zip(layers, separate_caches, views, strict=True))):
        dy, expected = layer.backward(dy, cache)
        assert view.keys() == expected.keys()
        for name, gradient in expected.items():
            np.testing.assert_array_equal(view[name], gradient)
    np.testing.assert_array_equal(dx, dy)


def test_a_fused_layer_uses_the_parameters_of_its_convolution():
    model = Sequential([Conv2D(2, 3), ReLU(), MaxPool2D(2)], input_shape=(6, 6, 1))
    x = np.ones((1, 6, 6, 1), np.float32)
    model.parameters[...] = 1  # 9 ones and the bias
    assert np.array_equal(model.forward(x)[0], np.full((1, 2, 2, 2), 10))
    (step,) = fuse(model.layers)
    assert step.ops == CONV_POOL
    assert np.array_equal(step.infer(x), model.forward(x)[0])
