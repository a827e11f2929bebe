"""Test `benchmarks/ablation.py`: differences to the base, resuming."""

import json

import ablation
import pytest

import minicnn
from minicnn import Dense, Flatten

FOUND = {  # accuracies of two seeds
    ablation.BASE: (0.98, 0.99),
    "without augmentation": (0.97, 0.96),
    "a cosine": (0.985, 0.99),
}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs the script with the accuracies above."""
    trained = []

    def measure(name, change, epochs, folder, seed):
        trained.append((change, seed))
        return {"change": change, "seed": seed, "accuracy": FOUND[change][seed], "train_seconds": 1}

    monkeypatch.setattr(ablation, "CHANGES", {name: {} for name in FOUND})
    monkeypatch.setattr(ablation, "measure", measure)
    monkeypatch.setattr("compare.metadata", lambda: {"cpu": "a CPU"})

    def run(*flags):
        path = tmp_path / "ablation.json"
        trained.clear()
        assert ablation.main(["--json", str(path), "--processes", "1", *flags]) == 0
        return json.loads(path.read_text()), list(trained)

    return run


def test_each_change_is_compared_with_the_base_seed_by_seed(run, capsys):
    results, trained = run("--seeds", "2")
    assert len(trained) == 6
    base, without, cosine = results["summary"]
    assert (base["change"], base["points"], base["seeds"]) == (ablation.BASE, 0, 2)
    assert without["mean"] == pytest.approx(0.965)
    assert without["points"] == pytest.approx(-2)
    assert without["standard_error"] == pytest.approx(1)  # of -1 and -3
    assert cosine["points"] == pytest.approx(0.25)
    out = capsys.readouterr().out
    assert "without augmentation: 96.500%, -2.000 ± 1.000 percentage points" in out
    assert "a cosine, seed 1: 99.00%, trained for 1 s" in out


def test_a_stopped_run_continues(run):
    results, trained = run("--seeds", "1", "--only", ablation.BASE)
    assert trained == [(ablation.BASE, 0)]
    assert [row["standard_error"] for row in results["summary"]] == [None]
    _, trained = run("--seeds", "1")
    assert trained == [("without augmentation", 0), ("a cosine", 0)]
    with pytest.raises(SystemExit, match=r"has another epochs \(3, not 2\)"):
        run("--epochs", "2")


def test_a_change_without_its_base_is_left_out():
    cases = [{"change": "a cosine", "seed": 0, "accuracy": 0.9}]
    assert ablation.rows(cases) == []


def test_measure_passes_the_change_and_the_split_of_the_seed(monkeypatch):
    received = {}

    def recipe(images, labels, **settings):
        received.update(settings, images=len(images))
        raise InterruptedError  # train_and_test of accuracy.py is not tested here

    monkeypatch.setitem(ablation.RECIPES, "ten_epochs", recipe)
    with pytest.raises(InterruptedError):
        ablation.measure("ten_epochs", "without augmentation", 2, "sample", seed=1)
    assert received == {
        "augment": None, "epochs": 2, "images": 3333,
        "seed": 1, "threads": 1, "progress": False,
    }  # fmt: skip


def test_measure_adds_test_time_augmentation(monkeypatch):
    model = minicnn.Sequential([Flatten(), Dense(10)], (28, 28, 1))
    monkeypatch.setitem(ablation.RECIPES, "reference", lambda images, labels, epochs: model)
    monkeypatch.setattr(
        ablation, "train_and_test", lambda recipe, data, seed: {"missed": [], "model": recipe(0, 0)}
    )
    views = ablation.measure("reference", "nine views of each image", 1, "sample", seed=0)
    assert isinstance(views["model"], minicnn.TestTimeAugmentation)
    assert views["model"].model is model
    assert ablation.measure("reference", ablation.BASE, 1, "sample", seed=0)["model"] is model
