"""Write the README's tables, listings and pictures from what was measured and from what is there.

    python benchmarks/report.py            # rewrite the README's generated parts
    python benchmarks/report.py --check    # exit code 1 if they are not what would be written

The accuracies come from ``python benchmarks/accuracy.py --recipe NAME --json
benchmarks/results/accuracy-NAME.json``, the rest from ``python benchmarks/NAME.py --json
benchmarks/results/NAME.json``: training, kernels, inference, time_to_accuracy (its file is
``time-to-accuracy.json``), startup, scaling, augmentation, lines, story and ablation.
What has not been measured is said not to have been.
"""

import argparse
import json
import re
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import figures as pictures
import report_tables

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
MISSING = "_Not measured yet._"
ALT = {
    "ratios": "How many times as fast as PyTorch: every training step and every convolution",
    "roofline": "Speed of every kernel over its arithmetic intensity, with the roof of one core",
}


def summary() -> str:
    reference_cnn = runpy.run_path(str(ROOT / "examples" / "recipes.py"))["reference_cnn"]
    return f"```text\n{reference_cnn(seed=0).summary()}\n```"


def recipes_table() -> str:
    """Return a row for each recipe and data set, and a line for each machine with its recipes."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("accuracy-*.json"))]
    found = [figures for figures in found if figures["cases"]]
    if not found:
        return MISSING
    machines: dict[str, dict[str, None]] = {}
    for figures in found:
        names = machines.setdefault(report_tables.machine_line(figures), {})
        names[report_tables.recipe_name(figures)] = None
    lines = [
        f"{', '.join(names)}: {line}" if len(machines) > 1 else line
        for line, names in machines.items()
    ]
    return "\n\n".join([report_tables.recipes(found), *lines])


def figures_of(name: str) -> dict[str, Any] | None:
    """Return what a benchmark has measured, or None."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if found["cases"] else None


def measured(name: str, make: Callable[[dict[str, Any]], str]) -> str:
    """Return a benchmark's tables and the line that names the machine."""
    figures = figures_of(name)
    if figures is None:
        return MISSING
    more = {"onnxruntime": "ONNX Runtime"} if name == "inference" else None
    return f"{make(figures)}\n\n{report_tables.machine_line(figures, more)}"


def picture_links() -> str:
    """Return the lines that show those pictures for which there are figures."""
    links = [f"![{ALT[kind]}](benchmarks/results/{kind}.svg)" for kind in pictures_due()]
    return "\n\n".join(links) or MISSING


def pictures_due() -> list[str]:
    kernels = figures_of("kernels")
    return [
        *(["ratios"] if kernels or figures_of("training") else []),
        *(["roofline"] if kernels else []),
    ]


def pictures_are_current() -> bool:
    """Return whether the pictures are those that would be drawn."""
    training, kernels = figures_of("training"), figures_of("kernels")
    marks = {"ratios": pictures.digest(training, kernels), "roofline": pictures.digest(kernels)}
    files = {kind: RESULTS / f"{kind}.svg" for kind in pictures_due()}
    return all(
        path.exists() and marks[kind] in path.read_text(encoding="utf-8")
        for kind, path in files.items()
    )


GENERATED: dict[str, Callable[[], str]] = {
    "summary": summary,
    "recipes": recipes_table,
    "pictures": picture_links,
    **{part: partial(measured, *source) for part, source in report_tables.PARTS.items()},
}


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
        return int(old != new or not pictures_are_current())
    README.write_text(new, encoding="utf-8")
    if not pictures_are_current():
        for kind in pictures_due():
            picture = pictures.drawn(kind, figures_of("training"), figures_of("kernels"))
            (RESULTS / f"{kind}.svg").write_bytes(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
