"""Test the benchmarks: both sides compute the same, wrong results stop."""

import ast
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import augmentation
import compare
import inference
import machine
import networks
import numpy as np
import pytest
import scaling
import startup
import time_to_accuracy
import training
from compare import OtherSide, Results, Timed, check_equal
from one_process import SameProcess

import minicnn

FOLDER = Path(__file__).parents[2] / "benchmarks"


needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes minutes without JIT"
)
TINY = [("conv", 2, 3, 0), ("relu",), ("pool",), ("flatten",), ("dense", 3)]


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch):
    for script in (augmentation, inference, scaling, training):
        monkeypatch.setattr(script, "SECONDS", 0.0)


# ---------------------------------------------------------------- compare.py


def test_importing_the_scripts_imports_no_other_library():
    code = (
        "import sys, augmentation, inference, kernels, ladder, scaling, time_to_accuracy\n"
        "import training\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'onnx', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=FOLDER).returncode == 0


def test_ratios_are_above_one_if_minicnn_is_faster():
    values = compare.ratios("x", [3.0, 4.0, 10.0], [1.0, 2.0, 2.0])
    assert values == {"ratio_x": 3.0, "ratio_x_range": [2.0, 5.0]}


def test_best_of_takes_the_fastest_side_of_each_round():
    times = {"a": [3.0, 1.0, 5.0], "b": [2.0, 4.0, 6.0], "c": [0.0, 0.0, 0.0]}
    assert compare.best_of(times, ["a", "b"]) == [2.0, 1.0, 5.0]
    assert compare.medians(times, ["a", "b"]) == {"a": 3.0, "b": 4.0}


def test_milliseconds_runs_at_least_three_steps():
    calls = []
    assert Timed(lambda: calls.append(1), lambda: None).run(0) >= 0
    assert len(calls) == 3
    assert math.isfinite(compare.milliseconds(lambda: None, seconds=0.001))


def test_take_turns_alternates_the_order():
    order = []

    def runner(name):
        return lambda seconds: order.append(name) or seconds

    times = compare.take_turns({"a": runner("a"), "b": runner("b")}, 3, 0.5)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert times == {"a": [0.5] * 3, "b": [0.5] * 3}


def test_check_equal_stops_at_a_wrong_result():
    check_equal(
        "a case", "PyTorch", [1.0, 100.0], [1.001, 100.0], 1e-4
    )  # relative to the largest value
    check_equal("a case", "PyTorch", np.zeros(2), np.zeros(2), 1e-4)
    with pytest.raises(SystemExit, match=r"a case: minicnn and PyTorch differ by 0\.01 of"):
        check_equal("a case", "PyTorch", [1.0, 101.0], [1.0, 100.0], 1e-4)
    with pytest.raises(SystemExit, match=r"a case: minicnn gives \(2,\), PyTorch \(1,\)"):
        check_equal("a case", "PyTorch", [1.0, 2.0], [1.0], 1e-4)
    with pytest.raises(SystemExit, match="differ by nan"):
        check_equal("a case", "PyTorch", [math.nan], [1.0], 1e-4)


def test_other_side_is_a_process_and_reports_its_errors():
    with OtherSide() as other:
        answer, seconds = other.warmed_up("pid", Timed, os.getpid, os.getpid)
        assert answer != os.getpid()
        assert seconds > 0
        assert other.runner("pid")(0.0) >= 0
        with pytest.raises(SystemExit, match="has no attribute 'nothing'"):
            other.call("pid", "nothing")


def test_need_names_a_missing_module_and_the_command_to_install_it():
    compare.need("numpy")
    with pytest.raises(SystemExit, match=r"no_such_module is .*: pip install -e '\.\[bench\]'"):
        compare.need("no_such_module")


def test_results_are_written_after_each_case(monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "metadata", lambda: {"peak_gflops_one_core": 100})
    results = Results(tmp_path / "x.json", more=1)
    for count in (1, 2):
        results.add({"case": count})
        written = json.loads((tmp_path / "x.json").read_text())
        assert written["cases"] == [{"case": n + 1} for n in range(count)]
    assert written["machine"] == {"peak_gflops_one_core": 100}
    assert written["more"] == 1
    assert results.peak_gflops == 100
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]  # the temporary file is gone


def test_results_keep_cases_of_the_same_machine_only(monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "metadata", lambda: {"cpu": "one"})
    path = tmp_path / "x.json"
    for case in (1, 2):
        results = Results(path)
        results.keep(lambda case: case["case"] != 2)
        results.add({"case": case})
    results = Results(path)
    results.keep(lambda case: case["case"] != 2)
    assert results.cases == [{"case": 1}]
    monkeypatch.setattr(compare, "metadata", lambda: {"cpu": "another"})
    with pytest.raises(SystemExit, match="was measured with another cpu: measure all cases again"):
        Results(path).keep(lambda case: True)


def test_metadata_describes_the_machine():
    metadata = machine.metadata(peak=False)
    assert metadata["cores"] >= metadata["usable_cores"] >= 1
    assert metadata["numpy"] == np.__version__
    assert all(metadata[name] for name in ("cpu", "simd", "os", "python", "date"))
    assert machine.peak_gflops(lanes=4, steps=2, runs=2) > 0


def test_channels_first_permutes_the_rows_of_dense_weights():
    model = networks.minicnn_model(TINY)
    theirs = networks.channels_first(TINY, networks.weights_of(model))
    assert theirs[0]["weight"].shape == (2, 1, 3, 3)
    x = np.random.default_rng(0).standard_normal((13, 13, 2), np.float32)
    ours = x.ravel() @ model.layers[4].parameters["weight"]
    np.testing.assert_allclose(
        theirs[4]["weight"] @ x.transpose(2, 0, 1).ravel(), ours, rtol=1e-4, atol=1e-5
    )


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(("bias", "active"), [(10.0, 13 * 13 * 2), (-10.0, 0)])
def test_needed_gflop_counts_active_maxima(bias, active):
    model = networks.minicnn_model(TINY)
    model.layers[0].parameters["bias"][...] = bias
    conv_forward, conv_dweight = 4 * 13 * 13 * 2 * 9, active * 9
    dense = 3 * 13 * 13 * 2 * 3  # forward, dx, dweight
    expected = 2 * (conv_forward + conv_dweight + dense) / 1e9
    assert training.needed_gflop(model, 1) == pytest.approx(expected)


@needs_jit
@pytest.mark.parametrize("name", training.MODELS)
def test_training_steps_of_both_sides_agree(name):
    pytest.importorskip("torch")
    own, _, weights = training.minicnn_side(training.MODELS[name], 4, 1)
    losses = own.answer()
    assert losses[2] < losses[0]
    for variant in ("eager", "channels_last"):
        theirs = training.torch_side(training.MODELS[name], weights, 4, variant)
        # Sums in another order differ by a few float32 roundings, which grow over three steps.
        assert theirs.answer() == pytest.approx(losses, rel=1e-4)


@needs_jit
def test_a_training_case_is_complete():
    pytest.importorskip("torch")
    case = training.compare(SameProcess(), "LeNet-5", 4, 1, ("eager", "bfloat16"), 2, 100.0)
    assert case["torch_ms"].keys() == {"eager", "bfloat16"}
    assert case["warm_up_s"].keys() == {"minicnn", "eager", "bfloat16"}
    low, high = case["ratio_best_fp32_range"]
    assert low <= case["ratio_best_fp32"] <= high
    assert case["share_of_peak"] == pytest.approx(case["gflop"] / case["minicnn_ms"] * 10)
    assert training.line(case).startswith("LeNet-5, batch 4, 1 threads: minicnn ")
    with pytest.raises(SystemExit, match="LeNet-5, batch 4: minicnn and PyTorch eager differ"):
        training.compare(SameProcess(error=0.01), "LeNet-5", 4, 1, ("eager",), 2, 100.0)


# ---------------------------------------------------------------- inference


@needs_jit
def test_an_inference_case_is_complete(monkeypatch):
    for module in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(module)
    monkeypatch.setattr(inference, "MICROBATCH", 2)  # a batch of 3 makes two chunks
    other, variants = SameProcess(), ("contiguous", "channels_last", "in pieces")
    case = inference.compare(other, other, 3, 1, variants, 2)
    assert tuple(case["torch_ms"]) == variants
    assert case["ratio_onnxruntime_range"][0] <= case["ratio_onnxruntime"]
    with pytest.raises(SystemExit, match="batch 3: minicnn and ONNX Runtime differ"):
        inference.compare(other, SameProcess(error=0.01), 3, 1, variants[:1], 2)


# ---------------------------------------------------------------- time to accuracy


class Learner:
    """A side that gains a percentage point a chunk; a step takes a second."""

    def __init__(self, start, loss=1.0):
        self.right, self.loss = start, loss

    def train(self, plan):
        self.right += 1
        return len(plan), self.loss

    def accuracy(self):
        return self.right / 100


def test_plan_reads_every_image_once_an_epoch_at_a_positive_rate():
    plan = time_to_accuracy.plan_for(3, 600, epochs=2)
    assert [len(batch) for batch, _ in plan] == [128, 128, 128, 128, 88] * 2
    for epoch in (plan[:5], plan[5:]):
        seen = np.concatenate([batch for batch, _ in epoch])
        np.testing.assert_array_equal(np.sort(seen), np.arange(600))
    assert all(0 < rate <= time_to_accuracy.PEAK_RATE for _, rate in plan)
    assert time_to_accuracy.learning_rate(time_to_accuracy.WARMUP) == time_to_accuracy.PEAK_RATE


def test_race_trains_each_side_up_to_the_target(monkeypatch):
    monkeypatch.setattr(time_to_accuracy, "CHUNK", 20)
    plan = [(np.arange(3), 0.1)] * 90
    sides = {"minicnn": Learner(96), "PyTorch": Learner(95)}
    case = time_to_accuracy.case_of(7, time_to_accuracy.race(sides, plan, 0.99), 45)
    assert case["minicnn"] == {
        "seconds": 60, "steps": 60, "reached": True, "accuracy": 0.99, "epochs": 60 / 45
    }  # fmt: skip
    assert case["PyTorch"]["steps"] == 80
    assert case["ratio"] == pytest.approx(80 / 60)
    late = time_to_accuracy.race({"minicnn": Learner(96), "PyTorch": Learner(0)}, plan, 0.99)
    missed = time_to_accuracy.case_of(8, late, 45)
    assert missed["ratio"] is None
    totals = time_to_accuracy.summary([case, missed])
    assert (totals["seeds"], totals["reached"], totals["torch_s"]) == (2, 1, 80)
    assert time_to_accuracy.summary([missed]) == {"seeds": 1, "reached": 0}


def test_check_same_start_stops_at_different_losses():
    sides = {"minicnn": Learner(0), "PyTorch": Learner(0, loss=1.1)}
    with pytest.raises(SystemExit, match="first steps: minicnn and PyTorch differ"):
        time_to_accuracy.check_same_start(sides, [(np.arange(3), 0.1)] * 2)


@needs_jit
def test_trainings_of_both_sides_agree(monkeypatch):
    pytest.importorskip("torch")
    sample = minicnn.load_mnist_sample()
    data = sample._replace(test_images=sample.test_images[:50], test_labels=sample.test_labels[:50])
    monkeypatch.setattr(time_to_accuracy, "load", lambda folder, limit: data)
    sides = time_to_accuracy.prepared(SameProcess(), data, None, None, seed=1)
    plan = [(np.arange(i, i + 8), 0.001) for i in range(3)]
    time_to_accuracy.check_same_start(sides, plan)
    assert sides["minicnn"].accuracy() == pytest.approx(sides["PyTorch"].accuracy(), abs=0.05)


# ---------------------------------------------------------------- startup


def test_startup_code_imports_names_that_exist():
    for node in ast.walk(ast.parse(startup.MINICNN)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


# ---------------------------------------------------------------- augmentation


def test_every_transform_is_measured():
    chosen = augmentation.augmentations()
    nothing = chosen.pop("nothing: Augment()")
    assert chosen.pop("Augment.digits()") == minicnn.Augment.digits()
    assert all(augment != nothing for augment in chosen.values())


@needs_jit
def test_share_is_relative_to_the_step_without_augmentation():
    case = augmentation.measure("erase", minicnn.Augment(erase=0.5), 1, rounds=1, batch=2)
    assert case["share"] == case["with_ms"] / case["without_ms"] - 1
    assert case["strengths"] == {"erase": 0.5}
    assert "erase, threads 1: " in augmentation.line(case)


# ---------------------------------------------------------------- scaling


def test_sweep_returns_growth_and_memory():
    cases = [scaling.Case(size=size, channels=2, batch=2) for size in (4, 64)]
    first, second = scaling.sweep("image size", cases, rounds=2)
    assert "ratio_growth" not in first
    assert second["work_growth"] == 256.0
    assert 4 * first["peak_bytes"] < second["peak_bytes"]
    assert "256.00 the work" in scaling.line(second)
    threads = [scaling.Case(4, 2, 2, threads) for threads in (1, 2)]
    assert "times as fast" in scaling.line(scaling.sweep("threads", threads, rounds=2)[1])
