"""README.md and its pages: commands, code, links and tables."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import report

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "benchmarks/ACCURACY.md",
    "benchmarks/SPEED.md",
    "examples/README.md",
    "examples/explorer/README.md",
    "examples/lessons/README.md",
    "minicnn/kernels/GUIDE.md",
]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def command(name):
    return re.search(rf"<!-- {name} command -->\n```sh\n(.*?)\n```", README, re.S)[1]


def script_commands():
    """Return every `python SCRIPT FLAGS` of the pages."""
    found = set()
    for page in PAGES:
        text = text_of(page)
        blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
        found |= {
            " ".join(line.split())
            for line in [*lines, *spans]
            if re.match(r"python\s+(examples|benchmarks)/", line)
        }
    return sorted(found)


def test_the_readme_has_at_most_200_lines_and_early_python():
    lines = README.splitlines()
    assert len(lines) <= 200
    assert lines.index("```python") < 45


def test_generated_pages_and_tables_are_up_to_date():
    assert report.main(["--check"]) == 0


def test_a_table_edited_by_hand_is_rewritten():
    parts = report.parts()[report.README]
    assert report.with_parts(README.replace("225,258", "225,259"), parts) == README
    with pytest.raises(SystemExit, match="one part between <!-- begin accuracy -->"):
        report.with_parts("nothing here", parts)


def test_the_pages_have_commands():
    assert len(script_commands()) > 15


@pytest.mark.parametrize("line", script_commands())
def test_a_command_of_the_pages_has_valid_flags(line, monkeypatch, tmp_path):
    """Parse the flags as the script does, and stop there."""
    parsed = []
    original = argparse.ArgumentParser.parse_args

    def parse(parser, argv=None):
        parsed.append(original(parser, argv))
        raise SystemExit(0)

    script, *flags = shlex.split(line)[1:]
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str((ROOT / script).parent))
    monkeypatch.setattr(sys, "argv", [script, *flags])
    source = compile((ROOT / script).read_text(encoding="utf-8"), str(ROOT / script), "exec")
    with pytest.raises(SystemExit, match="0"):
        exec(source, {"__name__": "__main__", "__file__": str(ROOT / script)})
    assert len(parsed) == 1


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_named_on_a_page_exist(page):
    text = text_of(page)
    for name in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / name).exists(), name
    for name in re.findall(r"`((?:minicnn|examples|benchmarks|tests)/[\w./]*)`", text):
        assert (ROOT / name).exists(), name


def test_ci_runs_the_test_command_of_the_readme(tmp_path):
    source = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^readme_command\(\).*$", source, re.M)[0]
    shell = f"cd '{ROOT}'; {function}; readme_command 'test command'"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == command("test")
    assert """bash -euo pipefail -c "$(readme_command 'test command')\"""" in source


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes hours without JIT")
def test_the_python_of_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks[0].splitlines()) == 12
    names = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    out = capsys.readouterr().out
    accuracy = float(re.search(r"accuracy=([\d.]+), correct=\d+, total=1000", out)[1])
    assert accuracy > 0.9
    assert "7 should be 7" in out
    for block in blocks[1:]:
        exec(compile(block, "README.md", "exec"), names)
    assert "the sum is" in capsys.readouterr().out


@pytest.mark.slow
def test_the_train_command_runs_in_a_fresh_clone(tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(
        ROOT, clone,
        ignore=shutil.ignore_patterns(".venv*", ".git", "__pycache__", ".*_cache", ".hypothesis"),
    )  # fmt: skip
    keep = {name: value for name, value in os.environ.items() if not name.startswith("MINICNN")}
    environment = {
        **keep,
        "VIRTUAL_ENV": "",
        "PATH": f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "XDG_CACHE_HOME": str(tmp_path / "empty"),  # so it downloads MNIST, or uses the sample
    }
    done = subprocess.run(
        ["bash", "-c", command("train")],
        cwd=clone, env=environment, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Compiling the kernels for this machine" in done.stdout
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", done.stdout)[1])
    assert accuracy >= 97
