"""Counter-based random numbers: same key and counter, same numbers.

A sequential stream makes every draw depend on all draws before it. Then a change in the number of
threads, or a resumed training, changes all later draws. Here each draw has an address
``(seed, stream, epoch, index)``.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, Philox, SeedSequence
from numpy.typing import NDArray

from minicnn.kernels import elementwise
from minicnn.runtime import arena
from minicnn.shapes import IntArray
from minicnn.shapes.checks import positive_int

MAX_SEED, MAX_EPOCH = 2**64 - 1, 2**32 - 1  # a key and a counter of Philox4x32

# The position of a name is part of the key or counter: append new names, do not reorder.
STREAMS = ("initial weights", "validation split", "shuffle", "synthetic digits")
BIT_STREAMS = ("augmentation", "elastic", "noise", "dropout")


class RandomKey(NamedTuple):
    """Randomness of one layer for a microbatch of images in one epoch.

    `seed` and `epoch` are those of the training, `image_ids` (N,) the indices of the images in the
    data set. `path` is the layer's position in the model, preceded by those of the containers that
    hold it. So each image gets the same draws in any batch, and two layers never share draws.

    `epoch` may be an array (1,) of uint64. Replayed kernels read its present value.
    """

    seed: int
    epoch: int | NDArray[np.uint64]
    image_ids: IntArray
    path: tuple[int, ...] = ()

    def fold_in(self, position: int) -> "RandomKey":
        """Return the key of the layer at a position inside.

        Parameters
        ----------
        position : int

        Returns
        -------
        RandomKey
        """
        return self._replace(path=(*self.path, position))

    @property
    def philox_key(self) -> int:
        """Philox4x32 key of 64 bits; epoch and images are its counters."""
        return _philox_key(self.seed, self.path)


@lru_cache(maxsize=1024)
def _philox_key(seed: int, path: tuple[int, ...]) -> int:
    """Hash seed and path to 64 bits."""
    seed = positive_int("random", "seed", seed, 0, MAX_SEED)
    return int(SeedSequence(seed, spawn_key=path).generate_state(1, np.uint64)[0])


def check_key(op: str, key: object) -> bool:
    """Return whether there is a key; raise a TypeError if it is another."""
    if key is not None and not isinstance(key, RandomKey):
        raise TypeError(f"{op}: key must be minicnn.RandomKey(seed, epoch, image_ids), not {key!r}")
    return key is not None


def generator(seed: int, stream: str, epoch: int = 0, index: int = 0) -> Generator:
    """Return the NumPy generator at an address.

    Parameters
    ----------
    seed : int
        0 to 2⁶⁴ - 1.
    stream : {"initial weights", "validation split", "shuffle", "synthetic digits"}
        Two streams never share numbers.
    epoch, index : int
        Epoch; layer or image.

    Returns
    -------
    numpy.random.Generator
        Philox4x64 with key ``(seed, stream)``. Its counter starts at ``(0, 0, index, epoch)``. The
        two low words count the draws, so two addresses stay apart for 2¹²⁸ draws.

    Raises
    ------
    TypeError, ValueError
        If `seed` is not an integer in that range.
    """
    key = positive_int("random", "seed", seed, 0, MAX_SEED) | (STREAMS.index(stream) << 64)
    counter = (index << 128) | (epoch << 192)
    return Generator(Philox(key=key, counter=counter))


def random_bits(
    seed: int, stream: str, epoch: int, image_ids: IntArray, count: int
) -> NDArray[np.int32]:
    """Return random words of 32 bits for each image of a microbatch.

    Parameters
    ----------
    seed : int
        0 to 2⁶⁴ - 1.
    stream : {"augmentation", "elastic", "noise", "dropout"}
    epoch : int
        0 to 2³² - 1.
    image_ids : ndarray of int (N,)
        0 to 2³² - 1.
    count : int
        Words an image, rounded up to a multiple of 4.

    Returns
    -------
    ndarray of int32 (N, count), in the arena
        -2³¹ to 2³¹ - 1, from Philox4x32 with key `seed` and counter
        ``(block, stream, image_id, epoch)``.

    Raises
    ------
    TypeError, ValueError
        If `seed` or `epoch` is not an integer in its range.
    """
    positive_int("random", "seed", seed, 0, MAX_SEED)
    positive_int("random", "epoch", epoch, 0, MAX_EPOCH)
    blocks = -(-count // 4)
    words = arena.empty((len(image_ids), 4, blocks), np.uint32)
    # One kernel call for all images: making a NumPy generator for each image takes longer than the
    # image's whole augmentation.
    key, number, epoch64 = map(np.uint64, (seed, BIT_STREAMS.index(stream), epoch))
    elementwise.philox_words(key, number, epoch64, image_ids.astype(np.uint64), words)
    return words.view(np.int32).reshape(len(image_ids), 4 * blocks)


def drop_threshold(rate: float) -> int:
    """Return the number of 16-bit values that drop an element."""
    # At least one value keeps an element, so that the scale 1 / (1 - rate) is finite.
    return min(round(rate * elementwise.PROBABILITY_STEPS), elementwise.PROBABILITY_STEPS - 1)


def dropout_mask(key: RandomKey, rate: float, count: int) -> NDArray[np.uint8]:
    """Draw the elements of each image that dropout keeps.

    Parameters
    ----------
    key : RandomKey
    rate : float
        Probability of dropping an element, rounded to a multiple of 2⁻¹⁶.
    count : int
        Elements an image.

    Returns
    -------
    ndarray of uint8 (N, bytes), in the arena
        Bit ``i % 8`` of byte ``i // 8`` is set where element i is kept. The number of bytes is
        rounded up to whole vectors.
    """
    positive_int("random", "epoch", np.asarray(key.epoch).item(), 0, MAX_EPOCH)
    lanes = elementwise.DROPOUT_LANES
    bits = arena.empty((len(key.image_ids), -(-count // lanes) * lanes // 8), np.uint8)
    elementwise.bernoulli_bits(
        np.uint64(key.philox_key),
        np.uint64(BIT_STREAMS.index("dropout")),
        # Arrays of uint64 are passed without a copy, so a replay reads their present values.
        np.asarray(key.epoch, np.uint64).reshape(1),
        np.asarray(key.image_ids, np.uint64),
        np.uint64(drop_threshold(rate)),
        bits,
    )
    return bits
