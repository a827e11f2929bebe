"""Loading MNIST from folders, the cache and mirrors, and the errors.

Servers on the loopback interface send small files with their own hashes. Nothing leaves this
machine, and nothing is written outside the test's folder.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pooch  # here, so its log uses the stderr of the run, not of one test
import pytest

import minicnn.data
from minicnn.data import mnist
from minicnn.data.mnist import ImageDataset, MnistUnavailableError, load_mnist

NAMES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]
PROBED = "t10k-labels-idx1-ubyte.gz"
PAGE = b"<!DOCTYPE html><html><body>Service Unavailable</body></html>"
PUBLISHED, MIRRORS = mnist.REGISTRY, mnist.MIRRORS


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 2048 + array.ndim, *array.shape) + array.tobytes()


def dataset(seed: int, side: int = 4) -> ImageDataset:
    rng = np.random.default_rng(seed)
    return ImageDataset(
        name=f"random {seed}",
        train_images=rng.integers(0, 256, (30, side, side), dtype=np.uint8),
        train_labels=rng.integers(0, 10, 30, dtype=np.uint8),
        test_images=rng.integers(0, 256, (10, side, side), dtype=np.uint8),
        test_labels=rng.integers(0, 10, 10, dtype=np.uint8),
    )


def packed(data: ImageDataset) -> dict[str, bytes]:
    return {
        name: gzip.compress(idx(array), mtime=0)
        for name, array in zip(NAMES, data[1:], strict=True)
    }


DIGITS = dataset(0)
FILES = packed(DIGITS)
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(data: ImageDataset, expected: ImageDataset) -> None:
    for field, a, b in zip(data._fields[1:], data[1:], expected[1:], strict=True):
        assert a.dtype == np.uint8, field
        np.testing.assert_array_equal(a, b, err_msg=field)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache, no mirrors, and the hashes of DIGITS."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(mnist, "REGISTRY", HASHES)
    monkeypatch.setattr(mnist, "MIRRORS", ())
    monkeypatch.delenv("MINICNN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "minicnn"


# Servers


class Request(http.server.BaseHTTPRequestHandler):
    """Pass each request to a function of the server."""

    server: Server

    def do_HEAD(self) -> None:
        self.server.head(self)

    def do_GET(self) -> None:
        self.server.seen.append(self.path.removeprefix("/"))
        self.server.get(self)

    def reply(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


Behavior = Callable[[Request], None]


class Server(http.server.ThreadingHTTPServer):
    """A mirror on the loopback interface; `seen` lists the requested names."""

    def __init__(self, get: Behavior, head: Behavior) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.get, self.head = get, head
        self.seen: list[str] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


def sends_files(request: Request) -> None:
    content = FILES.get(request.path.removeprefix("/"))
    request.reply(404, b"") if content is None else request.reply(200, content)


def sends_a_page(request: Request) -> None:
    request.reply(200, PAGE)


def sends_404(request: Request) -> None:
    request.reply(404, b"no such file")


def closes_early(request: Request) -> None:
    content = FILES[request.path.removeprefix("/")]
    request.reply(200, content[:20], length=len(content))


def stalls(request: Request) -> None:
    content = FILES[request.path.removeprefix("/")]
    request.reply(200, content[:20], length=len(content))
    request.server.closing.wait()


def never_answers(request: Request) -> None:
    request.server.closing.wait()


def sends_no_http(request: Request) -> None:
    request.wfile.write(b"220 mail.example.org ESMTP\r\n")


def sends_train_files_only(request: Request) -> None:
    sends_files(request) if "train" in request.path else sends_404(request)


StartServer = Callable[..., Server]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartServer]:
    """Start a server and add it to the mirrors."""
    servers = []

    def start(get: Behavior, head: Behavior = sends_files) -> Server:
        server = Server(get, head)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        monkeypatch.setattr(mnist, "MIRRORS", (*mnist.MIRRORS, server.url))
        return server

    yield start
    for server in servers:
        server.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def refusing() -> Iterator[list[str]]:
    """Return addresses that refuse connections: bound ports without listener."""
    sockets = [socket.socket() for _ in range(3)]
    for taken in sockets:
        taken.bind(("127.0.0.1", 0))
    yield [f"http://127.0.0.1:{taken.getsockname()[1]}/" for taken in sockets]
    for taken in sockets:
        taken.close()


# Folders


def test_folder_with_gzip_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", FILES)
    data = load_mnist(folder)
    assert_same(data, DIGITS)
    assert data.name == f"IDX files in {folder.name}"


def test_folder_with_unpacked_files(tmp_path: Path) -> None:
    unpacked = {name[:-3]: gzip.decompress(content) for name, content in FILES.items()}
    assert_same(load_mnist(str(write(tmp_path, unpacked))), DIGITS)


@pytest.mark.parametrize("packed_too", [False, True])
@pytest.mark.parametrize(
    "pattern",
    [
        "{0}.{1}",  # of unpackers
        "{0}-{1}/{0}-{1}",  # of Kaggle's archive: each file in a folder of its own name
        "{0}-{1}/{0}.{1}",
        "MNIST/raw/{0}-{1}",  # of torchvision, from the folder that it is given
        "raw/{0}-{1}",
    ],
)
def test_files_under_other_usual_names_are_found(
    tmp_path: Path, pattern: str, packed_too: bool
) -> None:
    for name, content in FILES.items():
        stem = name.removesuffix(".gz")
        path = tmp_path / pattern.format(stem[: stem.index("-idx")], stem[stem.index("idx") :])
        path.parent.mkdir(parents=True, exist_ok=True)
        if packed_too:
            path = path.with_name(f"{path.name}.gz")
        path.write_bytes(content if packed_too else gzip.decompress(content))
    data = load_mnist(tmp_path)
    assert_same(data, DIGITS)
    assert data.name == f"IDX files in {tmp_path.name}"


def test_files_of_two_folders_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, {NAMES[0]: FILES[NAMES[0]]})
    other = dataset(1)
    write(tmp_path / "raw", packed(other))
    assert_same(load_mnist(tmp_path), other)


def test_mnist_in_a_folder_is_called_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"".join(array.tobytes() for array in DIGITS[1:])
    monkeypatch.setattr(mnist, "CONTENT_SHA256", hashlib.sha256(content).hexdigest())
    assert load_mnist(write(tmp_path, FILES)).name == "MNIST"
    other = {NAMES[2]: packed(dataset(1))[NAMES[2]]}
    assert load_mnist(write(tmp_path, other)).name == f"IDX files in {tmp_path.name}"


def test_a_plain_file_is_preferred_to_gzip(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    write(tmp_path, {NAMES[1][:-3]: idx(DIGITS.train_labels[::-1])})
    data = load_mnist(tmp_path)
    np.testing.assert_array_equal(data.train_labels, DIGITS.train_labels[::-1])
    np.testing.assert_array_equal(data.test_labels, DIGITS.test_labels)


def test_a_folder_may_hold_another_data_set(tmp_path: Path) -> None:
    fashion = dataset(seed=7, side=28)
    assert_same(load_mnist(write(tmp_path, packed(fashion)), download=False), fashion)


def test_folder_may_start_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path / "mine", FILES)
    assert_same(load_mnist("~/mine"), DIGITS)


def test_empty_folder_name_is_the_current_folder(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cache, FILES)
    monkeypatch.chdir(write(tmp_path / "mine", packed(dataset(1))))
    assert load_mnist("").name == f"IDX files in {Path.cwd().name}"


def test_the_environment_variable_names_a_folder(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cache, FILES)
    other = dataset(1)
    monkeypatch.setenv("MINICNN_DATA", str(write(tmp_path / "env", packed(other))))
    data = load_mnist()
    assert_same(data, other)
    assert data.name == "IDX files in env"


def test_the_argument_is_preferred_to_the_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINICNN_DATA", str(tmp_path / "nowhere"))
    assert_same(load_mnist(write(tmp_path / "mine", FILES)), DIGITS)


def test_an_empty_environment_variable_is_ignored(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINICNN_DATA", "")
    write(cache, FILES)
    assert load_mnist().name == "MNIST"


ALL_FOUR = ", ".join(name.removesuffix(".gz") for name in NAMES) + r" \(each with or without .gz\)"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    missing = ", ".join(name.removesuffix(".gz") for name in NAMES)
    message = f"data_dir: {re.escape(str(folder))} lacks {missing}; give a folder with {ALL_FOUR}"
    with pytest.raises(FileNotFoundError, match=message):
        load_mnist(folder)


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {name: FILES[name] for name in (NAMES[0], NAMES[3])})
    monkeypatch.setenv("MINICNN_DATA", str(tmp_path))
    message = (
        f"MINICNN_DATA: {re.escape(str(tmp_path))} lacks train-labels-idx1-ubyte, "
        f"t10k-images-idx3-ubyte; give a folder with {ALL_FOUR}"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load_mnist()


def test_a_file_instead_of_a_folder_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / NAMES[0]
    path.touch()
    message = f"data_dir: {re.escape(str(path))} must be a folder with {ALL_FOUR}"
    with pytest.raises(NotADirectoryError, match=message):
        load_mnist(path)


def test_an_invalid_file_in_a_folder_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, FILES | {NAMES[2]: PAGE})
    with pytest.raises(ValueError, match=f"{NAMES[2]} is a web page"):
        load_mnist(tmp_path)


def test_images_of_different_sizes_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, FILES | {NAMES[2]: packed(dataset(1, side=5))[NAMES[2]]})
    message = (
        r"train-images.* are \(4, 4\) \(height, width\) but .*t10k-images.* are \(5, 5\); give"
    )
    with pytest.raises(ValueError, match=message):
        load_mnist(tmp_path)


# The cache


def test_a_complete_cache_needs_no_network(cache: Path, start: StartServer) -> None:
    server = start(sends_files)
    write(cache, FILES)
    data = load_mnist()
    assert_same(data, DIGITS)
    assert data.name == "MNIST"
    assert server.seen == []
    assert_same(load_mnist(download=False), DIGITS)


def test_a_complete_cache_need_not_be_writable(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    write(cache, FILES)
    assert_same(load_mnist(), DIGITS)


@pytest.mark.parametrize("damage", [PAGE, b"", FILES[NAMES[2]][:50], FILES[NAMES[2]] + b"\0"])
def test_a_damaged_file_is_replaced(cache: Path, start: StartServer, damage: bytes) -> None:
    server = start(sends_files)
    write(cache, FILES | {NAMES[2]: damage})
    assert_same(load_mnist(), DIGITS)
    assert contents(cache) == FILES
    assert server.seen == [NAMES[2]]


def test_an_interrupted_download_is_completed(cache: Path, start: StartServer) -> None:
    server = start(sends_files)
    write(cache, {NAMES[0]: FILES[NAMES[0]], "tmpk3x2": FILES[NAMES[1]][:9]})
    assert_same(load_mnist(), DIGITS)
    assert server.seen == NAMES[1:]


def test_without_download_an_empty_cache_is_an_error(cache: Path, start: StartServer) -> None:
    server = start(sends_files)
    message = (
        f"incomplete in {re.escape(str(cache))}: {NAMES[0]} cannot be read .*{NAMES[3]} cannot be"
        " read .*; download is False. Put the .*data_dir .*MINICNN_DATA"
    )
    with pytest.raises(MnistUnavailableError, match=message):
        load_mnist(download=False)
    assert server.seen == []
    assert not cache.exists()


def test_without_download_a_damaged_file_is_an_error(cache: Path) -> None:
    damaged = FILES | {NAMES[1]: FILES[NAMES[1]][:-1]}
    write(cache, damaged)
    message = rf"{re.escape(str(cache))}: {NAMES[1]} is damaged \(its SHA-256 is .*\); download is"
    with pytest.raises(MnistUnavailableError, match=message):
        load_mnist(download=False)
    assert contents(cache) == damaged


def test_a_folder_instead_of_a_file_is_an_error(cache: Path, start: StartServer) -> None:
    start(sends_files)
    write(cache, {name: FILES[name] for name in NAMES[1:]})
    (cache / NAMES[0]).mkdir()
    with pytest.raises(MnistUnavailableError, match=f"{NAMES[0]} cannot be read"):
        load_mnist(download=False)
    with pytest.raises(MnistUnavailableError, match=f"could not be downloaded:\n.*{NAMES[0]}: "):
        load_mnist()


UNWRITABLE = "the cache folder {} is not writable .* Put the .*data_dir .*MINICNN_DATA"


def test_a_file_instead_of_the_cache_folder_is_an_error(cache: Path, start: StartServer) -> None:
    server = start(sends_files)
    cache.parent.touch()
    with pytest.raises(MnistUnavailableError, match=UNWRITABLE.format(re.escape(str(cache)))):
        load_mnist()
    assert server.seen == []


def test_a_cache_without_write_permission_is_an_error(
    cache: Path, start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    server = start(sends_files)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(MnistUnavailableError, match=r"is not writable .*Permission denied"):
        load_mnist()
    assert server.seen == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="file modes do not restrict this user"
)
def test_a_read_only_cache_is_an_error(cache: Path, start: StartServer) -> None:
    start(sends_files)
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    with pytest.raises(MnistUnavailableError, match=UNWRITABLE.format(re.escape(str(cache)))):
        load_mnist()
    cache.chmod(0o700)


# Mirrors


def test_registry_and_mirrors_are_well_formed() -> None:
    assert list(PUBLISHED) == NAMES
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in PUBLISHED.values())
    assert all(re.fullmatch("https://.*/", mirror) for mirror in MIRRORS)
    assert len(set(MIRRORS)) == len(MIRRORS) == 5
    assert not any("yann.lecun.com" in mirror for mirror in MIRRORS)
    assert mnist.PROBE_SECONDS < 10


def test_downloads_from_the_first_mirror(cache: Path, start: StartServer) -> None:
    first, second = start(sends_files), start(sends_files)
    data = load_mnist()
    assert_same(data, DIGITS)
    assert data.name == "MNIST"
    assert contents(cache) == FILES
    assert first.seen == NAMES
    assert second.seen == []


@pytest.mark.parametrize("get", [sends_a_page, sends_404, closes_early, sends_no_http])
def test_after_a_failing_mirror_the_next_is_used(
    cache: Path, start: StartServer, get: Behavior
) -> None:
    first, second = start(get), start(sends_files)
    assert_same(load_mnist(), DIGITS)
    assert contents(cache) == FILES
    assert first.seen[:1] == NAMES[:1]
    assert second.seen == NAMES


@pytest.mark.parametrize(
    ("get", "reason"), [(stalls, "timed out"), (never_answers, "read timeout=0.1")]
)
def test_after_a_stalled_mirror_the_next_is_used(
    cache: Path, start: StartServer, monkeypatch: pytest.MonkeyPatch, get: Behavior, reason: str
) -> None:
    stalled, second = start(get), start(sends_files)
    fetch_from, failures = mnist._fetch_from, []

    def with_short_timeout(mirror: str, folder: Path) -> str:
        timeout = 0.1 if mirror == stalled.url else mnist.DOWNLOAD_SECONDS
        with monkeypatch.context() as patch:
            patch.setattr(mnist, "DOWNLOAD_SECONDS", timeout)
            failures.append(fetch_from(mirror, folder))
        return failures[-1]

    monkeypatch.setattr(mnist, "_fetch_from", with_short_timeout)
    assert_same(load_mnist(), DIGITS)
    assert contents(cache) == FILES
    assert failures[0].startswith(f"{stalled.url}{NAMES[0]}: ")
    assert reason in failures[0]
    assert second.seen == NAMES


@pytest.mark.parametrize("head", [sends_404, sends_no_http])
def test_a_mirror_that_fails_the_probe_gets_no_request(start: StartServer, head: Behavior) -> None:
    first, second = start(sends_files, head), start(sends_files)
    assert_same(load_mnist(), DIGITS)
    assert first.seen == []
    assert second.seen == NAMES


def test_the_probe_follows_redirects(start: StartServer) -> None:
    def redirects(request: Request) -> None:
        request.send_response(302)
        request.send_header("Location", target.url + request.path.removeprefix("/"))
        request.send_header("Content-Length", "0")
        request.end_headers()

    first = start(redirects, redirects)
    target = start(sends_files)
    assert_same(load_mnist(), DIGITS)
    assert first.seen == NAMES


def test_the_next_mirror_completes_the_download(cache: Path, start: StartServer) -> None:
    first, second = start(sends_train_files_only), start(sends_files)
    assert_same(load_mnist(), DIGITS)
    assert contents(cache) == FILES
    assert first.seen == NAMES[:3]
    assert second.seen == NAMES[2:]


def test_wrong_bytes_are_not_stored(cache: Path, start: StartServer) -> None:
    server = start(sends_a_page)
    message = f"{server.url}{NAMES[0]}: ValueError: SHA256 hash .* does not match"
    with pytest.raises(MnistUnavailableError, match=message):
        load_mnist()
    assert contents(cache) == {}


def test_the_error_names_every_mirror(
    cache: Path, refusing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "MIRRORS", tuple(refusing))
    with pytest.raises(MnistUnavailableError) as caught:
        load_mnist()
    message = str(caught.value)
    lines = message.splitlines()
    assert lines[0] == "MNIST could not be downloaded:"
    for line, mirror in zip(lines[1:-1], refusing, strict=True):
        assert line.startswith(f"  {mirror}{PROBED}: URLError: ")
        assert "refused" in line
    assert lines[-1].startswith(f"Put the published files {', '.join(NAMES)} into {cache}, ")
    assert "MINICNN_DATA" in lines[-1]
    assert "load_mnist_sample()" in lines[-1]


def test_the_error_has_a_reason_for_each_mirror(
    start: StartServer, refusing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "MIRRORS", ("nonsense/", refusing[0]))
    start(sends_files, sends_404)
    start(sends_404)
    start(closes_early)
    reasons = [
        "ValueError: unknown url type",
        "URLError: .*refused",
        "HTTPError: HTTP Error 404",
        "HTTPError: 404 Client Error",
        "(ChunkedEncodingError|ConnectionError): .*IncompleteRead",
    ]
    names = [PROBED, PROBED, PROBED, NAMES[0], NAMES[0]]
    lines = [
        f"  {re.escape(mirror + name)}: {reason}.*\n"
        for mirror, name, reason in zip(mnist.MIRRORS, names, reasons, strict=True)
    ]
    with pytest.raises(MnistUnavailableError, match="could not be downloaded:\n" + "".join(lines)):
        load_mnist()


def test_a_server_that_never_answers_times_out(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "PROBE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        mirror = f"http://127.0.0.1:{black_hole.getsockname()[1]}/"
        monkeypatch.setattr(mnist, "MIRRORS", (mirror,))
        message = f"{mirror}{PROBED}: (no answer within 0.1 s|TimeoutError: timed out)\n.*{cache}"
        with pytest.raises(MnistUnavailableError, match=message):
            load_mnist()
        assert mnist._probe(mirror) == f"{mirror}: TimeoutError: timed out"


def test_a_dns_lookup_that_never_returns_times_out(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, probe = start(sends_files), mnist._probe
    release = threading.Event()

    def probe_or_hang(url: str) -> str:
        return "" if url.startswith(stuck.url) and release.wait() else probe(url)

    monkeypatch.setattr(mnist, "_probe", probe_or_hang)
    monkeypatch.setattr(mnist, "PROBE_SECONDS", 0.1)
    with pytest.raises(MnistUnavailableError, match=f"{stuck.url}{PROBED}: no answer within 0.1 s"):
        load_mnist()
    release.set()


def test_a_slow_second_mirror_does_not_delay_the_first(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, probe = start(sends_files), start(sends_files), mnist._probe
    release = threading.Event()

    def probe_or_hang(url: str) -> str:
        return "" if url.startswith(second.url) and release.wait() else probe(url)

    monkeypatch.setattr(mnist, "_probe", probe_or_hang)
    monkeypatch.setattr(mnist, "PROBE_SECONDS", 10_000.0)
    assert_same(load_mnist(), DIGITS)
    assert first.seen == NAMES
    release.set()


def test_the_proxy_of_the_environment_is_used(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forwards(request: Request) -> None:
        requests.append(f"{request.command} {request.path}")
        request.reply(200, FILES[request.path.rpartition("/")[2]])

    requests: list[str] = []
    proxy = start(forwards, forwards)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setattr(mnist, "MIRRORS", ("http://mnist.invalid/",))
    assert_same(load_mnist(), DIGITS)
    assert requests[0] == f"HEAD http://mnist.invalid/{PROBED}"
    assert requests[1:] == [f"GET http://mnist.invalid/{name}" for name in NAMES]


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run `code` in a new process that imports the same minicnn."""
    root = str(Path(minicnn.data.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_hanging_dns_lookup_does_not_delay_the_exit(cache: Path) -> None:
    code = """
import pathlib, pooch, socket, sys, threading
from minicnn.data import mnist
from minicnn.data.mnist import load_mnist
pooch.os_cache = lambda project: pathlib.Path(sys.argv[1])
socket.getaddrinfo = lambda *args, **kwargs: threading.Event().wait()
mnist.PROBE_SECONDS = 0.1
load_mnist()
"""
    process = run_python(code, str(cache))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    for mirror in MIRRORS:
        assert f"{mirror}{PROBED}: no answer within 0.1 s" in errors


def test_two_processes_download_in_parallel(cache: Path, start: StartServer) -> None:
    # Both downloads start before either proceeds.
    barrier = threading.Barrier(2, timeout=300)

    def waits_for_both(request: Request) -> None:
        if request.path == f"/{NAMES[0]}":
            barrier.wait()
        sends_files(request)

    code = """
import pathlib, pooch, sys
from minicnn.data import mnist
from minicnn.data.mnist import load_mnist
cache, mirror, *hashes = sys.argv[1:]
pooch.os_cache = lambda project: pathlib.Path(cache)
mnist.MIRRORS = (mirror,)
mnist.REGISTRY = dict(zip(mnist.REGISTRY, hashes))
mnist.PROBE_SECONDS = mnist.DOWNLOAD_SECONDS = 300.0
print(load_mnist().train_labels.tobytes().hex())
"""
    server = start(waits_for_both)
    arguments = (str(cache), server.url, *HASHES.values())
    processes = [run_python(code, *arguments) for _ in range(2)]
    results = [process.communicate(timeout=300) for process in processes]
    for process, (output, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors
        assert output.strip() == DIGITS.train_labels.tobytes().hex()
    assert server.seen.count(NAMES[0]) == 2
    assert contents(cache) == FILES


# Output and imports


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_progress_bar(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(sends_files)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    load_mnist()
    assert "100%" in terminal.getvalue()


@pytest.mark.parametrize("stderr", [io.StringIO(), None])
def test_other_outputs_show_no_progress_bar(
    start: StartServer, monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None
) -> None:
    start(sends_files)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert_same(load_mnist(), DIGITS)
    assert stderr is None or stderr.getvalue() == ""


def test_the_import_does_not_load_the_download_libraries() -> None:
    code = "import minicnn.data, sys; print({'pooch', 'requests'} & set(sys.modules))"
    output, errors = run_python(code).communicate(timeout=300)
    assert output == "set()\n", errors


def test_the_error_is_an_os_error() -> None:
    assert issubclass(MnistUnavailableError, OSError)
