"""Rules of the package: imports, sizes, documentation, cost of importing."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import code_lines
import fault_table
import pytest

import minicnn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minicnn"
THIS = Path(__file__).relative_to(ROOT)

# The floors in reading order, each with the outside packages that it may import. A module imports
# its own floor and the floors above it in this list.
FLOORS: list[tuple[set[str], set[str]]] = [
    ({"shapes", "table"}, {"numpy"}),
    ({"runtime"}, {"numpy", "tqdm"}),
    ({"kernels"}, {"numpy", "numba", "llvmlite"}),
    ({"random", "reference", "ops", "losses", "optim", "initializers"}, {"numpy"}),
    ({"layers"}, {"numpy"}),
    ({"model"}, {"numpy"}),
    ({"train", "gradcheck"}, {"numpy"}),
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
# The imports between neighbors.
NEIGHBOR_IMPORTS = {"plots": {"explanation", "metrics"}, "ensemble": {"augment"}}
# `Sequential.save` imports `serialization` when it is called.
LAZY = {("model", "serialization")}
MAX_CODE_LINES = 300  # of a file
# Limits of size. The margin of the core is one new layer; in NumPy it takes 31 to 38 lines.
MAX_CORE_LINES, MAX_PACKAGE_LINES, MAX_FILES = 3_000 + 60, 10_000, 100

FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted([*(ROOT / "examples").rglob("*.py"), *FILES])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> list[tuple[int, str]]:
    """Return (line, module) of every import of a file.

    ``from minicnn import a`` counts as an import of minicnn.a.
    """
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            where = f"{name_of(path)}:{node.lineno}"
            assert node.level == 0, f"{where}: make the import absolute"
            names = [f"minicnn.{alias.name}" for alias in node.names]
            modules += [
                (node.lineno, name)
                for name in (names if node.module == "minicnn" else [str(node.module)])
            ]
    return modules


def floor_of(module: str) -> int:
    """Return the position in FLOORS of a top-level module of the package."""
    positions = [index for index, (names, _) in enumerate(FLOORS) if module in names]
    assert positions, f"{THIS}: add {module!r} to the floor of FLOORS that it belongs to"
    return positions[0]


def test_every_module_of_floors_exists():
    modules = {code_lines.module_of(path) for path in FILES} - {"__init__"}
    listed = set().union(*(names for names, _ in FLOORS))
    assert not listed - modules, f"{THIS}: remove {sorted(listed - modules)} from FLOORS"
    assert not modules - listed, f"{THIS}: add {sorted(modules - listed)} to a floor of FLOORS"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_to_the_same_floor_or_to_one_above(path):
    module = code_lines.module_of(path)
    if module == "__init__":
        return
    floor, neighbors = floor_of(module), len(FLOORS) - 1
    for line, imported in imports(path):
        where, (top, *inside) = f"{name_of(path)}:{line}", imported.split(".")
        if top != "minicnn":
            allowed = top in FLOORS[floor][1] or top in sys.stdlib_module_names
            assert allowed, f"{where}: {module} must not import {top}; see FLOORS in {THIS}"
            continue
        assert inside, f"{where}: import the module that you need, not the whole package"
        other = inside[0]
        below = floor_of(other) > floor and (module, other) not in LAZY
        assert not below, f"{where}: {module} must not import {other}, which is on a later floor"
        if floor == floor_of(other) == neighbors and other != module:
            assert other in NEIGHBOR_IMPORTS.get(module, ()), (
                f"{where}: neighbor {module} must not import neighbor {other}; "
                f"move the shared code down, or list the pair in NEIGHBOR_IMPORTS of {THIS}"
            )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_package_has_no_print_assert_fastmath_or_oversized_file(path):
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), f"{where}: raise an error, python -O drops assert"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{where}: return the text, the package prints nothing"
        if isinstance(node, ast.keyword) and node.arg in ("fastmath", "parallel"):
            # fastmath=True would delete the checks for NaN; parallel=True loads in seconds.
            switched_on = isinstance(node.value, ast.Constant) and node.value.value
            assert not switched_on, f"{where}: {node.arg}=True is not allowed; name single flags"
    lines, _ = code_lines.count(source)
    assert lines <= MAX_CODE_LINES, (
        f"{name_of(path)}: split it, {lines} lines of code are more than {MAX_CODE_LINES}"
    )


def test_core_and_package_stay_small():
    files = code_lines.counts()
    core = {path: n for path, n in files.items() if code_lines.module_of(path) in code_lines.CORE}
    for thing, found, bound in (
        ("lines of code of the core", code_lines.total(core)[0], "MAX_CORE_LINES"),
        ("lines of code of the package", code_lines.total(files)[0], "MAX_PACKAGE_LINES"),
        ("files", len(files), "MAX_FILES"),
    ):
        assert found <= globals()[bound], (
            f"{found:,} {thing} are more than {globals()[bound]:,}: remove code (python "
            f"benchmarks/code_lines.py counts it), or raise {bound} in {THIS} with a reason"
        )


def test_code_lines_leave_out_docstrings_comments_and_blanks():
    source = (
        '"""A module."""\n\n# why\ndef f(\n    x,\n):\n    """Two\n    lines."""\n    return x\n'
    )
    assert code_lines.count(source) == (4, 3)
    assert code_lines.total({Path("a"): (4, 3), Path("b"): (1, 0)}) == (5, 3)


def test_code_lines_are_printed_for_core_and_package(capsys):
    assert code_lines.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(FILES) + 2
    assert lines[-1].endswith(f"package, {len(FILES)} files")


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_torch_is_imported_in_benchmarks_and_tests_only(path):
    for line, module in imports(path):
        assert module.split(".")[0] != "torch", f"{name_of(path)}:{line}: move it to benchmarks/"


def is_defined_in(module, thing):
    return getattr(thing, "__module__", None) == module.__name__


def public_callables():
    """Yield the name and object of each public function, class and method."""
    modules = [minicnn, *(m for m in vars(minicnn).values() if inspect.ismodule(m))]
    named = [m for m in modules if m is minicnn or m.__name__.split(".")[-1] in minicnn.__all__]
    for module in [*named, importlib.import_module("minicnn.plots")]:
        defined = [n for n, v in vars(module).items() if is_defined_in(module, v)]
        names = getattr(module, "__all__", [n for n in defined if not n.startswith("_")])
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
def test_public_docstrings_list_exactly_the_parameters(name):
    thing = PUBLIC[name]
    code = inspect.unwrap(thing)
    where = f"{name_of(Path(inspect.getfile(code)))}:{inspect.getsourcelines(code)[1]}: {name}"
    if inspect.isclass(thing):
        documents_itself = hasattr(thing, "_fields") or issubclass(thing, (Exception, str))
        if documents_itself or getattr(thing, "_is_protocol", False):
            assert thing.__doc__, f"{where}: add a docstring"
            return
    docstring = inspect.getdoc(thing)
    if inspect.isfunction(thing) and not thing.__doc__:  # an override: its base documents it
        owner = vars(importlib.import_module(thing.__module__))[thing.__qualname__.split(".")[0]]
        docstring = inspect.getdoc(getattr(owner, thing.__name__))
    assert docstring, f"{where}: add a docstring"
    parameters = [p for p in inspect.signature(thing).parameters if p != "self"]
    assert documented(docstring) == parameters, f"{where}: list the parameters as in the signature"


def run_python(code: str) -> list[str]:
    """Run code in a new process, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_importing_opens_no_data_file_and_imports_no_heavy_package():
    heavy, opened = run_python("""
import pathlib, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import minicnn, numba
heavy = ("matplotlib", "scipy.ndimage", "torch", "pooch", "PIL")  # Numba imports scipy itself
print([name for name in heavy if name in sys.modules])
print([p for p in opened if "minicnn" in p and pathlib.Path(p).is_file()
       and not p.endswith((".py", ".pyc"))])
""")
    assert heavy == "[]", "import these packages where they are used, inside a function"
    assert opened == "[]", "importing minicnn must read no data file"


def test_importing_compiles_no_kernel():
    (compiled,) = run_python("""
import importlib, pkgutil
from minicnn import kernels
print([
    f"{info.name}.{name}" for info in pkgutil.walk_packages(kernels.__path__, "minicnn.kernels.")
    for name, kernel in vars(importlib.import_module(info.name)).items()
    if getattr(kernel, "signatures", [])
])
""")
    assert compiled == "[]", "declare these kernels without signatures: they compile when called"


def test_exported_names_exist_once():
    missing = [name for name in minicnn.__all__ if not hasattr(minicnn, name)]
    assert not missing, f"minicnn/__init__.py: import these names, or remove them: {missing}"
    assert len(set(minicnn.__all__)) == len(minicnn.__all__), "minicnn/__init__.py: a name is twice"


def test_the_table_of_faults_is_up_to_date():
    written = fault_table.README.read_text(encoding="utf-8")
    assert written == fault_table.text(), "run python tests/fault_table.py"
