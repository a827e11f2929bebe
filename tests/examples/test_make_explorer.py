"""Test the content of the explorer page, without a browser."""

import base64
import json
import re
from html.parser import HTMLParser

import make_explorer
import numpy as np
import pytest
import recipes

import minicnn
from minicnn import Conv2D, Dense, Flatten, ReLU, Sequential

# The layers that the page computes; it shows others by their recorded outputs.
LAYERS = {cls.__name__ for cls in make_explorer.LAYERS}


class Reader(HTMLParser):
    """Collects the start tags of a page, and the text inside each."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], {}

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        name = self.tags[-1][1].get("id", self.tags[-1][0]) if self.tags else ""
        self.texts[name] = self.texts.get(name, "") + data


def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


def content(page):
    return json.loads(read(page).texts["data"])


def classifier(*layers, shape=(28, 28, 1), **options):
    return Sequential([*layers, Flatten(), Dense(3)], shape, **options)


def test_every_layer_of_the_page_is_in_all_its_tables(every_layer):
    steps = content(make_explorer.page(every_layer()))["network"]["steps"]
    missing = LAYERS - {step["layer"] for step in steps}
    assert not missing, f"tests/conftest.py: add {sorted(missing)} to the layers of every_layer"
    assert {step["layer"] for step in steps} == {*LAYERS, "Input", "Softmax"}
    computed = {*LAYERS, "Softmax", "Recorded"}
    for file, start, indent, names in (
        ("layers.js", "const FORWARD", "  ", computed),
        ("cards.js", "function descriptionOf", "    ", computed),
        ("explain.js", "const context", "    ", {*computed, "Input"}),
    ):
        program = (make_explorer.SOURCES / file).read_text(encoding="utf-8")
        table = program[program.index(start) :].split("\n}")[0]
        found = set(re.findall(rf"^{indent}([A-Z]\w+):", table, re.M))
        assert not names - found, f"examples/explorer/{file}: add {names - found} to its table"
        assert not found - names, f"examples/explorer/{file}: remove {found - names}"


def test_every_step_has_earlier_inputs_and_its_output_shape(every_layer):
    model = every_layer()
    steps = make_explorer.describe(model)["steps"]
    assert all(source < index for index, step in enumerate(steps) for source in step["inputs"])
    by_path = {step["path"]: step for step in steps}
    shape = model.input_shape
    for number, layer in enumerate(model.layers, 1):
        shape = layer.output_shape(shape)
        assert by_path[str(number)]["shape"] == list(shape)
    assert by_path["4.shortcut.0"]["branch"] == "shortcut"
    assert by_path["4.1.1.0"]["branch"] == "branch 1"
    assert by_path["4.1.1.0"]["text"] == "Conv2D(2, 1)"
    merge = by_path["4"]
    assert [steps[source]["path"] for source in merge["inputs"]] == ["4.1", "4.shortcut.0"]


def test_layers_have_the_numbers_of_explain(every_layer):
    model = every_layer()
    trace = minicnn.explain(model, np.zeros(model.input_shape, np.float32))
    expected = [step.number for outer in trace.steps for step in outer.iter_steps()]
    steps = make_explorer.describe(model)["steps"]
    assert [step["path"] for step in steps if step["path"]] == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_weights_equal_those_of_the_model(every_layer, dtype):
    model = every_layer(dtype)
    network = make_explorer.describe(model)
    weights = np.frombuffer(base64.b64decode(network["weights"]), "<f4")
    (step,) = [step for step in network["steps"] if step["path"] == "10"]
    for name, array in model.layers[-1].parameters.items():
        offset = step["arrays"][name]["offset"]
        assert step["arrays"][name]["shape"] == list(array.shape)
        np.testing.assert_array_equal(
            weights[offset : offset + array.size], array.ravel().astype(np.float32)
        )
    assert len(weights) == model.parameters.size + model.statistics.size


def test_the_same_model_makes_the_same_page(every_layer, tmp_path):
    model = every_layer()
    model.save(tmp_path / "model.npz")
    first = make_explorer.page(model)
    assert first == make_explorer.page(minicnn.load_model(tmp_path / "model.npz"))
    model.layers[-1].parameters["bias"][0] += 1
    assert first != make_explorer.page(model)


def test_the_page_loads_nothing(every_layer):
    page = make_explorer.page(every_layer())
    links = [
        value
        for _, attributes in read(page).tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data")
    ]
    assert links == ["data:,"]  # an empty icon; without one, browsers request /favicon.ico
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(|WebSocket", page)


def test_the_page_of_the_reference_network_is_below_two_megabytes():
    page = make_explorer.page(recipes.reference_cnn(0)).encode()
    assert 1_000_000 < len(page) < 2_000_000


def test_class_names_are_escaped():
    names = ["</script><img src=x>", "<!--", "\u2028'\"&amp;"]
    page = make_explorer.page(classifier(class_names=names))
    tags = [tag for tag, _ in read(page).tags]
    assert "img" not in tags
    assert tags.count("script") == 3
    assert content(page)["network"]["classNames"] == names


# Test images


def test_the_test_images_are_the_first_three_of_each_class():
    tests = content(make_explorer.page(recipes.reference_cnn(0)))["testImages"]
    assert tests["labels"] == [label for label in range(10) for _ in range(3)]
    images = np.frombuffer(base64.b64decode(tests["images"]), np.uint8).reshape(-1, 28, 28)
    sample = minicnn.load_mnist_sample()
    np.testing.assert_array_equal(images[[3, 4, 5]], sample.test_images[[1, 11, 21]])


def test_a_model_with_other_classes_gets_no_digits():
    assert content(make_explorer.page(classifier()))["testImages"] == {"images": "", "labels": []}


def write_data(folder, images, labels):
    """Write four files in MNIST's format, the same for training and test."""
    for part in ("train", "t10k"):
        for array, name in ((images, "images-idx3"), (labels, "labels-idx1")):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())


def test_test_images_come_from_a_folder(tmp_path):
    images = np.arange(5, dtype=np.uint8)[:, None, None] + np.zeros((5, 28, 28), np.uint8)
    write_data(tmp_path, images, np.array([2, 0, 0, 0, 0], np.uint8))
    chosen, labels = make_explorer.test_images(tmp_path, classifier(class_names=["a", "b", "c"]))
    assert labels == [0, 0, 0, 2]
    np.testing.assert_array_equal(chosen, images[[1, 2, 3, 0]])


@pytest.mark.parametrize(("size", "label"), [(28, 3), (20, 2)])
def test_test_images_must_fit_the_model(tmp_path, size, label):
    images = np.zeros((2, size, size), np.uint8)
    write_data(tmp_path, images, np.array([0, label], np.uint8))
    with pytest.raises(make_explorer.ExplorerError, match=rf"labels up to {label}.*below 3"):
        make_explorer.test_images(tmp_path, classifier())


# Errors


class ReLUOutsideMinicnn(ReLU):
    """A layer outside minicnn."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: classifier(shape=(28, 28, 3)), "takes images of 28×28×3.*shows.*28×28×1"),
        (lambda: classifier(shape=(20, 28, 1)), "takes images of 20×28×1"),
        (
            lambda: Sequential([Conv2D(2, 3)], (28, 28, 1)),
            "returns 26×26×2 values; .*append Flatten and Dense",
        ),
        (
            lambda: classifier(Conv2D(2, 3), ReLUOutsideMinicnn()),
            r"layer 2 is ReLUOutsideMinicnn\(\), which .* for test images only; give --data-dir",
        ),
        (
            lambda: classifier(minicnn.Residual([minicnn.Residual([ReLUOutsideMinicnn()])])),
            r"layer 1.0.0 is ReLUOutsideMinicnn",
        ),
    ],
)
def test_unsupported_models_raise(model, message):
    with pytest.raises(make_explorer.ExplorerError, match=message):
        make_explorer.describe(model())


def test_weights_beyond_float32_raise():
    model = classifier(dtype=np.float64)
    model.layers[-1].parameters["bias"][1] = 1e300
    with pytest.raises(make_explorer.ExplorerError, match=r"layer 2 has a value .* too large"):
        make_explorer.describe(model)


# Command line


def test_the_command_writes_the_page(every_layer, tmp_path, capsys):
    every_layer().save(tmp_path / "model.npz")
    out = tmp_path / "page.html"
    flags = ["--model", str(tmp_path / "model.npz"), "--out", str(out)]
    assert make_explorer.main(flags) == 0
    assert out.read_text(encoding="utf-8") == make_explorer.page(every_layer())
    assert re.fullmatch(
        r".*page\.html: 0\.\d\d MB; open it in a browser\n", capsys.readouterr().out
    )


def test_an_error_prints_one_line_and_keeps_the_old_page(every_layer, tmp_path, capsys):
    model, out = tmp_path / "model.npz", tmp_path / "page.html"
    every_layer().save(model)
    (tmp_path / "damaged.npz").write_bytes(model.read_bytes()[:2000])
    classifier(shape=(28, 28, 2)).save(tmp_path / "two.npz")
    out.write_text("before")
    cases = [
        ([tmp_path / "none.npz", out], "there is no such file"),
        ([tmp_path / "damaged.npz", out], "cut off or damaged"),
        ([tmp_path / "two.npz", out], "28×28×2"),
        ([model, tmp_path / "nowhere" / "page.html"], "there is no folder"),
        ([model, tmp_path], "it is a folder"),
        ([model, out, "--data-dir", tmp_path], "t10k-images"),
    ]
    for (path, target, *more), message in cases:
        flags = ["--model", path, "--out", target, *more]
        try:
            status = make_explorer.main(list(map(str, flags)))
        except SystemExit as end:  # argparse, after the usage
            status = end.code
        assert status == 2
        printed, error = capsys.readouterr()
        assert printed == ""
        assert ": error: " in error.splitlines()[-1]
        assert message in error.splitlines()[-1]
    assert out.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.npz", "damaged.npz", "two.npz", "page.html",
    }  # fmt: skip
