"""Random numbers by key: the same question always gets the same numbers.

A stream that is drawn from in turn makes every draw depend on all before it, so a change in the
number of threads, or a resume in mid-training, changes everything after. Here each draw has an
address, ``(seed, purpose, epoch, index)``, and a generator of its own.
"""

from numpy.random import Generator, Philox

PURPOSES = ("initial weights", "validation split", "shuffle")


def keyed_generator(seed: int, purpose: str, epoch: int = 0, index: int = 0) -> Generator:
    """Return the generator at an address.

    Parameters
    ----------
    seed : int
        The user's seed, 0 to 2⁶⁴ - 1.
    purpose : {"initial weights", "validation split", "shuffle"}
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
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be a whole number, not {seed!r}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must lie in 0 .. 2**64 - 1, not {seed}")
    key = seed | (PURPOSES.index(purpose) << 64)
    counter = (index << 128) | (epoch << 192)
    return Generator(Philox(key=key, counter=counter))
