"""Time a training step (forward, loss, backward, Adam) beside PyTorch's.

    python benchmarks/training.py --json benchmarks/results/training.json
    python benchmarks/training.py --quick
    python benchmarks/training.py --only ten_epochs --json benchmarks/results/training.json

PyTorch runs in its own process, and the sides alternate in rounds, so that a drift of the machine's
speed affects both. The ratio of a case is the median over the rounds of PyTorch's time / ours:
above 1 minicnn is faster. Both use the same number of threads, start from the same weights, and
must agree on the losses of the first steps before the timing starts. PyTorch reads float32 tensors
in memory; minicnn reads uint8, so our time includes the scaling. The time before the first timed
step, mostly compilation, is reported separately; both sides cache compiled code on disk, so a
second run warms up faster.

Batch norm uses mean and variance of a microbatch in minicnn and of the whole batch in PyTorch. They
are the same for a batch of up to 16 images, where tests compare the losses closely.

`gflop` is the necessary work of a step, two for each multiply-add:

- The forward pass of every layer; of a convolution before a pool only the outputs that the pool
  reads.
- The weight gradient of every layer, and the input gradient of every layer but the first. Before a
  pool only the maximum of each window has a gradient, and none where the ReLU is 0. The count of
  active maxima is that of a real forward pass.

PyTorch's memory comes from the C library with its default settings. glibc returns arrays above a
size to the operating system and requests them again page by page; the size grows with what a
process has freed before. So PyTorch is slower at 512 images than the work alone says, and at 128 in
a process that has not used larger batches before (a model measured alone, before its own 512). With
``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` of several gigabytes in the environment
these page faults do not occur.

`--only` measures one model again, and keeps the other models' cases of a file.

`share_of_peak` is `gflop` / our time, as a share of the peak of multiply-adds on as many cores.
Pools, ReLUs, the loss and Adam count as no work, but their time counts.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from compare import (
    OtherSide,
    Results,
    Timed,
    best_of,
    check_equal,
    flag_parser,
    medians,
    need,
    ratios,
    set_torch_threads,
    take_turns,
)
from networks import (
    MODELS,
    NORM,
    Spec,
    Weights,
    digits,
    minicnn_model,
    torch_images,
    torch_network,
    weights_of,
)
from script import run_script

import minicnn
from minicnn import Adam, Conv2D, Dense, MaxPool2D, ReLU, Sequential, ops
from minicnn.train.data_parallel import BatchGradient

FP32 = ("eager", "fused Adam", "channels_last", "compile")
VARIANTS = (*FP32, "bfloat16")
LEARNING_RATE = 1e-3
CHECK_STEPS = 3
SECONDS = 0.25  # for each side in each round


def minicnn_side(specs: list[Spec], batch: int, threads: int) -> tuple[Timed, Sequential, Weights]:
    """Return our training step, its model, and the initial weights."""
    model = minicnn_model(specs)
    weights = weights_of(model)
    images, labels = digits(batch)
    run_batch = BatchGradient(model, images, labels, threads=threads)
    optimizer, image_ids = Adam(LEARNING_RATE), np.arange(batch)

    def step() -> float:
        loss, _, _, gradient, _ = run_batch(image_ids)
        optimizer.step(model.parameters, gradient)
        return loss

    return Timed(step, first_losses(step)), model, weights


def torch_side(specs: list[Spec], weights: Weights, batch: int, variant: str) -> Timed:
    """Return PyTorch's training step from the same weights."""
    import torch

    network = torch_network(specs, weights)
    images, labels = digits(batch)
    x, y = torch_images(images), torch.from_numpy(labels)
    if variant in ("channels_last", "compile", "bfloat16"):
        network = network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=variant != "eager")
    if variant == "compile":
        torch.compiler.reset()  # without it compiling stops at the ninth network
        network = torch.compile(network)
    loss_of = torch.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=variant == "bfloat16"):
            loss = loss_of(network(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return Timed(step, first_losses(step))


def first_losses(step: Callable[[], float]) -> Callable[[], list[float]]:
    return lambda: [step() for _ in range(CHECK_STEPS)]


# ---------------------------------------------------------------- the work in a step


def needed_gflop(model: Sequential, batch: int) -> float:
    """Count the necessary GFLOP of a training step, as defined above."""
    x: Any = model.preprocess(digits(batch)[0])
    layers = model.layers
    macs, position = 0, 0
    while position < len(layers):
        layer = layers[position]
        backward = 2 if position else 1  # the first layer's input needs no gradient
        weight = layer.parameters.get("weight")
        following = [type(each) for each in layers[position + 1 : position + 3]]
        relu = following == [ReLU, MaxPool2D]
        if isinstance(layer, Conv2D) and (relu or following[:1] == [MaxPool2D]):
            own = layer.parameters
            x, cache = ops.conv2d_max_pool2d(
                x, own["weight"], own["bias"], layer.stride, layer.padding, relu=relu
            )
            active = int((cache.argmax < 4).sum())
            window = own["weight"][..., 0].size  # KH·KW·C for each output
            macs += window * (4 * x.size + backward * active)
            position += 2 if relu else 1
        else:
            x, _ = layer.forward(x)
            if isinstance(layer, Conv2D | Dense) and weight is not None:
                macs += x.size * weight[..., 0].size * (1 + backward)
        position += 1
    return 2 * macs / 1e9


# ---------------------------------------------------------------- the comparison


def compare(
    other: OtherSide,
    name: str,
    batch: int,
    threads: int,
    variants: tuple[str, ...],
    rounds: int,
    peak_gflops: float,
) -> dict[str, Any]:
    """Check that both sides agree on one case, then time them in rounds."""
    specs, title = MODELS[name], f"{name}, batch {batch}"
    started = time.perf_counter()
    own, model, weights = minicnn_side(specs, batch, threads)
    losses = own.answer()
    warm_up = {"minicnn": time.perf_counter() - started}
    gflop = needed_gflop(model, batch)
    other.make("threads", set_torch_threads, threads)
    runners: dict[str, Callable[[float], float]] = {"minicnn": own.run}
    for variant in variants:
        theirs, warm_up[variant] = other.warmed_up(
            variant, torch_side, specs, weights, batch, variant
        )
        tolerance = 0.05 if variant == "bfloat16" or NORM in specs else 1e-3
        check_equal(title, f"PyTorch {variant}", losses, theirs, tolerance)
        runners[variant] = other.runner(variant)
    times = take_turns(runners, rounds, SECONDS)
    own_ms = statistics.median(times["minicnn"])
    case = {
        "model": name,
        "batch": batch,
        "threads": threads,
        "minicnn_ms": own_ms,
        "torch_ms": medians(times, variants),
        "warm_up_s": warm_up,
        **ratios("best_fp32", best_of(times, [v for v in variants if v in FP32]), times["minicnn"]),
        "gflop": gflop,
        "gflops": gflop / own_ms * 1000,
        "share_of_peak": gflop / own_ms * 1000 / (peak_gflops * threads),
    }
    if "bfloat16" in variants:
        case |= ratios("bf16", times["bfloat16"], times["minicnn"])
    return case


def main(argv: list[str] | None = None) -> int:
    parser = flag_parser("Compare training steps with PyTorch's.", rounds=10)
    parser.add_argument("--only", choices=MODELS, help="keep others in --json (default: all)")
    flags = parser.parse_args(argv)
    need("torch")
    plan = [
        (name, batch, threads)
        for name in ([flags.only] if flags.only else MODELS)
        for batch in (128, 32, 512)
        for threads in sorted({min(2, minicnn.cpu_count()), 1}, reverse=True)
    ]
    variants: tuple[str, ...] = VARIANTS
    if flags.quick:
        plan, variants = plan[:1], tuple(v for v in VARIANTS if v != "compile")
    results = Results(flags.json)
    if flags.only:
        results.keep(lambda case: case["model"] != flags.only)
    with OtherSide() as other:
        for name, batch, threads in plan:
            case = compare(other, name, batch, threads, variants, flags.rounds, results.peak_gflops)
            results.add(case)
            print(line(case), flush=True)
    results.cases.sort(key=lambda case: list(MODELS).index(case["model"]))
    results.write()
    return 0


def line(case: dict[str, Any]) -> str:
    """Return a case in one line."""
    theirs = ", ".join(f"{v} {ms:.2f}" for v, ms in case["torch_ms"].items())
    low, high = case["ratio_best_fp32_range"]
    return (
        f"{case['model']}, batch {case['batch']}, {case['threads']} threads: "
        f"minicnn {case['minicnn_ms']:.2f} ms ({case['share_of_peak']:.0%} of peak); "
        f"PyTorch {theirs}; ratio to its best float32 {case['ratio_best_fp32']:.2f} "
        f"({low:.2f} to {high:.2f}), to bfloat16 {case['ratio_bf16']:.2f}"
    )


if __name__ == "__main__":
    run_script(main)
