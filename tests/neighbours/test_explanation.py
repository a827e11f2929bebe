"""Test `explain`: terms of outputs and gradients, and the training step."""

import re
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import (
    SGD,
    Adam,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Ensemble,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    explain,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from minicnn.explanation.formulas import UnitTrace

LABEL = 2
# Layers inside a container come before it, in the order of the data.
NUMBERS = [
    "1", "2", "3", "4", "5.0", "5.1", "5.2", "5.3.0", "5.3", "5.shortcut.0", "5",
    "6.1.0", "6.2.0", "6", "7", "8", "9.0.0", "9.0.1", "9.1.0", "9", "10",
]  # fmt: skip
TOLERANCE = 2e-5  # a window summed in float32 and float64: hundreds of roundings of 6e-8


def random_model(layers, **arguments):
    """Return a model with random parameters and statistics."""
    model = Sequential(layers, (9, 8, 1), **arguments)
    rng = np.random.default_rng(3)
    model.parameters[:] = rng.normal(0, 0.4, model.parameters.shape)
    model.statistics[:] = rng.uniform(0.5, 1.5, model.statistics.shape)
    return model


def model_of_all_layers():
    inner = [Conv2D(4, 3, padding=1, bias=False), BatchNorm(), ReLU()]
    return random_model(
        [
            Conv2D(4, 3, padding="same"),
            MaxPool2D(2, padding=1),  # windows that reach into the padding
            BatchNorm(),
            ReLU(),
            Residual([*inner, Residual([DepthwiseConv2D(3, padding=1)])], [Conv2D(4, 1)]),
            Concat([[], [Conv2D(3, (1, 3), padding="same")], [ReLU()]]),
            Dropout(0.5),
            AvgPool2D(2, stride=1),
            Concat([[Flatten(), Dense(5, bias=False)], [GlobalAvgPool2D()]]),
            Dense(4),
        ],
        input_mean=0.2,
        input_std=0.5,
        class_names="abcd",
    )


@pytest.fixture(scope="module")
def model():
    return model_of_all_layers()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).integers(0, 256, (9, 8), np.uint8)


@pytest.fixture(scope="module")
def trace(model, image):
    return explain(model, image, LABEL)


def every_step(trace):
    return [inner for step in trace.steps for inner in step.iter_steps()]


def by_parameter(trace, layers):
    """Yield each step with parameters, their names, and the model's arrays."""
    for outer, arrays in zip(trace.steps, layers, strict=True):
        for step in outer.iter_steps():
            prefix = "".join(f"{part}." for part in step.number.split(".")[1:])
            for name in step.gradients:
                yield step, name, arrays[f"{prefix}{name}"]


def recompute(unit: UnitTrace) -> float:
    """Compute the result from the terms alone."""
    if unit.products is not None:
        return unit.products.sum() + (unit.bias or 0.0)
    if unit.formula.startswith("max("):
        return max(unit.inputs.item(), 0.0)
    return unit.inputs.max()  # the largest of them, or the only one


# ---------------------------------------------------------------- forward


def test_outputs_are_those_of_the_model(model, image, trace):
    np.testing.assert_allclose(trace.probabilities, model.predict_proba(image), atol=1e-6)
    assert trace.image.shape == (9, 8, 1)
    np.testing.assert_array_equal(trace.steps[0].x, model.preprocess(image)[0])
    assert [step.number for step in trace.steps] == [str(k + 1) for k in range(10)]
    numbers = [step.number for step in every_step(trace)]
    assert numbers[4:11] == ["5.0", "5.1", "5.2", "5.3.0", "5.3", "5.shortcut.0", "5"]
    assert trace.class_names == list("abcd")


@pytest.mark.parametrize("number", NUMBERS)
def test_every_output_equals_its_terms(trace, number):
    step = trace.step(number)
    scale = max(abs(step.y).max(), 1.0)
    for at in np.ndindex(step.y.shape):
        unit = step[at]
        assert unit.result == step.y[at]
        assert abs(recompute(unit) - unit.result) <= TOLERANCE * scale
        if unit.weights is not None:
            np.testing.assert_allclose(unit.products, unit.inputs * unit.weights, rtol=1e-6)
        if unit.total is not None:
            assert unit.total == unit.products.sum()


def test_conv_inputs_are_a_window_of_the_padded_input(trace):
    step = trace.step(1)
    padded = np.pad(step.x, ((1, 1), (1, 1), (0, 0)))
    for oh, ow in np.ndindex(9, 8):
        unit = step[oh, ow, 2]
        np.testing.assert_array_equal(unit.inputs, padded[oh : oh + 3, ow : ow + 3])
        np.testing.assert_array_equal(unit.weights, step.layer.parameters["weight"][..., 2])
        assert unit.bias == step.layer.parameters["bias"][2]
        assert unit.box == (oh - 1, ow - 1, oh + 2, ow + 2)


def test_max_pool_source_receives_the_gradient(trace):
    step = trace.step(2)
    dx = np.zeros_like(step.dx)
    for at in np.ndindex(step.y.shape):
        unit = step[at]
        assert step.x[unit.source] == unit.result
        top, left, bottom, right = unit.box
        assert top <= unit.source[0] < bottom
        assert left <= unit.source[1] < right
        dx[unit.source] += step.dy[at]
    np.testing.assert_allclose(dx, step.dx, atol=1e-7)


def test_max_pool_source_is_the_first_maximum_and_never_padding():
    model = Sequential([MaxPool2D(2, padding=1), Flatten(), Dense(2)], (2, 2, 1))
    step = explain(model, np.zeros((2, 2))).step(1)
    assert [step[at].source for at in np.ndindex(2, 2, 1)] == [
        (0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)
    ]  # fmt: skip
    assert np.isneginf(step[0, 0, 0].inputs).sum() == 3


def test_copied_outputs_equal_their_source(trace):
    for number in ("4", "7", "9.0.0"):
        step = trace.step(number)
        for at in np.ndindex(step.y.shape):
            assert step.x[step[at].source] == step[at].inputs.item()
    concat = trace.step(6)
    assert "channel 1 of branch 2" in concat[0, 0, 8].formula
    assert concat[0, 0, 8].source == (0, 0, 1)


def test_softmax_is_a_power_over_the_sum_of_powers(trace):
    for k in range(4):
        unit = trace.softmax(k)
        assert unit.products[k] / unit.total == pytest.approx(trace.probabilities[k], abs=1e-6)


# ---------------------------------------------------------------- backward and update


def test_gradients_are_those_of_the_model(model, image, trace):
    logits, caches = model.forward(model.preprocess(image))
    loss, cache = softmax_cross_entropy(logits, np.array([LABEL]))
    dx, gradient = model.backward(softmax_cross_entropy_backward(1.0, cache), caches, need_dx=True)
    assert trace.loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(trace.steps[0].dx, dx[0], atol=1e-5)
    compared = 0
    for step, name, wanted in by_parameter(trace, model.unflatten(gradient)):
        np.testing.assert_allclose(step.gradients[name], wanted, atol=1e-5)
        compared += wanted.size
    assert compared == model.parameters.size


def test_gradient_of_a_weight_is_a_sum_over_positions(model, trace):
    checked = 0
    for step in every_step(trace):
        for name, gradient in step.gradients.items():
            scale = max(abs(gradient).max(), 1e-3)
            for at in np.ndindex(gradient.shape):
                unit = step.gradient(name, at)
                assert unit.result == gradient[at]
                assert abs(unit.total - unit.result) <= TOLERANCE * scale, (step, name, at)
                checked += 1
    assert checked == model.parameters.size


@pytest.mark.parametrize("optimizer", [Adam, SGD])
def test_update_is_that_of_the_optimizer(model, image, optimizer):
    optimizer = optimizer(0.002, weight_decay=0.1)
    before = model.parameters.copy(), model.statistics.copy()
    trace = explain(model, image, LABEL, optimizer=optimizer, label_smoothing=0.1)
    assert (model.parameters == before[0]).all()
    assert (model.statistics == before[1]).all()
    assert not any(array.any() for array in optimizer.state_dict(model.parameters).values())
    # the same step by hand
    logits, caches = model.forward(model.preprocess(image))
    _, cache = softmax_cross_entropy(logits, np.array([LABEL]), label_smoothing=0.1)
    _, gradient = model.backward(softmax_cross_entropy_backward(1.0, cache), caches)
    other = model_of_all_layers()
    decayed = np.concatenate([
        np.full(array.size, array.ndim > 1)
        for layer in other.layers for array in layer.parameters.values()
    ])  # fmt: skip
    optimizer.step(other.parameters, gradient, 1.0, decayed)
    for step, name, wanted in by_parameter(trace, other.unflatten(other.parameters)):
        np.testing.assert_allclose(step.updated[name], wanted, atol=1e-5)
    for key, vector in optimizer.state_dict(gradient).items():
        for step, name, wanted in (
            by_parameter(trace, other.unflatten(vector)) if vector.ndim else ()
        ):
            np.testing.assert_allclose(step.moments[name][key], wanted, atol=1e-5)
    after, _ = other.forward(other.preprocess(image))
    loss, _ = softmax_cross_entropy(after, np.array([LABEL]), label_smoothing=0.1)
    assert trace.loss_after == pytest.approx(loss, rel=1e-4)
    assert trace.loss_after < trace.loss


def test_a_custom_optimizer_needs_no_state(model, image):
    class Plain:
        def step(self, parameters, gradients, factor, decayed):
            parameters -= 0.01 * factor * gradients

    trace = explain(model, image, LABEL, optimizer=Plain())
    step = trace.steps[-1]
    np.testing.assert_allclose(
        step.updated["weight"], step.layer.parameters["weight"] - 0.01 * step.gradients["weight"]
    )
    assert step.moments == {"weight": {}, "bias": {}}


# ---------------------------------------------------------------- table, JSON and text


def test_table_has_a_line_for_each_tensor(trace):
    lines = str(trace).splitlines()
    assert lines[0].split() == ["Layer", "Tensor", "Shape", "Minimum", "Maximum", "Mean", "Zeros"]
    assert len(lines) - 2 == len(list(trace.tensors()))
    assert repr(trace) == str(trace)
    assert sum(" y " in line for line in lines) == len(every_step(trace))
    assert repr(trace.step(2)) == "2 MaxPool2D(2, padding=1): (9, 8, 4) to (5, 5, 4)"


def test_statistics_of_a_tensor_are_those_of_its_array(trace):
    for tensor in trace.tensors():
        values, array = tensor.statistics(), tensor.array
        assert (values["number"], values["layer"], values["name"]) == tensor[:3]
        assert values["shape"] == list(array.shape)
        assert values["minimum"] == array.min()
        assert values["maximum"] == array.max()
        assert values["mean"] == pytest.approx(array.mean(dtype=np.float64))
        assert values["zeros"] == (array == 0).mean()


def test_without_a_label_there_is_no_backward_pass(model, image):
    trace = explain(model, image)
    names = [tensor.name for tensor in trace.tensors()]
    assert names == ["image", "x", *["y"] * len(every_step(trace)), "probabilities"]
    assert trace.optimizer is None
    with pytest.raises(ValueError, match="a trace without a label has no gradients"):
        trace.step(1).gradient("weight", (0, 0, 0, 0))


def test_unit_traces_print_their_terms(trace):
    text = str(trace.step("5.0")[2, 3, 1])
    assert "Σ inputs · weights + bias" in text.splitlines()[0]
    assert "rows 1 to 3, columns 2 to 4 of the layer's input" in text
    assert text.count("channel ") == 3
    assert "the other 1 channels give" in text
    assert "the bias is" in text
    assert "other" not in str(trace.step(1)[0, 0, 0])
    assert "it comes from" in str(trace.step(2)[1, 1, 0])
    wide = str(trace.step(1).gradient("weight", (0, 0, 0, 0)))
    assert "the other" in wide
    assert "-0 " not in wide
    assert "[2]" in str(trace.softmax(2))
    assert len(str(trace.step(10).gradient("bias", 1)).splitlines()) == 4


def test_the_readme_example_prints_a_gradient(capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(trace = .*?)```", readme, re.S)[1]
    layers = [Conv2D(3, 3), ReLU(), MaxPool2D(4), Conv2D(9, 3), Flatten(), Dense(10)]
    model = Sequential(layers, (28, 28, 1))
    names = {"minicnn": minicnn, "model": model, "data": minicnn.load_mnist_sample()}
    exec(compile(code, "README.md", "exec"), names)
    assert "Σ x · dy" in capsys.readouterr().out


# ---------------------------------------------------------------- errors


class Scaled(Layer):
    def build(self, input_shape, rng, dtype=np.float32):
        self.parameters = {"scale": np.ones(1, dtype)}

    def parameter_shapes(self, input_shape):
        return {"scale": (1,)}

    def forward(self, x, *, key=None):
        return x * self.parameters["scale"], x

    def backward(self, dy, cache, *, need_dx=True, gradients=None):
        return dy * self.parameters["scale"], {"scale": np.array([(dy * cache).sum()])}


class Doubled(Layer):
    def forward(self, x, *, key=None):
        return 2 * x, None

    def backward(self, dy, cache, *, need_dx=True, gradients=None):
        return (2 * dy if need_dx else None), {}


class Flattened(Flatten):
    """A subclass: it may compute something else, so it has no formula."""


class Constant(Doubled):
    def backward(self, dy, cache, *, need_dx=True, gradients=None):
        return None, {}


def test_a_layer_without_a_formula_is_shown_as_input_and_output(image):
    model = random_model([Doubled(), Constant(), Scaled(), Flattened(), Dense(3)])
    trace = explain(model, image, 0)
    np.testing.assert_array_equal(trace.step(1).y, 2 * trace.step(1).x)
    assert not trace.step(2).dx.any()
    unit = trace.step(1)[0, 0, 0]
    assert unit.result == trace.step(1).y[0, 0, 0]
    assert unit.inputs.tolist() == [trace.step(1).x[0, 0, 0]]
    assert "Doubled()(x), of which only input and output are known; x at this" in str(unit)
    assert len(str(unit).splitlines()) == 3
    flat = trace.step(4)[7]  # of another shape than x: all of x, and no sum of it
    assert flat.inputs is trace.step(4).x
    assert (
        str(flat)
        .splitlines()[0]
        .endswith("Flattened()(x), of which only input and output are known")
    )
    assert str(flat).endswith("the other 64 are not shown")
    gradient = trace.step(3).gradient("scale", 0)
    assert gradient.result == trace.step(3).gradients["scale"][0]
    assert "the backward of Scaled(), of which only the input x is known" in str(gradient)


def test_explain_rejects_wrong_arguments(model, image, trace):
    with pytest.raises(TypeError, match="must be a Sequential, not Ensemble"):
        explain(Ensemble([model, model_of_all_layers()]), image)
    with pytest.raises(ValueError, match="give one image, not 2"):
        explain(model, np.zeros((2, 9, 8)))
    with pytest.raises(ValueError, match="images have shape"):
        explain(model, np.zeros((8, 9)))
    with pytest.raises(ValueError, match="explain: optimizer and label_smoothing need a label"):
        explain(model, image, optimizer=Adam())
    with pytest.raises(ValueError, match=r"label must lie in 0\.\.3"):
        explain(model, image, 4)
    with pytest.raises(TypeError, match="label must be an integer array, not float64"):
        explain(model, image, 1.0)
    with pytest.raises(KeyError, match="there is no layer 11; the layers are 1, 2,"):
        trace.step(11)
    with pytest.raises(
        IndexError, match=r"y has shape \(9, 8, 4\), so there is no index \(9, 0, 0\)"
    ):
        trace.step(1)[9, 0, 0]
    with pytest.raises(IndexError, match="no index"):
        trace.step(1)[0, 0]
    with pytest.raises(TypeError):
        trace.step(1)[0.5, 0, 0]
    with pytest.raises(IndexError, match="class must be 0 to 3, not 4"):
        trace.softmax(4)
    with pytest.raises(ValueError, match="has no parameter 'scale' of its own, but weight, bias"):
        trace.step(1).gradient("scale", 0)
    with pytest.raises(ValueError, match=r"has no parameter '0\.weight' of its own, but none"):
        trace.step(5).gradient("0.weight", (0, 0, 0, 0))
    with pytest.raises(IndexError, match="weight has shape"):
        trace.step(1).gradient("weight", (3, 0, 0, 0))
