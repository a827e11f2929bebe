"""ReLU, random bits and dropout: one pass over contiguous values each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import (
    fma,
    greater,
    greater_or_nan,
    load_mask,
    load_splat,
    load_tail,
    select,
    splat,
    store_mask,
    store_tail,
)
from minicnn.shapes import Array

Bits = NDArray[np.uint8]

# Lanes per iteration. ReLU and dropout are memory-bound; a few registers per iteration hide the
# loop overhead, and a multiple of 8 keeps the bits of a mask byte-aligned.
RELU_LANES = DROPOUT_LANES = 32


# ---------------------------------------------------------------- ReLU


@kernel
def relu_forward(
    x: Array,  # (size,)
    y: Array,  # out (size,)
    positive: Bits,  # out, whole vectors: bit i % 8 of byte i // 8 is x[i] > 0
) -> None:
    """Compute ``y[i] = max(x[i], 0)`` and the mask; NaN stays NaN."""
    size = x.size
    zeros = splat(x, 0, RELU_LANES)
    for i in range(0, size, RELU_LANES):
        a = load_tail(x, i, size - i, RELU_LANES)
        store_tail(y, i, select(greater_or_nan(a, zeros), a, zeros), size - i)
        store_mask(positive, i // 8, greater(a, zeros))


@kernel
def relu_backward(
    dy: Array,  # (size,)
    positive: Bits,  # from `relu_forward`
    dx: Array,  # out (size,)
) -> None:
    """Compute ``dx[i] = dy[i]`` where x was positive, else 0."""
    size = dy.size
    zeros = splat(dy, 0, RELU_LANES)
    for i in range(0, size, RELU_LANES):
        mask = load_mask(positive, i // 8, RELU_LANES)
        g = load_tail(dy, i, size - i, RELU_LANES)
        store_tail(dx, i, select(mask, g, zeros), size - i)


# ---------------------------------------------------------------- random bits: Philox4x32-10
# Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
# Counter-based: no state, so each image's numbers are the same in any order and on any thread.

Word = np.uint64  # holds 32 bits, so that the product of two is exact
LOW_32, LOW_16 = Word(0xFFFFFFFF), Word(0xFFFF)
MULTIPLIERS = (Word(0xD2511F53), Word(0xCD9E8D57))
KEY_STEPS = (Word(0x9E3779B9), Word(0xBB67AE85))  # the golden ratio and √3 - 1, times 2³²
ROUNDS = 10


@device_function
def philox(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> tuple[Word, ...]:
    """Return four random words of 32 bits for a counter and a key."""
    for _ in range(ROUNDS):
        p, q = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1 = (q >> Word(32)) ^ c1 ^ k0, q & LOW_32
        c2, c3 = (p >> Word(32)) ^ c3 ^ k1, p & LOW_32
        k0, k1 = (k0 + KEY_STEPS[0]) & LOW_32, (k1 + KEY_STEPS[1]) & LOW_32
    return c0, c1, c2, c3


@kernel
def philox_words(
    seed: Word,
    stream: Word,
    epoch: Word,
    image_ids: NDArray[Any],  # uint64 (N,), below 2³²
    words: NDArray[np.uint32],  # out (N, 4, B)
) -> None:
    """Draw the random words of each image.

    ``words[n, :, b] = philox(b, stream, image_ids[n], epoch, low(seed), high(seed))``.
    """
    N, _, B = words.shape
    k0, k1 = seed & LOW_32, seed >> Word(32)
    for n in range(N):
        # A local: a store could change the array element, which would prevent vectorization.
        image_id = image_ids[n]
        for b in range(B):
            w0, w1, w2, w3 = philox(Word(b), stream, image_id, epoch, k0, k1)
            words[n, 0, b] = w0
            words[n, 1, b] = w1
            words[n, 2, b] = w2
            words[n, 3, b] = w3


# ---------------------------------------------------------------- dropout

# Each element uses 16 random bits, so one Philox block gives eight elements: a byte of the mask.
PROBABILITY_STEPS = 2**16


@kernel
def bernoulli_bits(
    seed: Word,
    stream: Word,
    epoch: NDArray[np.uint64],  # (1,): an array, so that a replay reads its present value
    image_ids: NDArray[Any],  # uint64 (N,), below 2³²
    threshold: Word,  # 0 to 2¹⁶
    bits: Bits,  # out (N, B)
) -> None:
    """Draw bits that are 1 with probability ``1 - threshold / 2¹⁶``.

    Bit j of ``bits[n, b]`` compares 16 bits of ``philox(b, stream, image_ids[n], epoch[0],
    low(seed), high(seed))``: the low halves of its four words first, then the high halves.
    """
    N, B = bits.shape
    k0, k1 = seed & LOW_32, seed >> Word(32)
    e = epoch[0]
    for n in range(N):
        for b in range(B):
            w0, w1, w2, w3 = philox(Word(b), stream, image_ids[n], e, k0, k1)
            byte = Word((w0 & LOW_16) >= threshold)
            byte |= Word((w1 & LOW_16) >= threshold) << Word(1)
            byte |= Word((w2 & LOW_16) >= threshold) << Word(2)
            byte |= Word((w3 & LOW_16) >= threshold) << Word(3)
            byte |= Word((w0 >> Word(16)) >= threshold) << Word(4)
            byte |= Word((w1 >> Word(16)) >= threshold) << Word(5)
            byte |= Word((w2 >> Word(16)) >= threshold) << Word(6)
            byte |= Word((w3 >> Word(16)) >= threshold) << Word(7)
            bits[n, b] = byte


@kernel
def apply_dropout(
    x: Array,  # (N, size)
    mask: Bits,  # (N, B): bit i % 8 of mask[n, i // 8] keeps x[n, i]
    scale: Array,  # (1,)
    y: Array,  # out (N, size)
) -> None:
    """Compute ``y[n, i] = x[n, i] · scale`` where the mask is set, else 0."""
    N, size = x.shape
    flat, bits, out = x.reshape(-1), mask.reshape(-1), y.reshape(-1)
    zeros = splat(flat, 0, DROPOUT_LANES)
    factor = load_splat(scale, 0, DROPOUT_LANES)
    for n in range(N):
        row, mask_row = n * size, n * mask.shape[1]
        for i in range(0, size, DROPOUT_LANES):
            kept = load_mask(bits, mask_row + i // 8, DROPOUT_LANES)
            a = fma(load_tail(flat, row + i, size - i, DROPOUT_LANES), factor, zeros)
            store_tail(out, row + i, select(kept, a, zeros), size - i)
