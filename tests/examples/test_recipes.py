"""Recipes: networks, settings, overrides, and training."""

import os

import numpy as np
import pytest
import recipes
import train

import minicnn
from minicnn import Conv2D, Dense, Flatten, MaxPool2D, ReLU, load_mnist_sample, load_model
from minicnn.optim import warmup_linear

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes hours without JIT"
)
PARAMETERS = {
    "reference": 225_258,
    "one_epoch": 206_154,
    "ten_epochs": 206_154,
    "ten_epochs_tta": 206_154,
    "tiny": 4_860,
    "ensemble": 1_030_770,
    "resnet": 270_954,
    "densenet": 242_858,
    "fashion": 584_874,
}


@pytest.fixture
def fitted(monkeypatch):
    """Record the arguments of `minicnn.fit` instead of training."""
    calls = []

    def fit(model, images, labels, **settings):
        calls.append(settings)
        model.metadata = {}

    monkeypatch.setattr(minicnn, "fit", fit)
    return calls


def test_every_recipe_has_its_number_of_parameters():
    assert set(PARAMETERS) == set(recipes.RECIPES)
    assert PARAMETERS["tiny"] < 5000


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_builds_a_network_and_passes_the_run_arguments(name, fitted):
    data = load_mnist_sample()
    model = recipes.RECIPES[name](data.train_images, data.train_labels, seed=3, threads=2)
    weights = [network.parameters for network in recipes.networks_of(model)]
    assert sum(map(len, weights)) == PARAMETERS[name]
    assert model.output_shape == (10,)
    assert {call["threads"] for call in fitted} == {2}
    assert {call["validation_split"] for call in fitted} == {0}
    assert [call["seed"] for call in fitted] == ([3] if len(weights) == 1 else [15, 16, 17, 18, 19])
    again = recipes.RECIPES[name](data.train_images, data.train_labels, seed=3)
    for one, other in zip(weights, recipes.networks_of(again), strict=True):
        np.testing.assert_array_equal(one, other.parameters)  # the initial weights


def test_arguments_override_the_recipe(fitted):
    data = load_mnist_sample()
    recipes.ten_epochs(data.train_images, data.train_labels, epochs=1, augment=None)
    assert (fitted[0]["epochs"], fitted[0]["augment"], fitted[0]["batch_size"]) == (1, None, 64)


def test_recipes_train_for_the_epochs_in_their_names(fitted):
    data = load_mnist_sample()
    for recipe in (recipes.one_epoch, recipes.ten_epochs):
        recipe(data.train_images, data.train_labels)
    assert [call["epochs"] for call in fitted] == [1, 10]


def test_ablation_arguments_change_the_network(fitted):
    data = load_mnist_sample()
    images, labels = data.train_images, data.train_labels
    folded = recipes.ten_epochs(images, labels)
    without = recipes.ten_epochs(images, labels, batch_norm=False, weight_decay=0.0)
    more = recipes.ten_epochs(images, labels, dropout=0.3)
    assert repr(more.layers[-2]) == "Dropout(0.3)"
    assert len(without.layers) < len(folded.layers) < len(more.layers)
    assert without.statistics.size == 0 < folded.statistics.size
    assert [call["optimizer"].weight_decay for call in fitted] == [0.01, 0, 0.01]


def test_warm_up_rises_and_falls_to_zero():
    rates = [warmup_linear(progress) for progress in np.linspace(0, 1, 101)]
    assert max(rates) == 1
    assert rates.index(1) == 25
    assert rates[0] > 0
    assert rates[-1] == 0


def small(images, labels, **run):
    """Train a small network for two epochs."""
    layers = [Conv2D(4, 3), MaxPool2D(2), ReLU(), Flatten(), Dense(10)]
    return recipes.train(layers, images, labels, run, learning_rate=0.01, epochs=2, batch_size=50)


@needs_jit
def test_train_takes_a_recipe(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(train.RECIPES, "ten_epochs", small)
    monkeypatch.setattr(train, "load_data", lambda folder: load_mnist_sample())
    path = tmp_path / "model.npz"
    flags = ["--recipe", "ten_epochs", "--limit", "100", "--seed", "5", "--save", str(path)]
    assert train.main(flags) == 0
    out = capsys.readouterr().out
    assert "MNIST sample: 100 training images (0 of them for validation), 1000" in out
    assert "Dense(10)" in out
    assert "test accuracy" in out
    metadata = load_model(path).metadata
    assert (metadata["recipe"], metadata["epochs"], metadata["seed"]) == ("ten_epochs", 2, 5)
    assert metadata["validation_images"] == 0


def test_flags_override_the_recipe():
    none = train.parse_flags([])
    assert none.recipe == "reference"
    assert train.settings_of(none, 60_000) == {"validation_split": 0.1}
    assert train.settings_of(none, 4000) == {"validation_split": 0}
    assert train.settings_of(train.parse_flags(["--patience", "2"]), 4000) == {
        "validation_split": 0.1, "patience": 2,
    }  # fmt: skip
    words = ["--recipe", "ten_epochs", "--epochs", "3", "--batch-size", "8", "--lr", "0.1"]
    words += ["--schedule", "cosine", "--augment"]
    found = train.settings_of(train.parse_flags(words), 60_000)
    assert found == {
        "validation_split": 0, "epochs": 3, "batch_size": 8, "learning_rate": 0.1,
        "schedule": minicnn.optim.cosine, "augment": minicnn.Augment.digits(),
    }  # fmt: skip


def test_an_ensemble_is_trained_and_tested(monkeypatch, capsys):
    def two(images, labels, **run):
        return recipes.with_tta(minicnn.Ensemble([recipes.reference_cnn(seed) for seed in (0, 1)]))

    data = load_mnist_sample()
    few = data._replace(test_images=data.test_images[:8], test_labels=data.test_labels[:8])
    monkeypatch.setitem(train.RECIPES, "ensemble", two)
    monkeypatch.setattr(train, "load_data", lambda folder: few)
    assert train.main(["--recipe", "ensemble"]) == 0
    out = capsys.readouterr().out
    assert "an ensemble of 2 such networks" in out
    assert "test-time augmentation: 9 views of each image" in out


@pytest.mark.parametrize("name", recipes.MEMBER_RECIPE)
def test_save_rejects_recipes_of_several_networks_or_views(name, capsys):
    with pytest.raises(SystemExit):
        train.parse_flags(["--recipe", name, "--save", "model.npz"])
    wanted = f"use --recipe {recipes.MEMBER_RECIPE[name]}, which trains one of its networks"
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_member_recipe_names_the_recipe_of_the_networks(name, fitted):
    data = load_mnist_sample()
    images, labels = data.train_images[:4], data.train_labels[:4]
    model = recipes.RECIPES[name](images, labels)
    assert (name in recipes.MEMBER_RECIPE) != isinstance(model, minicnn.Sequential)
    network = recipes.RECIPES[recipes.MEMBER_RECIPE.get(name, name)](images, labels)
    assert repr(recipes.networks_of(model)[0]) == repr(network)


@needs_jit
def test_ten_epochs_tta_averages_views_of_ten_epochs(fitted):
    data = load_mnist_sample()
    images, labels = data.train_images[:4], data.train_labels[:4]
    model = recipes.ten_epochs_tta(images, labels, seed=2)
    alone = recipes.ten_epochs(images, labels, seed=2)
    views = minicnn.TestTimeAugmentation(alone, shift=1.0, rotation=8.0, zoom=0.08)
    np.testing.assert_array_equal(model.predict_proba(images), views.predict_proba(images))
    assert (model.predict_proba(images) != alone.predict_proba(images)).any()


def test_recipe_is_rejected_with_a_trained_model(capsys):
    with pytest.raises(SystemExit):
        train.parse_flags(["--recipe", "ten_epochs", "--model", "m.npz"])
    assert "leave out --recipe" in capsys.readouterr().err


@pytest.mark.slow
@needs_jit
@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_learns_the_same_weights_on_any_number_of_threads(name):
    data = load_mnist_sample()
    images, labels = data.train_images[:640], data.train_labels[:640]
    one, two = (
        recipes.RECIPES[name](images, labels, epochs=3, threads=threads, progress=False)
        for threads in (1, 2)
    )
    for network, other in zip(*map(recipes.networks_of, (one, two)), strict=True):
        np.testing.assert_array_equal(network.parameters, other.parameters)
        np.testing.assert_array_equal(network.statistics, other.statistics)
    assert (one.predict(images) == labels).mean() > 0.5
