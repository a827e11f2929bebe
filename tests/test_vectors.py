"""The compiled vector functions do what their plain Python says."""

import os

import numba
import numpy as np
import pytest

from minicnn.kernels import masks_python, vectors_python

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
    from minicnn.kernels.vectors import broadcast, load, store

    def loads(array, i, out):
        store(out, 0, load(array, i, LANES))
        store(out, LANES, broadcast(array, i, LANES))

    wanted = [vectors_python.load(array, i, LANES), vectors_python.broadcast(array, i, LANES)]
    np.testing.assert_array_equal(run(loads, array, i, np.zeros((2, LANES), array.dtype)), wanted)


@pytest.mark.parametrize("count", [0, 1, 5, 8, 9])
def test_the_first_lanes(array, count):
    from minicnn.kernels.vectors import load, load_first, store, store_first

    def first(array, count, out):
        store(out, 0, load_first(array, 2, count, LANES))
        store_first(out, LANES, load(array, 4, LANES), count)

    wanted = np.full(4 * LANES, 7, array.dtype)
    vectors_python.store(wanted, 0, vectors_python.load_first(array, 2, count, LANES))
    vectors_python.store_first(wanted, LANES, vectors_python.load(array, 4, LANES), count)
    found = run(first, array, count, np.full(4 * LANES, 7, array.dtype))
    np.testing.assert_array_equal(found, wanted)


def test_nothing_is_read_or_written_behind_the_first_lanes():
    from minicnn.kernels.vectors import load_first, store_first

    def copy(array, i, count, out):
        store_first(out, i, load_first(array, i, count, LANES), count)

    array, out = np.arange(10.0), np.zeros(10)
    np.testing.assert_array_equal(run(copy, array, 7, 3, out)[7:], [7, 8, 9])


def test_arithmetic(array):
    from minicnn.kernels.vectors import at, beats, fill, load, multiply_add, select, store

    def arithmetic(array, out):
        a, b = load(array, 0, LANES), load(array, 8, LANES)
        c = fill(array, at(array, 20), LANES)
        store(out, 0, multiply_add(a, b, c))
        store(out, LANES, select(beats(a, c), a, b))
        store(out, 2 * LANES, select(beats(c, a), c, b))

    a, b = vectors_python.load(array, 0, LANES), vectors_python.load(array, 8, LANES)
    c = vectors_python.fill(array, vectors_python.at(array, 20), LANES)
    with np.errstate(invalid="ignore"):
        wanted = [
            vectors_python.multiply_add(a, b, c),
            masks_python.select(masks_python.beats(a, c), a, b),
            masks_python.select(masks_python.beats(c, a), c, b),
        ]
    np.testing.assert_array_equal(run(arithmetic, array, np.zeros((3, LANES), a.dtype)), wanted)


def test_sums_differences_and_quotients(array):
    from minicnn.kernels.vectors import add, divide, load, store, subtract

    def sums(array, out):
        a, b = load(array, 0, LANES), load(array, 8, LANES)
        store(out, 0, add(a, b))
        store(out, LANES, subtract(a, b))
        store(out, 2 * LANES, divide(a, b))

    a, b = vectors_python.load(array, 0, LANES), vectors_python.load(array, 8, LANES)
    wanted = [
        vectors_python.add(a, b),
        vectors_python.subtract(a, b),
        vectors_python.divide(a, b),
    ]
    np.testing.assert_array_equal(run(sums, array, np.zeros((3, LANES), array.dtype)), wanted)


@pytest.mark.parametrize("number", [0, 3, 255])
def test_bytes_that_match(array, number):
    from minicnn.kernels.vectors import fill, load, matches, select, store

    def where_three(array, numbers, out):
        ones = fill(array, 1, LANES)
        store(out, 0, select(matches(numbers, 2, 3, LANES), ones, load(array, 8, LANES)))

    numbers = np.full(16, number, np.uint8)
    numbers[4] = 3
    mask = masks_python.matches(numbers, 2, 3, LANES)
    assert mask.tolist() == (numbers[2:10] == 3).tolist()
    wanted = np.where(mask, 1, vectors_python.load(array, 8, LANES))
    out = np.zeros(LANES, array.dtype)
    np.testing.assert_array_equal(run(where_three, array, numbers, out), wanted)


def test_nan_beats_everything_and_nothing_beats_its_equal():
    nan, one, two = (np.full(LANES, value) for value in (np.nan, 1.0, 2.0))
    beats = masks_python.beats
    assert beats(nan, two).all()
    assert beats(two, one).all()
    assert not beats(one, one).any()
    assert not beats(one, nan).any()


@pytest.mark.parametrize("count", [3, 8])
def test_whole_numbers_become_bytes(count):
    from minicnn.kernels.vectors import load, store, store_first

    def to_bytes(array, count, out):
        store_first(out, 0, load(array, 0, LANES), count)
        store(out, LANES, load(array, 0, LANES))

    array = np.arange(8.0, dtype=np.float32)
    out = run(to_bytes, array, count, np.full(2 * LANES, 9, np.uint8))
    assert out[:count].tolist() == list(range(count))
    assert out[count:LANES].tolist() == [9] * (LANES - count)
    assert out[LANES:].tolist() == list(range(8))


@pytest.mark.parametrize("unsigned", [np.uint8, np.uint16])
@pytest.mark.parametrize("count", [3, 8])
def test_vectors_of_whole_numbers(array, unsigned, count):
    from minicnn.kernels.vectors import (
        equals,
        fill,
        load,
        load_first,
        select,
        store,
        store_first,
    )

    def where_seven(array, numbers, count, out):
        a = load_first(numbers, 2, count, LANES)
        mask = equals(a, fill(numbers, 7, LANES))
        store(out, 0, select(mask, load(array, 8, LANES), fill(array, 1, LANES)))
        store(numbers, LANES, select(mask, fill(numbers, 255, LANES), a))
        store_first(numbers, 2 * LANES, load(array, 24, LANES), count)

    numbers = np.array([9, 7, 7, 0, 7, 1, 7, 7, 7, 7] + [5] * 14, unsigned)
    a = vectors_python.load_first(numbers, 2, count, LANES)
    mask = masks_python.equals(a, vectors_python.fill(numbers, 7, LANES))
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
    from minicnn.kernels.vectors import exceeds, fill, load, load_mask, select, store, store_mask

    def above_three(array, bits, out):
        threes = fill(array, 3, lanes)
        store_mask(bits, 1, exceeds(load(array, 0, lanes), threes))
        store(out, 0, select(load_mask(bits, 1, lanes), threes, fill(array, 0, lanes)))

    bits, wanted = np.full(6, 9, np.uint8), np.full(6, 9, np.uint8)
    threes = vectors_python.fill(array, 3, lanes)
    mask = masks_python.exceeds(vectors_python.load(array, 0, lanes), threes)
    assert mask.tolist() == [bool(number > 3) for number in array.ravel()[:lanes]]
    masks_python.store_mask(wanted, 1, mask)
    assert masks_python.load_mask(wanted, 1, lanes).tolist() == mask.tolist()
    out = run(above_three, array, bits, np.full(lanes, 9, array.dtype))
    assert bits.tolist() == wanted.tolist()
    np.testing.assert_array_equal(out, np.where(mask, 3, 0))


@pytest.mark.parametrize("lanes", [8, 64])
@pytest.mark.parametrize("number", [0, 3, 255])
def test_the_bits_of_a_mask_are_walked_from_the_lowest(lanes, number):
    from minicnn.kernels.vectors import bits_of, lowest, matches, without_lowest

    def places(numbers, number, out):
        bits, count = bits_of(matches(numbers, 1, number, lanes)), 0
        while bits:
            out[count] = lowest(bits)
            bits, count = without_lowest(bits), count + 1

    numbers = np.random.default_rng(0).choice(np.array([0, 3, 255], np.uint8), lanes + 1)
    numbers[lanes] = number  # the highest bit, which is the sign of a number
    wanted = np.flatnonzero(numbers[1:] == number).tolist()
    assert run(places, numbers, number, np.full(lanes, -1))[: len(wanted)].tolist() == wanted
    bits, found = masks_python.bits_of(masks_python.matches(numbers, 1, number, lanes)), []
    while bits:
        found.append(masks_python.lowest(bits))
        bits = masks_python.without_lowest(bits)
    assert found == wanted


@pytest.mark.parametrize("lanes", [8, 16])
def test_lanes_take_turns(array, lanes):
    from minicnn.kernels.vectors import first_halves, load, second_halves, store

    def take_turns(array, out):
        a, b = load(array, 0, lanes), load(array, lanes, lanes)
        store(out, 0, first_halves(a, b))
        store(out, lanes, second_halves(a, b))

    a, b = array.ravel()[:lanes], array.ravel()[lanes : 2 * lanes]
    wanted = [number for pair in zip(a, b, strict=True) for number in pair]
    first, second = vectors_python.first_halves(a, b), vectors_python.second_halves(a, b)
    np.testing.assert_array_equal([*first, *second], wanted)
    out = run(take_turns, array, np.zeros(2 * lanes, array.dtype))
    np.testing.assert_array_equal(out, wanted)
