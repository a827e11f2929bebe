"""Time the forward pass beside PyTorch's and ONNX Runtime's.

    python benchmarks/inference.py --json benchmarks/results/inference.json
    python benchmarks/inference.py --quick

The reference CNN on batches of 1, 32 and 1000 images, on one and two threads. All sides have the
same weights, read float32 images in memory, return logits (no softmax), and must agree on them
before the timing starts. PyTorch (eval, inference mode; contiguous, channels_last, channels_last in
chunks of 32 images, and compiled) and ONNX Runtime run in their own processes. The sides alternate
in rounds, and a ratio is the median over the rounds of their time / ours: above 1 minicnn is
faster.

Our side is `Sequential.infer`: one call on one thread for up to 32 images, chunks of 32 images on
worker threads for more.
"""

import importlib
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
    Spec,
    Weights,
    channels_first,
    digits,
    minicnn_model,
    torch_images,
    torch_network,
    weights_of,
)
from script import run_script

import minicnn
from minicnn import Sequential
from minicnn.train.data_parallel import MICROBATCH

MODEL = "reference CNN"
TORCH = ("contiguous", "channels_last", "in pieces", "compile")
ONNX = "ONNX Runtime"
SECONDS = 0.1  # for each side in each round
TOLERANCE = 1e-4


def minicnn_side(model: Sequential, batch: int, threads: int) -> Timed:
    """Return our forward pass over a batch of preprocessed images."""
    x = model.preprocess(digits(batch)[0])

    def step() -> Any:
        return model.infer(x, threads=threads)

    return Timed(step, step)


def torch_side(specs: list[Spec], weights: Weights, batch: int, variant: str) -> Timed:
    """Return PyTorch's forward pass."""
    import torch

    network = torch_network(specs, weights).eval()
    x = torch_images(digits(batch)[0])
    if variant != "contiguous":
        network = network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    if variant == "compile":
        torch.compiler.reset()  # forget the code of other batches
        network = torch.compile(network)

    pieces = x.split(MICROBATCH) if variant == "in pieces" else [x]

    def step() -> Any:
        with torch.inference_mode():
            return torch.cat([network(piece) for piece in pieces])

    return Timed(step, lambda: step().numpy())


# ---------------------------------------------------------------- ONNX Runtime


def onnx_model(specs: list[Spec], weights: Weights, batch: int) -> bytes:
    """Return the network as an ONNX file with minicnn's weights."""
    onnx: Any = importlib.import_module("onnx")  # has no type information
    nodes, constants, last = [], [], "x"
    layers = zip(specs, channels_first(specs, weights), strict=True)
    for index, (spec, own) in enumerate(layers):
        operation, flags = onnx_operation(spec)
        names = [f"{name}{index}" for name in own]  # weight, bias
        constants += [onnx.numpy_helper.from_array(own[n], f"{n}{index}") for n in own]
        nodes.append(onnx.helper.make_node(operation, [last, *names], [f"y{index}"], **flags))
        last = f"y{index}"
    float32 = onnx.TensorProto.FLOAT
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [value("x", float32, [batch, 1, 28, 28])],
        [value(last, float32, [batch, specs[-1][1]])],
        constants,
    )
    # An old version of the format, which every recent ONNX Runtime reads.
    version = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[version], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def onnx_operation(spec: Spec) -> tuple[str, dict[str, Any]]:
    """Return the ONNX operator of a layer, and its attributes."""
    kind, *options = spec
    if kind == "conv":
        return "Conv", {"pads": [options[2]] * 4}
    if kind == "pool":
        return "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}
    if kind == "dense":
        return "Gemm", {"transB": 1}  # the weights are (out, in)
    return {"relu": "Relu", "flatten": "Flatten"}[kind], {}


def onnx_side(content: bytes, batch: int, threads: int) -> Timed:
    """Return ONNX Runtime's forward pass."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    images = digits(batch)[0].transpose(0, 3, 1, 2).astype(np.float32) / 255
    feed = {"x": np.ascontiguousarray(images)}

    def step() -> Any:
        return session.run(None, feed)[0]

    return Timed(step, step)


# ---------------------------------------------------------------- the comparison


def compare(
    torch: OtherSide,
    onnx: OtherSide,
    batch: int,
    threads: int,
    variants: tuple[str, ...],
    rounds: int,
) -> dict[str, Any]:
    """Check that all sides agree on one case, then time them in rounds."""
    specs, title = MODELS[MODEL], f"batch {batch}"
    variants = tuple(v for v in variants if v != "in pieces" or batch > MICROBATCH)
    started = time.perf_counter()
    model = minicnn_model(specs)
    own = minicnn_side(model, batch, threads)
    logits = own.answer()
    warm_up = {"minicnn": time.perf_counter() - started}
    weights = weights_of(model)
    runners: dict[str, Callable[[float], float]] = {"minicnn": own.run}
    torch.make("threads", set_torch_threads, threads)
    for variant in variants:
        theirs, warm_up[variant] = torch.warmed_up(
            variant, torch_side, specs, weights, batch, variant
        )
        check_equal(title, f"PyTorch {variant}", logits, theirs, TOLERANCE)
        runners[variant] = torch.runner(variant)
    content = onnx_model(specs, weights, batch)
    theirs, warm_up[ONNX] = onnx.warmed_up(ONNX, onnx_side, content, batch, threads)
    check_equal(title, ONNX, logits, theirs, TOLERANCE)
    runners[ONNX] = onnx.runner(ONNX)
    times = take_turns(runners, rounds, SECONDS)
    return {
        "model": MODEL,
        "batch": batch,
        "threads": threads,
        "minicnn_ms": statistics.median(times["minicnn"]),
        "torch_ms": medians(times, variants),
        "onnxruntime_ms": statistics.median(times[ONNX]),
        "warm_up_s": warm_up,
        **ratios("torch", best_of(times, variants), times["minicnn"]),
        **ratios("onnxruntime", times[ONNX], times["minicnn"]),
    }


def main(argv: list[str] | None = None) -> int:
    parser = flag_parser("Compare forward passes with PyTorch's and ONNX Runtime's.", rounds=20)
    flags = parser.parse_args(argv)
    need("torch", "onnx", "onnxruntime")
    counts = sorted({min(2, minicnn.cpu_count()), 1})
    plan = [(batch, threads) for batch in (1, 32, 1000) for threads in counts]
    variants: tuple[str, ...] = TORCH
    if flags.quick:
        plan, variants = plan[:1], tuple(v for v in TORCH if v != "compile")
    results = Results(flags.json)
    with OtherSide() as torch, OtherSide() as onnx:
        for batch, threads in plan:
            case = compare(torch, onnx, batch, threads, variants, flags.rounds)
            results.add(case)
            theirs = ", ".join(f"{v} {ms:.3f}" for v, ms in case["torch_ms"].items())
            print(
                f"batch {batch}, {threads} threads: minicnn {case['minicnn_ms']:.3f} ms; "
                f"PyTorch {theirs}; {ONNX} {case['onnxruntime_ms']:.3f}; "
                f"ratio to PyTorch's best {case['ratio_torch']:.2f}, "
                f"to {ONNX} {case['ratio_onnxruntime']:.2f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    run_script(main)
