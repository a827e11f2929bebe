"""examples/train_mnist.py: flags, results, errors, weights."""

import hashlib
import json
import os
from pathlib import Path

import code_lines
import numpy as np
import pytest
import recipes
import train
import train_mnist

import minicnn
from minicnn import load_mnist_sample, load_model

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="the reference CNN takes hours without JIT"
)


@pytest.fixture
def sample(monkeypatch):
    """Replace MNIST by 300 training and 100 test images of the sample."""
    data = load_mnist_sample()
    few = data._replace(
        train_images=data.train_images[:300],
        train_labels=data.train_labels[:300],
        test_images=data.test_images[:100],
        test_labels=data.test_labels[:100],
    )
    for script in (train, train_mnist):
        monkeypatch.setattr(script, "load_data", lambda folder: few)
    return few


def test_the_example_has_at_most_80_lines_of_code():
    assert code_lines.count(Path(train_mnist.__file__).read_text(encoding="utf-8"))[0] <= 80


def test_the_network_is_that_of_the_reference_recipe():
    ours, theirs = train_mnist.network(seed=3), recipes.reference_cnn(seed=3)
    assert repr(ours) == repr(theirs)
    np.testing.assert_array_equal(ours.parameters, theirs.parameters)


@needs_jit
def test_the_example_and_the_recipe_train_the_same_weights(sample, tmp_path):
    found = []
    for script, threads in ((train_mnist, "1"), (train, "2")):
        path = tmp_path / f"{script.__name__}.json"
        flags = ["--epochs", "2", "--seed", "4", "--limit", "200", "--threads", threads]
        script.main([*flags, "--results", str(path)])
        found.append(json.loads(path.read_text()))
    ours, theirs = found
    assert set(theirs) - set(ours) == {"resumed", "synthetic_digits"}
    changing = {"threads", "train_seconds", "history"}
    assert {k: ours[k] for k in ours if k not in changing} == {
        k: theirs[k] for k in ours if k not in changing
    }
    assert ours["history"]["loss"] == theirs["history"]["loss"]
    assert ours["train_images"] == 200


@pytest.fixture
def settings(monkeypatch):
    """Record the arguments of `minicnn.fit` instead of training."""
    calls = []

    def fit(model, images, labels, **arguments):
        calls.append({"images": len(images), **arguments})

    monkeypatch.setattr(minicnn, "fit", fit)
    monkeypatch.setattr(minicnn, "evaluate", lambda *_, **__: minicnn.Evaluation(0.1, 0.5, 50, 100))
    return calls


def test_flags_set_the_training(sample, settings):
    words = "--epochs 3 --batch-size 8 --lr 0.1 --limit 50 --augment --threads 1"
    train_mnist.main(words.split())
    train_mnist.main([])
    ours, default = settings
    assert (ours["images"], ours["epochs"], ours["batch_size"], ours["threads"]) == (50, 3, 8, 1)
    assert ours["optimizer"].learning_rate == 0.1
    assert ours["augment"] == minicnn.Augment.digits()
    assert (default["images"], default["epochs"], default["validation_split"]) == (300, 60, 0)
    assert default["augment"] == recipes.digit_augmentation()


def test_large_data_is_trained_for_5_epochs_with_validation(sample, settings, monkeypatch):
    images = np.zeros((10_000, 28, 28), np.uint8)
    large = sample._replace(train_images=images, train_labels=np.zeros(10_000, int))
    monkeypatch.setattr(train_mnist, "load_data", lambda folder: large)
    train_mnist.main([])
    assert (settings[0]["epochs"], settings[0]["validation_split"]) == (5, 0.1)


@needs_jit
def test_save_writes_the_trained_model(sample, tmp_path, capsys):
    path = tmp_path / "model.npz"
    train_mnist.main(["--epochs", "1", "--save", str(path)])
    model = load_model(path)
    digest = hashlib.sha256(model.parameters.tobytes()).hexdigest()
    assert model.metadata["weights_sha256"] == digest
    out = capsys.readouterr().out
    assert "MNIST sample: 300 training images" in out
    assert "Conv2D(64, 3, bias=False)" in out
    assert f"test accuracy {model.metadata['test_accuracy']:.2%} (" in out.splitlines()[-1]


def test_the_sample_replaces_mnist_when_it_is_unavailable(monkeypatch, capsys):
    def unavailable(folder):
        raise minicnn.MnistUnavailableError("no connection")

    monkeypatch.setattr(minicnn, "load_mnist", unavailable)
    assert train_mnist.load_data(None).name == "MNIST sample"
    out = capsys.readouterr().out
    assert "NOTE: using the 5,000 digits that come with minicnn" in out
    assert "--data-dir FOLDER" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "0"], "fit: epochs must be at least 1, not 0"),
        (["--epochs", "two"], "argument --epochs: invalid int value: 'two'"),
        (["--batch-size", "301"], "batch_size 301 is larger than the training set of 300 images"),
        (["--lr", "-1"], "learning_rate must be 0 or more, and finite, not -1.0"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
        (["--save", "no/such/m.npz"], "no/such/m.npz cannot be written: there is no folder"),
        (["--results", "no/such/r.json"], "no/such/r.json cannot be written: there is no folder"),
    ],
)
def test_a_wrong_flag_prints_one_line_and_exits_with_2(sample, flags, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        train_mnist.main(flags)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_ctrl_c_says_that_nothing_was_saved(monkeypatch):
    def interrupt(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_mnist, "load_data", interrupt)
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        train_mnist.main([])
