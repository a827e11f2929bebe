"""Draw the figures of the README and of SPEED.md.

A figure carries a digest of its results and of this script. `report.py --check` compares the
digest, because the bytes of the file differ between versions of matplotlib.
"""

import hashlib
import io
import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from report_readme import headlines

Results = dict[str, Any]

# Colors of Okabe and Ito, which are distinct with color blindness, and markers.
KINDS = {
    "forward": ("#0072B2", "o"),
    "dx": ("#E69F00", "s"),
    "dweight": ("#009E73", "^"),
    "1 thread": ("#56B4E9", "o"),
    "2 threads": ("#D55E00", "D"),
}
BACKENDS = {"direct": ("#0072B2", "o"), "winograd": ("#D55E00", "D"), "other": ("#009E73", "s")}
LABELS = {"direct": "minicnn, direct", "winograd": "minicnn, Winograd", "other": "minicnn, other"}
GRAY, LIGHT = "#555555", "#CCCCCC"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "minicnn",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)

Row = tuple[str, list[tuple[str, float]]]  # label, and dots as (kind, ratio)


def speed(*results: Results | None) -> Any:
    """Draw a bar per task: speed relative to the fastest other library."""
    from matplotlib.figure import Figure

    rows = headlines(*results)
    figure = Figure(figsize=(8, 0.4 * len(rows) + 0.7), layout="constrained")
    axis = figure.subplots()
    values = [row.ratio for row in rows]
    names = [f"{row.task}, against {row.library}" for row in rows]
    bars = axis.barh(names, values, color=KINDS["forward"][0], height=0.6)
    axis.bar_label(bars, [f"{value:.1f} ×" for value in values], padding=3, fontweight="bold")
    axis.axvline(1, color=GRAY, linewidth=1.2)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0, 1.15 * max(values))
    axis.set_xlabel("times as fast")
    return figure


def training_rows(training: Results | None) -> list[Row]:
    """Return a row per network and batch size, a dot per thread count."""

    def key(case: Results) -> tuple[str, int]:
        return case["model"], case["batch"]

    cases = training["cases"] if training else []
    return [
        (
            f"{model}, batch {batch}",
            [
                (f"{c['threads']} thread{'s' * (c['threads'] > 1)}", c["ratio_best_fp32"])
                for c in group
            ],
        )
        for (model, batch), group in groupby(cases, key=key)
    ]


def convolution_rows(kernels: Results | None) -> list[Row]:
    """Return a row per convolution, with a dot per direction."""
    cases = kernels["cases"] if kernels else []
    convolutions = [case for case in cases if case["operation"] == "conv"]
    return [
        (name, [(case["direction"], case["ratio_best"]) for case in group])
        for name, group in groupby(convolutions, key=lambda case: case["name"])
    ]


def ratios(training: Results | None, kernels: Results | None) -> Any:
    """Draw each ratio to PyTorch as a dot."""
    from matplotlib.figure import Figure

    panels = [
        ("Training step, float32", training_rows(training)),
        ("Convolution, one thread", convolution_rows(kernels)),
    ]
    panels = [(title, rows) for title, rows in panels if rows]
    heights = [len(rows) + 2.5 for _, rows in panels]
    figure = Figure(figsize=(8, 0.21 * sum(heights) + 0.6), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)
    for (title, rows), axis in zip(panels, axes[:, 0], strict=True):
        _dots(axis, title, rows)
    every = [value for _, rows in panels for _, dots in rows for _, value in dots]
    low, high = min(0.7, *every) / 1.1, max(2.0, *every) * 1.1
    last = axes[-1, 0]
    last.set_xlim(low, high)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    last.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    last.set_xticks([], minor=True)
    last.set_xlabel("times as fast as PyTorch (log scale); right of the line minicnn is faster")
    return figure


def _dots(axis: Any, title: str, rows: list[Row]) -> None:
    axis.set_xscale("log")
    axis.axvline(1, color=GRAY, linewidth=1.2, zorder=1)
    kinds = [kind for kind in KINDS if any(kind == k for _, dots in rows for k, _ in dots)]
    for kind in kinds:
        color, marker = KINDS[kind]
        points = [(v, y) for y, (_, dots) in enumerate(rows) for k, v in dots if k == kind]
        axis.scatter(
            *zip(*points, strict=True), color=color, marker=marker, s=28, label=kind, zorder=3
        )
    for y, (_, dots) in enumerate(rows):
        values = [value for _, value in dots]
        axis.plot([min(values), max(values)], [y, y], color=LIGHT, linewidth=2, zorder=2)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(axis="x", color="#EEEEEE", zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, borderaxespad=0.1,
        handletextpad=0.1, columnspacing=1,
    )  # fmt: skip


def roofline(kernels: Results) -> Any:
    """Draw the speed of each kernel over its arithmetic intensity."""
    from matplotlib.figure import Figure

    cases = [case for case in kernels["cases"] if case["gflop"]]
    peak, bandwidth = kernels["machine"]["peak_gflops_one_core"], kernels["bandwidth_gb_per_s"]
    intensities = [1e9 * case["gflop"] / case["bytes"] for case in cases]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    axis.set_xscale("log")
    axis.set_yscale("log")
    low, high = min(*intensities, peak / bandwidth) / 4, max(*intensities, peak / bandwidth) * 1.5
    edge = peak / bandwidth
    axis.plot([low, edge, high], [bandwidth * low, peak, peak], color=GRAY, zorder=2)
    theirs = [max(case["gflops"][layout] for layout in case["torch_ms"]) for case in cases]
    own = [case["gflops"]["minicnn"] for case in cases]
    axis.vlines(intensities, theirs, own, color=LIGHT, linewidth=1, zorder=1)
    axis.scatter(
        intensities, theirs, marker="o", s=22, facecolors="white", edgecolors=GRAY, zorder=3,
        label="PyTorch's best",
    )  # fmt: skip
    for backend, (color, marker) in BACKENDS.items():
        points = [
            (x, y)
            for x, y, case in zip(intensities, own, cases, strict=True)
            if (case["auto_backend"] or "other") == backend
        ]
        if points:
            x, y = zip(*points, strict=True)
            axis.scatter(x, y, color=color, marker=marker, s=22, zorder=4, label=LABELS[backend])
    axis.set_xlim(low, high)
    axis.set_ylim(min(*own, *theirs) / 1.3, max(peak, *own) * 1.35)
    axis.text(edge, peak * 1.04, f"multiply-adds alone: {peak:.0f} GFLOP/s", color=GRAY)
    axis.text(low * 1.1, peak / 1.12, f"copying memory: {bandwidth:.0f} GB/s", color=GRAY)
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("FLOP per byte of inputs, weights and outputs, each read or written once")
    axis.set_ylabel("GFLOP/s, multiply-adds of the direct sum")
    axis.grid(color="#EEEEEE", zorder=0)
    axis.set_axisbelow(True)
    axis.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, handletextpad=0.1,
        columnspacing=1,
    )  # fmt: skip
    return figure


# ---------------------------------------------------------------- files


def digest(*results: Results | None) -> str:
    """Return the digest of a figure's results and of this script."""
    script = Path(__file__).read_text(encoding="utf-8")
    content = json.dumps([script, *results], sort_keys=True)
    return f"minicnn {hashlib.sha256(content.encode()).hexdigest()}"


def svg(figure: Any, description: str) -> bytes:
    """Return a figure as an SVG file, the same bytes for the same figure."""
    file = io.BytesIO()
    metadata = {"Date": None, "Creator": None, "Description": description}
    figure.savefig(file, format="svg", metadata=metadata)
    lines = file.getvalue().splitlines()
    return b"\n".join(line.rstrip() for line in lines) + b"\n"


def draw(kind: str, *results: Results | None) -> bytes:
    """Draw a figure as SVG, independent of the user's matplotlib style."""
    import matplotlib

    settings: Any = {**matplotlib.rcParamsDefault, **STYLE}
    with matplotlib.rc_context(settings):
        return svg(DRAWINGS[kind](*results), digest(*results))


DRAWINGS: dict[str, Callable[..., Any]] = {
    "speed": speed, "ratios": ratios, "roofline": roofline
}  # fmt: skip
