"""`Sequential`: shapes, parameters, preprocessing, prediction, copies."""

import copy
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Ensemble,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    evaluate,
    fit,
    initializers,
)
from minicnn.random import RandomKey, generator


def small_model(**options):
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)]
    return Sequential(layers, input_shape=(8, 8, 1), **options)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)


# ---------------------------------------------------------------- layers


def test_a_layer_shows_the_call_that_makes_it():
    assert repr(Conv2D(4, 3)) == "Conv2D(4, 3)"
    assert repr(Conv2D(4, (3, 1), padding="same")) == "Conv2D(4, (3, 1), padding='same')"
    assert repr(Dense(5, initializer=initializers.glorot_uniform)) == (
        "Dense(5, initializer=glorot_uniform)"
    )
    assert repr(MaxPool2D(2, stride=1)) == "MaxPool2D(2, stride=1)"
    assert repr(AvgPool2D((2, 3), padding=1)) == "AvgPool2D((2, 3), padding=1)"
    assert repr(DepthwiseConv2D(3, stride=2)) == "DepthwiseConv2D(3, stride=2)"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(Conv2D(4, 3), (5, 5, 1)), (DepthwiseConv2D(3), (5, 5, 1)), (Dense(3), (5,))],
)
def test_a_layer_that_is_not_built_says_how_to_build_it(layer, shape):
    with pytest.raises(RuntimeError, match=r"no weight yet: put the layer into a Sequential"):
        layer.forward(np.zeros((1, *shape), np.float32))


def test_the_base_layer_has_no_forward_and_backward():
    with pytest.raises(NotImplementedError, match="Layer has no forward"):
        Layer().forward(np.zeros(1))
    with pytest.raises(NotImplementedError, match="Layer has no backward"):
        Layer().backward(np.zeros(1), None)


def test_macs_count_the_multiply_adds_of_the_reference_loops():
    # 6×6 outputs × 4 filters × 3×3×1 window; and 36 inputs × 10 outputs
    assert Conv2D(4, 3).macs((8, 8, 1)) == 6 * 6 * 4 * 9
    assert DepthwiseConv2D(3, stride=2).macs((8, 8, 5)) == 3 * 3 * 5 * 9
    assert Dense(10).macs((36,)) == 360
    assert ReLU().macs((36,)) == 0


def test_a_network_of_depthwise_convolutions_and_averages():
    layers = [DepthwiseConv2D(3, padding=1), Conv2D(8, 1), ReLU(), AvgPool2D(2), GlobalAvgPool2D()]
    model = Sequential([*layers, Dense(10)], input_shape=(8, 8, 3))
    assert [model.layers[0].parameters[name].shape for name in ("weight", "bias")] == [
        (3, 3, 3),
        (3,),
    ]
    assert model.output_shape == (10,)
    rows = [line.split("  ") for line in model.summary().splitlines()]
    shown = [[word.strip() for word in row if word.strip()][2:] for row in rows]
    assert shown[2][:3] == ["(8, 8, 3)", "30", "1,728"]
    assert shown[6][0] == "(8,)"
    x = np.random.default_rng(1).random((4, 8, 8, 3), np.float32)
    y, caches = model.forward(x, key=RandomKey(0, 0, np.arange(4)))
    dx, gradients = model.backward(np.ones_like(y), caches, need_dx=True)
    assert dx.shape == x.shape
    assert gradients.shape == model.parameters.shape


# ---------------------------------------------------------------- initial weights


def test_he_normal_has_its_std_and_glorot_uniform_its_limits():
    rng = np.random.default_rng(0)
    weight = initializers.he_normal(rng, (3, 3, 32, 200), np.float32)  # fan_in 288
    assert weight.dtype == np.float32
    assert weight.std() == pytest.approx((2 / 288) ** 0.5, rel=0.02)  # 57,600 draws: ±0.3 %
    assert abs(weight.mean()) < 0.002
    weight = initializers.glorot_uniform(rng, (3, 3, 32, 200), np.float64)
    limit = (6 / (288 + 9 * 200)) ** 0.5
    assert weight.dtype == np.float64
    assert limit * 0.999 < abs(weight).max() <= limit
    assert initializers.fans((7, 5)) == (7, 5)
    assert initializers.fans((5, 3, 64)) == (15, 15)  # each channel by itself


def test_every_address_has_its_own_random_numbers():
    def draw(*address):
        return tuple(generator(*address).integers(0, 2**63, 4))

    addresses = [
        (seed, purpose, epoch, index)
        for seed in (0, 1, 2**64 - 1)
        for purpose in ("initial weights", "validation split", "shuffle")
        for epoch in (0, 1)
        for index in (0, 1)
    ]
    assert len({draw(*address) for address in addresses}) == len(addresses)
    assert draw(*addresses[5]) == draw(*addresses[5])


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_an_invalid_seed_is_rejected(seed, error):
    with pytest.raises(error, match="seed must"):
        small_model(seed=seed)


# ---------------------------------------------------------------- Sequential


def test_parameters_are_views_of_one_vector():
    model = small_model()
    assert model.parameters.shape == (4 * 9 + 4 + 36 * 10 + 10,)
    assert model.parameters.dtype == np.float32
    weight = model.layers[0].parameters["weight"]
    model.parameters[0] = 7
    assert weight[0, 0, 0, 0] == 7
    weight[0, 0, 0, 0] = 8
    assert model.parameters[0] == 8
    assert [sorted(views) for views in model.unflatten(model.parameters)] == [
        ["bias", "weight"], [], [], [], ["bias", "weight"],
    ]  # fmt: skip


def test_a_vector_that_is_assigned_is_written_to_the_layers():
    model, other = (
        Sequential([Flatten(), Dense(5), BatchNorm(), Dense(10)], (8, 8, 1), seed=seed)
        for seed in (0, 1)
    )
    other.statistics += 0.5
    before = model.parameters
    model.parameters, model.statistics = other.parameters, other.statistics
    assert model.parameters is before
    for own, given in zip(model.layers, other.layers, strict=True):
        for array, wanted in zip(own.arrays(), given.arrays(), strict=True):
            np.testing.assert_array_equal(array, wanted)
    model.parameters *= 0
    assert not model.layers[1].parameters["weight"].any()
    assert other.parameters.any()
    with pytest.raises(ValueError, match="could not broadcast"):
        model.parameters = np.zeros(3, np.float32)


def test_the_seed_determines_initial_weights_and_biases_are_zero():
    assert np.array_equal(small_model(seed=3).parameters, small_model(seed=3).parameters)
    assert not np.array_equal(small_model(seed=3).parameters, small_model(seed=4).parameters)
    assert not small_model().layers[4].parameters["bias"].any()


def test_a_model_without_parameters_is_a_model():
    model = Sequential([Flatten()], input_shape=(2, 2, 1))
    assert model.parameters.shape == (0,)
    assert model.output_shape == (4,)


def test_backward_writes_to_the_given_vector():
    model = small_model(dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((3, 8, 8, 1))
    y, caches = model.forward(x)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    given = np.full_like(model.parameters, np.nan)
    dx, gradients = model.backward(dy, caches, gradients=given)
    assert dx is None  # the first layer is spared the gradient of the images
    assert gradients is given
    assert np.isfinite(given).all()
    dx, again = model.backward(dy, caches, need_dx=True)
    assert dx.shape == x.shape
    assert np.array_equal(again, given)


def test_summary_counts_parameters_and_macs():
    *lines, note = str(small_model().summary()).splitlines()
    assert lines[0].split() == ["Layer", "Output", "shape", "Parameters", "Multiply-adds"]
    assert lines[2].split() == ["1", "Conv2D(4,", "3)", "(6,", "6,", "4)", "40", "1,296", "┐"]
    assert [line[-12:].strip() for line in lines[2:5]] == ["1,296  ┐", "0  │", "0  ┘"]
    assert lines[6].split() == ["5", "Dense(10)", "(10,)", "370", "360"]
    assert lines[-1].split() == ["Total", "410", "1,656"]
    assert note.split() == ["┐┘", "run", "as", "one", "kernel"]
    assert repr(small_model().summary()) == str(small_model().summary())


def test_a_summary_of_any_network_fits_80_columns():
    long = DepthwiseConv2D((3, 3), stride=(2, 1), padding="same", bias=False)
    inner = [Residual([Residual([Conv2D(1, 1, bias=False)])])]
    model = Sequential([long, Residual(inner), Flatten(), Dense(10)], input_shape=(224, 224, 1))
    lines = model.summary().splitlines()
    assert max(map(len, lines)) < 80
    words = " ".join(line[3:33] for line in lines).split()
    assert " ".join(words).count(str(long)) == 1  # wrapped, not cut


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([], ValueError, "give at least one layer"),
        ([Conv2D], TypeError, r"layer objects such as ReLU\(\), not <class"),
        ([Dense(3)], ValueError, r"layer 1 \(Dense\(3\)\): .*shape \(8, 8, 1\); put Flatten\(\)"),
        ([Flatten(), Conv2D(3, 3)], ValueError, r"layer 2 .*needs images \(H, W, C\).*\(64,\)"),
        ([Flatten(), MaxPool2D(2)], ValueError, r"layer 2 .*needs images \(H, W, C\).*\(64,\)"),
        ([Flatten(), Flatten()], ValueError, r"layer 2 .*needs images"),
        ([Conv2D(3, 9)], ValueError, r"layer 1 .*kernel 9×9 is larger than the padded input 8×8"),
        ([ReLU(), MaxPool2D(9)], ValueError, r"layer 2 .*pool 9×9 is larger"),
        ([AvgPool2D(9)], ValueError, r"layer 1 .*AvgPool2D: the pool 9×9 is larger"),
        ([DepthwiseConv2D(9)], ValueError, r"layer 1 .*DepthwiseConv2D: the kernel 9×9 is larger"),
        ([Flatten(), AvgPool2D(2)], ValueError, r"AvgPool2D: needs images \(H, W, C\).*\(64,\)"),
        ([Flatten(), GlobalAvgPool2D()], ValueError, r"GlobalAvgPool2D: needs images .*\(64,\)"),
        ([Flatten(), DepthwiseConv2D(3)], ValueError, r"DepthwiseConv2D: needs images .*\(64,\)"),
        ([Conv2D(3, 2.5)], TypeError, r"layer 1 .*kernel size must be a whole number, not 2\.5"),
    ],
)
def test_layers_that_do_not_fit_are_named(layers, error, message):
    with pytest.raises(error, match=message):
        Sequential(layers, input_shape=(8, 8, 1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input_shape": (8, 8)}, ValueError, r"input_shape must be \(H, W, C\), not \(8, 8\)"),
        ({"input_shape": 784}, ValueError, r"input_shape must be \(H, W, C\), not 784"),
        ({"input_shape": (8, 0, 1)}, ValueError, "input_shape must be at least 1, not 0"),
        ({"dtype": np.float16}, TypeError, "dtype must be float32 or float64, not float16"),
        ({"input_std": 0.0}, ValueError, "input_std above 0, not 0.0 and 0.0"),
        ({"input_mean": np.nan}, ValueError, "input_mean and input_std must scale"),
        ({"input_mean": (0.1, 0.2)}, TypeError, r"input_mean must be a number, not \(0.1, 0.2\)"),
        ({"input_std": np.ones(3)}, TypeError, r"input_std must be a number, not array\(\[1"),
        ({"input_mean": None}, TypeError, "input_mean must be a number, not None"),
    ],
)
def test_invalid_options_are_rejected(options, error, message):
    with pytest.raises(error, match=message):
        Sequential([Flatten()], **{"input_shape": (8, 8, 1), **options})


@pytest.mark.parametrize("make", [lambda: Conv2D(0, 3), lambda: Dense(0)])
def test_a_layer_requires_at_least_one_output(make):
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        make()


def test_a_layer_belongs_to_one_model():
    layer = Dense(3)
    Sequential([Flatten(), layer], input_shape=(2, 2, 1))
    with pytest.raises(ValueError, match=r"layer 2 \(Dense\(3\)\) already belongs to a model"):
        Sequential([Flatten(), layer], input_shape=(2, 2, 1))


# ---------------------------------------------------------------- prediction


def test_prediction_does_not_depend_on_dtype_and_channel_axis(images):
    model = small_model(input_mean=0.13, input_std=0.31)
    wanted = model.predict_proba(images)
    assert wanted.shape == (5, 10)
    assert wanted.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(model.predict_proba(images[..., None]), wanted)
    for dtype in (np.float32, np.float64):  # a division by 255 that a user did
        assert np.array_equal(model.predict_proba(images.astype(dtype) / 255), wanted)
    assert np.array_equal(model.predict(images), wanted.argmax(axis=1))


def test_one_image_gives_one_prediction(images):
    model = small_model()
    wanted = model.predict_proba(images)
    for one in (images[2], images[2][..., None]):
        assert model.predict_proba(one).shape == (10,)
        assert np.array_equal(model.predict_proba(one), wanted[2])
        assert np.ndim(model.predict(one)) == 0
        assert model.predict(one) == wanted[2].argmax()


def test_prediction_does_not_depend_on_the_batch(images):
    many = np.concatenate([images] * 14)  # 70 images: more than two pieces of 32
    model = small_model()
    assert np.array_equal(model.predict(many), np.tile(model.predict(images), 14))


def test_preprocess_applies_the_models_scaling(images):
    x = small_model(input_mean=0.25, input_std=0.5).preprocess(images)
    assert x.dtype == np.float32
    assert x.shape == (5, 8, 8, 1)
    assert x == pytest.approx((images[..., None] / 255 - 0.25) / 0.5, abs=1e-6)


def test_color_images_keep_their_channels():
    model = Sequential([Flatten()], input_shape=(4, 3, 3))
    images = np.zeros((2, 4, 3, 3), np.uint8)
    assert model.preprocess(images).shape == (2, 4, 3, 3)
    assert model.preprocess(images[0]).shape == (1, 4, 3, 3)
    with pytest.raises(ValueError, match=r"\(4, 3\), but the model takes \(4, 3, 3\) or \(N, 4"):
        model.preprocess(images[0, :, :, 0])


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([[0.0]], TypeError, "must be a NumPy array, not list"),
        (np.zeros((2, 8, 8), np.int64), TypeError, r"uint8 \(0 to 255\) or float.*not int64"),
        (np.zeros((2, 8, 8), bool), TypeError, "not bool"),
        (np.zeros((0, 8, 8), np.uint8), ValueError, r"empty \(shape \(0, 8, 8\)\)"),
        (np.zeros(64, np.uint8), ValueError, r"images.reshape\(-1, 8, 8\) makes images"),
        (np.zeros((2, 9, 8), np.uint8), ValueError, r"\(2, 9, 8\), but .* \(N, 8, 8, 1\)$"),
        (np.zeros((2, 1, 8, 8), np.uint8), ValueError, r"first: np.moveaxis\(images, -3, -1\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), ValueError, r"\(2, 8, 8, 3\), but the model takes"),
        (np.full((2, 8, 8), 255.0), ValueError, "0..1, but image 0 holds 255.0.*such as 255"),
        (np.full((2, 8, 8), -0.5), ValueError, "image 0 holds -0.5"),
        (np.full((2, 8, 8), np.nan), ValueError, "image 0 holds nan"),
    ],
)
def test_invalid_images_are_rejected(images, error, message):
    with pytest.raises(error, match=message):
        small_model().predict(images)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_another_range_are_rejected_before_any_work(dtype):
    model, labels = small_model(), np.array([0, 1])
    white = 1 if dtype == np.uint8 else 1 / 255
    images = np.full((2, 8, 8), white, dtype)
    weights = model.parameters.copy()
    for call in (
        lambda: model.predict(images),
        lambda: model.predict_proba(images[0]),
        lambda: minicnn.evaluate(model, images, labels),
        lambda: minicnn.fit(model, images, labels, epochs=1),
        lambda: minicnn.explain(model, images[0]),
    ):
        with pytest.raises(ValueError, match=r"the largest of all is .*; scale them, as in"):
            call()
    assert np.array_equal(model.parameters, weights)
    scaled = (images / images.max()).astype(np.float32)  # as the message says
    assert np.array_equal(model.predict(scaled), model.predict(np.full((2, 8, 8), 255, np.uint8)))
    assert model.predict(0 * images).shape == (2,)  # black images are right


# ---------------------------------------------------------------- copies


COPIES = {
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_trains_alike_and_independently(how, images):
    inside = [Conv2D(4, 3, padding=1), BatchNorm(), ReLU()]
    layers = [Conv2D(4, 3), MaxPool2D(2), ReLU(), Residual(inside), Flatten(), Dense(10)]
    model = Sequential(layers, input_shape=(8, 8, 1))
    model.statistics[...] = 0.5
    twin = COPIES[how](model)
    answers = model.predict_proba(images)
    np.testing.assert_array_equal(twin.predict_proba(images), answers)

    labels = np.arange(5)
    fit(twin, images, labels, epochs=2, batch_size=2, validation_split=0, progress=False)
    assert (twin.predict_proba(images) != answers).all()
    np.testing.assert_array_equal(model.predict_proba(images), answers)
    fit(model, images, labels, epochs=2, batch_size=2, validation_split=0, progress=False)
    np.testing.assert_array_equal(model.parameters, twin.parameters)
    np.testing.assert_array_equal(model.predict_proba(images), twin.predict_proba(images))


# ---------------------------------------------------------------- infinity and NaN


def test_infinity_and_nan_are_no_answer():
    """NaN was class 0 with probability NaN, and an accuracy like chance."""
    images, labels = np.full((5, 2, 2), 255, np.uint8), np.zeros(5, int)
    for weight in (3e38, -3e38, np.nan):
        model = Sequential([Flatten(), Dense(3)], input_shape=(2, 2, 1))
        model.parameters[:] = weight
        for model_or_average in (model, Ensemble([model])):
            for use in (model_or_average.predict, model_or_average.predict_proba):
                with pytest.raises(ValueError, match="the network computes infinity or NaN"):
                    use(images)
            with pytest.raises(ValueError, match="the network computes infinity or NaN"):
                evaluate(model_or_average, images, labels)


def test_a_class_may_be_excluded_by_a_logit_of_minus_infinity():
    model = Sequential([Flatten(), Dense(3)], input_shape=(2, 2, 1))
    model.layers[1].parameters["bias"][1] = -np.inf
    assert model.predict_proba(np.zeros((2, 2), np.uint8)).tolist() == [0.5, 0, 0.5]


def test_a_std_must_keep_pixels_finite():
    with pytest.raises(ValueError, match=r"finite numbers in float32, .* not 0\.5 and 1e-40"):
        Sequential([Flatten()], input_shape=(2, 2, 1), input_mean=0.5, input_std=1e-40)
    model = Sequential([Flatten()], (2, 2, 1), input_std=1e-40, dtype=np.float64)
    assert model.preprocess(np.ones((2, 2))).max() == 1e40


def test_sizes_have_an_upper_bound():
    # A stride of 10³⁰ raised Numba's TypingError in a kernel.
    for layer in (Conv2D(2, 1, stride=10**30), Conv2D(2, 1, padding=2**31)):
        with pytest.raises(ValueError, match="must be at most 2,147,483,647, not "):
            Sequential([layer], input_shape=(4, 4, 1))
    with pytest.raises(ValueError, match=r"Dense: units must be at most .*, not 10+\.\.\.0+$"):
        Dense(10**200)


@pytest.mark.parametrize("name", ["forward", "backward", "infer", "ops"])
def test_a_method_of_one_layer_is_refused_in_words(name):
    # A fused step would not call it.
    layer = ReLU()
    with pytest.raises(AttributeError, match=rf"ReLU\(\)\.{name} cannot .* in a subclass"):
        setattr(layer, name, lambda *_: None)
