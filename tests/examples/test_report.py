"""The README's tables and pictures show what was measured, and nothing else."""

import copy
import itertools
import json

import figures as pictures
import pytest
import report
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


FIGURES = {
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
    "story": {
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
    "speed": ["| LeNet-5 | 32 | 2 | 2.00 ms | 4.00 ms (compile) | 3.00 ms | "
              "**2.00** (1.50 to 2.25) | 51% |"],
    "kernels": [
        "| second | 13×13×32 → 64, 3×3 | 1.50 | 2.00 | 1.50 | 0.50 |  |  |",
        "| **geometric mean of 1** |  |  | **2.00** |  | **0.50** |  |  |",
        "| dense | second | backward | 1.50 | 3.00 | 1.25 |",
    ],
    "inference": ["| 1,000 | 2 | 10.0 ms | 20.0 ms (compile) | 15.0 ms | "
                  "**2.00** (1.90 to 2.10) | **1.50** (1.40 to 1.60) |"],
    "time-to-accuracy": ["| 99.0% | 9 of 10 | 3.00 s | 6.00 s | **2.00** (1.50 to 2.50) |"],
    "startup": [
        "| first training step, compiled before | 0.50 s | 2.00 s | 4.00 |",
        "| first training step ever | 8.00 s | 2.00 s | 0.25 |",
        "| … of it compiling | 7.25 s |  |  |",
        "| import alone, without Python's own start | 0.25 s | 1.00 s | 4.00 |",
    ],
    "scaling": [
        "| image size | 28×28 | 4.00 ms | 62.5 µs |  |  | 1.0 MiB |",
        "| batch | 64 | 4.00 ms | 62.5 µs | 1.90 | 2.00 | 1.0 MiB |",
        "| threads | 1 | 4.00 ms | 62.5 µs |  |  | 1.0 MiB |",
        "| threads | 2 | 4.00 ms | 62.5 µs | 0.50 | 1.00 | 1.0 MiB |",
    ],
    "augmentation": ["| noise | 2 | 6.00 ms | 6.30 ms | **5%** (-1% to 12%) |"],
    "lines": ["| gaps | 0.1 to 0.6 | 40 | **95.0%** | 97.5% | 100.0% |"],
    "ablation": [
        "| the base | 5 | 99.000% |  |",
        "| less | 5 | 98.000% | -1.000 ± 0.250 |",
        "| more | 1 | 99.500% | +0.500 |",
    ],
    "explorer": [
        "| `tiny` | 1.25 MB | **6.5 ms** | 4.0 ms | 1.5 ms | 1.0 ms | 9.0 ms | 87.5% |"
    ],
    "story": [
        "| loops | 45,000 ms | 1.00 | 0.00300 |  |",
        "| fused | 0.750 ms | 60,000 | 188 | **2.00** (1.50 to 2.50) |",
    ],
}  # fmt: skip


@pytest.fixture
def results(monkeypatch, tmp_path):
    """A folder with a file of figures for each benchmark, and a README."""
    for name, figures in FIGURES.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"machine": MACHINE, **figures}), encoding="utf-8")
    parts = [f"<!-- begin {name} -->\n<!-- end {name} -->" for name in report.GENERATED]
    (tmp_path / "README.md").write_text("\n".join(parts), encoding="utf-8")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    return tmp_path


@pytest.mark.parametrize("part", tables.PARTS)
def test_each_part_shows_its_figures_and_names_the_machine(part, results):
    lines = report.GENERATED[part]().splitlines()
    for row in ROWS[part]:
        assert row in lines
    for first, rule in itertools.pairwise(lines):
        if rule.startswith("| ---"):
            assert first.count("|") == rule.count("|")
    assert "A CPU, 2 cores, AVX2, one core reaches 104 GFLOP/s; Python 3.11.1" in lines[-1]
    assert lines[-1].endswith("; 2026-01-02._")
    assert ("ONNX Runtime 1.20" in lines[-1]) == (part == "inference")


def test_each_recipe_has_a_row(results):
    summary = {
        "seeds": 20, "mean": 0.99123, "standard_error": 0.0002, "lowest": 0.99, "highest": 0.992,
        "train_seconds": 61.5, "parameters": 12_345,
    }  # fmt: skip
    about = {"machine": MACHINE, "dataset": "MNIST", "cases": [{}]}
    for name, more in (("b", {"seeds": 1, "standard_error": None}), ("a", {}), ("c", None)):
        figures = {**about, "recipe": name, "summary": {**summary, **(more or {})}}
        if more is None:
            figures["cases"] = []  # stopped before the first seed
        (results / f"accuracy-{name}.json").write_text(json.dumps(figures))
    first, second, _, last = report.recipes_table().splitlines()[2:]
    assert first == ("| `a` | MNIST | 20 | **99.123%** ± 0.020 | 99.00%, 99.20% | 12,345 | 62 s |")
    assert "| 1 | **99.123%** | " in second
    assert last.startswith("_Measured on: A CPU")

    machine = {**MACHINE, "cpu": "Another"}
    figures = {**about, "machine": machine, "recipe": "d", "epochs": 20, "summary": summary}
    (results / "accuracy-d.json").write_text(json.dumps(figures))
    *_, those, _, this = report.recipes_table().splitlines()
    assert those.startswith("`a`, `b`: _Measured on: A CPU")
    assert this.startswith("`d` (20 epochs): _Measured on: Another")


@pytest.mark.parametrize("part", [*tables.PARTS, "pictures", "recipes"])
def test_what_is_not_measured_is_said_not_to_be(part, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert report.GENERATED[part]() == "_Not measured yet._"
    (tmp_path / "training.json").write_text('{"cases": []}')  # a run that was stopped
    assert report.GENERATED[part]() == "_Not measured yet._"


def test_runs_that_are_cut_short_have_their_tables():
    training = {"cases": [training_case(1, torch_ms={"eager": 5.0})]}
    assert "| 5.00 ms (eager) |  |" in tables.speed(training)
    story = {"cases": [{**FIGURES["story"]["cases"][1], "times_faster": None}]}
    assert "| 0.750 ms |  | 188 |" in tables.story(story)
    figures = {"summary": {"geometric_mean": {}}, "cases": FIGURES["kernels"]["cases"][:1]}
    assert tables.kernels(figures).endswith("| **geometric mean of 1** |  |  |  |  |  |  |  |")
    none = {"target": 0.99, "summary": {"seeds": 2, "reached": 0}}
    assert tables.time_to_accuracy(none).endswith("| 99.0% | 0 of 2 |  |  |  |")


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.0, "1.00"), (0.0123, "0.0123"),
     (0.00001, "0.00001")],
)  # fmt: skip
def test_numbers_have_three_digits_that_count(value, text):
    assert tables.number(value) == text


def test_sizes_of_a_convolution_are_put_in_words():
    assert tables.shape_of({**SHAPE, "stride": 2, "padding": [1, 0]}) == (
        "13×13×32 → 64, 3×3, stride 2, padded"
    )


def test_the_report_is_written_once_and_noticed_when_figures_change(results):
    assert report.main(["--check"]) == 1
    assert report.main([]) == 0
    assert report.main(["--check"]) == 0
    text = (results / "README.md").read_text(encoding="utf-8")
    assert "(benchmarks/results/ratios.svg)" in text
    picture = results / "roofline.svg"
    kept = picture.read_bytes()
    assert kept.startswith(b"<?xml")
    assert len(kept) < 200_000
    picture.write_bytes(b"something else")
    assert report.main(["--check"]) == 1
    assert report.main([]) == 0
    assert picture.read_bytes() == kept  # to the last byte, on one machine
    (results / "kernels.json").unlink()
    (results / "story.json").unlink()
    assert report.main(["--check"]) == 1
    assert report.pictures_due() == ["ratios"]


def test_a_picture_knows_its_figures():
    kernels = {"machine": MACHINE, **copy.deepcopy(FIGURES["kernels"])}
    before = pictures.digest(kernels)
    assert pictures.digest(copy.deepcopy(kernels)) == before
    kernels["cases"][0]["minicnn_ms"] += 1
    assert pictures.digest(kernels) != before


def test_there_is_a_dot_for_each_case_and_direction():
    assert pictures.training_rows(FIGURES["training"]) == [
        ("LeNet-5, batch 32", [("2 threads", 2.0), ("1 thread", 2.0)])
    ]
    assert pictures.convolution_rows(FIGURES["kernels"]) == [
        ("second", [("forward", 2.0), ("dx", 0.5)])
    ]
    assert pictures.training_rows(None) == pictures.convolution_rows(None) == []
    figure = pictures.ratios(FIGURES["training"], FIGURES["kernels"])
    dots = [sum(len(c.get_offsets()) for c in axis.collections) for axis in figure.axes]
    assert dots == [2, 2]


def test_the_roofline_has_every_kernel_that_counts_work():
    figure = pictures.roofline({"machine": MACHINE, **FIGURES["kernels"]})
    labels = [c.get_label() for c in figure.axes[0].collections]
    assert {"PyTorch's best", pictures.LABELS["winograd"], pictures.LABELS["other"]} <= set(labels)
    theirs = next(c for c in figure.axes[0].collections if c.get_label() == "PyTorch's best")
    assert theirs.get_offsets().tolist() == [[150.0, 50.0]] * 3
