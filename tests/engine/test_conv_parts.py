"""Convolution helpers: column sums, padding, choice of algorithm."""

import numpy as np
import pytest

from minicnn import ops
from minicnn.kernels import conv_direct, conv_pool, conv_winograd, im2col, pack, reduce, target
from minicnn.kernels.target import BLOCK_ROWS
from minicnn.runtime import arena
from minicnn.shapes.window import Window


@pytest.mark.parametrize("F", [1, 7, 8, 9, 17])
@pytest.mark.parametrize(
    "P", [1, 2, 3, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 3]
)
def test_column_sums(integers, dtype, P, F):
    dy, dbias = integers(1, dtype)(P, F), np.full(F, np.nan, dtype)
    reduce.column_sums(dy, dbias)
    np.testing.assert_array_equal(dbias, dy.sum(axis=0), strict=True)


WINDOWS = [
    Window(3, 3, 1, 1, 1, 2, 5, 6),
    Window(2, 2, 3, 1, 0, 0, 3, 6),
    Window(1, 1, 9, 9, 5, 6, 1, 1),  # reads padding only
    Window(1, 1, 1, 1, -1, -2, 4, 5),  # a negative padding crops
    Window(1, 1, 1, 1, -4, 1, 2, 2),
    Window(1, 1, 1, 1, 1, -7, 2, 2),  # all columns
]


@pytest.mark.parametrize("window", WINDOWS)
def test_pad_images_overwrites_reused_memory(integers, window):
    x = integers(2, np.float32)(2, 4, 5, 3)
    wanted = pack.pad_images(x, window)
    for _ in range(2):  # the second pass reuses the memory of the first
        with arena.scope():
            arena.empty((wanted.size + 99,), np.float32).fill(np.nan)
        with arena.scope():
            np.testing.assert_array_equal(pack.pad_images(x, window), wanted)
    for h in range(wanted.shape[1]):
        for w in range(wanted.shape[2]):
            inside = 0 <= h - window.top < 4 and 0 <= w - window.left < 5
            pixel = x[:, h - window.top, w - window.left] if inside else 0
            np.testing.assert_array_equal(wanted[:, h, w], pixel)


def test_col2im_is_chosen_where_it_takes_fewer_multiplications():
    window = Window(3, 3, 1, 1, 1, 1, 8, 8)
    assert conv_direct.col2im_is_faster(window, 64, C=3, F=64)
    assert not conv_direct.col2im_is_faster(window, 64, C=16, F=64)
    assert conv_direct.col2im_is_faster(window._replace(SH=2), 256, C=16, F=64)


def test_gradients_of_windows_on_padding_only_are_dropped(integers, dtype):
    # Padding wider than the kernel gives outputs that read padding only.
    draw = integers(3, dtype)
    x, weight, bias = draw(1, 2, 3, 2), draw(2, 1, 2, 9), draw(9)
    y, cache = ops.conv2d(x, weight, bias, padding=(3, 2), backend="direct")
    y[:, 1:-1, 2:-2] = 0
    dx, dweight, _ = ops.conv2d_backward(y, cache)
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    np.testing.assert_array_equal(dweight, np.zeros_like(weight))


@pytest.mark.parametrize("module", [conv_direct, conv_winograd, im2col])
def test_a_convolution_writes_to_its_output_only(integers, module):
    draw, around = integers(4, np.float32), np.full((3, 4, 6, 20), 7, np.float32)
    x, weight, bias = draw(1, 6, 8, 16), draw(3, 3, 16, 20), draw(20)
    module.forward(x, weight, bias, Window(3, 3, 1, 1, 0, 0, 4, 6), around[1:2])
    assert (around[[0, 2]] == 7).all()


@pytest.mark.parametrize("module", [conv_pool, conv_winograd])
def test_a_convolution_with_its_pool_writes_to_its_outputs_only(integers, module):
    forward = getattr(module, "forward_pool", conv_pool.forward)
    draw, around = integers(5, np.float32), np.full((3, 2, 3, 20), 7, np.float32)
    x, weight, bias, argmax = (
        draw(1, 6, 8, 16),
        draw(3, 3, 16, 20),
        draw(20),
        around.astype(np.uint8),
    )
    window = Window(3, 3, 1, 1, 0, 0, 4, 6)
    forward(x, weight, bias, window, True, around[1:2], argmax[1:2])
    assert (around[[0, 2]] == 7).all()
    assert (argmax[[0, 2]] == 7).all()


def test_winograd_planes_are_not_a_power_of_two_apart():
    (weight, _), (tiles, _), (products, _) = conv_winograd.scratch_specs(64, 128, np.float32)
    assert weight[1] // target.NR_SMALL % 2 == tiles[1] % 2 == products[1] % 2 == 1


@pytest.mark.parametrize(
    ("F", "NR"),
    [(1, 8), (8, 8), (9, 16), (16, 16), (24, 16), (32, 32), (40, 32), (48, 16), (64, 32)],
)
def test_winograd_panels_leave_the_fewest_channels_to_narrow_panels(monkeypatch, F, NR):
    monkeypatch.setattr(conv_winograd, "NR_SMALL", 8)
    monkeypatch.setattr(target, "NR_MEDIUM", 16)
    monkeypatch.setattr(target, "NR_LARGE", 32)
    assert conv_winograd.choose_panel_nr(F) == NR
