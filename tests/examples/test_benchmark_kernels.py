"""The kernel benchmarks: both sides compute the same, and its report."""

import json

import kernels
import kernels_minicnn
import ladder
import numpy as np
import pytest
from kernel_cases import CONVOLUTIONS, Case, arrays, conv, copy_bandwidth, peak_bytes
from one_process import SameProcess

import minicnn


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    for script in (kernels, ladder):
        monkeypatch.setattr(script, "SECONDS", 0.0)


SMALL = (
    conv("small", (5, 6, 2), 3, (3, 2), stride=2, padding=(1, 0)),
    Case("conv + ReLU + pool", "small", 6, 5, 2, 3, 3, 3),
    Case("conv + ReLU + pool", "one channel", 6, 5, 1, 3, 3, 3),
    Case("pool", "small", 6, 5, 3, stride=2),
    Case("average pool", "small", 6, 5, 3, 0, 3, 3),
    Case("global average", "small", 3, 2, 2),
    Case("depthwise", "small", 6, 5, 3, 0, 3, 3, 2, (1, 1)),
    Case("ReLU", "small", 3, 2, 2),
    Case("norm", "small", 3, 2, 5),
    Case("norm + ReLU", "small", 3, 2, 5),
    Case("dense", "small", 1, 1, 6, 3, 1, 1),
    Case("loss", "small", 1, 1, 4),
)
DIRECTIONS = [(case, d) for case in SMALL for d in kernels.directions(case)]
IDS = [f"{case.operation} {direction}" for case, direction in DIRECTIONS]


def test_there_are_convolutions_of_many_kinds():
    assert len({case[2:] for case in CONVOLUTIONS}) == len(CONVOLUTIONS) >= 20


def test_numbers_are_whole_and_the_same_each_time():
    first, again = arrays(SMALL[0], 2), arrays(SMALL[0], 2)
    assert list(first) == ["x", "weight", "bias", "dy"]
    for name, array in first.items():
        np.testing.assert_array_equal(array, np.round(again[name]))
    assert first["dy"].shape == (2, *SMALL[0].output, 3)


@pytest.mark.parametrize("direction", ["forward", "dx", "dweight"])
def test_all_backends_give_the_same(direction):
    wanted = kernels_minicnn.minicnn_side(SMALL[0], direction, "reference", 2).answer()
    for backend in ("auto", *kernels_minicnn.backends(SMALL[0])):
        found = kernels_minicnn.minicnn_side(SMALL[0], direction, backend, 2).answer()
        kernels.check_all("small", backend, wanted[: len(found)], found)


@pytest.mark.parametrize(("case", "direction"), DIRECTIONS, ids=IDS)
def test_a_case_of_the_kernels_has_its_figures(case, direction):
    pytest.importorskip("torch")
    found = kernels.compare(SameProcess(), case, direction, 2, 100.0, images=2)
    assert found["torch_ms"].keys() == set(kernels.LAYOUTS)
    assert set(found["peak_bytes"]) >= {"minicnn", *kernels.LAYOUTS}
    assert (found["gflop"] is None) == (case.F == 0)
    assert json.loads(json.dumps(found))["direction"] == direction
    assert direction in kernels.line(found)
    with pytest.raises(SystemExit, match=rf"{case.name}, {direction}: minicnn and PyTorch"):
        kernels.compare(SameProcess(error=0.01), case, direction, 2, 100.0, images=2)


def test_adam_takes_the_same_step_on_both_sides(monkeypatch):
    pytest.importorskip("torch")
    import kernels_torch

    monkeypatch.setattr(kernels_torch, "REFERENCE_CNN_SIZES", (3, 4))
    found = kernels.compare(SameProcess(), Case("Adam", "small", 1, 1, 7), "step", 2, 100.0)
    assert found["gflop"] is None


def test_the_work_of_a_convolution_is_counted_in_each_direction():
    case = conv("", (5, 5, 2), 3, 3)
    macs = 2 * 3 * 3 * 3 * 3 * 3 * 2
    for direction in ("forward", "dx", "dweight"):
        assert kernels_minicnn.gflop(case, direction, 2) == 2 * macs / 1e9
    assert kernels_minicnn.gflop(Case("ReLU", "", 3, 3, 2), "forward") is None


def test_the_backend_that_a_user_gets_is_named():
    small, wide = conv("", (8, 8, 2), 3, 5), conv("", (8, 8, 32), 32, 3)
    assert kernels_minicnn.auto_backend(small) == "direct"
    assert kernels_minicnn.auto_backend(wide) in kernels_minicnn.backends(wide)
    assert kernels_minicnn.auto_backend(SMALL[1]) in kernels_minicnn.backends(SMALL[1])
    assert kernels_minicnn.auto_backend(SMALL[3]) is None
    assert kernels_minicnn.backends(SMALL[3]) == ()


def test_an_answer_outlives_the_memory_that_steps_share():
    side = kernels_minicnn.minicnn_side(SMALL[0], "forward", images=2)
    side.step()
    first = side.answer()[0]
    kept = first.copy()
    with minicnn.runtime.arena.scope():
        minicnn.runtime.arena.empty(first.shape, first.dtype).fill(0)
    np.testing.assert_array_equal(first, kept)


def test_bytes_are_those_of_each_array_once():
    case = conv("", (5, 5, 2), 3, 3)
    x, weight, bias, y = 2 * 50, 54, 3, 2 * 27
    assert kernels_minicnn.bytes_moved(case, "forward", 2) == 4 * (x + weight + bias + y)
    assert kernels_minicnn.bytes_moved(case, "dweight", 2) == 4 * (x + weight + bias + y)
    assert kernels_minicnn.bytes_moved(case, "dx", 2) == 4 * (x + weight + y)
    dense = Case("dense", "", 1, 1, 6, 3, 1, 1)  # x and dx, weight and dweight, dbias, dy
    assert kernels_minicnn.bytes_moved(dense, "backward", 2) == 4 * (2 * 12 + 2 * 18 + 3 + 6)
    assert copy_bandwidth(megabytes=1, runs=2) > 0


@pytest.mark.parametrize("quick", [False, True])
def test_all_steps_of_the_ladder_return_the_same(quick):
    pytest.importorskip("torch")
    found = ladder.compare(SameProcess(), SMALL[1]._replace(C=2), 2, quick=quick, images=2)
    assert len(found) == 9 - quick
    plain_ms = None if quick else found[0]["ms"]
    for case in found[1 - quick :]:
        assert case["ratio_torch"] > 0
        assert case["times_faster"] == (None if quick else plain_ms / case["ms"])
        assert ladder.line(case).startswith(f"{case['step']}: ")
    with pytest.raises(SystemExit, match="the ladder: minicnn and PyTorch, contiguous differ"):
        ladder.compare(SameProcess(error=0.01), SMALL[1], 2, quick=quick, images=2)


def test_the_compiled_loops_are_those_of_the_reference():
    data = arrays(SMALL[1], 2)
    inputs = data["x"], data["weight"], data["bias"]
    wanted, _ = minicnn.reference.conv.conv2d(*inputs)
    np.testing.assert_array_equal(ladder.seven_loops(*inputs), wanted)


def test_the_reference_is_left_out_where_it_takes_long():
    assert kernels.reference_ms(SMALL[0], "forward")["reference_ms"] > 0
    assert kernels.reference_ms(conv("", (64, 64, 64), 64, 3), "dx")["reference_ms"] is None
    assert kernels.reference_ms(SMALL[3], "forward") == {}


def test_the_summary_has_geometric_means_and_what_is_slower():
    def case(operation, direction, ratio):
        return {
            "operation": operation, "name": "x", "direction": direction, "ratio_best": ratio
        }  # fmt: skip

    cases = [case("conv", "dx", 2.0), case("conv", "dx", 0.5), case("pool", "forward", 0.9)]
    assert kernels.summary(cases) == {
        "geometric_mean": {"dx": pytest.approx(1.0)},
        "slower": ["conv, x, dx: 0.50", "pool, x, forward: 0.90"],
    }


def test_peak_memory_leaves_the_result_out():
    def step():
        scratch = np.zeros(1_000_000, np.uint8)
        return scratch[:10].copy(), np.zeros(500_000, np.uint8)

    assert peak_bytes(step) == pytest.approx(1_000_000, abs=10_000)
