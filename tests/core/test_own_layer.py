"""Layers defined outside the package: every feature works on them."""

import copy
import importlib
import pickle
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pytest

from minicnn import (
    Conv2D,
    Dense,
    Flatten,
    Layer,
    MaxPool2D,
    Residual,
    Sequential,
    diagnostics,
    explain,
    fit,
    load_mnist_sample,
    load_model,
)
from minicnn.gradcheck import check_layer, format_report
from minicnn.kernels.jit import kernel
from minicnn.layers.base import layer_classes, make_example
from minicnn.random import RandomKey
from minicnn.runtime import arena

# ---------------------------------------------------------------- LeakyReLU: no parameters


@kernel
def leaky_relu_forward(x, slope, y):
    """``y = x if x > 0 else slope · x``."""
    for i in range(x.size):
        y[i] = x[i] if x[i] > 0 else slope * x[i]


class LeakyReLUCache(NamedTuple):
    x: np.ndarray
    slope: float


def leaky_relu(x, slope):
    y = arena.empty(x.shape, x.dtype)
    leaky_relu_forward(np.ascontiguousarray(x).reshape(-1), x.dtype.type(slope), y.reshape(-1))
    return y, LeakyReLUCache(x, slope)


@kernel
def leaky_relu_gradient(dy, x, slope, dx):
    """``dx = dy if x > 0 else slope · dy``."""
    for i in range(x.size):
        dx[i] = dy[i] if x[i] > 0 else slope * dy[i]


def leaky_relu_backward(dy, cache):
    x, slope = cache
    dx = arena.empty(x.shape, x.dtype)
    rows = (np.ascontiguousarray(array).reshape(-1) for array in (dy, x))
    leaky_relu_gradient(*rows, x.dtype.type(slope), dx.reshape(-1))
    return dx


@dataclass(eq=False, repr=False)
class LeakyReLU(Layer):
    """``y = x if x > 0 else slope · x``."""

    slope: float = 0.25

    ops = leaky_relu, leaky_relu_backward
    options = ("slope",)
    replayable = True


# ---------------------------------------------------------------- Scale: a weight for each channel


@kernel
def scale_forward(x, weight, y):
    """``y[m, c] = x[m, c] · weight[c]``."""
    for m in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[m, c] = x[m, c] * weight[c]


class ScaleCache(NamedTuple):
    x: np.ndarray
    weight: np.ndarray


def scale(x, weight):
    y = arena.empty(x.shape, x.dtype)
    C = len(weight)
    scale_forward(np.ascontiguousarray(x).reshape(-1, C), weight, y.reshape(-1, C))
    return y, ScaleCache(x, weight)


@kernel
def scale_gradient(dy, x, dweight):
    """``dweight[c] = Σ_m dy[m, c] · x[m, c]``."""
    dweight[:] = 0
    for m in range(x.shape[0]):
        for c in range(x.shape[1]):
            dweight[c] += dy[m, c] * x[m, c]


def scale_backward(dy, cache, *, need_dx=True, out=None):
    x, weight = cache
    dweight = arena.empty(weight.shape, weight.dtype) if out is None else out[0]
    rows = (np.ascontiguousarray(array).reshape(-1, len(weight)) for array in (dy, x))
    scale_gradient(*rows, dweight)
    return (scale(dy, weight)[0] if need_dx else None), dweight


@dataclass(eq=False, repr=False)
class Scale(Layer):
    """``y[..., c] = x[..., c] · weight[c]``."""

    ops = scale, scale_backward
    initial_values: ClassVar = {"weight": 1}
    replayable = True

    def parameter_shapes(self, input_shape):
        return {"weight": input_shape[-1:]}


# ---------------------------------------------------------------- the checks


@pytest.fixture(scope="module")
def digits():
    """Forty digits of 14×14 pixels, so that plain Python is quick too."""
    data = load_mnist_sample()
    return data.train_images[:40, ::2, ::2].copy(), data.train_labels[:40]


def network(size=14):
    layers = [Conv2D(4, 3), LeakyReLU(), Residual([Scale()]), MaxPool2D(3), Flatten(), Dense(10)]
    return Sequential(layers, (size, size, 1), seed=1)


def trained(digits, threads=1, **options):
    model = network()
    options = {"epochs": 2, "batch_size": 20, "validation_split": 0, **options}
    history = fit(model, *digits, threads=threads, progress=False, **options)
    return model, history


@pytest.mark.parametrize("cls", [LeakyReLU, Scale])
def test_defining_a_class_registers_it(cls):
    assert cls in layer_classes()
    assert cls.replayable
    assert not type("Sub", (cls,), {}).replayable


@pytest.mark.parametrize("cls", [LeakyReLU, Scale])
def test_gradients_are_right(cls):
    checks = check_layer(*make_example(cls))
    assert [check.argument for check in checks] == ["x", *(["weight"] if cls is Scale else [])]
    assert all(check.passed for check in checks), format_report(checks)


def test_a_planted_error_is_found(monkeypatch):
    monkeypatch.setattr(LeakyReLU, "ops", (leaky_relu, lambda dy, cache: dy))
    (check,) = check_layer(*make_example(LeakyReLU))
    assert not check.passed


def test_a_class_without_a_valid_example_is_named_with_the_line_to_add():
    @dataclass(eq=False, repr=False)
    class Power(Layer):
        exponent: float

    with pytest.raises(TypeError, match=r"Power .*add a line such as `example = .*test_own_layer"):
        make_example(Power)


def test_outputs_and_gradients_are_those_of_plain_loops(integers, dtype):
    draw = integers(1, dtype)
    x, dy, weight = draw(2, 3, 4, 5), draw(2, 3, 4, 5), draw(5)
    y, cache = LeakyReLU(0.5).forward(x)
    dx, _ = LeakyReLU(0.5).backward(dy, cache)
    layer = Scale()
    layer.bind({"weight": weight}, {})
    scaled, scale_cache = layer.forward(x)
    dx_scaled, gradients = layer.backward(dy, scale_cache)
    dweight = np.zeros_like(weight)
    for at in np.ndindex(x.shape):
        factor = 1 if x[at] > 0 else 0.5
        assert y[at] == factor * x[at]
        assert dx[at] == factor * dy[at]
        assert scaled[at] == x[at] * weight[at[-1]]
        assert dx_scaled[at] == dy[at] * weight[at[-1]]
        dweight[at[-1]] += dy[at] * x[at]
    np.testing.assert_array_equal(gradients["weight"], dweight, strict=True)
    assert layer.backward(dy, scale_cache, need_dx=False)[0] is None


def test_training_learns_the_weights(digits):
    model, history = trained(digits, epochs=8)
    assert history["loss"][-1] < history["loss"][0]
    assert (model.layers[2].layers[0].parameters["weight"] != 1).all()


def test_threads_and_replay_do_not_change_a_bit(digits, monkeypatch):
    monkeypatch.setenv("MINICNN_VERIFY_REPLAY", "1")
    one, _ = trained(digits)
    assert one.replayable
    for threads in (2, 4):
        other, _ = trained(digits, threads)
        assert other.parameters.tobytes() == one.parameters.tobytes()
    answers = [one.predict_proba(digits[0]) for _ in range(4)]
    monkeypatch.setattr(LeakyReLU, "replayable", False)
    eager, _ = trained(digits)
    assert not eager.replayable
    assert eager.parameters.tobytes() == one.parameters.tobytes()
    for found in answers:
        np.testing.assert_array_equal(found, eager.predict_proba(digits[0]))


def test_a_model_is_saved_and_loaded(digits, tmp_path):
    model, _ = trained(digits)
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.predict_proba(digits[0]), model.predict_proba(digits[0]))


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_independent(digits, how):
    model = network()
    other = how(model)
    before = model.predict_proba(digits[0])
    np.testing.assert_array_equal(other.predict_proba(digits[0]), before)
    other.parameters *= 2
    assert (other.layers[2].layers[0].parameters["weight"] == 2).all()
    np.testing.assert_array_equal(model.predict_proba(digits[0]), before)


def test_the_summary_counts_the_parameters():
    text = network().summary()
    assert "LeakyReLU()" in text
    (row,) = (row for row in text.splitlines() if "Scale()" in row)
    assert row.split()[-2:] == ["4", "0"]


def test_explain_shows_input_and_output(digits):
    trace = explain(network(), digits[0][0], int(digits[1][0]))
    unit = trace.step(2)[3, 4, 1]
    assert unit.result == trace.step(2).y[3, 4, 1]
    assert unit.inputs.tolist() == [trace.step(2).x[3, 4, 1]]
    assert "LeakyReLU()(x), of which only input and output are known" in str(unit)
    step = trace.step("3.0")
    gradient = step.gradient("weight", 2)
    assert gradient.result == step.gradients["weight"][2]
    assert "the backward of Scale(), of which only the input x is known" in str(gradient)
    assert "weight" in step.updated


def test_diagnose_names_the_layers(digits):
    report = str(diagnostics.diagnose(network(), *digits))
    assert "LeakyReLU()" in report
    assert "Scale()" in report


def test_training_names_the_layer_with_infinite_values(digits):
    from minicnn.train.nonfinite import find_non_finite

    model = network()
    model.layers[2].layers[0].parameters["weight"][...] = np.inf
    batch = digits[0][:2], digits[1][:2], RandomKey(0, 0, np.arange(2))
    assert "0.weight of layer 3 (Residual([Scale()]))" in find_non_finite(model, [batch])


def test_the_explorer_page_holds_input_and_output():
    make_explorer = importlib.import_module("make_explorer")
    model = network(28)
    images = load_mnist_sample().test_images[:3]
    page = make_explorer.describe(model, images)
    steps = {step["path"]: step for step in page["steps"]}
    assert [steps[place]["layer"] for place in ("2", "3.0")] == ["Recorded", "Recorded"]
    assert steps["2"]["text"] == "LeakyReLU()"
    x = model.preprocess(images)
    for place, layers in (("2", model.layers[:2]), ("3.0", [*model.layers[:2], Scale()])):
        y = x
        for layer in layers:
            y = y if isinstance(layer, Scale) else layer.forward(y)[0]  # its weights are 1
        entry = steps[place]["arrays"]["recorded"]
        weights = np.frombuffer(make_explorer.base64.b64decode(page["weights"]), "<f4")
        found = weights[entry["offset"] :][: y.size].reshape(entry["shape"])
        np.testing.assert_array_equal(found, y)
    assert "explainRecorded" in make_explorer.page(model)
