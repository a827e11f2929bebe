"""Error messages of the ops: argument, value, expectation and fix."""

import re

import numpy as np
import PIL.Image
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minicnn import Conv2D, ops, reference
from minicnn.ops.conv import BACKENDS
from minicnn.shapes.checks import (
    as_batch,
    as_pair,
    check_brightness,
    check_flat_shape,
    check_image_shape,
    check_pixel_range,
    check_pixels,
    float_dtype,
    positive_int,
)
from minicnn.shapes.window import make_window, output_size, pool_window

f32, f64, f16 = np.float32, np.float64, np.float16


def ones(*shape, dtype=f32):
    return np.ones(shape, dtype)


X, WEIGHT, BIAS = ones(2, 5, 4, 3), ones(3, 2, 3, 6), ones(6)
FILTERS = ones(3, 2, 3)
ROWS, MATRIX, OUT = ones(2, 5), ones(5, 3), ones(3)


def conv2d(x=X, weight=WEIGHT, bias=BIAS, stride=1, padding=0, **options):
    return lambda: ops.conv2d(x, weight, bias, stride, padding, **options)


def dense(x=ROWS, weight=MATRIX, bias=OUT):
    return lambda: ops.dense(x, weight, bias)


def pool(x=X, pool_size=2, stride=None, padding=0):
    return lambda: ops.max_pool2d(x, pool_size, stride, padding)


def average(x=X, pool_size=2, stride=None, padding=0):
    return lambda: ops.avg_pool2d(x, pool_size, stride, padding)


def depthwise(x=X, weight=FILTERS, bias=OUT, stride=1, padding=0):
    return lambda: ops.depthwise_conv2d(x, weight, bias, stride, padding)


def backward(backward_op, forward_call, dy):
    return lambda: backward_op(dy, forward_call()[1])


def refuses(error, message, call):
    """Check the whole message."""
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


# ------------------------------------------------------------ arrays

NO_ARRAYS = {
    "conv2d: x must be a NumPy array, not list": conv2d([[[[1.0]]]]),
    "conv2d: weight must be a NumPy array, not NoneType": conv2d(weight=None),
    "dense: bias must be a NumPy array, not float": dense(bias=0.0),
    "softmax: logits must be a NumPy array, not list": lambda: ops.softmax([[1.0]]),
    "relu: x must be a NumPy array, not tuple": lambda: ops.relu((1.0, 2.0)),
}

# Calls that give one argument another dtype.
CASTS = {
    "conv2d: x": lambda dtype: conv2d(X.astype(dtype)),
    "conv2d: weight": lambda dtype: conv2d(weight=WEIGHT.astype(dtype)),
    "conv2d: bias": lambda dtype: conv2d(bias=BIAS.astype(dtype)),
    "dense: x": lambda dtype: dense(ROWS.astype(dtype)),
    "dense: weight": lambda dtype: dense(weight=MATRIX.astype(dtype)),
    "dense: bias": lambda dtype: dense(bias=OUT.astype(dtype)),
    "max_pool2d: x": lambda dtype: pool(X.astype(dtype)),
    "avg_pool2d: x": lambda dtype: average(X.astype(dtype)),
    "global_avg_pool2d: x": lambda dtype: lambda: ops.global_avg_pool2d(X.astype(dtype)),
    "depthwise_conv2d: x": lambda dtype: depthwise(X.astype(dtype)),
    "depthwise_conv2d: weight": lambda dtype: depthwise(weight=FILTERS.astype(dtype)),
    "depthwise_conv2d: bias": lambda dtype: depthwise(bias=OUT.astype(dtype)),
    "flatten: x": lambda dtype: lambda: ops.flatten(X.astype(dtype)),
    "relu: x": lambda dtype: lambda: ops.relu(X.astype(dtype)),
    "softmax: logits": lambda dtype: lambda: ops.softmax(ROWS.astype(dtype)),
}

KERNELS = "weight (3, 2, 3, 6)"
WRONG_SHAPES = {
    "conv2d: x must have 4 axes (N, H, W, C), not 3 (shape (5, 4, 3))": conv2d(X[0]),
    "conv2d: weight must have 4 axes (KH, KW, C, F), not 2 (shape (5, 3))": conv2d(weight=MATRIX),
    "conv2d: bias must have 1 axes (F), not 0 (shape ())": conv2d(bias=np.array(1.0, f32)),
    "max_pool2d: x must have 4 axes (N, H, W, C), not 2 (shape (2, 5))": pool(ROWS),
    "avg_pool2d: x must have 4 axes (N, H, W, C), not 2 (shape (2, 5))": average(ROWS),
    "global_avg_pool2d: x must have 4 axes (N, H, W, C), not 3 (shape (5, 4, 3))": (
        lambda: ops.global_avg_pool2d(X[0])
    ),
    "global_avg_pool2d: x is empty (shape (2, 0, 4, 3)); give at least one image": (
        lambda: ops.global_avg_pool2d(X[:, :0])
    ),
    "depthwise_conv2d: x must have 4 axes (N, H, W, C), not 3 (shape (5, 4, 3))": depthwise(X[0]),
    "depthwise_conv2d: weight must have 3 axes (KH, KW, C), not 4 (shape (3, 2, 3, 6))": depthwise(
        weight=WEIGHT
    ),
    "depthwise_conv2d: bias must have 1 axes (C), not 2 (shape (5, 3))": depthwise(bias=MATRIX),
    (
        "depthwise_conv2d: x has 1 channels but weight expects 3 (x (2, 5, 4, 1), weight (3, 2, 3))"
    ): depthwise(X[..., :1]),
    (
        "depthwise_conv2d: bias has 5 elements but weight gives 3 outputs (bias (5,), "
        "weight (3, 2, 3))"
    ): depthwise(bias=ones(5)),
    "dense: x must have 2 axes (N, in), not 4 (shape (2, 5, 4, 3))": dense(X),
    "dense: weight must have 2 axes (in, out), not 1 (shape (3,))": dense(weight=OUT),
    "dense: bias must have 1 axes (out), not 2 (shape (5, 3))": dense(bias=MATRIX),
    "flatten: x must have 4 axes (N, H, W, C), not 2 (shape (2, 5))": lambda: ops.flatten(ROWS),
    "softmax: logits must have 2 axes (N, classes), not 1 (shape (3,))": lambda: ops.softmax(OUT),
    "conv2d: x is empty (shape (0, 5, 4, 3)); give at least one image": conv2d(ones(0, 5, 4, 3)),
    "dense: x is empty (shape (0, 5)); give at least one image": dense(ones(0, 5)),
    "max_pool2d: x is empty (shape (2, 0, 4, 3)); give at least one image": pool(X[:, :0]),
    f"conv2d: x has 1 channels but weight expects 3 (x (2, 5, 4, 1), {KERNELS})": conv2d(
        X[..., :1]
    ),
    f"conv2d: bias has 5 elements but weight gives 6 outputs (bias (5,), {KERNELS})": conv2d(
        bias=ones(5)
    ),
    "dense: x has 4 features but weight expects 5 (x (2, 4), weight (5, 3))": dense(ones(2, 4)),
    "dense: bias has 4 elements but weight gives 3 outputs (bias (4,), weight (5, 3))": dense(
        bias=ones(4)
    ),
}


@pytest.mark.parametrize("message", NO_ARRAYS)
def test_what_is_no_array(message):
    refuses(TypeError, message, NO_ARRAYS[message])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "bool", "complex128", "object"])
@pytest.mark.parametrize("argument", CASTS)
def test_arrays_of_other_dtypes(argument, dtype):
    name = argument.split()[1]
    refuses(
        TypeError,
        f"{argument} must be float32 or float64, not {dtype}; "
        f"cast it with {name}.astype(np.float32), or images with model.preprocess(images)",
        CASTS[argument](dtype),
    )


@pytest.mark.parametrize(
    "argument",
    [
        "conv2d: weight",
        "conv2d: bias",
        "depthwise_conv2d: weight",
        "depthwise_conv2d: bias",
        "dense: weight",
        "dense: bias",
    ],
)
def test_arrays_of_two_dtypes(argument):
    message = f"{argument} is float64 but x is float32; cast one with .astype(np.float32)"
    refuses(TypeError, message, CASTS[argument](f64))


@pytest.mark.parametrize("message", WRONG_SHAPES)
def test_arrays_of_the_wrong_shape(message):
    refuses(ValueError, message, WRONG_SHAPES[message])


def test_the_reference_refuses_in_the_same_words():
    refuses(
        ValueError,
        "conv2d: x must have 4 axes (N, H, W, C), not 3 (shape (5, 4, 3))",
        lambda: reference.conv.conv2d(X[0], WEIGHT, BIAS),
    )
    refuses(
        ValueError,
        "dense: x has 4 features but weight expects 5 (x (2, 4), weight (5, 3))",
        lambda: reference.dense.dense(ones(2, 4), MATRIX, OUT),
    )
    refuses(
        ValueError,
        "max_pool2d: pool size must be at least 1, not 0",
        lambda: reference.pooling.max_pool2d(X, 0),
    )
    refuses(
        ValueError,
        "depthwise_conv2d: x has 1 channels but weight expects 3 (x (2, 5, 4, 1), "
        "weight (3, 2, 3))",
        lambda: reference.conv.depthwise_conv2d(X[..., :1], FILTERS, OUT),
    )


# ------------------------------------------------------------ options

PAIR = "must be a whole number or a pair (vertical, horizontal)"
WORDS = 'padding must be a whole number, a pair, "same" or "valid"'

WRONG_VALUES = {
    "conv2d: stride must be at least 1, not 0": conv2d(stride=0),
    "conv2d: stride must be at least 1, not -3": conv2d(stride=(1, -3)),
    "conv2d: stride must be at least 1, not -1": conv2d(stride=(-1, 1)),
    f"conv2d: stride {PAIR}, not (1, 2, 3)": conv2d(stride=(1, 2, 3)),
    f"conv2d: padding {PAIR}, not [1]": conv2d(padding=[1]),
    f"conv2d: padding {PAIR}, not ()": conv2d(padding=()),
    "conv2d: padding must be at least 0, not -1": conv2d(padding=-1),
    "conv2d: padding must be at least 0, not -2": conv2d(padding=(0, -2)),
    f"conv2d: {WORDS}, not 'full'": conv2d(padding="full"),
    f"conv2d: {WORDS}, not 'SAME'": conv2d(padding="SAME"),
    "conv2d: backend must be one of auto, direct, winograd, im2col, reference, not 'fft'": conv2d(
        backend="fft"
    ),
    ("conv2d: backend 'winograd' does not support a 3×2 kernel at stride 1×1; use 'auto'"): conv2d(
        backend="winograd"
    ),
    "conv2d_max_pool2d: backend must be one of auto, direct, winograd, not 'im2col'": lambda: (
        ops.conv2d_max_pool2d(X, WEIGHT, BIAS, backend="im2col")
    ),
    (
        "conv2d: the kernel 3×2 is larger than the padded input 2×4 (input 2×4); "
        "use a smaller kernel, or more padding"
    ): conv2d(ones(1, 2, 4, 3)),
    (
        "conv2d: the kernel 3×9 is larger than the padded input 7×8 (input 5×4); "
        "use a smaller kernel, or more padding"
    ): conv2d(weight=ones(3, 9, 3, 6), padding=(1, 2)),
    "depthwise_conv2d: stride must be at least 1, not 0": depthwise(stride=0),
    f"depthwise_conv2d: {WORDS}, not 'full'": depthwise(padding="full"),
    (
        "depthwise_conv2d: the kernel 3×2 is larger than the padded input 2×4 (input 2×4); "
        "use a smaller kernel, or more padding"
    ): depthwise(ones(1, 2, 4, 3)),
    "avg_pool2d: pool size must be at least 1, not 0": average(pool_size=0),
    "avg_pool2d: padding must be at least 0, not -1": average(padding=-1),
    (
        "avg_pool2d: padding 2 must be smaller than the pooling window 2×3, "
        "or a window would hold nothing but padding"
    ): average(pool_size=(2, 3), padding=2),
    "max_pool2d: pool size must be at least 1, not 0": pool(pool_size=0),
    f"max_pool2d: pool size {PAIR}, not (2, 2, 1)": pool(pool_size=(2, 2, 1)),
    "max_pool2d: stride must be at least 1, not 0": pool(stride=0),
    "max_pool2d: padding must be at least 0, not -1": pool(padding=-1),
    f"max_pool2d: {WORDS}, not 'most'": pool(padding="most"),
    (
        "max_pool2d: the pool 6×2 is larger than the padded input 5×4 (input 5×4); "
        "use a smaller pool, or more padding"
    ): pool(pool_size=(6, 2)),
    (
        "max_pool2d: padding 2 must be smaller than the pooling window 2×3, "
        "or a window would hold nothing but padding"
    ): pool(pool_size=(2, 3), padding=2),
    (
        "max_pool2d: padding (0, 3) must be smaller than the pooling window 2×3, "
        "or a window would hold nothing but padding"
    ): pool(pool_size=(2, 3), padding=(0, 3)),
}

NO_WHOLE_NUMBERS = {
    "conv2d: stride must be a whole number, not 1.0": conv2d(stride=1.0),
    "conv2d: stride must be a whole number, not True": conv2d(stride=True),
    "conv2d: stride must be a whole number, not '2'": conv2d(stride="2"),
    "conv2d: stride must be a whole number, not None": conv2d(stride=None),
    "conv2d: stride must be a whole number, not 1.5": conv2d(stride=(1, 1.5)),
    "conv2d: padding must be a whole number, not False": conv2d(padding=(0, False)),
    "conv2d: padding must be a whole number, not None": conv2d(padding=None),
    "conv2d: padding must be a whole number, not 0.5": conv2d(padding=0.5),
    "max_pool2d: pool size must be a whole number, not 2.0": pool(pool_size=2.0),
    "avg_pool2d: pool size must be a whole number, not 2.0": average(pool_size=2.0),
    "depthwise_conv2d: stride must be a whole number, not 1.0": depthwise(stride=1.0),
    f"max_pool2d: pool size must be a whole number, not {np.True_!r}": pool(pool_size=np.True_),
}


@pytest.mark.parametrize("message", WRONG_VALUES)
def test_options_of_the_wrong_value(message):
    refuses(ValueError, message, WRONG_VALUES[message])


@pytest.mark.parametrize("message", NO_WHOLE_NUMBERS)
def test_options_that_are_no_whole_numbers(message):
    refuses(TypeError, message, NO_WHOLE_NUMBERS[message])


def test_numpy_integers_and_lists_are_taken():
    assert as_pair("test", "size", np.int64(3), 1) == (3, 3)
    assert as_pair("test", "size", [np.uint8(2), 5], 1) == (2, 5)
    assert type(as_pair("test", "size", np.int64(3), 1)[0]) is int
    assert positive_int("test", "size", np.int32(1)) == 1


# ------------------------------------------------------------ upstream gradients

# name, backward, a call of forward, the shape of its output
BACKWARDS = [
    ("conv2d_backward", ops.conv2d_backward, conv2d(), (2, 3, 3, 6)),
    ("conv2d_backward", ops.conv2d_backward, conv2d(backend="reference"), (2, 3, 3, 6)),
    ("max_pool2d_backward", ops.max_pool2d_backward, pool(), (2, 2, 2, 3)),
    ("dense_backward", ops.dense_backward, dense(), (2, 3)),
    ("softmax_backward", ops.softmax_backward, lambda: ops.softmax(ROWS), (2, 5)),
    ("relu_backward", ops.relu_backward, lambda: ops.relu(ROWS), (2, 5)),
    ("flatten_backward", ops.flatten_backward, lambda: ops.flatten(X), (2, 60)),
    ("avg_pool2d_backward", ops.avg_pool2d_backward, average(), (2, 2, 2, 3)),
    (
        "global_avg_pool2d_backward",
        ops.global_avg_pool2d_backward,
        lambda: ops.global_avg_pool2d(X),
        (2, 3),
    ),
    ("depthwise_conv2d_backward", ops.depthwise_conv2d_backward, depthwise(), (2, 3, 3, 3)),
]


@pytest.mark.parametrize(("name", "op", "call", "shape"), BACKWARDS)
def test_upstream_gradients_that_do_not_fit(name, op, call, shape):
    wrong = (*shape[:-1], shape[-1] + 1)
    refuses(
        ValueError,
        f"{name}: dy has shape {wrong} but the output has {shape}",
        backward(op, call, ones(*wrong)),
    )
    refuses(
        TypeError,
        f"{name}: dy must be a NumPy array, not list",
        backward(op, call, ones(*shape).tolist()),
    )
    with pytest.raises(TypeError, match=f"^{name}: dy .*float16"):
        backward(op, call, ones(*shape, dtype=f16))()


@pytest.mark.parametrize(
    ("name", "op", "call", "shape"), [*BACKWARDS[:2], *BACKWARDS[3:5], BACKWARDS[9]]
)
def test_upstream_gradients_of_another_dtype(name, op, call, shape):
    message = f"{name}: dy is float64 but the output is float32"
    refuses(TypeError, message, backward(op, call, ones(*shape, dtype=f64)))


@pytest.mark.parametrize(("name", "op", "call", "shape"), [BACKWARDS[2], *BACKWARDS[6:9]])
def test_upstream_gradients_of_another_rank(name, op, call, shape):
    with pytest.raises(ValueError, match=rf"^{name}: dy must have {len(shape)} axes .* not 1"):
        backward(op, call, ones(7))()


# ------------------------------------------------------------ arrays to be overwritten

# name, backward, a call of forward, the shape of its output, and of the weight
OVERWRITING = {
    "conv2d": (ops.conv2d_backward, conv2d(), (2, 3, 3, 6), WEIGHT.shape),
    "conv2d_max_pool2d": (
        ops.conv2d_max_pool2d_backward,
        lambda: ops.conv2d_max_pool2d(ones(2, 6, 6, 3), ones(3, 3, 3, 6), BIAS),
        (2, 2, 2, 6),
        (3, 3, 3, 6),
    ),
    "depthwise_conv2d": (ops.depthwise_conv2d_backward, depthwise(), (2, 3, 3, 3), FILTERS.shape),
    "dense": (ops.dense_backward, dense(), (2, 3), MATRIX.shape),
    "batch_norm": (
        ops.batch_norm_backward,
        lambda: ops.batch_norm(ROWS, *ones(2, 5)),
        (2, 5),
        (5,),
    ),
}


@pytest.mark.parametrize("op", OVERWRITING)
def test_what_is_to_be_overwritten_must_be_what_a_kernel_can_write_into(op):
    backward_op, call, shape, weight = OVERWRITING[op]
    bias = weight[-1:]

    def given(*out):
        return lambda: backward_op(ones(*shape), call()[1], out=out)

    name = f"{op}_backward"
    for out in ((ones(*weight),), (ones(*weight), None), (ones(*weight).tolist(), ones(*bias))):
        refuses(TypeError, f"{name}: out must be a tuple of 2 NumPy arrays", given(*out))
    message = f"{name}: each array of out has shape (9,) but the gradient has {bias}"
    refuses(ValueError, message, given(ones(*weight), ones(9)))
    message = f"{name}: each array of out is float64 but the gradient is float32"
    refuses(TypeError, message, given(ones(*weight, dtype=f64), ones(*bias)))
    every_other = ones(*weight[:-1], 2 * weight[-1])[..., ::2]
    message = f"{name}: out must be in C order, as np.empty makes it"
    refuses(ValueError, message, given(every_other, ones(*bias)))
    refuses(ValueError, message, given(ones(*weight), ones(2 * bias[0])[::2]))
    out = ones(*weight), ones(*bias)
    found = given(*out)()
    assert found[1] is out[0]
    assert found[2] is out[1]
    for array, wanted in zip(out, backward_op(ones(*shape), call()[1])[1:], strict=True):
        np.testing.assert_array_equal(array, wanted)


# ------------------------------------------------------------ what layers and models ask


def test_memoized_checks_tell_keywords_and_types_apart():
    size = (8, 8)
    assert make_window("test", size, 2, stride=2) == (2, 2, 2, 2, 0, 0, 4, 4)
    assert make_window("test", size, 2, padding=2) == (2, 2, 1, 1, 2, 2, 11, 11)
    assert make_window("test", size, (3, 3))[:2] == (3, 3)
    with pytest.raises(TypeError, match=r"must be a whole number, not 3\.0"):
        make_window("test", size, (3.0, 3.0))


def test_positive_int():
    refuses(
        ValueError,
        "Dense: units must be at least 1, not 0",
        lambda: positive_int("Dense", "units", 0),
    )
    for value in (2.0, True, "3", None):
        refuses(
            TypeError,
            f"Dense: units must be a whole number, not {value!r}",
            lambda value=value: positive_int("Dense", "units", value),
        )


def test_float_dtype():
    assert float_dtype("Model", "float64") == f64
    for dtype in (f16, np.int32):
        refuses(
            TypeError,
            f"Model: dtype must be float32 or float64, not {np.dtype(dtype)}",
            lambda dtype=dtype: float_dtype("Model", dtype),
        )


def test_shapes_of_one_image():
    assert check_image_shape("Conv2D", (28, 28, 1)) == (28, 28, 1)
    assert check_flat_shape("Dense", (10,)) == 10
    refuses(
        ValueError,
        "Conv2D: needs images (H, W, C), but its input has shape (10,); "
        "it must stand before Flatten and Dense",
        lambda: check_image_shape("Conv2D", (10,)),
    )
    refuses(
        ValueError,
        "Dense: needs one row for each image, but its input has shape (5, 4, 3); "
        "put Flatten() before it",
        lambda: check_flat_shape("Dense", (5, 4, 3)),
    )


def test_pixels():
    check_pixels("Model", ones(2, 3, dtype=np.uint8))
    check_pixels("Model", ones(2, 3, dtype=f16))
    refuses(
        TypeError,
        "Model: images must be a NumPy array, not list; np.asarray turns lists into one, "
        "minicnn.to_mnist_format a picture of a digit",
        lambda: check_pixels("Model", [[0.5]]),
    )
    picture = PIL.Image.new("L", (2, 3))
    refuses(
        TypeError,
        "Model: images must be a NumPy array, not Image; np.asarray turns lists into one, "
        "minicnn.to_mnist_format a picture of a digit",
        lambda: check_pixels("Model", picture),
    )
    refuses(
        TypeError,
        "Model: images must be uint8 (0 to 255) or float (0 to 1), not int64; "
        "images.astype(np.uint8) if the pixels are 0 to 255, else divide by the value of white, as "
        "in images / 1 for pixels of 0 and 1",
        lambda: check_pixels("Model", ones(2, 2, dtype=np.int64)),
    )
    refuses(
        ValueError,
        "Model: images is empty (shape (0, 28, 28))",
        lambda: check_pixels("Model", ones(0, 28, 28)),
    )


WHITE = "pass uint8 images, or divide by the value of white, such as 255"
STANDARDIZED = "the model standardizes pixels itself, so pass them as they were before"


@pytest.mark.parametrize(
    ("pixel", "fix"),
    [
        (255.0, WHITE),
        (1.00001, WHITE),
        (-0.5, STANDARDIZED),
        (-1e-05, STANDARDIZED),
        (np.nan, "replace it by a number"),
        (np.inf, "replace it by a number"),
    ],
)
def test_pixels_out_of_range(pixel, fix):
    images = np.zeros((3, 2, 2, 1))
    images[0] = -1e-7  # rounding is let through
    images[1] = 1 + 1e-7
    check_pixel_range("Model", images)
    images[2, 1, 0, 0] = pixel
    refuses(
        ValueError,
        f"Model: pixels of float images must lie in 0..1, but image 2 holds {pixel}; {fix}",
        lambda: check_pixel_range("Model", images),
    )


@pytest.mark.parametrize(
    ("dtype", "full", "top", "shown"),
    [
        (np.uint8, 255, 1, "1"),  # black and white as 0 and 1
        (np.uint8, 255, 16, "16"),  # four bits
        (np.float32, 1, 1 / 255, "0.00392"),  # divided by 255 twice
        (np.float64, 1, 16 / 255, "0.0627"),
    ],
)
def test_images_of_another_range(dtype, full, top, shown):
    images = np.zeros((3, 2, 2, 1), dtype)
    check_brightness("Model", images)  # all black
    images[2, 1, 0, 0] = top
    refuses(
        ValueError,
        f"Model: {np.dtype(dtype)} images must have pixels 0 to {full}, but the largest of all is "
        f"{shown}; scale them, as in images / images.max()",
        lambda: check_brightness("Model", images),
    )
    for bright in (0, 1):  # the first image, and another one
        others = images.copy()
        others[bright, 0, 0, 0] = full / 15
        check_brightness("Model", others)


@pytest.mark.parametrize("top", [np.uint8(17), np.float32(16.01 / 255), np.float64(16.01 / 255)])
def test_images_just_brighter_than_the_dark_range_are_taken(top):
    check_brightness("Model", np.full((3, 2, 2, 1), top))


@pytest.mark.parametrize(
    ("input_shape", "wanted"),
    [
        ((28, 20, 1), r"\(28, 20\) or \(N, 28, 20\), \(28, 20, 1\) or \(N, 28, 20, 1\)$"),
        ((32, 30, 3), r"takes \(32, 30, 3\) or \(N, 32, 30, 3\)"),
    ],
)
def test_image_shapes_in_words(input_shape, wanted):
    with pytest.raises(ValueError, match=wanted):
        as_batch("model", np.zeros((2, 3, 4)), input_shape)


# ------------------------------------------------------------ window arithmetic, by counting

size = st.integers(1, 12)
pad = st.integers(0, 5)


def starts(size, kernel, stride, before, after):
    """Where windows start, by trying every place."""
    offsets = range(-before, size + after)
    return [p for p in offsets if (p + before) % stride == 0 and p + kernel <= size + after]


@given(size, size, size, pad, pad)
def test_output_size_counts_the_windows(size, kernel, stride, before, after):
    count = len(starts(size, kernel, stride, before, after))
    assert max(0, output_size(size, kernel, stride, before, after)) == count


@given(*[st.tuples(size, size)] * 3, st.tuples(pad, pad))
def test_a_window_is_laid_out_as_counted(size, kernel, stride, padding):
    counts = [
        len(starts(s, k, step, p, p))
        for s, k, step, p in zip(size, kernel, stride, padding, strict=True)
    ]
    assume(all(counts))
    window = make_window("test", size, kernel, stride, padding)
    assert window == (*kernel, *stride, *padding, *counts)
    if padding == (0, 0):
        assert make_window("test", size, kernel, stride, "valid") == window
        assert make_window("test", size, kernel, stride) == window


@given(*[st.tuples(size, size)] * 3)
def test_same_gives_one_output_for_each_stride_of_the_input(size, kernel, stride):
    window = make_window("test", size, kernel, stride, "same")
    for s, k, step, before, count in zip(
        size, kernel, stride, window[4:6], window[6:], strict=True
    ):
        assert count == len(range(0, s, step))
        # As little padding as will do, and half of it, rounded down, in front.
        needed = max(0, (count - 1) * step + k - s)
        assert before == needed // 2


@given(*[st.tuples(size, size)] * 3, st.tuples(pad, pad) | st.just("same"))
def test_every_pooling_window_holds_a_pixel(size, pool_size, stride, padding):
    try:
        window = pool_window("test", size, pool_size, stride, padding)
    except ValueError:
        assert padding != "same"
        fits = all(s + 2 * p >= k for s, p, k in zip(size, padding, pool_size, strict=True))
        assert not fits or any(p >= k for p, k in zip(padding, pool_size, strict=True))
        return
    for s, k, step, before, count in zip(
        size, pool_size, stride, window[4:6], window[6:], strict=True
    ):
        for start in range(-before, -before + count * step, step):
            assert max(start, 0) < min(start + k, s)


def test_a_pool_moves_by_its_own_size_unless_told():
    assert pool_window("test", (6, 9), (2, 3)) == (2, 3, 2, 3, 0, 0, 3, 3)
    assert pool_window("test", (6, 9), (2, 3), 1) == (2, 3, 1, 1, 0, 0, 5, 7)


# ------------------------------------------------------------ backends


class NoBackwardInput:
    def forward(self, x, weight, bias, window, y): ...
    def backward_weight(self, x, dy, window, dweight): ...


@pytest.mark.parametrize(
    ("name", "backend", "error", "message"),
    [
        (1, reference.conv, TypeError, "register_backend: name must be a text, not 1"),
        (
            "auto",
            reference.conv,
            ValueError,
            "register_backend: name must be a new one, not 'auto'; "
            "registered are direct, winograd, im2col, reference",
        ),
        ("direct", reference.conv, ValueError, "name must be a new one, not 'direct'"),
        ("", reference.conv, ValueError, "name must be a new one, not ''"),
        ("own", NoBackwardInput(), TypeError, "backend must have a function 'backward_input'"),
        ("own", "own", TypeError, "backend must have a function 'forward', but 'own' has none"),
    ],
)
def test_register_backend_rejects_a_taken_name_and_an_incomplete_backend(
    name, backend, error, message
):
    with pytest.raises(error, match=re.escape(message)):
        ops.register_backend(name, backend)
    assert "own" not in BACKENDS


class OnlyStride1:
    """The reference for stride 1 only; it counts its calls."""

    def __init__(self):
        self.calls = []

    def supports(self, window):
        return window.SH == window.SW == 1

    def forward(self, x, weight, bias, window, y):
        self.calls.append("forward")
        reference.conv.forward(x, weight, bias, window, y)

    def backward_weight(self, x, dy, window, dweight):
        self.calls.append("backward_weight")
        reference.conv.backward_weight(x, dy, window, dweight)

    def backward_input(self, dy, weight, window, dx):
        self.calls.append("backward_input")
        reference.conv.backward_input(dy, weight, window, dx)


@pytest.fixture
def own():
    backend = OnlyStride1()
    ops.register_backend("own", backend)
    yield backend
    del BACKENDS["own"]


def test_a_registered_backend_computes_conv2d_and_its_gradients(own):
    y, cache = ops.conv2d(X, WEIGHT, BIAS, backend="own")
    wanted, reference_cache = reference.conv.conv2d(X, WEIGHT, BIAS)
    np.testing.assert_array_equal(y, wanted)
    gradients = ops.conv2d_backward(y, cache)
    for one, other in zip(
        gradients, reference.conv.conv2d_backward(wanted, reference_cache), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert own.calls == ["forward", "backward_weight", "backward_input"]


def test_a_registered_backend_rejects_windows_that_it_does_not_support(own):
    message = "conv2d: backend 'own' does not support a 3×2 kernel at stride 2×1; use 'auto'"
    refuses(ValueError, message, conv2d(stride=(2, 1), backend="own"))


def test_a_layer_takes_a_registered_backend(own):
    layer = Conv2D(2, 3, backend="own")
    layer.build((5, 4, 3), np.random.default_rng(0), np.dtype(f32))
    y, cache = layer.forward(X)
    layer.backward(y, cache)
    assert own.calls == ["forward", "backward_weight", "backward_input"]
    with pytest.raises(ValueError, match="Conv2D: backend 'own' does not support a 3×3 kernel"):
        Conv2D(2, 3, stride=2, backend="own").build((5, 4, 3), np.random.default_rng(0), f32)
