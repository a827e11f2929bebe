"""examples/own_backend.py, and its benchmark beside PyTorch."""

import importlib
import os
import re
import sys
from pathlib import Path

import kernels
import pytest
from kernel_cases import conv
from one_process import SameProcess

from minicnn.ops.conv import BACKENDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_backend.py"


class OtherSide(SameProcess):
    def __enter__(self):
        return self

    def __exit__(self, *error): ...


@pytest.fixture
def own_backend():
    module = importlib.import_module("own_backend")
    BACKENDS["own"] = module
    yield module
    BACKENDS.pop("own", None)
    sys.modules.pop("own_backend")


def test_the_example_is_exact_and_passes_its_gradient_check(own_backend, capsys):
    assert own_backend.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("equal to the reference") == 3
    assert "own" in printed
    assert "FAILED" not in printed


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("direction", ["forward", "dx", "dweight"])
def test_a_backend_is_timed_beside_auto_and_pytorch(own_backend, monkeypatch, direction, threads):
    pytest.importorskip("torch")
    monkeypatch.setattr(kernels, "SECONDS", 0.0)
    case = conv("small", (5, 6, 2), 3, (3, 2), stride=2, padding=(1, 0))
    found = kernels.compare(
        SameProcess(), case, direction, 2, 100.0, images=3, backend="own", threads=threads
    )
    assert list(found["backends_ms"]) == ["own"]
    assert found["threads"] == threads
    assert ", own " in kernels.line(found)


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="measures the peak of a core"
)
def test_the_benchmark_imports_the_module_and_selects_cases(monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr(kernels, "SECONDS", 0.0)
    monkeypatch.setattr(kernels, "OtherSide", OtherSide)
    monkeypatch.setattr(kernels, "CONVOLUTIONS", (conv("tiny", (3, 3, 1), 2, 2),))
    options = ["--module", str(EXAMPLE), "--backend", "own", "--rounds", "2", "--case", "tiny"]
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        assert kernels.main(options) == 0
    finally:
        BACKENDS.pop("own", None)
        sys.modules.pop("own_backend")
    printed = capsys.readouterr().out
    assert [line.split(":")[0] for line in printed.splitlines()[:3]] == [
        f"conv, tiny, {direction}" for direction in ("forward", "dx", "dweight")
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "other"], "--backend must be one of direct, .*, not other"),
        (["--case", "nothing"], "no case has 'nothing' in its name"),
    ],
)
def test_the_benchmark_rejects_an_unknown_backend_or_case(options, message, capsys):
    with pytest.raises(SystemExit):
        kernels.main(options)
    assert re.search(message, capsys.readouterr().err)
