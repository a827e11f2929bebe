"""Test `benchmarks/accuracy.py`: results, resuming, splits and digests."""

import json
import operator
import runpy
from types import SimpleNamespace

import accuracy
import numpy as np
import pytest
import report

from minicnn import ImageDataset

COUNT = 60


def images(count, first):
    """Return images whose brightness is 20 times their label."""
    labels = (first + np.arange(count)) % 10
    return np.broadcast_to(20 * labels[:, None, None], (count, 28, 28)).astype(np.uint8), labels


@pytest.fixture
def data():
    return ImageDataset("small images", *images(COUNT, 0), *images(20, 5))


def learner(trained=None):
    """Return a recipe that misses `seed` images and appends to a list."""

    def recipe(images, labels, *, seed, threads, progress):
        if trained is not None:
            trained.append(seed)
        assert threads == 1
        assert not progress

        def predict(images, *, threads):
            predicted = images[:, 0, 0].astype(np.int64) // 20
            predicted[:seed] = 10
            return predicted

        return SimpleNamespace(predict=predict)

    return recipe


@pytest.fixture
def run(monkeypatch, data, tmp_path):
    """Return a function that runs the script on the small data set."""
    monkeypatch.setattr(accuracy, "load", lambda folder, split: data)
    monkeypatch.setattr("compare.metadata", lambda: {"cpu": "a CPU"})
    networks = [SimpleNamespace(parameters=np.zeros(size), metadata={}) for size in (3, 4)]
    monkeypatch.setitem(accuracy.RECIPES_FILE, "networks_of", lambda model: networks)

    def run(recipe, *flags, seeds, name="results.json"):
        monkeypatch.setattr(accuracy, "RECIPES", {"mine": recipe})
        path = tmp_path / name
        words = ["--recipe", "mine", "--seeds", str(seeds), "--json", str(path), *flags]
        assert accuracy.main([*words, "--processes", "1"]) == 0
        return json.loads(path.read_text())

    return run


def test_results_hold_each_seed_and_their_summary(run, capsys):
    results = run(learner(), seeds=3)
    assert [case["seed"] for case in results["cases"]] == [0, 1, 2]
    assert [case["missed"] for case in results["cases"]] == [[], [0], [0, 1]]
    assert [case["accuracy"] for case in results["cases"]] == [1, 0.95, 0.9]
    own = results["summary"]
    assert own["mean"] == pytest.approx(0.95)
    assert own["standard_deviation"] == pytest.approx(0.05)
    assert own["standard_error"] == pytest.approx(0.05 / 3**0.5)
    assert (own["lowest"], own["highest"], own["seeds"], own["parameters"]) == (0.9, 1, 3, 7)
    assert own["train_seconds"] > 0
    assert results["machine"] == {"cpu": "a CPU"}
    assert (results["train_images"], results["test_images"]) == (COUNT, 20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("seed 1: 95.00% (1 missed), trained for ")
    assert lines[-1].startswith("mine: 95.000% over 3 seeds (standard deviation 5.000, ")


def test_one_seed_has_no_deviation(run, capsys):
    own = run(learner(), seeds=1)["summary"]
    assert own["standard_deviation"] is own["standard_error"] is None
    assert "over 1 seeds, 100.00% to 100.00%" in capsys.readouterr().out


def test_a_stopped_run_continues(run, monkeypatch):
    monkeypatch.setattr(accuracy, "digest_of", lambda recipe: "the same recipe")
    trained = []

    def stopped(images, labels, *, seed, threads, progress):
        if seed == 2:
            raise KeyboardInterrupt
        return learner(trained)(images, labels, seed=seed, threads=threads, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        run(stopped, seeds=4)
    assert trained == [0, 1]
    results = run(learner(trained), seeds=4)
    assert trained == [0, 1, 2, 3]
    assert [case["seed"] for case in results["cases"]] == [0, 1, 2, 3]
    assert run(learner(trained), seeds=2) == results  # nothing is missing
    assert trained == [0, 1, 2, 3]


def test_results_of_another_recipe_or_data_set_are_rejected(run, monkeypatch, data):
    run(learner(), seeds=1)
    with pytest.raises(SystemExit, match=r"results\.json has another recipe_sha256 .* or delete"):
        run(lambda images, labels, **options: None, seeds=2)
    other = data._replace(name="other images")
    monkeypatch.setattr(accuracy, "load", lambda folder, split: other)
    with pytest.raises(SystemExit, match=r"another dataset \('small images', not 'other images'\)"):
        run(learner(), seeds=2)


def test_results_of_another_number_of_epochs_are_rejected(run, capsys):
    seen = []

    def recipe(images, labels, *, epochs=7, **options):
        seen.append(epochs)
        return learner()(images, labels, **options)

    run(recipe, seeds=1)
    with pytest.raises(SystemExit, match=r"another epochs \(None, not 20\)"):
        run(recipe, "--epochs", "20", seeds=1)
    results = run(recipe, "--epochs", "20", seeds=1, name="twenty.json")
    assert seen == [7, 20]
    assert results["epochs"] == 20
    for flags, message in {
        ("--epochs", "0"): "must be at least 1",
        ("--epochs", "2", "--keep", "folder"): "leave out --epochs",
    }.items():
        with pytest.raises(SystemExit):
            accuracy.main(["--recipe", "mine", *flags])
        assert message in capsys.readouterr().err


def test_digest_of_changes_with_the_code_that_a_recipe_calls(tmp_path):
    def digest(rate):
        path = tmp_path / f"{rate}.py"
        path.write_text(f"def rate():\n    return {rate}\n\ndef recipe():\n    return rate()\n")
        return accuracy.digest_of(runpy.run_path(str(path))["recipe"])

    assert digest(1) == digest(1) != digest(2)
    recipes = list(accuracy.RECIPES.values())
    assert len({accuracy.digest_of(recipe) for recipe in recipes}) == len(recipes)


def test_digest_of_ignores_comments_docstrings_and_layout(tmp_path):
    def digest(name, source):
        path = tmp_path / name
        path.write_text(source)
        return accuracy.digest_of(runpy.run_path(str(path))["recipe"])

    plain = digest("plain.py", "def rate():\n    return 1\n\ndef recipe():\n    return rate()\n")
    prose = (
        'def rate():\n    """Return the rate."""\n    return (\n        1  # as measured\n    )\n\n'
        'def recipe():\n    """Train."""\n    return rate()\n'
    )
    assert digest("prose.py", prose) == plain
    assert digest("docstring_only.py", 'def recipe():\n    """Train."""\n') != plain


def test_held_out_replaces_the_test_images_by_a_sixth(data):
    numbered = data._replace(train_labels=np.arange(COUNT))
    splits = [accuracy.held_out(numbered, split) for split in range(accuracy.SPLITS)]
    held = np.concatenate([split.test_labels for split in splits])
    assert held.tolist() == list(range(COUNT))  # in order, each image in one split
    for split in splits:
        assert len(split.test_images) in (COUNT // 6, COUNT // 6 + 1)
        assert sorted([*split.train_labels, *split.test_labels]) == list(range(COUNT))
        for images, labels in (
            (split.train_images, split.train_labels),
            (split.test_images, split.test_labels),
        ):
            assert (images[:, 0, 0] == 20 * (labels % 10)).all()
    assert splits[0].name == "small images, split 0 of the training images"


def test_load_reads_the_sample_and_its_splits():
    data = accuracy.load("sample", None)
    assert (len(data.train_images), len(data.test_images)) == (4000, 1000)
    assert len(accuracy.load("sample", 3).test_images) == 666


RECIPES_OF_A_FILE = """
from minicnn import Dense, Ensemble, Flatten, Sequential

trained = []

def ten_epochs(images, labels, *, seed, **run):
    trained.append(seed)
    return Sequential([Flatten(), Dense(10)], input_shape=(28, 28, 1), seed=seed)

def two(images, labels, *, seed, **run):
    return Ensemble([ten_epochs(images, labels, seed=2 * seed + i, **run) for i in range(2)])
"""


ANOTHER = """
def another(images, labels, *, seed, **run):
    'Train as ten_epochs does.'
    trained.append(seed)
    return Sequential([Flatten(), Dense(10)], input_shape=(28, 28, 1), seed=seed)
"""


def test_stored_networks_are_not_trained_again(monkeypatch, data, tmp_path):
    path, folder = tmp_path / "recipes.py", tmp_path / "networks"
    path.write_text(RECIPES_OF_A_FILE)
    monkeypatch.setattr(accuracy, "load", lambda folder, split: data)

    def measured(name, seed):
        """Measure as another process would: with the file read again."""
        recipes = runpy.run_path(str(path))
        monkeypatch.setattr(accuracy, "RECIPES", dict(recipes))
        return accuracy.measure(name, None, None, folder, None, seed), recipes["trained"]

    monkeypatch.setattr(accuracy, "MEMBERS", {"ten_epochs"})
    monkeypatch.setattr(accuracy, "digest_of", lambda recipe: "the same lines")
    first, trained = measured("ten_epochs", 3)
    assert trained == [3]
    assert [file.name for file in folder.iterdir()] == ["ten_epochs-3.npz"]
    assert measured("ten_epochs", 3) == (first, [])
    ensemble, trained = measured("two", 1)
    assert trained == [2]
    accuracy.measure("two", None, None, folder, None, 1)  # again in the same process
    assert sorted(file.name for file in folder.iterdir()) == [
        "ten_epochs-2.npz",
        "ten_epochs-3.npz",
    ]
    assert ensemble["parameters"] == 2 * first["parameters"]
    assert ensemble["train_seconds"] > first["train_seconds"]
    monkeypatch.setattr(accuracy, "digest_of", lambda recipe: "other lines")
    assert measured("ten_epochs", 3)[1] == [3]


def test_a_stored_recipe_that_mentions_another_is_found_again(monkeypatch, data, tmp_path):
    path, folder = tmp_path / "recipes.py", tmp_path / "networks"
    path.write_text(f"{RECIPES_OF_A_FILE}\n{ANOTHER}")
    recipes = runpy.run_path(str(path))
    monkeypatch.setattr(accuracy, "load", lambda folder, split: data)
    monkeypatch.setattr(accuracy, "RECIPES", dict(recipes))
    monkeypatch.setattr(accuracy, "MEMBERS", {"ten_epochs", "another"})
    first = accuracy.measure("another", None, None, folder, None, 1)
    assert accuracy.measure("another", None, None, folder, None, 1) == first
    assert recipes["trained"] == [1]


@pytest.mark.parametrize("flag", ["--seeds", "--processes"])
def test_zero_seeds_and_zero_processes_are_rejected(flag, capsys):
    name = next(iter(accuracy.RECIPES))
    with pytest.raises(SystemExit):
        accuracy.main(["--recipe", name, flag, "0"])
    assert "must be at least 1" in capsys.readouterr().err


def test_figure_draws_the_most_missed_images(run, tmp_path):
    picture = tmp_path / "missed.png"
    run(learner(), "--figure", str(picture), seeds=3)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_run_all_distributes_jobs_over_processes():
    jobs = [(value, 2) for value in range(5)]
    assert sorted(accuracy.run_all(jobs, operator.mul, 2)) == [0, 2, 4, 6, 8]


# ---------------------------------------------------------------- recorded results

RECORDED = [*report.RESULTS.glob("accuracy-*.json"), report.RESULTS / "ablation.json"]


@pytest.mark.parametrize("path", sorted(RECORDED), ids=lambda path: path.stem)
def test_recorded_results_belong_to_the_current_recipes(path):
    recorded = json.loads(path.read_text(encoding="utf-8"))
    assert recorded["recipe_sha256"] == accuracy.digest_of(accuracy.RECIPES[recorded["recipe"]])
