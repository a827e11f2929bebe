"""Random words by counter: Philox4x32-10, which has no state but the address of a number.

To make a NumPy generator for each image would take longer than the image's whole augmentation.
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel, piece

# 32 bit words in 64 bit integers, so that a product of two is whole
Word = np.uint64
LOW, HALF = Word(0xFFFFFFFF), Word(32)
MULTIPLIERS = (Word(0xD2511F53), Word(0xCD9E8D57))
STEPS = (Word(0x9E3779B9), Word(0xBB67AE85))  # the golden ratio and √3 - 1, times 2³²
ROUNDS = 10


@piece
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
def random_words(
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
