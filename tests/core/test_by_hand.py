"""Digits worked by hand, with the working."""

from math import log, sqrt

import numpy as np
import pytest
from reference_ops import reference_ops

from minicnn import SGD, Adam, ops, softmax_cross_entropy
from minicnn.shapes.window import make_window

versions = pytest.mark.parametrize("version", [ops, reference_ops], ids=["ops", "reference"])


def image(*rows):
    """One image of one channel."""
    return np.array(rows, np.float64)[None, :, :, None]


def rows(array):
    """Return the first image and channel as a list of rows."""
    return array[0, :, :, 0].tolist()


# ------------------------------------------------------------ convolution

IMAGE = image([1, 2, 0, 1], [0, 1, 3, 1], [2, 1, 0, 0], [1, 0, 1, 2])
#  1  0 -1
#  2  0 -2
#  1  0 -1
KERNEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float64)[:, :, None, None]
BIAS = np.array([10.0])


@versions
def test_conv2d_3x3_on_4x4(version):
    y, cache = version.conv2d(IMAGE, KERNEL, BIAS)
    # Left column minus right column of each window, the middle row twice, plus 10.
    # Top left:     (1 + 2·0 + 2) - (0 + 2·3 + 0) = 3 - 6 = -3
    # Top right:    (2 + 2·1 + 1) - (1 + 2·1 + 0) = 5 - 3 =  2
    # Bottom left:  (0 + 2·2 + 1) - (3 + 2·0 + 1) = 5 - 4 =  1
    # Bottom right: (1 + 2·1 + 0) - (1 + 2·0 + 2) = 3 - 3 =  0
    assert rows(y) == [[7, 12], [11, 10]]

    dx, dweight, dbias = version.conv2d_backward(image([1, 0], [0, 2]), cache)
    # dx: the kernel once at the top left, twice at the bottom right.
    #  1  0 -1  0        0  0  0  0
    #  2  0 -2  0   +    0  2  0 -2
    #  1  0 -1  0        0  4  0 -4
    #  0  0  0  0        0  2  0 -2
    assert rows(dx) == [[1, 0, -1, 0], [2, 2, -2, -2], [1, 4, -1, -4], [0, 2, 0, -2]]
    # dweight: the window at the top left once, that at the bottom right twice.
    #  1 2 0       1 3 1      3 8 2
    #  0 1 3  + 2· 1 0 0  =   2 1 3
    #  2 1 0       0 1 2      2 3 4
    assert dweight[:, :, 0, 0].tolist() == [[3, 8, 2], [2, 1, 3], [2, 3, 4]]
    assert dbias.tolist() == [3]


@versions
def test_conv2d_with_stride_and_padding(version):
    y, _ = version.conv2d(IMAGE, KERNEL, BIAS, stride=2, padding=1)
    # Windows start at rows and columns -1 and 1; outside is 0.
    # (-1, -1): left column 0; right column 0, 2, 1 weighs 0 + 2·2 + 1 = 5:  0 - 5 = -5
    # (-1, 1):  left column 0, 2, 1 weighs 5; right column 0, 1, 1 weighs 3: 5 - 3 =  2
    # (1, -1):  left column 0; right column 1, 1, 0 weighs 1 + 2 + 0 = 3:    0 - 3 = -3
    # (1, 1):   left column 1, 1, 0 weighs 3; right column 1, 0, 2 weighs 3: 3 - 3 =  0
    assert rows(y) == [[5, 12], [7, 10]]


@versions
def test_conv2d_does_not_flip_the_kernel(version):
    y, _ = version.conv2d(image([0, 1, 0]), image([5, 6])[0][..., None], np.zeros(1))
    assert rows(y) == [[6, 5]]  # 5·0 + 6·1, 5·1 + 6·0; a flipped kernel gives 5, 6


@versions
def test_conv2d_backward_correlates_dy_with_the_rotated_kernel(version):
    x, weight = image([0, 0, 0], [0, 0, 0]), image([1, 2], [3, 4])[0][..., None]
    _, cache = version.conv2d(x, weight, np.zeros(1))
    dy = image([1, 10])
    dx, dweight, dbias = version.conv2d_backward(dy, cache)
    rotated = weight[::-1, ::-1].swapaxes(2, 3)
    same, _ = version.conv2d(dy, rotated, np.zeros(1), padding=1)
    assert rows(dx) == rows(same) == [[1, 12, 20], [3, 34, 40]]
    assert dweight.ravel().tolist() == [0, 0, 0, 0]
    assert dbias.tolist() == [11]


@versions
def test_conv2d_adds_up_the_channels(version):
    x = np.array([2.0, 3.0]).reshape(1, 1, 1, 2)
    weight = np.array([[1.0, 10.0], [100.0, 1000.0]]).reshape(1, 1, 2, 2)  # (..., C, F)
    y, _ = version.conv2d(x, weight, np.array([0.5, 0.25]))
    assert y.ravel().tolist() == [302.5, 3020.25]  # 2·1 + 3·100 + ½, 2·10 + 3·1000 + ¼


def test_same_puts_the_extra_pixel_at_the_bottom_and_the_right():
    # 2×2 kernel at stride 1: one pixel in all, none before and one behind.
    y, _ = ops.conv2d(image([1, 2], [3, 4]), np.ones((2, 2, 1, 1)), np.zeros(1), padding="same")
    assert rows(y) == [[10, 6], [7, 4]]
    # 4 over 5 pixels at stride 2: 3 outputs need (3 - 1)·2 + 4 = 8 pixels, 3 more than there are:
    # 1 before, 2 behind. 3 over 7 pixels at stride 3: 3 outputs need 9: 1 before, 1 behind.
    assert make_window("test", (5, 7), (4, 3), (2, 3), "same") == (4, 3, 2, 3, 1, 1, 3, 3)
    # A stride larger than the kernel leaves gaps: 2 outputs need 2 + 1 = 3 of 4 pixels, no padding.
    assert make_window("test", (4, 4), 1, 2, "same") == (1, 1, 2, 2, 0, 0, 2, 2)


# ------------------------------------------------------------ max-pooling


@versions
def test_of_equal_pixels_the_first_in_row_order_wins(version):
    y, cache = version.max_pool2d(image([1, 5, 2, 2], [5, 5, 2, 2]), 2)
    assert rows(y) == [[5, 2]]
    dx = version.max_pool2d_backward(image([3, 4]), cache)
    assert rows(dx) == [[0, 3, 4, 0], [0, 0, 0, 0]]


@versions
def test_padding_never_wins_against_negative_pixels(version):
    x = image([-4, -3], [-2, -1])
    y, cache = version.max_pool2d(x, 2, stride=2, padding=1)
    assert rows(y) == [[-4, -3], [-2, -1]]  # each window holds one pixel and three of padding
    assert rows(version.max_pool2d_backward(image([1, 2], [3, 4]), cache)) == [[1, 2], [3, 4]]


@versions
def test_a_pixel_that_wins_two_windows_collects_both_gradients(version):
    # 2×2 windows at stride 1 on 2×3: 9 in the middle column wins both.
    y, cache = version.max_pool2d(image([1, 2, 3], [4, 9, 8]), 2, stride=1)
    assert rows(y) == [[9, 9]]
    assert rows(version.max_pool2d_backward(image([10, 7]), cache)) == [[0, 0, 0], [0, 17, 0]]


@versions
def test_a_rectangular_pool_with_a_stride_of_its_own(version):
    # Windows of 1×3 at columns 0 and 2, rows 0 and 1.
    y, _ = version.max_pool2d(image([3, 1, 4, 1, 5], [9, 2, 6, 5, 3]), (1, 3), stride=(1, 2))
    assert rows(y) == [[4, 5], [9, 6]]


# ------------------------------------------------------------ average pooling


@versions
def test_padding_counts_as_zeros_in_a_mean(version):
    # Windows of 2×2 start at rows and columns -1 and 1: each holds one pixel and three zeros.
    y, cache = version.avg_pool2d(image([4, 8], [12, 16]), 2, stride=2, padding=1)
    assert rows(y) == [[1, 2], [3, 4]]
    assert rows(version.avg_pool2d_backward(image([4, 8], [12, 16]), cache)) == [[1, 2], [3, 4]]


@versions
def test_a_pixel_in_two_means_collects_a_share_of_both(version):
    # Windows of 1×2 at columns 0 and 1: (1 + 3)/2 and (3 + 8)/2.
    y, cache = version.avg_pool2d(image([1, 3, 8]), (1, 2), stride=1)
    assert rows(y) == [[2, 5.5]]
    assert rows(version.avg_pool2d_backward(image([10, 6]), cache)) == [[5, 8, 3]]


@versions
def test_a_global_mean_is_of_each_channel_by_itself(version):
    x = np.array([[[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0], [6.0, 60.0]]]])
    y, cache = version.global_avg_pool2d(x)
    assert y.tolist() == [[3, 30]]  # 12 / 4 and 120 / 4
    dx = version.global_avg_pool2d_backward(np.array([[4.0, 8.0]]), cache)
    assert dx.tolist() == [[[[1, 2], [1, 2]], [[1, 2], [1, 2]]]]


# ------------------------------------------------------------ depthwise convolution


@versions
def test_each_channel_has_a_filter_of_its_own(version):
    x = np.array([[[[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]]])  # one row of three pixels
    weight = np.array([[[1.0, 3.0], [2.0, -1.0]]])  # 1×2
    y, cache = version.depthwise_conv2d(x, weight, np.array([0.5, 0.0]))
    # channel 0: 1·1 + 2·2 + ½, 2·1 + 4·2 + ½; channel 1: 10·3 - 20, 20·3 - 40
    assert y[0, 0].tolist() == [[5.5, 10], [10.5, 20]]
    dy = np.array([[[[1.0, 2.0], [10.0, 1.0]]]])
    dx, dweight, dbias = version.depthwise_conv2d_backward(dy, cache)
    # channel 0: 1·1, 1·2 + 10·1, 10·2; channel 1: 2·3, 2·(-1) + 1·3, 1·(-1)
    assert dx[0, 0].tolist() == [[1, 6], [12, 1], [20, -1]]
    # channel 0: 1·1 + 2·10, 2·1 + 4·10; channel 1: 10·2 + 20·1, 20·2 + 40·1
    assert dweight[0].tolist() == [[21, 40], [42, 80]]
    assert dbias.tolist() == [11, 3]


# ------------------------------------------------------------ dense, relu, flatten


@versions
def test_dense_2x2(version):
    x, weight = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])
    y, cache = version.dense(x, weight, np.array([0.5, -0.5]))
    assert y.tolist() == [[13.5, 15.5]]  # 1·3 + 2·5 + ½, 1·4 + 2·6 - ½
    dx, dweight, dbias = version.dense_backward(np.array([[1.0, 10.0]]), cache)
    assert dx.tolist() == [[43, 65]]  # 1·3 + 10·4, 1·5 + 10·6
    assert dweight.tolist() == [[1, 10], [2, 20]]
    assert dbias.tolist() == [1, 10]


@versions
def test_relu_cuts_at_0_and_gives_no_gradient_there(version):
    y, cache = version.relu(np.array([-2.0, -0.0, 0.0, 3.0]))
    assert y.tolist() == [0, 0, 0, 3]
    assert version.relu_backward(np.array([5.0, 6.0, 7.0, 8.0]), cache).tolist() == [0, 0, 0, 8]


@versions
def test_flatten_lays_out_rows_then_columns_then_channels(version):
    x = np.array([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]])
    y, cache = version.flatten(x)
    assert y.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert version.flatten_backward(y, cache).tolist() == x.tolist()


# ------------------------------------------------------------ softmax and its loss

# A few roundings of numbers near 1: 1e-15.
close = {"rtol": 1e-15, "atol": 1e-15}


@versions
def test_softmax_of_logarithms(version):
    y, cache = version.softmax(np.log([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(y, [[1 / 6, 1 / 3, 1 / 2]], **close)
    # Σ dy·y = 6/6 = 1; so dlogits = y · (6 - 1, 0 - 1, 0 - 1) = 5/6, -1/3, -1/2.
    dlogits = version.softmax_backward(np.array([[6.0, 0.0, 0.0]]), cache)
    np.testing.assert_allclose(dlogits, [[5 / 6, -1 / 3, -1 / 2]], **close)


@pytest.mark.parametrize("K", [2, 10])
def test_the_loss_of_equal_logits_is_ln_K(K):
    loss, _ = softmax_cross_entropy(np.full((3, K), 7.0), np.array([0, 1, 1]))
    assert loss == pytest.approx(log(K), rel=1e-15)


def test_the_loss_is_the_mean_over_the_images():
    # Probabilities 1/6, 1/3, 1/2 and 1/2, 1/4, 1/4; the wanted ones are 1/2 and 1/4.
    logits = np.log([[1.0, 2.0, 3.0], [2.0, 1.0, 1.0]])
    loss, _ = softmax_cross_entropy(logits, np.array([2, 1]))
    assert loss == pytest.approx((log(2) + log(4)) / 2, rel=1e-15)
    # Soft targets: image 1 wants ½ and ½ of the first two, image 2 is sure of the first.
    loss, _ = softmax_cross_entropy(logits, np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    assert loss == pytest.approx((log(6) / 2 + log(3) / 2 + log(2)) / 2, rel=1e-15)


# ------------------------------------------------------------ optimizers


def two_steps(optimizer):
    """Start at 1, with gradients 2 and then 4."""
    parameters, seen = np.array([1.0]), []
    for gradient in (2.0, 4.0):
        optimizer.step(parameters, np.array([gradient]))
        seen.append(parameters[0])
    return pytest.approx(seen, rel=1e-14)  # some roundings of 1e-16 each


def test_sgd():
    # 1 - 0.1·2 = 0.8; 0.8 - 0.1·4 = 0.4
    assert two_steps(SGD(0.1)) == [0.8, 0.4]


def test_sgd_with_momentum():
    # v = 2: 1 - 0.1·2 = 0.8; v = 0.5·2 + 4 = 5: 0.8 - 0.1·5 = 0.3
    assert two_steps(SGD(0.1, momentum=0.5)) == [0.8, 0.3]


def test_sgd_with_nesterov():
    # v = 2: 1 - 0.1·(2 + 0.5·2) = 0.7; v = 5: 0.7 - 0.1·(4 + 0.5·5) = 0.05
    assert two_steps(SGD(0.1, momentum=0.5, nesterov=True)) == [0.7, 0.05]


def test_adam():
    # First step: m̂ = g = 2 and √v̂ = |g| = 2, so the parameter falls by 0.1 · 2/(2 + 1) = 1/15,
    # with ε = 1. Second: m = 0.5·1 + 0.5·4 = 2.5, m̂ = 2.5 / (1 - 0.5²) = 10/3;
    # v = 0.75·(0.25·4) + 0.25·16 = 4.75, v̂ = 4.75 / (1 - 0.75²) = 76/7.
    first = 1 - 0.1 * 2 / 3
    second = first - 0.1 * (10 / 3) / (sqrt(76 / 7) + 1)
    assert two_steps(Adam(0.1, beta1=0.5, beta2=0.75, epsilon=1.0)) == [first, second]


def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient():
    # m̂ / √v̂ = g / |g|; ε = 1e-8 takes 1e-8 / |g| of it away, at most 1e-6 here.
    parameters = np.zeros(3)
    Adam(0.001).step(parameters, np.array([0.01, -1.0, 1000.0]))
    np.testing.assert_allclose(parameters, [-0.001, 0.001, -0.001], rtol=2e-6)
