"""Ensembles and test-time augmentation: mean probabilities and views."""

import numpy as np
import pytest

from minicnn import (
    Conv2D,
    Dense,
    Ensemble,
    Flatten,
    MaxPool2D,
    ReLU,
    Sequential,
    TestTimeAugmentation,
    diagnostics,
    evaluate,
    fit,
    load_mnist_sample,
)
from minicnn.model.classifier import Classifier


@pytest.fixture(scope="module")
def digits():
    """Return digits of 8×8 pixels, small enough for plain Python."""
    data = load_mnist_sample()
    return data.train_images[:12, 2:26:3, 2:26:3].copy(), data.train_labels[:12]


def small_model(seed=0, **options):
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)]
    return Sequential(layers, input_shape=(8, 8, 1), seed=seed, **options)


class Watching(Classifier):
    """Record the images of each call."""

    input_shape, output_shape, class_names = (9, 9, 1), (2,), None

    def __init__(self):
        self.seen = []

    def preprocess(self, images):
        return images

    def infer(self, x, *, threads=None):
        self.seen.append(x.copy())
        return np.zeros((len(x), 2), np.float32)


def views_of(images, **options):
    model = Watching()
    TestTimeAugmentation(model, **options).predict(images)
    return model.seen


# ---------------------------------------------------------------- ensembles


def test_an_ensemble_has_the_mean_of_the_probabilities(digits):
    images, labels = digits
    models = [small_model(seed) for seed in range(3)]
    ensemble = Ensemble(models)
    wanted = np.mean([model.predict_proba(images) for model in models], axis=0)
    found = ensemble.predict_proba(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_array_equal(ensemble.predict(images), wanted.argmax(axis=1))
    np.testing.assert_array_equal(ensemble.predict_proba(images[3]), found[3])
    assert ensemble.predict(images[3]) == wanted[3].argmax()
    for given in (images / 255, images[..., None]):
        np.testing.assert_allclose(ensemble.predict_proba(given), wanted, rtol=1e-5)
    result = evaluate(ensemble, images, labels)
    assert result.correct == (wanted.argmax(axis=1) == labels).sum()
    assert result.loss == pytest.approx(-np.log(wanted[np.arange(12), labels]).mean(), rel=1e-5)


@pytest.mark.parametrize("vote", [lambda m: Ensemble([m, small_model(1)]), TestTimeAugmentation])
def test_the_number_of_threads_does_not_change_a_bit(digits, vote):
    voting = vote(small_model())
    one, other = (voting.predict_proba(digits[0], threads=threads) for threads in (1, 3))
    assert one.tobytes() == other.tobytes()


def test_contradicting_models_share_the_probability():
    models = [Sequential([Flatten(), Dense(3)], (2, 2, 1)) for _ in range(2)]
    for model, logits in zip(models, [(1e4, 0, -1e4), (0, 1e4, -1e4)], strict=True):
        model.layers[1].parameters["weight"][...] = 0
        model.layers[1].parameters["bias"][...] = logits
    black = np.zeros((1, 2, 2), np.uint8)
    assert Ensemble(models).predict_proba(black).tolist() == [[0.5, 0.5, 0]]
    assert evaluate(Ensemble(models), black, np.array([2])).loss == pytest.approx(2e4, rel=1e-3)


def test_an_ensemble_of_one_equals_the_model(digits):
    model = small_model(class_names="0123456789")
    ensemble = Ensemble([model])
    wanted = model.predict_proba(digits[0])
    np.testing.assert_allclose(ensemble.predict_proba(digits[0]), wanted, rtol=1e-6)
    assert ensemble.class_names == tuple("0123456789")
    assert (ensemble.input_shape, ensemble.output_shape) == ((8, 8, 1), (10,))


# ---------------------------------------------------------------- test-time augmentation


def test_probabilities_are_averaged_over_the_views(digits):
    images, labels = digits
    model = small_model()
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    offsets = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    views = [padded[:, h : h + 8, w : w + 8] for h, w in offsets]
    wanted = np.mean([model.predict_proba(view) for view in views], axis=0)
    many = TestTimeAugmentation(model)
    np.testing.assert_allclose(many.predict_proba(images), wanted, rtol=1e-4)
    assert evaluate(many, images, labels).correct == (wanted.argmax(axis=1) == labels).sum()
    both = Ensemble([many, TestTimeAugmentation(model)])
    np.testing.assert_allclose(both.predict_proba(images), wanted, rtol=1e-4)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_views_are_floats_and_integer_shifts_keep_pixels(kind):
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9, 1)).astype(kind)
    pixels = images / kind(255)
    if kind == np.uint8:
        pixels = images.astype(np.float32) / np.float32(255)
    views = views_of(images if kind == np.uint8 else pixels, shift=2)
    zeros = np.zeros_like(pixels[:, :2])
    wanted = [
        pixels,
        np.concatenate([pixels[:, 2:], zeros], axis=1),
        np.concatenate([zeros, pixels[:, :-2]], axis=1),
        np.concatenate([pixels[:, :, 2:], zeros.swapaxes(1, 2)], axis=2),
        np.concatenate([zeros.swapaxes(1, 2), pixels[:, :, :-2]], axis=2),
    ]
    for view, one in zip(views, wanted, strict=True):
        np.testing.assert_array_equal(view, one, strict=True)


def test_views_are_rotated_in_both_directions():
    images = np.random.default_rng(1).random((2, 9, 9, 1), np.float32)
    _, clockwise, other = views_of(images, shift=0, rotation=90)
    assert clockwise == pytest.approx(np.rot90(images, -1, axes=(1, 2)), abs=1e-5)
    assert other == pytest.approx(np.rot90(images, 1, axes=(1, 2)), abs=1e-5)


def test_views_are_larger_and_smaller():
    images = np.zeros((1, 9, 9, 1), np.float32)
    images[0, 4, 2:7] = 1  # five pixels in a row, two to each side of the middle
    plain, larger, smaller = (view[0, 4, :, 0] for view in views_of(images, shift=0, zoom=1))
    assert plain.tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0]
    assert larger.tolist() == [1] * 9  # each pixel is half as far from the middle
    assert smaller.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_transforms_of_0_are_omitted():
    images = np.zeros((1, 9, 9), np.uint8)
    assert len(views_of(images)) == 5
    assert len(views_of(images, shift=0)) == 1
    assert len(views_of(images, shift=0.5, rotation=3, zoom=0.1)) == 9


# ---------------------------------------------------------------- errors


def test_models_that_do_not_fit_are_rejected():
    with pytest.raises(ValueError, match="Ensemble: give at least one model"):
        Ensemble([])
    wanted = "model must be a Classifier such as Sequential, not"
    with pytest.raises(TypeError, match=f"Ensemble: {wanted} str"):
        Ensemble([small_model(), "a.npz"])
    with pytest.raises(TypeError, match=f"TestTimeAugmentation: {wanted} NoneType"):
        TestTimeAugmentation(None)
    larger = Sequential([Flatten(), Dense(10)], input_shape=(9, 8, 1))
    agree = r"the models must agree in input, outputs and class names, but models\[1\] has "
    shapes = r"\(\(9, 8, 1\), \(10,\), None\), models\[0\] \(\(8"
    with pytest.raises(ValueError, match=f"{agree}{shapes}"):
        Ensemble([small_model(), larger])
    with pytest.raises(ValueError, match=agree):
        Ensemble([small_model(), small_model(class_names="0123456789")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": -1}, "TestTimeAugmentation: shift must be 0 or more, and finite, not -1"),
        (
            {"rotation": 180},
            "TestTimeAugmentation: rotation must be at least 0 and below 180, not 180",
        ),
        ({"zoom": np.inf}, "TestTimeAugmentation: zoom must be 0 or more, and finite, not inf"),
    ],
)
def test_arguments_out_of_range_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        TestTimeAugmentation(small_model(), **options)


@pytest.mark.parametrize("vote", [lambda m: Ensemble([m]), TestTimeAugmentation])
def test_images_that_do_not_fit_are_rejected(vote):
    voting = vote(small_model())
    name = type(voting).__name__
    with pytest.raises(ValueError, match=rf"{name}: images have shape \(2, 9, 8\), but the model"):
        voting.predict(np.zeros((2, 9, 8), np.uint8))
    with pytest.raises(ValueError, match=rf"{name}: pixels of float images must lie in 0\.\.1"):
        voting.predict(np.full((2, 8, 8), 7.0))
    with pytest.raises(TypeError, match=f"{name}: images must be"):
        voting.predict(np.zeros((2, 8, 8), int))


@pytest.mark.parametrize("vote", [lambda m: Ensemble([m]), TestTimeAugmentation])
def test_ensembles_cannot_be_trained(vote, digits):
    model, hint = vote(small_model()), "; call it for each network"
    for function in (fit, diagnostics.diagnose):
        with pytest.raises(
            TypeError, match=rf"must be a Sequential, not {type(model).__name__}{hint}"
        ):
            function(model, *digits)


def test_models_show_the_calls_that_make_them():
    model = Sequential([Flatten(), Dense(3)], (8, 8, 1))
    made = "Sequential([Flatten(), Dense(3)], (8, 8, 1))"
    assert repr(model) == made
    assert repr(Ensemble([model, model])) == f"Ensemble([{made}, {made}])"
    views = TestTimeAugmentation(model, rotation=8.0)
    assert repr(views) == f"TestTimeAugmentation({made}, shift=1.0, rotation=8.0, zoom=0.0)"
    assert views.views == 7
