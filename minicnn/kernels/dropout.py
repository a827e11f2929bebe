"""Dropout: random bits by counter, and numbers that are kept or not by them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.philox import HALF, LOW, Word, philox
from minicnn.kernels.vectors import (
    broadcast,
    fill,
    load,
    load_first,
    load_mask,
    multiply_add,
    select,
    store,
    store_first,
)

# A number takes 16 random bits: a block of Philox decides on eight, which are a byte of the mask.
CHANCES = 2**16
QUARTER = Word(16)
SHORT = Word(0xFFFF)
# As many as a ReLU takes at once; a row of the mask is a whole number of such vectors.
DROPOUT_LANES = 32

Array = NDArray[np.float32]
Bits = NDArray[np.uint8]


@kernel
def random_bits(
    seed: Word, purpose: Word, epoch: Word, numbers: NDArray[Any], below: Word, bits: Bits
) -> None:
    """Set bit j of ``bits[n, b]`` where 16 random bits are `below` or more.

    They are those of ``philox(b, purpose, numbers[n], epoch, low(seed), high(seed))``: of its four
    words the low halves first, then the high halves.

    Parameters
    ----------
    seed : uint64
    purpose, epoch : uint64
        Below 2³².
    numbers : ndarray of uint64 (N,)
        Below 2³².
    below : uint64
        0 to 2¹⁶.
    bits : ndarray of uint8 (N, B)
        Overwritten.
    """
    N, B = bits.shape
    k0, k1 = seed & LOW, seed >> HALF
    for n in range(N):
        for b in range(B):
            w0, w1, w2, w3 = philox(Word(b), purpose, numbers[n], epoch, k0, k1)
            byte = Word((w0 & SHORT) >= below)
            byte |= Word((w1 & SHORT) >= below) << Word(1)
            byte |= Word((w2 & SHORT) >= below) << Word(2)
            byte |= Word((w3 & SHORT) >= below) << Word(3)
            byte |= Word((w0 >> QUARTER) >= below) << Word(4)
            byte |= Word((w1 >> QUARTER) >= below) << Word(5)
            byte |= Word((w2 >> QUARTER) >= below) << Word(6)
            byte |= Word((w3 >> QUARTER) >= below) << Word(7)
            bits[n, b] = byte


@kernel
def keep_scaled(x: Array, kept: Bits, scale: Array, y: Array) -> None:
    """Compute ``y[n, i] = x[n, i] · scale`` where kept, else 0.

    `i` runs over H·W·C.

    Parameters
    ----------
    x : ndarray (N, size)
    kept : ndarray of uint8 (N, B)
        Bit ``i % 8`` of ``kept[n, i // 8]`` belongs to ``x[n, i]``.
    scale : ndarray (1,)
        Of the dtype of `x`.
    y : ndarray (N, size)
        Overwritten.
    """
    N, size = x.shape
    flat, bits, out = x.reshape(-1), kept.reshape(-1), y.reshape(-1)
    zeros = fill(flat, 0, DROPOUT_LANES)
    factor = broadcast(scale, 0, DROPOUT_LANES)
    for n in range(N):
        start, first = n * size, n * kept.shape[1]
        for i in range(0, size, DROPOUT_LANES):
            left = size - i
            mask = load_mask(bits, first + i // 8, DROPOUT_LANES)
            if left >= DROPOUT_LANES:
                a = multiply_add(load(flat, start + i, DROPOUT_LANES), factor, zeros)
                store(out, start + i, select(mask, a, zeros))
            else:
                a = multiply_add(load_first(flat, start + i, left, DROPOUT_LANES), factor, zeros)
                store_first(out, start + i, select(mask, a, zeros), left)
