"""The README tells what is true: its commands run, its example runs, its tables are generated."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import report

ROOT = Path(__file__).parents[2]


README = (ROOT / "README.md").read_text(encoding="utf-8")


def command(name):
    return re.search(rf"<!-- {name} command -->\n```sh\n(.*?)\n```", README, re.S)[1]


def test_generated_parts_are_what_the_script_writes():
    assert report.main(["--check"]) == 0


def test_a_table_that_was_edited_by_hand_is_noticed():
    assert report.rewritten(README.replace("225,258", "225,259")) == README
    with pytest.raises(SystemExit, match="one part between <!-- begin summary -->"):
        report.rewritten("nothing here")


def test_ci_runs_the_test_command_of_the_readme(tmp_path):
    source = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^readme_command\(\).*$", source, re.M)[0]
    shell = f"cd '{ROOT}'; {function}; readme_command 'test command'"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == command("test")
    assert """bash -euo pipefail -c "$(readme_command 'test command')\"""" in source


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="trains for hours so")
def test_the_twelve_lines_run(capsys):
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len(code.splitlines()) == 12
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    accuracy = float(re.search(r"accuracy=([\d.]+), correct=\d+, total=1000", out)[1])
    assert accuracy > 0.9
    assert "7 should be 7" in out


def test_files_named_in_the_readme_exist():
    for name in re.findall(r"`((?:minicnn|examples|benchmarks)/[\w./]*)`", README):
        assert (ROOT / name).exists(), name


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
