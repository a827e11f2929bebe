"""Write the table of mended faults in tests/README.md.

    python tests/fault_table.py            # write it
    python tests/fault_table.py --check    # exit code 1 if it is out of date

Every row comes from ``faults.toml``. A test that is named there must exist.
"""

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
MARKERS = ("<!-- begin faults -->", "<!-- end faults -->")


def functions(path: Path) -> set[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_link(name: str) -> str:
    """Return a link to a test named file::function."""
    file, _, function = name.partition("::")
    if not (FOLDER / file).is_file() or function not in functions(FOLDER / file):
        sys.exit(f"tests/faults.toml names {name}, which does not exist; correct the name")
    return f"[`{function}`]({file})"


def row(fault: dict[str, Any]) -> str:
    """Return a fault as a row of the table."""
    tests = "<br>".join(map(test_link, fault["tests"])) or "none"
    return f"| {fault['kind']} | {tests} | {fault['siblings'] or 'none found'} |"


def text() -> str:
    """Return README.md with the present table."""
    faults = tomllib.loads((FOLDER / "faults.toml").read_text(encoding="utf-8"))["fault"]
    head = ["| fault | tests | siblings |", "| --- | --- | --- |"]
    begin, end = MARKERS
    table = "\n".join([begin, *head, *map(row, faults), end])
    old = README.read_text(encoding="utf-8")
    return re.sub(f"{begin}.*{end}", lambda match: table, old, flags=re.DOTALL)


if __name__ == "__main__":
    new = text()
    if "--check" not in sys.argv:
        README.write_text(new, encoding="utf-8", newline="\n")
    elif README.read_text(encoding="utf-8") != new:
        sys.exit("tests/README.md is out of date; run python tests/fault_table.py")
