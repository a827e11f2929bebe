"""minicnn/kernels/GUIDE.md: file and function names, glossary, tables."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "minicnn" / "kernels"
GUIDE = (KERNELS / "GUIDE.md").read_text(encoding="utf-8")
# A code span such as `gemm.py` or `ops/conv.py:conv2d_backward`.
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.(?:py|md))(?::([\w.]+))?[^`]*`", GUIDE)))
TERMS = (
    "MR", "NR", "microtile", "microkernel", "panel", "packing", "im2col", "col2im",
    "implicit GEMM", "minimal filtering", "Winograd F(2×2,3×3)", "scratch", "arena",
    "capture and replay", "SIMD width", "L1", "microbatch",
)  # fmt: skip
BACKENDS = {
    "reference",
    "im2col",
    "direct",
    "winograd",
    "conv (+ ReLU) + pool, sparse",
    "conv (+ ReLU) + pool, dense",
}


def rows(header):
    """Return the cells of a table's rows, by its first header cell."""
    (table,) = re.findall(rf"^\| {header} \|.*?\n\n", GUIDE, re.M | re.S)
    return [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in table.strip().splitlines()[2:]
    ]


def names(path):
    """Return the functions, classes and methods of a module."""
    kinds = ast.FunctionDef | ast.ClassDef
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, kinds)]
    methods = {
        f"{node.name}.{method.name}"
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, kinds)
    }
    return {node.name for node in nodes} | methods


@pytest.mark.parametrize(("file", "name"), REFERENCES)
def test_a_file_and_function_of_the_guide_exist(file, name):
    folders = (KERNELS, ROOT / "minicnn", ROOT)
    paths = [folder / file for folder in folders if (folder / file).is_file()]
    assert paths, f"GUIDE.md names {file}, which does not exist"
    if name:
        assert name in names(paths[0]), f"GUIDE.md names {file}:{name}, which does not exist"


def test_the_guide_names_every_kernel_module():
    modules = {str(path.relative_to(KERNELS)) for path in KERNELS.rglob("*.py")}
    missing = modules - {file for file, _ in REFERENCES} - {"__init__.py"}
    assert not missing, f"add to the reading order of GUIDE.md: {sorted(missing)}"


def test_the_table_of_gradients_has_every_backend():
    table = rows("backend")
    assert {row[0] for row in table} == BACKENDS
    assert all(len(row) == 5 and all(row) for row in table)


def test_the_glossary_is_sorted_and_has_the_terms():
    terms = [row[0] for row in rows("term")]
    assert terms == sorted(terms, key=str.lower)
    assert set(TERMS) <= set(terms)
