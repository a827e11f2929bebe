"""Captured kernel calls: `minicnn.kernels.capture.CallGraph`."""

import threading

import numba
import numpy as np
import pytest

from minicnn.kernels import jit
from minicnn.kernels.capture import CallGraph, CaptureError, capture, refuse_capture


@pytest.fixture(autouse=True)
def _compiled(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))


def all_types():
    """Return a kernel that writes the values of arguments of every type."""

    def show(a, b, pair, flag, whole, natural, single, double, out):
        out[0] = a[0, 1]
        out[1] = b[2]
        out[2] = pair[0] + 10 * pair[1]
        out[3] = 1 if flag else 0
        out[4] = whole
        out[5] = natural >> np.uint64(60)
        out[6] = single
        out[7] = double
        out[8] = a.shape[0] + 10 * a.shape[1]

    return jit.kernel(show)


def arguments(out):
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 8, 9], np.uint8)
    # -3, 2⁶³, and fractions that a float32 does not hold
    return a, b, (2, 3), True, -3, np.uint64(2**63), np.float32(0.1), 0.1, out


def test_arguments_of_every_type_are_passed():
    kernel, out = all_types(), np.zeros(9)
    with capture() as calls:
        kernel(*arguments(out))
    eager = out.copy()
    assert eager.tolist() == [1, 9, 32, 1, -3, 8, np.float32(0.1), 0.1, 32]
    out.fill(0)
    CallGraph(calls).replay()
    np.testing.assert_array_equal(out, eager)


def add_one():
    def add_one(x):
        x[0] += 1

    return jit.kernel(add_one)


def double():
    def double(x):
        x[0] *= 2

    return jit.kernel(double)


def test_calls_are_replayed_in_order_on_the_present_content():
    add, twice, x = add_one(), double(), np.zeros(1)
    with capture() as calls:
        add(x)
        twice(x)
        add(x)
    assert x == 3
    graph = CallGraph(calls)
    graph.replay()
    assert x == 9
    x[0] = 100
    graph.replay()
    assert x == 203


def test_a_call_graph_keeps_its_arrays_alive():
    add = add_one()
    with capture() as calls:
        add(np.zeros(1))
    graph = CallGraph(calls)
    del calls
    for _ in range(100):
        np.zeros(1)[0] = 5  # would reuse memory that was freed
        graph.replay()


def test_only_calls_of_this_thread_inside_the_block_are_captured():
    add, x = add_one(), np.zeros(1)
    add(x)
    with capture() as calls:
        other = threading.Thread(target=add, args=(x,))
        other.start()
        other.join()
        assert calls == []
        add(x)
    add(x)
    assert len(calls) == 1


def test_an_error_ends_the_capture():
    with pytest.raises(KeyError), capture():
        raise KeyError
    assert not jit.active_captures


def test_calls_that_cannot_be_captured_are_refused(monkeypatch):
    with pytest.raises(CaptureError, match="no kernel was called"):
        CallGraph([])

    def take(x, anything):
        x[0] += 1

    kernel, x = jit.kernel(take), np.zeros(1)
    with capture() as calls:
        kernel(x, 1j)
    with pytest.raises(CaptureError, match="an argument of type complex"):
        CallGraph(calls)
    with capture() as calls:
        kernel(x, 1)
    with monkeypatch.context() as changed:
        changed.setattr("minicnn.kernels.capture._argument_words", lambda value: [1, 2])
        with pytest.raises(CaptureError, match="does not take 2 words"):
            CallGraph(calls)
    # Compiled for 64 bits; the argument of 32 bits is converted.
    kernel.disable_compile()
    with capture() as calls:
        kernel(x, np.int32(1))
    with pytest.raises(CaptureError, match="not compiled for"):
        CallGraph(calls)


def test_an_op_refuses_the_capture_of_work_by_numpy():
    add, x = add_one(), np.zeros(1)
    refuse_capture("outside of a capture it has no effect")
    with capture() as calls:
        add(x)
        refuse_capture("NumPy adds the bias")
    with pytest.raises(CaptureError, match="NumPy adds the bias"):
        CallGraph(calls)
