"""Thread pools: order of results, errors, nested calls."""

import os
import subprocess
import sys
import threading
import time

import pytest

from minicnn.runtime import thread_pool
from minicnn.runtime.thread_pool import ThreadPool


def test_the_default_is_one_thread_per_usable_core(monkeypatch):
    assert ThreadPool().threads == thread_pool.cpu_count() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert thread_pool.cpu_count() == os.cpu_count()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_have_the_order_of_the_items(threads):
    several = ThreadPool(threads)
    assert several.map(lambda item: item * item, range(20)) == [i * i for i in range(20)]
    assert several.map(str, []) == []
    assert several.map(str, ["alone"]) == ["alone"]


def test_the_calling_thread_works_too():
    barrier = threading.Barrier(2, timeout=60)

    def wait_and_return_thread(item):
        barrier.wait()
        return threading.current_thread()

    found = ThreadPool(2).map(wait_and_return_thread, range(2))
    assert threading.main_thread() in found
    assert len(set(found)) == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_no_thread_begins_an_item_after_an_error(threads):
    started = []

    def fails(item):
        started.append(item)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item"):
        ThreadPool(threads).map(fails, range(100))
    assert len(started) <= threads


def test_an_error_of_another_thread_is_raised():
    barrier = threading.Barrier(2, timeout=60)

    def fails_elsewhere(item):
        barrier.wait()
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("over there")

    with pytest.raises(ValueError, match="over there"):
        ThreadPool(2).map(fails_elsewhere, range(2))


@pytest.mark.parametrize("wrong", [0, -1])
def test_less_than_one_thread_is_rejected(wrong):
    with pytest.raises(ValueError, match=f"ThreadPool: threads must be at least 1, not {wrong}"):
        ThreadPool(wrong)


def test_a_map_inside_a_map_needs_no_free_thread():
    several = ThreadPool(2)

    def job(item):
        return sum(several.map(lambda inner: inner + item, range(3)))

    assert several.map(job, range(4)) == [3, 6, 9, 12]


def test_maps_inside_a_map_use_no_more_threads_than_the_pool_has():
    several = ThreadPool(2)

    def wait_and_return_thread(item):
        time.sleep(0.01)  # an idle thread would take the next item
        return threading.current_thread()

    found = several.map(lambda item: several.map(wait_and_return_thread, range(4)), range(2))
    assert len({thread for threads in found for thread in threads}) <= 2


def test_shared_pools_are_the_same_for_the_same_number():
    two = thread_pool.shared_pool(2)
    assert two is thread_pool.shared_pool(2)
    assert two is not thread_pool.shared_pool(3)
    with pytest.raises(TypeError, match="ThreadPool: threads must be a whole number"):
        thread_pool.shared_pool(2.0)


# ---------------------------------------------------------------- no helper to be had

AFTER_THE_MAIN_THREAD = """
import atexit, threading
import numpy as np
import minicnn
from minicnn import Conv2D, Dense, Flatten, ReLU, Sequential

rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (80, 6, 6), np.uint8), rng.integers(0, 3, 80)

def train_and_predict():
    layers = [Conv2D(4, 3), ReLU(), Flatten(), Dense(3)]
    model = Sequential(layers, input_shape=(6, 6, 1))
    minicnn.fit(model, images, labels, epochs=1, batch_size=40, threads=3, progress=False)
    return model.parameters.tobytes() + model.predict_proba(images, threads=3).tobytes()

expected = train_and_predict()

def run(where):
    print(where, train_and_predict() == expected, flush=True)

def outlive():
    threading.main_thread().join()
    run("thread")

atexit.register(run, "atexit")
threading.Thread(target=outlive).start()
"""


def test_a_thread_that_outlives_the_main_one_and_atexit_train_and_predict():
    command = [sys.executable, "-c", AFTER_THE_MAIN_THREAD]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["thread True", "atexit True"]


def test_a_pool_without_its_threads_leaves_the_work_to_the_calling_thread():
    several = ThreadPool(3)
    several.map(str, range(9))
    several._helpers.shutdown()
    found = several.map(lambda item: (item, threading.current_thread()), range(9))
    assert found == [(item, threading.main_thread()) for item in range(9)]


def test_work_without_a_future_is_not_begun(monkeypatch):
    # As where the system refuses another thread: the work is queued, then submit raises.
    two, queued, main = ThreadPool(2), [], threading.main_thread()
    submit = two._helpers.submit

    def queues_and_raises(*work):
        queued.append(submit(*work))
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(two._helpers, "submit", queues_and_raises)

    def job(item):
        if threading.current_thread() is main:
            queued[0].result(timeout=60)  # until then the helper could take each other item
        return threading.current_thread()

    assert two.map(job, range(9)) == [main] * 9
