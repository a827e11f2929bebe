"""Contracts of every op: reference, dtypes, shapes, unchanged inputs, NaN."""

import pkgutil
import re
from importlib import import_module
from inspect import signature

import numpy as np
import pytest
from reference_ops import reference_ops

import minicnn
from minicnn import layers, losses, ops
from minicnn.layers.base import layer_classes, make_example
from minicnn.ops import conv
from minicnn.random import RandomKey

for info in pkgutil.iter_modules(layers.__path__):  # a module that nobody imports is tested too
    import_module(f"minicnn.layers.{info.name}")
LAYERS = [cls for cls in layer_classes() if cls.__module__.startswith("minicnn.")]

# All that compute every convolution, registered ones included.
BACKENDS = [name for name in conv.BACKENDS if name != "winograd"]


def norm_of_given(x, weight, bias):
    mean, variance = (np.full_like(weight, value) for value in (0.5, 2))
    return ops.batch_norm_inference(x, weight, bias, mean, variance)


NORM = {"x": (3, 4, 2, 3), "weight": (3,), "bias": (3,)}

# Forward, backward, the shapes of the arrays by name, and the options.
OPS = {
    "conv2d": (
        ops.conv2d,
        ops.conv2d_backward,
        {"x": (3, 5, 4, 2), "weight": (3, 2, 2, 3), "bias": (3,)},
        {"stride": (1, 2), "padding": 1},
    ),
    **{
        f"conv2d, {backend}": (
            ops.conv2d,
            ops.conv2d_backward,
            {"x": (2, 4, 3, 2), "weight": (3, 2, 2, 2), "bias": (2,)},
            {"backend": backend},
        )
        for backend in BACKENDS
    },
    "max_pool2d": (
        ops.max_pool2d,
        ops.max_pool2d_backward,
        {"x": (2, 5, 6, 3)},
        {"pool_size": (3, 2), "padding": (1, 0)},
    ),
    "avg_pool2d": (
        ops.avg_pool2d,
        ops.avg_pool2d_backward,
        {"x": (2, 5, 6, 3)},
        {"pool_size": (3, 2), "padding": (1, 0)},
    ),
    "depthwise_conv2d": (
        ops.depthwise_conv2d,
        ops.depthwise_conv2d_backward,
        {"x": (3, 5, 4, 3), "weight": (3, 2, 3), "bias": (3,)},
        {"stride": (1, 2), "padding": 1},
    ),
    "add": (ops.add, ops.add_backward, {"a": (2, 3, 4), "b": (2, 3, 4)}, {}),
    "concat": (
        lambda a, b: ops.concat([a, b]),
        ops.concat_backward,
        {"a": (2, 3, 4), "b": (2, 3, 1)},
        {},
    ),
    "dropout": (
        ops.dropout,
        ops.dropout_backward,
        {"x": (4, 3, 2)},
        {"rate": 0.5, "key": RandomKey(0, 0, np.arange(4))},
    ),
    "softmax": (ops.softmax, ops.softmax_backward, {"logits": (3, 4)}, {}),
    "batch_norm": (ops.batch_norm, ops.batch_norm_backward, NORM, {}),
    "batch_norm, ReLU": (ops.batch_norm, ops.batch_norm_backward, NORM, {"relu": True}),
    "batch_norm of given statistics": (norm_of_given, ops.batch_norm_backward, NORM, {}),
}


def op_name(cls):
    """Return the name of a layer's op; `_name` adapts op `name` to a layer."""
    return cls.ops[0].__name__.lstrip("_")


def op_of_example(cls):
    """Return the entry of OPS that follows from the example of a layer."""
    layer, input_shape = make_example(cls)
    layer.build(input_shape, np.random.default_rng(0))
    shapes = {name: array.shape for name, array in layer.parameters.items()}
    options = {name: getattr(layer, name) for name in cls.options}
    return *cls.ops, {"x": (3, *input_shape), **shapes}, options


OPS_OF_LAYERS = [cls for cls in LAYERS if cls.ops]  # a container has no op pair of its own
OPS |= {op_name(cls): op_of_example(cls) for cls in OPS_OF_LAYERS if op_name(cls) not in OPS}
every_op = pytest.mark.parametrize("op", OPS.values(), ids=OPS)


def as_tuple(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def run(op, arrays, dy=None):
    """Return (y, cache, dy, gradients)."""
    forward, backward, _, options = op
    y, cache = forward(**arrays, **options)
    dy = np.linspace(-1, 1, y.size, dtype=y.dtype).reshape(y.shape) if dy is None else dy
    return y, cache, dy, as_tuple(backward(dy, cache))


def draw_arrays(op, draw):
    return {name: draw(*shape) for name, shape in op[2].items()}


# ------------------------------------------------------------ exports and reference


@pytest.mark.parametrize("cls", LAYERS)
def test_every_layer_is_exported(cls):
    exported = {name: getattr(minicnn, name) for name in minicnn.__all__ if hasattr(minicnn, name)}
    assert exported.get(cls.__name__) is cls, (
        f"minicnn/__init__.py: add `from {cls.__module__} import {cls.__name__}`, "
        f"and {cls.__name__!r} to __all__"
    )


@pytest.mark.parametrize("cls", OPS_OF_LAYERS)
def test_the_op_pair_of_every_layer_is_exported(cls):
    name = op_name(cls)
    for exported in (name, f"{name}_backward"):
        assert exported in ops.__all__, (
            f"minicnn/ops/__init__.py: import {exported}, "
            f"the op of {cls.__name__}, and add {exported!r} to __all__"
        )


@pytest.mark.parametrize("cls", OPS_OF_LAYERS)
def test_the_op_of_every_layer_equals_its_reference(normals, dtype, cls):
    name = op_name(cls)
    slow = [getattr(reference_ops, f"{name}{suffix}", None) for suffix in ("", "_backward")]
    assert all(slow), (
        f"minicnn/reference: write {name} and {name}_backward in loops, in a module that "
        f"minicnn/reference/__init__.py lists"
    )
    op = OPS[name]
    arrays = draw_arrays(op, normals(1, dtype))
    y, _, dy, gradients = run(op, arrays)
    # The reference of dropout takes the mask that the op draws.
    options = {"keep": y != 0, "rate": op[3]["rate"]} if name == "dropout" else op[3]
    wanted, _, _, wanted_gradients = run((*slow, op[2], options), arrays, dy)
    tolerance = 100 * np.finfo(dtype).eps  # of sums of at most 30 products
    for found, expected in zip((y, *gradients), (wanted, *wanted_gradients), strict=True):
        np.testing.assert_allclose(
            found,
            expected,
            rtol=tolerance,
            atol=tolerance,
            err_msg=f"{name} in minicnn/ops differs from {name} in minicnn/reference",
        )


# ------------------------------------------------------------ dtypes and shapes


@every_op
def test_out_dtype_is_in_dtype_and_dname_has_the_shape_of_name(normals, dtype, op):
    arrays = draw_arrays(op, normals(1, dtype))
    y, cache, _, gradients = run(op, arrays)
    assert y.dtype == dtype
    assert len(gradients) == len(arrays)
    for name, gradient in zip(arrays, gradients, strict=True):
        assert (gradient.shape, gradient.dtype) == (arrays[name].shape, dtype), f"d{name}"
    for field, value in cache._asdict().items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            assert value.dtype == dtype, field


@every_op
def test_a_cache_is_a_named_tuple_that_says_what_it_keeps(normals, op):
    _, cache, _, _ = run(op, draw_arrays(op, normals(1, np.float32)))
    assert isinstance(cache, tuple)
    assert cache._fields
    assert not type(cache).__doc__.startswith(type(cache).__name__)  # NamedTuple's own docstring


@pytest.mark.parametrize("labels", [np.array([0, 2, 1]), np.eye(3)], ids=["numbers", "rows"])
def test_dtypes_and_shapes_of_the_loss(normals, dtype, labels):
    logits = normals(2, dtype)(3, 3)
    loss, cache = losses.softmax_cross_entropy(logits, labels)
    assert (np.ndim(loss), loss.dtype) == (0, dtype)
    assert {field: (a.shape, a.dtype) for field, a in cache._asdict().items()} == {
        "differences": ((3, 3), dtype)
    }
    for dloss in (1.0, np.float64(0.5), loss):
        dlogits = losses.softmax_cross_entropy_backward(dloss, cache)
        assert (dlogits.shape, dlogits.dtype) == ((3, 3), dtype)


@pytest.mark.parametrize(
    ("pool_size", "argmax_dtype"),
    [((1, 1), np.uint8), ((16, 16), np.uint8), ((17, 16), np.uint16), ((1, 300), np.uint16)],
)
def test_argmax_takes_one_byte_up_to_16x16(pool_size, argmax_dtype):
    # The last pixel of the window wins: the largest number that there is to keep.
    x = np.arange(np.prod(pool_size), dtype=np.float32).reshape(1, *pool_size, 1)
    y, cache = ops.max_pool2d(x, pool_size)
    assert cache.argmax.dtype == argmax_dtype
    assert cache.argmax.item() == x.size - 1
    assert np.flatnonzero(ops.max_pool2d_backward(y + 1, cache)).tolist() == [x.size - 1]


# ------------------------------------------------------------ inputs are left alone


@every_op
def test_read_only_inputs_are_taken_and_left_as_they_are(normals, dtype, op):
    arrays = draw_arrays(op, normals(3, dtype))
    _, _, dy, wanted = run(op, arrays)
    dy.flags.writeable = False
    for array in arrays.values():
        array.flags.writeable = False
    _, cache, _, found = run(op, arrays, dy)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    for array in cache:  # backward may not write to the cache either
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    for one, other in zip(as_tuple(op[1](dy, cache)), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@every_op
def test_inputs_are_left_as_they_are(normals, dtype, op):
    arrays = draw_arrays(op, normals(4, dtype))
    before = {name: array.copy() for name, array in arrays.items()}
    _, _, dy, _ = run(op, arrays)
    np.testing.assert_array_equal(dy, np.linspace(-1, 1, dy.size, dtype=dtype).reshape(dy.shape))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_the_loss_takes_read_only_inputs(normals, dtype):
    logits, rows = normals(5, dtype)(3, 4), np.full((3, 4), 0.25, dtype)
    logits.flags.writeable = rows.flags.writeable = False
    loss, cache = losses.softmax_cross_entropy(logits, rows)
    again, _ = losses.softmax_cross_entropy(logits, rows)
    assert loss == again
    for array in cache:
        array.flags.writeable = False
    first = losses.softmax_cross_entropy_backward(1.0, cache)
    np.testing.assert_array_equal(first, losses.softmax_cross_entropy_backward(1.0, cache))


# ------------------------------------------------------------ any layout in memory


def transposed(array):
    return np.asfortranarray(array)


def strided(array):
    """Every second element of a larger array, in every axis."""
    larger = np.full([2 * axis for axis in array.shape], np.nan, array.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def backwards(array):
    """Negative strides."""
    return np.flip(np.ascontiguousarray(np.flip(array)))


@every_op
@pytest.mark.parametrize("layout", [transposed, strided, backwards])
def test_the_layout_in_memory_does_not_matter(normals, dtype, op, layout):
    arrays = draw_arrays(op, normals(6, dtype))
    y, _, dy, wanted = run(op, arrays)
    laid_out = {name: layout(array) for name, array in arrays.items()}
    assert not all(array.flags.c_contiguous for array in laid_out.values())
    found_y, _, _, found = run(op, laid_out, layout(dy))
    # NumPy's own sums (softmax, dbias) may add in another order: some roundings.
    close = {"rtol": 8 * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}
    np.testing.assert_allclose(found_y, y, **close)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, **close)


# ------------------------------------------------------------ NaN and infinity
# Warnings are errors in this project, so each of these also says that NumPy does not warn.


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_conv2d_spoils_only_the_windows_that_touch(normals, dtype, backend, value):
    draw = normals(7, dtype)
    x, weight, bias = draw(2, 6, 7, 2), draw(3, 2, 2, 2), draw(2)
    clean, _ = ops.conv2d(x, weight, bias, (2, 1), 1, backend=backend)
    x[1, 3, 4, 0] = value
    y, cache = ops.conv2d(x, weight, bias, (2, 1), 1, backend=backend)
    # Row 3 is padded row 4: in the windows of rows 2 and 4, numbers 1 and 2. Column 4 is 5: 4, 5.
    touched = np.zeros(y.shape, bool)
    touched[1, 1:3, 4:6] = True
    np.testing.assert_array_equal(~np.isfinite(y), touched)
    np.testing.assert_array_equal(y[~touched], clean[~touched])
    dy = np.ones_like(y)
    dx, dweight, _ = ops.conv2d_backward(dy, cache)
    assert np.isfinite(dx).all()  # dx depends on the weights alone
    np.testing.assert_array_equal(np.isfinite(dweight).all(axis=(0, 1, 3)), [False, True])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("C", [2, 17])
def test_depthwise_conv2d_spoils_only_the_windows_that_touch(normals, dtype, value, C):
    draw = normals(9, dtype)
    x, weight, bias = draw(2, 6, 7, C), draw(3, 2, C), draw(C)
    clean, _ = ops.depthwise_conv2d(x, weight, bias, (2, 1), 1)
    x[1, 3, 4, 0] = value
    y, cache = ops.depthwise_conv2d(x, weight, bias, (2, 1), 1)
    touched = np.zeros(y.shape, bool)
    touched[1, 1:3, 4:6, 0] = True  # as of `conv2d`, but of one channel
    np.testing.assert_array_equal(~np.isfinite(y), touched)
    np.testing.assert_array_equal(y[~touched], clean[~touched])
    dx, dweight, _ = ops.depthwise_conv2d_backward(np.ones_like(y), cache)
    assert np.isfinite(dx).all()
    assert np.isfinite(dweight[..., 1:]).all()
    assert not np.isfinite(dweight[..., 0]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_averages_spoil_only_the_windows_that_touch(normals, dtype, value):
    x = normals(10, dtype)(2, 4, 6, 3)
    x[1, 2, 3, 0] = value
    y, _ = ops.avg_pool2d(x, 2)
    assert np.argwhere(~np.isfinite(y)).tolist() == [[1, 1, 1, 0]]
    y, _ = ops.global_avg_pool2d(x)
    assert np.argwhere(~np.isfinite(y)).tolist() == [[1, 0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_dense_spoils_only_the_row_of_that_image(normals, dtype, value):
    draw = normals(8, dtype)
    x, weight, bias = draw(5, 3), draw(3, 4), draw(4)
    x[2, 1] = value
    y, cache = ops.dense(x, weight, bias)
    assert np.isfinite(y).all(axis=1).tolist() == [True, True, False, True, True]
    dx, dweight, _ = ops.dense_backward(np.ones_like(y), cache)
    assert np.isfinite(dx).all()
    assert np.isfinite(dweight).all(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_max_pool2d_keeps_nan_wherever_it_is_in_the_window(dtype, place):
    x = np.arange(16, dtype=dtype).reshape(1, 4, 4, 1)
    x[0, place[0], place[1], 0] = np.nan
    y, cache = ops.max_pool2d(x, 2)
    np.testing.assert_array_equal(y.ravel(), [np.nan, 7, 13, 15])
    dx = ops.max_pool2d_backward(np.ones_like(y), cache)
    assert dx[0, place[0], place[1], 0] == 1
    assert dx.sum() == 4


def test_max_pool2d_of_infinities(dtype):
    x = np.array([[-np.inf, -np.inf, np.inf, 3], [-np.inf, -np.inf, np.inf, 4]], dtype)
    y, cache = ops.max_pool2d(x[None, :, :, None], 2, padding=1, stride=(2, 2))
    # Padded windows: columns (-1, 0), (1, 2), (3, 4) of rows (-1, 0) and (1, 2).
    assert y[0, :, :, 0].tolist() == [[-np.inf, np.inf, 3], [-np.inf, np.inf, 4]]
    dx = ops.max_pool2d_backward(np.ones_like(y), cache)
    assert dx[0, :, :, 0].tolist() == [[1, 0, 1, 1], [1, 0, 1, 1]]


def test_relu_keeps_nan_and_infinity(dtype):
    y, cache = ops.relu(np.array([np.nan, np.inf, -np.inf, -1, 2], dtype))
    np.testing.assert_array_equal(y, np.array([np.nan, np.inf, 0, 0, 2], dtype))
    dx = ops.relu_backward(np.full(5, 3, dtype), cache)
    assert dx[1:].tolist() == [3, 0, 0, 3]


def test_relu_keeps_a_bit_for_each_element(dtype):
    x = np.array([-1, 3, 0, np.nan, np.inf, 2, -np.inf, 1, 0, 5] + [0] * 30, dtype)
    _, cache = ops.relu(x.reshape(4, 10))
    bits = np.unpackbits(cache.positive, bitorder="little")
    assert np.flatnonzero(bits).tolist() == [1, 4, 5, 7, 9]
    assert cache.positive.nbytes <= x.size // 8 + 4  # no more than the last vector takes


def test_relu_of_nothing(dtype):
    y, cache = ops.relu(np.empty((0, 3), dtype))
    assert (y.shape, ops.relu_backward(y, cache).shape) == ((0, 3), (0, 3))


def test_relu_lets_nothing_through_where_it_is_cut_off(dtype):
    _, cache = ops.relu(np.array([-1, 0, 2, 3, 4], dtype))
    dx = ops.relu_backward(np.array([np.inf, np.nan, np.nan, -np.inf, 1], dtype), cache)
    np.testing.assert_array_equal(dx, np.array([0, 0, np.nan, -np.inf, 1], dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_softmax_of_a_spoilt_row_is_nan_and_of_the_others_right(dtype, value):
    logits = np.array([[1, 2, 3], [1, value, 3], [5, 5, 5]], dtype)
    y, cache = ops.softmax(logits)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, False]
    dlogits = ops.softmax_backward(np.ones_like(y), cache)
    assert np.isnan(dlogits).all(axis=1).tolist() == [False, True, False]


def test_softmax_gives_minus_infinity_no_share(dtype):
    y, _ = ops.softmax(np.array([[0, -np.inf, 0], [-np.inf, -np.inf, 7]], dtype))
    assert y.tolist() == [[0.5, 0, 0.5], [0, 0, 1]]
    y, _ = ops.softmax(np.full((1, 2), -np.inf, dtype))
    assert np.isnan(y).all()  # nothing to share out


@every_op
def test_a_batch_of_nothing_but_nan_gives_nan_without_a_warning(dtype, op):
    arrays = {name: np.full(shape, np.nan, dtype) for name, shape in op[2].items()}
    y, _, _, _ = run(op, arrays)
    assert (np.isnan(y) | (op is OPS["dropout"] and y == 0)).all()  # 0 is what was dropped


# The defaults decide the result of every program that does not name them. Those that are None are
# left out.
DEFAULTS = """
minicnn.Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.0)
minicnn.SGD(learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)
minicnn.Augment(rotation=0.0, shift=0.0, shear=0.0, zoom=0.0, horizontal_flip=False)
minicnn.Augment(vertical_flip=False, elastic=0.0, thin=0.0, thicken=0.0, blur=0.0, sharpen=0.0)
minicnn.Augment(brightness=0.0, erase=0.0)
minicnn.AvgPool2D(padding=0)
minicnn.MaxPool2D(padding=0)
minicnn.BatchNorm(momentum=0.1, epsilon=1e-05)
minicnn.Conv2D(stride=1, padding=0, backend='auto', initializer=he_normal, bias=True)
minicnn.Dense(initializer=he_normal, bias=True)
minicnn.DepthwiseConv2D(stride=1, padding=0, initializer=he_normal, bias=True)
minicnn.Sequential(seed=0, input_mean=0.0, input_std=1.0, dtype=float32)
minicnn.TestTimeAugmentation(shift=1.0, rotation=0.0, zoom=0.0)
minicnn.explain(label_smoothing=0.0)
minicnn.fit(schedule=constant, label_smoothing=0.0, epochs=5, batch_size=128, seed=0)
minicnn.fit(validation_split=0.1, resume=False, progress=True)
minicnn.load_mnist(download=True)
minicnn.softmax_cross_entropy(label_smoothing=0.0)
minicnn.synthetic_digits(seed=0)
minicnn.ops.avg_pool2d(padding=0)
minicnn.ops.max_pool2d(padding=0)
minicnn.ops.batch_norm(epsilon=1e-05, relu=False)
minicnn.ops.batch_norm_inference(epsilon=1e-05, relu=False)
minicnn.ops.fold_batch_norm(epsilon=1e-05)
minicnn.ops.conv2d(stride=1, padding=0, relu=False, backend='auto')
minicnn.ops.conv2d_max_pool2d(stride=1, padding=0, relu=False, backend='auto')
minicnn.ops.depthwise_conv2d(stride=1, padding=0)
minicnn.ops.dense(relu=False)
minicnn.ops.conv2d_backward(need_dx=True)
minicnn.ops.dense_backward(need_dx=True)
minicnn.ops.batch_norm_backward(need_dx=True)
minicnn.ops.depthwise_conv2d_backward(need_dx=True)
minicnn.ops.conv2d_max_pool2d_backward(need_dx=True)
minicnn.metrics.calibration(bins=15)
minicnn.plots.augmentation_grid(seed=0, epochs=8)
minicnn.plots.feature_maps(channels=16)
minicnn.plots.image_grid(columns=10)
minicnn.plots.worst_mistakes(count=24)
"""


@pytest.mark.parametrize("line", DEFAULTS.split("\n")[1:-1])
def test_defaults_stay(line):
    module, name, recorded = re.fullmatch(r"(.+)\.(\w+)\((.+)\)", line).groups()
    thing = getattr(import_module(module), name)
    for argument, value in re.findall(r"(\w+)=([^,]+)", recorded):
        default = signature(thing).parameters[argument].default
        assert getattr(default, "__name__", repr(default)) == value, argument


@pytest.mark.parametrize(("size", "expected"), [((16, 16), np.uint8), ((17, 16), np.uint16)])
def test_an_argmax_takes_the_fewest_bytes_that_hold_it(size, expected):
    x = np.arange(20 * 20, dtype=np.float32).reshape(1, 20, 20, 1)
    y, cache = ops.max_pool2d(x, size, 1)
    assert cache.argmax.dtype == expected
    assert cache.argmax.reshape(-1).tolist() == [size[0] * size[1] - 1] * y.size
