"""Build the tables of benchmark results, each from one JSON file."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

Results = dict[str, Any]

PEAK = "peak_gflops_one_core"
PACKAGES = {"python": "Python", "numpy": "NumPy", "numba": "Numba", "torch": "PyTorch"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are left-aligned."""
    rules = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rules, *rows))


def number(value: float | None, digits: int = 3) -> str:
    """Format a value with `digits` significant digits and no exponent."""
    if value is None:
        return ""
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:#.{digits}g}"
    return f"{value:.6f}".rstrip("0") if "e" in text else text


def ratio(case: Results, name: str) -> str:
    """Format a ratio with the lowest and highest of its rounds."""
    low, high = case[f"{name}_range"]
    return f"{case[name]:.2f} ({low:.2f} to {high:.2f})"


def fastest(times: dict[str, float], leave_out: Sequence[str] = ()) -> str:
    """Format the time of the fastest variant, with its name."""
    ms, name = min((ms, name) for name, ms in times.items() if name not in leave_out)
    return f"{number(ms)} ms ({name})"


def machine_line(*results: Results) -> str:
    """Format the machine, versions and date of results of one machine."""
    own = results[0]["machine"]
    peaks = [f"{peak:.0f}" for found in results if (peak := found["machine"].get(PEAK))]
    cores = f"{own['cores']} core{'' if own['cores'] == 1 else 's'}"
    parts = [own["cpu"], cores, own["simd"]]
    if peaks:
        parts.append(f"one core reaches {span(peaks)} GFLOP/s")
    packages = PACKAGES | ({"onnxruntime": "ONNX Runtime"} if uses_onnx(results[0]) else {})
    versions = [f"{name} {own[key]}" for key, name in packages.items() if own.get(key)]
    dates = span([found["machine"]["date"] for found in results])
    return f"_Measured on: {', '.join(parts)}; {', '.join(versions)}; {dates}._"


def uses_onnx(results: Results) -> bool:
    """Return whether a benchmark compares with ONNX Runtime."""
    return any("onnxruntime_ms" in case for case in results["cases"])


def span(values: Sequence[str]) -> str:
    """Format the first and the last of the sorted values."""
    low, high = min(values), max(values)
    return low if low == high else f"{low} to {high}"


def machine_lines(every: Sequence[Results]) -> str:
    """Format a line per machine; name its recipes if there are several."""
    machines: dict[str, list[Results]] = {}
    for results in every:
        own = results["machine"]
        machine = [own.get(key) for key in ("cpu", "cores", "simd", *PACKAGES)]
        machines.setdefault(str(machine), []).append(results)
    lines = [
        (f"{', '.join(dict.fromkeys(map(recipe_name, found)))}: " if len(machines) > 1 else "")
        + machine_line(*found)
        for found in machines.values()
    ]
    return "".join(f"\n\n{line}" for line in lines)


# ---------------------------------------------------------------- one table each


def training(results: Results) -> str:
    rows = []
    for case in results["cases"]:
        bfloat16 = case["torch_ms"].get("bfloat16")
        rows.append(
            [
                case["model"],
                str(case["batch"]),
                str(case["threads"]),
                f"{number(case['minicnn_ms'])} ms",
                fastest(case["torch_ms"], leave_out=("bfloat16",)),
                f"{number(bfloat16)} ms" if bfloat16 else "",
                ratio(case, "ratio_best_fp32"),
                f"{case['share_of_peak']:.0%}",
            ]
        )
    header = ["model", "batch", "threads", "minicnn", "PyTorch, best of float32"]
    header += ["PyTorch, bfloat16", "times as fast as float32 (range)", "of peak"]
    return table(header, rows)


def shape_of(shape: Results) -> str:
    """Format the shape of a convolution."""
    text = f"{shape['H']}×{shape['W']}×{shape['C']} → {shape['F']}, {shape['KH']}×{shape['KW']}"
    if shape["stride"] != 1:
        text += f", stride {shape['stride']}"
    return text + (", padded" if any(shape["padding"]) else "")


def kernels(results: Results) -> str:
    """Return a table of convolutions with means, and of other kernels."""
    directions = ("forward", "dx", "dweight")
    convolutions = [case for case in results["cases"] if case["operation"] == "conv"]
    rows = []
    for name, group in groupby(convolutions, key=lambda case: case["name"]):
        cases = {case["direction"]: case for case in group}
        row = [name, shape_of(next(iter(cases.values()))["shape"])]
        for direction in directions:
            case = cases.get(direction)
            row += [number(case["minicnn_ms"]), f"{case['ratio_best']:.2f}"] if case else ["", ""]
        rows.append(row)
    means = results["summary"]["geometric_mean"]
    last = [f"geometric mean of {len(rows)}", ""]
    for direction in directions:
        last += ["", f"{means[direction]:.2f}" if direction in means else ""]
    header = ["convolution", "sizes"]
    for direction in directions:
        header += [f"{direction}, ms", "times as fast"]
    text = table(header, [*rows, last], left=2)
    others = [case for case in results["cases"] if case["operation"] != "conv"]
    if not others:
        return text
    header = [
        "operation",
        "case",
        "direction",
        "minicnn, ms",
        "PyTorch's best, ms",
        "times as fast",
    ]
    return f"{text}\n\n{table(header, map(other_kernel, others), left=3)}"


def other_kernel(case: Results) -> list[str]:
    return [
        case["operation"],
        case["name"],
        case["direction"],
        number(case["minicnn_ms"]),
        number(min(case["torch_ms"].values())),
        f"{case['ratio_best']:.2f}",
    ]


def inference(results: Results) -> str:
    header = ["batch", "threads", "minicnn", "PyTorch's best", "ONNX Runtime"]
    header += ["times as fast as PyTorch (range)", "as ONNX Runtime (range)"]
    rows = [
        [
            f"{case['batch']:,}",
            str(case["threads"]),
            f"{number(case['minicnn_ms'])} ms",
            fastest(case["torch_ms"]),
            f"{number(case['onnxruntime_ms'])} ms",
            ratio(case, "ratio_torch"),
            ratio(case, "ratio_onnxruntime"),
        ]
        for case in results["cases"]
    ]
    return table(header, rows, left=0)


def time_to_accuracy(results: Results) -> str:
    own = results["summary"]
    header = ["target test accuracy", "seeds that reached it", "minicnn, mean", "PyTorch, mean"]
    reached = [f"{results['target']:.1%}", f"{own['reached']} of {own['seeds']}"]
    if not own["reached"]:
        return table([*header, "times as fast (range)"], [[*reached, "", "", ""]], left=0)
    seconds = [f"{own['minicnn_s']:.2f} s", f"{own['torch_s']:.2f} s"]
    return table(
        [*header, "times as fast (range)"], [[*reached, *seconds, ratio(own, "ratio")]], left=0
    )


def startup(results: Results) -> str:
    rows = []
    for case in results["cases"]:
        seconds = {name: own["median"] for name, own in case["seconds"].items()}
        if case["case"] == "imports":
            pair = (seconds["import minicnn"], seconds["import torch"])
            rows.append(start_row("import, without Python's startup", *pair, case["ratio_import"]))
            continue
        theirs, cold = seconds["PyTorch"], seconds["minicnn, cold"]
        warm = seconds["minicnn, warm"]
        rows.append(start_row("first training step, kernels cached", warm, theirs, theirs / warm))
        rows.append(start_row("first training step, empty cache", cold, theirs, theirs / cold))
        compiling = case["compiling"]["median"]
        rows.append(start_row("compilation in it", compiling, None, None))
    return table(["time since process start", "minicnn", "PyTorch", "times as fast"], rows)


def start_row(task: str, own: float, theirs: float | None, times: float | None) -> list[str]:
    seconds = [f"{value:.2f} s" if value is not None else "" for value in (own, theirs)]
    return [task, *seconds, f"{times:.2f}" if times is not None else ""]


def scaling(results: Results) -> str:
    rows = []
    for case in results["cases"]:
        value = {"image size": f"{case['size']}×{case['size']}"}.get(case["sweep"])
        growth = case.get("ratio_growth")
        work: float | None = case.get("work_growth")
        if case["sweep"] == "threads" and case["threads"] > 1:
            growth, work = 1 / case["ratio_to_one_thread"], 1
        rows.append(
            [
                case["sweep"],
                value or str(case[case["sweep"]]),
                f"{number(case['minicnn_ms'])} ms",
                f"{number(1000 * case['ms_per_image'])} µs",
                f"{growth:.2f}" if growth else "",
                f"{work:.2f}" if work else "",
                f"{case['peak_bytes'] / 2**20:.1f} MiB",
            ]
        )
    header = ["size", "value", "step", "per image", "time ratio", "work ratio", "memory"]
    return table(header, rows)


def augmentation(results: Results) -> str:
    rows = []
    for case in results["cases"]:
        low, high = case["share_range"]
        rows.append(
            [
                case["augment"],
                str(case["threads"]),
                f"{number(case['without_ms'])} ms",
                f"{number(case['with_ms'])} ms",
                f"{case['share']:.0%} ({low:.0%} to {high:.0%})",
            ]
        )
    return table(["augmentation", "threads", "step without", "step with", "added (range)"], rows)


def lines(results: Results) -> str:
    rows = [
        [
            case["name"],
            f"{case['gaps'][0]:g} to {case['gaps'][1]:g}",
            str(case["lines"]),
            f"{case['read_whole']:.1%}",
            f"{case['digits_counted']:.1%}",
            f"{case['read_directly']:.1%}",
        ]
        for case in results["cases"]
    ]
    header = ["gaps", "mean gap / digit height", "lines", "lines read correctly"]
    header += ["correct number of digits", "all digits correct from MNIST images"]
    return table(header, rows)


def recipe_name(results: Results) -> str:
    epochs = results.get("epochs")
    return f"`{results['recipe']}`" + (f" ({epochs} epochs)" if epochs else "")


def recipes(found: Iterable[Results]) -> str:
    """Return a row for each recipe and data set."""
    rows = []
    for results in found:
        own = results["summary"]
        error = own["standard_error"]
        rows.append(
            [
                recipe_name(results),
                results["dataset"],
                str(own["seeds"]),
                f"{own['mean']:.3%}" + ("" if error is None else f" ± {100 * error:.3f}"),
                f"{own['lowest']:.2%}, {own['highest']:.2%}",
                f"{own['parameters']:,}",
                f"{own['train_seconds']:.0f} s",
            ]
        )
    header = ["recipe", "data", "seeds", "test accuracy, mean ± standard error"]
    header += ["lowest, highest", "parameters", "training, 1 thread"]
    return table(header, rows, left=2)


def ablation(results: Results) -> str:
    rows = [
        [
            row["change"],
            str(row["seeds"]),
            f"{row['mean']:.3%}",
            f"{row['points']:+.3f}"
            + ("" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"),
        ]
        for row in results["summary"]
    ]
    rows[0][-1] = ""  # the base
    return table(
        ["change", "seeds", "accuracy, mean", "difference in percentage points ± standard error"],
        rows,
    )


def ladder(results: Results) -> str:
    header = ["step", "time", "relative to plain Python", "GFLOP/s"]
    header += ["relative to PyTorch (range)"]
    rows = [
        [
            case["step"],
            f"{number(case['ms'])} ms",
            number(case["times_faster"]) if case["times_faster"] else "",
            number(case["gflops"]),
            ratio(case, "ratio_torch") if "ratio_torch" in case else "",
        ]
        for case in results["cases"]
    ]
    return table(header, rows)


def explorer(results: Results) -> str:
    header = ["network", "page", "frame, median", "centering", "network", "drawing"]
    header += ["90th percentile", "frames below 16 ms"]
    rows = [
        [
            f"`{case['network']}`",
            f"{case['page_bytes'] / 1e6:.2f} MB",
            f"{case['all_ms']:.1f} ms",
            *(f"{case[f'{part}_ms']:.1f} ms" for part in ("centering", "network", "drawing")),
            f"{case['all_ms_90']:.1f} ms",
            f"{case['in_time']:.1%}",
        ]
        for case in results["cases"]
    ]
    return table(header, rows)


PARTS = {
    "training": ("training", training),
    "inference": ("inference", inference),
    "time-to-accuracy": ("time-to-accuracy", time_to_accuracy),
    "ladder": ("ladder", ladder),
    "kernels": ("kernels", kernels),
    "startup": ("startup", startup),
    "scaling": ("scaling", scaling),
    "augmentation": ("augmentation", augmentation),
    "lines": ("digit_lines", lines),
    "ablation": ("ablation", ablation),
    "explorer": ("explorer", explorer),
}
