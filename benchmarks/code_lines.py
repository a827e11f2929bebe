"""Count the lines of code of the package.

    python benchmarks/code_lines.py

Prints the lines of code and of docstrings of each file, and their sums for core and package.
Comments and blank lines count as neither.
"""

import ast
import io
import tokenize
from pathlib import Path

from script import run_script

PACKAGE = Path(__file__).resolve().parents[1] / "minicnn"
# The modules to read first: without the engine (runtime, kernels) and the neighbors.
CORE = (
    "shapes", "reference", "ops", "layers", "losses", "optim", "model", "train", "gradcheck",
    "initializers", "random",
)  # fmt: skip
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def count(source: str) -> tuple[int, int]:
    """Return the number of lines of code, and of docstrings, of a Python file."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            first = node.body[0]
            docstrings |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings), len(docstrings)


def module_of(path: Path) -> str:
    """Return the top-level module of the package that holds a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def counts() -> dict[Path, tuple[int, int]]:
    """Count the lines of every file of the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path: count(path.read_text(encoding="utf-8")) for path in paths}


def total(files: dict[Path, tuple[int, int]]) -> tuple[int, int]:
    """Add up lines of code and of docstrings."""
    return sum(code for code, _ in files.values()), sum(text for _, text in files.values())


def main() -> int:
    files = counts()
    core = {path: lines for path, lines in files.items() if module_of(path) in CORE}
    print("  code docstrings")
    for path, (code, text) in files.items():
        print(f"{code:6,} {text:10,}  {path.relative_to(PACKAGE.parent)}")
    for name, part in {"core": core, "package": files}.items():
        code, text = total(part)
        print(f"{code:6,} {text:10,}  {name}, {len(part)} files")
    return 0


if __name__ == "__main__":
    run_script(main)
