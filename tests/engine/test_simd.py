"""The compiled vector functions do what their plain Python says."""

import os

import numba
import numpy as np
import pytest

from minicnn.kernels.simd import python

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="there is no compiled half to compare"
)

LANES = 8


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def array(request):
    values = np.arange(-8.0, 24.0).astype(request.param).reshape(4, 8)
    values[0, 1], values[1, 2], values[2, 3] = np.nan, np.inf, -np.inf
    return values


def run(function, *args):
    """Compile and call a function that writes what it finds to its last argument."""
    numba.njit(function)(*args)
    return args[-1]


@pytest.mark.parametrize("i", [0, 3, 17])
def test_loads(array, i):
    from minicnn.kernels.simd import load, load_splat, store

    def loads(array, i, out):
        store(out, 0, load(array, i, LANES))
        store(out, LANES, load_splat(array, i, LANES))

    wanted = [python.load(array, i, LANES), python.load_splat(array, i, LANES)]
    np.testing.assert_array_equal(run(loads, array, i, np.zeros((2, LANES), array.dtype)), wanted)


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9])
def test_the_first_lanes(array, count):
    from minicnn.kernels.simd import load, masked_load, masked_store, store

    def first(array, count, out):
        store(out, 0, masked_load(array, 2, count, LANES))
        masked_store(out, LANES, load(array, 4, LANES), count)

    wanted = np.full(4 * LANES, 7, array.dtype)
    python.store(wanted, 0, python.masked_load(array, 2, count, LANES))
    python.masked_store(wanted, LANES, python.load(array, 4, LANES), count)
    found = run(first, array, count, np.full(4 * LANES, 7, array.dtype))
    np.testing.assert_array_equal(found, wanted)


def test_nothing_is_read_or_written_behind_the_first_lanes():
    from minicnn.kernels.simd import masked_load, masked_store

    def copy(array, i, count, out):
        masked_store(out, i, masked_load(array, i, count, LANES), count)

    array, out = np.arange(10.0), np.zeros(10)
    np.testing.assert_array_equal(run(copy, array, 7, 3, out)[7:], [7, 8, 9])


def test_arithmetic(array):
    from minicnn.kernels.simd import fma, greater_or_nan, load, load_scalar, select, splat, store

    def arithmetic(array, out):
        a, b = load(array, 0, LANES), load(array, 8, LANES)
        c = splat(array, load_scalar(array, 20), LANES)
        store(out, 0, fma(a, b, c))
        store(out, LANES, select(greater_or_nan(a, c), a, b))
        store(out, 2 * LANES, select(greater_or_nan(c, a), c, b))

    a, b = python.load(array, 0, LANES), python.load(array, 8, LANES)
    c = python.splat(array, python.load_scalar(array, 20), LANES)
    with np.errstate(invalid="ignore"):
        wanted = [
            python.fma(a, b, c),
            python.select(python.greater_or_nan(a, c), a, b),
            python.select(python.greater_or_nan(c, a), c, b),
        ]
    np.testing.assert_array_equal(run(arithmetic, array, np.zeros((3, LANES), a.dtype)), wanted)


def test_sums_differences_and_quotients(array):
    from minicnn.kernels.simd import add, divide, load, store, subtract

    def sums(array, out):
        a, b = load(array, 0, LANES), load(array, 8, LANES)
        store(out, 0, add(a, b))
        store(out, LANES, subtract(a, b))
        store(out, 2 * LANES, divide(a, b))

    a, b = python.load(array, 0, LANES), python.load(array, 8, LANES)
    wanted = [
        python.add(a, b),
        python.subtract(a, b),
        python.divide(a, b),
    ]
    np.testing.assert_array_equal(run(sums, array, np.zeros((3, LANES), array.dtype)), wanted)


@pytest.mark.parametrize("number", [0, 3, 255])
def test_bytes_that_match(array, number):
    from minicnn.kernels.simd import equal_bytes, load, select, splat, store

    def where_three(array, numbers, out):
        ones = splat(array, 1, LANES)
        store(out, 0, select(equal_bytes(numbers, 2, 3, LANES), ones, load(array, 8, LANES)))

    numbers = np.full(16, number, np.uint8)
    numbers[4] = 3
    mask = python.equal_bytes(numbers, 2, 3, LANES)
    assert mask.tolist() == (numbers[2:10] == 3).tolist()
    wanted = np.where(mask, 1, python.load(array, 8, LANES))
    out = np.zeros(LANES, array.dtype)
    np.testing.assert_array_equal(run(where_three, array, numbers, out), wanted)


def test_nan_beats_everything_and_nothing_beats_its_equal():
    nan, one, two = (np.full(LANES, value) for value in (np.nan, 1.0, 2.0))
    greater_or_nan = python.greater_or_nan
    assert greater_or_nan(nan, two).all()
    assert greater_or_nan(two, one).all()
    assert not greater_or_nan(one, one).any()
    assert not greater_or_nan(one, nan).any()


@pytest.mark.parametrize("count", [3, 8])
def test_whole_numbers_become_bytes(count):
    from minicnn.kernels.simd import load, masked_store, store

    def to_bytes(array, count, out):
        masked_store(out, 0, load(array, 0, LANES), count)
        store(out, LANES, load(array, 0, LANES))

    array = np.arange(8.0, dtype=np.float32)
    out = run(to_bytes, array, count, np.full(2 * LANES, 9, np.uint8))
    assert out[:count].tolist() == list(range(count))
    assert out[count:LANES].tolist() == [9] * (LANES - count)
    assert out[LANES:].tolist() == list(range(8))


@pytest.mark.parametrize("unsigned", [np.uint8, np.uint16])
@pytest.mark.parametrize("count", [3, 8])
def test_vectors_of_whole_numbers(array, unsigned, count):
    from minicnn.kernels.simd import equals, load, masked_load, masked_store, select, splat, store

    def where_seven(array, numbers, count, out):
        a = masked_load(numbers, 2, count, LANES)
        mask = equals(a, splat(numbers, 7, LANES))
        store(out, 0, select(mask, load(array, 8, LANES), splat(array, 1, LANES)))
        store(numbers, LANES, select(mask, splat(numbers, 255, LANES), a))
        masked_store(numbers, 2 * LANES, load(array, 24, LANES), count)

    numbers = np.array([9, 7, 7, 0, 7, 1, 7, 7, 7, 7] + [5] * 14, unsigned)
    a = python.masked_load(numbers, 2, count, LANES)
    mask = python.equals(a, python.splat(numbers, 7, LANES))
    assert mask.tolist() == [True, False, True, False, True, True, True, True][:count] + (
        [False] * (LANES - count)
    )
    wanted = numbers.copy()
    wanted[LANES : 2 * LANES] = np.where(mask, 255, a)
    wanted[2 * LANES : 2 * LANES + count] = range(16, 16 + count)
    out = run(where_seven, array, numbers, count, np.zeros(LANES, array.dtype))
    np.testing.assert_array_equal(out, np.where(mask, array.ravel()[8:16], 1))
    np.testing.assert_array_equal(numbers, wanted)


@pytest.mark.parametrize("lanes", [8, 32])
def test_masks_are_kept_as_bits(array, lanes):
    from minicnn.kernels.simd import greater, load, load_mask, select, splat, store, store_mask

    def above_three(array, bits, out):
        threes = splat(array, 3, lanes)
        store_mask(bits, 1, greater(load(array, 0, lanes), threes))
        store(out, 0, select(load_mask(bits, 1, lanes), threes, splat(array, 0, lanes)))

    bits, wanted = np.full(6, 9, np.uint8), np.full(6, 9, np.uint8)
    threes = python.splat(array, 3, lanes)
    mask = python.greater(python.load(array, 0, lanes), threes)
    assert mask.tolist() == [bool(number > 3) for number in array.ravel()[:lanes]]
    python.store_mask(wanted, 1, mask)
    assert python.load_mask(wanted, 1, lanes).tolist() == mask.tolist()
    out = run(above_three, array, bits, np.full(lanes, 9, array.dtype))
    assert bits.tolist() == wanted.tolist()
    np.testing.assert_array_equal(out, np.where(mask, 3, 0))


@pytest.mark.parametrize("lanes", [8, 64])
@pytest.mark.parametrize("number", [0, 3, 255])
def test_the_bits_of_a_mask_are_walked_from_the_lowest(lanes, number):
    from minicnn.kernels.simd import clear_lowest_bit, count_trailing_zeros, equal_bytes, movemask

    def places(numbers, number, out):
        bits, count = movemask(equal_bytes(numbers, 1, number, lanes)), 0
        while bits:
            out[count] = count_trailing_zeros(bits)
            bits, count = clear_lowest_bit(bits), count + 1

    numbers = np.random.default_rng(0).choice(np.array([0, 3, 255], np.uint8), lanes + 1)
    numbers[lanes] = number  # the highest bit, which is the sign of a number
    wanted = np.flatnonzero(numbers[1:] == number).tolist()
    assert run(places, numbers, number, np.full(lanes, -1))[: len(wanted)].tolist() == wanted
    bits, found = python.movemask(python.equal_bytes(numbers, 1, number, lanes)), []
    while bits:
        found.append(python.count_trailing_zeros(bits))
        bits = python.clear_lowest_bit(bits)
    assert found == wanted


@pytest.mark.parametrize("lanes", [8, 16])
def test_lanes_take_turns(array, lanes):
    from minicnn.kernels.simd import interleave_high, interleave_low, load, store

    def take_turns(array, out):
        a, b = load(array, 0, lanes), load(array, lanes, lanes)
        store(out, 0, interleave_low(a, b))
        store(out, lanes, interleave_high(a, b))

    a, b = array.ravel()[:lanes], array.ravel()[lanes : 2 * lanes]
    wanted = [number for pair in zip(a, b, strict=True) for number in pair]
    first, second = python.interleave_low(a, b), python.interleave_high(a, b)
    np.testing.assert_array_equal([*first, *second], wanted)
    out = run(take_turns, array, np.zeros(2 * lanes, array.dtype))
    np.testing.assert_array_equal(out, wanted)
