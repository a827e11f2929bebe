"""Time imports, and the first training step with and without a cache.

    python benchmarks/startup.py --json benchmarks/results/startup.json
    python benchmarks/startup.py --quick --rounds 1

Each measurement runs in its own process. A training step is one of the reference CNN on 128 images
(forward, loss, backward, Adam), timed from the start of the process to the end of the step: cold,
with an empty cache, so that each kernel is compiled first; warm, with all kernels in the cache; and
PyTorch's, eager. An import is timed inside its process, without the start of Python, which is
reported too. Processes alternate in rounds; the first round fills the caches and is not counted.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compare import Results, flag_parser, need, ratios, take_turns
from script import run_script

HERE = Path(__file__).resolve().parent
# Upper limits.
GOALS = {
    "import minicnn / import torch": 0.5,
    "warm start to the first finished step, s": 1.0,
    "cold compile of the reference CNN, s": 10.0,
}

IMPORT = """
import time
started = time.perf_counter()
import {module}
seconds = time.perf_counter() - started
print("done", flush=True)
print(seconds)
"""
NOTHING = 'print("done", flush=True)\nprint("null")'

# Both sides: the network, 128 images of noise, one training step.
MINICNN = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import numpy as np
from networks import MODELS, minicnn_model
from minicnn import Adam
from minicnn.train.data_parallel import BatchGradient
from numba.core import event

recorder = event.RecordingListener()
event.register("numba:compile", recorder)
model = minicnn_model(MODELS["reference CNN"])
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (128, 28, 28, 1), dtype=np.uint8)
run_batch = BatchGradient(model, images, rng.integers(0, 10, 128))
gradient = run_batch(np.arange(128)).gradient
Adam(0.001).step(model.parameters, gradient)
print("done", flush=True)

import json
print(json.dumps([
    [moment, event.data["dispatcher"].py_func.__name__, event.data["dispatcher"].__module__,
     event.is_start] for moment, event in recorder.buffer
]))
"""
TORCH = """
import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
)
rng = np.random.default_rng(0)
images = torch.from_numpy(rng.integers(0, 256, (128, 1, 28, 28)).astype(np.float32) / 255)
labels = torch.from_numpy(rng.integers(0, 10, 128))
optimizer = torch.optim.Adam(network.parameters(), 0.001)
optimizer.zero_grad()
nn.CrossEntropyLoss()(network(images), labels).backward()
optimizer.step()
print("done", flush=True)
print("null")
"""


def run(code: str, cache: str) -> tuple[float, Any]:
    """Run code in a new process.

    Return the seconds until it prints "done", and the JSON that it prints after it.
    """
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    started = time.perf_counter()
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first_line = process.stdout.readline()
        seconds = time.perf_counter() - started
        result = process.stdout.read()
    if first_line != "done\n" or process.returncode:
        raise SystemExit(f"a process failed at this code:\n{code}")
    return seconds, json.loads(result)


def compilations(events: list[list[Any]]) -> list[tuple[str, float]]:
    """Return each compiled function and its seconds, slowest first.

    A kernel may call functions of Numba that are compiled while it compiles. Their time counts
    once, as the kernel's.
    """
    functions, open_starts = [], []
    for moment, name, module, is_start in events:
        if is_start:
            open_starts.append(moment)
            continue
        started = open_starts.pop()
        if not open_starts:
            functions.append((f"{module}.{name}", moment - started))
    return sorted(functions, key=lambda row: -row[1])


class FirstSteps:
    """The first training step, cold and warm, and its compilations."""

    def __init__(self, cache: str) -> None:
        self.cache, self.filled = cache, False
        self.compiled: list[list[tuple[str, float]]] = []  # of each cold start
        self.functions = 0  # compiled in a cold start, with those of Numba

    def cold(self, _: float) -> float:
        with tempfile.TemporaryDirectory() as empty:
            seconds, events = run(MINICNN, empty)
        self.compiled.append(compilations(events))
        self.functions = len(events) // 2
        return seconds

    def warm(self, _: float) -> float:
        seconds, events = run(MINICNN, self.cache)
        if events and self.filled:
            raise SystemExit("a warm start compiled kernels")
        self.filled = True  # by the first round, which is not counted
        return seconds

    def torch(self, _: float) -> float:
        return run(TORCH, self.cache)[0]


def statistics_of(times: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(times), "fastest": min(times), "rounds": times}


def timed(
    case: str, runners: dict[str, Callable[[float], float]], rounds: int
) -> dict[str, list[float]]:
    """Time all in rounds and print the medians, without the first round."""
    times = {name: rows[1:] for name, rows in take_turns(runners, rounds + 1, 0).items()}
    print(f"{case}:")
    for name, rows in times.items():
        print(f"  {name:<24} {statistics.median(rows):6.3f} s, fastest {min(rows):6.3f} s")
    return times


def first_step(cache: str, rounds: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure the first training step; return results and goals."""
    case, steps = "from process start to the first finished step", FirstSteps(cache)
    runners: dict[str, Callable[[float], float]]
    runners = {"minicnn, warm": steps.warm, "PyTorch": steps.torch, "minicnn, cold": steps.cold}
    times = timed(case, runners, rounds)
    compiling = [sum(seconds for _, seconds in rows) for rows in steps.compiled[1:]]
    kernels = [
        (name, statistics.median(dict(rows)[name] for rows in steps.compiled[1:]))
        for name, _ in steps.compiled[-1]
    ]
    print(f"  compiling alone          {statistics.median(compiling):6.3f} s")
    for name, seconds in kernels:
        print(f"    {seconds:6.3f} s  {name}")
    print(f"  compiled: {len(kernels)} kernels; {steps.functions} functions with Numba's own")
    figures = {
        "case": case,
        "seconds": {name: statistics_of(rows) for name, rows in times.items()},
        "compiling": statistics_of(compiling),
        "kernels": dict(kernels),
        "compiled_functions": steps.functions,
        **ratios("warm", times["PyTorch"], times["minicnn, warm"]),
    }
    warm, cold = "warm start to the first finished step, s", "cold compile of the reference CNN, s"
    return figures, {
        warm: statistics.median(times["minicnn, warm"]),
        cold: statistics.median(compiling),
    }


def imports(cache: str, rounds: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure imports; return results and goals."""

    def importer(module: str) -> Callable[[float], float]:
        return lambda _: float(run(IMPORT.format(module=module), cache)[1])

    modules = ("minicnn", "torch", "numba", "numpy", "tqdm")
    runners = {f"import {module}": importer(module) for module in modules}
    times = timed("imports", {"Python itself": lambda _: run(NOTHING, cache)[0], **runners}, rounds)
    ours, theirs = times["import minicnn"], times["import torch"]
    figures = {
        "case": "imports",
        "seconds": {name: statistics_of(rows) for name, rows in times.items()},
        **ratios("import", theirs, ours),
    }
    return figures, {"import minicnn / import torch": 1 / float(figures["ratio_import"])}


def main(argv: list[str] | None = None) -> int:
    flags = flag_parser("Time imports, cold starts and warm starts.", 7).parse_args(argv)
    need("torch")
    results = Results(flags.json)
    results.all["goals"] = {}
    with tempfile.TemporaryDirectory() as cache:
        for measure in (first_step,) if flags.quick else (first_step, imports):
            figures, reached = measure(cache, flags.rounds)
            for name, value in reached.items():
                holds = value < GOALS[name]
                results.all["goals"][name] = {"figure": value, "below": GOALS[name], "holds": holds}
                print(f"  {name}: {value:.2f}, {'' if holds else 'NOT '}below {GOALS[name]:g}")
            results.add(figures)
    return 0


if __name__ == "__main__":
    run_script(main)
