"""Training and evaluation: `fit` and `evaluate`."""

import copy
import functools
import inspect
import io
import os
import shutil
import subprocess
import sys
import time
from math import cos, log, pi
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core import event

import minicnn
from minicnn import (
    SGD,
    Adam,
    Augment,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    NonFiniteError,
    ReLU,
    Sequential,
    evaluate,
    fit,
    load_mnist_sample,
    optim,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from minicnn.kernels import jit
from minicnn.optim import SCHEDULES
from minicnn.random import RandomKey
from minicnn.runtime import progress
from minicnn.train.config import TrainConfig, epoch_batches, validation_split_indices
from minicnn.train.nonfinite import find_non_finite
from minicnn.train.state import TrainingState

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="compiles kernels, or runs long without"
)


@pytest.fixture(scope="module")
def digits():
    """Real digits, thinned to 8×8 so that plain Python can train on them too."""
    data = load_mnist_sample()
    return data.train_images[:80, 2:26:3, 2:26:3].copy(), data.train_labels[:80]


def small_model(seed=0):
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)]
    return Sequential(layers, input_shape=(8, 8, 1), seed=seed)


def quick_fit(digits, **options):
    """Train a small model; return it and its history."""
    model = small_model()
    chosen = {"epochs": 2, "batch_size": 40, "progress": False, **options}
    return model, fit(model, *digits, **chosen)


# ---------------------------------------------------------------- sanity checks


def test_the_initial_loss_is_that_of_a_guess(digits):
    model = small_model()
    logits, _ = model.forward(model.preprocess(digits[0]))
    loss, _ = softmax_cross_entropy(logits, digits[1])
    assert loss == pytest.approx(log(10), rel=0.1)


def test_twenty_images_can_be_overfitted(digits):
    model = small_model()
    twenty = digits[0][:20], digits[1][:20]
    options = {"epochs": 80, "batch_size": 20, "validation_split": 0, "progress": False}
    history = fit(model, *twenty, optimizer=Adam(0.05), **options)
    assert history["loss"][0] > 2
    assert history["loss"][-1] < 0.001
    assert evaluate(model, *twenty).accuracy == 1


def test_the_seed_decides_the_bytes(digits):
    first, _ = quick_fit(digits, seed=1)
    again, _ = quick_fit(digits, seed=1)
    other, _ = quick_fit(digits, seed=2)
    assert first.parameters.tobytes() == again.parameters.tobytes()
    assert first.parameters.tobytes() != other.parameters.tobytes()


# ---------------------------------------------------------------- augmentation


class Recorder:
    """Turns images by 90° in every other epoch and records its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, images, image_ids, *, seed, epoch):
        self.calls.append((image_ids.tolist(), seed, epoch, len(images)))
        pixels = images.astype(np.float32) / np.float32(255)
        return np.rot90(pixels, axes=(1, 2)) if epoch % 2 else pixels


def test_augment_is_called_for_each_training_image_in_each_epoch(digits):
    recorder = Recorder()
    options = {"validation_split": 0.25, "seed": 5, "threads": 1, "batch_size": 30}
    quick_fit(digits, augment=recorder, **options)
    trained_on = [
        sorted(n for ids, _, called, _ in recorder.calls if called == epoch for n in ids)
        for epoch in (0, 1)
    ]
    assert trained_on[0] == trained_on[1]
    assert len(set(trained_on[0])) == 60  # not the 20 validation images
    assert all(seed == 5 and len(ids) == n for ids, seed, _, n in recorder.calls)


def test_training_uses_augmented_images(digits):
    plain, history = quick_fit(digits, epochs=1)
    same, same_history = quick_fit(digits, epochs=1, augment=Recorder())  # as they are in epoch 0
    np.testing.assert_array_equal(same.parameters, plain.parameters)
    assert same_history == history
    _, plain_history = quick_fit(digits)
    other, other_history = quick_fit(digits, augment=Recorder())
    assert other_history["loss"][0] == plain_history["loss"][0]
    assert other_history["loss"][1] > 1.02 * plain_history["loss"][1]  # turned: never met before
    again, _ = quick_fit(digits, augment=Recorder(), threads=3)
    np.testing.assert_array_equal(again.parameters, other.parameters)


def test_the_search_for_infinity_uses_augmented_images(digits):
    recorder = Recorder()
    with pytest.raises(NonFiniteError, match="Epoch 2/2, batch 1: "):
        quick_fit(digits, augment=recorder, optimizer=SGD(1e38), threads=1)
    *trained, searched = recorder.calls
    assert searched == trained[-2]  # the search stops at the first microbatch
    with pytest.raises(ValueError, match=r"pixels of float images must lie in 0\.\.1, but"):
        quick_fit(digits, augment=lambda images, image_ids, *, seed, epoch: 2 - images / 255)


# ---------------------------------------------------------------- microbatches and threads


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_the_number_of_threads_changes_no_bit(digits, threads):
    expected, expected_history = quick_fit(digits, threads=1, batch_size=70)
    found, history = quick_fit(digits, threads=threads, batch_size=70)
    assert found.parameters.tobytes() == expected.parameters.tobytes()
    assert history == expected_history
    assert evaluate(found, *digits, threads=threads) == evaluate(expected, *digits, threads=1)


def test_a_step_on_microbatches_is_a_step_on_the_batch(digits):
    # 70 images are microbatches of 24, 23 and 23; the gradient is that of the mean over all 70.
    images, labels = digits[0][:70], digits[1][:70]
    model = small_model()
    start = model.parameters.copy()
    fit(
        model, images, labels, optimizer=SGD(0.5), epochs=1, batch_size=70,
        validation_split=0, progress=False,
    )  # fmt: skip
    whole = small_model()
    logits, caches = whole.forward(whole.preprocess(images))
    _, cache = softmax_cross_entropy(logits, labels)
    _, gradients = whole.backward(softmax_cross_entropy_backward(1.0, cache), caches)
    # float32 sums of 70 terms in another order: a few units in the last place
    assert model.parameters == pytest.approx(start - 0.5 * gradients, abs=1e-6)


def test_evaluation_is_the_mean_over_all_images(digits):
    model, _ = quick_fit(digits)
    images, labels = digits[0][:75], digits[1][:75]
    found = evaluate(model, images, labels)
    logits, _ = model.forward(model.preprocess(images))
    assert found.loss == pytest.approx(float(softmax_cross_entropy(logits, labels)[0]), rel=1e-5)
    assert found.correct == (model.predict(images) == labels).sum()
    assert found.total == 75
    assert found.accuracy == found.correct / 75


def test_every_image_is_seen_once_an_epoch(digits, monkeypatch):
    seen = []

    def record(model, images):
        seen.append(images.copy())
        return original(model, images)

    original = Sequential.preprocess
    monkeypatch.setattr(Sequential, "preprocess", record)
    quick_fit(digits, epochs=1, batch_size=50, validation_split=0.25, threads=1)
    training, validation = np.concatenate(seen)[:60], np.concatenate(seen)[60:]
    assert sorted(image.tobytes() for image in np.concatenate([training, validation])) == sorted(
        image.tobytes() for image in digits[0]
    )
    assert len(validation) == 20


def test_order_changes_from_epoch_to_epoch(digits, monkeypatch):
    seen = []
    original = Sequential.preprocess
    monkeypatch.setattr(
        Sequential, "preprocess", lambda m, i: (seen.append(i.tobytes()), original(m, i))[1]
    )
    quick_fit(digits, epochs=2, batch_size=80, validation_split=0, threads=1)
    assert len(seen) == 6  # three microbatches an epoch
    assert seen[:3] != seen[3:]


@needs_jit
def test_replayed_steps_of_training_equal_eager_ones(digits, monkeypatch):
    """Compare each replay with an eager run, and the final weights."""
    layers = [Conv2D(4, 3), BatchNorm(), ReLU(), MaxPool2D(2), Flatten(), Dropout(0.2), Dense(10)]
    options = {"epochs": 3, "batch_size": 24, "augment": Augment(shift=1.0), "progress": False}
    weights = []
    for replayable in (True, False):
        monkeypatch.setenv("MINICNN_VERIFY_REPLAY", "1")
        monkeypatch.setattr(Sequential, "replayable", replayable)
        model = Sequential(copy.deepcopy(layers), input_shape=(8, 8, 1))
        fit(model, *digits, **options)
        weights.append(model.parameters.tobytes() + model.statistics.tobytes())
    assert weights[0] == weights[1]


# ---------------------------------------------------------------- history and progress


def test_the_history_has_a_value_per_epoch(digits):
    _, history = quick_fit(digits, epochs=3)
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 3, "accuracy": 3, "val_loss": 3, "val_accuracy": 3,
    }  # fmt: skip
    assert all(type(value) is float for values in history.values() for value in values)
    assert history["loss"][2] < history["loss"][0]
    _, history = quick_fit(digits, validation_split=0)
    assert set(history) == {"loss", "accuracy"}


@pytest.mark.parametrize("label_smoothing", [0, 0.2])
def test_the_history_has_the_means_over_the_images_of_an_epoch(digits, label_smoothing):
    """Compare with `evaluate`: at learning rate 0 every batch sees one model."""
    split = {"validation_split": 0.3, "batch_size": 24, "patience": None, "seed": 0}
    options = {"optimizer": SGD(0), "label_smoothing": label_smoothing, "epochs": 1}
    model, history = quick_fit(digits, **split, **options)  # 56 images: the last batch has 8
    training, validation = validation_split_indices(SimpleNamespace(**split), 80)
    for prefix, part in {"": training, "val_": validation}.items():
        expected = evaluate(model, digits[0][part], digits[1][part])
        assert 0 < expected.accuracy < 1
        assert history[f"{prefix}accuracy"] == [expected.accuracy]
        assert history[f"{prefix}loss"] == pytest.approx([expected.loss], rel=1e-6)


def test_a_log_file_gets_one_line_per_epoch(digits, capsys):
    quick_fit(digits, epochs=2, batch_size=30, progress=True)
    out, err = capsys.readouterr()
    head, *lines = [line for line in out.splitlines() if not line.startswith("Compiling")]
    assert head.split() == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "time"]
    assert [line.split()[0] for line in lines] == ["1/2", "2/2"]
    assert {len(line) for line in (head, *lines)} == {len(head)}
    assert all(line.endswith(" s") for line in lines)
    assert err == ""


@pytest.mark.parametrize("value", [0.0, 999.99, 3e38, np.nan])
def test_an_epoch_line_fits_80_columns(value):
    metrics = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), value)
    head, line = progress.epoch_text(
        "10000/10000", metrics, time.perf_counter() - 123456.7, head=True
    ).splitlines()
    assert len(head) <= len(line) <= 79
    assert progress.epoch_text("1/2", metrics, 0.0, head=False).count("\n") == 0


class Broken(io.StringIO):
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("make", [lambda: None, Broken, closed], ids=["none", "full", "closed"])
def test_no_stream_ends_a_training(digits, monkeypatch, make):
    monkeypatch.setattr(sys, "stdout", make())
    monkeypatch.setattr(sys, "stderr", make())
    _, history = quick_fit(digits, epochs=2, progress=True)
    assert len(history["loss"]) == 2


def test_a_checkpoint_of_any_name_resumes_in_a_narrow_encoding(digits, tmp_path, monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    checkpoint = tmp_path / "Σ.npz"
    for resume in (False, True):
        quick_fit(digits, checkpoint=checkpoint, resume=resume, progress=True)
    assert b"from " + str(tmp_path).encode() + b"/?.npz" in ascii_only.buffer.getvalue()


def test_a_terminal_gets_a_progress_bar(digits, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    every_step = functools.partial(progress.tqdm, mininterval=0, ncols=80)
    every_step.write = progress.tqdm.write
    monkeypatch.setattr(progress, "tqdm", every_step)
    quick_fit(digits, epochs=1, batch_size=8, progress=True)
    bars = [bar for bar in terminal.getvalue().split("\r") if "accuracy=" in bar]
    assert all(bar.startswith("Epoch 1/1 ") for bar in bars)
    # The bar between the two strokes keeps a useful width of 80 columns.
    assert {len(bar.split("|")[1]) >= 15 for bar in bars} == {True}
    assert max(map(len, bars)) <= 80


def test_without_progress_it_is_silent(digits, capsys):
    quick_fit(digits)
    assert capsys.readouterr() == ("", "")


def test_the_first_compilation_is_announced_once():
    said = []
    with jit.announce_compilation(said.append):
        for _ in range(2):
            with event.trigger_event("numba:compile", data={}):
                pass
    with event.trigger_event("numba:compile", data={}):
        pass
    assert len(said) == 1
    assert "Compiling the kernels" in said[0]


@needs_jit
def test_a_cold_start_announces_compilation_and_a_warm_one_does_not(tmp_path):
    code = """
import numpy as np
from minicnn import Dense, Flatten, Sequential, fit
model = Sequential([Flatten(), Dense(10)], input_shape=(4, 4, 1))
fit(model, np.zeros((20, 4, 4), np.uint8), np.arange(20) % 10, epochs=1, batch_size=5)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    outs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert outs[0].count("Compiling the kernels for this machine") == 1
    assert "Compiling" not in outs[1]
    assert "1/1 " in outs[1]


@needs_jit
def test_a_change_in_another_file_recompiles_the_kernels(tmp_path):
    shutil.copytree(Path(minicnn.__file__).parent, tmp_path / "minicnn")
    code = """
import numpy as np
from minicnn import ops
print(ops.dense(np.ones((4, 2)), np.ones((2, 8)), np.zeros(8))[0][0, 0])
"""

    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run() == "2.0"
    source = tmp_path / "minicnn" / "kernels" / "llvm.py"  # not where the kernel stands
    text = source.read_text(encoding="utf-8")
    old = '"llvm.fmuladd.{}", a.type, a.type, [a, b, c]'
    assert text.count(old) == 1
    new = '"llvm.minnum.{}", a.type, a.type, [b, c]'
    source.write_text(text.replace(old, new), encoding="utf-8")
    assert run() == "0.0"


def test_the_metadata_hold_configuration_and_history(digits):
    model = small_model()
    model.metadata["test_accuracy"] = 0.9  # of another training
    options = {"epochs": 3, "seed": 7, "batch_size": 30, "patience": 3, "progress": False}
    history = fit(model, *digits, **options)
    assert model.metadata == {
        "epochs": 3, "batch_size": 30, "patience": 3, "seed": 7, "augment": None,
        "optimizer": repr(Adam()),
        "schedule": "constant", "label_smoothing": 0.0,
        "train_images": 80, "validation_images": 8, "history": history,
        "best_epoch": 1 + history["val_loss"].index(min(history["val_loss"])),
    }  # fmt: skip


# ---------------------------------------------------------------- early stopping


def overfit(digits, **options):
    """Train in large steps: the validation loss falls, then rises."""
    model = Sequential([MaxPool2D(2), Flatten(), Dense(10)], input_shape=(8, 8, 1))
    chosen = {
        "optimizer": Adam(0.05), "validation_split": 0.25, "batch_size": 60, "progress": False,
        **options,
    }  # fmt: skip
    return model, fit(model, *digits, **chosen)


def config_of(**options):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(fit).parameters.items()
        if name in inspect.signature(TrainConfig).parameters
    }
    return TrainConfig(**{**defaults, "optimizer": Adam(), **options})


def validation_loss(model, digits):
    config = config_of(validation_split=0.25, batch_size=1)
    _, held_out = validation_split_indices(config, 80)
    return evaluate(model, digits[0][held_out], digits[1][held_out]).loss


def test_training_stops_when_patience_ends_and_restores_the_best_weights(digits):
    model, history = overfit(digits, epochs=40, patience=3)
    losses = history["val_loss"]
    best = losses.index(min(losses))
    assert best > 0
    assert len(losses) == best + 1 + 3 < 40
    assert validation_loss(model, digits) == losses[best]
    until_best, short = overfit(digits, epochs=best + 1)
    assert until_best.parameters.tobytes() == model.parameters.tobytes()
    assert short["val_loss"] == losses[: best + 1]


def test_the_best_weights_are_restored_and_announced_without_a_stop_too(digits, capsys):
    last, history = overfit(digits, epochs=9)
    assert min(history["val_loss"]) < history["val_loss"][-1]
    assert validation_loss(last, digits) == history["val_loss"][-1]
    capsys.readouterr()
    best, _ = overfit(digits, epochs=9, patience=9, progress=True)
    assert validation_loss(best, digits) == min(history["val_loss"])
    number = history["val_loss"].index(min(history["val_loss"])) + 1
    line = f"Epoch {number} had the lowest val_loss; its weights are restored"
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_a_nan_loss_is_never_the_best():
    state = TrainingState(small_model(), Adam(), patience=2)
    assert not state.should_stop(epochs=9)
    for number, loss in enumerate([np.nan, 3.0, np.nan, 3.0]):
        assert not state.should_stop(epochs=9)
        state.model.parameters[...] = number
        state.record_epoch({"loss": 1.0, "val_loss": loss})
    assert state.best_epoch == 1
    assert state.best["parameters"][0] == 1
    assert state.should_stop(epochs=9)  # 3.0 again is no lower


# ---------------------------------------------------------------- weight decay, label smoothing


class Watched(Adam):
    """Records the weights after each step, and the decay mask."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seen = []

    def step(self, parameters, gradients, lr_scale, decay_mask):
        super().step(parameters, gradients, lr_scale, decay_mask)
        self.seen.append(parameters.copy())
        self.decay_mask = decay_mask


def test_weights_decay_and_biases_do_not(digits):
    optimizer = Watched()
    model, _ = quick_fit(digits, epochs=1, optimizer=optimizer)
    decayed = {
        (position, name): set(array.ravel().tolist())
        for position, arrays in enumerate(model.unflatten(optimizer.decay_mask))
        for name, array in arrays.items()
    }
    assert decayed == {
        (0, "weight"): {True}, (0, "bias"): {False}, (4, "weight"): {True}, (4, "bias"): {False},
    }  # fmt: skip
    plain, _ = quick_fit(digits)
    small, _ = quick_fit(digits, optimizer=Adam(weight_decay=20))
    for position in (0, 4):
        sizes = [np.abs(m.layers[position].parameters["weight"]).mean() for m in (small, plain)]
        assert sizes[0] < 0.95 * sizes[1]


def test_training_with_smoothed_labels_minimizes_their_loss_and_reports_the_plain(digits):
    images, labels = digits[0][:70], digits[1][:70]
    model, whole = small_model(), small_model()
    history = fit(
        model, images, labels, optimizer=SGD(0.5), label_smoothing=0.3, epochs=1, batch_size=70,
        validation_split=0, progress=False,
    )  # fmt: skip
    logits, caches = whole.forward(whole.preprocess(images))
    _, cache = softmax_cross_entropy(logits, labels, label_smoothing=0.3)
    loss, _ = softmax_cross_entropy(logits, labels)
    _, gradients = whole.backward(softmax_cross_entropy_backward(1.0, cache), caches)
    assert history["loss"] == pytest.approx([float(loss)], rel=1e-6)
    # float32 sums of 70 terms in another order: a few units in the last place
    assert model.parameters == pytest.approx(whole.parameters - 0.5 * gradients, abs=1e-6)


def test_the_validation_loss_is_not_smoothed(digits):
    model, history = overfit(digits, epochs=2, label_smoothing=0.3)
    assert history["val_loss"][-1] == validation_loss(model, digits)


# ---------------------------------------------------------------- errors


def test_diverging_training_stops_and_names_the_layer(digits):
    model = Sequential([Flatten(), Dense(10), Dense(10)], input_shape=(8, 8, 1))
    with pytest.raises(
        NonFiniteError,
        match=r"Epoch 1/9, batch 2: the output of layer 3 \(Dense\(10\)\) holds infinity or NaN.*"
        r"learning rate that is too high",
    ):
        fit(model, *digits, optimizer=SGD(1e25), epochs=9, batch_size=20, progress=False)
    assert np.isfinite(model.parameters).all()  # the step that would spoil them is not taken


# No layer of these networks is random; the key says that it is a training step.
KEY = RandomKey(0, 0, np.arange(3))


def stack(*sizes):
    layers = [Flatten(), *(Dense(size) for size in sizes)]
    return Sequential(layers, input_shape=(2, 2, 1))


def first_weight(model, layer):
    return model.layers[layer].parameters["weight"]


def test_the_first_non_finite_array_is_found():
    ones, labels = np.full((3, 2, 2), 255, np.uint8), np.array([0, 1, 2])

    model = stack(5, 10)
    first_weight(model, 2)[1, 1] = np.nan
    assert "the weight of layer 3 (Dense(10)) holds" in find_non_finite(
        model, [(ones, labels, KEY)]
    )

    model = stack(5, 10)
    first_weight(model, 1)[...] = 3e38  # finite, but not the sum of four
    assert "the output of layer 2 (Dense(5)) holds" in find_non_finite(model, [(ones, labels, KEY)])

    model = stack(10)
    first_weight(model, 1)[...] = 0
    model.layers[1].parameters["bias"][:2] = -3e38, 3e38
    found = find_non_finite(model, [(ones, labels, KEY)])
    assert found.startswith("the loss, though the logits are finite")

    sure_and_right = [(ones[:1], labels[1:2], KEY)]
    assert find_non_finite(model, sure_and_right).startswith("no layer on its own")
    assert find_non_finite(model, sure_and_right, 0.1).startswith("the loss, though")

    model = stack(5, 5, 10)  # black images: every output is 0, so only the backward pass overflows
    for layer in (2, 3):
        first_weight(model, layer)[...] = 1e30 * np.sign(first_weight(model, layer))
    found = find_non_finite(model, [(0 * ones, labels, KEY)])
    assert "the gradient dx of layer 3 (Dense(5)) holds" in found

    assert find_non_finite(stack(10), [(ones, labels, KEY)]).startswith("no layer on its own")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, not 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number, not 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": 73}, ValueError, "73 is larger than the training set of 72 .*8 of 80 are"),
        ({"threads": 0}, ValueError, "threads must be at least 1, not 0"),
        ({"augment": True}, TypeError, r"augment must be an object such as Augment\(\), not True"),
        ({"optimizer": "adam"}, TypeError, r"optimizer must be an .* Adam\(\), not 'adam'"),
        ({"schedule": "cosine"}, TypeError, "schedule must be an entry of .*, not 'cosine'"),
        ({"validation_split": 1.0}, ValueError, "validation_split must be .* below 1, not 1.0"),
        ({"validation_split": -0.1}, ValueError, "not -0.1"),
        ({"validation_split": np.nan}, ValueError, "not nan"),
        ({"seed": -1}, ValueError, "seed must be at"),
        ({"label_smoothing": 1.0}, ValueError, "fit: label_smoothing must be .* below 1, not 1.0"),
        ({"label_smoothing": "0.1"}, TypeError, "label_smoothing must be a number, not '0.1'"),
        ({"patience": 0}, ValueError, "patience must be at least 1, not 0"),
        ({"patience": 1.5}, TypeError, "patience must be a whole number, not 1.5"),
        (
            {"patience": 1, "validation_split": 0},
            ValueError,
            "patience requires validation data; set validation_split, for example 0.1",
        ),
        ({"resume": True}, ValueError, "resume requires the file to resume from; set checkpoint"),
    ],
)
def test_options_out_of_range_are_rejected(digits, options, error, message):
    with pytest.raises(error, match=message):
        quick_fit(digits, **options)


@pytest.mark.parametrize("call", [fit, evaluate])
def test_data_that_do_not_fit_are_rejected(digits, call):
    images, labels = digits
    name = call.__name__
    with pytest.raises(ValueError, match=rf"{name}: labels must have shape \(80,\).*not \(79,\)"):
        call(small_model(), images, labels[:79])
    with pytest.raises(ValueError, match=rf"{name}: labels must lie in 0..9.*labels\[0\] is 10"):
        call(small_model(), images, labels + 10)
    with pytest.raises(TypeError, match=f"{name}: labels must be an integer array, not float64"):
        call(small_model(), images, labels / 1.0)
    with pytest.raises(TypeError, match=f"{name}: images must be .*not int64"):
        call(small_model(), images.astype(np.int64), labels)
    model = Sequential([ReLU()], input_shape=(8, 8, 1))
    with pytest.raises(ValueError, match=rf"{name}: the model gives \(8, 8, 1\).*end it with Flat"):
        call(model, images, labels)
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        call(small_model(), images, labels, threads=0)


@pytest.mark.parametrize("call", [fit, evaluate])
def test_a_wrong_image_is_named_by_its_index_before_anything_begins(digits, call):
    images, labels = digits
    model, name = small_model(), call.__name__
    model.metadata["kept"] = True
    wrong = images / 255
    wrong[33, 2, 3] = np.nan
    with pytest.raises(ValueError, match=f"{name}: pixels of .* but image 33 holds nan"):
        call(model, wrong, labels)
    rows = images.reshape(80, -1)
    with pytest.raises(ValueError, match=rf"{name}: images have shape \(80, 64\), .* of rows of"):
        call(model, rows, labels)
    assert model.metadata == {"kept": True}


def test_one_output_is_no_distribution_of_classes(digits):
    images, _ = digits
    model = Sequential([Flatten(), Dense(1)], (8, 8, 1))
    message = r"the model gives \(1,\) for an image, not a logit for each of two or more classes"
    for call in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match=message):
            call(images)
    for call in (fit, evaluate):
        with pytest.raises(ValueError, match=message):
            call(model, images, np.zeros(80, int))
    assert model.infer(model.preprocess(images)).shape == (80, 1)


def test_other_types_than_models_are_rejected(digits):
    with pytest.raises(TypeError, match="fit: model must be a Sequential, not str"):
        fit("model.npz", *digits)
    with pytest.raises(
        TypeError, match="evaluate: model must be a Classifier such as Sequential, not str"
    ):
        evaluate("model.npz", *digits)


def test_a_batch_larger_than_the_training_set_is_rejected(digits):
    with pytest.raises(ValueError, match="batch_size 128 is larger than the training set of 72"):
        fit(small_model(), *digits)


def test_a_validation_split_always_leaves_a_training_image(digits):
    images, labels = digits[0][:2], digits[1][:2]
    _, history = (
        small_model(),
        fit(
            small_model(),
            images,
            labels,
            validation_split=0.9,
            batch_size=1,
            epochs=1,
            progress=False,
        ),
    )
    assert "val_loss" in history


# ---------------------------------------------------------------- schedules


def test_the_schedule_scales_the_learning_rate_of_every_step(digits):
    class Recorder:
        def __init__(self):
            self.factors = []

        def step(self, parameters, gradients, lr_scale, decay_mask):
            self.factors.append(lr_scale)

    recorder = Recorder()
    quick_fit(digits, optimizer=recorder, schedule=lambda progress: 10 * progress, batch_size=30)
    assert recorder.factors == pytest.approx(
        [0, 10 / 6, 20 / 6, 5, 40 / 6, 50 / 6]
    )  # 2 × 3 batches
    recorder = Recorder()
    quick_fit(digits, optimizer=recorder, batch_size=30)
    assert recorder.factors == [1.0] * 6


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", {0: 1, 0.5: 1, 1: 1}),
        ("step", {0: 1, 0.499: 1, 0.5: 0.1, 0.749: 0.1, 0.75: 0.01, 1: 0.01}),
        ("cosine", {0: 1, 1 / 3: 0.75, 1 / 2: 0.5, 1: 0}),
        ("warmup-linear", {0: 0.04, 0.01: 0.04, 0.125: 0.5, 0.25: 1, 0.625: 0.5, 1: 0}),
    ],
)
def test_schedules_have_their_values(name, values):
    found = {progress: SCHEDULES[name](progress) for progress in values}
    assert found == pytest.approx(values)


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (optim.cosine, "(1 + cos(π · progress)) / 2", "(1 + cos(π · progress)) / 2"),
        (optim.warmup_linear, "max(4 · progress, 0.04)", "(1 - progress) / 0.75"),
    ],
)
def test_the_formulas_in_the_docstrings_of_schedules_are_exact(schedule, first, last):
    assert first in schedule.__doc__
    assert last in schedule.__doc__
    for step in range(201):
        progress = step / 200
        formula = (first if progress < 0.25 else last).replace("·", "*")
        expected = eval(formula, {"progress": progress, "π": pi, "cos": cos})
        assert schedule(progress) == pytest.approx(expected, rel=1e-15, abs=1e-15)


def test_every_schedule_has_a_name():
    functions = {optim.constant, optim.step_decay, optim.cosine, optim.warmup_linear}
    assert set(SCHEDULES.values()) == functions


@pytest.mark.parametrize("make", [SGD, Adam])
def test_lr_scale_multiplies_the_learning_rate(make):
    gradients = np.array([0.5, -2.0, 1.0])
    found, expected = np.ones(3), np.ones(3)
    halved, plain = make(0.1), make(0.05)
    for _ in range(3):
        halved.step(found, gradients, 0.5)
        plain.step(expected, gradients)
    assert found == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("images", "batch_size", "expected"),
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (1, 1, [1]), (3, 1, [1, 1, 1])],
)
def test_a_single_remaining_image_joins_the_batch_before(images, batch_size, expected):
    config = config_of(batch_size=batch_size)
    batches = epoch_batches(config, np.arange(images), epoch=0)
    assert [len(batch) for batch in batches] == expected
    assert sorted(np.concatenate(batches)) == list(range(images))


def test_batch_norm_after_a_dense_layer_trains_with_a_remaining_image(digits):
    layers = [Flatten(), Dense(4), BatchNorm(), Dense(10)]
    model = Sequential(layers, input_shape=(8, 8, 1))
    fit(model, digits[0][:33], digits[1][:33], batch_size=16, epochs=1, validation_split=0.0)
