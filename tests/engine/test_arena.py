"""The arena: scratch arrays of a step, reused by the next step."""

import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minicnn import Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential
from minicnn.runtime import arena
from minicnn.train.data_parallel import BatchGradient


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def _fresh_arena(monkeypatch):
    monkeypatch.setattr(arena, "_local", arena._Local())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5, 7)])
def test_arrays_begin_at_a_cache_line(shape, dtype):
    for _ in range(3):
        with arena.scope():
            for _ in range(2):
                array = arena.empty(shape, dtype)
                assert (array.shape, array.dtype) == (shape, dtype)
                assert address(array) % arena.CACHE_LINE == 0
        assert address(arena.empty(shape, dtype)) % arena.CACHE_LINE == 0


def test_the_second_scope_reuses_the_memory_of_the_first():
    def two():
        with arena.scope():
            return arena.empty((10,), np.float32), arena.empty((3,), np.float64)

    two()  # the arena grows
    first, second = two()
    again, once_more = two()
    assert address(first) == address(again)
    assert address(second) == address(once_more)
    assert not np.shares_memory(first, second)


def test_steps_in_turn_get_their_own_arrays_again():
    def step(size):
        with arena.scope():
            return [arena.empty((size,), np.float32), arena.empty((2,), np.float64)]

    step(100)  # the arena grows
    first, other = step(100), step(50)
    for size, arrays in ((100, first), (50, other), (100, first)):
        assert [array.shape for array in arrays] == [(size,), (2,)]
        assert all(a is b for a, b in zip(step(size), arrays, strict=True))


def test_scratch_memory_is_known_by_offset():
    for overflowed in (True, False):
        with arena.scope():
            start = arena.top()
            array = arena.empty((3,), np.float32)
            stop = arena.top()
            assert arena.overflowed() is overflowed
    memory = arena.memory(start, stop)
    array[...] = 1
    assert memory.size == arena.CACHE_LINE
    assert memory[:12].view(np.float32).tolist() == [1, 1, 1]


def test_the_number_of_cached_allocations_is_limited(monkeypatch):
    monkeypatch.setattr(arena, "MAX_CACHED", 3)
    for _ in range(2):
        with arena.scope():
            for size in range(1, 6):
                arena.empty((size,), np.float32)
    assert len(arena._local.arena.cached) <= 3


def test_constant_zeros_are_shared():
    zeros = arena.constant_zeros(3, np.dtype(np.float32))
    assert zeros.tolist() == [0, 0, 0]
    assert arena.constant_zeros(3, np.dtype(np.float32)) is zeros


def test_outside_of_a_scope_each_array_has_its_own_memory():
    with arena.scope():
        arena.empty((10,), np.float32)
    with arena.scope():
        inside = arena.empty((10,), np.float32)
    outside, another = (arena.empty((10,), np.float32) for _ in range(2))
    assert not np.shares_memory(inside, outside)
    assert not np.shares_memory(another, outside)


def test_a_scope_inside_a_scope_has_no_effect():
    with arena.scope():
        arena.empty((100,), np.float32)
    with arena.scope():
        first = arena.empty((10,), np.float32)
        with arena.scope():
            second = arena.empty((10,), np.float32)
        third = arena.empty((10,), np.float32)
    assert len({address(array) for array in (first, second, third)}) == 3


def test_an_error_ends_the_scope():
    with pytest.raises(ValueError, match="stop"), arena.scope():
        raise ValueError("stop")
    assert not arena._local.arena.active


def test_each_thread_has_its_own_arena():
    def twice(_):
        for _ in range(2):
            with arena.scope():
                array = arena.empty((1000,), np.float32)
        return address(array)

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(twice, 0).result() != other.submit(twice, 0).result()


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes minutes without JIT")
@pytest.mark.parametrize("batch", [32, 96])
def test_a_training_step_allocates_no_memory_after_the_first_steps(batch):
    layers = [Conv2D(16, 3), ReLU(), MaxPool2D(2), Conv2D(16, 3, padding=1), Flatten(), Dense(10)]
    model = Sequential(layers, input_shape=(12, 12, 1))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 12, 12, 1), dtype=np.uint8)
    run_batch = BatchGradient(model, images, rng.integers(0, 10, batch), threads=1)
    whole = np.arange(batch)
    for _ in range(5):  # the arena grows, steps are captured
        run_batch(whole)
    scratch = arena._local.arena.top  # the scratch memory of one microbatch
    tracemalloc.start()
    run_batch(whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    image_bytes = 32 * 12 * 12 * 4
    assert peak < scratch / 4 + 4 * image_bytes
