"""Captured and replayed steps: `minicnn.kernels.capture.ReplayCache`."""

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import pytest

from minicnn import (
    Adam,
    Augment,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    ops,
)
from minicnn.kernels import capture, jit
from minicnn.kernels.capture import ReplayCache, ReplayError
from minicnn.runtime import arena
from minicnn.train.data_parallel import BatchGradient

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="plain Python calls no kernels"
)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Begin with an empty arena; verify each replay."""
    monkeypatch.setattr(arena, "_local", arena._Local())
    monkeypatch.setenv("MINICNN_VERIFY_REPLAY", "1")


@pytest.fixture
def scale(monkeypatch, tmp_path):
    """Return a kernel: ``y = factor · x``."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def scale(x, factor, y):
        for i in range(x.size):
            y[i] = factor * x[i]

    return jit.kernel(scale)


class Job:
    """A step on four elements that counts its eager runs."""

    def __init__(self, body, replayable=True):
        self.body, self.cache = body, ReplayCache(replayable)
        self.out, self.eager_runs = np.zeros(4), 0

    def __call__(self, x, key="job"):
        with arena.scope():
            values = arena.empty((4,), np.float64)
            values[...] = x

            def work():
                self.eager_runs += 1
                between = arena.empty((4,), np.float64)
                self.body(values, between, self.out)
                return between

            between = self.cache.run(work, key, (values,), (self.out,))
            return between.tolist(), self.out.tolist()

    @property
    def graphs(self):
        return [entry.graph for entry in self.cache._entries.values()]


def chain(scale):
    """Return a body of two kernel calls: ``out = 6 · x``."""

    def body(x, between, out):
        scale(x, 2.0, between)
        scale(between, 3.0, out)

    return body


def test_a_step_is_captured_once_and_then_replayed(scale, monkeypatch):
    monkeypatch.delenv("MINICNN_VERIFY_REPLAY")
    job = Job(chain(scale))
    for value in range(8):
        assert job(value) == ([2 * value] * 4, [6 * value] * 4)
    # The arena grows, the step is captured, and one replay is compared with an eager run.
    assert job.eager_runs == 3
    assert len(job.graphs) == 1


def test_a_step_that_is_not_replayable_runs_eagerly(scale):
    job = Job(chain(scale), replayable=False)
    for value in range(4):
        assert job(value) == ([2 * value] * 4, [6 * value] * 4)
    assert job.eager_runs == 4
    assert job.graphs == []


def test_arrays_of_bytes_are_replayed_too(scale):
    def body(x, between, out):
        whole = arena.empty((4,), np.uint8)
        scale(x, 2.0, whole)
        scale(whole, 1.0, out)
        scale(x, 1.0, between)

    job = Job(body)
    for value in range(8):
        assert job(value) == ([value] * 4, [2 * value] * 4)
    assert None not in job.graphs


def test_a_step_that_refuses_capture_runs_eagerly(scale):
    def body(x, between, out):
        scale(x, 2.0, between)
        capture.refuse_capture("NumPy writes the result")
        out[...] = between

    job = Job(body)
    for value in range(4):
        assert job(value) == ([2 * value] * 4, [2 * value] * 4)
    assert job.eager_runs == 4
    assert job.graphs == [None]


def test_a_step_without_kernels_runs_eagerly(scale):
    def body(x, between, out):
        between[...] = out[...] = x

    job = Job(body)
    for value in range(4):
        assert job(value) == ([value] * 4, [value] * 4)
    assert job.eager_runs == 4


def test_other_arrays_are_captured_again(scale):
    job = Job(chain(scale))
    for value in range(6):
        job(value)
    first = job.out
    job.out = np.zeros(4)
    for value in range(3):
        assert job(value) == ([2 * value] * 4, [6 * value] * 4)
    assert first.tolist() == [30] * 4
    assert len(job.graphs) == 2


def test_each_thread_and_each_key_has_its_own_graph(scale):
    job = Job(chain(scale))
    for key in ("a", "b"):
        for value in range(6):
            job(value, key)
    assert len(job.graphs) == 2
    with ThreadPoolExecutor(1) as other:
        for value in range(4):  # its arena is too small at first
            assert other.submit(job, value, "a").result() == ([2 * value] * 4, [6 * value] * 4)
    assert len(job.graphs) == 3


def test_the_number_of_graphs_is_limited(scale, monkeypatch):
    monkeypatch.setattr(capture, "MAX_ENTRIES", 3)
    job = Job(chain(scale))
    for key in range(6):
        job(1, key)
        assert len(job.graphs) <= 3


def test_copies_begin_without_graphs(scale):
    job = Job(chain(scale))
    job(1)
    job(1)
    assert job.graphs
    for again in (copy.deepcopy(job.cache), pickle.loads(pickle.dumps(job.cache))):
        assert again._entries == {}
        assert again.replayable


def test_a_step_inside_a_captured_step_is_part_of_it(scale):
    inner = ReplayCache(True)

    def body(x, between, out):
        scale(x, 2.0, between)
        inner.run(lambda: scale(between, 3.0, out), "inner", (between,), (out,))

    job = Job(body)
    for value in range(4):
        assert job(value) == ([2 * value] * 4, [6 * value] * 4)
    assert None not in job.graphs


# ---------------------------------------------------------------- verification


def adds_by_numpy(scale, offset):
    """Return a body that adds an offset by NumPy, wrongly declared."""

    def body(x, between, out):
        scale(x, 2.0, between)
        scale(between, 1.0, out)
        out += offset

    return body


def test_verification_names_the_step_whose_replay_differs(scale):
    job = Job(adds_by_numpy(scale, np.ones(4)))
    job(0)
    job(0)
    message = r"the replay of \('my step', 4\) differs from an eager run: an op or a layer"
    job(0, ("my step", 4))
    with pytest.raises(ReplayError, match=message):
        job(0, ("my step", 4))


def test_verification_compares_every_replay(scale):
    offset = np.zeros(4)
    job = Job(adds_by_numpy(scale, offset))
    for _ in range(3):
        job(1)  # adding 0 changes no bit
    offset += 5
    with pytest.raises(ReplayError, match="the replay of job differs"):
        job(1)


def test_the_first_replay_of_a_network_is_compared_and_a_difference_warned_of_once(
    scale, monkeypatch
):
    monkeypatch.delenv("MINICNN_VERIFY_REPLAY")
    # A Numba with another calling convention: the kernel gets another factor.
    words = capture._argument_words
    monkeypatch.setattr(
        capture, "_argument_words", lambda value: words(9.0 if value == 2.0 else value)
        if isinstance(value, float) else words(value),
    )  # fmt: skip
    job = Job(chain(scale))
    assert job(1) == job(1) == ([2] * 4, [6] * 4)
    message = f"without replay, .* the replay of job differs .* instead of {numba.__version__}"
    with pytest.warns(RuntimeWarning, match=message) as warned:
        assert job(1) == ([2] * 4, [6] * 4)
    assert len(warned) == 1
    for value in range(5):
        assert job(value) == ([2 * value] * 4, [6 * value] * 4)


def test_a_layer_wrongly_declared_replayable_is_found_after_other_networks(scale, monkeypatch):
    monkeypatch.delenv("MINICNN_VERIFY_REPLAY")
    right, wrong = Job(chain(scale)), Job(adds_by_numpy(scale, np.ones(4)))
    for value in range(3):
        assert right(value) == ([2 * value] * 4, [6 * value] * 4)
    wrong(0)
    with pytest.warns(RuntimeWarning, match="If a layer of your own sets replayable = True"):
        wrong(1)
    for value in range(3):
        assert wrong(value) == ([2 * value] * 4, [2 * value + 1] * 4)


def test_a_numba_without_the_functions_that_capture_uses_runs_eagerly(scale, monkeypatch):
    def gone(kernel):
        raise AttributeError("no attribute 'fndesc'")

    monkeypatch.setattr(capture, "_signature", gone)
    monkeypatch.setattr(capture, "_trampolines", {})
    job = Job(chain(scale))
    job(1)
    message = r"cannot be captured \(AttributeError: no attribute 'fndesc'\)"
    with pytest.warns(RuntimeWarning, match=message):
        job(1)
    assert job(2) == ([4] * 4, [12] * 4)


# ---------------------------------------------------------------- networks


def conv_norm(filters, size=3):
    return [Conv2D(filters, size, padding="same", bias=False), BatchNorm(), ReLU()]


# Layers of a network, and whether its steps can be captured.
NETWORKS = {
    "convolutions and pools": ([Conv2D(16, 3), ReLU(), MaxPool2D(2), Conv2D(16, 3)], True),
    "odd channels": ([Conv2D(3, 3), ReLU(), Conv2D(5, 5, padding=1), MaxPool2D(2)], True),
    "overlapping pools": ([Conv2D(3, 3), MaxPool2D(3, stride=2), AvgPool2D(2, stride=1)], True),
    "norms": ([*conv_norm(16), *conv_norm(16), MaxPool2D(2)], True),
    "branches": ([*conv_norm(16), Residual(conv_norm(16)), Concat([[], conv_norm(16)])], True),
    "depthwise": ([DepthwiseConv2D(3), Conv2D(8, 1), ReLU(), AvgPool2D(2)], True),
    "dropout": ([Conv2D(16, 3), ReLU(), Dropout(0.3)], True),
    "global pool": ([*conv_norm(16), GlobalAvgPool2D()], True),
    "strides": ([Conv2D(16, 3, stride=2), Conv2D(16, 2, stride=(1, 2), padding=1)], True),
    "wide padding": ([Conv2D(16, 3, padding=4), Conv2D(16, 2, padding=2)], True),
    "winograd": ([Conv2D(16, 3), Conv2D(16, 3, padding=1, backend="winograd"), ReLU()], True),
    "im2col": ([Conv2D(16, 3, backend="im2col"), Conv2D(8, 3, backend="im2col")], True),
    "reference": ([MaxPool2D(6), Conv2D(2, 2, backend="reference")], False),
}


def train(layers, threads, augment=None):
    """Take steps of two sizes; return weights, graphs, model and images."""
    flatten = [] if isinstance(layers[-1], GlobalAvgPool2D) else [Flatten()]
    model = Sequential([*copy.deepcopy(layers), *flatten, Dense(5)], (12, 12, 1), seed=3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 12, 12, 1), dtype=np.uint8)
    labels = rng.integers(0, 5, 200)
    optimizer = Adam(0.01)
    run_batch = BatchGradient(model, images, labels, augment, seed=1, threads=threads)
    for step in range(24):
        # the last batch of an epoch is smaller
        result = run_batch(rng.permutation(200)[: 48 if step % 6 else 20], epoch=step // 6)
        optimizer.step(model.parameters, result.gradient)
        model.update_statistics(result.batch_statistics)
    graphs = [entry.graph for entry in run_batch._replay_cache._entries.values()]
    return model.parameters.copy(), graphs, model, images


@needs_jit
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("augment", [None, Augment(rotation=10.0)], ids=["", "augmented"])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_the_same_bytes_with_and_without_replay(monkeypatch, name, augment, threads):
    layers, capturable = NETWORKS[name]
    weights, graphs, model, images = train(layers, threads, augment)
    assert graphs
    assert all((graph is not None) is capturable for graph in graphs)
    logits = [model.infer(model.preprocess(images[:50]), threads=threads) for _ in range(5)]

    monkeypatch.setattr(Sequential, "replayable", False)
    eager, graphs, model, _ = train(layers, threads, augment)
    assert graphs == []
    np.testing.assert_array_equal(weights, eager)
    for found in logits:
        np.testing.assert_array_equal(found, model.infer(model.preprocess(images[:50])))


@needs_jit
def test_dropout_draws_new_masks_in_each_epoch_of_a_replay():
    model = Sequential([Flatten(), Dropout(0.5), Dense(5)], input_shape=(4, 4, 1))
    images = np.full((8, 4, 4, 1), 255, np.uint8)
    run_batch = BatchGradient(model, images, np.zeros(8, int), threads=1)
    batch = np.arange(8)
    gradients = [run_batch(batch, epoch).gradient.copy() for epoch in (0, 0, 0, 1, 1, 0)]
    assert None not in [entry.graph for entry in run_batch._replay_cache._entries.values()]
    for same in (1, 2, 5):
        np.testing.assert_array_equal(gradients[same], gradients[0])
    np.testing.assert_array_equal(gradients[3], gradients[4])
    assert not np.array_equal(gradients[3], gradients[0])
    # Masks belong to images, not to positions; float32 sums are in another order.
    reversed_batch = run_batch(batch[::-1], 0).gradient
    np.testing.assert_allclose(reversed_batch, gradients[0], rtol=1e-5, atol=1e-7)


@needs_jit
def test_inference_reads_weights_that_were_changed_or_replaced():
    model = Sequential([Conv2D(4, 3), ReLU(), Flatten(), Dense(3)], input_shape=(6, 6, 1))
    x = model.preprocess(np.random.default_rng(0).integers(0, 256, (2, 6, 6, 1), dtype=np.uint8))
    for _ in range(6):
        before = model.infer(x)
    assert model._replay_cache._entries
    model.parameters *= 2
    assert not np.array_equal(model.infer(x), before)
    dense = model.layers[-1]
    dense.parameters = {name: np.zeros_like(own) for name, own in dense.parameters.items()}
    for _ in range(6):
        assert not model.infer(x).any()
    again = copy.deepcopy(model)
    assert again._replay_cache._entries == {}
    assert not again.infer(x).any()


# ---------------------------------------------------------------- a layer of one's own


@dataclass(eq=False, repr=False)
class ShiftedReLU(ReLU):
    """A ReLU plus a learned offset, which NumPy adds in place."""

    def parameter_shapes(self, input_shape):
        return {"offset": (input_shape[-1],)}

    def build(self, input_shape, rng, dtype=np.float32):
        self.parameters = {"offset": np.zeros(input_shape[-1], dtype)}

    def forward(self, x, *, key=None):
        y, cache = ops.relu(x)
        y += self.parameters["offset"]
        return y, cache


def shifted(layer):
    return Sequential([Conv2D(8, 3), layer, Flatten(), Dense(10)], input_shape=(12, 12, 1))


def test_a_subclass_of_a_replayable_layer_runs_eagerly():
    # The offset starts at 0, as biases do: while it is 0, a replay without it looks right.
    model = shifted(ShiftedReLU())
    assert not model.replayable
    images = np.random.default_rng(0).integers(0, 256, (32, 12, 12, 1), dtype=np.uint8)
    x = model.preprocess(images)
    for _ in range(6):
        before = model.infer(x, threads=1)
    model.layers[1].parameters["offset"][...] = 5.0
    after = model.infer(x, threads=1)
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(after, model.forward(x)[0])


@needs_jit
def test_verification_finds_a_layer_that_is_wrongly_declared_replayable():
    class Declared(ShiftedReLU):
        replayable = True

    model = shifted(Declared())
    assert model.replayable
    x = np.ones((2, 12, 12, 1), np.float32)
    model.layers[1].parameters["offset"][...] = 5.0
    for _ in range(2):  # the arena grows, the step is captured
        model.infer(x, threads=1)
    with pytest.raises(ReplayError, match=r"the replay of \('inference', 2\) differs"):
        model.infer(x, threads=1)


def test_a_subclass_of_the_model_runs_eagerly():
    class Own(Sequential):
        pass

    assert Sequential([ReLU()], input_shape=(2, 2, 1)).replayable
    assert not Own([ReLU()], input_shape=(2, 2, 1)).replayable
