"""The rules of the house: who may import whom, and what no file of the package may do."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minicnn"

# Every room in reading order, with the rooms and the outside packages that it may import. A room
# may always import itself and the standard library. Imports run up this list only.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "shapes": (set(), {"numpy"}),
    "reference": ({"shapes"}, {"numpy"}),
    "kernels": (set(), {"numpy", "numba", "llvmlite"}),
    "memory": ({"shapes"}, {"numpy"}),
    "repeats": ({"kernels", "memory"}, {"numpy"}),
    "randomness": ({"kernels", "memory", "shapes"}, {"numpy"}),
    "ops": ({"shapes", "kernels", "reference", "memory", "randomness"}, {"numpy"}),
    "initialisers": ({"shapes"}, {"numpy"}),
    "layers": ({"ops", "memory", "randomness", "shapes", "initialisers"}, {"numpy"}),
    "losses": ({"ops", "kernels", "memory", "shapes"}, {"numpy"}),
    "optim": ({"ops", "kernels", "shapes"}, {"numpy"}),
    "tables": (set(), set()),
    "summary": ({"layers", "shapes", "tables"}, set()),
    "parameters": ({"layers", "randomness", "shapes"}, {"numpy"}),
    "archive": (set(), {"numpy"}),
    "architecture": ({"initialisers", "layers", "shapes"}, {"numpy"}),
    "workers": ({"shapes"}, set()),
    "classifier": ({"ops", "shapes"}, {"numpy"}),
    "model": (
        {
            "architecture",
            "archive",
            "classifier",
            "layers",
            "memory",
            "ops",
            "parameters",
            "randomness",
            "repeats",
            "shapes",
            "summary",
            "workers",
        },
        {"numpy"},
    ),
    "saving": ({"architecture", "archive", "model", "parameters"}, {"numpy"}),
    "shards": (
        {"kernels", "losses", "memory", "model", "randomness", "repeats", "shapes", "workers"},
        {"numpy"},
    ),
    "evaluation": (
        {"classifier", "kernels", "losses", "shapes"},
        {"numpy", "tqdm"},
    ),
    "state": ({"model", "optim", "parameters", "shapes", "shards"}, {"numpy"}),
    "health": (
        {
            "classifier",
            "evaluation",
            "layers",
            "losses",
            "model",
            "randomness",
            "shapes",
            "shards",
            "state",
            "tables",
            "workers",
        },
        {"numpy"},
    ),
    "checkpoints": ({"archive", "model", "optim", "shapes", "state"}, {"numpy"}),
    "settings": (
        {"checkpoints", "optim", "randomness", "shapes", "shards", "state"},
        {"numpy"},
    ),
    "train": (
        {
            "checkpoints",
            "classifier",
            "evaluation",
            "health",
            "kernels",
            "model",
            "optim",
            "settings",
            "shapes",
            "shards",
            "state",
            "workers",
        },
        {"numpy", "tqdm"},
    ),
    "explanation": (
        {
            "classifier",
            "layers",
            "losses",
            "model",
            "ops",
            "optim",
            "shapes",
            "state",
            "tables",
        },
        {"numpy"},
    ),
    "voting": ({"classifier", "kernels", "shapes"}, {"numpy"}),
    "data": ({"kernels", "memory", "randomness", "shapes"}, {"numpy", "pooch", "PIL"}),
    "gradcheck": ({"tables"}, {"numpy"}),
    "metrics": ({"shapes", "tables"}, {"numpy"}),
    "plots": (
        {"explanation", "layers", "metrics", "model", "shapes", "shards"},
        {"numpy", "matplotlib", "PIL"},
    ),
}

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


def test_every_file_belongs_to_a_room_that_is_listed():
    assert {room_of(path) for path in FILES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path):
    room = room_of(path)
    if room == "__init__":
        return
    rooms, outside = ROOMS[room]
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        top, *rest = name.split(".")
        if top == "minicnn":
            assert rest, f"{room} imports the whole package"
            assert rest[0] in rooms | {room}, f"{room} must not import {name}"
        else:
            assert top in outside or top in sys.stdlib_module_names, f"{room} imports {name}"


def test_imports_run_one_way():
    order = list(ROOMS)
    for room, (rooms, _) in ROOMS.items():
        assert all(order.index(other) < order.index(room) for other in rooms), room


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
    assert len(source.splitlines()) <= 300, "there is usually a second room inside"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_is_imported_in_benchmarks_and_tests_only(path):
    names = imports(ast.parse(path.read_text(encoding="utf-8")))
    assert not any(name.split(".")[0] == "torch" for name in names)


def public_callables():
    """Yield (name, callable) of every public function, method and class of the package."""
    for info in pkgutil.walk_packages(minicnn.__path__, "minicnn."):
        module = importlib.import_module(info.name)
        for name, thing in vars(module).items():
            thing = getattr(thing, "py_func", thing)  # the function inside a Numba dispatcher
            if name.startswith("_") or getattr(thing, "__module__", "") != info.name:
                continue
            if inspect.isfunction(thing):
                yield f"{info.name}.{name}", thing
            if inspect.isclass(thing):
                yield f"{info.name}.{name}", thing
                for method, function in inspect.getmembers(thing, inspect.isfunction):
                    if not method.startswith("_") and function.__module__ == info.name:
                        yield f"{info.name}.{name}.{method}", function


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
from minicnn import kernels
for name in kernels.__all__:
    assert not getattr(getattr(kernels, name), "signatures", []), name
print([name for name in ("matplotlib", "torch", "pooch", "PIL") if name in sys.modules])
import pathlib
print([p for p in opened if "minicnn" in p and pathlib.Path(p).is_file()
       and not p.endswith((".py", ".pyc"))])
""")
    assert out.split("\n")[:2] == ["[]", "[]"]


def test_what_is_exported_exists_and_is_sorted():
    assert all(hasattr(minicnn, name) for name in minicnn.__all__)
    assert len(set(minicnn.__all__)) == len(minicnn.__all__)
