"""Follow one digit through a network, number by number.

    python examples/tools/explain_digit.py --test 7
    python examples/tools/explain_digit.py my-digit.png --model model.npz --out journey
    python examples/tools/explain_digit.py --test 7 --step
    python examples/tools/explain_digit.py --test 7 --step "5.weight[0,1,2,3]"

Prints every tensor on the way and how one number of each kind is made: one of a feature map, the
winner of a pool, a logit, a probability. ``--out`` draws it: the image and a window, the feature
maps, the winners of a pool, the decision.

``--step`` follows one weight through one training step, by numbers: forward, loss, gradient, Adam's
m and v, the update, the new loss. Where no weight is named it is one of the first layer's, the one
with the largest gradient. ``5.weight[0,1,2,3]`` is the weight of layer 5 at kh, kw, c, f.
"""

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import minicnn
from minicnn import Adam, Conv2D, Dense, DepthwiseConv2D, MaxPool2D, Sequential
from minicnn.explanation.formulas import UnitTrace
from minicnn.explanation.trace import LayerStep, Trace

sys.path.insert(0, str(Path(__file__).parents[1]))
from files import writable, write_file
from recognize import choose_model
from train_mnist import load_data

WEIGHT = re.compile(r"(?P<layer>\d+(?:\.\w+)*)\.(?P<name>weight|bias)\[(?P<at>\d+(?:,\d+)*)\]")


# ---------------------------------------------------------------- what is explained


def given_digit(flags: argparse.Namespace) -> tuple[NDArray[np.uint8], int | None]:
    """Return the image, and its label where it is known."""
    if flags.image:
        return minicnn.to_mnist_format(flags.image), flags.label
    data = load_data(flags.data_dir)
    count = len(data.test_images)
    if flags.test >= count:
        raise ValueError(f"--test: there are {count} test images, 0 to {count - 1}")
    label = int(data.test_labels[flags.test]) if flags.label is None else flags.label
    return data.test_images[flags.test], label


def first_of(trace: Trace, *kinds: type) -> LayerStep | None:
    """Return the first step of some kind, inside containers too."""
    every = (inner for step in trace.steps for inner in step.iter_steps())
    return next((step for step in every if isinstance(step.layer, kinds)), None)


def strongest(step: LayerStep) -> tuple[int, ...]:
    """Return where a layer's output is largest."""
    return tuple(int(axis) for axis in np.unravel_index(step.y.argmax(), step.y.shape))


# ---------------------------------------------------------------- the journey


def tell_journey(trace: Trace) -> None:
    """Print all tensors, and one number of each kind with what it was made of."""
    print(f"{trace}\n")
    chapters = {
        "One number of a feature map": first_of(trace, Conv2D, DepthwiseConv2D),
        "One number behind a max-pool: the winner goes on": first_of(trace, MaxPool2D),
    }
    for title, step in chapters.items():
        if step:
            at = strongest(step)
            tell(f"{title}\nlayer {step.number}, {step.title()}, at {list(at)}", str(step[at]))
    order = np.argsort(-trace.probabilities, kind="stable")
    for k, word in zip(order[:2], ("likeliest", "second"), strict=True):
        last, name = trace.steps[-1], trace.class_names[k]
        title = f"The logit of the {word} class, {name}\nlayer {last.number}, {last.title()}"
        tell(title, str(last[int(k)]) if isinstance(last.layer, Dense) else f"{last.y[k]:.4g}")
    tell(f"The probability of {trace.class_names[order[0]]}", str(trace.softmax(int(order[0]))))
    print(f"So it is {trace.class_names[order[0]]}, with {trace.probabilities[order[0]]:.2%}.")


def tell(title: str, text: str) -> None:
    print(f"{title}\n\n{text}\n")


def draw_journey(trace: Trace, model: Sequential, folder: Path) -> None:
    """Draw the same, one PNG file for each part of the way."""
    from minicnn import plots  # matplotlib takes a second: only where pictures are wanted

    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    conv, pool = first_of(trace, Conv2D, DepthwiseConv2D), first_of(trace, MaxPool2D)
    if conv:
        oh, ow, f = strongest(conv)
        figures["window"] = plots.conv_window(trace, conv.number, (oh, ow, f))
        figures["feature_maps"] = plots.feature_maps(model, trace.image)
    if pool:
        figures["winners"] = plots.pool_argmax(trace, pool.number, strongest(pool)[2])
    if isinstance(trace.steps[-1].layer, Dense):
        figures["decision"] = plots.logit_contributions(trace)
    for place, (name, figure) in enumerate(figures.items(), start=1):
        figure.savefig(folder / f"{place}_{name}.png")
    print(f"pictures drawn in {folder}: {', '.join(figures)}")


# ---------------------------------------------------------------- one weight, one training step


def chosen_weight(trace: Trace, text: str) -> tuple[LayerStep, str, tuple[int, ...]]:
    """Return the weight that a text names; for an empty one the first layer's largest gradient."""
    if text:
        match = WEIGHT.fullmatch(text.replace(" ", ""))
        if not match:
            raise ValueError(f"--step: a weight is named like 5.weight[0,1,2,3], not {text!r}")
        at = tuple(map(int, match["at"].split(",")))
        try:
            step = trace.step(match["layer"])
            step.gradient(match["name"], at)  # raises where there is no such weight
        except (KeyError, IndexError) as error:
            raise ValueError(f"--step {text}: {error.args[0]}") from error
        return step, match["name"], at
    first = first_of(trace, Conv2D, DepthwiseConv2D, Dense)
    if first is None:
        raise ValueError("--step: the model has no convolution and no dense layer")
    gradient = abs(first.gradients["weight"])
    at = tuple(int(axis) for axis in np.unravel_index(gradient.argmax(), gradient.shape))
    return first, "weight", at


def tell_step(trace: Trace, model: Sequential, text: str, optimizer: Adam) -> None:
    """Print one weight's way through a training step on the image."""
    step, name, at = chosen_weight(trace, text)
    old, new = float(step.layer.parameters[name][at]), float(step.updated[name][at])
    cell = step.gradient(name, at)
    before, likely = trace.loss or 0.0, trace.probabilities[trace.label or 0]
    print(
        f"The {name} of layer {step.number}, {step.title()}, at {list(at)}: {old:.6g}\n\n"
        f"1. Forward. The network gives the true class, {trace.class_names[trace.label or 0]}, a "
        f"probability p = {likely:.6g}\n   loss = -log p = {before:.6g}\n\n"
        f"2. Gradient. The {name} has a part in each place of the layer's output, and dy says what "
        f"a change\n   there does to the loss.\n\n{indented(cell)}\n"
    )
    m, v = (float(step.moments[name][key][at]) for key in "mv")
    tell_update(optimizer, cell.result, m, v, old, new)
    alone = loss_with(model, trace, (step.number, name, at), new)
    foretold = cell.result * (new - old)
    print(
        f"5. New loss\n   if this {name} alone moves: {before:.6g} -> {alone:.6g}, that is "
        f"{alone - before:+.3g}\n   (by the gradient, g · change, it should be {foretold:+.3g})\n"
        f"   if all {model.parameters.size:,} move: {before:.6g} -> {trace.loss_after:.6g}"
    )


def tell_update(adam: Adam, g: float, m: float, v: float, old: float, new: float) -> None:
    """Print Adam's first step, from moments that were 0."""
    m_hat, v_hat = m / (1 - adam.beta1), v / (1 - adam.beta2)
    print(
        f"3. Adam. Running means of the gradient and of its square, both 0 before\n"
        f"   m = (1 - β1) · g  = {1 - adam.beta1:.3g} · {g:.6g} = {m:.6g}\n"
        f"   v = (1 - β2) · g² = {1 - adam.beta2:.3g} · {g * g:.6g} = {v:.6g}\n"
        f"   divided by what a mean of one step lacks\n"
        f"   m̂ = m / (1 - β1) = {m_hat:.6g}\n"
        f"   v̂ = v / (1 - β2) = {v_hat:.6g}\n\n"
        f"4. Update: old - learning_rate · m̂ / (√v̂ + ε)\n"
        f"   = {old:.6g} - {adam.learning_rate:.3g} · {m_hat:.6g} / "
        f"({v_hat**0.5:.6g} + {adam.epsilon:.0e}) = {new:.6g}\n"
    )


def indented(cell: UnitTrace) -> str:
    return textwrap.indent(str(cell), "   ")


def loss_with(
    model: Sequential, trace: Trace, weight: tuple[str, str, tuple[int, ...]], value: float
) -> float:
    """Return the loss with one weight changed; it is changed back."""
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
    parser = argparse.ArgumentParser(description="Follow one digit through a network.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("image", nargs="?", type=Path, help="a picture of one digit")
    what.add_argument("--test", type=int, metavar="N", help="test image N instead, from 0")
    parser.add_argument("--label", type=int, help="the true class of the picture, for --step")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where the test images are; or MNIST")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE.npz",
        help="a saved model (default: the newest in the current folder, or the one in the user's "
        "cache folder, or one trained on the spot)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="draw the journey there")
    parser.add_argument("--json", type=writable, metavar="FILE.json", help="write all numbers")
    parser.add_argument(
        "--step",
        nargs="?",
        const="",
        metavar="WEIGHT",
        help="follow a weight, such as '5.weight[0,1,2,3]', through one training step",
    )
    parser.add_argument("--lr", type=float, default=0.001, help="learning rate of the step")
    flags = parser.parse_args(argv)
    if flags.test is not None and flags.test < 0:
        parser.error("--test: test images are counted from 0")
    if flags.step is not None and flags.image and flags.label is None:
        parser.error("--step learns from the image: say with --label what it shows")
    if flags.out and flags.out.exists() and not flags.out.is_dir():
        parser.error(f"--out: {flags.out} is not a folder")
    return flags


def explain_digit(flags: argparse.Namespace) -> None:
    model = choose_model(flags.model)
    image, label = given_digit(flags)
    if label is None:
        trace = minicnn.explain(model, image)
    else:
        optimizer = Adam(flags.lr)
        trace = minicnn.explain(model, image, label, optimizer=optimizer)
    if flags.step is not None:
        tell_step(trace, model, flags.step, optimizer)
    else:
        tell_journey(trace)
    if flags.out:
        draw_journey(trace, model, flags.out)
    if flags.json:
        write_file(flags.json, f"{to_json(trace)}\n")
        print(f"all numbers written to {flags.json}")


def main(argv: list[str] | None = None) -> int:
    flags = parse_flags(argv)
    try:
        explain_digit(flags)
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        return 130
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        print(f"explain_digit.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
