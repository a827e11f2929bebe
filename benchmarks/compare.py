"""Compare two sides in alternating rounds, and store the measurements.

The other side (PyTorch, ONNX Runtime) runs in its own process, so that neither side is slowed by
the other's threads and memory. The sides alternate in many short rounds, so that a drift of the
machine's speed affects both. The time of a side in a round is its fastest step, since any other
load of the machine can only make a step slower. A ratio is taken within a round; the result is the
median over the rounds, with the lowest and the highest.
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
from script import Help, writable

MIN_STEPS = 3  # in a round, even if they take longer than the round
MAX_SECONDS = 2.0  # after which a round starts no further step


@dataclass
class Timed:
    """The work of one side: `step` is timed, `answer` returns its values."""

    step: Callable[[], Any]
    answer: Callable[[], Any]

    def run(self, seconds: float) -> float:
        """Return the milliseconds of the fastest step within `seconds`."""
        return milliseconds(self.step, seconds)


def milliseconds(step: Callable[[], Any], seconds: float) -> float:
    """Return the milliseconds of the fastest step within `seconds`."""
    times: list[float] = []
    began = started = time.perf_counter()
    while started - began < (seconds if len(times) >= MIN_STEPS else max(seconds, MAX_SECONDS)):
        step()
        ended = time.perf_counter()
        times.append(1000 * (ended - started))
        started = ended
    return min(times)


def timer(step: Callable[[], Any]) -> Callable[[float], float]:
    """Return the argument of `take_turns` for a step in this process."""
    return lambda seconds: milliseconds(step, seconds)


def take_turns(
    runners: Mapping[str, Callable[[float], float]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Run all sides in alternating rounds; return the times of each round."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for index in range(rounds):
        # The order alternates, so that no side always runs after the same other side.
        for name in list(runners)[:: -1 if index % 2 else 1]:
            times[name].append(runners[name](seconds))
    return times


def ratios(name: str, theirs: Sequence[float], own: Sequence[float]) -> dict[str, Any]:
    """Return median and range of their time / ours: above 1 ours is faster."""
    values = [their / our for their, our in zip(theirs, own, strict=True)]
    return {
        f"ratio_{name}": statistics.median(values),
        f"ratio_{name}_range": [min(values), max(values)],
    }


def best_of(times: Mapping[str, Sequence[float]], names: Sequence[str]) -> list[float]:
    """Return the time of the fastest of the named sides in each round."""
    return [min(row) for row in zip(*(times[name] for name in names), strict=True)]


def medians(times: Mapping[str, Sequence[float]], names: Sequence[str]) -> dict[str, float]:
    """Return the median over the rounds of the named sides."""
    return {name: statistics.median(times[name]) for name in names}


def check_equal(case: str, side: str, own: Any, theirs: Any, tolerance: float) -> None:
    """Stop the program unless both sides have computed the same values.

    The tolerance is a share of the largest value: sums in another order differ by that much, even
    where they cancel to a small value.
    """
    own, theirs = np.asarray(own), np.asarray(theirs)
    if own.shape != theirs.shape:
        raise SystemExit(f"{case}: minicnn gives {own.shape}, {side} {theirs.shape}")
    error = float(np.abs(own - theirs).max(initial=0) / max(np.abs(theirs).max(initial=0), 1e-30))
    if not error <= tolerance:  # fails for NaN too
        raise SystemExit(f"{case}: minicnn and {side} differ by {error:.2g} of the largest value")


# ---------------------------------------------------------------- the other side


class OtherSide:
    """A process that makes objects and calls their methods on request."""

    def __init__(self) -> None:
        # spawn: a forked process would share this one's threads and memory.
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=serve, args=(other_end,), daemon=True)
        self._process.start()
        other_end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def make(self, name: str, maker: Callable[..., Any], *arguments: Any) -> float:
        """Make an object by a function of a module; return the seconds it took."""
        seconds, _ = self._request(name, maker, arguments)
        return seconds

    def call(self, name: str, method: str, *arguments: Any) -> Any:
        """Call a method of an object."""
        return self._request(name, method, arguments)[1]

    def runner(self, name: str) -> Callable[[float], float]:
        """Return the argument of `take_turns` for a `Timed` object."""
        return lambda seconds: float(self.call(name, "run", seconds))

    def warmed_up(self, name: str, maker: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
        """Make a `Timed` object; return its answer and the seconds until then."""
        making = self.make(name, maker, *arguments)
        answering, answer = self._request(name, "answer", ())
        return answer, making + answering

    def _request(
        self, name: str, action: Callable[..., Any] | str, arguments: tuple[Any, ...]
    ) -> tuple[float, Any]:
        self._connection.send((name, action, arguments))
        error, seconds, answer = self._connection.recv()
        if error:
            raise SystemExit(f"the other side failed at {name}:\n{error}")
        return seconds, answer


def serve(connection: Connection) -> None:
    """Answer requests (name, action, arguments) until the pipe closes."""
    objects: dict[str, Any] = {}
    while True:
        try:
            name, action, arguments = connection.recv()
        except EOFError:
            return
        error, answer, started = "", None, time.perf_counter()
        try:
            if callable(action):
                objects[name] = action(*arguments)
            else:
                answer = getattr(objects[name], action)(*arguments)
        except Exception:  # any error is reported by the process that sent the request
            error = traceback.format_exc()
        connection.send((error, time.perf_counter() - started, answer))


def set_torch_threads(threads: int) -> None:
    """Set the number of threads of PyTorch; called on the other side."""
    import torch

    torch.set_num_threads(threads)


def need(*modules: str) -> None:
    """Stop with one line if a module is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise SystemExit(f"{module} is not installed: pip install -e '.[bench]'")


# ---------------------------------------------------------------- flags and results


def flag_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the flags that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=Help)
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--quick", action="store_true", help="the first case only")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    return parser


class Results:
    """The measurements of a script, written to disk after each case."""

    def __init__(self, path: Path | None, **about: Any) -> None:
        self.path = path
        self.all: dict[str, Any] = {"machine": metadata(), **about, "cases": []}

    @property
    def cases(self) -> list[dict[str, Any]]:
        cases: list[dict[str, Any]] = self.all["cases"]
        return cases

    @property
    def peak_gflops(self) -> float:
        """Return the peak of one core."""
        return float(self.all["machine"]["peak_gflops_one_core"])

    def keep(self, selected: Callable[[dict[str, Any]], bool]) -> None:
        """Read the selected cases of the file; stop if the machine differs."""
        if not self.path or not self.path.exists():
            return
        before = json.loads(self.path.read_text(encoding="utf-8"))
        for name in ("cpu", "simd", "torch"):
            if before["machine"].get(name) != self.all["machine"].get(name):
                raise SystemExit(
                    f"{self.path} was measured with another {name}: measure all cases again"
                )
        self.cases.extend(filter(selected, before["cases"]))

    def add(self, case: dict[str, Any]) -> None:
        self.cases.append(case)
        self.write()

    def write(self) -> None:
        """Write the file atomically."""
        if self.path:
            partial = self.path.with_suffix(".part")
            partial.write_text(json.dumps(self.all, indent=2) + "\n", encoding="utf-8")
            os.replace(partial, self.path)
