"""Build the README's tables: five recipes, and four tasks."""

from collections.abc import Sequence
from typing import NamedTuple

from report_tables import Results, number, table

TRAINING_CASE = ("reference CNN with batch norm", 128, 2)  # model, batch, threads
MNIST = ("MNIST", "IDX files in mnist")  # the second name is of older results
RECIPES = ("one_epoch", "reference", "tiny", "ten_epochs", "ensemble")


def accuracy(every: Sequence[Results]) -> str:
    """Return a row for each of five recipes on MNIST."""
    mnist = {found["recipe"]: found for found in every if found["dataset"] in MNIST}
    rows = []
    for name in (name for name in RECIPES if name in mnist):
        own = mnist[name]["summary"]
        rows.append(
            [
                f"`{name}`",
                f"{own['mean']:.2%}",
                f"{own['seeds']}",
                f"{own['parameters']:,}",
                f"{own['train_seconds']:.0f} s",
            ]
        )
    return table(["recipe", "test accuracy", "seeds", "parameters", "training, 1 thread"], rows)


class Headline(NamedTuple):
    """Seconds of minicnn and of the fastest other library for a task."""

    task: str
    own: float
    other: float
    library: str
    ratio: float


def headlines(
    training: Results | None,
    inference: Results | None,
    to_accuracy: Results | None,
    startup: Results | None,
) -> list[Headline]:
    """Return the measured ones of four tasks; ratios are medians over rounds."""
    rows = []
    for case in training["cases"] if training else []:
        if (case["model"], case["batch"], case["threads"]) == TRAINING_CASE:
            other = min(ms for name, ms in case["torch_ms"].items() if name != "bfloat16")
            own, ratio = case["minicnn_ms"] / 1000, case["ratio_best_fp32"]
            task = "training step with batch norm, 128 images"
            rows.append(Headline(task, own, other / 1000, "PyTorch", ratio))
    for case in inference["cases"] if inference else []:
        if (case["batch"], case["threads"]) == (1000, 2):
            other, library, ratio = min(
                (min(case["torch_ms"].values()), "PyTorch", case["ratio_torch"]),
                (case["onnxruntime_ms"], "ONNX Runtime", case["ratio_onnxruntime"]),
            )
            own = case["minicnn_ms"] / 1000
            rows.append(Headline("inference, 1,000 images", own, other / 1000, library, ratio))
    if to_accuracy and to_accuracy["summary"]["reached"]:
        mean = to_accuracy["summary"]
        task = f"training to {to_accuracy['target']:.0%} test accuracy"
        rows.append(Headline(task, mean["minicnn_s"], mean["torch_s"], "PyTorch", mean["ratio"]))
    for case in startup["cases"] if startup else []:
        if "minicnn, warm" in case["seconds"]:
            own, other = (case["seconds"][n]["median"] for n in ("minicnn, warm", "PyTorch"))
            task = "process start to first training step"
            rows.append(Headline(task, own, other, "PyTorch", other / own))
    return rows


def speed(*results: Results | None) -> str:
    """Return a row for each of four tasks, or nothing if none is measured."""
    rows = [
        [row.task, duration(row.own), f"{duration(row.other)} ({row.library})", f"{row.ratio:.1f}"]
        for row in headlines(*results)
    ]
    header = ["reference CNN, 2 threads", "minicnn", "fastest other library", "times as fast"]
    return table(header, rows) if rows else ""


def duration(seconds: float) -> str:
    """Format seconds, or milliseconds below one tenth of a second."""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{number(1000 * seconds)} ms"
