"""Work that becomes a tape once it is proven: `minicnn.kernels.capture`."""

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

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
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
)
from minicnn.kernels import capture, jit
from minicnn.kernels.capture import ReplayCache
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import ThreadPool
from minicnn.train.data_parallel import DataParallelGradient

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="plain Python has no tapes"
)


@pytest.fixture(autouse=True)
def _fresh_buffer(monkeypatch):
    monkeypatch.setattr(arena, "_local", arena._Local())


@pytest.fixture
def scale(monkeypatch, tmp_path):
    """A kernel: ``y = factor · x``."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def scale(x, factor, y):
        for i in range(x.size):
            y[i] = factor * x[i]

    return jit.kernel(scale)


class Job:
    """Work on four numbers: how often Python did it, and how it is done now."""

    def __init__(self, body):
        self.body, self.repeats, self.out, self.done = body, ReplayCache(), np.zeros(4), 0

    def __call__(self, x, kind=""):
        with arena.scope():
            numbers = arena.empty((4,), np.float64)
            numbers[...] = x

            def work():
                self.done += 1
                between = arena.empty((4,), np.float64)
                self.body(numbers, between, self.out)
                return between

            between = self.repeats.run(work, kind, (numbers,), (self.out,))
            return between.tolist(), self.out.tolist()

    @property
    def way(self):
        return {repeat.run.__name__ for repeat in self.repeats._known.values()}


def test_work_of_kernels_alone_becomes_a_tape(scale):
    def body(x, between, out):
        scale(x, 2.0, between)
        scale(between, 3.0, out)

    job = Job(body)
    for number in range(8):
        assert job(number) == ([2 * number] * 4, [6 * number] * 4)
    assert job.way == {"_play"}
    assert job.done < 8
    done = job.done
    job(9)
    assert job.done == done


def test_bytes_too_are_arrays_of_the_workspace(scale):
    def body(x, between, out):
        whole = arena.empty((4,), np.uint8)
        scale(x, 2.0, whole)
        scale(whole, 1.0, out)
        scale(x, 1.0, between)

    job = Job(body)
    for number in range(8):
        assert job(number) == ([number] * 4, [2 * number] * 4)
    assert job.way == {"_play"}


def fresh_array(scale):
    """Return work that hands a kernel an array that NumPy makes."""

    def body(x, between, out):
        scale(x + 1, 2.0, between)
        scale(between, 1.0, out)

    return body


def numpy_between(scale):
    """Return work that writes to the workspace by NumPy."""

    def body(x, between, out):
        np.add(x, 1, out=between)
        scale(between, 2.0, out)

    return body


def numpy_behind(scale):
    """Return work that writes its result by NumPy."""

    def body(x, between, out):
        scale(x, 2.0, between)
        out[...] = between

    return body


def sums_up(scale):
    """Return work whose kernels count on NumPy's zeros."""

    def add(x, y):
        for i in range(x.size):
            y[i] += x[i]

    add = jit.kernel(add)

    def body(x, between, out):
        between.fill(0)
        add(x, between)
        scale(between, 1.0, out)

    return body


def another_number_each_time(scale):
    numbers = iter(range(100))

    def body(x, between, out):
        scale(x, float(next(numbers)), between)
        scale(x, 1.0, out)

    return body


@pytest.mark.parametrize(
    "of", [fresh_array, numpy_between, numpy_behind, sums_up, another_number_each_time]
)
def test_other_work_is_done_in_python_for_good(scale, of):
    job, wanted = Job(of(scale)), of(scale)
    for number in range(10):
        between, out = np.zeros(4), np.zeros(4)
        wanted(np.full(4, float(number)), between, out)
        assert job(number) == (between.tolist(), out.tolist())
    assert job.done == 10
    assert job.way == {"_run_eagerly"}


def test_work_without_a_kernel_is_done_in_python(scale):
    def body(x, between, out):
        between[...] = out[...] = x

    job = Job(body)
    for number in range(4):
        assert job(number) == ([number] * 4, [number] * 4)
    assert job.way == {"_run_eagerly"}


def test_with_other_arrays_work_is_recorded_anew(scale):
    def body(x, between, out):
        scale(x, 2.0, between)
        scale(x, 3.0, out)

    job = Job(body)
    for number in range(6):
        job(number)
    job.out = np.zeros(4)
    for number in range(3):
        assert job(number) == ([2 * number] * 4, [3 * number] * 4)
    assert job.way == {"_play"}
    assert len(job.repeats._known) == 2


def test_each_thread_and_each_kind_has_a_tape_of_its_own(scale):
    def body(x, between, out):
        scale(x, 2.0, between)
        scale(x, 3.0, out)

    job = Job(body)
    for kind in ("a", "b"):
        for number in range(6):
            job(number, kind)
    assert len(job.repeats._known) == 2
    with ThreadPoolExecutor(1) as other:
        for number in range(4):  # its workspace has no room for all at first
            wanted = [2 * number] * 4, [3 * number] * 4
            assert other.submit(job, number, "a").result() == wanted
    assert len(job.repeats._known) == 3
    assert job.way == {"_play"}


def test_so_many_kinds_are_kept_and_no_more(scale, monkeypatch):
    monkeypatch.setattr(capture, "MAX_ENTRIES", 3)
    job = Job(lambda x, between, out: scale(x, 2.0, out))
    for kind in range(5):
        job(1, kind)
    assert len(job.repeats._known) <= 3


def test_copies_begin_without_tapes(scale):
    job = Job(lambda x, between, out: scale(x, 2.0, between))
    job(1)
    assert job.repeats._known
    assert copy.deepcopy(job.repeats)._known == {}
    assert pickle.loads(pickle.dumps(job.repeats))._known == {}


# ---------------------------------------------------------------- networks


def conv_norm(filters, size=3):
    return [Conv2D(filters, size, padding="same", bias=False), BatchNorm(), ReLU()]


# What stands in a network, and how its shards are done in the end: where some of the work is
# NumPy's, that may depend on the CPU.
NETWORKS = {
    "convolutions and pools": ([Conv2D(16, 3), ReLU(), MaxPool2D(2), Conv2D(16, 3)], "_play"),
    "odd channels": ([Conv2D(3, 3), ReLU(), Conv2D(5, 5, padding=1), MaxPool2D(2)], None),
    "norms": ([*conv_norm(16), *conv_norm(16), MaxPool2D(2)], "_play"),
    "branches": ([*conv_norm(16), Residual(conv_norm(16)), Concat([[], conv_norm(16)])], "_play"),
    "depthwise": ([DepthwiseConv2D(3), Conv2D(8, 1), ReLU(), AvgPool2D(2)], None),
    "dropout": ([Conv2D(8, 3), ReLU(), Dropout(0.3)], "_run_eagerly"),
}


def trained(layers, threads, augment=None):
    """Take ten steps; return the weights, and how shards were done in the end."""
    layers = copy.deepcopy(layers)
    model = Sequential([*layers, Flatten(), Dense(5)], input_shape=(12, 12, 1), seed=3)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 12, 12, 1), dtype=np.uint8)
    labels = rng.integers(0, 5, 200)
    optimizer = Adam(0.01)
    with ThreadPool("test", threads) as workers:
        gradient_of = DataParallelGradient(model, images, labels, workers, augment, seed=1)
        for step in range(24):
            # the last batch of an epoch is smaller
            found = gradient_of(rng.permutation(200)[: 48 if step % 6 else 20], epoch=step // 6)
            optimizer.step(model.parameters, found.gradient)
    ways = {repeat.run.__name__ for repeat in gradient_of._repeats._known.values()}
    return model.parameters.copy(), ways, model, images


@needs_jit
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("augment", [None, Augment(rotation=10.0)], ids=["", "augmented"])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_the_same_bytes_with_and_without_tapes(monkeypatch, name, augment, threads):
    layers, way = NETWORKS[name]
    weights, ways, model, images = trained(layers, threads, augment)
    if way:
        assert way in ways
    read = [model.infer(model.preprocess(images[:50]), threads=threads) for _ in range(5)]

    monkeypatch.setattr(capture, "MAX_CAPTURES", 1)  # which is too few for any tape
    wanted, ways, model, _ = trained(layers, threads, augment)
    assert ways == {"_run_eagerly"}
    np.testing.assert_array_equal(weights, wanted)
    for logits in read:
        np.testing.assert_array_equal(logits, model.infer(model.preprocess(images[:50])))


@needs_jit
def test_reading_sees_weights_that_were_changed_or_put_in_the_place_of_others():
    model = Sequential([Conv2D(4, 3), ReLU(), Flatten(), Dense(3)], input_shape=(6, 6, 1))
    x = model.preprocess(np.random.default_rng(0).integers(0, 256, (2, 6, 6, 1), dtype=np.uint8))
    for _ in range(6):
        before = model.infer(x)
    assert {repeat.run.__name__ for repeat in model._repeats._known.values()} == {"_play"}
    model.parameters *= 2
    assert not np.array_equal(model.infer(x), before)
    dense = model.layers[-1]
    dense.parameters = {name: np.zeros_like(own) for name, own in dense.parameters.items()}
    for _ in range(6):
        assert not model.infer(x).any()
    again = copy.deepcopy(model)
    assert again._repeats._known == {}
    assert not again.infer(x).any()
