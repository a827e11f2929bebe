"""Test `diagnose`: statistics, gradients, updates and warnings."""

import copy
import os
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest

from minicnn import (
    SGD,
    Adam,
    Augment,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    fit,
    load_mnist_sample,
)
from minicnn.diagnostics import DEAD, SCALES, UPDATES, diagnose, peek_update
from minicnn.random import RandomKey
from minicnn.train.state import TrainingState

KEY = RandomKey(0, 0, np.arange(20))

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="trains for minutes without JIT"
)


@pytest.fixture(scope="module")
def digits():
    """Return 40 digits of 8×8 pixels: plain Python can train on them too."""
    data = load_mnist_sample()
    return data.train_images[:40, 2:26:3, 2:26:3].copy(), data.train_labels[:40]


def small_model(*, std=1.0, dtype=np.float32):
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(12), ReLU(), Dense(10)]
    return Sequential(layers, input_shape=(8, 8, 1), input_std=std, dtype=dtype)


def branched_model():
    layers = [
        Conv2D(3, 3, bias=False),
        BatchNorm(),
        Concat([[], [Residual([Conv2D(3, 3, padding=1), ReLU()], shortcut=[Dropout(0.3)])]]),
        Flatten(),
        Dense(10),
    ]
    return Sequential(layers, input_shape=(8, 8, 1))


def layer(report, position, inside=""):
    (match,) = (
        each for each in report.layers if (each.position, each.inside) == (position, inside)
    )
    return match


def the_warning(report, start):
    (match,) = (warning for warning in report.warnings if warning.startswith(start))
    return match


# ---------------------------------------------------------------- statistics


def test_statistics_are_those_of_layers_and_gradient(digits):
    images, labels = digits[0][:20], digits[1][:20]
    model = small_model(dtype=np.float64)
    report = diagnose(model, images, labels)
    x = model.preprocess(images)
    assert (report.images, report.lr_scale) == (20, None)
    assert layer(report, 0).name == "the input"
    assert layer(report, 0).mean == pytest.approx(x.mean())
    for position, part in enumerate(model.layers, start=1):
        x, _ = part.forward(x, key=KEY)
        own = layer(report, position)
        assert own.layer == repr(part)
        assert own.name == f"layer {position} ({part})"
        assert own.mean == pytest.approx(x.mean(), rel=1e-9)
        assert own.std == pytest.approx(x.std(), rel=1e-9)
        assert own.zeros == (x == 0).mean()
        assert own.units == x.shape[-1]
        silent = (x == 0).all(axis=tuple(range(x.ndim - 1))).sum()
        assert own.dead == (silent if isinstance(part, ReLU) else None)
        assert not own.constant

    _, caches = model.forward(model.preprocess(images), key=KEY)
    shares = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    assert report.loss == pytest.approx(-np.log(shares[np.arange(20), labels]).mean(), rel=1e-9)
    shares[np.arange(20), labels] -= 1
    _, gradient = model.backward(shares / 20, caches)
    weight, bias = model.unflatten(gradient)[0].values()
    parameters = layer(report, 1).parameters
    assert parameters["weight"].gradient_rms == pytest.approx(sqrt((weight**2).mean()), rel=1e-9)
    assert parameters["bias"].gradient_rms == pytest.approx(sqrt((bias**2).mean()), rel=1e-9)
    own = model.layers[0].parameters["weight"]
    assert parameters["weight"].rms == pytest.approx(sqrt((own**2).mean()), rel=1e-9)
    assert (parameters["weight"].ndim, parameters["bias"].ndim) == (4, 1)
    assert layer(report, 1).weight is parameters["weight"]
    assert layer(report, 2).weight is None


@pytest.mark.parametrize("optimizer", [SGD(0.3, 0.9), Adam(0.01, weight_decay=0.1)])
def test_update_is_that_of_the_next_step(digits, optimizer):
    images, labels = digits[0][:20], digits[1][:20]
    model = small_model(dtype=np.float64)
    before = []

    def look(state):
        report = diagnose(model, images, labels, state=state)
        before.append((report, model.parameters.copy()))

    options = {"batch_size": 20, "validation_split": 0, "progress": False, "on_epoch_end": look}
    fit(model, images, labels, optimizer=optimizer, epochs=3, **options)
    assert len(before) == 3
    for (report, old), (_, new) in pairwise(before):  # one step an epoch
        assert report.lr_scale == 1
        for position, (own, moved) in enumerate(
            zip(model.unflatten(old), model.unflatten(new - old), strict=True), start=1
        ):
            for name, parameter in layer(report, position).parameters.items():
                ratio = np.linalg.norm(moved[name]) / np.linalg.norm(own[name])
                assert parameter.update_ratio == pytest.approx(ratio, rel=1e-9)


def test_update_is_scaled_by_the_schedule(digits):
    reports = []
    options = {"epochs": 2, "validation_split": 0, "batch_size": 40, "progress": False}
    fit(
        small_model(), *digits, optimizer=SGD(0.1), schedule=lambda progress: 1 - progress,
        on_epoch_end=lambda state: reports.append(diagnose(state.model, *digits, state=state)),
        **options,
    )  # fmt: skip
    assert [report.lr_scale for report in reports] == [1, 0.5]
    assert "at 0.5 × the learning rate" in str(reports[1])
    weight = layer(reports[1], 7).weight
    assert weight.update_ratio == pytest.approx(0.05 * weight.gradient_rms / weight.rms, rel=1e-3)


def test_layers_inside_containers_run_in_training_mode(digits):
    model, digits = branched_model(), (digits[0][:20], digits[1][:20])
    report = diagnose(model, *digits, seed=3)
    locations = [(each.position, each.inside) for each in report.layers]
    assert locations == [
        (0, ""), (1, ""), (2, ""), (3, ""), (3, "1.0"), (3, "1.0.0"), (3, "1.0.1"),
        (3, "1.0.shortcut.0"), (4, ""), (5, ""),
    ]  # fmt: skip
    assert layer(report, 2).std == pytest.approx(1, rel=1e-3)  # normalized, in microbatches
    dropped = layer(report, 3, "1.0.shortcut.0")
    assert dropped.name == "1.0.shortcut.0 inside layer 3 (Dropout(0.3))"
    assert 0.26 < dropped.zeros < 0.34  # of 2,160 elements, none of which is 0 before
    assert layer(report, 3).parameters == {}
    assert set(layer(report, 3, "1.0.0").parameters) == {"weight", "bias"}
    assert layer(report, 3, "1.0.0").weight.gradient_rms > 0
    assert diagnose(model, *digits, seed=3) == report
    assert diagnose(model, *digits, seed=4).loss != report.loss
    assert diagnose(model, *digits, label_smoothing=0.2).loss != report.loss
    lines = str(report).splitlines()
    assert lines[5].split()[:2] == ["3", "Concat"]
    assert lines[7].split()[:2] == ["1.0.0", "Conv2D(3,"]
    assert lines[7].index("1.0.0") > lines[5].index("Concat")
    assert lines[-1] == "Nothing unusual."


def test_diagnose_rejects_wrong_arguments(digits):
    model = small_model()
    with pytest.raises(ValueError, match=r"diagnose: .*labels"):
        diagnose(model, digits[0], digits[1][:5])
    with pytest.raises(ValueError, match=r"diagnose: label_smoothing must be .* below 1"):
        diagnose(model, *digits, label_smoothing=1.5)
    with pytest.raises(ValueError, match="diagnose: state belongs to another model"):
        diagnose(model, *digits, state=TrainingState(small_model(), SGD(0.1), None))


def test_fit_rejects_an_on_epoch_end_that_is_not_callable(digits):
    with pytest.raises(TypeError, match=r"fit: on_epoch_end must be a function .*, not True"):
        fit(small_model(), *digits, on_epoch_end=True, progress=False)


# ---------------------------------------------------------------- in training


def train(digits, path=None, *, model=branched_model, **options):
    made = model()
    chosen = {
        "epochs": 3, "batch_size": 10, "validation_split": 0.2, "patience": 2,
        "augment": Augment(shift=1.0), "optimizer": Adam(0.01, weight_decay=0.1), "seed": 2,
        "checkpoint": path, "progress": False, **options,
    }  # fmt: skip
    history = fit(made, *digits, **chosen)
    return made, history


def diagnosing(digits, reports):
    return lambda state: reports.append(diagnose(state.model, *digits, state=state))


@needs_jit
@pytest.mark.parametrize("threads", [1, 2])
def test_diagnose_changes_no_bit_of_the_training(digits, threads, tmp_path):
    reports = []
    plain, history = train(digits, tmp_path / "a.npz", threads=threads)
    diagnosed, same = train(
        digits, tmp_path / "b.npz", threads=threads, on_epoch_end=diagnosing(digits, reports)
    )
    assert len(reports) == len(history["loss"])
    assert same == history
    assert diagnosed.parameters.tobytes() == plain.parameters.tobytes()
    assert diagnosed.statistics.tobytes() == plain.statistics.tobytes()
    assert diagnosed.metadata == plain.metadata
    with np.load(tmp_path / "a.npz") as expected, np.load(tmp_path / "b.npz") as actual:
        assert expected.files == actual.files
        assert all((expected[name] == actual[name]).all() for name in expected.files)


@needs_jit
def test_a_resumed_training_may_diagnose(digits, tmp_path):
    def stop(state):
        if state.epochs == 2:
            raise KeyboardInterrupt  # the checkpoint is written before on_epoch_end

    path, reports = tmp_path / "c.npz", []
    expected, history = train(digits)
    with pytest.raises(KeyboardInterrupt):
        train(digits, path, on_epoch_end=stop)
    resumed, same = train(digits, path, resume=True, on_epoch_end=diagnosing(digits, reports))
    assert len(reports) == len(same["loss"]) - 2
    assert same == history
    assert resumed.parameters.tobytes() == expected.parameters.tobytes()


@needs_jit
def test_on_epoch_end_reads_the_trained_weights(digits):
    seen = []
    model, _ = train(
        digits, patience=None, on_epoch_end=lambda state: seen.append(state.model.parameters.copy())
    )
    assert len(seen) == 3
    np.testing.assert_array_equal(seen[-1], model.parameters)


# ---------------------------------------------------------------- warnings


def test_a_new_network_has_no_warnings(digits):
    model = small_model()
    report = diagnose(model, *digits, state=TrainingState(model, Adam(0.001), None))
    assert report.warnings == ()
    assert str(report).endswith("Nothing unusual.")


def test_dead_units_are_counted_and_reported(digits):
    model = small_model()
    bias = model.layers[4].parameters["bias"]
    bias[:] = 100
    for count in (0, 4, 5, 11):
        bias[:count] = -100
        report = diagnose(model, *digits)
        assert layer(report, 6).dead == count
        warnings = [w for w in report.warnings if w.startswith(f"layer 6 (ReLU()): {count} of 12 ")]
        assert len(warnings) == (count >= DEAD * 12)  # a few dead units are harmless
    assert "11 of 12 units are 0 for all 40 images. Dead units learn nothing." in warnings[0]
    assert f"WARNING: {warnings[0]}" in str(report)


def test_weights_of_zero_are_reported_as_constant_output(digits):
    model = small_model()
    model.parameters[...] = 0
    report = diagnose(model, *digits, state=TrainingState(model, SGD(0.1), None))
    first = report.warnings[0]
    assert first.startswith(f"layer 1 ({model.layers[0]}) is the same for all 40 images")
    gradient = the_warning(report, "No gradient at all reaches the weight of layer 1")
    assert " and 2 more: " in gradient  # five arrays: all but the last bias
    assert layer(report, 1).weight.update_ratio == 0
    model.layers[4].parameters["bias"][...] = 1  # gives the last weight a gradient
    report = diagnose(model, *digits, state=TrainingState(model, Adam(0.1), None))
    assert layer(report, 7).weight.update_ratio == np.inf
    warning = the_warning(report, "One step changes weights by more than 10%")
    assert "that of layer 7 (Dense(10)), now 0. The usual" in warning


def test_identical_images_are_reported_as_constant_input(digits):
    same = np.repeat(digits[0][:1], 40, axis=0)
    report = diagnose(small_model(), same, digits[1])
    assert report.warnings[0].startswith("the input is the same for all 40 images")
    assert "Are all images the same?" in report.warnings[0]
    alone = diagnose(small_model(), same[:1], digits[1][:1])  # always constant
    assert not [warning for warning in alone.warnings if "is the same for" in warning]


def test_the_first_layer_with_an_unusual_scale_is_reported(digits):
    unscaled = small_model(std=1 / 255)
    unscaled.input_std = 1 / 2550
    warning = the_warning(diagnose(unscaled, *digits), "the input has a standard deviation of")
    assert "check input_std" in warning
    for power, word in ((2000, "large"), (1e-3, "small")):
        model = small_model()
        model.layers[0].parameters["weight"][...] *= power
        warning = the_warning(diagnose(model, *digits), "layer 1 (Conv2D(4, 3)) has a standard dev")
        assert f"initial weights too {word}?" in warning
    low, high = SCALES
    assert low * high == 1


def test_steps_that_are_too_large_or_too_small_are_reported(digits):
    def diagnosed(rate, factor=1.0):
        model = small_model()
        state = TrainingState(model, SGD(rate), None)
        state.factor = factor
        return diagnose(model, *digits, state=state)

    low, high = UPDATES
    update = layer(diagnosed(1.0), 1).weight.update_ratio
    far = diagnosed(2 * high / update)
    assert f"layer 1 (Conv2D(4, 3)) by {2 * high:.0%}" in the_warning(far, "One step changes")
    assert not [w for w in diagnosed(0.1 * high / update).warnings if w.startswith("One step")]
    slow = the_warning(diagnosed(0.01 * low / update), "Even at the full learning rate one step")
    assert "layer 1 (Conv2D(4, 3))" in slow
    # A schedule makes steps small on purpose, and a step of 0 cannot be judged.
    assert diagnosed(0.02, factor=1e-5).warnings == ()
    assert diagnosed(0.02, factor=0.0).warnings == ()


def test_infinity_and_nan_are_traced_to_their_origin(digits):
    model = small_model()
    model.layers[4].parameters["weight"][0, 0] = np.nan
    report = diagnose(model, *digits)
    assert report.warnings[0].startswith("the weight of layer 5 (Dense(12)) holds infinity or NaN")
    assert "nan" in str(report)


def test_the_measured_step_leaves_optimizer_and_weights_unchanged(digits):
    model = small_model()
    optimizer = Adam(0.01)
    gradient = np.ones_like(model.parameters)
    optimizer.step(model.parameters, gradient)
    before = copy.deepcopy(optimizer.state_dict(model.parameters)), model.parameters.copy()
    change = peek_update(TrainingState(model, optimizer, None), gradient)
    assert change == pytest.approx(-0.01, rel=1e-4)
    np.testing.assert_array_equal(model.parameters, before[1])
    for name, array in optimizer.state_dict(model.parameters).items():
        np.testing.assert_array_equal(array, before[0][name])
