"""Batch normalization: exact, precise, equal to PyTorch, and folded."""

import re
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import (
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    fit,
    load_model,
    ops,
    reference,
)
from minicnn.gradcheck import away_from_kinks, check_gradients, format_report
from minicnn.kernels.target import BLOCK_ROWS
from minicnn.layers.fusion import CONV_POOL, fuse
from minicnn.random import RandomKey, generator
from minicnn.train.data_parallel import BatchGradient

f32, f64 = np.float32, np.float64


def equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


# ------------------------------------------------------------ against the reference


def with_exact_roots(rng, shape, dtype):
    """Return x with variance 3 in each channel, so that √(v + 1) is 2.

    A quarter of its numbers is 3 above the mean, the others are 1 below it. While M is a power of
    two all means are sums of powers of two, and nothing is rounded anywhere.
    """
    C = shape[-1]
    M = int(np.prod(shape[:-1]))
    columns = [rng.permutation(np.tile([3, -1, -1, -1], M // 4)) + mean for mean in range(C)]
    return np.stack(columns, axis=1).reshape(shape).astype(dtype)


def equals_reference(draw, x, relu):
    weight, bias, dy = draw(x.shape[-1]), draw(x.shape[-1]), draw(*x.shape)
    y, cache = ops.batch_norm(x, weight, bias, epsilon=1, relu=relu)
    wanted, reference_cache = reference.norm.batch_norm(x, weight, bias, epsilon=1)
    upstream = dy
    if relu:
        wanted, relu_cache = reference.activations.relu(wanted)
        upstream = reference.activations.relu_backward(dy, relu_cache)
    gradients = reference.norm.batch_norm_backward(upstream, reference_cache)
    equal([y], [wanted])
    equal(ops.batch_norm_backward(dy, cache), gradients)
    no_dx, *others = ops.batch_norm_backward(dy, cache, need_dx=False)
    assert no_dx is None
    equal(others, gradients[1:])
    out = np.full_like(weight, np.nan), np.full_like(bias, np.nan)
    found = ops.batch_norm_backward(dy, cache, out=out)
    equal(found, gradients)
    assert found[1] is out[0]
    assert found[2] is out[1]
    return cache


# Channels: a vector of 8 or 16 numbers, several, and what is left of one. Numbers of a channel:
# less than a block of 64, a block, several.
SHAPES = [
    (4, 1),
    (8, 16),
    (16, 2, 2, 3),
    (2, 4, 8, 8),
    (8, 2, 4, 17),
    (2, 16, 4, 33),
    (32, 4, 2, 5),
]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_equals_the_reference(integers, dtype, shape, relu):
    x = with_exact_roots(np.random.default_rng(1), shape, dtype)
    cache = equals_reference(integers(1, dtype), x, relu)
    M = x.size // shape[-1]
    equal([cache.mean], [np.arange(shape[-1], dtype=dtype)])
    equal([cache.variance], [np.full(shape[-1], 3 * M / (M - 1), dtype)])


@settings(max_examples=25)
@given(
    st.integers(2, 8),
    st.integers(1, 40),
    st.integers(0, 99),
    st.sampled_from([f32, f64]),
    st.booleans(),
)
def test_it_equals_the_reference_for_any_channels(integers, power, C, seed, dtype, relu):
    x = with_exact_roots(np.random.default_rng(seed), (2**power, C), dtype)
    equals_reference(integers(seed, dtype), x, relu)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_given_statistics_equal_the_reference(integers, dtype, shape, relu):
    draw = integers(2, dtype)
    x, weight, bias, mean, dy = draw(*shape), *(draw(shape[-1]) for _ in range(3)), draw(*shape)
    variance = np.array([0, 3, 15], dtype)[np.arange(shape[-1]) % 3]
    y, cache = ops.batch_norm_inference(x, weight, bias, mean, variance, epsilon=1, relu=relu)
    wanted, reference_cache = reference.norm.batch_norm_inference(
        x, weight, bias, mean, variance, epsilon=1
    )
    upstream = dy
    if relu:
        wanted, relu_cache = reference.activations.relu(wanted)
        upstream = reference.activations.relu_backward(dy, relu_cache)
    equal([y], [wanted])
    gradients = reference.norm.batch_norm_backward(upstream, reference_cache)
    equal(ops.batch_norm_backward(dy, cache), gradients)
    equal([cache.mean, cache.variance], [mean, variance])


def axes(*limits):
    return st.tuples(*(st.integers(1, limit) for limit in limits))


@settings(max_examples=50)
@given(
    st.one_of(axes(9, 5), axes(4, 5, 6, 20)).filter(lambda shape: np.prod(shape[:-1]) > 1),
    st.integers(0, 99),
    st.booleans(),
)
def test_any_shape(normals, shape, seed, relu):
    draw = normals(seed, f64)
    x, dy, weight, bias = 3 * draw(*shape) + 5, draw(*shape), draw(shape[-1]), draw(shape[-1])
    y, cache = ops.batch_norm(x, weight, bias, relu=relu)
    wanted, reference_cache = reference.norm.batch_norm(x, weight, bias)
    if relu:
        wanted, relu_cache = ops.relu(wanted)
        dy = ops.relu_backward(dy, relu_cache)
    close = {"rtol": 1e-9, "atol": 1e-9}  # two numbers that are close leave fewer digits
    np.testing.assert_allclose(y, wanted, **close)
    gradients = reference.norm.batch_norm_backward(dy, reference_cache)
    for found, one in zip(ops.batch_norm_backward(dy, cache), gradients, strict=True):
        np.testing.assert_allclose(found, one, **close)


# ------------------------------------------------------------ digits that count


@pytest.mark.parametrize("mean", [0, 1000, -30000])
def test_a_mean_far_from_0_costs_no_digits(normals, mean):
    # the same float32 numbers in both: what is rounded in x itself is no error of the op
    x = (normals(3, f32)(32, 6, 6, 9) + f32(mean)).astype(f32)
    weight, bias, dy = np.ones(9, f32), np.zeros(9, f32), normals(4, f32)(*x.shape)
    exact = x.astype(f64)
    centerd = exact - exact.mean(axis=(0, 1, 2))
    variance = exact.var(axis=(0, 1, 2))
    normal = centerd / np.sqrt(variance + 1e-5)
    y, cache = ops.batch_norm(x, weight, bias)
    np.testing.assert_allclose(y, normal, rtol=2e-6, atol=2e-6)
    unbiased = exact.var(axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(cache.variance, unbiased, rtol=1e-6)
    np.testing.assert_allclose(cache.mean, exact.mean(axis=(0, 1, 2)), rtol=1e-6, atol=1e-6)
    upstream = dy.astype(f64)
    dweight = (upstream * normal).sum(axis=(0, 1, 2))
    inner = upstream - upstream.mean(axis=(0, 1, 2)) - normal * dweight / centerd[..., 0].size
    found = ops.batch_norm_backward(dy, cache)
    np.testing.assert_allclose(found[0], inner / np.sqrt(variance + 1e-5), rtol=3e-6, atol=3e-6)
    np.testing.assert_allclose(found[1], dweight, rtol=1e-5, atol=1e-4)


def test_the_first_numbers_may_be_far_from_the_others(normals):
    # the numbers from which the center is taken are then the worst that there could be
    x = normals(5, f32)(20 * BLOCK_ROWS, 3)
    x[:BLOCK_ROWS] += 1000
    exact = x.astype(f64)
    y, cache = ops.batch_norm(x, np.ones(3, f32), np.zeros(3, f32))
    np.testing.assert_allclose(cache.variance, exact.var(axis=0, ddof=1), rtol=1e-5)
    normal = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    np.testing.assert_allclose(y, normal, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [0, 0.1, 1000.1])
def test_a_constant_channel_gives_the_bias(normals, dtype, value):
    # the sum of equal numbers by their number is that number again, or one rounding beside it
    x = np.full((3, 4, 5, 2), value, dtype)
    bias = normals(6, dtype)(2)
    y, cache = ops.batch_norm(x, np.ones(2, dtype), bias)
    assert (cache.variance >= 0).all()
    close = np.finfo(dtype).eps * max(1, value) / np.sqrt(1e-5)
    np.testing.assert_allclose(y, np.broadcast_to(bias, y.shape), rtol=0, atol=2 * close)
    dx, _, _ = ops.batch_norm_backward(normals(7, dtype)(*y.shape), cache)
    assert np.isfinite(dx).all()


def test_y_has_mean_bias_and_deviation_weight(normals, dtype):
    weight, bias = np.array([2, 0.5, -3], dtype), np.array([-1, 0, 4], dtype)
    y, _ = ops.batch_norm(5 + normals(8, dtype)(9, 8, 7, 3), weight, bias)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), bias, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), np.abs(weight), rtol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_its_channel_alone(normals, dtype, value):
    draw = normals(9, dtype)
    x, weight, bias = draw(4, 3, 3, 11), draw(11), draw(11)
    clean, _ = ops.batch_norm(x, weight, bias)
    x[2, 1, 0, 5] = value
    y, cache = ops.batch_norm(x, weight, bias)
    others = np.arange(11) != 5
    assert np.isnan(y[..., 5]).all()
    assert np.isnan(cache.variance[5])
    np.testing.assert_array_equal(y[..., others], clean[..., others])
    dx, dweight, dbias = ops.batch_norm_backward(draw(*x.shape), cache)
    assert np.isfinite(dx[..., others]).all()
    np.testing.assert_array_equal(np.isfinite(dweight), others)
    assert np.isfinite(dbias).all()
    y, _ = ops.batch_norm(x, weight, bias, relu=True)
    assert np.isnan(y[..., 5]).all()


# ------------------------------------------------------------ gradients


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2, 2)], ids=str)
def test_gradients(shape, given, relu):
    rng = np.random.default_rng(1)
    C = shape[-1]
    mean, variance = rng.standard_normal(C), rng.uniform(0.5, 2, C)

    def forward(x, weight, bias):
        if given:
            return ops.batch_norm_inference(x, weight, bias, mean, variance, relu=relu)
        return ops.batch_norm(x, weight, bias, relu=relu)

    def backward(dy, cache):
        return dict(zip(["x", "weight", "bias"], ops.batch_norm_backward(dy, cache), strict=True))

    arguments = {
        "x": away_from_kinks(rng, shape),
        "weight": rng.standard_normal(C),
        "bias": rng.standard_normal(C),
    }
    checks = check_gradients("batch_norm", forward, backward, arguments, rng)
    assert all(check.passed for check in checks), format_report(checks)


# ------------------------------------------------------------ what is refused


def refuses(error, message, call):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


X, ONES = np.ones((2, 3, 4, 5), f32), np.ones(5, f32)


def norm(x=X, weight=ONES, bias=ONES, **options):
    return lambda: ops.batch_norm(x, weight, bias, **options)


def inference(x=X, mean=ONES, variance=ONES, **options):
    return lambda: ops.batch_norm_inference(x, ONES, ONES, mean, variance, **options)


TYPES = {
    "batch_norm: x must be a NumPy array, not list": norm([[1.0]]),
    "batch_norm: x must be float32 or float64, not int64; "
    "cast it with x.astype(np.float32), or images with model.preprocess(images)": norm(
        X.astype(np.int64)
    ),
    "batch_norm: weight is float64 but x is float32; cast one with .astype(np.float32)": norm(
        weight=ONES.astype(f64)
    ),
    "batch_norm_inference: variance must be a NumPy array, not float": inference(variance=1.0),
    "batch_norm_inference: mean is float64 but x is float32; cast one with .astype(np.float32)": (
        inference(mean=ONES.astype(f64))
    ),
    "batch_norm: epsilon must be a number, not '1e-5'": norm(epsilon="1e-5"),
    "batch_norm: epsilon must be a number, not True": norm(epsilon=True),
}
VALUES = {
    "batch_norm: x must have 2 axes (N, C) or 4 axes (N, H, W, C), not 3 (shape (3, 4, 5))": norm(
        X[0]
    ),
    "batch_norm: x is empty (shape (0, 5)); give at least one image": norm(X[0, 0, :0]),
    "batch_norm: bias must have 1 axes (C), not 2 (shape (1, 5))": norm(bias=ONES[None]),
    "batch_norm: weight has 4 elements but x has 5 channels (weight (4,), x (2, 3, 4, 5))": norm(
        weight=ONES[:4]
    ),
    "batch_norm_inference: mean has 4 elements but x has 5 channels (mean (4,), x (2, 3, 4, 5))": (
        inference(mean=ONES[:4])
    ),
    "batch_norm: x has one value per channel (1, 5), which has no variance; give at least "
    "two images": norm(X[0, 0, :1]),
    "batch_norm: epsilon must be 0 or more, and finite, not -1": norm(epsilon=-1),
    "batch_norm: epsilon must be 0 or more, and finite, not nan": norm(epsilon=np.nan),
    "batch_norm_inference: epsilon must be 0 or more, and finite, not inf": inference(
        epsilon=np.inf
    ),
}


@pytest.mark.parametrize("message", TYPES)
def test_types_that_are_refused(message):
    refuses(TypeError, message, TYPES[message])


@pytest.mark.parametrize("message", VALUES)
def test_values_that_are_refused(message):
    refuses(ValueError, message, VALUES[message])


def test_gradients_that_do_not_fit_are_refused():
    _, cache = norm()()
    refuses(
        ValueError,
        "batch_norm_backward: dy has shape (2, 3, 4, 4) but the output has (2, 3, 4, 5)",
        lambda: ops.batch_norm_backward(X[..., :4], cache),
    )
    refuses(
        TypeError,
        "batch_norm_backward: dy is float64 but the output is float32",
        lambda: ops.batch_norm_backward(X.astype(f64), cache),
    )


def test_one_image_of_several_pixels_is_enough(normals):
    y, _ = ops.batch_norm(normals(11, f32)(1, 1, 2, 3), np.ones(3, f32), np.zeros(3, f32))
    np.testing.assert_allclose(np.abs(y), 1, rtol=1e-2)


# ------------------------------------------------------------ the layer


def test_the_layer_has_a_weight_and_a_bias_and_follows_mean_and_variance():
    model = Sequential([BatchNorm(momentum=0.25), Flatten(), BatchNorm()], (2, 3, 4))
    first, _, last = model.layers
    for layer, channels in (first, 4), (last, 24):
        assert layer.parameters["weight"].tolist() == [1] * channels
        assert layer.parameters["bias"].tolist() == [0] * channels
        assert layer.statistics["mean"].tolist() == [0] * channels
        assert layer.statistics["variance"].tolist() == [1] * channels
    assert repr(first) == "BatchNorm(momentum=0.25)"
    assert model.parameters.size == model.statistics.size == 2 * (4 + 24)
    rows = model.summary().splitlines()
    assert any(line.split()[1:4] == ["BatchNorm()", "(24,)", "48"] for line in rows)


def test_training_moves_the_statistics_by_each_shard_as_pytorch_does_by_each_batch(normals):
    model = Sequential([BatchNorm(momentum=0.25), Flatten(), Dense(2)], (3, 4, 5))
    images = np.random.default_rng(1).random((40, 3, 4, 5), f32)
    options = {"epochs": 1, "batch_size": 40, "validation_split": 0, "progress": False}
    fit(model, images, np.arange(40) % 2, seed=3, **options)
    order = generator(3, "shuffle").permutation(40)
    mean, variance = np.zeros(5), np.ones(5)
    for shard in images[order[:20]], images[order[20:]]:
        mean += 0.25 * (shard.mean(axis=(0, 1, 2)) - mean)
        variance += 0.25 * (shard.var(axis=(0, 1, 2), ddof=1) - variance)
    np.testing.assert_allclose(model.layers[0].statistics["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(model.layers[0].statistics["variance"], variance, rtol=1e-5)


def normed(**options):
    layers = [Conv2D(8, 3), MaxPool2D(2), BatchNorm(), ReLU(), Conv2D(5, 2), ReLU(), BatchNorm()]
    layers += [ReLU(), Flatten(), Dense(9), BatchNorm(0.2, 1e-3), Dense(3)]
    return Sequential(layers, (8, 8, 1), **options)


def test_a_norm_and_its_relu_are_one_step_and_leave_the_pooled_convolution_one():
    steps = fuse(normed().layers)
    assert [(step.first, step.length) for step in steps if step.length > 1] == [
        (0, 2),
        (2, 2),
        (4, 2),
        (6, 2),
    ]
    assert type(steps[1].layer) is type(steps[3].layer) is BatchNorm
    assert steps[1].extra == steps[3].extra == {"relu": True}


def test_a_network_gives_what_its_layers_give_one_by_one(normals):
    model = normed(dtype=f64)
    model.parameters[...] = normals(12, f64)(model.parameters.size)
    x = normals(13, f64)(6, 8, 8, 1)
    for key in RandomKey(0, 0, np.arange(6)), None:
        y, caches = model.forward(x, key=key)
        dy = normals(14, f64)(*y.shape)
        dx, gradients = model.backward(dy, caches, need_dx=True)
        z, one_by_one = x, []
        for layer in model.layers:
            z, cache = layer.forward(z, key=key)
            one_by_one.append(cache)
        close = {"rtol": 1e-9, "atol": 1e-9}
        np.testing.assert_allclose(y, z, **close)
        views = model.unflatten(gradients)
        for layer, cache, view in reversed(list(zip(model.layers, one_by_one, views, strict=True))):
            dy, wanted = layer.backward(dy, cache)
            for name, gradient in wanted.items():
                np.testing.assert_allclose(view[name], gradient, **close)
        np.testing.assert_allclose(dx, dy, **close)
        if key:
            batch_statistics = [
                layer.batch_statistics(c) for layer, c in zip(model.layers, one_by_one, strict=True)
            ]
            wanted = np.concatenate([array for each in batch_statistics for array in each.values()])
            np.testing.assert_allclose(model.batch_statistics(caches), wanted, **close)


@pytest.fixture(scope="module")
def digits():
    rng = np.random.default_rng(0)  # small: without JIT each number costs microseconds
    return rng.random((60, 5, 6), f32), rng.integers(0, 3, 60)


def small(**options):
    layers = [Conv2D(4, 2), BatchNorm(), ReLU(), MaxPool2D(2), Flatten(), Dense(3)]
    return Sequential(layers, (5, 6, 1), **options)


def trained(digits, **options):
    model = small()
    chosen = {"epochs": 2, "batch_size": 30, "progress": False, "seed": 5, **options}
    return model, fit(model, *digits, **chosen)


def test_threads_and_a_resume_change_no_bit(digits, tmp_path, monkeypatch):
    one, _ = trained(digits, threads=1)
    two, _ = trained(digits, threads=2)
    path, call = tmp_path / "checkpoint.npz", BatchGradient.__call__

    def stop(self, batch, epoch=0):
        if epoch == 1:
            raise KeyboardInterrupt
        return call(self, batch, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(BatchGradient, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(digits, checkpoint=path)
    resumed, _ = trained(digits, checkpoint=path, resume=True)
    for other in two, resumed:
        assert other.parameters.tobytes() == one.parameters.tobytes()
        assert other.statistics.tobytes() == one.statistics.tobytes()


def test_a_saved_network_answers_with_the_statistics_that_it_had(digits, tmp_path):
    model, _ = trained(digits)
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    assert again.layers[1].statistics["variance"].tolist() != [1] * 4
    assert again.summary() == model.summary()
    equal([again.predict_proba(digits[0])], [model.predict_proba(digits[0])])


LAYERS = {
    "BatchNorm: momentum must be at least 0 and below 1, not 1": lambda: BatchNorm(1),
    "BatchNorm: epsilon must be 0 or more, and finite, not -1e-05": lambda: BatchNorm(
        epsilon=-1e-5
    ),
    "BatchNorm: needs images (H, W, C) or one row for each, but its input has shape (3, 4)": (
        lambda: BatchNorm().parameter_shapes((3, 4))
    ),
}


@pytest.mark.parametrize("message", LAYERS)
def test_what_the_layer_refuses(message):
    refuses(ValueError, message, LAYERS[message])


def test_a_layer_that_is_not_built_says_so():
    with pytest.raises(RuntimeError, match="BatchNorm has no weight yet: put the layer into a Seq"):
        BatchNorm().forward(X)


# ------------------------------------------------------------ inference: folded


# The first layers of a network; Flatten and Dense(3) follow.
FOLDED = {
    "conv, norm": [Conv2D(9, 3), BatchNorm()],
    "conv, norm, ReLU, pool": [Conv2D(8, 3), BatchNorm(), ReLU(), MaxPool2D(2)],
    "conv, pool, norm, ReLU": [Conv2D(8, 3), MaxPool2D(2), BatchNorm(), ReLU()],
    "conv, ReLU, norm": [Conv2D(5, 3), ReLU(), BatchNorm()],
    "conv without a bias, two norms": [Conv2D(5, 3, bias=False), BatchNorm(), BatchNorm()],
    "depthwise without a bias, norm, ReLU": [DepthwiseConv2D(3, bias=False), BatchNorm(), ReLU()],
    "norm, conv by the reference, norm": [
        BatchNorm(),
        Conv2D(2, 2, backend="reference"),
        BatchNorm(),
    ],
    "inside of a layer": [
        Residual([Conv2D(2, 3, padding=1), BatchNorm(), ReLU()]),
        BatchNorm(),
        Concat([[Conv2D(3, 1), BatchNorm()], []]),
    ],
    "dense, norm, ReLU": [Flatten(), Dense(6), BatchNorm(), ReLU()],
    "dense without a bias, norm": [Flatten(), Dense(6, bias=False), BatchNorm(epsilon=0.1)],
}


@pytest.mark.parametrize("layers", FOLDED.values(), ids=FOLDED)
def test_in_use_a_folded_network_gives_what_it_gives_unfolded(normals, dtype, layers):
    ending = [] if isinstance(layers[0], Flatten) else [Flatten()]
    model = Sequential(deepcopy([*layers, *ending, Dense(3)]), (7, 8, 2), dtype=dtype)
    x = normals(15, dtype)(5, 7, 8, 2)
    # no number in proportion to the type's last digit: some sums of 200 products
    close = {"rtol": 500 * np.finfo(dtype).eps, "atol": 500 * np.finfo(dtype).eps}
    before = None
    for seed in 16, 17:  # what has changed since the last answer counts in the next
        model.parameters[...] = normals(seed, dtype)(model.parameters.size)
        model.statistics[...] = np.abs(normals(seed + 10, dtype)(model.statistics.size)) + 0.5
        wanted, _ = model.forward(x)
        found = model.infer(x)
        np.testing.assert_allclose(found, wanted, **close)
        assert before is None or not np.allclose(found, before)
        before = found


def test_what_is_folded_is_computed_with_what_follows():
    layers = [Conv2D(8, 3), BatchNorm(), ReLU(), MaxPool2D(2), Conv2D(4, 3), MaxPool2D(2)]
    layers += [BatchNorm(), ReLU(), Flatten(), Dense(5), BatchNorm(), ReLU(), Dense(3)]
    steps = fuse(layers, inference=True)
    assert [type(step.layer) for step in steps] == [
        Conv2D, Conv2D, BatchNorm, Flatten, Dense, Dense,
    ]  # fmt: skip
    assert [step.ops == CONV_POOL for step in steps] == [True, True, *[False] * 4]
    assert [step.norm for step in steps] == [layers[1], None, None, None, layers[10], None]
    assert [dict(step.extra) for step in steps] == [
        {"relu": True}, {"relu": False}, {"relu": True}, {}, {"relu": True}, {},
    ]  # fmt: skip


def test_what_stands_inside_of_a_layer_is_folded_too(monkeypatch):
    inside = Residual([Conv2D(2, 3, padding=1), BatchNorm()])
    model = Sequential([inside, Flatten(), Dense(3)], (4, 4, 2))
    monkeypatch.setattr(ops, "batch_norm_inference", None)
    model.infer(np.ones((1, 4, 4, 2), f32))


def test_training_after_an_answer_changes_the_next_answer(digits):
    model, _ = trained(digits)
    first = model.predict_proba(digits[0][:40])
    fit(model, *digits, epochs=1, batch_size=30, progress=False)
    second = model.predict_proba(digits[0][:40])
    assert not np.allclose(first, second)
    logits, _ = model.forward(model.preprocess(digits[0][:40]))
    np.testing.assert_allclose(second, ops.softmax(logits)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 2, 2, 5), (7, 5)], ids=str)
def test_folding_exact_numbers_is_exact(integers, dtype, shape):
    draw = integers(18, dtype)
    weight, bias, norm_weight, norm_bias, mean = draw(*shape), *(draw(5) for _ in range(4))
    variance = np.array([0, 3, 15, 63, 0], dtype)
    found = ops.fold_batch_norm(weight, bias, norm_weight, norm_bias, mean, variance, epsilon=1)
    scale = norm_weight / np.array([1, 2, 4, 8, 1], dtype)
    equal(found, (weight * scale, (bias - mean) * scale + norm_bias))


FIVE = np.ones(5, f32)
FOLDS = {
    "fold_batch_norm: weight must have 2 axes (in, out) or 3 axes (KH, KW, C) or 4 axes "
    "(KH, KW, C, F), not 1 (shape (5,))": (FIVE, FIVE),
    "fold_batch_norm: bias has 4 elements but weight has 5 channels (bias (4,), weight (2, 5))": (
        np.ones((2, 5), f32),
        FIVE[:4],
    ),
}


@pytest.mark.parametrize("message", FOLDS)
def test_what_cannot_be_folded(message):
    refuses(ValueError, message, lambda: ops.fold_batch_norm(*FOLDS[message], *[FIVE] * 4))


# ------------------------------------------------------------ without a bias


@pytest.mark.parametrize("pool", [False, True])
def test_a_layer_without_a_bias_does_what_one_with_a_bias_of_0_does(normals, pool):
    rest = [MaxPool2D(2)] if pool else []
    kinds = [Conv2D(4, 3, bias=False), *rest, ReLU(), Flatten(), Dense(3, bias=False)]
    model = Sequential(kinds, (7, 7, 2), dtype=f64)
    wanted = Sequential(
        [Conv2D(4, 3), *deepcopy(rest), ReLU(), Flatten(), Dense(3)], (7, 7, 2), dtype=f64
    )
    for own, other in zip(model.layers, wanted.layers, strict=True):
        assert "bias" not in own.parameters
        for name, array in own.parameters.items():
            other.parameters[name][...] = array
    x = normals(19, f64)(4, 7, 7, 2)
    (y, caches), (z, others) = model.forward(x), wanted.forward(x)
    equal([y], [z])
    (dx, gradients), (dz, theirs) = (
        each.backward(y, kept, need_dx=True) for each, kept in ((model, caches), (wanted, others))
    )
    equal([dx], [dz])
    for own, other in zip(model.unflatten(gradients), wanted.unflatten(theirs), strict=True):
        equal(own.values(), [other[name] for name in own])
    # a layer by itself makes the arrays for its gradients
    _, cache = model.layers[-1].forward(normals(20, f64)(2, 4 * (4 if pool else 25)))
    assert model.layers[-1].backward(normals(21, f64)(2, 3), cache)[1].keys() == {"weight"}


def test_a_model_without_biases_is_saved_and_shown(tmp_path):
    model = Sequential([Conv2D(4, 3, bias=False), BatchNorm(), Flatten(), Dense(3)], (4, 4, 1))
    lines = model.summary().splitlines()
    assert any("Conv2D(4, 3, bias=False)" in line and " 36 " in line for line in lines)
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    assert again.summary() == model.summary()
    x = np.ones((1, 4, 4, 1), f32)
    equal([again.predict_proba(x)], [model.predict_proba(x)])


@pytest.mark.parametrize(
    "kind",
    [lambda **o: Conv2D(2, 3, **o), lambda **o: DepthwiseConv2D(3, **o), lambda **o: Dense(2, **o)],
)
def test_a_bias_is_there_or_not(kind):
    with pytest.raises(TypeError, match="bias must be True or False, not 0"):
        kind(bias=0)
