"""What the benchmarks compare is the same on both sides."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "training.py"
spec = importlib.util.spec_from_file_location("training", PATH)
training = importlib.util.module_from_spec(spec)
spec.loader.exec_module(training)  # imports no PyTorch


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes minutes without JIT")
@pytest.mark.parametrize("name", training.MODELS)
def test_both_sides_take_the_same_steps(name):
    pytest.importorskip("torch")
    specs = training.MODELS[name]
    step, weights = training.minicnn_step(specs, 4, 1)
    losses = [step() for _ in range(3)]
    assert losses[2] < losses[0]
    for variant in ("eager", "channels_last"):
        theirs = training.torch_step(specs, weights, 4, variant)
        # float32 sums in other orders: some units in the last place, grown over three steps
        assert [theirs() for _ in range(3)] == pytest.approx(losses, rel=1e-4)


def test_ratios_are_above_one_where_we_are_faster():
    found = training.ratios("x", [3.0, 4.0, 10.0], [1.0, 2.0, 2.0])
    assert found == {"ratio_x": 3.0, "ratio_x_range": [2.0, 5.0]}


def test_the_fastest_of_at_least_three_steps_counts():
    calls = []
    assert training.milliseconds(lambda: calls.append(1) or 0.0, seconds=0) >= 0
    assert len(calls) == 3
    assert np.isfinite(training.milliseconds(lambda: 0.0, seconds=0.001))
