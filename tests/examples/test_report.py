"""benchmarks/report.py: pages, tables and figures of the recorded results."""

import copy
import itertools
import json

import figures
import pytest
import report
import report_readme
import report_tables as tables

MACHINE = {
    "cpu": "A CPU", "cores": 2, "usable_cores": 1, "simd": "AVX2", "os": "Linux",
    "python": "3.11.1", "numpy": "2.1", "numba": "0.61", "torch": "2.9", "onnxruntime": "1.20",
    "peak_gflops_one_core": 103.6, "date": "2026-01-02",
}  # fmt: skip
SHAPE = {"H": 13, "W": 13, "C": 32, "F": 64, "KH": 3, "KW": 3, "stride": 1, "padding": [0, 0]}


def training_case(threads, **more):
    return {
        "model": "LeNet-5", "batch": 32, "threads": threads, "minicnn_ms": 2.0,
        "torch_ms": {"eager": 5.0, "compile": 4.0, "bfloat16": 3.0},
        "ratio_best_fp32": 2.0, "ratio_best_fp32_range": [1.5, 2.25], "share_of_peak": 0.507,
        **more,
    }  # fmt: skip


def kernel_case(operation, direction, ratio, **more):
    return {
        "operation": operation, "name": "second", "direction": direction, "shape": SHAPE,
        "auto_backend": "winograd" if operation == "conv" else None, "minicnn_ms": 1.5,
        "torch_ms": {"contiguous": 4.0, "channels_last": 3.0}, "ratio_best": ratio,
        "gflop": 0.15, "bytes": 1_000_000, **more,
        "gflops": {"minicnn": 100.0, "contiguous": 37.5, "channels_last": 50.0},
    }  # fmt: skip


def seconds(**medians):
    return {name.replace("_", " "): {"median": value} for name, value in medians.items()}


RESULTS = {
    "training": {"cases": [training_case(2), training_case(1)]},
    "kernels": {
        "bandwidth_gb_per_s": 19.0,
        "summary": {"geometric_mean": {"forward": 2.0, "dx": 0.5}},
        "cases": [
            kernel_case("conv", "forward", 2.0),
            kernel_case("conv", "dx", 0.5),
            kernel_case("dense", "backward", 1.25),
            kernel_case("ReLU", "forward", 1.25, gflop=None),
        ],
    },
    "inference": {
        "cases": [
            {
                "batch": 1000, "threads": 2, "minicnn_ms": 10.0, "torch_ms": {"compile": 20.0},
                "onnxruntime_ms": 15.0, "ratio_torch": 2.0, "ratio_torch_range": [1.9, 2.1],
                "ratio_onnxruntime": 1.5, "ratio_onnxruntime_range": [1.4, 1.6],
            }
        ],
    },
    "time-to-accuracy": {
        "target": 0.99,
        "summary": {
            "seeds": 10, "reached": 9, "minicnn_s": 3.0, "torch_s": 6.0,
            "ratio": 2.0, "ratio_range": [1.5, 2.5],
        },
        "cases": [{}],
    },
    "startup": {
        "cases": [
            {
                "case": "from process start to the first finished step",
                "seconds": {
                    **seconds(PyTorch=2.0),
                    "minicnn, warm": {"median": 0.5}, "minicnn, cold": {"median": 8.0},
                },
                "compiling": {"median": 7.25},
            },
            {
                "case": "imports",
                "seconds": seconds(import_minicnn=0.25, import_torch=1.0),
                "ratio_import": 4.0,
            },
        ],
    },
    "scaling": {
        "cases": [
            {
                "sweep": sweep, "size": 28, "channels": None, "batch": 64, "threads": threads,
                "minicnn_ms": 4.0, "ms_per_image": 0.0625, "peak_bytes": 2**20, **more,
            }
            for sweep, threads, more in (
                ("image size", 1, {}),
                ("batch", 1, {"ratio_growth": 1.9, "work_growth": 2.0}),
                ("threads", 1, {"ratio_to_one_thread": 1.0}),
                ("threads", 2, {"ratio_to_one_thread": 2.0}),
            )
        ],
    },
    "augmentation": {
        "cases": [
            {
                "augment": "noise", "threads": 2, "without_ms": 6.0, "with_ms": 6.3,
                "share": 0.05, "share_range": [-0.01, 0.125],
            }
        ],
    },
    "digit_lines": {
        "cases": [
            {
                "name": "gaps", "gaps": [0.1, 0.6], "lines": 40, "read_whole": 0.95,
                "digits_counted": 0.975, "read_directly": 1.0,
            }
        ],
    },
    "ablation": {
        "summary": [
            {"change": "the base", "seeds": 5, "mean": 0.99, "points": 0, "standard_error": 0},
            {"change": "less", "seeds": 5, "mean": 0.98, "points": -1, "standard_error": 0.25},
            {"change": "more", "seeds": 1, "mean": 0.995, "points": 0.5, "standard_error": None},
        ],
        "cases": [{}],
    },
    "explorer": {
        "cases": [
            {
                "network": "tiny", "page_bytes": 1_250_000, "frames": 72, "all_ms": 6.5,
                "centering_ms": 4.0, "network_ms": 1.5, "drawing_ms": 1.0, "all_ms_90": 9.0,
                "in_time": 0.875,
            }
        ],
    },
    "ladder": {
        "cases": [
            {"step": "loops", "ms": 45_000.0, "times_faster": 1.0, "gflops": 0.003},
            {
                "step": "fused", "ms": 0.75, "times_faster": 60_000.0, "gflops": 187.8,
                "ratio_torch": 2.0, "ratio_torch_range": [1.5, 2.5],
            },
        ],
    },
}  # fmt: skip
ROWS = {
    "training": ["| LeNet-5 | 32 | 2 | 2.00 ms | 4.00 ms (compile) | 3.00 ms | "
              "2.00 (1.50 to 2.25) | 51% |"],
    "kernels": [
        "| second | 13×13×32 → 64, 3×3 | 1.50 | 2.00 | 1.50 | 0.50 |  |  |",
        "| geometric mean of 1 |  |  | 2.00 |  | 0.50 |  |  |",
        "| dense | second | backward | 1.50 | 3.00 | 1.25 |",
    ],
    "inference": ["| 1,000 | 2 | 10.0 ms | 20.0 ms (compile) | 15.0 ms | "
                  "2.00 (1.90 to 2.10) | 1.50 (1.40 to 1.60) |"],
    "time-to-accuracy": ["| 99.0% | 9 of 10 | 3.00 s | 6.00 s | 2.00 (1.50 to 2.50) |"],
    "startup": [
        "| first training step, kernels cached | 0.50 s | 2.00 s | 4.00 |",
        "| first training step, empty cache | 8.00 s | 2.00 s | 0.25 |",
        "| compilation in it | 7.25 s |  |  |",
        "| import, without Python's startup | 0.25 s | 1.00 s | 4.00 |",
    ],
    "scaling": [
        "| image size | 28×28 | 4.00 ms | 62.5 µs |  |  | 1.0 MiB |",
        "| batch | 64 | 4.00 ms | 62.5 µs | 1.90 | 2.00 | 1.0 MiB |",
        "| threads | 1 | 4.00 ms | 62.5 µs |  |  | 1.0 MiB |",
        "| threads | 2 | 4.00 ms | 62.5 µs | 0.50 | 1.00 | 1.0 MiB |",
    ],
    "augmentation": ["| noise | 2 | 6.00 ms | 6.30 ms | 5% (-1% to 12%) |"],
    "lines": ["| gaps | 0.1 to 0.6 | 40 | 95.0% | 97.5% | 100.0% |"],
    "ablation": [
        "| the base | 5 | 99.000% |  |",
        "| less | 5 | 98.000% | -1.000 ± 0.250 |",
        "| more | 1 | 99.500% | +0.500 |",
    ],
    "explorer": [
        "| `tiny` | 1.25 MB | 6.5 ms | 4.0 ms | 1.5 ms | 1.0 ms | 9.0 ms | 87.5% |"
    ],
    "ladder": [
        "| loops | 45,000 ms | 1.00 | 0.00300 |  |",
        "| fused | 0.750 ms | 60,000 | 188 | 2.00 (1.50 to 2.50) |",
    ],
}  # fmt: skip


@pytest.fixture
def results(monkeypatch, tmp_path):
    """Return a folder with a file for each benchmark, beside README and GUIDE."""
    folder = tmp_path / "results"
    folder.mkdir()
    for name, recorded in RESULTS.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"machine": MACHINE, **recorded}), encoding="utf-8")
    parts = [f"<!-- begin {name} -->\n<!-- end {name} -->" for name in ("accuracy", "speed")]
    (tmp_path / "README.md").write_text("\n".join(parts), encoding="utf-8")
    monkeypatch.setattr(report, "RESULTS", folder)
    (tmp_path / "GUIDE.md").write_text("<!-- begin ladder -->\n<!-- end ladder -->")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    monkeypatch.setattr(report, "GUIDE", tmp_path / "GUIDE.md")
    return folder


@pytest.mark.parametrize("part", tables.PARTS)
def test_a_table_shows_its_results_and_the_machine(part, results):
    lines = report.table(part).splitlines()
    for row in ROWS[part]:
        assert row in lines
    for first, rule in itertools.pairwise(lines):
        if rule.startswith("| ---"):
            assert first.count("|") == rule.count("|")
    assert "A CPU, 2 cores, AVX2, one core reaches 104 GFLOP/s; Python 3.11.1" in lines[-1]
    assert lines[-1].endswith("; 2026-01-02._")
    assert ("ONNX Runtime 1.20" in lines[-1]) == (part == "inference")


def accuracy_file(folder, recipe, **more):
    summary = {
        "seeds": 20, "mean": 0.99123, "standard_error": 0.0002, "lowest": 0.99, "highest": 0.992,
        "train_seconds": 61.5, "parameters": 12_345,
    }  # fmt: skip
    about = {"machine": MACHINE, "dataset": "IDX files in mnist", "cases": [{}], "recipe": recipe}
    recorded = {**about, "summary": {**summary, **more.pop("summary", {})}, **more}
    (folder / f"accuracy-{recipe}.json").write_text(json.dumps(recorded))


def test_each_recipe_has_a_row(results):
    accuracy_file(results, "b", summary={"seeds": 1, "standard_error": None})
    accuracy_file(results, "a")
    accuracy_file(results, "c", cases=[])  # interrupted before the first seed
    first, second, _, last = report.table("recipes").splitlines()[2:]
    assert first == (
        "| `a` | IDX files in mnist | 20 | 99.123% ± 0.020 | 99.00%, 99.20% | 12,345 | 62 s |"
    )
    assert "| 1 | 99.123% | " in second
    assert last.startswith("_Measured on: A CPU")


def test_runs_on_one_machine_share_a_line_and_other_machines_are_named(results):
    accuracy_file(results, "a")
    later = {**MACHINE, "peak_gflops_one_core": 99.6, "date": "2026-01-04"}
    accuracy_file(results, "b", machine=later)
    line = report.table("recipes").splitlines()[-1]
    assert "one core reaches 100 to 104 GFLOP/s; Python" in line
    assert line.endswith("; 2026-01-02 to 2026-01-04._")
    accuracy_file(results, "d", machine={**MACHINE, "cpu": "Another"}, epochs=20)
    *_, those, _, this = report.table("recipes").splitlines()
    assert those.startswith("`a`, `b`: _Measured on: A CPU")
    assert this.startswith("`d` (20 epochs): _Measured on: Another")


def test_the_readme_shows_five_recipes_on_mnist(results):
    for recipe in ("tiny", "resnet", "one_epoch"):
        accuracy_file(results, recipe)
    accuracy_file(results, "ensemble", dataset="MNIST sample")
    rows = report_readme.accuracy(report.accuracies()).splitlines()[2:]
    assert rows == [f"| `{name}` | 99.12% | 20 | 12,345 | 62 s |" for name in
                    ("one_epoch", "tiny")]  # fmt: skip


def test_the_readme_shows_four_tasks_against_the_fastest_library():
    model, batch, threads = report_readme.TRAINING_CASE
    training = {"cases": [training_case(1), training_case(threads, model=model, batch=batch)]}
    inference, to_accuracy = RESULTS["inference"], RESULTS["time-to-accuracy"]
    rows = report_readme.speed(training, inference, to_accuracy, RESULTS["startup"]).splitlines()
    assert rows[2:] == [
        "| training step with batch norm, 128 images | 2.00 ms | 4.00 ms (PyTorch) | 2.0 |",
        "| inference, 1,000 images | 10.0 ms | 15.0 ms (ONNX Runtime) | 1.5 |",
        "| training to 99% test accuracy | 3.00 s | 6.00 s (PyTorch) | 2.0 |",
        "| process start to first training step | 0.50 s | 2.00 s (PyTorch) | 4.0 |",
    ]
    assert report_readme.speed(None, None, None, None) == ""
    not_reached = {**to_accuracy, "summary": {"seeds": 2, "reached": 0}}
    other_batch = {"cases": [{**inference["cases"][0], "batch": 1}]}
    imports = {"cases": RESULTS["startup"]["cases"][1:]}
    assert report_readme.headlines(None, other_batch, not_reached, imports) == []


@pytest.mark.parametrize("part", [*tables.PARTS, "figures", "recipes"])
def test_a_missing_result_is_reported_as_not_measured(part, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert report.table(part) == "_Not measured yet._"
    (tmp_path / "training.json").write_text('{"cases": []}')  # an interrupted run
    assert report.table(part) == "_Not measured yet._"


def test_interrupted_runs_have_tables():
    training = {"cases": [training_case(1, torch_ms={"eager": 5.0})]}
    assert "| 5.00 ms (eager) |  |" in tables.training(training)
    ladder = {"cases": [{**RESULTS["ladder"]["cases"][1], "times_faster": None}]}
    assert "| 0.750 ms |  | 188 |" in tables.ladder(ladder)
    kernels = {"summary": {"geometric_mean": {}}, "cases": RESULTS["kernels"]["cases"][:1]}
    assert tables.kernels(kernels).endswith("| geometric mean of 1 |  |  |  |  |  |  |  |")
    none = {"target": 0.99, "summary": {"seeds": 2, "reached": 0}}
    assert tables.time_to_accuracy(none).endswith("| 99.0% | 0 of 2 |  |  |  |")


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.0, "1.00"), (0.0123, "0.0123"),
     (0.00001, "0.00001")],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value, text):
    assert tables.number(value) == text


def test_shapes_of_convolutions_are_formatted():
    assert tables.shape_of({**SHAPE, "stride": 2, "padding": [1, 0]}) == (
        "13×13×32 → 64, 3×3, stride 2, padded"
    )


def test_the_report_is_written_and_a_change_is_noticed(results):
    assert report.main(["--check"]) == 1
    assert report.main([]) == 0
    assert report.main(["--check"]) == 0
    text = (results.parent / "SPEED.md").read_text(encoding="utf-8")
    assert text.startswith("# Speed\n\n<!-- Generated by")
    assert "(results/ratios.svg)" in text
    figure = results / "roofline.svg"
    content = figure.read_bytes()
    assert content.startswith(b"<?xml")
    assert len(content) < 200_000
    figure.write_bytes(b"something else")
    assert report.main(["--check"]) == 1
    assert report.main([]) == 0
    assert figure.read_bytes() == content  # the same bytes on one machine
    (results / "kernels.json").unlink()
    (results / "ladder.json").unlink()
    assert report.main(["--check"]) == 1
    assert report.due() == ["speed", "ratios"]


def test_every_table_is_on_a_page():
    named = {name for _, _, sections in report.PAGES.values() for *_, name in sections if name}
    assert named == {*tables.PARTS, "recipes", "summary", "figures"}


def test_the_digest_of_a_figure_depends_on_its_results():
    kernels = {"machine": MACHINE, **copy.deepcopy(RESULTS["kernels"])}
    before = figures.digest(kernels)
    assert figures.digest(copy.deepcopy(kernels)) == before
    kernels["cases"][0]["minicnn_ms"] += 1
    assert figures.digest(kernels) != before


def test_the_speed_figure_has_a_bar_for_each_task():
    results = [None, *(RESULTS[name] for name in ("inference", "time-to-accuracy", "startup"))]
    (axis,) = figures.speed(*results).axes
    assert [bar.get_width() for bar in axis.patches] == [1.5, 2.0, 4.0]


def test_the_ratios_figure_has_a_dot_for_each_case_and_direction():
    assert figures.training_rows(RESULTS["training"]) == [
        ("LeNet-5, batch 32", [("2 threads", 2.0), ("1 thread", 2.0)])
    ]
    assert figures.convolution_rows(RESULTS["kernels"]) == [
        ("second", [("forward", 2.0), ("dx", 0.5)])
    ]
    assert figures.training_rows(None) == figures.convolution_rows(None) == []
    figure = figures.ratios(RESULTS["training"], RESULTS["kernels"])
    dots = [sum(len(c.get_offsets()) for c in axis.collections) for axis in figure.axes]
    assert dots == [2, 2]


def test_the_roofline_has_every_kernel_with_a_flop_count():
    figure = figures.roofline({"machine": MACHINE, **RESULTS["kernels"]})
    labels = [c.get_label() for c in figure.axes[0].collections]
    assert {"PyTorch's best", figures.LABELS["winograd"], figures.LABELS["other"]} <= set(labels)
    theirs = next(c for c in figure.axes[0].collections if c.get_label() == "PyTorch's best")
    assert theirs.get_offsets().tolist() == [[150.0, 50.0]] * 3
