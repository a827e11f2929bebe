"""The language of the code: one term for each thing, plain sentences."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("minicnn", "examples", "benchmarks", "tests")
FILES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(p for name in FOLDERS for p in (ROOT / name).rglob("*.md"))]
)

# A private word and the field's term for it; minicnn/kernels/GUIDE.md has the glossary.
BANNED = {
    r"in use\b(?!d)": "at inference",
    r"put aside": "held out",
    r"\bat once\b": "together, per iteration",
    r"\banew\b": "again",
    r"\bso many\b": "n, the number of",
    r"\bway back\b": "backward pass",
    r"\bway there\b": "forward pass",
    r"\bfirst-level cache\b": "L1 cache",
    r"\blines? of the cache\b": "cache line",
    r"\bhangs? together\b": "is connected",
    r"\brooms?\b": "scratch buffer, module",
    r"\bpieces? of (?:a )?kernels?\b": "device function",
    r"\bstretch(?:es)?\b": "vector width, range",
    r"\bthat which\b": "the noun",
    r"\bbeats\b": "is greater than, or NaN",
    r"\bmove towards\b": "interpolate",
    r"\btwin\b": "copy, Python version",
    r"\bkernels? wants?\b": "a kernel requires",
    r"\bsums? waits?\b": "an accumulator depends on",
    r"\bwinners?\b": "argmax",
}
# Names of functions, arguments and variables that have a term of the field.
BANNED_NAMES = {
    "room": "scratch",
    "rooms": "scratch",
    "places": "offsets",
    "corners": "origins",
    "winner": "argmax",
    "winners": "argmax",
    "beats": "greater_or_nan",
    "stretch": "width",
    "somewhere": "a name",
}
RIDDLES = re.compile(r"(?:^|(?<=[.!?:;] ))(What|So many|That which|Of)\b[^?]*?[.!]", re.M)


def prose(path: Path) -> list[tuple[int, str]]:
    """Return (line, text) of the docstrings and comments of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = re.sub(
            r"```.*?```", lambda block: "\n" * block.group().count("\n"), text, flags=re.S
        )
        return [(1, text)]
    found = [
        (token.start[0], token.string.lstrip("#! "))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    for node, docstring in docstrings(text):
        found.append((getattr(node, "lineno", 1), docstring))
    return found


def docstrings(source: str) -> list[tuple[ast.AST, str]]:
    """Return every node that has a docstring, with it."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [(node, text) for node in nodes if (text := ast.get_docstring(node))]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for p in [*FILES, *PAGES] if p != Path(__file__)], ids=ids)
def test_prose_uses_the_terms_of_the_field(path):
    found = []
    for line, text in prose(path):
        found += [
            f"{ids(path)}:{line}: {match.group()!r}: say {term}"
            for pattern, term in BANNED.items()
            for match in re.finditer(pattern, text, re.I)
        ]
        found += [
            f"{ids(path)}:{line}: {match.group()[:60]!r}: begin with the subject"
            for match in RIDDLES.finditer(text)
        ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", [p for p in FILES if p != Path(__file__)], ids=ids)
def test_names_are_those_of_the_field(path):
    source = path.read_text(encoding="utf-8")
    found = {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.NAME and token.string in BANNED_NAMES
    }
    assert not found, [f"{name}: say {BANNED_NAMES[name]}" for name in sorted(found)]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_the_first_line_of_a_docstring_is_one_short_sentence(path):
    found = []
    for node, text in docstrings(path.read_text(encoding="utf-8")):
        first = text.splitlines()[0]
        name = getattr(node, "name", "module")
        if len(first) > 72:
            found.append(f"{ids(path)}: {name}: {len(first)} characters, at most 72")
        if not first.endswith((".", "?", "!")) or (
            len(text.splitlines()) > 1 and text.splitlines()[1]
        ):
            found.append(f"{ids(path)}: {name}: the first line is a whole sentence: {first!r}")
        if isinstance(node, ast.FunctionDef) and re.match(
            r"(What|So many|That|Of|The|A|An|Give|Say|Let|Tell|Tells|Whether|How)\b", first
        ):
            found.append(f"{ids(path)}: {name}: begin with an imperative: {first!r}")
    assert not found, "\n".join(found)
