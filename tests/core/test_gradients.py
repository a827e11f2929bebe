"""Every gradient against central differences; planted errors are found.

The tolerance is the checker's own, 1e-6: in float64 central differences leave an error near 1e-8,
and the smallest error worth planting, 0.1 %, is a thousand times larger than what is let through.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from minicnn import (
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    ReLU,
    Sequential,
    gradcheck,
    one_hot,
    ops,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from minicnn.gradcheck import away_from_kinks, check_gradients, format_report, relative_errors
from minicnn.ops import conv
from minicnn.random import RandomKey

# All that compute every convolution, registered ones included.
BACKENDS = [name for name in conv.BACKENDS if name != "winograd"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "check_gradients.py"

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes minutes without JIT"
)


def named(*names):
    """Turn a tuple of gradients into the dict that the checker wants."""
    return lambda gradients: dict(zip(names, gradients, strict=True))


def passes(name, forward, backward, arguments, rng):
    checks = check_gradients(name, forward, backward, arguments, rng)
    assert [check.argument for check in checks] == list(arguments)
    assert all(check.passed for check in checks), format_report(checks)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


# ------------------------------------------------------------ the ops


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same"])
@pytest.mark.parametrize("stride", [1, 2, (2, 1), (1, 3)])
def test_conv2d(rng, stride, padding, backend):
    passes(
        "conv2d",
        lambda x, weight, bias: ops.conv2d(x, weight, bias, stride, padding, backend=backend),
        lambda dy, cache: named("x", "weight", "bias")(ops.conv2d_backward(dy, cache)),
        {
            "x": rng.standard_normal((2, 4, 3, 2)),
            "weight": rng.standard_normal((3, 2, 2, 2)),
            "bias": rng.standard_normal(2),
        },
        rng,
    )


@pytest.mark.parametrize("padding", [0, (2, 1), "same"])
def test_conv2d_by_minimal_filtering(rng, padding):
    passes(
        "conv2d",
        lambda x, weight, bias: ops.conv2d(x, weight, bias, 1, padding, backend="winograd"),
        lambda dy, cache: named("x", "weight", "bias")(ops.conv2d_backward(dy, cache)),
        {
            "x": rng.standard_normal((2, 4, 3, 2)),
            "weight": rng.standard_normal((3, 3, 2, 2)),
            "bias": rng.standard_normal(2),
        },
        rng,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_conv2d_without_dx_gives_the_same_other_gradients(rng, backend):
    x, weight, bias = (rng.standard_normal(s) for s in [(2, 4, 3, 2), (3, 2, 2, 3), (3,)])
    y, cache = ops.conv2d(x, weight, bias, backend=backend)
    dy = rng.standard_normal(y.shape)
    _, dweight, dbias = ops.conv2d_backward(dy, cache)
    found = ops.conv2d_backward(dy, cache, need_dx=False)
    assert found[0] is None
    np.testing.assert_array_equal(found[1], dweight)
    np.testing.assert_array_equal(found[2], dbias)


def test_add(rng):
    passes(
        "add",
        ops.add,
        lambda dy, cache: named("a", "b")(ops.add_backward(dy, cache)),
        {"a": rng.standard_normal((2, 3, 2)), "b": rng.standard_normal((2, 3, 2))},
        rng,
    )


def test_concat(rng):
    passes(
        "concat",
        lambda a, b, c: ops.concat([a, b, c]),
        lambda dy, cache: named("a", "b", "c")(ops.concat_backward(dy, cache)),
        {name: rng.standard_normal((2, 3, C)) for name, C in {"a": 2, "b": 1, "c": 4}.items()},
        rng,
    )


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_dropout(rng, rate):
    key = RandomKey(0, 0, np.arange(3))
    passes(
        "dropout",
        lambda x: ops.dropout(x, rate, key),
        lambda dy, cache: {"x": ops.dropout_backward(dy, cache)},
        {"x": rng.standard_normal((3, 4, 2))},
        rng,
    )


def test_dense(rng):
    passes(
        "dense",
        ops.dense,
        lambda dy, cache: named("x", "weight", "bias")(ops.dense_backward(dy, cache)),
        {
            "x": rng.standard_normal((3, 4)),
            "weight": rng.standard_normal((4, 2)),
            "bias": rng.standard_normal(2),
        },
        rng,
    )


def test_dense_without_dx_gives_the_same_other_gradients(rng):
    y, cache = ops.dense(*(rng.standard_normal(s) for s in [(3, 4), (4, 2), (2,)]))
    _, dweight, dbias = ops.dense_backward(y, cache)
    found = ops.dense_backward(y, cache, need_dx=False)
    assert found[0] is None
    np.testing.assert_array_equal(found[1], dweight)
    np.testing.assert_array_equal(found[2], dbias)


@pytest.mark.parametrize(
    ("pool_size", "stride", "padding"),
    [(2, None, 0), (3, 1, 1), ((2, 3), (1, 2), (0, 2)), (2, 3, 0), ((4, 2), 3, "same")],
)
def test_max_pool2d(rng, pool_size, stride, padding):
    passes(
        "max_pool2d",
        lambda x: ops.max_pool2d(x, pool_size, stride, padding),
        lambda dy, cache: {"x": ops.max_pool2d_backward(dy, cache)},
        {"x": away_from_kinks(rng, (2, 5, 6, 2))},
        rng,
    )


@pytest.mark.parametrize(
    ("pool_size", "stride", "padding"),
    [(2, None, 0), (3, 1, 1), ((2, 3), (1, 2), (0, 2)), (2, 3, 0), ((4, 2), 3, "same")],
)
def test_avg_pool2d(rng, pool_size, stride, padding):
    passes(
        "avg_pool2d",
        lambda x: ops.avg_pool2d(x, pool_size, stride, padding),
        lambda dy, cache: {"x": ops.avg_pool2d_backward(dy, cache)},
        {"x": rng.standard_normal((2, 5, 6, 2))},
        rng,
    )


@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same"])
@pytest.mark.parametrize("stride", [1, 2, (2, 1), (1, 3)])
def test_depthwise_conv2d(rng, stride, padding):
    passes(
        "depthwise_conv2d",
        lambda x, weight, bias: ops.depthwise_conv2d(x, weight, bias, stride, padding),
        lambda dy, cache: named("x", "weight", "bias")(ops.depthwise_conv2d_backward(dy, cache)),
        {
            "x": rng.standard_normal((2, 4, 3, 2)),
            "weight": rng.standard_normal((3, 2, 2)),
            "bias": rng.standard_normal(2),
        },
        rng,
    )


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (ops.relu, ops.relu_backward),
        (ops.flatten, ops.flatten_backward),
        (ops.global_avg_pool2d, ops.global_avg_pool2d_backward),
        (lambda x: ops.softmax(x.reshape(6, 4)), None),
    ],
    ids=["relu", "flatten", "global_avg_pool2d", "softmax"],
)
def test_ops_of_one_argument(rng, forward, backward):
    def softmax_backward(dy, cache):
        return ops.softmax_backward(dy, cache).reshape(2, 3, 2, 2)

    backward = backward or softmax_backward
    x = away_from_kinks(rng, (2, 3, 2, 2))
    passes("op", forward, lambda dy, cache: {"x": backward(dy, cache)}, {"x": x}, rng)


@pytest.mark.parametrize("kind", ["class numbers", "one-hot rows", "soft rows"])
def test_loss(rng, kind):
    labels = np.array([3, 0, 3, 2])
    soft = rng.dirichlet(np.ones(4), 4)
    given = {"class numbers": labels, "one-hot rows": one_hot(labels, 4), "soft rows": soft}[kind]
    passes(
        "loss",
        lambda logits: softmax_cross_entropy(logits, given),
        lambda dloss, cache: {"logits": softmax_cross_entropy_backward(dloss, cache)},
        {"logits": rng.standard_normal((4, 4))},
        rng,
    )


def test_whole_network(rng):
    model = Sequential(
        [Conv2D(2, 3, padding=1), ReLU(), MaxPool2D(2), Flatten(), Dense(3)],
        input_shape=(4, 6, 1),
        dtype=np.float64,
    )

    def forward(images, parameters):
        model.parameters[...] = parameters
        y, caches = model.forward(images)
        loss, cache = softmax_cross_entropy(y, np.array([2, 0]))
        return loss, (cache, caches)

    def backward(dloss, cache):
        dy = softmax_cross_entropy_backward(dloss, cache[0])
        return named("images", "parameters")(model.backward(dy, cache[1], need_dx=True))

    images = away_from_kinks(rng, (2, 4, 6, 1))
    parameters = model.parameters.copy()
    passes("network", forward, backward, {"images": images, "parameters": parameters}, rng)


def test_an_argument_too_large_for_every_element_is_tried_along_directions(rng):
    x, weight = rng.standard_normal((2, 60)), rng.standard_normal((60, 40))
    assert weight.size > gradcheck.MAX_ELEMENTS
    arguments = {"x": x, "weight": weight, "bias": np.zeros(40)}

    def backward(dy, cache, wrong=1.0):
        dx, dweight, dbias = ops.dense_backward(dy, cache)
        return {"x": dx, "weight": dweight * wrong, "bias": dbias}

    passes("dense", ops.dense, backward, arguments, rng)
    checks = check_gradients(
        "dense", ops.dense, lambda dy, cache: backward(dy, cache, 1.001), arguments, rng
    )
    assert [check.argument for check in checks if not check.passed] == ["weight"]
    assert len(checks[1].element) == 1
    assert checks[1].element[0] < gradcheck.DIRECTIONS
    assert [len(check.element) for check in checks] == [2, 1, 1]  # bias has one axis
    along = check_gradients("dense", ops.dense, backward, arguments, rng, max_elements=0)
    assert [len(check.element) for check in along] == [1, 1, 1]
    assert all(check.passed for check in along)


# ------------------------------------------------------------ the tester, tested


def one_sample_left_out(dx, dweight, dbias, dy):
    return dx, dweight, dbias - dy[0].sum(axis=(0, 1))


def dweight_transposed(dx, dweight, dbias, dy):
    return dx, dweight.swapaxes(0, 1), dbias


def dx_one_pixel_off(dx, dweight, dbias, dy):
    return np.roll(dx, 1, axis=2), dweight, dbias


def with_value(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


def nan_in_the_middle(dx, dweight, dbias, dy):
    return dx, with_value(dweight, (1, 2, 0, 1), np.nan), dbias


def infinite_in_the_middle(dx, dweight, dbias, dy):
    return dx, with_value(dweight, (1, 2, 0, 1), np.inf), dbias


def one_element_dropped(dx, dweight, dbias, dy):
    return with_value(dx, (1, 2, 1, 0), 0.0), dweight, dbias


# Each error, the argument where the checker must find it, and the element if only one is wrong.
ERRORS = {
    "dx 0.1 % too large": (lambda dx, dw, db, dy: (dx * 1.001, dw, db), "x", None),
    "dweight 0.1 % too large": (lambda dx, dw, db, dy: (dx, dw * 1.001, db), "weight", None),
    "dbias 0.1 % too small": (lambda dx, dw, db, dy: (dx, dw, db * 0.999), "bias", None),
    "dx all zero": (lambda dx, dw, db, dy: (dx * 0, dw, db), "x", None),
    "one sample left out of dbias": (one_sample_left_out, "bias", None),
    "dweight transposed": (dweight_transposed, "weight", None),
    "dx one pixel off": (dx_one_pixel_off, "x", None),
    "one element of dx dropped": (one_element_dropped, "x", (1, 2, 1, 0)),
    "NaN in dweight": (nan_in_the_middle, "weight", (1, 2, 0, 1)),
    "infinity in dweight": (infinite_in_the_middle, "weight", (1, 2, 0, 1)),
}


@pytest.mark.parametrize(("spoil", "argument", "element"), ERRORS.values(), ids=ERRORS)
def test_planted_errors_are_caught_and_named(rng, spoil, argument, element):
    arguments = {
        "x": rng.standard_normal((2, 4, 5, 2)),
        "weight": rng.standard_normal((3, 3, 2, 2)),
        "bias": rng.standard_normal(2),
    }

    def backward(dy, cache):
        return named("x", "weight", "bias")(spoil(*ops.conv2d_backward(dy, cache), dy))

    checks = check_gradients("my conv", ops.conv2d, backward, arguments, rng)
    (failed,) = (check for check in checks if not check.passed)
    assert (failed.name, failed.argument) == ("my conv", argument)
    assert element in (None, failed.element)
    header, _, *rows = format_report(checks).splitlines()
    columns = ["Layer", "Argument", "Worst element", "Analytic", "Numeric", "Relative error"]
    assert [title.strip() for title in header.split("  ") if title] == columns
    verdicts = {row.split()[2]: row.endswith("FAILED") for row in rows}
    assert verdicts == {name: name == argument for name in arguments}
    (row,) = (row for row in rows if row.endswith("FAILED"))
    for word in [
        "my conv",
        str(list(failed.element)),
        f"{failed.analytic:.10f}",
        f"{failed.numeric:.10f}",
        f"{failed.relative_error:.1e}",
    ]:
        assert word in row


def test_report_says_ok_where_all_is_well(rng):
    checks = check_gradients(
        "relu",
        ops.relu,
        lambda dy, cache: {"x": ops.relu_backward(dy, cache)},
        {"x": away_from_kinks(rng, (2, 3))},
        rng,
    )
    assert format_report(checks).splitlines()[-1].endswith("ok")
    assert "FAILED" not in format_report(checks)


def test_an_upstream_gradient_of_ones_is_blind_where_the_random_one_sees(rng):
    logits = rng.standard_normal((3, 5))

    def wrong(dy, cache):
        return 3 * ops.softmax_backward(dy, cache)

    # Rows of softmax sum to 1 whatever the logits: the right gradient of the plain sum is 0, and
    # so is that of a backward three times too large. Only rounding (1e-16) is left of either.
    y, cache = ops.softmax(logits)
    for backward in (ops.softmax_backward, wrong):
        np.testing.assert_allclose(backward(np.ones_like(y), cache), 0, atol=1e-15)
    (check,) = check_gradients(
        "softmax",
        ops.softmax,
        lambda dy, cache: {"logits": wrong(dy, cache)},
        {"logits": logits},
        rng,
    )
    assert not check.passed
    assert check.analytic == pytest.approx(3 * check.numeric)


def square(x):
    return x * x, x


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda dy, x: {}, r"square: backward must return the gradients of .* not of \[\]"),
        (lambda dy, x: {"x": dy, "z": dy}, r"gradients of \['x'\], not of \['x', 'z'\]"),
        (lambda dy, x: {"x": dy[:1]}, r"square: dx has shape \(1, 3\) but x has \(2, 3\)"),
    ],
    ids=["missing", "extra", "wrong shape"],
)
def test_gradients_that_do_not_fit_the_arguments_raise(rng, backward, message):
    with pytest.raises(ValueError, match=message):
        check_gradients("square", square, backward, {"x": np.ones((2, 3))}, rng)


def test_float32_raises(rng):
    with pytest.raises(TypeError, match="square: gradient checks need float64, but x is float32"):
        check_gradients("square", square, square, {"x": np.ones(3, np.float32)}, rng)


def test_relative_errors():
    # Differences over the larger magnitude, but over no less than a thousandth of the largest (8).
    found = relative_errors(np.array([8.0, 1.0, 0.001, 0.0]), np.array([8.0, 2.0, 0.005, 0.0]))
    np.testing.assert_allclose(found, [0, 0.5, 0.004 / 0.008, 0], rtol=1e-12)
    np.testing.assert_array_equal(relative_errors(np.zeros(3), np.zeros(3)), 0)
    # An element that is not finite on either side has an infinite error; others are unchanged.
    spoilt = np.array([8.0, np.nan, np.inf, 4.0, 1.0, 2.0])
    found = relative_errors(spoilt, np.array([8.0, 1.0, np.inf, 2.0, np.nan, 2.0]))
    assert found.tolist() == [0, np.inf, np.inf, 0.5, np.inf, 0]


@pytest.mark.parametrize("shape", [(7,), (8,), (2, 3, 4, 5), (1,)])
def test_away_from_kinks_really_is(rng, shape):
    x = away_from_kinks(rng, shape, gap=0.1)
    assert (x.shape, x.dtype) == (shape, np.float64)
    # 1e-9 for the rounding of the ladder's steps.
    assert np.abs(x).min() >= 0.05 - 1e-9
    assert np.diff(np.sort(x, axis=None)).min(initial=np.inf) >= 0.1 - 1e-9
    assert x.size == 1 or x.min() < 0 < x.max()


def test_away_from_kinks_shuffles():
    first, second = (away_from_kinks(np.random.default_rng(seed), (3, 8)) for seed in (1, 2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.sort(first, axis=None).reshape(3, 8))


# ------------------------------------------------------------ the example


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("check_gradients", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_jit
def test_the_example_checks_every_layer_and_passes(example, capsys):
    layers = [type(layer) for layer, _ in example.library_layers()]
    assert set(layers) >= {Conv2D, Dense, Flatten, MaxPool2D, ReLU}
    assert example.main([]) == 0
    out = capsys.readouterr().out
    for name in [cls.__name__ for cls in layers] + ["softmax_cross_entropy", "network"]:
        assert name in out
    assert "FAILED" not in out


def only_relu():
    return [(ReLU(), (4, 3, 2))]


def test_the_example_fails_where_a_gradient_is_wrong(example, capsys, monkeypatch):
    monkeypatch.setattr(example, "VARIANTS", [])
    monkeypatch.setattr(example, "library_layers", only_relu)
    monkeypatch.setattr(ReLU, "ops", (ops.relu, lambda dy, cache: dy))
    assert example.main([]) == 1
    (row,) = (row for row in capsys.readouterr().out.splitlines() if row.startswith("ReLU()"))
    assert row.endswith("FAILED")


@needs_jit
def test_the_example_catches_each_error_that_it_plants(example, capsys):
    assert example.main(["--break"]) == 0
    out = capsys.readouterr().out
    planted = [line for line in out.splitlines() if line.startswith("planted: ")]
    assert all(line.endswith(": caught") for line in planted)
    for argument in ["dx of", "dweight of", "dbias of"]:
        for layer in ["Conv2D(", "DepthwiseConv2D(", "Dense("]:
            for name in example.DAMAGES:
                assert sum(f"{argument} {layer}" in line and name in line for line in planted) == 1
    for layer in ["MaxPool2D(", "AvgPool2D(", "GlobalAvgPool2D(", "ReLU(", "Flatten("]:
        assert sum(f"dx of {layer}" in line for line in planted) == len(example.DAMAGES)
    assert "every planted error caught" in out


def test_the_example_says_so_where_a_planted_error_is_missed(example, capsys, monkeypatch):
    monkeypatch.setattr(example, "library_layers", only_relu)
    monkeypatch.setattr(example, "DAMAGES", {"not at all": lambda gradient: gradient})
    assert example.main(["--break"]) == 1
    out = capsys.readouterr().out
    assert "planted: dx of ReLU() not at all: MISSED" in out
    assert "1 planted errors were missed" in out
