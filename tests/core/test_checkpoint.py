"""Checkpoints: resumed trainings, and files that are rejected."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
    ModelFileError,
    ReLU,
    Sequential,
    fit,
    load_mnist_sample,
    load_model,
)
from minicnn.optim import cosine, step_decay, warmup_linear
from minicnn.train.checkpoint import describe
from minicnn.train.data_parallel import BatchGradient


def thin_digits():
    """Real digits, thinned to 8×8 so that plain Python can train on them too."""
    data = load_mnist_sample()
    return data.train_images[:80, 2:26:3, 2:26:3].copy(), data.train_labels[:80]


digits = pytest.fixture(scope="module")(thin_digits)


class Turned:
    """Turns every other image by 90° in every other epoch."""

    def __call__(self, images, image_ids, *, seed, epoch):
        pixels = images.astype(np.float32) / np.float32(255)
        turned = np.rot90(pixels, axes=(1, 2))
        return np.where(((image_ids + epoch + seed) % 2 == 0)[:, None, None], turned, pixels)


def small_model(dtype=np.float32, **options):
    layers = [MaxPool2D(2), Flatten(), Dense(10)]
    return Sequential(layers, input_shape=(8, 8, 1), dtype=dtype, **options)


def convolutions():
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)]
    return Sequential(layers, input_shape=(8, 8, 1))


def everything_on(digits, checkpoint=None, **options):
    """Train with every feature that has a state or is random."""
    layers = [
        Conv2D(4, 3), MaxPool2D(2), BatchNorm(), ReLU(), Dropout(0.25), Flatten(), Dense(12),
        BatchNorm(), ReLU(), Dropout(0.5), Dense(10),
    ]  # fmt: skip
    chosen = {
        "model": Sequential(layers, input_shape=(8, 8, 1)), "augment": Augment.digits(),
        "optimizer": functools.partial(Adam, weight_decay=1.0), "schedule": cosine,
        **options,
    }  # fmt: skip
    return train(digits, checkpoint, **chosen)


def train(digits, checkpoint=None, *, model=None, optimizer=Adam, **options):
    """Train with every feature that a checkpoint stores."""
    model = small_model() if model is None else model
    chosen = {
        "optimizer": optimizer(0.01), "schedule": warmup_linear, "augment": Turned(), "epochs": 4,
        "batch_size": 16, "validation_split": 0.2, "patience": 2, "seed": 3, "progress": False,
        "threads": 2, "label_smoothing": 0.1, **options,
    }  # fmt: skip
    return model, fit(model, *digits, checkpoint=checkpoint, **chosen)


def stop_at_batch(monkeypatch, number):
    """Make the training stop, as by Ctrl-C, in the middle of a batch."""
    original, calls = BatchGradient.__call__, []

    def stop(self, batch, epoch=0):
        calls.append(batch)
        if len(calls) == number:
            raise KeyboardInterrupt
        return original(self, batch, epoch)

    monkeypatch.setattr(BatchGradient, "__call__", stop)


def train_until(number, monkeypatch, *arguments, **options):
    with monkeypatch.context() as patch:
        stop_at_batch(patch, number)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments, **options)


@pytest.fixture
def stopped(digits, tmp_path, monkeypatch):
    """Return a checkpoint of a training stopped in the third of four epochs."""
    path = tmp_path / "checkpoint.npz"
    train_until(11, monkeypatch, digits, path)
    return path


# ---------------------------------------------------------------- resuming


@pytest.mark.parametrize("batch", [5, 8, 9, 13, 16])  # epochs have four batches
@pytest.mark.parametrize(
    "optimizer",
    [
        Adam,
        functools.partial(Adam, weight_decay=2),
        functools.partial(SGD, momentum=0.9, weight_decay=2),
    ],
)
def test_a_resumed_training_gives_the_same_bytes(digits, tmp_path, monkeypatch, batch, optimizer):
    whole, history = train(digits, optimizer=optimizer)
    path = tmp_path / "checkpoint.npz"
    train_until(batch, monkeypatch, digits, path, optimizer=optimizer)
    model = small_model(seed=99)  # its own initial weights have no effect
    resumed, resumed_history = train(
        digits, path, model=model, optimizer=optimizer, resume=True, threads=3
    )
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()
    assert resumed_history == history
    assert resumed.metadata == whole.metadata
    assert list(tmp_path.iterdir()) == [path]


def test_a_training_resumed_twice_gives_the_same_bytes(digits, tmp_path, monkeypatch):
    whole, _ = train(digits, patience=None, validation_split=0)
    path = tmp_path / "checkpoint.npz"
    options = {"patience": None, "validation_split": 0}
    for number in range(3):
        stop = 6 + number % 2  # an epoch has five batches here
        train_until(stop, monkeypatch, digits, path, resume=number > 0, **options)
    resumed, _ = train(digits, path, resume=True, **options)
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()


@pytest.mark.parametrize("make", [lambda: small_model(np.float64), convolutions])
def test_the_training_of_any_model_resumes(digits, tmp_path, monkeypatch, make):
    whole, _ = train(digits, model=make(), epochs=2)
    path = tmp_path / "checkpoint.npz"
    train_until(6, monkeypatch, digits, path, model=make(), epochs=2)
    resumed, _ = train(digits, path, model=make(), epochs=2, resume=True)
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()


def test_neither_threads_nor_a_stop_change_a_bit_with_every_feature(digits, tmp_path, monkeypatch):
    whole, history = everything_on(digits, threads=1)
    path = tmp_path / "checkpoint.npz"
    with monkeypatch.context() as patch:
        stop_at_batch(patch, 10)
        with pytest.raises(KeyboardInterrupt):
            everything_on(digits, path, threads=2)
    resumed, resumed_history = everything_on(digits, path, threads=3, resume=True)
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()
    assert resumed.statistics.tobytes() == whole.statistics.tobytes()
    assert resumed_history == history


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes long without JIT")
def test_a_killed_training_resumes_to_the_same_bytes(digits, tmp_path):
    path = tmp_path / "checkpoint.npz"
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_checkpoint
test_checkpoint.everything_on(
    test_checkpoint.thin_digits(), {str(path)!r}, epochs=200, patience=None, progress=True)
"""
    killed = subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True)
    for line in killed.stdout:
        if line.strip().startswith("3/"):
            break
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    whole, history = everything_on(digits, epochs=200, patience=None)
    resumed, resumed_history = everything_on(digits, path, epochs=200, patience=None, resume=True)
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()
    assert resumed.statistics.tobytes() == whole.statistics.tobytes()
    assert resumed_history == history


def test_resuming_a_finished_training_changes_nothing(digits, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    for options in (
        {},
        {"epochs": 30, "optimizer": lambda rate: Adam(0.3), "augment": None},
    ):  # complete, and stopped early
        whole, history = train(digits, path, **options)
        with monkeypatch.context() as patch:
            stop_at_batch(patch, 1)
            again, same = train(digits, path, resume=True, **options)
        assert again.parameters.tobytes() == whole.parameters.tobytes()
        assert same == history
    assert len(history["loss"]) < 30


def test_writing_a_checkpoint_changes_no_weight(digits, tmp_path):
    plain, _ = train(digits)
    kept, _ = train(digits, tmp_path / "checkpoint.npz")
    assert kept.parameters.tobytes() == plain.parameters.tobytes()


def test_resuming_is_announced(digits, stopped, capsys):
    train(digits, stopped, resume=True, progress=True)
    out = capsys.readouterr().out
    assert f"Resuming after epoch 2 of 4, from {stopped}\n" in out
    assert " 2/4 " not in out
    assert " 3/4 " in out


def test_a_new_training_overwrites_an_old_checkpoint(digits, stopped):
    train(digits, stopped, seed=5)
    whole, _ = train(digits, seed=5)
    again, _ = train(digits, stopped, seed=5, resume=True)
    assert again.parameters.tobytes() == whole.parameters.tobytes()


# ---------------------------------------------------------------- other configurations


def other_images(digits):
    images = digits[0].copy()
    images[5, 3, 3] ^= 1
    return images, digits[1]


def other_labels(digits):
    return digits[0], np.roll(digits[1], 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 5}, r"the same: epochs \(4 there, 5 here\)$"),
        ({"batch_size": 8}, r"the same: batch_size \(16 there, 8 here\)$"),
        ({"seed": 4}, r"the same: seed \(3 there, 4 here\)$"),
        ({"patience": 3}, r"the same: patience \(2 there, 3 here\)$"),
        ({"patience": None}, r"the same: patience \(2 there, None here\)$"),
        ({"validation_split": 0.3}, r"same: validation_images \(16 there, 24 here\)$"),
        ({"label_smoothing": 0.2}, r"the same: label_smoothing \(0.1 there, 0.2 here\)$"),
        ({"augment": None}, r"the same: augment \(<.*Turned object> there, None here\)$"),
        ({"optimizer": lambda _: Adam(0.02)}, r"optimizer \(Adam\(.*=0.01, .* there, Adam\(.*2, "),
        ({"optimizer": SGD}, r"optimizer \(Adam\(.*\) there, SGD\(.*=0.01, .*\) here\)$"),
        (
            {"schedule": step_decay},
            r"schedule \(warmup_linear there, step_decay here\), schedule's factors",
        ),
        (
            {"schedule": lambda progress: 1, "seed": 9},
            r"<lambda> here\), schedule's factors \(0.04 .* there, 1 1 1 1 1 1 1 1 1 here\), seed",
        ),
    ],
)
def test_other_settings_are_rejected_and_named(digits, stopped, options, message):
    before = stopped.read_bytes()
    with pytest.raises(
        ValueError, match=rf"is the checkpoint of a training with other .*{message}"
    ):
        train(digits, stopped, resume=True, **options)
    assert stopped.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [(other_images, r"same: images \(uint8 \(80, 8, 8\) SHA-256 "), (other_labels, "labels ")],
)
def test_another_data_set_is_rejected(digits, stopped, change, message):
    with pytest.raises(ValueError, match=message):
        train(change(digits), stopped, resume=True)


def test_another_network_is_rejected(digits, stopped):
    layers = [MaxPool2D(4), Flatten(), Dense(10)]
    other = Sequential(layers, input_shape=(8, 8, 1), input_mean=0.5)
    with pytest.raises(
        ValueError, match=r"input \(.* less 0.0, .*layers \(\['MaxPool2D\(2\)'.* \["
    ):
        train(digits, stopped, model=other, resume=True)
    with pytest.raises(ValueError, match=r"the same: dtype \(float32 there, float64 here\)$"):
        train(digits, stopped, model=small_model(np.float64), resume=True)


def test_objects_are_described_by_name_or_repr():
    assert describe(None) is None
    assert describe(cosine) == "cosine"
    assert describe(Adam(0.5)) == repr(Adam(0.5))
    assert describe(Turned()) == describe(Turned())
    assert describe(functools.partial(step_decay)) == describe(functools.partial(step_decay))


# ---------------------------------------------------------------- unusable files


def test_a_missing_checkpoint_is_named(digits, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.npz cannot be loaded: there is no such file"):
        train(digits, tmp_path / "no.npz", resume=True)


def test_a_missing_folder_is_named_before_training(digits, tmp_path, monkeypatch):
    stop_at_batch(monkeypatch, 1)
    with pytest.raises(FileNotFoundError, match="cannot be written: there is no folder"):
        train(digits, tmp_path / "no" / "c.npz")


def test_an_optimizer_without_state_dict_is_rejected_before_training(digits, tmp_path):
    class Own:
        def step(self, parameters, gradients, lr_scale, decay_mask):
            pass

    with pytest.raises(TypeError, match=r"an optimizer with a method state_dict, .*, not Own"):
        train(digits, tmp_path / "c.npz", optimizer=lambda rate: Own())
    train(digits, optimizer=lambda rate: Own())  # allowed without a checkpoint


def test_models_and_checkpoints_are_distinguished(digits, stopped, tmp_path):
    with pytest.raises(ModelFileError, match="it is a checkpoint, not a model"):
        load_model(stopped)
    small_model().save(tmp_path / "model.npz")
    with pytest.raises(ModelFileError, match="it is a model, not a checkpoint"):
        train(digits, tmp_path / "model.npz", resume=True)


NAMES = ("loss", "accuracy", "val_loss", "val_accuracy")


def changed_history(**rows):
    def change(description, members):
        description["history"].update(rows)
        for name in [name for name, values in rows.items() if values is None]:
            del description["history"][name]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_history(loss=[1.0]), "its history is not one of up to 4 epochs"),
        (changed_history(loss=[1.0, 2]), "its history is not one"),
        (changed_history(loss=[]), "its history is not one"),
        (changed_history(loss=1.0), "its history is not one"),
        (changed_history(val_loss=None), "its history is not one"),
        (changed_history(more=[1.0, 2.0]), "its history is not one"),
        (
            changed_history(loss=[], accuracy=[], val_loss=[], val_accuracy=[]),
            "its history is not one",
        ),
        (changed_history(**{name: [0.5] * 5 for name in NAMES}), "its history is not one"),
        (lambda about, members: about.pop("history"), "its history is not one"),
        (lambda about, members: about.pop("settings"), "other settings; .* augment .None there"),
        (lambda about, members: members.pop("best.parameters"), "it lacks best.parameters"),
        (lambda about, members: members.pop("optimizer.m"), "it lacks optimizer.m"),
        (
            lambda about, members: members.update({"parameters": members["parameters"][:-1]}),
            "parameters should",
        ),
        (
            lambda about, members: members.update({"optimizer.steps": np.float64(3)}),
            "optimizer.steps should be int64 of shape .*not float64",
        ),
        (
            lambda about, members: members["best.parameters"].__setitem__(0, np.inf),
            "best.parameters holds infinity",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_rejected(digits, stopped, change, message):
    with np.load(stopped, allow_pickle=False) as arrays:
        members = dict(arrays)
    description = json.loads(str(members.pop("description")))
    change(description, members)
    np.savez(stopped, description=np.array(json.dumps(description)), **members)
    with pytest.raises(ValueError, match=message):
        train(digits, stopped, resume=True)


def test_a_truncated_or_changed_checkpoint_is_rejected(digits, stopped):
    data = stopped.read_bytes()
    for length in range(0, len(data), 2999):
        stopped.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            train(digits, stopped, resume=True)
    for offset in range(200, len(data) - 2000, 2999):
        stopped.write_bytes(data[:offset] + bytes([data[offset] ^ 16]) + data[offset + 1 :])
        with pytest.raises(ModelFileError):
            train(digits, stopped, resume=True)


def test_a_failed_write_keeps_the_checkpoint_before(digits, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    train(digits, path, epochs=1)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            train(digits, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
