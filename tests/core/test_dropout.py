"""Dropout: the mask, its key, and the layer in training and inference."""

import numpy as np
import pytest

from minicnn import (
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    NonFiniteError,
    ReLU,
    Sequential,
    fit,
    ops,
    reference,
)
from minicnn.layers.fusion import fuse
from minicnn.random import RandomKey, dropout_mask, random_bits
from minicnn.runtime.arena import scope
from minicnn.train.nonfinite import find_non_finite

KEY = RandomKey(7, 2, np.array([5, 1, 2**32 - 1]), (3, 1))


def kept(key, rate, shape):
    """Return what is kept, from the words of the slow way round."""
    count = int(np.prod(shape))
    words = random_bits(key.philox_key, "dropout", key.epoch, key.image_ids, -(-count // 8) * 4)
    blocks = words.view(np.uint32).reshape(len(words), 4, -1)
    halves = np.concatenate([blocks & 0xFFFF, blocks >> 16], axis=1)  # (N, 8, blocks)
    chosen = halves.transpose(0, 2, 1).reshape(len(words), -1) >= min(
        round(rate * 2**16), 2**16 - 1
    )
    return chosen[:, :count].reshape(-1, *shape)


@pytest.mark.parametrize("shape", [(1,), (5,), (32,), (4, 3, 3), (9, 5)])
@pytest.mark.parametrize("rate", [0, 0.3, 0.5, 0.9999, 1 - 1e-9])
def test_it_is_the_reference_with_numbers_kept_by_chance(normals, dtype, shape, rate):
    x, dy = (normals(seed, dtype)(3, *shape) for seed in (1, 2))
    y, cache = ops.dropout(x, rate, KEY)
    wanted, slow = reference.activations.dropout(
        x, kept(KEY, rate, shape), min(round(rate * 2**16), 2**16 - 1) / 2**16
    )
    np.testing.assert_array_equal(y, wanted, strict=True)
    np.testing.assert_array_equal(
        ops.dropout_backward(dy, cache),
        reference.activations.dropout_backward(dy, slow),
        strict=True,
    )


def test_the_reference_by_hand():
    x, keep = np.array([[3.0, 5.0], [7.0, -1.0]]), np.array([[True, False], [False, True]])
    y, cache = reference.activations.dropout(x, keep, 0.75)
    assert y.tolist() == [[12, 0], [0, -4]]
    assert reference.activations.dropout_backward(np.ones((2, 2)), cache).tolist() == [
        [4, 0],
        [0, 4],
    ]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_as_many_are_dropped_as_the_rate_says_and_the_mean_stays(rate):
    key = RandomKey(0, 0, np.arange(16))
    y, _ = ops.dropout(np.ones((16, 2000)), rate, key)
    deviation = (rate * (1 - rate) / y.size) ** 0.5
    assert np.mean(y == 0) == pytest.approx(rate, abs=4 * deviation)
    assert y[y > 0] == pytest.approx(1 / (1 - rate), rel=1e-4)
    # neighbors, and the same place in the next image, are independent
    dropped = y == 0
    for a, b in ((dropped[:, 1:], dropped[:, :-1]), (dropped[1:], dropped[:-1])):
        assert np.mean(a & b) == pytest.approx(rate**2, abs=4 * (rate**2 / a.size) ** 0.5)


def test_what_is_kept_depends_on_seed_epoch_layer_and_image_alone():
    alone = dropout_mask(KEY._replace(image_ids=KEY.image_ids[1:2]), 0.5, 70)
    bits = dropout_mask(KEY, 0.5, 70)
    assert np.array_equal(bits[1:2], alone)
    others = [
        KEY._replace(seed=8), KEY._replace(epoch=3), KEY._replace(path=(3, 2)),
        KEY._replace(image_ids=KEY.image_ids - 1),
    ]  # fmt: skip
    for other in others:
        assert (dropout_mask(other, 0.5, 70) != bits).any(axis=1).all()


def test_a_number_at_the_threshold_is_kept():
    words = random_bits(KEY.philox_key, "dropout", KEY.epoch, KEY.image_ids, 4).view(np.uint32)
    for number in [*words.ravel() % 2**16, *words.ravel() // 2**16]:  # of 16 bits, odd and even
        bits = dropout_mask(KEY, number / 2**16, 8)[:, 0]
        expected = np.packbits(kept(KEY, number / 2**16, (8,)), axis=1, bitorder="little")
        assert bits.tolist() == expected.ravel().tolist()


@pytest.mark.parametrize(("seed", "epoch"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_a_seed_or_an_epoch_of_too_many_bits_is_refused(seed, epoch):
    with pytest.raises(ValueError, match=r"random: (seed|epoch) must be at (least|most)"):
        random_bits(seed, "dropout", epoch, KEY.image_ids, 4)
    assert random_bits(2**64 - 1, "dropout", 2**32 - 1, KEY.image_ids, 4).shape == (3, 4)


def test_a_bit_is_kept_for_each_number(dtype):
    _, cache = ops.dropout(np.ones((3, 6, 6), dtype), 0.5, KEY)
    assert cache.kept.shape == (3, 8)  # 36 bits, in whole vectors of 32


def test_what_is_dropped_is_0_whatever_it_was(dtype):
    x = np.full((3, 40), np.nan, dtype)
    y, cache = ops.dropout(x, 0.5, KEY)
    dropped = ~kept(KEY, 0.5, (40,))
    assert not y[dropped].any()
    assert np.isnan(y[~dropped]).all()
    assert not ops.dropout_backward(x, cache)[dropped].any()


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        ("0.5", TypeError, "rate must be a number, not '0.5'"),
        (True, TypeError, "rate must be a number, not True"),
        (-0.1, ValueError, r"rate must be at least 0 and below 1, not -0\.1"),
        (1, ValueError, r"rate must be at least 0 and below 1, not 1"),
        (float("nan"), ValueError, r"rate must be at least 0 and below 1, not nan"),
    ],
)
def test_a_rate_that_is_none_is_refused(rate, error, message):
    with pytest.raises(error, match=f"Dropout: {message}"):
        Dropout(rate)
    with pytest.raises(error, match=f"dropout: {message}"):
        ops.dropout(np.ones((3, 2)), rate, KEY)


@pytest.mark.parametrize("shape", [(2, 4), (), (3, 0)])
def test_dropout_rejects_a_key_of_other_images(shape):
    with pytest.raises(ValueError, match=r"dropout: RandomKey has 3 image_ids, but x has shape"):
        ops.dropout(np.ones(shape), 0.5, KEY)


def test_arrays_of_other_dtypes_and_gradients_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="dropout: x must be float32 or float64, not int64"):
        ops.dropout(np.ones((3, 2), int), 0.5, KEY)
    _, cache = ops.dropout(np.ones((3, 2)), 0.5, KEY)
    with pytest.raises(ValueError, match=r"dropout_backward: dy .*\(2, 3\)"):
        ops.dropout_backward(np.ones((2, 3)), cache)


# ---------------------------------------------------------------- the layer


def test_the_layer_passes_everything_in_use():
    layer, x = Dropout(0.5), np.ones((3, 4), np.float32)
    y, cache = layer.forward(x)
    assert y is x
    assert layer.backward(x, cache) == (x, {})
    assert repr(layer) == "Dropout(0.5)"


def test_a_key_means_training():
    model = Sequential([Flatten(), Dropout(0.5), Dense(2)], input_shape=(2, 2, 1))
    x = np.ones((3, 2, 2, 1), np.float32)
    y, _ = model.forward(x, key=KEY)
    assert not np.array_equal(y, model.forward(x)[0])


def test_in_use_it_costs_nothing_and_parts_no_layers_that_are_computed_as_one():
    layers = [Conv2D(3, 3), Dropout(0.5), ReLU(), Dropout(0.2), MaxPool2D(2), Flatten(), Dense(2)]
    model = Sequential(layers, input_shape=(6, 6, 1))
    x = np.random.default_rng(0).random((3, 6, 6, 1), np.float32)
    assert [step.length for step in fuse(layers, inference=True)] == [3, 1, 1]
    assert model.infer(x) == pytest.approx(model.forward(x)[0], rel=1e-5, abs=1e-6)


def small_model():
    layers = [Flatten(), Dropout(0.2), Dense(6), ReLU(), Dropout(0.5), Dense(3)]
    return Sequential(layers, input_shape=(3, 3, 1))


@pytest.fixture
def digits():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (36, 3, 3), np.uint8), rng.integers(0, 3, 36)


def train(digits, seed=1, **options):
    model = small_model()
    fit(model, *digits, epochs=2, batch_size=24, seed=seed, progress=False, **options)
    return model.parameters.tobytes()


def test_the_number_of_threads_changes_no_bit_and_the_seed_does(digits):
    one = train(digits, threads=1)
    assert train(digits, threads=2) == one
    assert train(digits, threads=4) == one
    assert train(digits, seed=2) != one


def test_a_resumed_training_comes_to_the_same_bytes(digits, tmp_path):
    class Stop(Exception):
        pass

    def stop_in_the_second_epoch(images, numbers, *, seed, epoch):
        if epoch == 1 and not tmp_path.joinpath("stopped").exists():
            tmp_path.joinpath("stopped").touch()
            raise Stop
        return images / 255

    options = {"checkpoint": tmp_path / "checkpoint.npz", "augment": stop_in_the_second_epoch}
    with pytest.raises(Stop):
        train(digits, **options)
    assert train(digits, resume=True, **options) == train(digits, augment=options["augment"])


def test_the_place_of_an_infinity_is_looked_for_with_the_same_numbers_dropped(digits):
    model = small_model()
    model.layers[2].parameters["weight"][...] = 3e38
    with pytest.raises(NonFiniteError, match=r"the output of layer 3 \(Dense\(6\)\)"):
        fit(model, *digits, epochs=1, batch_size=30, progress=False)
    white = np.full((3, 3, 3), 255, np.uint8)
    assert "the output of layer 3" in find_non_finite(model, [(white, digits[1][:3], KEY)])


def test_the_workspace_is_used_again(normals):
    x = normals(1, np.float32)(3, 40)
    with scope():
        ops.dropout(x, 0.5, KEY)
    for _ in range(2):
        with scope():
            y, cache = ops.dropout(x, 0.5, KEY)
            found = y.copy(), ops.dropout_backward(x, cache).copy()
    wanted, _ = ops.dropout(x, 0.5, KEY)
    assert np.array_equal(found[0], wanted)
    assert np.array_equal(found[1], wanted)
