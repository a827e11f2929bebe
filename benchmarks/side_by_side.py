"""What the benchmarks share: two sides that take turns, and how their figures are kept.

The other side (PyTorch, ONNX Runtime) runs in a process of its own, so that neither has the other's
threads and memory about it. The two take turns in many short rounds: a machine whose speed drifts
then treats both alike. What a side needs in a round is the fastest of its steps there, since
whatever else the machine does can only make a step slower. A ratio is taken round by round; what is
reported is the median over the rounds, and the lowest and the highest.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np
from machine import metadata

LEAST_STEPS = 3  # in a round, however long they take;
LONG = 2.0  # but none is started after so many seconds


@dataclass
class Timed:
    """One side's work: `step` is what is timed, `answer` gives the numbers to compare."""

    step: Callable[[], Any]
    answer: Callable[[], Any]

    def run(self, seconds: float) -> float:
        """Return the milliseconds of the fastest of the steps that fit into so many seconds."""
        return milliseconds(self.step, seconds)


def milliseconds(step: Callable[[], Any], seconds: float) -> float:
    """Return the milliseconds of the fastest of the steps that fit into so many seconds."""
    times: list[float] = []
    began = started = time.perf_counter()
    while started - began < (seconds if len(times) >= LEAST_STEPS else max(seconds, LONG)):
        step()
        ended = time.perf_counter()
        times.append(1000 * (ended - started))
        started = ended
    return min(times)


def take_turns(
    runners: Mapping[str, Callable[[float], float]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Let all sides run so many seconds in each round; return their times, round by round."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(rounds):
        # back and forth, so that none always runs after the same other
        for name in list(runners)[:: -1 if number % 2 else 1]:
            times[name].append(runners[name](seconds))
    return times


def ratios(name: str, theirs: Sequence[float], own: Sequence[float]) -> dict[str, Any]:
    """Return the median, lowest and highest of their time / ours: above 1 we are faster."""
    found = [their / our for their, our in zip(theirs, own, strict=True)]
    return {
        f"ratio_{name}": statistics.median(found),
        f"ratio_{name}_range": [min(found), max(found)],
    }


def best_of(times: Mapping[str, Sequence[float]], names: Sequence[str]) -> list[float]:
    """Return the time of the fastest of some sides, round by round."""
    return [min(row) for row in zip(*(times[name] for name in names), strict=True)]


def medians(times: Mapping[str, Sequence[float]], names: Sequence[str]) -> dict[str, float]:
    """Return the median over the rounds for some sides."""
    return {name: statistics.median(times[name]) for name in names}


def check_equal(case: str, side: str, own: Any, theirs: Any, tolerance: float) -> None:
    """Stop the program unless both sides have computed the same numbers.

    The tolerance is a share of the largest number: sums in another order differ by so much,
    however small the result that they cancel to.
    """
    own, theirs = np.asarray(own), np.asarray(theirs)
    if own.shape != theirs.shape:
        raise SystemExit(f"{case}: minicnn gives {own.shape}, {side} {theirs.shape}")
    off = float(np.abs(own - theirs).max(initial=0) / max(np.abs(theirs).max(initial=0), 1e-30))
    if not off <= tolerance:  # NaN does not pass either
        raise SystemExit(f"{case}: minicnn and {side} differ by {off:.2g} of the largest number")


# ---------------------------------------------------------------- the other side


class OtherSide:
    """A process that makes objects and calls their methods, as it is told over a pipe."""

    def __init__(self) -> None:
        # spawn: from the start it has nothing of this process's threads and memory
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=serve, args=(far_end,), daemon=True)
        self._process.start()
        far_end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def make(self, name: str, maker: Callable[..., Any], *arguments: Any) -> float:
        """Have an object made there, by a function of a module; return the seconds it took."""
        seconds, _ = self._order(name, maker, arguments)
        return seconds

    def call(self, name: str, method: str, *arguments: Any) -> Any:
        """Call a method of an object there."""
        return self._order(name, method, arguments)[1]

    def runner(self, name: str) -> Callable[[float], float]:
        """Return what `take_turns` takes, for a `Timed` object there."""
        return lambda seconds: float(self.call(name, "run", seconds))

    def warmed_up(self, name: str, maker: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
        """Have a `Timed` object made; return its answer and the seconds until it was there."""
        making = self.make(name, maker, *arguments)
        answering, answer = self._order(name, "answer", ())
        return answer, making + answering

    def _order(self, name: str, what: Any, arguments: tuple[Any, ...]) -> tuple[float, Any]:
        self._connection.send((name, what, arguments))
        error, seconds, answer = self._connection.recv()
        if error:
            raise SystemExit(f"the other side failed at {name}:\n{error}")
        return seconds, answer


def serve(connection: Connection) -> None:
    """Take orders until the pipe is closed: (name, maker or method, arguments)."""
    objects: dict[str, Any] = {}
    while True:
        try:
            name, what, arguments = connection.recv()
        except EOFError:
            return
        error, answer, started = "", None, time.perf_counter()
        try:
            if callable(what):
                objects[name] = what(*arguments)
            else:
                answer = getattr(objects[name], what)(*arguments)
        except Exception:  # whatever it is, the one who asked must hear of it
            error = traceback.format_exc()
        connection.send((error, time.perf_counter() - started, answer))


def set_torch_threads(threads: int) -> None:
    """Tell PyTorch how many threads to use; called on the other side."""
    import torch

    torch.set_num_threads(threads)


def need(*modules: str) -> None:
    """Stop with one line if a module is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise SystemExit(f"{module} is not installed: pip install -e '.[bench]'")


# ---------------------------------------------------------------- flags and results


def flag_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the flags that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--quick", action="store_true", help="the first case only")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    return parser


class Results:
    """The figures so far, on disk after each case: a run that is stopped keeps what it has."""

    def __init__(self, path: Path | None, **more: Any) -> None:
        self.path = path
        self.all: dict[str, Any] = {"machine": metadata(), **more, "cases": []}

    @property
    def cases(self) -> list[dict[str, Any]]:
        cases: list[dict[str, Any]] = self.all["cases"]
        return cases

    @property
    def peak_gflops(self) -> float:
        """Of one core."""
        return float(self.all["machine"]["peak_gflops_one_core"])

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Take over some of the cases that the file has, if they are of the same machine."""
        if not self.path or not self.path.exists():
            return
        before = json.loads(self.path.read_text(encoding="utf-8"))
        for name in ("cpu", "simd", "torch"):
            if before["machine"].get(name) != self.all["machine"].get(name):
                raise SystemExit(f"{self.path} was measured with another {name}: measure all anew")
        self.cases.extend(filter(wanted, before["cases"]))

    def add(self, case: dict[str, Any]) -> None:
        self.cases.append(case)
        self.write()

    def write(self) -> None:
        """Write the whole file or none of it."""
        if self.path:
            partial = self.path.with_suffix(".part")
            partial.write_text(json.dumps(self.all, indent=2) + "\n", encoding="utf-8")
            os.replace(partial, self.path)
