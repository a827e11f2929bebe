"""Time a full training step (forward, loss, backward, Adam) beside PyTorch's on the same cores.

    python benchmarks/training.py --json benchmarks/results/training.json
    python benchmarks/training.py --quick

PyTorch runs in a process of its own, and the two take turns, round by round, so that a machine
whose speed drifts treats both alike; the ratio of a case is the median over the rounds of
PyTorch's time by ours: above 1 we are faster. Both use the same number of threads, start from the
same weights and must agree on the losses of the first steps before the clock starts. PyTorch gets
its images as float32 tensors in memory; ours are uint8, so scaling them is in our time.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import minicnn
from minicnn import Adam, Conv2D, Dense, Flatten, Layer, MaxPool2D, ReLU, Sequential
from minicnn.shards import BatchGradient

# ("conv", filters, kernel size, padding), ("dense", units), "relu", "pool" (2×2) or "flatten"
Spec = tuple[Any, ...]
RELU, POOL, FLATTEN = ("relu",), ("pool",), ("flatten",)
MODELS: dict[str, list[Spec]] = {
    "reference CNN": [
        ("conv", 32, 3, 0), RELU, POOL, ("conv", 64, 3, 0), RELU, POOL,
        FLATTEN, ("dense", 128), RELU, ("dense", 10),
    ],
    "LeNet-5": [
        ("conv", 6, 5, 0), RELU, POOL, ("conv", 16, 5, 0), RELU, POOL,
        FLATTEN, ("dense", 120), RELU, ("dense", 84), RELU, ("dense", 10),
    ],
    "four convolutions": [
        ("conv", 32, 3, 0), RELU, ("conv", 32, 3, 0), RELU, POOL,
        ("conv", 64, 3, 0), RELU, ("conv", 64, 3, 0), RELU, POOL,
        FLATTEN, ("dense", 128), RELU, ("dense", 10),
    ],
}  # fmt: skip
FP32 = ("eager", "fused Adam", "channels_last", "compile")
VARIANTS = (*FP32, "bfloat16")
LEARNING_RATE = 1e-3
CHECK_STEPS = 3


def minicnn_layers(specs: list[Spec]) -> list[Layer]:
    makers: dict[str, Callable[..., Layer]] = {
        "conv": lambda filters, size, padding: Conv2D(filters, size, padding=padding),
        "relu": ReLU,
        "pool": lambda: MaxPool2D(2),
        "flatten": Flatten,
        "dense": Dense,
    }
    return [makers[kind](*options) for kind, *options in specs]


def digits(batch: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    data = minicnn.load_mnist_sample()
    return data.train_images[:batch, :, :, None].copy(), data.train_labels[:batch].astype(np.int64)


def minicnn_step(specs: list[Spec], batch: int, threads: int) -> tuple[Callable[[], float], Any]:
    """Return a function that takes one training step and gives its loss, and the first weights."""
    model = Sequential(minicnn_layers(specs), input_shape=(28, 28, 1))
    weights = [{k: v.copy() for k, v in layer.parameters.items()} for layer in model.layers]
    images, labels = digits(batch)
    gradient_of = BatchGradient(model, images, labels, ThreadPoolExecutor(threads))
    optimiser, whole = Adam(LEARNING_RATE), np.arange(batch)

    def step() -> float:
        loss, _, gradient = gradient_of(whole)
        optimiser.step(model.parameters, gradient)
        return loss

    return step, weights


# ---------------------------------------------------------------- the other side


def torch_step(
    specs: list[Spec], weights: list[dict[str, Any]], batch: int, variant: str
) -> Callable[[], float]:
    """Return PyTorch's training step on the same network, from the same weights."""
    import torch
    from torch import nn

    modules: list[nn.Module] = []
    shape: tuple[int, ...] = (28, 28, 1)  # of one image, in minicnn's order
    flat_from: tuple[int, ...] = ()
    for (kind, *options), own in zip(specs, weights, strict=True):
        module: Any
        if kind == "conv":
            filters, size, padding = options
            module = nn.Conv2d(shape[2], filters, size, padding=padding)
            module.weight.data = torch.from_numpy(own["weight"].transpose(3, 2, 0, 1).copy())
            shape = (*(side + 2 * padding - size + 1 for side in shape[:2]), filters)
        elif kind == "dense":
            weight = own["weight"]
            if flat_from:  # (H, W, C) was flattened here, (C, H, W) there
                weight = weight.reshape(*flat_from, -1).transpose(2, 0, 1, 3)
                weight = weight.reshape(own["weight"].shape)
                flat_from = ()
            module = nn.Linear(*weight.shape)
            module.weight.data = torch.from_numpy(weight.T.copy())
        elif kind == "pool":
            module, shape = nn.MaxPool2d(2), (shape[0] // 2, shape[1] // 2, shape[2])
        elif kind == "flatten":
            module, flat_from = nn.Flatten(), shape
        else:
            module = nn.ReLU()
        if own:
            module.bias.data = torch.from_numpy(own["bias"].copy())
        modules.append(module)
    network: Any = nn.Sequential(*modules)
    images, labels = digits(batch)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    y = torch.from_numpy(labels)
    if variant != "eager" and variant != "fused Adam":
        network = network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=variant != "eager")
    if variant == "compile":
        network = torch.compile(network)
    loss_of = nn.CrossEntropyLoss()

    def step() -> float:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=variant == "bfloat16"):
            loss = loss_of(network(x), y)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def serve_torch(connection: Connection) -> None:
    """Take orders over a pipe: (name, arguments) in, an answer out."""
    import torch

    steps: dict[str, Callable[[], float]] = {}
    while True:
        order, *arguments = connection.recv()
        if order == "threads":
            torch.set_num_threads(arguments[0])
            steps.clear()
            connection.send(torch.__version__)
        elif order == "prepare":
            variant, specs, weights, batch = arguments
            started = time.perf_counter()
            steps[variant] = torch_step(specs, weights, batch, variant)
            losses = [steps[variant]() for _ in range(CHECK_STEPS)]
            connection.send((losses, time.perf_counter() - started))
        elif order == "run":
            variant, seconds = arguments
            connection.send(milliseconds(steps[variant], seconds))
        else:
            return


def milliseconds(step: Callable[[], float], seconds: float) -> float:
    """Return the fastest of the steps that fit into so many seconds, at least three."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


# ---------------------------------------------------------------- the comparison


def compare(
    connection: Connection,
    name: str,
    batch: int,
    threads: int,
    variants: tuple[str, ...],
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Time one case: check that both sides agree, then let them take turns."""
    specs = MODELS[name]
    started = time.perf_counter()
    step, weights = minicnn_step(specs, batch, threads)
    losses = [step() for _ in range(CHECK_STEPS)]
    warm_up = {"minicnn": time.perf_counter() - started}
    connection.send(("threads", threads))
    version = connection.recv()
    for variant in variants:
        connection.send(("prepare", variant, specs, weights, batch))
        theirs, warm_up[variant] = connection.recv()
        tolerance = 0.05 if variant == "bfloat16" else 1e-3
        if not np.allclose(losses, theirs, rtol=tolerance):
            raise SystemExit(f"{name}: losses differ: {losses} here, {theirs} in PyTorch {variant}")
    own: list[float] = []
    other: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        own.append(milliseconds(step, seconds))
        for variant in variants:
            connection.send(("run", variant, seconds))
            other[variant].append(connection.recv())
    best = [min(row) for row in zip(*(other[v] for v in variants if v in FP32), strict=True)]
    case = {
        "model": name,
        "batch": batch,
        "threads": threads,
        "torch": version,
        "minicnn_ms": statistics.median(own),
        "torch_ms": {variant: statistics.median(times) for variant, times in other.items()},
        "warm_up_s": warm_up,
        **ratios("best_fp32", best, own),
    }
    if "bfloat16" in variants:
        case |= ratios("bf16", other["bfloat16"], own)
    return case


def ratios(name: str, theirs: list[float], own: list[float]) -> dict[str, Any]:
    """Return the median, lowest and highest of PyTorch / minicnn, round by round."""
    found = [their / our for their, our in zip(theirs, own, strict=True)]
    return {
        f"ratio_{name}": statistics.median(found),
        f"ratio_{name}_range": [min(found), max(found)],
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare training steps with PyTorch's.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--quick", action="store_true", help="the first case only, without compile")
    parser.add_argument("--rounds", type=int, default=10)
    flags = parser.parse_args(argv)
    cores = minicnn.usable_cores()
    plan = [
        (name, batch, threads)
        for name in MODELS
        for batch in (128, 32, 512)
        for threads in sorted({min(2, cores), 1}, reverse=True)
    ]
    variants: tuple[str, ...] = VARIANTS
    if flags.quick:
        plan, variants = plan[:1], tuple(v for v in VARIANTS if v != "compile")

    # spawn: a process of its own from the start, with nothing of this one's threads and memory
    context = multiprocessing.get_context("spawn")
    connection, far_end = context.Pipe()
    process = context.Process(target=serve_torch, args=(far_end,), daemon=True)
    process.start()
    cases = []
    for name, batch, threads in plan:
        case = compare(connection, name, batch, threads, variants, flags.rounds, 0.25)
        cases.append(case)
        theirs = ", ".join(f"{v} {ms:.2f}" for v, ms in case["torch_ms"].items())
        low, high = case["ratio_best_fp32_range"]
        print(
            f"{name}, batch {batch}, {threads} threads: minicnn {case['minicnn_ms']:.2f} ms; "
            f"PyTorch {theirs}; ratio to its best float32 {case['ratio_best_fp32']:.2f} "
            f"({low:.2f} to {high:.2f}), to bfloat16 {case['ratio_bf16']:.2f}",
            flush=True,
        )
        if flags.json:
            partial = flags.json.with_suffix(".part")
            partial.write_text(json.dumps({"cases": cases}, indent=2) + "\n", encoding="utf-8")
            os.replace(partial, flags.json)
    connection.send(("stop",))
    process.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
