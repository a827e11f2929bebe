"""Running statistics and random layers, tested with minimal layers."""

from dataclasses import dataclass

import numpy as np
import pytest

from minicnn import (
    SGD,
    Adam,
    Dense,
    Flatten,
    Layer,
    NonFiniteError,
    ReLU,
    Sequential,
    fit,
    load_model,
)
from minicnn.random import RandomKey, random_bits
from minicnn.train.data_parallel import BatchGradient, split_batch


@dataclass(eq=False, repr=False)
class Centered(Layer):
    """Subtract the batch mean in training, the running mean at inference."""

    momentum: float = 0.25

    def statistics_shapes(self, input_shape):
        return {"mean": input_shape}

    def build(self, input_shape, rng, dtype=np.float32):
        self.statistics = {"mean": np.zeros(input_shape, dtype)}

    def forward(self, x, *, key=None):
        mean = self.statistics["mean"] if key is None else x.mean(axis=0)
        return x - mean, mean

    def backward(self, dy, cache, *, need_dx=True, gradients=None):
        return dy - dy.mean(axis=0), {}

    def batch_statistics(self, cache):
        return {"mean": cache}

    def statistics_momentum(self):
        return {"mean": self.momentum}


@dataclass(eq=False, repr=False)
class Shaken(Layer):
    """Flip signs at random in training."""

    def forward(self, x, *, key=None):
        if key is None:
            return x, 1
        epoch = np.asarray(key.epoch).item()
        words = random_bits(key.philox_key, "noise", epoch, key.image_ids, x[0].size)
        signs = np.where(words[:, : x[0].size].reshape(x.shape) < 0, -1, 1).astype(x.dtype)
        return x * signs, signs

    def backward(self, dy, cache, *, need_dx=True, gradients=None):
        return dy * cache, {}


def small_model(**options):
    layers = [Flatten(), Centered(), Dense(5), ReLU(), Shaken(), Centered(0.5), Dense(3)]
    return Sequential(layers, input_shape=(2, 2, 1), **options)


@pytest.fixture
def digits():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (40, 2, 2), np.uint8), rng.integers(0, 3, 40)


def train(digits, model=None, **options):
    model = small_model() if model is None else model
    chosen = {"epochs": 3, "batch_size": 20, "progress": False, "seed": 5, **options}
    return model, fit(model, *digits, **chosen)


# ---------------------------------------------------------------- statistics


def test_statistics_are_views_of_one_vector():
    model = small_model(dtype=np.float64)
    assert model.statistics.dtype == np.float64
    assert model.statistics.tolist() == [0] * 9
    assert small_model().layers[0].statistics == {}
    model.statistics[-1] = 7
    assert model.layers[5].statistics["mean"].tolist() == [0] * 4 + [7]


def test_batch_statistics_are_those_of_the_microbatch():
    model = small_model()
    x = np.random.default_rng(1).random((6, 2, 2, 1), np.float32)
    logits, caches = model.forward(x, key=RandomKey(0, 0, np.arange(6)))
    batch_statistics = model.batch_statistics(caches)
    assert batch_statistics[:4].tolist() == x.mean(axis=0).ravel().tolist()
    assert batch_statistics[4:].tolist() == caches[4].tolist()
    given = np.zeros_like(batch_statistics)
    assert model.batch_statistics(caches, given) is given
    assert given.tolist() == batch_statistics.tolist()
    assert not np.array_equal(logits, model.forward(x)[0])


def test_running_statistics_are_updated_in_order_with_momentum():
    model = small_model()
    rows = np.arange(18, dtype=np.float32).reshape(2, 9)
    model.update_statistics(rows)
    m = np.repeat([0.25, 0.5], [4, 5])
    assert model.statistics.tolist() == (m * rows[0] + m * (rows[1] - m * rows[0])).tolist()


@pytest.mark.parametrize("count", [1, 16, 17, 32, 33, 65, 100, 128, 129])
def test_microbatches_differ_by_at_most_one_image(count):
    sizes = [len(shard) for shard in split_batch(np.arange(count))]
    assert np.concatenate(split_batch(np.arange(count))).tolist() == list(range(count))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 32
    assert len(sizes) == (1 if count <= 16 else max(2, -(-count // 32)))


def test_a_batch_gives_statistics_of_each_microbatch(digits):
    model = small_model()
    # 600 images, 19 microbatches: more than are added in one call.
    images = np.tile(digits[0], (15, 1, 1))
    run_batch = BatchGradient(model, images, np.tile(digits[1], 15), threads=2)
    batch = np.arange(600)
    rows = run_batch(batch).batch_statistics
    assert rows.shape == (19, 9)
    for row, shard in zip(rows, split_batch(batch), strict=True):
        x = model.preprocess(images[shard])
        assert row[:4].tolist() == x.mean(axis=0).ravel().tolist()


def test_inference_uses_the_running_statistics_of_training(digits):
    model, _ = train(digits, epochs=20, optimizer=SGD(0.01))
    mean = model.preprocess(digits[0]).mean(axis=0).ravel()
    assert model.layers[1].statistics["mean"] == pytest.approx(mean, abs=0.15)
    x = model.preprocess(digits[0][:1])
    y, _ = model.layers[1].forward(x.reshape(1, 4))
    assert np.array_equal(y[0], x.ravel() - model.statistics[:4])


def test_a_nonfinite_step_does_not_update_statistics(digits):
    model = small_model()
    model.layers[6].parameters["weight"][...] = 3e38
    with pytest.raises(NonFiniteError, match=r"Epoch 1/3, batch 1: the output of layer 7"):
        train(digits, model)
    assert not model.statistics.any()


def test_nonfinite_batch_statistics_stop_the_training(digits):
    class Blind(Centered):
        def batch_statistics(self, cache):
            return {"mean": np.full_like(cache, np.inf)}

    model = Sequential([Flatten(), Blind(), Dense(3)], input_shape=(2, 2, 1))
    with pytest.raises(NonFiniteError, match="no layer on its own"):
        train(digits, model)
    assert not model.statistics.any()


@pytest.mark.parametrize("threads", [2, 4])
def test_the_number_of_threads_does_not_change_a_bit(digits, threads):
    one, history = train(digits, threads=1)
    other, same = train(digits, threads=threads)
    assert other.parameters.tobytes() == one.parameters.tobytes()
    assert other.statistics.tobytes() == one.statistics.tobytes()
    assert same == history


@pytest.mark.parametrize("options", [{"patience": 2}, {}])
def test_a_resumed_training_gives_the_same_bytes(digits, tmp_path, monkeypatch, options):
    whole, history = train(digits, **options)
    path, original = tmp_path / "checkpoint.npz", BatchGradient.__call__
    seen = []

    def stop(self, batch, epoch=0):
        seen.append(epoch)
        if epoch == 2:
            raise KeyboardInterrupt
        return original(self, batch, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(BatchGradient, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            train(digits, checkpoint=path, **options)
    resumed, same = train(digits, checkpoint=path, resume=True, **options)
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()
    assert resumed.statistics.tobytes() == whole.statistics.tobytes()
    assert same == history


def test_patience_restores_the_statistics_of_the_best_weights(digits):
    def trained(**options):
        return train(digits, optimizer=Adam(0.05), validation_split=0.3, **options)

    best, history = trained(epochs=12, patience=12)
    number = history["val_loss"].index(min(history["val_loss"])) + 1
    assert number < 12
    until, _ = trained(epochs=number)
    assert best.statistics.tobytes() == until.statistics.tobytes()


def test_statistics_are_saved_with_the_model(digits, tmp_path):
    model = Sequential([Flatten(), Dense(3), Centered(0.5)], input_shape=(2, 2, 1))
    train(digits, model)
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as arrays:
        assert sorted(arrays) == ["1.bias", "1.weight", "2.mean", "description"]
    again = load_model(tmp_path / "model.npz")
    assert again.statistics.tobytes() == model.statistics.tobytes()
    assert again.statistics.any()
    assert np.array_equal(again.predict_proba(digits[0]), model.predict_proba(digits[0]))


# ---------------------------------------------------------------- randomness


def test_keys_differ_by_seed_and_path_only():
    draws = RandomKey(3, 7, np.arange(4))
    assert draws.fold_in(2).fold_in(0) == RandomKey(3, 7, draws.image_ids, (2, 0))
    keys = [
        draws.philox_key,
        *(draws.fold_in(i).philox_key for i in range(9)),
        draws.fold_in(1).fold_in(2).philox_key,
    ]
    keys += [
        draws.fold_in(0).fold_in(0).philox_key,
        RandomKey(4, 7, draws.image_ids, (2, 0)).philox_key,
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**64 for key in keys)
    assert (
        RandomKey(3, 8, np.arange(2), (5,)).philox_key == draws.fold_in(5).philox_key
    )  # those go to the counter


def test_a_key_requires_a_valid_seed():
    with pytest.raises(ValueError, match="seed must be at least 0, not -1"):
        assert RandomKey(-1, 0, np.arange(1)).philox_key
