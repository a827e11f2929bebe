"""Write the README's tables and listings from what was measured and from what is there.

    python benchmarks/report.py            # rewrite the README's generated parts
    python benchmarks/report.py --check    # exit code 1 if they are not what would be written

The results come from ``examples/train_mnist.py --results benchmarks/results/NAME.json``.
"""

import argparse
import json
import re
import runpy
import sys
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"


def summary() -> str:
    reference_cnn = runpy.run_path(str(ROOT / "examples" / "train_mnist.py"))["reference_cnn"]
    return f"```text\n{reference_cnn(seed=0).summary()}\n```"


def accuracy_table() -> str:
    """Return a row for each data set and number of epochs, over all seeds that were run."""

    def kind(result: dict[str, Any]) -> tuple[str, int, int]:
        return result["dataset"], result["train_images"], result["epochs"]

    found = [json.loads(path.read_text()) for path in RESULTS.glob("train-*.json")]
    lines = [
        "| data | training images | epochs | runs | test accuracy, mean | lowest, highest | "
        "training time, 2 threads |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (name, images, epochs), group in groupby(sorted(found, key=kind), key=kind):
        runs = list(group)
        accuracies = [run["test_accuracy"] for run in runs]
        seconds = mean(run["train_seconds"] for run in runs)
        lines.append(
            f"| {name} | {images:,} | {epochs} | {len(runs)} | {mean(accuracies):.2%} | "
            f"{min(accuracies):.2%}, {max(accuracies):.2%} | {seconds:.0f} s |"
        )
    return "\n".join(lines)


GENERATED = {"summary": summary, "accuracy": accuracy_table}


def rewritten(text: str) -> str:
    """Return the README with every generated part made anew."""
    for name, make in GENERATED.items():
        parts = re.split(
            rf"(?<=<!-- begin {name} -->\n).*?(?=<!-- end {name} -->)", text, flags=re.S
        )
        if len(parts) != 2:
            raise SystemExit(f"README.md must have one part between <!-- begin {name} --> and end")
        text = f"{parts[0]}{make()}\n{parts[1]}"
    return text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the README's generated parts.")
    parser.add_argument("--check", action="store_true", help="compare only")
    flags = parser.parse_args(argv)
    old = README.read_text(encoding="utf-8")
    new = rewritten(old)
    if flags.check:
        return int(old != new)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
