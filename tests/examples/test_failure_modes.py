"""examples/tools/failure_modes.py: the effect of each fault."""

import os
from math import log

import failure_modes
import numpy as np
import PIL.Image
import pytest

import minicnn
from minicnn import SGD, diagnostics
from minicnn.diagnostics import DEAD

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="the reference CNN takes hours without JIT"
)


@pytest.fixture(scope="module")
def data():
    found = minicnn.load_mnist_sample()
    return found._replace(
        train_images=found.train_images[:1300], train_labels=found.train_labels[:1300]
    )


def trained(data, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failure_modes, "VALIDATION_IMAGES", 300)
        patch.setattr(failure_modes, "EVALUATIONS", 3)
        return failure_modes.train_each(data, 2, seed)


@pytest.fixture(scope="module")
def seed_0(data):
    return trained(data, 0)


@pytest.fixture(scope="module")
def seed_1(data):
    return trained(data, 1)


@pytest.fixture(params=["seed_0", "seed_1"])
def found(request):
    return request.getfixturevalue(request.param)


def curves_of(found, apply):
    (fault,) = (
        fault for fault in [failure_modes.CORRECT, *failure_modes.FAULTS] if fault.apply is apply
    )
    return found[fault.name]


def test_training_without_a_fault_learns(found):
    correct = curves_of(found, failure_modes.nothing)
    assert correct.finite
    assert len(correct.losses) == 2 * (1000 // 32)
    assert np.mean(correct.losses[-10:]) < 0.4 * np.mean(correct.losses[:5])
    assert correct.accuracies[-1] > 0.7


def test_without_shuffling_the_loss_jumps_and_accuracy_is_low(found):
    curves = curves_of(found, failure_modes.no_shuffling)
    assert max(curves.losses[-31:]) > log(10) > 2 * min(curves.losses[-31:])
    assert curves.accuracies[-1] < curves_of(found, failure_modes.nothing).accuracies[-1] - 0.3


def test_a_learning_rate_times_100_diverges(found):
    curves = curves_of(found, failure_modes.rate_times_100)
    assert max(curves.losses) > 1000
    assert not curves.finite or (
        np.mean(curves.losses[-10:]) > 2 and max(curves.accuracies[-3:]) < 0.2
    )


def test_zero_weights_stay_at_chance(found):
    curves = curves_of(found, failure_modes.zero_weights)
    assert curves.finite
    assert curves.losses == pytest.approx([log(10)] * len(curves.losses), abs=0.06)
    assert max(curves.accuracies) < 0.2


def test_unscaled_pixels_diverge_except_with_batch_norm(found):
    curves = curves_of(found, failure_modes.unscaled)
    assert max(curves.losses) > 1000
    assert not curves.finite or max(curves.accuracies[-3:]) < 0.2
    normed = found[failure_modes.WITH_NORM]
    assert normed.finite
    assert max(normed.losses) < 10
    assert normed.accuracies[-1] > 0.8


def test_mirrored_digits_lower_only_the_validation_accuracy(found):
    curves, correct = (
        curves_of(found, failure_modes.mirrored),
        curves_of(found, failure_modes.nothing),
    )
    assert np.mean(curves.losses[-10:]) < 1.5 * np.mean(correct.losses[-10:])
    assert curves.accuracies[-1] < correct.accuracies[-1] - 0.2


def test_each_fault_changes_one_thing():
    for fault in failure_modes.FAULTS:
        images = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8)
        images[:, :, 0] = 7
        labels = np.arange(40)[::-1] % 10
        network = failure_modes.plain_network(3)
        setup = failure_modes.Setup(network, SGD(0.5), images, labels)
        before = network.parameters.copy()
        fault.apply(setup)
        changed = {
            failure_modes.no_shuffling: not setup.shuffle and (np.diff(setup.labels) >= 0).all(),
            failure_modes.rate_times_100: setup.optimizer.learning_rate == 50,
            failure_modes.zero_weights: not network.parameters.any(),
            failure_modes.unscaled: network.preprocess(images).max() == pytest.approx(39),
            failure_modes.mirrored: (setup.images[:, :, -1] == 7).all()
            and setup.images[9, 0, 0] == 9,
        }
        assert [apply for apply, done in changed.items() if done] == [fault.apply]
        assert (network.parameters == before).all() == (
            fault.apply is not failure_modes.zero_weights
        )


def test_diagnosis_reports_the_explained_causes(data):
    images, labels = data.train_images, data.train_labels
    setup = failure_modes.Setup(
        failure_modes.plain_network(0), SGD(failure_modes.LEARNING_RATE), images, labels
    )
    failure_modes.rate_times_100(setup)
    curves = failure_modes.learn(setup, images[:100], labels[:100], 1, 0)
    report = diagnostics.diagnose(setup.model, images[:128], labels[:128])
    if curves.finite:
        dead = [layer.dead / layer.units for layer in report.layers if layer.dead is not None]
        assert min(dead) > DEAD
    assert report.warnings
    setup.model.parameters[...] = 0
    report = diagnostics.diagnose(setup.model, images[:128], labels[:128])
    assert "No gradient at all reaches the weight of layer 1" in " ".join(report.warnings)


def test_the_script_prints_a_table_and_draws(seed_0, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(failure_modes, "train_each", lambda data, epochs, seed: seed_0)
    assert failure_modes.main(["--out", str(tmp_path / "pictures")]) == 0
    out = capsys.readouterr().out
    for fault in failure_modes.FAULTS:
        assert f"\n{fault.name}" in out
    assert out.splitlines()[-1].endswith("failure-modes.png")
    with PIL.Image.open(tmp_path / "pictures" / "failure-modes.png") as picture:
        picture.load()
        assert min(picture.size) > 800


def test_an_output_folder_that_is_a_file_exits_with_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        failure_modes.main(["--out", __file__])
    assert capsys.readouterr().err.strip().endswith("test_failure_modes.py is not a folder")
