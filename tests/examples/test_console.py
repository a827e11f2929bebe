"""Scripts: output that never raises, exit codes of signals, help."""

import argparse
import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import files
import pytest
from console import Help

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "examples", ROOT / "examples" / "tools", ROOT / "benchmarks"]
SCRIPTS = [
    path
    for folder in FOLDERS
    for path in sorted(folder.glob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]
CODE = f"""
import sys
sys.path.insert(0, {str(FOLDERS[0])!r})
from console import run_script
def main():
    %s
run_script(main)
"""


def start(body, stdout=subprocess.PIPE, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", CODE % body],
        stdout=stdout, stderr=subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_runs_its_main_with_safe_streams(path):
    source = path.read_text(encoding="utf-8")
    assert source.endswith('\n\nif __name__ == "__main__":\n    run_script(main)\n')


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_character_ends_a_script(encoding):
    body = "print('┐ 3 × 4 · Σ β é \\udc80 漢'); print('Σ', file=sys.stderr); return 3"
    process = start(body, PYTHONIOENCODING=encoding)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    text = out.decode(encoding)
    if encoding == "ascii":
        assert text.strip() == "\\ 3 x 4 * sum beta e? ? ?"
        assert err.strip() == b"sum"
    else:
        assert "é ? " in text
        assert ("漢" in text) == (encoding == "utf-8")


def test_a_reader_that_stops_ends_nothing():
    body = "[print(n) for n in range(100000)]; print('done', file=sys.stderr); return 0"
    process = start(body)
    assert process.stdout.readline().strip() == b"0"
    process.stdout.close()
    assert process.stderr.read() == b"done\n"
    assert process.wait(timeout=60) == 0
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_reported_and_ends_nothing():
    with open("/dev/full", "wb") as full:
        process = start("print(1); print(2); print('done', file=sys.stderr)", full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    said, done = err.decode().splitlines()
    assert said == "the output cannot be written: No space left on device"
    assert done == "done"


def test_a_script_runs_without_a_console():
    code = "import sys; sys.stdout = sys.stderr = None\n" + CODE % "print(1); return 4"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 4


def test_the_lines_of_both_streams_keep_their_order_in_one_pipe():
    body = "print(1); print(2, file=sys.stderr); print(3); print(4, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", CODE % body], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.stdout.split() == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("number", "status", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_signal_ends_in_words(number, status, name):
    process = start("print('ready'); import time; time.sleep(60)")
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err.decode().strip() == f"stopped by {name}"


WITH_FLAGS = [path for path in SCRIPTS if path.stem not in ("own_backend", "code_lines")]
# Nothing is written without these.
OUTPUTS = {"--save", "--results", "--plots", "--out", "--json", "--show", "--figure", "--keep"}


@pytest.mark.parametrize("path", WITH_FLAGS, ids=lambda p: p.stem)
def test_help_names_the_default_of_each_flag(path, monkeypatch):
    parsers = []

    def parse_args(parser, *_):
        parsers.append(parser)
        parser.exit()

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(SystemExit):
        importlib.import_module(path.stem).main([])
    form = Help("script")
    assert parsers[0].formatter_class is Help
    for action in parsers[0]._actions:
        flags = set(action.option_strings)
        if flags and action.nargs != 0 and not action.required and not flags & OUTPUTS:
            assert "default:" in form._get_help_string(action), flags


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_can_be_imported_from_any_folder(path, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(path.parent)!r}); import {path.stem}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 0


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git repository")
def test_git_ignores_what_the_commands_of_the_readmes_write():
    commands = "".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md",
                       *sorted(FOLDERS[0].rglob("README.md"))])  # fmt: skip
    written = set(re.findall(r"--(?:save|out|plots|show|results) ([a-z][\w./]*)", commands))
    assert {"model.npz", "explorer.html", "figures", "figure.png"} <= written
    for name in [*written, "model.checkpoint.npz", ".model.npz.lock", ".model.npz.0123.part"]:
        name += "/" * (not Path(name).suffix)
        ignored = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT)
        assert ignored.returncode == 0, f"add {name} to .gitignore"


# ---------------------------------------------------------------- files.py


def test_two_flags_may_not_name_one_file(tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "m.npz")
    parser = argparse.ArgumentParser()
    model = tmp_path / "m.npz"
    files.check_distinct(parser, {"--a": model, "--b": tmp_path / "n.npz", "--c": None})
    for same in (tmp_path / "m.npz", tmp_path / "link", tmp_path / "x" / ".." / "m.npz"):
        with pytest.raises(SystemExit):
            files.check_distinct(parser, {"--a": model, "--b": same})
        assert "--b and --a name the same file" in capsys.readouterr().err


def test_a_model_is_named_npz(tmp_path):
    assert files.writable_npz(str(tmp_path / "m")) == tmp_path / "m.npz"
    assert files.writable_npz(str(tmp_path / "m.v2")) == tmp_path / "m.v2.npz"
    assert files.writable_npz(str(tmp_path / "m.NPZ")) == tmp_path / "m.NPZ"
