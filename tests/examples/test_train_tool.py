"""examples/train.py: training, saving, resuming and testing."""

import gzip
import hashlib
import json
import os
import re
import runpy
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import minicnn
from minicnn import load_mnist_sample, load_model

ROOT = Path(__file__).parents[2]
TRAIN = [sys.executable, "-u", str(ROOT / "examples" / "train.py")]

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="the reference CNN takes hours without JIT"
)


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with 400 training and 100 test digits in MNIST's format."""
    folder = tmp_path_factory.mktemp("mnist")
    data = load_mnist_sample()
    write_idx(folder / "train-images-idx3-ubyte.gz", data.train_images[:400])
    write_idx(folder / "train-labels-idx1-ubyte.gz", data.train_labels[:400])
    write_idx(folder / "t10k-images-idx3-ubyte.gz", data.test_images[:100])
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", data.test_labels[:100])
    return folder


def run(*flags, **environment):
    return subprocess.run(
        [*TRAIN, *map(str, flags)],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip


def test_training_prints_a_log_and_writes_results(folder, tmp_path):
    results = tmp_path / "results.json"
    done = run("--data-dir", folder, "--epochs", 2, "--batch-size", 50, "--results", results)
    assert done.returncode == 0, done.stderr
    assert (
        f"IDX files in {folder.name}: 400 training images (0 of them for validation" in done.stdout
    )
    assert "100 test images" in done.stdout
    assert "Conv2D(64, 3, bias=False)" in done.stdout
    assert "225,258" in done.stdout  # the network
    shown = done.stdout[done.stdout.index("    Layer ") :].splitlines()
    assert max(len(line) for line in shown if str(results) not in line) < 80

    found = json.loads(results.read_text())
    assert set(found) >= {
        "dataset", "train_images", "test_images", "test_accuracy", "train_seconds", "epochs",
        "seed", "threads", "parameters", "weights_sha256", "history",
    }  # fmt: skip
    assert found["train_images"] == 400
    assert found["validation_images"] == 0
    assert found["test_images"] == 100
    assert found["parameters"] == 225_258
    assert found["epochs"] == 2
    assert len(found["weights_sha256"]) == 64
    assert {len(values) for values in found["history"].values()} == {2}
    correct = round(found["test_accuracy"] * 100)
    assert f"test accuracy {correct:.2f}% ({correct} of 100)" in done.stdout
    assert correct > 50  # chance is 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json"]


def test_diagnose_reports_after_each_epoch_and_changes_nothing(folder, tmp_path):
    flags = ["--data-dir", folder, "--epochs", 2, "--batch-size", 50, "--results"]
    watched = run(*flags, tmp_path / "watched.json", "--diagnose")
    assert watched.returncode == 0, watched.stderr
    lines = watched.stdout.splitlines()
    (first, second) = (n for n, line in enumerate(lines) if re.match(r" +\d/2 ", line))
    for story in (lines[first:second], lines[second:]):
        assert sum("Update/weight" in line for line in story) == 1
        assert any(line.startswith(" 8  ReLU()") and line.endswith(" of 64") for line in story)
        assert sum(" on 128 images; gradient and update" in line for line in story) == 1
        assert "Nothing unusual." in story
    assert run(*flags, tmp_path / "plain.json").returncode == 0
    plain, found = (json.loads((tmp_path / f"{name}.json").read_text()) for name in
                    ("plain", "watched"))  # fmt: skip
    assert found["weights_sha256"] == plain["weights_sha256"]
    assert found["history"] == plain["history"]


@pytest.mark.parametrize("recipe", ["ensemble", "resnet"])
def test_diagnose_reports_every_network_of_a_recipe(folder, recipe):
    flags = ["--recipe", recipe, "--epochs", 1, "--limit", 64, "--diagnose"]
    done = run("--data-dir", folder, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Update/weight") == (5 if recipe == "ensemble" else 1)


def test_weights_depend_on_the_seed_and_not_on_the_threads(folder, tmp_path):
    def sha256(seed, threads):
        path = tmp_path / "r.json"
        flags = ["--data-dir", folder, "--epochs", 1, "--limit", 300, "--results", path]
        assert run(*flags, "--seed", seed, "--threads", threads).returncode == 0
        found = json.loads(path.read_text())
        assert found["train_images"] == 300
        return found["weights_sha256"]

    assert sha256(0, 1) == sha256(0, 2) == sha256(0, 4)
    assert sha256(0, 1) != sha256(1, 1)


def test_the_sample_replaces_mnist_when_it_is_unavailable(tmp_path):
    # An empty cache folder, and a proxy that refuses every connection.
    offline = {
        "MINICNN_DATA": "",
        "XDG_CACHE_HOME": str(tmp_path),
        "HOME": str(tmp_path),
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "",
    }
    done = run("--epochs", 1, "--limit", 500, **offline)
    assert done.returncode == 0, done.stderr
    assert "NOTE: using the 5,000 digits that come with minicnn" in done.stdout
    assert "--data-dir FOLDER" in done.stdout
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/" in done.stdout
    assert "MNIST sample: 500 training images" in done.stdout
    assert "of 1000)" in done.stdout


# ---------------------------------------------------------------- saving and resuming

# Small batches make epochs long. Patience restores the weights of the best epoch.
EVERYTHING = [
    "--augment", "--synthetic-digits", "--epochs", "6", "--batch-size", "10",
    "--validation", "0.2", "--patience", "5",
    "--schedule", "cosine", "--seed", "5",
]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(folder, tmp_path_factory):
    """Return results, folder and log of an uninterrupted training."""
    kept = tmp_path_factory.mktemp("kept")
    flags = ["--save", kept / "model.npz", "--results", kept / "r.json", "--plots", kept / "plots"]
    done = run("--data-dir", folder, *EVERYTHING, *flags)
    assert done.returncode == 0, done.stderr
    return json.loads((kept / "r.json").read_text()), kept, done.stdout


def start(folder, *flags, until):
    """Start a training and return the process once a line begins with `until`."""
    process = subprocess.Popen(
        [*TRAIN, "--data-dir", str(folder), *map(str, flags)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.strip().startswith(until):
            return process
    raise AssertionError(process.communicate()[1])


def epochs_in(checkpoint):
    with np.load(checkpoint, allow_pickle=False) as arrays:
        return len(json.loads(str(arrays["description"]))["history"]["loss"])


def test_the_model_is_saved_with_the_metadata_of_its_training(uninterrupted):
    results, kept, out = uninterrupted
    assert "adding 16 synthetic digits" in out
    assert "416 training images (83 of them for validation)" in out
    assert f"model saved to {kept / 'model.npz'}" in out
    model = load_model(kept / "model.npz")
    assert hashlib.sha256(model.parameters.tobytes()).hexdigest() == results["weights_sha256"]
    assert model.class_names == tuple("0123456789")
    versions = model.metadata.pop("versions")
    assert versions["minicnn"] == minicnn.__version__
    assert set(versions) == {"minicnn", "python", "numpy", "numba"}
    assert {**model.metadata, "versions": versions} == results
    assert results["dataset"].startswith("IDX files in ")
    assert results["augment"].startswith("Augment(rotation=")
    assert results["schedule"] == "cosine"
    assert (results["train_images"], results["validation_images"]) == (416, 83)
    assert results["synthetic_digits"] == 16
    assert (results["patience"], results["seed"], results["resumed"]) == (5, 5, False)
    losses = results["history"]["val_loss"]
    assert results["best_epoch"] == 1 + losses.index(min(losses))
    assert sorted(path.name for path in kept.iterdir()) == ["model.npz", "plots", "r.json"]


def test_plots_draws_figures(uninterrupted):
    _, kept, out = uninterrupted
    names = {"augmentation", "confusion_matrix", "feature_maps", "filters", "learning_curves"}
    assert {path.stem for path in (kept / "plots").iterdir()} == names | {"mistakes"}
    for path in (kept / "plots").iterdir():
        with PIL.Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 100
        assert path.stem in out
    assert "Precision" in out


def test_model_tests_a_saved_model_without_training(uninterrupted, folder, tmp_path):
    results, kept, _ = uninterrupted
    again = tmp_path / "again.json"
    flags = ["--model", kept / "model.npz", "--plots", tmp_path / "plots", "--results", again]
    done = run("--data-dir", folder, *flags)
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stdout
    found = json.loads(again.read_text())
    assert {**found, "threads": None, "versions": None} == {
        **results, "threads": None, "versions": None,
    }  # fmt: skip
    assert f"test accuracy {results['test_accuracy']:.2%} (" in done.stdout
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {path.name for path in (kept / "plots").iterdir()}


def test_resume_after_kill_gives_the_weights_of_an_uninterrupted_training(
    uninterrupted, folder, tmp_path
):
    save, results = tmp_path / "model.npz", tmp_path / "r.json"
    flags = [*EVERYTHING, "--save", save]
    process = start(folder, *flags, "--threads", 2, until="2/6")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    checkpoint = tmp_path / "model.checkpoint.npz"
    done = epochs_in(checkpoint)
    assert 2 <= done < 6
    assert [path for path in tmp_path.iterdir() if path.suffix not in (".part", ".lock")] == [
        checkpoint
    ]

    again = run("--data-dir", folder, *flags, "--resume", "--threads", 3, "--results", results)
    assert again.returncode == 0, again.stderr
    assert f"Resuming after epoch {done} of 6, from {checkpoint}" in again.stdout
    found, wanted = json.loads(results.read_text()), uninterrupted[0]
    assert found["weights_sha256"] == wanted["weights_sha256"]
    assert found["history"] == wanted["history"]
    assert found["resumed"] is True
    assert save.exists()
    assert not checkpoint.exists()


@pytest.mark.slow
def test_repeated_kills_at_random_moments_give_the_same_weights(uninterrupted, folder, tmp_path):
    save, results = tmp_path / "model.npz", tmp_path / "r.json"
    checkpoint = tmp_path / "model.checkpoint.npz"
    flags = [*EVERYTHING, "--save", save, "--results", results]
    rng, kills = np.random.default_rng(0), 0
    while not results.exists():
        resume = ["--resume"] if checkpoint.exists() else []
        process = start(folder, *flags, *resume, until="Resuming" if resume else "1/6")
        time.sleep(rng.uniform(0, 0.05 * 1.2**kills))  # growing delays, so that it finishes
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert kills < 100
    assert kills >= 3
    found = json.loads(results.read_text())
    assert found["weights_sha256"] == uninterrupted[0]["weights_sha256"]


@pytest.mark.parametrize(
    ("number", "status", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_stop_prints_the_command_that_resumes(
    uninterrupted, folder, tmp_path, number, status, name
):
    save, results = tmp_path / "my model.npz", tmp_path / "r.json"
    flags = [*EVERYTHING, "--save", save, "--results", results]
    process = start(folder, *flags, until="1/6")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    said, command = err.strip().splitlines()
    checkpoint = tmp_path / "my model.checkpoint.npz"
    assert said == f"stopped by {name}; {checkpoint} holds the last whole epoch. Resume with"
    assert list(tmp_path.iterdir()) == [checkpoint]

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(results.read_text())["weights_sha256"] == uninterrupted[0]["weights_sha256"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my model.npz", "r.json"]


def test_ctrl_c_without_save_exits_with_130(folder):
    process = start(folder, "--epochs", "100000", until="1/")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "stopped by Ctrl-C; nothing was saved"


def test_a_second_training_of_one_name_is_refused_until_the_first_ends(folder, tmp_path):
    save = tmp_path / "model.npz"
    stale = tmp_path / ".model.npz.0123.part"
    stale.write_bytes(b"left by a killed training")
    flags = ["--epochs", 1000, "--batch-size", 10, "--save", save]
    process = start(folder, *flags, until="1/1000")
    assert not stale.exists()
    done = run("--data-dir", folder, *flags)
    assert done.returncode == 2
    assert f"{save} is being written by another training; wait for its end" in done.stderr
    assert not (tmp_path / "model.checkpoint.old.npz").exists()
    process.kill()
    process.communicate()
    done = run("--data-dir", folder, "--epochs", 1, "--save", save)  # a kill leaves no lock
    assert done.returncode == 0, done.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.npz", "model.checkpoint.old.npz"}


def test_the_model_is_saved_before_anything_is_printed_after_training(
    folder, tmp_path, monkeypatch
):
    main = runpy.run_path(TRAIN[-1])["main"]
    printed = []

    def fail(text="", **_):
        printed.append(text)
        if "trained for" in text:
            raise BrokenPipeError

    monkeypatch.setattr("builtins.print", fail)
    save, results = tmp_path / "m.npz", tmp_path / "r.json"
    flags = ["--data-dir", str(folder), "--epochs", "1", "--limit", "64"]
    assert main([*flags, "--save", str(save), "--results", str(results)]) == 2
    assert (
        load_model(save).metadata["test_accuracy"]
        == json.loads(results.read_text())["test_accuracy"]
    )
    assert any("trained for" in text for text in printed)


def test_resume_rejects_and_names_changed_flags(folder, tmp_path):
    save = tmp_path / "model.npz"
    process = start(folder, "--epochs", 1000, "--save", save, until="1/")
    process.kill()
    process.communicate()
    done = run("--data-dir", folder, "--epochs", 1001, "--lr", "0.1", "--save", save, "--resume")
    assert done.returncode == 2
    assert "resume it with the same: epochs (1000 there, 1001 here), optimizer (" in done.stderr
    done = run("--data-dir", folder, "--epochs", 1, "--save", save)  # starts from the beginning
    assert done.returncode == 0, done.stderr
    old = tmp_path / "model.checkpoint.old.npz"
    checkpoint = tmp_path / "model.checkpoint.npz"
    assert f"NOTE: {checkpoint} of an interrupted training is renamed to {old}" in done.stdout
    assert sorted(tmp_path.iterdir()) == [old, save]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "0"], "argument --epochs: must be at least 1, not 0"),
        (["--threads", "0"], "argument --threads: must be at least 1, not 0"),
        (["--batch-size", "-3"], "argument --batch-size: must be at least 1, not -3"),
        (["--limit", "0"], "argument --limit: must be at least 1, not 0"),
        (["--epochs", "two"], "argument --epochs: invalid"),
        (["--validation", "1"], "argument --validation: must be at least 0 and below 1, not 1"),
        (["--patience", "0"], "argument --patience: must be at least 1, not 0"),
        (["--schedule", "sine"], "argument --schedule: invalid choice: 'sine'"),
        (["--batch-size", "401"], "batch_size 401 is larger than the training set of 400 images"),
        (["--lr", "-1"], "learning_rate must be 0 or more, and finite, not -1.0"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
        (
            ["--results", "no/such/folder/r.json"],
            "--results: no/such/folder/r.json cannot be written: there is",
        ),
        (
            ["--save", "no/such/folder/m.npz"],
            "--save: no/such/folder/m.npz cannot be written: there is no",
        ),
        (["--save", "."], "--save: . cannot be written: it is a folder; name a file"),
        (["--plots", __file__], "test_train_tool.py is not a folder"),
        (
            ["--save", "m.npz", "--results", "m.checkpoint.npz"],
            "the checkpoint of --save and --results name the same file m.checkpoint.npz",
        ),
        (["--save", "m", "--results", "m.npz"], "--save and --results name the same file m.npz"),
        (["--resume"], "--resume needs --save, which names the checkpoint"),
        (["--resume", "--save", "m.npz"], "there is no checkpoint m.checkpoint.npz"),
        (
            ["--patience", "2", "--validation", "0"],
            "--patience needs validation images: set --validation above 0",
        ),
        (["--model", "m.npz"], "--model tests a trained model: leave out --epochs"),
        (["--data-dir", "no-such-folder"], "no-such-folder lacks train-images-idx3-ubyte"),
        (["--lr", "1e30", "--limit", "100"], "The usual cause is a learning rate"),
    ],
)
def test_a_wrong_flag_prints_one_line_and_exits_with_2(folder, flags, message, capsys):
    main = runpy.run_path(TRAIN[-1])["main"]
    try:
        code = main(["--data-dir", str(folder), "--epochs", "2", *flags])
    except SystemExit as end:  # argparse, after the usage
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_an_error_prints_no_traceback(folder):
    done = run("--data-dir", folder, "--epochs", "2", "--batch-size", "401")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("train.py: error: fit: batch_size 401 is larger than the t")


def test_a_file_that_is_no_model_prints_one_line(folder, tmp_path, capsys):
    for path, message in [
        (folder / "train-labels-idx1-ubyte.gz", "it is not a .npz file"),
        (tmp_path / "no.npz", "there is no such file"),
    ]:
        main = runpy.run_path(TRAIN[-1])["main"]
        assert main(["--data-dir", str(folder), "--model", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("train.py: error: ")
        assert f"{path.name} cannot be loaded: {message}" in line


def test_check_gradients_runs_as_a_script():
    script = [sys.executable, str(ROOT / "examples" / "check_gradients.py")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " 0 wrong; largest relative error" in done.stdout
