"""The IDX reader: what it accepts, what it refuses and in which words, and what it may cost."""

from __future__ import annotations

import gzip
import os
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.data.idx import read_idx, read_images_and_labels

Pack = Callable[[bytes], bytes]
U32_MAX = 2**32 - 1
HUGE = struct.pack(">4I", 2051, U32_MAX, 28, 28)
SLACK = 1 << 20  # stream buffers, and whatever the test harness allocates meanwhile


def plain(data: bytes) -> bytes:
    return data


def squeezed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


both = pytest.mark.parametrize("pack", [plain, squeezed])


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 2048 + array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train-images-idx3-ubyte"


def refuses(path: Path, message: str, ndim: int = 3) -> None:
    """Reading fails with `message`, and the message names the file first."""
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path, ndim=ndim)
    assert str(caught.value).startswith(str(path))


# What it accepts


@both
@pytest.mark.parametrize("array", [IMAGES, LABELS], ids=["images", "labels"])
def test_reads_what_was_written(file: Path, pack: Pack, array: npt.NDArray[np.uint8]) -> None:
    file.write_bytes(pack(idx(array)))
    found = read_idx(file, ndim=array.ndim)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, array)


def test_gzip_is_known_by_content_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(squeezed(idx(IMAGES)))
    (tmp_path / "unpacked.gz").write_bytes(idx(IMAGES))
    np.testing.assert_array_equal(read_idx(tmp_path / "packed", ndim=3), IMAGES)
    np.testing.assert_array_equal(read_idx(tmp_path / "unpacked.gz", ndim=3), IMAGES)


def test_path_may_be_a_string(file: Path) -> None:
    file.write_bytes(idx(LABELS))
    np.testing.assert_array_equal(read_idx(str(file), ndim=1), LABELS)


@pytest.mark.parametrize("cut", [0, 3, 10, 16, 20])
def test_gzip_may_have_several_members(file: Path, cut: int) -> None:
    data = idx(IMAGES)
    file.write_bytes(squeezed(data[:cut]) + squeezed(data[cut:]))
    np.testing.assert_array_equal(read_idx(file, ndim=3), IMAGES)


def test_gzip_may_be_padded_with_zeros(file: Path) -> None:
    # As from a tape; the gzip program ignores them, too
    file.write_bytes(squeezed(idx(IMAGES)) + bytes(100))
    np.testing.assert_array_equal(read_idx(file, ndim=3), IMAGES)


@pytest.mark.parametrize("count", [2**16 - 1, 2**16, 2**16 + 1, 2**17, 2**17 + 1, 300_000])
@both
def test_sizes_around_the_chunk(file: Path, count: int, pack: Pack) -> None:
    array = np.resize(np.arange(251, dtype=np.uint8), count)
    file.write_bytes(pack(idx(array)))
    np.testing.assert_array_equal(read_idx(file, ndim=1), array)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx") / "file"


@settings(deadline=None)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 300)),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    ),
    seed=st.integers(0, U32_MAX),
    pack=st.sampled_from([plain, squeezed]),
)
def test_round_trip(scratch: Path, shape: tuple[int, ...], seed: int, pack: Pack) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    scratch.write_bytes(pack(idx(array)))
    np.testing.assert_array_equal(read_idx(scratch, ndim=len(shape)), array)


@settings(deadline=None)
@given(data=st.data(), pack=st.sampled_from([plain, squeezed]))
def test_every_prefix_is_refused(scratch: Path, data: st.DataObject, pack: Pack) -> None:
    whole = pack(idx(IMAGES))
    scratch.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match=re.escape(str(scratch))):
        read_idx(scratch, ndim=3)


@settings(deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=64),
        st.builds(
            lambda count, body: struct.pack(">2I", 2049, count) + body,
            st.integers(0, 5),
            st.binary(max_size=5),
        ),
    ),
    pack=st.sampled_from([plain, squeezed]),
)
def test_any_bytes_give_an_array_or_a_value_error(scratch: Path, data: bytes, pack: Pack) -> None:
    scratch.write_bytes(pack(data))
    sound = len(data) > 8 and data[:8] == struct.pack(">2I", 2049, len(data) - 8)
    if sound:
        assert idx(read_idx(scratch, ndim=1)) == data
    else:
        refuses(scratch, "wanted|download", 1)


# What it refuses


@pytest.mark.parametrize("ndim", [0, 2, 4, -1])
def test_refuses_other_ndim(file: Path, ndim: int) -> None:
    with pytest.raises(ValueError, match=rf"ndim must be 1 \(labels\) or 3 \(images\), got {ndim}"):
        read_idx(file, ndim=ndim)


def test_refuses_a_missing_file(file: Path) -> None:
    wanted = (
        r"does not exist; an IDX file of images \(magic number 2051\), plain or gzip, is wanted"
    )
    with pytest.raises(FileNotFoundError, match=re.escape(str(file)) + " " + wanted):
        read_idx(file, ndim=3)


def test_refuses_a_folder(tmp_path: Path) -> None:
    refuses(tmp_path, r"is a folder or a device, not a file; an IDX file of images \(magic.*2051")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_refuses_a_pipe_instead_of_waiting_for_it(file: Path) -> None:
    os.mkfifo(file)
    refuses(file, "is a folder or a device, not a file")


@both
def test_refuses_an_empty_file(file: Path, pack: Pack) -> None:
    file.write_bytes(pack(b""))
    refuses(file, r"is empty; an IDX file of labels \(magic number 2049\).*download it again", 1)


@both
@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>",
        b"\r\n  <html>",
        b"\xef\xbb\xbf<HTML>",
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        b"<",
    ],
)
def test_refuses_a_web_page(file: Path, pack: Pack, page: bytes) -> None:
    file.write_bytes(pack(page))
    refuses(file, r"is a web page saved under the file's name \(it starts with b.*; an IDX file of")


@pytest.mark.parametrize("cut", [2, 3, 9, 10, 15, -9, -8, -4, -1])
def test_refuses_a_truncated_gzip(file: Path, cut: int) -> None:
    file.write_bytes(squeezed(idx(IMAGES))[:cut])
    refuses(file, "the gzip stream is cut short; an IDX file of images .*: download it again")


@pytest.mark.parametrize("position", [-8, -4], ids=["crc", "length"])
def test_refuses_a_gzip_with_a_wrong_check_sum(file: Path, position: int) -> None:
    data = bytearray(squeezed(idx(IMAGES)))
    data[position] ^= 1
    file.write_bytes(data)
    refuses(file, r"the gzip stream is damaged.*(CRC|length).*download it again")


def test_refuses_corrupt_deflate_data(file: Path) -> None:
    data = squeezed(idx(IMAGES))
    file.write_bytes(data[:10] + b"\xff" * 8 + data[18:])
    refuses(file, "the gzip stream is damaged.*invalid block type")


def test_refuses_an_unknown_compression(file: Path) -> None:
    file.write_bytes(b"\x1f\x8b\x00" + squeezed(idx(IMAGES))[3:])
    refuses(file, "the gzip stream is damaged.*Unknown compression method")


@pytest.mark.parametrize("garbage", [b"g", b"garbage after the end"])
def test_refuses_a_gzip_followed_by_garbage(file: Path, garbage: bytes) -> None:
    file.write_bytes(squeezed(idx(IMAGES)) + garbage)
    refuses(file, "followed by bytes that are not gzip.*download it again")


@both
@pytest.mark.parametrize("magic", [b"\x50\x4b\x03\x04", b"\0\x01\x08\x03", b"\x03\x08\0\0", b"\0"])
def test_refuses_a_wrong_magic_number(file: Path, pack: Pack, magic: bytes) -> None:
    file.write_bytes(pack(magic + idx(IMAGES)[4:] if len(magic) == 4 else magic))
    found = re.escape(repr(magic))
    refuses(file, f"starts with {found}, which is no IDX magic number; .*2051.*the right file")


@both
@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x09, "int8"),
        (0x0B, "int16"),
        (0x0C, "int32"),
        (0x0D, "float32"),
        (0x0E, "float64"),
        (0x07, "unknown to IDX"),
    ],
)
def test_refuses_other_element_types(file: Path, pack: Pack, code: int, name: str) -> None:
    file.write_bytes(pack(bytes([0, 0, code, 3]) + idx(IMAGES)[4:]))
    refuses(
        file,
        rf"the element type is 0x{code:02x} \({name}\), but 0x08 \(uint8\) is wanted; convert",
    )


@both
@pytest.mark.parametrize(("array", "ndim"), [(IMAGES, 1), (LABELS, 3)], ids=["images", "labels"])
def test_refuses_another_number_of_dimensions(
    file: Path, pack: Pack, array: npt.NDArray[np.uint8], ndim: int
) -> None:
    file.write_bytes(pack(idx(array)))
    message = rf"dimensions is {array.ndim}, but {ndim} is wanted, .*{2048 + ndim}.*are swapped"
    refuses(file, message, ndim)


@both
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_refuses_a_dimension_of_zero(file: Path, pack: Pack, axis: int) -> None:
    shape = [2, 3, 4]
    shape[axis] = 0
    file.write_bytes(pack(struct.pack(">4I", 2051, *shape)))
    refuses(file, rf"dimension {axis} of shape \({', '.join(map(str, shape))}\) is 0, but every")


@both
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_refuses_the_largest_dimension(file: Path, pack: Pack, axis: int) -> None:
    shape = [2, 3, 4]
    shape[axis] = U32_MAX
    size = 24 // (2, 3, 4)[axis] * U32_MAX
    file.write_bytes(pack(struct.pack(">4I", 2051, *shape) + IMAGES.tobytes()))
    refuses(file, rf"the header promises {size} bytes of data .* but only 24 follow it; download")


@both
def test_sizes_do_not_wrap(file: Path, pack: Pack) -> None:
    # 2**96 is 0 in 64-bit integers, which an empty body would satisfy
    file.write_bytes(pack(struct.pack(">4I", 2051, 2**31, 2**31, 2**31) + b"x"))
    refuses(file, f"the header promises {2**93} bytes of data")


@both
@pytest.mark.parametrize("length", [4, 8, 15])
def test_refuses_a_file_that_ends_inside_its_header(file: Path, pack: Pack, length: int) -> None:
    file.write_bytes(pack(idx(IMAGES)[:length]))
    refuses(file, f"ends inside its header, after {length} bytes; .*2051.*: download it again")


@both
@pytest.mark.parametrize("length", [16, 17, 39])
def test_refuses_too_few_bytes(file: Path, pack: Pack, length: int) -> None:
    file.write_bytes(pack(idx(IMAGES)[:length]))
    message = r"promises 24 bytes of data \(shape \(2, 3, 4\)\) but only {} follow it; download"
    refuses(file, message.format(length - 16))


@both
@pytest.mark.parametrize("extra", [b"\0", b"x" * 100_000])
def test_refuses_trailing_bytes(file: Path, pack: Pack, extra: bytes) -> None:
    file.write_bytes(pack(idx(IMAGES) + extra))
    refuses(file, r"promises 24 bytes of data \(shape \(2, 3, 4\)\) but more bytes follow them")


# What it may cost


def peak_memory(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@both
def test_a_huge_promise_takes_no_memory(file: Path, pack: Pack) -> None:
    file.write_bytes(pack(HUGE + bytes(1000)))
    assert peak_memory(lambda: refuses(file, "but only 1000 follow it")) < SLACK


def test_a_huge_promise_takes_at_most_twice_what_arrives(file: Path) -> None:
    arrived = 5_000_000
    file.write_bytes(squeezed(HUGE + bytes(arrived)))
    assert file.stat().st_size < 10_000
    peak = peak_memory(lambda: refuses(file, f"but only {arrived} follow it"))
    assert peak < 2 * arrived + SLACK


def test_a_gzip_bomb_is_left_after_one_byte_too_many(file: Path) -> None:
    # 50 MB of zeros behind a header that promises 24 bytes, and then a broken end: reading on
    # would take the memory, or reach the end and complain about that
    file.write_bytes(squeezed(idx(IMAGES) + bytes(50_000_000))[:-8])
    assert peak_memory(lambda: refuses(file, "but more bytes follow them")) < SLACK


@both
def test_memory_is_the_size_of_the_array(file: Path, pack: Pack) -> None:
    array = np.zeros((5000, 28, 28), dtype=np.uint8)
    file.write_bytes(pack(idx(array)))
    assert peak_memory(lambda: read_idx(file, ndim=3)) < array.nbytes + SLACK


# Images with their labels


def write_pair(
    folder: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
) -> tuple[Path, Path]:
    (folder / "images").write_bytes(idx(images))
    (folder / "labels").write_bytes(squeezed(idx(labels)))
    return folder / "images", folder / "labels"


def test_reads_a_pair(tmp_path: Path) -> None:
    images, labels = read_images_and_labels(*write_pair(tmp_path, IMAGES, LABELS[:2]))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS[:2])


def test_refuses_different_counts(tmp_path: Path) -> None:
    message = "images holds 2 images but .*labels holds 3 labels; .* one label per image"
    with pytest.raises(ValueError, match=message):
        read_images_and_labels(*write_pair(tmp_path, IMAGES, LABELS))


def test_names_the_first_label_out_of_range(tmp_path: Path) -> None:
    images = np.zeros((5, 1, 1), dtype=np.uint8)
    labels = np.array([0, 9, 10, 3, 255], dtype=np.uint8)
    message = r"labels: label 2 is 10 \(2 of 5 labels are above 9\); labels must be 0 to 9"
    with pytest.raises(ValueError, match=message):
        read_images_and_labels(*write_pair(tmp_path, images, labels))


def test_refuses_a_swapped_pair(tmp_path: Path) -> None:
    images, labels = write_pair(tmp_path, IMAGES, LABELS[:2])
    with pytest.raises(ValueError, match=r"dimensions is 1, but 3 is wanted.*are swapped"):
        read_images_and_labels(labels, images)
