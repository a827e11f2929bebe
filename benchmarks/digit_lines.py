"""Measure the share of digit lines that are read correctly.

    python benchmarks/digit_lines.py --model model.npz --json benchmarks/results/digit_lines.json
    python benchmarks/digit_lines.py --model model.npz --quick

The lines are made by `digit_line_maker.py` from MNIST's test images, with seeds that the limits of
`detect_digits` were not tuned on. `read_directly` is the share of lines of which the model reads
every original image: an upper bound, apart from errors that cancel. There are three kinds of lines:
with gaps (the main result), with narrow gaps, and with touching digits.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from compare import Results
from digit_line_maker import make_line
from script import Help, run_script, writable

import minicnn
from minicnn import ImageDataset, Sequential

LINES = 500
SEED = 2024  # the limits were tuned on other seeds
# Name -> range of the mean gap of a line, in heights of a digit
KINDS = {"gaps": (0.1, 0.6), "narrow gaps": (0.05, 0.15), "touching": (0.0, 0.05)}


def measure(
    model: Sequential, data: ImageDataset, name: str, gaps: tuple[float, float], lines: int
) -> dict[str, Any]:
    """Read `lines` lines; return the shares with all digits counted and read."""
    is_read = model.predict(data.test_images) == data.test_labels
    counted = whole = upper_bound = 0
    for index in range(lines):
        rng = np.random.default_rng([SEED, index])
        line = make_line(data.test_images, data.test_labels, rng, gaps=gaps)
        detected = minicnn.detect_digits(line.image)
        read = model.predict(np.stack([digit.image for digit in detected])).tolist()
        counted += len(detected) == len(line.digits)
        whole += read == line.digits
        upper_bound += bool(is_read[line.chosen].all())
    return {
        "name": name,
        "gaps": list(gaps),
        "lines": lines,
        "digits_counted": counted / lines,
        "read_whole": whole / lines,
        "read_directly": upper_bound / lines,
    }


def format_case(case: dict[str, Any]) -> str:
    """Return the result of one kind of lines as a sentence."""
    return (
        f"{case['name']}: {case['lines']} lines, {case['read_whole']:.1%} read whole "
        f"({case['digits_counted']:.1%} with the right number of digits; from the original images "
        f"{case['read_directly']:.1%})"
    )


def main(argv: list[str] | None = None) -> int:
    """Measure all kinds of lines; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Measure the share of lines that are read correctly.", formatter_class=Help
    )
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the results to a file")
    parser.add_argument("--quick", action="store_true", help="20 lines of the first kind only")
    parser.add_argument("--model", type=Path, required=True, help="a saved model")
    parser.add_argument(
        "--data-dir", help="folder with MNIST's four files (default: download them)"
    )
    flags = parser.parse_args(argv)
    model, data = minicnn.load_model(flags.model), minicnn.load_mnist(flags.data_dir)
    epochs = len(model.metadata.get("history", {}).get("loss", []))
    results = Results(
        flags.json,
        model={
            "epochs": epochs,
            "augment": model.metadata.get("augment") is not None,
            "test_accuracy": minicnn.evaluate(model, data.test_images, data.test_labels).accuracy,
        },
        seed=SEED,
    )
    for name, gaps in KINDS.items():
        results.add(measure(model, data, name, gaps, 20 if flags.quick else LINES))
        print(format_case(results.cases[-1]), flush=True)
        if flags.quick:
            break
    return 0


if __name__ == "__main__":
    run_script(main)
