"""The workspace: arrays of a step, kept from one step to the next."""

import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minicnn import Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import ThreadPool
from minicnn.train.data_parallel import DataParallelGradient


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def _fresh_buffer(monkeypatch):
    monkeypatch.setattr(arena, "_local", arena._Local())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5, 7)])
def test_arrays_begin_at_a_line_of_the_cache(shape, dtype):
    for _ in range(3):
        with arena.scope():
            for array in (arena.empty(shape, dtype), arena.zeros(shape, dtype)):
                assert (array.shape, array.dtype) == (shape, dtype)
                assert address(array) % arena.CACHE_LINE == 0
        assert address(arena.empty(shape, dtype)) % arena.CACHE_LINE == 0


def test_zeros_are_zeros_where_something_was_before():
    for _ in range(3):
        with arena.scope():
            array = arena.zeros((4, 4), np.float32)
            assert not array.any()
            array[...] = 1


def test_from_the_second_time_on_the_same_memory_is_used():
    def two():
        with arena.scope():
            return arena.empty((10,), np.float32), arena.empty((3,), np.float64)

    two()  # makes known what is needed
    first, second = two()
    again, once_more = two()
    assert address(first) == address(again)
    assert address(second) == address(once_more)
    assert not np.shares_memory(first, second)


def test_different_steps_in_turn_get_the_same_arrays_again_each():
    def step(size):
        with arena.scope():
            arena.empty((size,), np.float32)
            arena.empty((2,), np.float64)
            return arena.allocations()

    assert step(100) == []  # makes known what is needed
    first, other = step(100), step(50)
    for size, wanted in ((100, first), (50, other), (100, first)):
        assert [array.shape for array in wanted] == [(size,), (2,)]
        assert all(a is b for a, b in zip(step(size), wanted, strict=True))


def test_so_many_requests_are_kept_and_no_more(monkeypatch):
    monkeypatch.setattr(arena, "MAX_CACHED", 3)
    for _ in range(2):
        with arena.scope():
            for size in range(1, 6):
                arena.empty((size,), np.float32)
    assert len(arena._local.buffer.known) <= 3


def test_lasting_zeros_are_made_once():
    zeros = arena.constant_zeros(3, np.dtype(np.float32))
    assert zeros.tolist() == [0, 0, 0]
    assert arena.constant_zeros(3, np.dtype(np.float32)) is zeros


def test_outside_of_a_workspace_every_array_has_its_own_memory():
    with arena.scope():
        arena.empty((10,), np.float32)
    with arena.scope():
        inside = arena.empty((10,), np.float32)
    outside, another = (arena.empty((10,), np.float32) for _ in range(2))
    assert not np.shares_memory(inside, outside)
    assert not np.shares_memory(another, outside)


def test_a_workspace_inside_another_changes_nothing():
    with arena.scope():
        arena.empty((100,), np.float32)
    with arena.scope():
        first = arena.empty((10,), np.float32)
        with arena.scope():
            second = arena.empty((10,), np.float32)
        third = arena.empty((10,), np.float32)
    assert len({address(array) for array in (first, second, third)}) == 3


def test_an_error_ends_the_workspace():
    with pytest.raises(ValueError, match="stop"), arena.scope():
        raise ValueError("stop")
    assert not arena._local.buffer.active


def test_each_thread_has_its_own():
    def twice(_):
        for _ in range(2):
            with arena.scope():
                array = arena.empty((1000,), np.float32)
        return address(array)

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(twice, 0).result() != other.submit(twice, 0).result()


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes minutes without JIT")
@pytest.mark.parametrize("batch", [32, 96])
def test_a_training_step_takes_no_new_memory_after_the_first_ones(batch):
    layers = [Conv2D(16, 3), ReLU(), MaxPool2D(2), Conv2D(16, 3, padding=1), Flatten(), Dense(10)]
    model = Sequential(layers, input_shape=(12, 12, 1))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 12, 12, 1), dtype=np.uint8)
    gradient_of = DataParallelGradient(
        model, images, rng.integers(0, 10, batch), ThreadPool("test", 1)
    )
    whole = np.arange(batch)
    for _ in range(5):  # which tape repeats a shard is known then
        gradient_of(whole)
    wanted = arena._local.buffer.wanted  # of one shard: what is used again and again
    tracemalloc.start()
    gradient_of(whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    images_of_a_shard = 32 * 12 * 12 * 4
    assert peak < wanted / 4 + 4 * images_of_a_shard
