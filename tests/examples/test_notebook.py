"""The notebooks run in a new kernel and store their outputs."""

import ast
import base64
import importlib.util
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "digits.ipynb"
LESSONS = sorted((EXAMPLES / "lessons").glob("*.ipynb"))
RUNNER = Path(__file__).parents[1] / "data" / "run_notebook.py"

# A kernel takes seconds to start; test_lessons.py runs the lessons without one.
EACH_IN_A_KERNEL = [NOTEBOOK, *(pytest.param(path, marks=pytest.mark.slow) for path in LESSONS)]

each = pytest.mark.parametrize("path", [NOTEBOOK, *LESSONS], ids=lambda path: path.stem)
needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="trains, which takes long without"
)


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def kinds(cell):
    """Return the types of a cell's outputs."""
    return [(output["output_type"], sorted(output.get("data", {}))) for output in cell["outputs"]]


def written(cell):
    """Return the text in a cell's outputs."""
    texts = []
    for output in cell["outputs"]:
        texts += output.get("text", []) + output.get("data", {}).get("text/plain", [])
    return "".join(texts)


@each
def test_every_cell_has_stored_outputs(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        source = "".join(cell["source"])
        ends_in_an_expression = isinstance(ast.parse(source).body[-1], ast.Expr)
        assert bool(kinds(cell)) or not ends_in_an_expression, source
        for output in cell["outputs"]:
            assert output["output_type"] in ("stream", "execute_result"), source
            assert output.get("name") != "stderr", source  # a warning


@each
def test_stored_outputs_name_no_machine(path):
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert whole["metadata"]["language_info"] == {"name": "python"}
    for cell in whole["cells"]:
        assert cell["metadata"] == {}
    for cell in code_cells(path):
        text = written(cell) + "".join(cell["source"])
        assert not re.search(r"(?<![\w.])/\w+/|[A-Z]:\\|~/|Warning|Compiling", text), text


@each
def test_figures_have_an_opaque_white_background(path):
    for cell in code_cells(path):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                png = base64.b64decode("".join(output["data"]["image/png"]))
                paper = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
                edges = [paper[0], paper[-1], paper[:, 0], paper[:, -1]]
                assert all((edge == 255).all() for edge in edges), "".join(cell["source"])


def test_the_notebook_has_its_stated_length():
    cells = code_cells(NOTEBOOK)
    assert 10 <= len(cells) <= 16
    for cell in cells:
        source = "".join(cell["source"])
        assert kinds(cell), source
        assert ("image/png" in str(kinds(cell))) == ("plots." in source), source
    assert NOTEBOOK.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("name", "call"),
    [("confusion-matrix", "plots.confusion_matrix("), ("own-digits", "titles=names")],
)
def test_the_figures_of_the_readme_are_the_notebooks(name, call):
    (cell,) = [c for c in code_cells(NOTEBOOK) if call in "".join(c["source"])]
    stored = base64.b64decode("".join(cell["outputs"][0]["data"]["image/png"]))
    assert (NOTEBOOK.parent / "pictures" / f"{name}.png").read_bytes() == stored


@needs_jit
def test_its_code_runs_without_a_kernel(monkeypatch):
    cells = ["".join(cell["source"]) for cell in code_cells(NOTEBOOK)]
    code = "\n".join(cells)
    assert code.count("epochs=15,") == 1
    monkeypatch.chdir(NOTEBOOK.parent)
    exec(compile(code.replace("epochs=15,", "epochs=1,"), NOTEBOOK.name, "exec"), {})


@needs_jit
@pytest.mark.parametrize("path", EACH_IN_A_KERNEL, ids=lambda path: path.stem)
def test_it_runs_in_a_new_kernel(path, monkeypatch, tmp_path):
    for name in ("nbclient", "ipykernel"):
        pytest.importorskip(name, reason="needs pip install -e '.[notebook]'")
    spec = importlib.util.spec_from_file_location("run_notebook", RUNNER)
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # no one's own settings
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    before = sorted(path.parent.rglob("*"))
    cells = [cell for cell in runner.run(path).cells if cell.cell_type == "code"]
    for cell, stored in zip(cells, code_cells(path), strict=True):
        assert kinds(cell) == kinds(stored), cell.source
    assert sorted(path.parent.rglob("*")) == before  # it leaves no files behind
