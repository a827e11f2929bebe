"""What the convolutions are made of: sums over pixels, paddings, and which way is taken."""

import numpy as np
import pytest

from minicnn import ops
from minicnn.kernels import reduce, target
from minicnn.kernels.reduce import BLOCK_ROWS
from minicnn.ops import arrays, direct, winograd
from minicnn.runtime import arena
from minicnn.shapes.window import Window


@pytest.mark.parametrize("F", [1, 7, 8, 9, 17])
@pytest.mark.parametrize(
    "P", [1, 2, 3, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 3]
)
def test_sum_rows(integers, dtype, P, F):
    dy, dbias = integers(1, dtype)(P, F), np.full(F, np.nan, dtype)
    reduce.column_sums(dy, dbias)
    np.testing.assert_array_equal(dbias, dy.sum(axis=0), strict=True)


WINDOWS = [
    Window(3, 3, 1, 1, 1, 2, 5, 6),
    Window(2, 2, 3, 1, 0, 0, 3, 6),
    Window(1, 1, 9, 9, 5, 6, 1, 1),  # sees nothing but padding
]


@pytest.mark.parametrize("window", WINDOWS)
def test_padding_overwrites_what_was_in_memory(integers, window):
    x = integers(2, np.float32)(2, 4, 5, 3)
    wanted = arrays.pad_images(x, window)
    for _ in range(2):  # at the second time it is memory of the first
        with arena.scope():
            arena.empty((wanted.size + 99,), np.float32).fill(np.nan)
        with arena.scope():
            np.testing.assert_array_equal(arrays.pad_images(x, window), wanted)
    for h in range(wanted.shape[1]):
        for w in range(wanted.shape[2]):
            inside = 0 <= h - window.top < 4 and 0 <= w - window.left < 5
            pixel = x[:, h - window.top, w - window.left] if inside else 0
            np.testing.assert_array_equal(wanted[:, h, w], pixel)


def test_a_gradient_is_spread_where_that_takes_fewer_multiplications():
    window = Window(3, 3, 1, 1, 1, 1, 8, 8)
    assert direct.prefers_col2im(window, 64, C=3, F=64)
    assert not direct.prefers_col2im(window, 64, C=16, F=64)
    assert direct.prefers_col2im(window._replace(SH=2), 256, C=16, F=64)


def test_gradients_of_nothing_but_padding_are_no_matter(integers, dtype):
    # Outputs that see only padding: more of it than the kernel is large.
    draw = integers(3, dtype)
    x, weight, bias = draw(1, 2, 3, 2), draw(2, 1, 2, 9), draw(9)
    y, cache = ops.conv2d(x, weight, bias, padding=(3, 2), backend="direct")
    y[:, 1:-1, 2:-2] = 0
    dx, dweight, _ = ops.conv2d_backward(y, cache)
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    np.testing.assert_array_equal(dweight, np.zeros_like(weight))


def test_the_parts_of_a_transform_do_not_lie_a_power_of_two_apart():
    (weights, _), (images, _), (products, _) = winograd.room(64, 128, np.float32)
    assert weights[1] // target.NR_SMALL % 2 == images[1] % 2 == products[1] % 2 == 1


@pytest.mark.parametrize(
    ("F", "lanes"),
    [(1, 8), (8, 8), (9, 16), (16, 16), (24, 16), (32, 32), (40, 32), (48, 16), (64, 32)],
)
def test_as_few_channels_as_can_be_are_left_over(monkeypatch, F, lanes):
    for name, width in ("NR_SMALL", 8), ("NR_MEDIUM", 16), ("NR_LARGE", 32):
        monkeypatch.setattr(target, name, width)
    assert winograd.lanes_of(F) == lanes
