"""The example scripts, run as a user runs them."""

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from minicnn import load_mnist_sample

ROOT = Path(__file__).parents[1]
TRAIN = [sys.executable, "-u", str(ROOT / "examples" / "train_mnist.py")]

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="the reference CNN takes hours without JIT"
)


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small data set of real digits in MNIST's four files."""
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


def test_training_prints_its_story_and_writes_its_results(folder, tmp_path):
    results = tmp_path / "results.json"
    done = run("--data-dir", folder, "--epochs", 2, "--batch-size", 50, "--results", results)
    assert done.returncode == 0, done.stderr
    assert f"IDX files in {folder.name}: 400 training images (0 of them put aside" in done.stdout
    assert "100 test images" in done.stdout
    assert "Conv2D(64, 3)" in done.stdout
    assert "225,034" in done.stdout
    assert "Epoch 2/2 - 400 images in 8 batches of 50 - " in done.stdout

    found = json.loads(results.read_text())
    assert set(found) >= {
        "dataset", "train_images", "test_images", "test_accuracy", "train_seconds", "epochs",
        "seed", "threads", "parameters", "weights_sha256", "history",
    }  # fmt: skip
    assert found["train_images"] == 400
    assert found["validation_images"] == 0
    assert found["test_images"] == 100
    assert found["parameters"] == 225_034
    assert found["epochs"] == 2
    assert len(found["weights_sha256"]) == 64
    assert {len(values) for values in found["history"].values()} == {2}
    correct = round(found["test_accuracy"] * 100)
    assert f"test accuracy {correct:.2f}% ({correct} of 100)" in done.stdout
    assert correct > 50  # 16 steps teach it something: a guess gets 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json"]


def test_the_weights_depend_on_the_seed_and_not_on_the_threads(folder, tmp_path):
    def sha256(seed, threads):
        path = tmp_path / "r.json"
        flags = ["--data-dir", folder, "--epochs", 1, "--limit", 300, "--results", path]
        assert run(*flags, "--seed", seed, "--threads", threads).returncode == 0
        found = json.loads(path.read_text())
        assert found["train_images"] == 300
        return found["weights_sha256"]

    assert sha256(0, 1) == sha256(0, 2) == sha256(0, 4)
    assert sha256(0, 1) != sha256(1, 1)


def test_without_mnist_the_sample_is_used_and_that_is_said(tmp_path):
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
    assert "NOTE: training on the 5,000 digits that come with minicnn" in done.stdout
    assert "--data-dir FOLDER" in done.stdout
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/" in done.stdout
    assert "MNIST sample: 500 training images" in done.stdout
    assert "of 1000)" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "0"], "argument --epochs: must be at least 1, not 0"),
        (["--threads", "0"], "argument --threads: must be at least 1, not 0"),
        (["--batch-size", "-3"], "argument --batch-size: must be at least 1, not -3"),
        (["--limit", "0"], "argument --limit: must be at least 1, not 0"),
        (["--epochs", "two"], "argument --epochs: invalid"),
        (["--batch-size", "401"], "batch_size 401 is larger than the training set of 400 images"),
        (["--lr", "-1"], "learning_rate must be 0 or more, and finite, not -1.0"),
        (["--seed", "-1"], "seed must lie in 0 .. 2**64 - 1, not -1"),
        (["--results", "no/such/folder/r.json"], "--results: there is no folder "),
        (["--data-dir", "no-such-folder"], "no-such-folder lacks train-images-idx3-ubyte"),
        (["--lr", "1e30", "--limit", "100"], "The usual cause is a learning rate"),
    ],
)
def test_a_wrong_flag_is_one_clear_line_and_exit_code_2(folder, flags, message):
    done = run("--data-dir", folder, "--epochs", "2", *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_with_a_word_and_130(folder):
    process = subprocess.Popen(
        [*TRAIN, "--data-dir", str(folder), "--epochs", "100000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stdout:
            if line.startswith("Epoch 1/"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.strip() == "stopped by Ctrl-C; nothing was saved"


def test_check_gradients_runs_as_a_script():
    script = [sys.executable, str(ROOT / "examples" / "check_gradients.py")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " 0 wrong; largest relative error" in done.stdout
