"""Work that is done over and over with arrays in the same places, without Python in between.

A shard of images takes dozens of kernels, each a microsecond or more of Python, in which other
threads wait for the interpreter. Inside `minicnn.memory.workspace` the arrays of every shard lie
where those of the last one lay. So its calls of kernels are recorded, as a tape
(`minicnn.kernels.tape`), which one call plays.

A tape is trusted only once it is proven. Work that does anything to its arrays but by kernels
(NumPy, a number drawn by chance) cannot be repeated so; it shows in one of two ways, and is then
done in Python for good:

- recorded twice, it gives two tapes that differ: an array that NumPy made anew lies elsewhere;
- played with other inputs, and on arrays that are filled with NaN first, the tape comes to other
  bits than the work itself.

What is found of one kind of work holds in other threads and for other outputs as well: there a tape
only has to be recorded.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from operator import is_
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels, memory

Arrays = Sequence[NDArray[Any]]
Result = TypeVar("Result")

# So often work is recorded before it is given up that two tapes will be the same.
MOST_RECORDINGS = 4
# So many kinds of work are kept: more than a training has threads, shards and sizes of them.
MOST_KINDS = 256


class Repeats:
    """Does work from tapes where it can. Several threads may use it at once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Repeat] = {}
        self._repeatable: dict[Hashable, bool] = {}  # by kind

    def __reduce__(self) -> tuple[type["Repeats"], tuple[()]]:
        """Let a copy begin without tapes: they belong to arrays, threads and a process."""
        return Repeats, ()

    def run(
        self, work: Callable[[], Result], kind: Hashable, inputs: Arrays, outputs: Arrays
    ) -> Result:
        """Do the work, or play its tape.

        Parameters
        ----------
        work : callable
            Inside a `minicnn.memory.workspace`. What it does and returns depends on `kind` and the
            numbers in `inputs` alone; whatever it returns is the same object each time a tape is
            played, with other numbers in its arrays.
        kind : hashable
            Tells apart work that differs in more than its arrays.
        inputs : sequence of ndarray
            What the work reads. With other arrays than last time it is recorded anew.
        outputs : sequence of ndarray
            What it overwrites outside of the workspace.

        Returns
        -------
        object
            What `work` returns.
        """
        key = (kernels.this_thread(), kind, *map(id, outputs))
        repeat = self._known.get(key)
        if repeat is None or not repeat.is_of(inputs, outputs):
            if len(self._known) >= MOST_KINDS:
                self._known.clear()
                self._repeatable.clear()
            repeat = self._known[key] = _Repeat(inputs, outputs, kind, self._repeatable)
        return cast(Result, repeat.run(work))


class _Repeat:
    """One kind of work of one thread on the same arrays, and how far it is known."""

    def __init__(
        self, inputs: Arrays, outputs: Arrays, kind: Hashable, repeatable: dict[Hashable, bool]
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.kind, self.repeatable = kind, repeatable
        self.run: Callable[[Callable[[], Any]], Any] = self._record
        self.recordings = 0
        self.tapes: list[kernels.Tape] = []
        self.result: Any = None  # of the work when it was recorded
        self.arrays: list[NDArray[Any]] = []  # that it took from the workspace then

    def is_of(self, inputs: Arrays, outputs: Arrays) -> bool:
        """Tell whether these are the very arrays that it has met before."""
        mine, theirs = (*self.inputs, *self.outputs), (*inputs, *outputs)
        return len(mine) == len(theirs) and all(map(is_, mine, theirs))

    def _record(self, work: Callable[[], Any]) -> Any:
        """Do the work and record it; the second tape that equals the one before is to be proven."""
        if self.repeatable.get(self.kind) is False:
            self.run = _do
            return work()
        before = len(memory.given())
        with kernels.recorded() as calls:
            self.result = work()
        self.arrays = memory.given()[before:]
        self.recordings += 1
        try:
            # the one before keeps its arrays until here: what is made anew must lie elsewhere
            self.tapes = [*self.tapes[-1:], kernels.Tape(calls)]
        except kernels.NotRecordableError:
            self._found(False)
            return self.result
        first, last = self.tapes[0], self.tapes[-1]
        if self.repeatable.get(self.kind):
            self.run = self._play
        elif first is not last and np.array_equal(first.words, last.words):
            self.run = self._prove
        elif self.recordings == MOST_RECORDINGS:
            self._found(False)
        return self.result

    def _found(self, repeatable: bool) -> None:
        """Note for all threads whether work of this kind can be repeated from a tape."""
        self.repeatable[self.kind] = repeatable
        self.run = self._play if repeatable else _do

    def _prove(self, work: Callable[[], Any]) -> Any:
        """Play the tape and do the work, each on arrays full of NaN: both must give the same."""
        self._spoil()
        self._play(work)
        played = self._digest()
        self._spoil()
        result = work()
        self._found(played == self._digest())
        return result

    def _play(self, work: Callable[[], Any]) -> Any:
        """Play the tape instead of the work."""
        self.tapes[-1].play()
        return self.result

    def _spoil(self) -> None:
        for array in (*self.arrays, *self.outputs):
            if array.dtype.kind == "f":
                array.fill(np.nan)

    def _digest(self) -> bytes:
        """Return what tells apart any two contents of the arrays."""
        digest = hashlib.blake2b()
        for array in (*self.arrays, *self.outputs):
            digest.update(np.ascontiguousarray(array).data.cast("B"))
        return digest.digest()


def _do(work: Callable[[], Any]) -> Any:
    """Do work that cannot be repeated otherwise."""
    return work()
