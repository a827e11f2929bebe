"""ReLU and its way back, each in one pass over numbers that lie in a row.

Random words by counter: Philox4x32-10, which has no state but the address of a number.

To make a NumPy generator for each image would take longer than the image's whole augmentation.
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.

Dropout: random bits by counter, and numbers that are kept or not by them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import (
    fma,
    greater,
    greater_or_nan,
    load,
    load_mask,
    load_splat,
    masked_load,
    masked_store,
    select,
    splat,
    store,
    store_mask,
)

# Of a vector. The way from memory is what takes the time; a few registers' worth at once leave
# little of a loop around it, and give the bits of a mask a whole number of bytes.
RELU_LANES = 32

Array = NDArray[np.float32]
Bits = NDArray[np.uint8]


@kernel
def relu_forward(x: Array, y: Array, positive: Bits) -> None:
    """Compute ``y[i] = max(x[i], 0)`` and remember where x was above 0.

    `i` runs over N·H·W·C. NaN stays NaN, and is not above 0.

    Parameters
    ----------
    x : ndarray (size,)
    y : ndarray (size,)
        Overwritten.
    positive : ndarray of uint8
        Overwritten: bit ``i % 8`` of byte ``i // 8`` says whether ``x[i] > 0``. As many bytes as
        whole vectors take.
    """
    size = x.size
    zeros = splat(x, 0, RELU_LANES)
    for i in range(0, size, RELU_LANES):
        left = size - i
        if left >= RELU_LANES:
            a = load(x, i, RELU_LANES)
            store(y, i, select(greater_or_nan(a, zeros), a, zeros))
        else:
            a = masked_load(x, i, left, RELU_LANES)
            masked_store(y, i, select(greater_or_nan(a, zeros), a, zeros), left)
        store_mask(positive, i // 8, greater(a, zeros))


@kernel
def relu_backward(dy: Array, positive: Bits, dx: Array) -> None:
    """Compute ``dx[i] = dy[i]`` where x was above 0, else 0.

    `i` runs over N·H·W·C.

    Parameters
    ----------
    dy : ndarray (size,)
    positive : ndarray of uint8
        From `relu_forward`.
    dx : ndarray (size,)
        Overwritten.
    """
    size = dy.size
    zeros = splat(dy, 0, RELU_LANES)
    for i in range(0, size, RELU_LANES):
        left = size - i
        mask = load_mask(positive, i // 8, RELU_LANES)
        if left >= RELU_LANES:
            store(dx, i, select(mask, load(dy, i, RELU_LANES), zeros))
        else:
            masked_store(dx, i, select(mask, masked_load(dy, i, left, RELU_LANES), zeros), left)


# 32 bit words in 64 bit integers, so that a product of two is whole
Word = np.uint64
LOW, HALF = Word(0xFFFFFFFF), Word(32)
MULTIPLIERS = (Word(0xD2511F53), Word(0xCD9E8D57))
STEPS = (Word(0x9E3779B9), Word(0xBB67AE85))  # the golden ratio and √3 - 1, times 2³²
ROUNDS = 10


@device_function
def philox(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[Word, ...]:
    """Return the four random words at a counter, under a key.

    Parameters
    ----------
    c0, c1, c2, c3, k0, k1 : uint64
        Below 2³².

    Returns
    -------
    tuple of uint64
        Four, below 2³².
    """
    for _ in range(ROUNDS):
        p, q = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (q >> HALF) ^ c1 ^ k0, q & LOW, (p >> HALF) ^ c3 ^ k1, p & LOW
        k0, k1 = (k0 + STEPS[0]) & LOW, (k1 + STEPS[1]) & LOW
    return c0, c1, c2, c3


@kernel
def philox_words(
    seed: Word, purpose: Word, epoch: Word, numbers: NDArray[Any], words: NDArray[np.uint32]
) -> None:
    """Write ``words[n, :, b] = philox(b, purpose, numbers[n], epoch, low(seed), high(seed))``.

    Parameters
    ----------
    seed : uint64
    purpose, epoch : uint64
        Below 2³².
    numbers : ndarray of uint64 (N,)
        Below 2³².
    words : ndarray of uint32 (N, 4, B)
        Overwritten.
    """
    N, _, B = words.shape
    k0, k1 = seed & LOW, seed >> HALF
    for n in range(N):
        number = numbers[n]  # loaded once: else a store could change it, and no vector be used
        for b in range(B):
            w0, w1, w2, w3 = philox(Word(b), purpose, number, epoch, k0, k1)
            words[n, 0, b] = w0
            words[n, 1, b] = w1
            words[n, 2, b] = w2
            words[n, 3, b] = w3


# A number takes 16 random bits: a block of Philox decides on eight, which are a byte of the mask.
PROBABILITY_STEPS = 2**16
QUARTER = Word(16)
SHORT = Word(0xFFFF)
# As many as a ReLU takes at once; a row of the mask is a whole number of such vectors.
DROPOUT_LANES = 32


@kernel
def bernoulli_bits(
    seed: Word,
    purpose: Word,
    epoch: NDArray[np.uint64],  # (1,): an array, so that a replay reads its present value
    numbers: NDArray[Any],
    below: Word,
    bits: Bits,
) -> None:
    """Set bit j of ``bits[n, b]`` where 16 random bits are `below` or more.

    The bits come from ``philox(b, purpose, numbers[n], epoch[0], low(seed), high(seed))``: the low
    halves of its four words first, then the high halves.

    Parameters
    ----------
    seed : uint64
    purpose : uint64
        Below 2³².
    epoch : ndarray of uint64 (1,)
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
    e = epoch[0]
    for n in range(N):
        for b in range(B):
            w0, w1, w2, w3 = philox(Word(b), purpose, numbers[n], e, k0, k1)
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
def apply_dropout(x: Array, kept: Bits, scale: Array, y: Array) -> None:
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
    zeros = splat(flat, 0, DROPOUT_LANES)
    factor = load_splat(scale, 0, DROPOUT_LANES)
    for n in range(N):
        start, first = n * size, n * kept.shape[1]
        for i in range(0, size, DROPOUT_LANES):
            left = size - i
            mask = load_mask(bits, first + i // 8, DROPOUT_LANES)
            if left >= DROPOUT_LANES:
                a = fma(load(flat, start + i, DROPOUT_LANES), factor, zeros)
                store(out, start + i, select(mask, a, zeros))
            else:
                a = fma(masked_load(flat, start + i, left, DROPOUT_LANES), factor, zeros)
                masked_store(out, start + i, select(mask, a, zeros), left)
