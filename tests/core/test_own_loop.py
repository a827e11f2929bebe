"""A training loop of one's own: `BatchGradient`, statistics and keys."""

import copy
import inspect
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import (
    SGD,
    Adam,
    BatchGradient,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Ensemble,
    Flatten,
    MaxPool2D,
    RandomKey,
    ReLU,
    Sequential,
    diagnostics,
    evaluate,
    explain,
    fit,
    load_model,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from minicnn.train import fit as fit_module

ROOT = Path(__file__).parents[2]
STALE = "weights were trained, but not the running statistics .* call model.update_statistics"


def make_model(**options):
    layers = [Conv2D(4, 3, bias=False), BatchNorm(), ReLU(), MaxPool2D(2), Flatten(), Dropout(0.2)]
    return Sequential([*layers, Dense(3)], input_shape=(8, 8, 1), **options)


@pytest.fixture
def digits():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (300, 8, 8), np.uint8), rng.integers(0, 3, 300)


def documented_loop():
    """Return the lines of the loop in the docstring of `BatchGradient`."""
    _, _, after = inspect.getdoc(BatchGradient).partition("::\n\n")
    lines = after.splitlines()
    end = next(number for number, line in enumerate(lines) if line and not line.startswith("    "))
    return textwrap.dedent("\n".join(lines[:end])).strip()


def test_the_documented_loop_gives_the_bytes_of_fit(digits, monkeypatch):
    images, labels = digits
    code = documented_loop()
    assert len(code.splitlines()) <= 12
    assert code in (ROOT / "examples/README.md").read_text(encoding="utf-8")
    by_hand = make_model()
    exec(code, {"minicnn": minicnn, "np": np, "model": by_hand, "images": images, "labels": labels})

    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(images)) for _ in range(2)]

    def batches(config, training, epoch):
        return [orders[epoch][start : start + 128] for start in range(0, len(images), 128)]

    monkeypatch.setattr(fit_module, "epoch_batches", batches)
    fitted = make_model()
    fit(fitted, images, labels, epochs=2, validation_split=0, progress=False)
    assert by_hand.parameters.tobytes() == fitted.parameters.tobytes()
    assert by_hand.statistics.tobytes() == fitted.statistics.tobytes()
    assert not np.array_equal(by_hand.statistics, make_model().statistics)
    x = by_hand.predict_proba(images)  # without a warning
    np.testing.assert_array_equal(x, fitted.predict_proba(images))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_no_bit(digits, threads):
    model = make_model()
    expected = BatchGradient(model, *digits)(np.arange(100), 1)
    found = BatchGradient(model, *digits, threads=threads)(np.arange(100), 1)
    assert found.gradient.tobytes() == expected.gradient.tobytes()
    assert found.batch_statistics.tobytes() == expected.batch_statistics.tobytes()
    assert found[:2] == expected[:2]


def test_a_batch_without_an_epoch_is_of_the_first_one(digits):
    epochs = []

    def note_the_epoch(images, image_ids, *, seed, epoch):
        epochs.append(epoch)
        return images

    run_batch = BatchGradient(make_model(), *digits, augment=note_the_epoch)
    run_batch(np.arange(10))
    assert epochs == [0]


def test_data_are_checked_as_by_fit(digits):
    images, labels = digits
    with pytest.raises(TypeError, match="BatchGradient: model must be a Sequential, not Ensemble"):
        BatchGradient(Ensemble([make_model()]), images, labels)
    with pytest.raises(ValueError, match=r"BatchGradient: images have shape \(300, 8, 4\)"):
        BatchGradient(make_model(), images[:, :, :4], labels)
    with pytest.raises(ValueError, match=r"BatchGradient: labels must have shape \(300,\)"):
        BatchGradient(make_model(), images, labels[1:])
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2, but labels\[0\] is 3"):
        BatchGradient(make_model(), images, np.full(300, 3))
    with pytest.raises(ValueError, match="BatchGradient: label_smoothing must be"):
        BatchGradient(make_model(), images, labels, label_smoothing=1)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ([0, 1], TypeError, "batch must be an integer array, not list"),
        (7, TypeError, "batch must be an integer array, not int"),
        (np.arange(3) > 1, TypeError, "batch must be an integer array, not bool"),
        (np.arange(0), ValueError, r"batch must have shape \(1,\)"),
        (np.arange(4).reshape(2, 2), ValueError, r"batch must have shape \(4,\)"),
        (np.array([0, 300]), ValueError, r"batch must lie in 0\.\.299, but batch\[1\] is 300"),
        (np.array([-1, 3]), ValueError, r"batch must lie in 0\.\.299, but batch\[0\] is -1"),
    ],
)
def test_a_batch_that_is_none_is_refused(digits, batch, error, message):
    with pytest.raises(error, match=f"BatchGradient: {message}"):
        BatchGradient(make_model(), *digits)(batch)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_labels_that_are_no_classes_later_are_refused(digits, dtype):
    # int64 labels were read later too, and unchecked; others were copied.
    labels = digits[1].astype(dtype)
    run_batch = BatchGradient(make_model(), digits[0], labels)
    before = run_batch(np.arange(40)).loss
    labels[:] = (labels + 1) % 3
    assert run_batch(np.arange(40)).loss != before
    labels[17] = 3
    with pytest.raises(ValueError, match=r"labels\[batch\] must .* but labels\[batch\]\[2\] is 3"):
        run_batch(np.arange(15, 40))


# ---------------------------------------------------------------- statistics that are left behind


def steps_by_hand(model, digits, count=4, follow=None):
    """Train as a user does who calls forward and backward."""
    images, labels = digits
    optimizer = SGD(0.05)
    for step in range(count):
        batch = np.arange(40 * step, 40 * step + 40)
        x = model.preprocess(images[batch])
        logits, caches = model.forward(x, key=RandomKey(0, step, batch))
        _, cache = softmax_cross_entropy(logits, labels[batch])
        _, gradient = model.backward(softmax_cross_entropy_backward(1.0, cache), caches)
        optimizer.step(model.parameters, gradient)
        if follow:
            follow(model, caches)


def steps_by_batch_gradient(model, digits):
    run_batch, optimizer = BatchGradient(model, *digits), Adam()
    for step in range(8):
        result = run_batch(np.arange(20 * step, 20 * step + 20))
        optimizer.step(model.parameters, result.gradient)


@pytest.mark.parametrize("train", [steps_by_hand, steps_by_batch_gradient])
@pytest.mark.parametrize(
    "use",
    [
        lambda model, digits, path: model.predict(digits[0]),
        lambda model, digits, path: model.predict_proba(digits[0][0]),
        lambda model, digits, path: evaluate(model, *digits),
        lambda model, digits, path: model.infer(model.preprocess(digits[0])),
        lambda model, digits, path: Ensemble([model]).predict(digits[0]),
        lambda model, digits, path: copy.deepcopy(model).predict(digits[0]),
        lambda model, digits, path: model.save(path),
    ],
    ids=["predict", "predict_proba", "evaluate", "infer", "ensemble", "copy", "save"],
)
def test_who_leaves_the_statistics_behind_is_told(digits, tmp_path, train, use):
    model = make_model()
    train(model, digits)
    with pytest.warns(RuntimeWarning, match=STALE) as warned:
        use(model, digits, tmp_path / "model.npz")
    assert len(warned) == 1


@pytest.mark.parametrize("use", ["predict", "predict_proba", "evaluate"])
def test_the_warning_names_the_line_of_the_caller_and_comes_once(digits, use):
    model = make_model()
    steps_by_hand(model, digits)
    with pytest.warns(RuntimeWarning, match=STALE) as warned:
        evaluate(model, *digits) if use == "evaluate" else getattr(model, use)(digits[0])
    if use != "predict_proba":
        assert warned[0].filename == __file__
    model.predict(digits[0])  # silent
    steps_by_hand(model, digits)
    with pytest.warns(RuntimeWarning, match=STALE):
        model.predict(digits[0])


def by_library(model, caches):
    model.update_statistics(model.batch_statistics(caches)[None])


def by_own_average(model, caches):
    model.statistics += 0.2 * (model.batch_statistics(caches) - model.statistics)


def quiet_ways(model, digits, path):
    """Yield after each legitimate use of a forward pass in training."""
    images, labels = digits
    x, key = model.preprocess(images[:20]), RandomKey(0, 0, np.arange(20))
    steps_by_hand(model, digits, follow=by_library)
    yield "the statistics follow"
    steps_by_hand(model, digits, follow=by_own_average)
    yield "statistics of one's own"
    steps_by_hand(model, digits)
    model.update_statistics(model.batch_statistics(model.forward(x, key=key)[1])[None])
    yield "the statistics follow at the end of the epoch"

    # A gradient check moves each weight and puts it back.
    logits, caches = model.forward(x, key=key)
    model.backward(logits, caches)
    for index in range(0, model.parameters.size, 7):
        before = model.parameters[index]
        for offset in (1e-3, -1e-3):
            model.parameters[index] = before + offset
            model.forward(x, key=key)
        model.parameters[index] = before
    yield "gradients are checked"
    diagnostics.diagnose(model, images, labels)
    explain(model, images[0], label=1)
    BatchGradient(model, images, labels)(np.arange(60))
    yield "diagnosed and explained"
    fit(model, images, labels, epochs=2, progress=False, on_epoch_end=lambda state:
        diagnostics.diagnose(model, images, labels, state=state), patience=1)  # fmt: skip
    yield "fit, diagnosed after each epoch, with the best weights restored"
    model.backward(*model.forward(x, key=key))
    model.parameters *= np.float32(0.5)
    yield "weights pruned after a gradient"
    for _ in range(3):  # the normalization stays as it is, as in fine-tuning
        model.parameters -= np.float32(0.01) * model.backward(*model.forward(x))[1]
    yield "trained with the running statistics"
    model.update_statistics(model.batch_statistics(model.forward(x, key=key)[1])[None])
    loaded = copy.deepcopy(model)
    loaded.save(path)
    other = load_model(path)
    model.parameters[...], model.statistics[...] = other.parameters, other.statistics
    yield "weights loaded"


def test_other_uses_of_a_forward_pass_in_training_are_quiet(digits, tmp_path):
    model = make_model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for way in quiet_ways(model, digits, tmp_path / "model.npz"):
            model.predict(digits[0])
            copy.deepcopy(model).predict(digits[0])
            assert way


def test_without_statistics_nothing_is_noted(digits):
    model = Sequential([Flatten(), Dense(5), ReLU(), Dense(3)], input_shape=(8, 8, 1))
    steps_by_hand(model, digits)
    model.predict(digits[0])
    assert not model._trained_on


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("key", [True, 3, "training", np.random.default_rng(0)])
def test_a_key_that_is_none_says_how_to_make_one(key):
    message = r"key must be minicnn\.RandomKey\(seed, epoch, image_ids\), not "
    with pytest.raises(TypeError, match=f"forward: {message}"):
        make_model().forward(np.zeros((2, 8, 8, 1), np.float32), key=key)
    with pytest.raises(TypeError, match=f"dropout: {message}"):
        Dropout(0.5).forward(np.zeros((2, 8), np.float32), key=key)


def test_a_key_of_other_images_says_how_to_make_one():
    key = RandomKey(0, 0, np.arange(3))
    message = r"dropout: RandomKey has 3 image_ids, but x has shape \(2, 36\)"
    with pytest.raises(ValueError, match=message):
        make_model().forward(np.zeros((2, 8, 8, 1), np.float32), key=key)
