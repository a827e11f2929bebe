"""Random numbers by key: the same question always gets the same numbers.

A stream that is drawn from in turn makes every draw depend on all before it, so a change in the
number of threads, or a resume in mid-training, changes everything after. Here each draw has an
address, ``(seed, purpose, epoch, index)``, and a generator of its own.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, Philox, SeedSequence
from numpy.typing import NDArray

from minicnn.kernels import elementwise
from minicnn.runtime import arena
from minicnn.shapes import IntArray

STREAMS = ("initial weights", "validation split", "shuffle", "drawn digits")
BIT_STREAMS = ("augmentation", "elastic", "noise", "dropout")


class RandomKey(NamedTuple):
    """What is random inside a network, for one shard of images in one epoch.

    `seed` and `epoch` are the training's, `numbers` (N,) those of the images in the data set,
    `path` the place of the layer: its position in the model, or the position of the container that
    it is in, and its position in there, and so on. So what a layer draws for an image depends on
    nothing else, and two layers never share their draws.
    """

    seed: int
    epoch: int
    numbers: IntArray
    path: tuple[int, ...] = ()

    def of(self, position: int) -> "RandomKey":
        """Return the draws of the layer at a position inside.

        Parameters
        ----------
        position : int

        Returns
        -------
        Draws
        """
        return RandomKey(self.seed, self.epoch, self.numbers, (*self.path, position))

    @property
    def key(self) -> int:
        """Key of 64 bits for Philox4x32, from seed and path; epoch and numbers are counters."""
        return _key(self.seed, self.path)


@lru_cache(maxsize=1024)
def _key(seed: int, path: tuple[int, ...]) -> int:
    _check("seed", seed, 64)
    return int(SeedSequence(seed, spawn_key=path).generate_state(1, np.uint64)[0])


def generator(seed: int, purpose: str, epoch: int = 0, index: int = 0) -> Generator:
    """Return the generator at an address.

    Parameters
    ----------
    seed : int
        The user's seed, 0 to 2⁶⁴ - 1.
    purpose : {"initial weights", "validation split", "shuffle", "drawn digits"}
        What the numbers are for: two purposes never share numbers.
    epoch, index : int
        Which epoch, and which layer or image.

    Returns
    -------
    numpy.random.Generator
        Philox4x64 with key ``(seed, purpose)``. Its counter starts at ``(0, 0, index, epoch)``:
        the low words count the draws, so two addresses stay apart for 2¹²⁸ draws.

    Raises
    ------
    TypeError, ValueError
        If `seed` is not such a number.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.
    """
    _check("seed", seed, 64)
    key = seed | (STREAMS.index(purpose) << 64)
    counter = (index << 128) | (epoch << 192)
    return Generator(Philox(key=key, counter=counter))


def random_bits(
    seed: int, purpose: str, epoch: int, numbers: IntArray, count: int
) -> NDArray[np.int32]:
    """Return random words at many addresses at once, for a shard of images.

    A generator for each image would take longer to make than all that is done with it.

    Parameters
    ----------
    seed : int
        The user's seed, 0 to 2⁶⁴ - 1.
    purpose : {"augmentation", "elastic", "noise"}
        What the numbers are for.
    epoch : int
        0 to 2³² - 1.
    numbers : ndarray of int (N,)
        Of the images, 0 to 2³² - 1.
    count : int
        How many words for each.

    Returns
    -------
    ndarray of int32 (N, count), or some more
        All of the range, -2³¹ to 2³¹ - 1; in the workspace. From Philox4x32 with key `seed` and
        counters ``(0 .., purpose, number, epoch)``.

    Raises
    ------
    TypeError, ValueError
        If `seed` or `epoch` is not such a number.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.
    """
    _check("seed", seed, 64)
    _check("epoch", epoch, 32)
    blocks = -(-count // 4)
    words = arena.empty((len(numbers), 4, blocks), np.uint32)
    stream = np.uint64(BIT_STREAMS.index(purpose))
    elementwise.philox_words(
        np.uint64(seed), stream, np.uint64(epoch), numbers.astype(np.uint64), words
    )
    return words.view(np.int32).reshape(len(numbers), 4 * blocks)


def drop_threshold(rate: float) -> int:
    """Return in how many of 2¹⁶ cases `dropout_mask` drops a number.

    Parameters
    ----------
    rate : float

    Returns
    -------
    int
    """
    return round(rate * elementwise.PROBABILITY_STEPS)


def dropout_mask(draws: RandomKey, rate: float, count: int) -> NDArray[np.uint8]:
    """Decide by chance which numbers of each image are kept.

    Parameters
    ----------
    draws : Draws
    rate : float
        Share that is dropped, to a 2¹⁶th.
    count : int
        Numbers of an image.

    Returns
    -------
    ndarray of uint8 (N, bytes)
        Bit ``i % 8`` of byte ``i // 8`` is set where number i is kept; in the workspace. As many
        bytes as whole vectors take.
    """
    _check("epoch", draws.epoch, 32)
    lanes = elementwise.DROPOUT_LANES
    bits = arena.empty((len(draws.numbers), -(-count // lanes) * lanes // 8), np.uint8)
    elementwise.bernoulli_bits(
        np.uint64(draws.key),
        np.uint64(BIT_STREAMS.index("dropout")),
        np.uint64(draws.epoch),
        draws.numbers.astype(np.uint64),
        np.uint64(drop_threshold(rate)),
        bits,
    )
    return bits


def _check(name: str, value: object, bits: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not 0 <= value < 2**bits:
        raise ValueError(f"{name} must lie in 0 .. 2**{bits} - 1, not {value}")
