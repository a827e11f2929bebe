"""examples/tools/sanity_checks.py: planted faults fail."""

import os

import numpy as np
import pytest
import sanity_checks
from test_train_tool import write_idx

from minicnn import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    ImageDataset,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    fit,
    load_mnist_sample,
)

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="trains networks, for hours without JIT"
)


@pytest.fixture(scope="module")
def data():
    """Return real digits, subsampled to 8×8."""
    found = load_mnist_sample()
    return ImageDataset(
        "small digits",
        found.train_images[:200, 2:26:3, 2:26:3].copy(), found.train_labels[:200],
        found.test_images[:50, 2:26:3, 2:26:3].copy(), found.test_labels[:50],
    )  # fmt: skip


def small_model(dense=Dense, relu=ReLU):
    layers = [Conv2D(8, 3), ReLU(), MaxPool2D(2), Flatten(), dense(24), relu(), Dropout(0.5)]
    return Sequential([*layers, Dense(10)], input_shape=(8, 8, 1))


def verdicts_of(model, data):
    return [verdict.ok for verdict in sanity_checks.check(model, data)]


# ---------------------------------------------------------------- user-defined layers


class RightDense(Dense):
    """Behave as `Dense`."""


class WrongDense(Dense):
    """Return a weight gradient that is 0.1 % too large."""

    def backward(self, dy, cache, *, need_dx=True, gradients=None):
        dx, found = super().backward(dy, cache, need_dx=need_dx, gradients=gradients)
        found["weight"] *= 1.001
        return dx, found


class WrongReLU(Layer):
    """Return the gradient unmasked."""

    def forward(self, x, *, key=None):
        return np.maximum(x, 0), None

    def backward(self, dy, cache, *, need_dx=True, gradients=None):
        return dy.copy(), {}


class WrongResidual(Residual):
    """Drop the gradient of the shortcut."""

    def split_gradient(self, dy, cache):
        return dy, np.zeros_like(dy)


# ---------------------------------------------------------------- correct setups


def test_a_correct_setup_passes_and_the_network_is_unchanged(data, capsys):
    model = small_model(RightDense)
    before = model.parameters.copy()
    assert verdicts_of(model, data) == [True] * 4
    np.testing.assert_array_equal(model.parameters, before)
    assert model.layers[6].rate == 0.5
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["7", "20", "5", "#" * sanity_checks.BAR] in rows
    assert "expected ln(10) = 2.303" in out
    assert "OK: 20 images are learned by heart" in out
    assert "OK: 6 gradients are correct" in out
    assert out.count("OK: ") == 4


def test_a_trained_network_is_checked_with_initial_weights(data, capsys):
    model = small_model()
    fit(model, data.train_images, data.train_labels, epochs=2, progress=False)
    trained = model.parameters.copy()
    model.parameters *= 30  # too large as initial weights
    assert sanity_checks.check_first_loss(model, data).ok
    np.testing.assert_array_equal(model.parameters, 30 * trained)


def test_containers_and_batch_norm_are_checked_inside(data, capsys):
    layers = [
        Conv2D(4, 3, bias=False), BatchNorm(), ReLU(),
        Residual([Conv2D(4, 3, padding=1), ReLU()]), Flatten(), Dense(10),
    ]  # fmt: skip
    assert sanity_checks.check_backward(Sequential(layers, input_shape=(8, 8, 1))).ok
    assert "0.weight" in capsys.readouterr().out


# ---------------------------------------------------------------- planted faults


def test_a_wrong_gradient_of_a_user_defined_layer_is_named(data, capsys):
    verdict = sanity_checks.check_backward(small_model(WrongDense))
    assert not verdict.ok
    assert "1 of 6 gradients are wrong" in verdict.words
    assert "5 WrongDense(24), whose dweight is wrong" in verdict.words
    verdict = sanity_checks.check_backward(small_model(relu=WrongReLU))
    assert "4 of 6 gradients are wrong" in verdict.words  # those of all layers before it
    assert "6 WrongReLU(), whose dx is wrong" in verdict.words


def test_a_wrong_container_is_found_by_the_layer_before_it(data, capsys):
    layers = [Conv2D(4, 3), WrongResidual([Conv2D(4, 3, padding=1)]), Flatten(), Dense(10)]
    verdict = sanity_checks.check_backward(Sequential(layers, input_shape=(8, 8, 1)))
    assert "2 of 6 gradients are wrong" in verdict.words
    assert "1 Conv2D(4, 3) and of the layer after it" in verdict.words


def test_initial_weights_that_are_too_large_fail(data, capsys):
    model = small_model()
    model.layers[7].parameters["weight"][...] *= 10
    verdict = sanity_checks.check_first_loss(model, data)
    assert not verdict.ok
    assert "Check the scale of initial weights and inputs" in verdict.words
    unscaled = small_model()
    unscaled.input_std = 1 / 255
    assert not sanity_checks.check_first_loss(unscaled, data).ok


def test_zero_weights_have_the_loss_of_chance_but_do_not_learn(data, capsys):
    model = small_model()
    model.parameters[...] = 0
    assert sanity_checks.check_first_loss(model, data).ok
    verdict = sanity_checks.check_overfit(model, data)
    assert not verdict.ok
    assert "not learned by heart in 300 steps" in verdict.words
    assert verdicts_of(model, data) == [True, True, False, True]


def test_shuffled_labels_are_not_detected_as_documented(data, capsys):
    shuffled = np.random.default_rng(0).permutation(data.train_labels)
    assert sanity_checks.check_overfit(small_model(), data._replace(train_labels=shuffled)).ok
    assert "These checks cannot detect wrong labels" in sanity_checks.__doc__


def without(data, label, most=0):
    """Return the data with at most `most` training images of a class."""
    own = np.flatnonzero(data.train_labels == label)[most:]
    images, labels = (np.delete(array, own, axis=0) for array in data[1:3])
    return data._replace(train_images=images, train_labels=labels)


def with_images(data, **images):
    return data._replace(**images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: without(d, 4), "no training images of class 4"),
        (lambda d: without(d, 4, 8), "few training images of class 4: 8, where 19 are expected"),
        (
            lambda d: d._replace(test_labels=np.minimum(d.test_labels, 7)),
            "no test images of class 8, 9",
        ),
        (
            lambda d: d._replace(train_labels=d.train_labels + 1),
            "training labels go up to 10, but there are 10 outputs",
        ),
        (
            lambda d: d._replace(test_images=np.vstack([d.test_images[3:], d.train_images[:3]])),
            "3 test images are in the training set",
        ),
        (
            lambda d: d._replace(train_images=np.where(np.arange(200) < 2, 0, d.train_images.T).T),
            "2 training images are constant",
        ),
        (
            lambda d: d._replace(test_images=d.test_images // 255),
            "the test images use only 2 of 256 gray levels; pass pixels that are not scaled",
        ),
    ],
)  # fmt: skip
def test_a_fault_of_the_data_fails(data, change, words, capsys):
    verdict = sanity_checks.check_data(change(data), 10)
    assert not verdict.ok
    assert words in verdict.words


def test_an_error_fails_a_check_and_the_others_run(data, capsys):
    verdicts = sanity_checks.check(small_model(), data._replace(train_labels=data.train_labels + 1))
    assert [verdict.ok for verdict in verdicts] == [False, False, False, True]
    assert "WRONG: " in capsys.readouterr().out


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with real digits in MNIST's four files."""
    folder, found = tmp_path_factory.mktemp("mnist"), load_mnist_sample()
    write_idx(folder / "train-images-idx3-ubyte.gz", found.train_images[:300])
    write_idx(folder / "train-labels-idx1-ubyte.gz", found.train_labels[:300])
    write_idx(folder / "t10k-images-idx3-ubyte.gz", found.test_images[:100])
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", found.test_labels[:100])
    return folder


def test_the_script_names_failed_checks_and_exits_with_1(folder, tmp_path, capsys):
    assert sanity_checks.main(["--data-dir", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all checks passed"
    small_model().save(tmp_path / "model.npz")
    data = ["--data-dir", str(folder), "--model", str(tmp_path / "model.npz")]
    assert sanity_checks.main(data) == 1  # its images are 8×8
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "wrong: 2, 3"
    assert "(8, 8, 1)" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recipe", "none"], "argument --recipe: invalid choice: 'none'"),
        (["--model", "a.npz", "--recipe", "tiny"], "not allowed with argument"),
        (["--data-dir", "no-such-folder"], "no-such-folder lacks train-images-idx3-ubyte"),
        (["--model", "no-such.npz"], "no-such.npz"),
    ],
)
def test_a_wrong_flag_prints_one_line_and_exits_with_2(folder, flags, message, capsys):
    try:
        code = sanity_checks.main(["--data-dir", str(folder), *flags])
    except SystemExit as end:  # argparse
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
