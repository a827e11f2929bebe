"""The IDX reader: valid files, errors for invalid ones, and peak memory."""

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
SLACK = 1 << 20  # stream buffers, and allocations of the test harness


def plain(data: bytes) -> bytes:
    return data


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


both = pytest.mark.parametrize("pack", [plain, packed])


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 2048 + array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train-images-idx3-ubyte"


def assert_error(path: Path, message: str, ndim: int = 3) -> None:
    """Assert that reading raises ValueError with the path and `message`."""
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path, ndim=ndim)
    assert str(caught.value).startswith(str(path))


# Valid files


@both
@pytest.mark.parametrize("array", [IMAGES, LABELS], ids=["images", "labels"])
def test_reads_a_written_array(file: Path, pack: Pack, array: npt.NDArray[np.uint8]) -> None:
    file.write_bytes(pack(idx(array)))
    array_read = read_idx(file, ndim=array.ndim)
    assert array_read.dtype == np.uint8
    assert array_read.flags.writeable
    assert array_read.flags.c_contiguous
    np.testing.assert_array_equal(array_read, array)


def test_gzip_is_detected_by_content_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(packed(idx(IMAGES)))
    (tmp_path / "unpacked.gz").write_bytes(idx(IMAGES))
    np.testing.assert_array_equal(read_idx(tmp_path / "packed", ndim=3), IMAGES)
    np.testing.assert_array_equal(read_idx(tmp_path / "unpacked.gz", ndim=3), IMAGES)


def test_path_may_be_a_string(file: Path) -> None:
    file.write_bytes(idx(LABELS))
    np.testing.assert_array_equal(read_idx(str(file), ndim=1), LABELS)


@pytest.mark.parametrize("cut", [0, 3, 10, 16, 20])
def test_gzip_may_have_several_members(file: Path, cut: int) -> None:
    data = idx(IMAGES)
    file.write_bytes(packed(data[:cut]) + packed(data[cut:]))
    np.testing.assert_array_equal(read_idx(file, ndim=3), IMAGES)


def test_gzip_may_be_padded_with_zeros(file: Path) -> None:
    # Tape drives pad like this; the gzip program ignores the padding too.
    file.write_bytes(packed(idx(IMAGES)) + bytes(100))
    np.testing.assert_array_equal(read_idx(file, ndim=3), IMAGES)


@pytest.mark.parametrize("count", [2**16 - 1, 2**16, 2**16 + 1, 2**17, 2**17 + 1, 300_000])
@both
def test_sizes_around_a_chunk_are_read(file: Path, count: int, pack: Pack) -> None:
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
    pack=st.sampled_from([plain, packed]),
)
def test_random_arrays_are_read_back(
    scratch: Path, shape: tuple[int, ...], seed: int, pack: Pack
) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    scratch.write_bytes(pack(idx(array)))
    np.testing.assert_array_equal(read_idx(scratch, ndim=len(shape)), array)


@settings(deadline=None)
@given(data=st.data(), pack=st.sampled_from([plain, packed]))
def test_every_truncation_is_an_error(scratch: Path, data: st.DataObject, pack: Pack) -> None:
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
    pack=st.sampled_from([plain, packed]),
)
def test_any_bytes_give_an_array_or_a_value_error(scratch: Path, data: bytes, pack: Pack) -> None:
    scratch.write_bytes(pack(data))
    valid = len(data) > 8 and data[:8] == struct.pack(">2I", 2049, len(data) - 8)
    if valid:
        assert idx(read_idx(scratch, ndim=1)) == data
    else:
        assert_error(scratch, "give|download|must|not an IDX", 1)


# Errors


@pytest.mark.parametrize("ndim", [0, 2, 4, -1])
def test_rejects_other_ndim(file: Path, ndim: int) -> None:
    with pytest.raises(ValueError, match=rf"ndim must be 1 \(labels\) or 3 \(images\), not {ndim}"):
        read_idx(file, ndim=ndim)


def test_rejects_a_missing_file(file: Path) -> None:
    message = "does not exist; give an IDX file of images (magic number 2051), plain or gzip"
    with pytest.raises(FileNotFoundError, match=re.escape(f"{file} {message}")):
        read_idx(file, ndim=3)


def test_rejects_a_folder(tmp_path: Path) -> None:
    assert_error(tmp_path, r"is a folder or a device; give an IDX file of images \(magic.*2051")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_rejects_a_named_pipe_without_blocking(file: Path) -> None:
    os.mkfifo(file)
    assert_error(file, "is a folder or a device; give")


@both
def test_rejects_an_empty_file(file: Path, pack: Pack) -> None:
    file.write_bytes(pack(b""))
    assert_error(file, "is empty; download it again", 1)


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
def test_rejects_a_web_page(file: Path, pack: Pack, page: bytes) -> None:
    file.write_bytes(pack(page))
    assert_error(
        file, r"is a web page \(it starts with b.*, not an IDX file of images .*; download the file"
    )


@pytest.mark.parametrize("cut", [2, 3, 9, 10, 15, -9, -8, -4, -1])
def test_rejects_a_truncated_gzip(file: Path, cut: int) -> None:
    file.write_bytes(packed(idx(IMAGES))[:cut])
    assert_error(file, "the gzip stream is truncated; download it again")


@pytest.mark.parametrize("position", [-8, -4], ids=["crc", "length"])
def test_rejects_a_gzip_with_a_wrong_check_sum(file: Path, position: int) -> None:
    data = bytearray(packed(idx(IMAGES)))
    data[position] ^= 1
    file.write_bytes(data)
    assert_error(file, r"the gzip stream is damaged.*(CRC|length).*download it again")


def test_rejects_damaged_deflate_data(file: Path) -> None:
    data = packed(idx(IMAGES))
    file.write_bytes(data[:10] + b"\xff" * 8 + data[18:])
    assert_error(file, "the gzip stream is damaged.*invalid block type")


def test_rejects_an_unknown_compression(file: Path) -> None:
    file.write_bytes(b"\x1f\x8b\x00" + packed(idx(IMAGES))[3:])
    assert_error(file, "the gzip stream is damaged.*Unknown compression method")


@pytest.mark.parametrize("garbage", [b"g", b"garbage after the end"])
def test_rejects_a_gzip_followed_by_garbage(file: Path, garbage: bytes) -> None:
    file.write_bytes(packed(idx(IMAGES)) + garbage)
    assert_error(file, "followed by other bytes.*download it again")


@both
@pytest.mark.parametrize("magic", [b"\x50\x4b\x03\x04", b"\0\x01\x08\x03", b"\x03\x08\0\0", b"\0"])
def test_rejects_a_wrong_magic_number(file: Path, pack: Pack, magic: bytes) -> None:
    file.write_bytes(pack(magic + idx(IMAGES)[4:] if len(magic) == 4 else magic))
    start = re.escape(repr(magic))
    assert_error(file, f"starts with {start}, which is not an IDX magic number; give an .*2051")


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
def test_rejects_other_element_types(file: Path, pack: Pack, code: int, name: str) -> None:
    file.write_bytes(pack(bytes([0, 0, code, 3]) + idx(IMAGES)[4:]))
    assert_error(
        file, rf"the element type must be 0x08 \(uint8\), not 0x{code:02x} \({name}\); convert"
    )


@both
@pytest.mark.parametrize(("array", "ndim"), [(IMAGES, 1), (LABELS, 3)], ids=["images", "labels"])
def test_rejects_another_number_of_dimensions(
    file: Path, pack: Pack, array: npt.NDArray[np.uint8], ndim: int
) -> None:
    file.write_bytes(pack(idx(array)))
    message = rf"dimensions must be {ndim}, not {array.ndim}; give .*{2048 + ndim}.*be swapped"
    assert_error(file, message, ndim)


@both
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rejects_a_dimension_of_zero(file: Path, pack: Pack, axis: int) -> None:
    shape = [2, 3, 4]
    shape[axis] = 0
    file.write_bytes(pack(struct.pack(">4I", 2051, *shape)))
    assert_error(
        file,
        rf"dimension {axis} of shape \({', '.join(map(str, shape))}\) must be at least 1, not 0",
    )


@both
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rejects_the_largest_dimension(file: Path, pack: Pack, axis: int) -> None:
    shape = [2, 3, 4]
    shape[axis] = U32_MAX
    size = 24 // (2, 3, 4)[axis] * U32_MAX
    file.write_bytes(pack(struct.pack(">4I", 2051, *shape) + IMAGES.tobytes()))
    assert_error(file, rf"the data must have {size} bytes .*, not 24; download")


@both
def test_sizes_do_not_overflow(file: Path, pack: Pack) -> None:
    # 2**96 is 0 in 64-bit integers, so an empty body would be valid.
    file.write_bytes(pack(struct.pack(">4I", 2051, 2**31, 2**31, 2**31) + b"x"))
    assert_error(file, f"the data must have {2**93} bytes")


@both
@pytest.mark.parametrize("length", [4, 8, 15])
def test_rejects_a_file_that_ends_inside_its_header(file: Path, pack: Pack, length: int) -> None:
    file.write_bytes(pack(idx(IMAGES)[:length]))
    assert_error(file, f"ends inside its header, after {length} bytes; download it again")


@both
@pytest.mark.parametrize("length", [16, 17, 39])
def test_rejects_too_few_bytes(file: Path, pack: Pack, length: int) -> None:
    file.write_bytes(pack(idx(IMAGES)[:length]))
    message = r"must have 24 bytes for shape \(2, 3, 4\) in the header, not {}; download"
    assert_error(file, message.format(length - 16))


@both
@pytest.mark.parametrize("extra", [b"\0", b"x" * 100_000])
def test_rejects_trailing_bytes(file: Path, pack: Pack, extra: bytes) -> None:
    file.write_bytes(pack(idx(IMAGES) + extra))
    assert_error(
        file, r"must have 24 bytes for shape \(2, 3, 4\) in the header, not more; download"
    )


# Memory


def peak_memory(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@both
def test_a_huge_header_allocates_no_memory(file: Path, pack: Pack) -> None:
    file.write_bytes(pack(HUGE + bytes(1000)))
    assert peak_memory(lambda: assert_error(file, "not 1000; download")) < SLACK


def test_a_huge_header_allocates_at_most_twice_the_data(file: Path) -> None:
    count = 5_000_000
    file.write_bytes(packed(HUGE + bytes(count)))
    assert file.stat().st_size < 10_000
    peak = peak_memory(lambda: assert_error(file, f"not {count}; download"))
    assert peak < 2 * count + SLACK


def test_a_gzip_bomb_is_read_only_to_the_first_extra_byte(file: Path) -> None:
    # A header of 24 bytes, 50 MB of zeros and a damaged end: reading further would allocate the
    # memory, or report the damaged end.
    file.write_bytes(packed(idx(IMAGES) + bytes(50_000_000))[:-8])
    assert peak_memory(lambda: assert_error(file, "not more; download")) < SLACK


@both
def test_peak_memory_is_the_size_of_the_array(file: Path, pack: Pack) -> None:
    array = np.zeros((5000, 28, 28), dtype=np.uint8)
    file.write_bytes(pack(idx(array)))
    assert peak_memory(lambda: read_idx(file, ndim=3)) < array.nbytes + SLACK


# Images and labels


def write_pair(
    folder: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
) -> tuple[Path, Path]:
    (folder / "images").write_bytes(idx(images))
    (folder / "labels").write_bytes(packed(idx(labels)))
    return folder / "images", folder / "labels"


def test_reads_a_pair(tmp_path: Path) -> None:
    images, labels = read_images_and_labels(*write_pair(tmp_path, IMAGES, LABELS[:2]))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS[:2])


def test_rejects_different_counts(tmp_path: Path) -> None:
    message = "images has 2 images but .*labels has 3 labels; give two files of the same data set"
    with pytest.raises(ValueError, match=message):
        read_images_and_labels(*write_pair(tmp_path, IMAGES, LABELS))


def test_names_the_first_label_out_of_range(tmp_path: Path) -> None:
    images = np.zeros((5, 1, 1), dtype=np.uint8)
    labels = np.array([0, 9, 10, 3, 255], dtype=np.uint8)
    message = (
        r"labels: labels must be 0 to 9, but label 2 is 10 \(2 of 5 labels are above 9\); give"
    )
    with pytest.raises(ValueError, match=message):
        read_images_and_labels(*write_pair(tmp_path, images, labels))


def test_rejects_a_swapped_pair(tmp_path: Path) -> None:
    images, labels = write_pair(tmp_path, IMAGES, LABELS[:2])
    with pytest.raises(ValueError, match=r"dimensions must be 3, not 1; .*may be swapped"):
        read_images_and_labels(labels, images)
