"""Several threads share a job, and nothing is lost when one fails."""

import os
import threading

import pytest

from minicnn.runtime import thread_pool
from minicnn.runtime.thread_pool import ThreadPool


def test_default_threads_are_the_cores_that_may_be_used(monkeypatch):
    assert ThreadPool("test").threads == thread_pool.cpu_count() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert thread_pool.cpu_count() == os.cpu_count()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_pieces(threads):
    with ThreadPool("test", threads) as several:
        assert several.map(lambda piece: piece * piece, range(20)) == [i * i for i in range(20)]
        assert several.map(str, []) == []
        assert several.map(str, ["alone"]) == ["alone"]


def test_the_calling_thread_is_one_of_them():
    both_are_here = threading.Barrier(2, timeout=60)

    def meet(piece):
        both_are_here.wait()
        return threading.current_thread()

    with ThreadPool("test", 2) as two:
        assert threading.main_thread() in (found := two.map(meet, range(2)))
        assert len(set(found)) == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_error_nobody_begins_another_piece(threads):
    begun = []

    def fails(piece):
        begun.append(piece)
        raise ValueError(f"piece {piece}")

    with ThreadPool("test", threads) as several, pytest.raises(ValueError, match="piece"):
        several.map(fails, range(100))
    assert len(begun) <= threads


def test_an_error_of_another_thread_arrives():
    both_are_here = threading.Barrier(2, timeout=60)

    def fails_elsewhere(piece):
        both_are_here.wait()
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("over there")

    with ThreadPool("test", 2) as two, pytest.raises(ValueError, match="over there"):
        two.map(fails_elsewhere, range(2))


@pytest.mark.parametrize("wrong", [0, -1])
def test_there_is_at_least_one(wrong):
    with pytest.raises(ValueError, match=f"fit: threads must be at least 1, not {wrong}"):
        ThreadPool("fit", wrong)


def test_a_job_inside_another_needs_no_free_thread():
    several = ThreadPool("test", 2)

    def job(piece):
        return sum(several.map(lambda inner: inner + piece, range(3)))

    assert several.map(job, range(4)) == [3, 6, 9, 12]


def test_workers_that_last_are_the_same_for_the_same_number():
    two = thread_pool.shared_pool("test", 2)
    assert two is thread_pool.shared_pool("test", 2)
    assert two is not thread_pool.shared_pool("test", 3)
    with pytest.raises(TypeError, match="test: threads must be a whole number"):
        thread_pool.shared_pool("test", 2.0)
