"""The compiled SIMD functions equal their plain Python definitions."""

import os

import numba
import numpy as np
import pytest

from minicnn.kernels import simd

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled"
)

LANES = 8


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def array(request):
    values = np.arange(-8.0, 24.0).astype(request.param).reshape(4, 8)
    values[0, 1], values[1, 2], values[2, 3] = np.nan, np.inf, -np.inf
    return values


def run(function, *args):
    """Compile and call a function that writes to its last argument."""
    numba.njit(function)(*args)
    return args[-1]


@pytest.mark.parametrize("i", [0, 3, 17])
def test_load_and_load_splat(array, i):
    from minicnn.kernels.simd import load, load_splat, store

    def loads(array, i, out):
        store(out, 0, load(array, i, LANES))
        store(out, LANES, load_splat(array, i, LANES))

    expected = [simd.load(array, i, LANES), simd.load_splat(array, i, LANES)]
    np.testing.assert_array_equal(run(loads, array, i, np.zeros((2, LANES), array.dtype)), expected)


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9])
def test_load_and_store_tail(array, count):
    from minicnn.kernels.simd import load, load_tail, store, store_tail

    def tail(array, count, out):
        store(out, 0, load_tail(array, 2, count, LANES))
        store_tail(out, LANES, load(array, 4, LANES), count)

    expected = np.full(4 * LANES, 7, array.dtype)
    simd.store(expected, 0, simd.load_tail(array, 2, count, LANES))
    simd.store_tail(expected, LANES, simd.load(array, 4, LANES), count)
    out = run(tail, array, count, np.full(4 * LANES, 7, array.dtype))
    np.testing.assert_array_equal(out, expected)


def test_masked_lanes_are_neither_read_nor_written():
    from minicnn.kernels.simd import load_tail, store_tail

    def copy(array, i, count, out):
        store_tail(out, i, load_tail(array, i, count, LANES), count)

    array, out = np.arange(10.0), np.zeros(10)
    np.testing.assert_array_equal(run(copy, array, 7, 3, out)[7:], [7, 8, 9])


def test_fma_and_select(array):
    from minicnn.kernels.simd import fma, greater_or_nan, load, load_scalar, select, splat, store

    def arithmetic(array, out):
        a, b = load(array, 0, LANES), load(array, 8, LANES)
        c = splat(array, load_scalar(array, 20), LANES)
        store(out, 0, fma(a, b, c))
        store(out, LANES, select(greater_or_nan(a, c), a, b))
        store(out, 2 * LANES, select(greater_or_nan(c, a), c, b))

    a, b = simd.load(array, 0, LANES), simd.load(array, 8, LANES)
    c = simd.splat(array, simd.load_scalar(array, 20), LANES)
    with np.errstate(invalid="ignore"):
        expected = [
            simd.fma(a, b, c),
            simd.select(simd.greater_or_nan(a, c), a, b),
            simd.select(simd.greater_or_nan(c, a), c, b),
        ]
    np.testing.assert_array_equal(run(arithmetic, array, np.zeros((3, LANES), a.dtype)), expected)


def test_add_subtract_and_divide(array):
    from minicnn.kernels.simd import add, divide, load, store, subtract

    def sums(array, out):
        a, b = load(array, 0, LANES), load(array, 8, LANES)
        store(out, 0, add(a, b))
        store(out, LANES, subtract(a, b))
        store(out, 2 * LANES, divide(a, b))

    a, b = simd.load(array, 0, LANES), simd.load(array, 8, LANES)
    expected = [simd.add(a, b), simd.subtract(a, b), simd.divide(a, b)]
    np.testing.assert_array_equal(run(sums, array, np.zeros((3, LANES), array.dtype)), expected)


@pytest.mark.parametrize("value", [0, 3, 255])
def test_equals(array, value):
    from minicnn.kernels.simd import equals, load, select, splat, store

    def where_three(array, values, out):
        mask = equals(load(values, 2, LANES), splat(values, 3, LANES))
        store(out, 0, select(mask, splat(array, 1, LANES), load(array, 8, LANES)))

    values = np.full(16, value, np.uint8)
    values[4] = 3
    mask = simd.equals(simd.load(values, 2, LANES), simd.splat(values, 3, LANES))
    assert mask.tolist() == (values[2:10] == 3).tolist()
    expected = np.where(mask, 1, simd.load(array, 8, LANES))
    out = np.zeros(LANES, array.dtype)
    np.testing.assert_array_equal(run(where_three, array, values, out), expected)


def test_greater_or_nan_of_equal_values_and_nan():
    nan, one, two = (np.full(LANES, value) for value in (np.nan, 1.0, 2.0))
    greater_or_nan = simd.greater_or_nan
    assert greater_or_nan(nan, two).all()
    assert greater_or_nan(two, one).all()
    assert not greater_or_nan(one, one).any()
    assert not greater_or_nan(one, nan).any()


@pytest.mark.parametrize("count", [3, 8])
def test_store_truncates_to_bytes(count):
    from minicnn.kernels.simd import load, store, store_tail

    def to_bytes(array, count, out):
        store_tail(out, 0, load(array, 0, LANES), count)
        store(out, LANES, load(array, 0, LANES))

    array = np.arange(8.0, dtype=np.float32)
    out = run(to_bytes, array, count, np.full(2 * LANES, 9, np.uint8))
    assert out[:count].tolist() == list(range(count))
    assert out[count:LANES].tolist() == [9] * (LANES - count)
    assert out[LANES:].tolist() == list(range(8))


@pytest.mark.parametrize("unsigned", [np.uint8, np.uint16])
@pytest.mark.parametrize("count", [3, 8])
def test_vectors_of_unsigned_integers(array, unsigned, count):
    from minicnn.kernels.simd import equals, load, load_tail, select, splat, store, store_tail

    def where_seven(array, values, count, out):
        a = load_tail(values, 2, count, LANES)
        mask = equals(a, splat(values, 7, LANES))
        store(out, 0, select(mask, load(array, 8, LANES), splat(array, 1, LANES)))
        store(values, LANES, select(mask, splat(values, 255, LANES), a))
        store_tail(values, 2 * LANES, load(array, 24, LANES), count)

    values = np.array([9, 7, 7, 0, 7, 1, 7, 7, 7, 7] + [5] * 14, unsigned)
    a = simd.load_tail(values, 2, count, LANES)
    mask = simd.equals(a, simd.splat(values, 7, LANES))
    assert mask.tolist() == [True, False, True, False, True, True, True, True][:count] + (
        [False] * (LANES - count)
    )
    expected = values.copy()
    expected[LANES : 2 * LANES] = np.where(mask, 255, a)
    expected[2 * LANES : 2 * LANES + count] = range(16, 16 + count)
    out = run(where_seven, array, values, count, np.zeros(LANES, array.dtype))
    np.testing.assert_array_equal(out, np.where(mask, array.ravel()[8:16], 1))
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("lanes", [8, 32])
def test_load_and_store_mask(array, lanes):
    from minicnn.kernels.simd import greater, load, load_mask, select, splat, store, store_mask

    def above_three(array, bits, out):
        threes = splat(array, 3, lanes)
        store_mask(bits, 1, greater(load(array, 0, lanes), threes))
        store(out, 0, select(load_mask(bits, 1, lanes), threes, splat(array, 0, lanes)))

    bits, expected = np.full(6, 9, np.uint8), np.full(6, 9, np.uint8)
    threes = simd.splat(array, 3, lanes)
    mask = simd.greater(simd.load(array, 0, lanes), threes)
    assert mask.tolist() == [bool(x > 3) for x in array.ravel()[:lanes]]
    simd.store_mask(expected, 1, mask)
    assert simd.load_mask(expected, 1, lanes).tolist() == mask.tolist()
    out = run(above_three, array, bits, np.full(lanes, 9, array.dtype))
    assert bits.tolist() == expected.tolist()
    np.testing.assert_array_equal(out, np.where(mask, 3, 0))


@pytest.mark.parametrize("lanes", [8, 64])
@pytest.mark.parametrize("value", [0, 3, 255])
def test_iteration_over_the_bits_of_a_mask(lanes, value):
    from minicnn.kernels.simd import (
        clear_lowest_bit,
        count_trailing_zeros,
        equals,
        load,
        movemask,
        splat,
    )

    def set_bits(values, value, out):
        bits, count = movemask(equals(load(values, 1, lanes), splat(values, value, lanes))), 0
        while bits:
            out[count] = count_trailing_zeros(bits)
            bits, count = clear_lowest_bit(bits), count + 1

    values = np.random.default_rng(0).choice(np.array([0, 3, 255], np.uint8), lanes + 1)
    values[lanes] = value  # the highest bit, the sign of an integer
    expected = np.flatnonzero(values[1:] == value).tolist()
    assert run(set_bits, values, value, np.full(lanes, -1))[: len(expected)].tolist() == expected
    mask = simd.equals(simd.load(values, 1, lanes), simd.splat(values, value, lanes))
    bits, found = simd.movemask(mask), []
    while bits:
        found.append(simd.count_trailing_zeros(bits))
        bits = simd.clear_lowest_bit(bits)
    assert found == expected


@pytest.mark.parametrize("side", [2, 4])
def test_transpose_tile(array, side):
    from minicnn.kernels.simd import load_tile, store_tile, transpose_tile

    def transpose(array, rows, out):
        store_tile(out, rows, transpose_tile(load_tile(array, rows, side, side)), side)

    rows = tuple(8 * r for r in range(side))
    square = array[:side, :side]
    tile = simd.load_tile(array, rows, side, side)
    np.testing.assert_array_equal(simd.transpose_tile(tile), square.T)
    out = run(transpose, array, rows, np.zeros_like(array))
    np.testing.assert_array_equal(out[:side, :side], square.T)


@pytest.mark.parametrize("MR", [1, 3, 4])
def test_rows_of_a_tile(MR):
    from minicnn.kernels.simd import clamp_rows, gather_offsets, row_offsets

    def offsets(indices, first, count, out):
        rows = clamp_rows(first, count, MR)
        gathered, strided = gather_offsets(indices, rows, 100), row_offsets(rows, 7, 3)
        for r in range(MR):
            out[0, r], out[1, r], out[2, r] = rows[r], gathered[r], strided[r]

    indices = np.array([5, 2, 9, 4])
    for first in range(4):
        rows = simd.clamp_rows(first, 4, MR)
        assert rows == tuple(min(first + r, 3) for r in range(MR))
        expected = [rows, simd.gather_offsets(indices, rows, 100), simd.row_offsets(rows, 7, 3)]
        out = run(offsets, indices, first, 4, np.zeros((3, MR), np.int64))
        assert out.tolist() == [list(row) for row in expected]


@pytest.mark.parametrize("remaining", [3, 8, 11])
@pytest.mark.parametrize("MR", [1, 3])
def test_arithmetic_of_tiles(array, MR, remaining):
    from minicnn.kernels.simd import (
        axpy_tile,
        clamp_rows,
        fma_tile,
        load,
        load_tile,
        relu_tile,
        row_offsets,
        splat_tile,
        store_tile,
    )

    def tiles(array, remaining, out):
        rows = row_offsets(clamp_rows(0, MR, MR), LANES, 0)
        acc, v = load_tile(array, rows, remaining, LANES), load(array, 8, LANES)
        store_tile(out, rows, acc, remaining)
        store_tile(out, row_offsets(rows, 1, 24), fma_tile(acc, array, rows, 3, v), remaining)
        store_tile(out, row_offsets(rows, 1, 48), axpy_tile(acc, v, acc), remaining)
        store_tile(out, row_offsets(rows, 1, 72), relu_tile(acc), remaining)
        store_tile(out, row_offsets(rows, 1, 96), splat_tile(v, MR), remaining)

    expected = np.full((5, 3, LANES), 7, array.dtype)
    values, v = np.zeros((MR, LANES), array.dtype), array[1]
    values[:, :remaining] = array[:MR, :remaining]
    with np.errstate(invalid="ignore"):
        results = (
            values,
            values + array[:MR, 3:4] * v,
            values + v * values,
            np.where(values < 0, 0, values),
            np.tile(v, (MR, 1)),
        )
    for i, result in enumerate(results):
        expected[i, :MR, :remaining] = result[:, :remaining]
    shape = expected.shape
    out = run(tiles, array, remaining, np.full(shape, 7, array.dtype))
    np.testing.assert_array_equal(out, expected)
    out = np.full(shape, 7, array.dtype)
    rows = simd.row_offsets(simd.clamp_rows(0, MR, MR), LANES, 0)
    acc = simd.load_tile(array, rows, remaining, LANES)
    results = (
        acc,
        simd.fma_tile(acc, array, rows, 3, array[1]),
        simd.axpy_tile(acc, array[1], acc),
        simd.relu_tile(acc),
        simd.splat_tile(array[1], MR),
    )
    for i, result in enumerate(results):
        simd.store_tile(out, simd.row_offsets(rows, 1, 24 * i), result, remaining)
    np.testing.assert_array_equal(out, expected)


def test_tiles_of_unsigned_integers():
    from minicnn.kernels.simd import load, splat_tile, store_tile

    def to_bytes(array, count, out):
        store_tile(out, (0, LANES), splat_tile(load(array, 0, LANES), 2), count)

    out = run(to_bytes, np.arange(8.0), 3, np.full(2 * LANES, 9, np.uint8))
    assert out.tolist() == [0, 1, 2, 9, 9, 9, 9, 9] * 2
