"""Explain how a network computes its prediction for one digit.

    python examples/tools/explain_digit.py --test 7
    python examples/tools/explain_digit.py my-digit.png --model model.npz --out figures
    python examples/tools/explain_digit.py --test 7 --step
    python examples/tools/explain_digit.py --test 7 --step "5.weight[0,1,2,3]"

Prints every tensor and how one value of each kind is computed: of a feature map, a max-pool, a
logit and a probability. ``--out`` draws the image with a window, the feature maps, the argmax of a
pool and the contributions to the logits.

``--step`` follows one weight through one training step: forward, loss, gradient, Adam's m and v,
the update, the new loss, all in float64. Without a name it is the weight of the first layer with
the largest gradient.
``5.weight[0,1,2,3]`` is the weight of layer 5 at kh, kw, c, f.
"""

import argparse
import json
import re
import sys
import textwrap
from copy import deepcopy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import minicnn
from minicnn import Adam, Conv2D, Dense, DepthwiseConv2D, MaxPool2D, Sequential
from minicnn.explanation import LayerStep, Trace
from minicnn.explanation.formulas import UnitTrace
from minicnn.table import percent

sys.path.insert(0, str(Path(__file__).parents[1]))
from console import Help, run_script
from files import check_distinct, writable, writable_folder, write_file
from recognize import choose_model
from train_mnist import load_data

WEIGHT = re.compile(r"(?P<layer>\d+(?:\.\w+)*)\.(?P<name>weight|bias)\[(?P<at>\d+(?:,\d+)*)\]")


# ---------------------------------------------------------------- the image


def load_digit(flags: argparse.Namespace) -> tuple[NDArray[np.uint8], int | None]:
    """Return the image and its label, or None."""
    if flags.image:
        return minicnn.to_mnist_format(flags.image), flags.label
    data = load_data(flags.data_dir)
    count = len(data.test_images)
    if flags.test >= count:
        raise ValueError(f"--test: there are {count} test images, 0 to {count - 1}")
    label = int(data.test_labels[flags.test]) if flags.label is None else flags.label
    return data.test_images[flags.test], label


def first_step(trace: Trace, *kinds: type) -> LayerStep | None:
    """Return the first step of a kind of layer, also in containers."""
    every = (inner for step in trace.steps for inner in step.iter_steps())
    return next((step for step in every if isinstance(step.layer, kinds)), None)


def argmax_index(step: LayerStep) -> tuple[int, ...]:
    """Return the index of a layer's largest output."""
    return tuple(int(axis) for axis in np.unravel_index(step.y.argmax(), step.y.shape))


# ---------------------------------------------------------------- the prediction


def print_prediction(trace: Trace) -> None:
    """Print all tensors, and the computation of one value of each kind."""
    print(f"{trace}\n")
    sections = {
        "One value of a feature map": first_step(trace, Conv2D, DepthwiseConv2D),
        "One value of a max-pool": first_step(trace, MaxPool2D),
    }
    for title, step in sections.items():
        if step:
            at = argmax_index(step)
            print_section(
                f"{title}\nlayer {step.number}, {step.title()}, at {list(at)}", str(step[at])
            )
    order = np.argsort(-trace.probabilities, kind="stable")
    for k, word in zip(order[:2], ("likeliest", "second"), strict=True):
        last, name = trace.steps[-1], trace.class_names[k]
        title = f"The logit of the {word} class, {name}\nlayer {last.number}, {last.title()}"
        print_section(
            title, str(last[int(k)]) if isinstance(last.layer, Dense) else f"{last.y[k]:.4g}"
        )
    print_section(
        f"The probability of {trace.class_names[order[0]]}", str(trace.softmax(int(order[0])))
    )
    best = order[0]
    share = percent(float(trace.probabilities[best]))
    print(f"The prediction is {trace.class_names[best]}, with {share}.")


def print_section(title: str, text: str) -> None:
    print(f"{title}\n\n{text}\n")


def draw_prediction(trace: Trace, model: Sequential, folder: Path) -> None:
    """Draw one PNG file per figure."""
    from minicnn import plots  # importing matplotlib takes a second

    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    conv, pool = first_step(trace, Conv2D, DepthwiseConv2D), first_step(trace, MaxPool2D)
    if conv:
        oh, ow, f = argmax_index(conv)
        figures["window"] = plots.conv_window(trace, conv.number, (oh, ow, f))
        figures["feature_maps"] = plots.feature_maps(model, trace.image)
    if pool:
        figures["argmax"] = plots.pool_argmax(trace, pool.number, argmax_index(pool)[2])
    if isinstance(trace.steps[-1].layer, Dense):
        figures["logits"] = plots.logit_contributions(trace)
    for number, (name, figure) in enumerate(figures.items(), start=1):
        figure.savefig(folder / f"{number}_{name}.png")
    print(f"figures drawn in {folder}: {', '.join(figures)}")


# ---------------------------------------------------------------- one weight, one training step


def find_weight(trace: Trace, text: str) -> tuple[LayerStep, str, tuple[int, ...]]:
    """Return the named weight, or one with the largest gradient."""
    if text:
        match = WEIGHT.fullmatch(text.replace(" ", ""))
        if not match:
            raise ValueError(f"--step: a weight is named like 5.weight[0,1,2,3], not {text!r}")
        at = tuple(map(int, match["at"].split(",")))
        try:
            step = trace.step(match["layer"])
            step.gradient(match["name"], at)  # raises if there is no such weight
        except (KeyError, IndexError) as error:
            raise ValueError(f"--step {text}: {error.args[0]}") from error
        return step, match["name"], at
    first = first_step(trace, Conv2D, DepthwiseConv2D, Dense)
    if first is None:
        raise ValueError("--step: the model has no convolution and no dense layer")
    gradient = abs(first.gradients["weight"])
    at = tuple(int(axis) for axis in np.unravel_index(gradient.argmax(), gradient.shape))
    return first, "weight", at


def print_step(trace: Trace, model: Sequential, text: str, optimizer: Adam) -> None:
    """Print one weight's gradient and update in a training step."""
    step, name, at = find_weight(trace, text)
    old, new = float(step.layer.parameters[name][at]), float(step.updated[name][at])
    unit = step.gradient(name, at)
    before, likely = trace.loss or 0.0, trace.probabilities[trace.label or 0]
    print(
        f"The {name} of layer {step.number}, {step.title()}, at {list(at)}: {old:.6g}\n\n"
        f"1. Forward. The network gives the true class, {trace.class_names[trace.label or 0]}, a "
        f"probability p = {likely:.6g}\n   loss = -log p = {before:.6g}\n\n"
        f"2. Gradient. The {name} contributes to each position of the layer's output; dy is the "
        f"gradient of the\n   loss there.\n\n{indented(unit)}\n"
    )
    m, v = (float(step.moments[name][key][at]) for key in "mv")
    print_update(optimizer, unit.result, m, v, old, new)
    alone = loss_with(model, trace, (step.number, name, at), new)
    predicted = unit.result * (new - old)
    print(
        f"5. New loss\n   if only this {name} changes: {before:.6g} -> {alone:.6g}, that is "
        f"{alone - before:+.3g}\n   (predicted by the gradient, g · change: {predicted:+.3g})\n"
        f"   if all {model.parameters.size:,} change: {before:.6g} -> {trace.loss_after:.6g}"
    )


def print_update(adam: Adam, g: float, m: float, v: float, old: float, new: float) -> None:
    """Print Adam's first step, from moments of 0."""
    m_hat, v_hat = m / (1 - adam.beta1), v / (1 - adam.beta2)
    print(
        f"3. Adam. Moving averages of the gradient and its square, both 0 before\n"
        f"   m = (1 - β1) · g  = {1 - adam.beta1:.3g} · {g:.6g} = {m:.6g}\n"
        f"   v = (1 - β2) · g² = {1 - adam.beta2:.3g} · {g * g:.6g} = {v:.6g}\n"
        f"   corrected for the bias of one step\n"
        f"   m̂ = m / (1 - β1) = {m_hat:.6g}\n"
        f"   v̂ = v / (1 - β2) = {v_hat:.6g}\n\n"
        f"4. Update: old - learning_rate · m̂ / (√v̂ + ε)\n"
        f"   = {old:.6g} - {adam.learning_rate:.3g} · {m_hat:.6g} / "
        f"({v_hat**0.5:.6g} + {adam.epsilon:.0e}) = {new:.6g}\n"
    )


def indented(unit: UnitTrace) -> str:
    return textwrap.indent(str(unit), "   ")


def in_float64(model: Sequential) -> Sequential:
    """Return a copy of the model that computes in float64."""
    double = deepcopy(model)
    double.dtype = np.dtype(np.float64)
    for layer in double.layers:
        for arrays in (layer.parameters, layer.statistics):
            for name, array in arrays.items():
                arrays[name] = array.astype(np.float64)
    return deepcopy(double)  # copying flattens the arrays again, now in float64


def loss_with(
    model: Sequential, trace: Trace, weight: tuple[str, str, tuple[int, ...]], value: float
) -> float:
    """Return the loss with one weight changed temporarily."""
    number, name, at = weight
    outer, *inside = number.split(".")
    array = model.layers[int(outer) - 1].parameters[".".join([*inside, name])]
    old = array[at].copy()
    array[at] = value
    try:
        return minicnn.explain(model, trace.image, trace.label).loss or 0.0
    finally:
        array[at] = old


def to_json(trace: Trace) -> str:
    """Return the trace with every element of every tensor as JSON."""
    about = {
        "class_names": trace.class_names,
        "label": trace.label,
        "loss": trace.loss,
        "loss_after": trace.loss_after,
        "optimizer": None if trace.optimizer is None else str(trace.optimizer),
    }
    tensors = [
        {**tensor.statistics(), "values": tensor.array.tolist()} for tensor in trace.tensors()
    ]
    return json.dumps({**about, "tensors": tensors})


# ---------------------------------------------------------------- the program


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Explain a prediction.", formatter_class=Help)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("image", nargs="?", type=Path, help="an image of one digit")
    source.add_argument(
        "--test",
        type=int,
        metavar="N",
        help="test image N, counted from 0 (default: the given image)",
    )
    parser.add_argument(
        "--label", type=int, help="true class, for --step (default: that of the test image)"
    )
    parser.add_argument(
        "--data-dir", metavar="FOLDER", help="folder with the test images (default: MNIST)"
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE.npz",
        help="a saved model (default: the newest in the current folder, else the cached one, "
        "else one is trained)",
    )
    parser.add_argument("--out", type=writable_folder, metavar="FOLDER", help="draw figures there")
    parser.add_argument("--json", type=writable, metavar="FILE.json", help="write all values")
    parser.add_argument(
        "--step",
        nargs="?",
        const="",
        metavar="WEIGHT",
        help="follow a weight, such as '5.weight[0,1,2,3]', through a training step "
        "(default: explain the prediction)",
    )
    parser.add_argument("--lr", type=float, default=0.001, help="learning rate of the step")
    flags = parser.parse_args(argv)
    if flags.test is not None and flags.test < 0:
        parser.error("--test: test images are counted from 0")
    if flags.step is not None and flags.image and flags.label is None:
        parser.error("--step needs the true class of the image: add --label")
    check_distinct(parser, {"--json": flags.json, "--model": flags.model, "the image": flags.image})
    return flags


def explain_digit(flags: argparse.Namespace) -> None:
    image, label = load_digit(flags)  # before a model is trained
    model = minicnn.load_model(flags.model) if flags.model else choose_model(None)
    if flags.step is not None:  # one weight changes the loss by less than float32 resolves
        model = in_float64(model)
    if label is None:
        trace = minicnn.explain(model, image)
    else:
        optimizer = Adam(flags.lr)
        trace = minicnn.explain(model, image, label, optimizer=optimizer)
    if flags.step is not None:
        print_step(trace, model, flags.step, optimizer)
    else:
        print_prediction(trace)
    if flags.out:
        draw_prediction(trace, model, flags.out)
    if flags.json:
        write_file(flags.json, f"{to_json(trace)}\n")
        print(f"all values written to {flags.json}")


def main(argv: list[str] | None = None) -> int:
    flags = parse_flags(argv)
    try:
        explain_digit(flags)
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        print(f"explain_digit.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_script(main)
