"""Measure how many lines of several digits are read whole: cut by `detect_digits`, read by a model.

    python benchmarks/lines.py --model model.npz --json benchmarks/results/lines.json
    python benchmarks/lines.py --model model.npz --quick

The lines are those of `line_maker.py`, of MNIST's test images: digits that neither the model nor
the rules of `detect_digits` have met, by seeds that they have not met either. `read_directly` is
the share of lines of which the model reads every digit's original image: no cutting could do
better, but for luck. Three kinds of lines: a gap everywhere (what counts); narrow gaps; digits that
touch.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from line_maker import make_line
from side_by_side import Results

import minicnn
from minicnn import ImageDataset, Sequential

LINES = 500
SEED = 2024  # tuned on others
# Name -> least and largest mean gap of a line, in heights of a digit
KINDS = {"gaps": (0.1, 0.6), "narrow gaps": (0.05, 0.15), "touching": (0.0, 0.05)}


def measure(
    model: Sequential, data: ImageDataset, name: str, gaps: tuple[float, float], lines: int
) -> dict[str, Any]:
    """Read so many lines; return the shares of which the right number of digits was found, etc."""
    directly = model.predict(data.test_images) == data.test_labels
    counted = whole = at_best = 0
    for number in range(lines):
        rng = np.random.default_rng([SEED, number])
        line = make_line(data.test_images, data.test_labels, rng, gaps=gaps)
        found = minicnn.detect_digits(line.picture)
        read = model.predict(np.stack([digit.image for digit in found])).tolist()
        counted += len(found) == len(line.digits)
        whole += read == line.digits
        at_best += bool(directly[line.chosen].all())
    return {
        "name": name,
        "gaps": list(gaps),
        "lines": lines,
        "digits_counted": counted / lines,
        "read_whole": whole / lines,
        "read_directly": at_best / lines,
    }


def sentence(case: dict[str, Any]) -> str:
    return (
        f"{case['name']}: {case['lines']} lines, {case['read_whole']:.1%} read whole "
        f"({case['digits_counted']:.1%} with the right number of digits; from the original images "
        f"{case['read_directly']:.1%})"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure how many lines are read whole.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--quick", action="store_true", help="20 lines of the first kind only")
    parser.add_argument("--model", type=Path, required=True, help="a saved model")
    parser.add_argument("--data-dir", help="folder with MNIST's four files")
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
        print(sentence(results.cases[-1]), flush=True)
        if flags.quick:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
