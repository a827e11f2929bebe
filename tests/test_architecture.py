"""The rules of the house: who may import whom, and what no file of the package may do."""

import ast
import importlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import minicnn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minicnn"

# The floors in reading order, each with the outside packages that it may import. A module imports
# its own floor and the floors above it in this list.
FLOORS: list[tuple[set[str], set[str]]] = [
    ({"shapes", "_table"}, {"numpy"}),
    ({"runtime"}, {"numpy"}),
    ({"kernels"}, {"numpy", "numba", "llvmlite"}),
    (
        {"random", "reference", "ops", "losses", "optim", "initializers", "gradcheck"},
        {"numpy"},
    ),
    ({"layers"}, {"numpy"}),
    ({"model"}, {"numpy"}),
    ({"train"}, {"numpy", "tqdm"}),
    (
        {
            "augment",
            "data",
            "diagnostics",
            "ensemble",
            "explanation",
            "metrics",
            "plots",
            "recognizer",
            "serialization",
        },
        {"numpy", "numba", "llvmlite", "matplotlib", "PIL", "pooch", "scipy"},
    ),
]
# Of the neighbors, who imports another one.
NEIGHBORS_IN_USE = {
    "plots": {"explanation", "metrics"},
    "ensemble": {"augment"},
    "recognizer": {"augment", "data"},
}
# `Sequential.save` imports `serialization` when it is called.
LAZY = {("model", "serialization")}

FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted([*(ROOT / "examples").rglob("*.py"), *FILES])


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> list[str]:
    """Every module that a file imports; ``from minicnn import a`` counts as minicnn.a."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            whole = node.module == "minicnn"
            found += [f"minicnn.{a.name}" for a in node.names] if whole else [str(node.module)]
    return found


def floor_of(name: str) -> int:
    return next(index for index, (names, _) in enumerate(FLOORS) if name in names)


def test_every_file_is_on_a_floor():
    assert {room_of(path) for path in FILES} - {"__init__"} == set().union(*(f for f, _ in FLOORS))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_to_the_same_floor_or_above(path):
    name = room_of(path)
    if name == "__init__":
        return
    own = floor_of(name)
    for module in imports(ast.parse(path.read_text(encoding="utf-8"))):
        top, *inside = module.split(".")
        if top != "minicnn":
            outside = FLOORS[own][1]
            assert top in outside or top in sys.stdlib_module_names, f"{name} imports {module}"
            continue
        assert inside, f"{name} imports the whole package"
        other = inside[0]
        assert floor_of(other) <= own or (name, other) in LAZY, f"{name} must not import {module}"
        if own == len(FLOORS) - 1 and floor_of(other) == own and other != name:
            assert other in NEIGHBORS_IN_USE.get(name, ()), f"{name} must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_does_not_print_assert_or_grow_without_end(path):
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, ast.Assert), "assert is no validation"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.keyword) and node.arg in ("fastmath", "parallel"):
            # fastmath is a set of named flags: True would delete the checks for NaN.
            assert not (isinstance(node.value, ast.Constant) and node.value.value)
    assert code_lines(source) <= 300, f"split {path.name}: it has more than 300 lines of code"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_is_imported_in_benchmarks_and_tests_only(path):
    names = imports(ast.parse(path.read_text(encoding="utf-8")))
    assert not any(name.split(".")[0] == "torch" for name in names)


def code_lines(source: str) -> int:
    """Count lines that hold code: no comments, docstrings or blank lines."""
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = set()
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*skipped, tokenize.ENDMARKER):
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def public_callables():
    """Yield (name, callable) of the public API: of `minicnn.__all__` and of the modules in it."""
    modules = [minicnn, *(m for m in vars(minicnn).values() if inspect.ismodule(m))]
    named = [m for m in modules if m is minicnn or m.__name__.split(".")[-1] in minicnn.__all__]
    for module in [*named, importlib.import_module("minicnn.plots")]:
        names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
        for name in names:
            thing = getattr(module, name)
            if not getattr(thing, "__module__", "").startswith("minicnn"):
                continue
            if inspect.isfunction(thing):
                yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                yield f"{module.__name__}.{name}", thing
                for method, function in inspect.getmembers(thing, inspect.isfunction):
                    if not method.startswith("_") and function.__module__ == thing.__module__:
                        yield f"{module.__name__}.{name}.{method}", function


def documented(docstring: str) -> list[str]:
    """Return the names in the Parameters section of a NumPy docstring."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n---|\Z)", docstring, re.M | re.S)
    names = []
    for line in section.group(1).splitlines() if section else []:
        if line and not line.startswith(" "):
            names += [name.strip().lstrip("*") for name in line.split(" : ")[0].split(",")]
    return [name.split(" ")[0] for name in names]


PUBLIC = dict(public_callables())


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_name_exactly_the_parameters(name):
    thing = PUBLIC[name]
    if inspect.isclass(thing):
        documents_itself = hasattr(thing, "_fields") or issubclass(thing, (Exception, str))
        if documents_itself or getattr(thing, "_is_protocol", False):
            assert thing.__doc__, name
            return
    docstring = inspect.getdoc(thing)
    if inspect.isfunction(thing) and not thing.__doc__:  # an override: its base documents it
        owner = vars(importlib.import_module(thing.__module__))[thing.__qualname__.split(".")[0]]
        docstring = inspect.getdoc(getattr(owner, thing.__name__))
    assert docstring, name
    wanted = [p for p in inspect.signature(thing).parameters if p != "self"]
    assert documented(docstring) == wanted


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


def test_importing_compiles_nothing_and_stays_light():
    out = run_python("""
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import minicnn, numba
import importlib, pkgutil
from minicnn import kernels
for info in pkgutil.walk_packages(kernels.__path__, "minicnn.kernels."):
    for name, kernel in vars(importlib.import_module(info.name)).items():
        assert not getattr(kernel, "signatures", []), name
print([name for name in ("matplotlib", "torch", "pooch", "PIL") if name in sys.modules])
import pathlib
print([p for p in opened if "minicnn" in p and pathlib.Path(p).is_file()
       and not p.endswith((".py", ".pyc"))])
""")
    assert out.split("\n")[:2] == ["[]", "[]"]


def test_what_is_exported_exists_and_is_sorted():
    assert all(hasattr(minicnn, name) for name in minicnn.__all__)
    assert len(set(minicnn.__all__)) == len(minicnn.__all__)
