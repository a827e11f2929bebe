"""examples/tools/explain_digit.py: the printed values are those computed."""

import json
import os
import re

import explain_digit
import numpy as np
import pytest

import minicnn
from minicnn import Adam, BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, ReLU, Residual, Sequential
from minicnn.table import percent

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="28×28 images take long without JIT"
)


def write_model(path, layers):
    model = Sequential(layers, (28, 28, 1), class_names="0123456789", seed=2)
    model.statistics[:] = np.random.default_rng(0).uniform(0.5, 1.5, model.statistics.shape)
    model.save(path)
    return str(path)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    layers = [
        Conv2D(4, 3), MaxPool2D(2), BatchNorm(), ReLU(),
        Residual([Conv2D(4, 3, padding=1)]), Flatten(), Dense(10),
    ]  # fmt: skip
    return write_model(tmp_path_factory.mktemp("model") / "model.npz", layers)


@pytest.fixture(autouse=True)
def the_sample(monkeypatch):
    """Replace MNIST by the sample."""
    monkeypatch.setattr(explain_digit, "load_data", lambda _: minicnn.load_mnist_sample())


def run(capsys, *argv):
    status = explain_digit.main([str(word) for word in argv])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def numbers(text):
    return [float(word) for word in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]\d+)?", text)]


def test_a_prediction_is_printed_and_drawn(model_file, tmp_path, capsys):
    folder = tmp_path / "figures"
    file = tmp_path / "numbers.json"
    status, out, err = run(
        capsys, "--test", 3, "--model", model_file, "--out", folder, "--json", file
    )
    assert (status, err) == (0, "")
    model, data = minicnn.load_model(model_file), minicnn.load_mnist_sample()
    trace = minicnn.explain(model, data.test_images[3], int(data.test_labels[3]))
    assert out.startswith(str(trace))
    for title in (
        "One value of a feature map",
        "One value of a max-pool",
        "The logit of the likeliest",
    ):
        assert title in out
    best = int(trace.probabilities.argmax())
    assert str(trace.step(7)[best]) in out
    assert str(trace.softmax(best)) in out
    assert f"The prediction is {best}, with {percent(trace.probabilities[best])}." in out
    names = [f"{path.name}" for path in sorted(folder.iterdir())]
    assert names == ["1_window.png", "2_feature_maps.png", "3_argmax.png", "4_logits.png"]
    written = json.loads(file.read_text())
    assert written["label"] == trace.label
    assert written["loss"] == trace.loss
    assert written["optimizer"].startswith("Adam(")
    for entry, tensor in zip(written["tensors"], trace.tensors(), strict=True):
        array = np.array(entry.pop("values"))
        np.testing.assert_array_equal(array.astype(tensor.array.dtype), tensor.array)
        assert entry == tensor.statistics()


def test_an_image_file_is_explained(model_file, capsys):
    picture = explain_digit.__file__.replace("tools/explain_digit.py", "digits/4_open.png")
    status, out, _ = run(capsys, picture, "--model", model_file)
    assert status == 0
    assert "dweight" not in out  # no label, no gradient
    status, out, _ = run(capsys, picture, "--model", model_file, "--label", 4, "--step")
    assert status == 0
    assert "the true class, 4," in out


@pytest.mark.parametrize(
    "weight",
    ["", "1.weight[0,2,0,3]", "1.bias[1]", "5.0.weight[1,1,2,3]", "7.weight[5,3]", "3.bias[2]"],
)
def test_step_prints_correct_values(model_file, capsys, weight):
    flags = ["--step", weight] if weight else ["--step"]
    status, out, _ = run(capsys, "--test", 5, "--model", model_file, "--lr", 0.002, *flags)
    assert status == 0
    model, data = minicnn.load_model(model_file), minicnn.load_mnist_sample()
    image, label = data.test_images[5], int(data.test_labels[5])
    trace = minicnn.explain(model, image, label, optimizer=Adam(0.002))
    sections = dict(re.findall(r"^(\d)\. (.*?)(?=^\d\. |\Z)", out, re.M | re.S))
    assert sorted(sections) == list("12345")
    assert numbers(sections["1"])[-1] == pytest.approx(trace.loss, rel=1e-5)
    if not weight:
        assert "of layer 1, Conv2D(4, 3), at [" in out
        assert numbers(sections["2"])[0] == pytest.approx(
            trace.step(1)
            .gradients["weight"]
            .ravel()[abs(trace.step(1).gradients["weight"]).argmax()],
            rel=1e-3,
        )
    # The update follows from the printed values.
    update = sections["4"].splitlines()[1]
    old, rate, m, root, epsilon, new = numbers(update)
    assert old - rate * m / (root + epsilon) == pytest.approx(new, rel=1e-4)
    assert rate == 0.002
    g, mean, squares = (
        numbers(re.sub(r"[βεm̂v̂()]\d?", "", sections["3"]))[2],
        *[float(line.rpartition("= ")[2]) for line in sections["3"].splitlines()[1:3]],
    )
    assert mean == pytest.approx(0.1 * g, rel=1e-4)
    assert squares == pytest.approx(0.001 * g * g, rel=1e-4)
    # The loss is the one with that weight changed.
    before, alone = numbers(sections["5"].splitlines()[1])[:2]
    assert before == pytest.approx(trace.loss, rel=1e-5)
    predicted = numbers(sections["5"].splitlines()[2])[0]
    assert alone - before == pytest.approx(predicted, rel=0.1, abs=1e-8)
    assert numbers(sections["5"].splitlines()[3])[-1] == pytest.approx(trace.loss_after, rel=1e-5)


def test_the_change_of_the_loss_equals_its_prediction_for_small_gradients(model_file, capsys):
    model, data = minicnn.load_model(model_file), minicnn.load_mnist_sample()
    image, label = data.test_images[5], int(data.test_labels[5])
    gradient = minicnn.explain(model, image, label).step(7).gradients["weight"]
    size = np.where(gradient == 0, np.inf, abs(gradient))
    i, k = np.unravel_index(size.argmin(), size.shape)
    name = f"7.weight[{i},{k}]"
    flags = ["--test", 5, "--model", model_file, "--lr", 0.0001, "--step", name]
    status, out, _ = run(capsys, *flags)
    assert status == 0
    change, predicted = (
        float(re.search(rf"{words} ([-+]\S+?)\)?$", out, re.M)[1])
        for words in ("that is", "g · change:")
    )
    assert abs(predicted) < 1e-7  # less than one digit of a loss in float32
    assert change == pytest.approx(predicted, rel=0.01)


def test_a_network_without_convolutions(tmp_path, capsys):
    path = write_model(tmp_path / "dense.npz", [Flatten(), Dense(10)])
    status, out, _ = run(capsys, "--test", 0, "--model", path, "--out", tmp_path / "drawn")
    assert status == 0
    assert "feature map" not in out
    assert [file.name for file in (tmp_path / "drawn").iterdir()] == ["1_logits.png"]
    status, out, _ = run(capsys, "--test", 0, "--model", path, "--step")
    assert "of layer 2, Dense(10), at [" in out
    path = write_model(tmp_path / "convolution.npz", [Conv2D(10, 28, backend="im2col"), Flatten()])
    assert run(capsys, "--test", 0, "--model", path)[0] == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--test", "1000"], "there are 1000 test images, 0 to 999"),
        (["no-such.png"], "no-such.png"),
        (["--test", "0", "--step", "5"], "a weight is named like"),
        (["--test", "0", "--step", "9.weight[0]"], "there is no layer '9'"),
        (
            ["--test", "0", "--step", "1.weight[0,0]"],
            "weight has shape (3, 3, 1, 4), so there is no",
        ),
        (["--test", "0", "--step", "2.weight[0]"], "MaxPool2D(2) has no parameter 'weight'"),
        (["--test", "0", "--label", "10"], "label must lie in 0..9"),
    ],
)
def test_invalid_input_prints_one_line(model_file, capsys, flags, message):
    status, _, err = run(capsys, *flags, "--model", model_file)
    assert status == 2
    assert err.startswith("explain_digit.py: error: ")
    assert message in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "one of the arguments image --test is required"),
        (["--test", "-1"], "test images are counted from 0"),
        (["a.png", "--step"], "add --label"),
        (["--test", "0", "--out", __file__], "is not a folder"),
        (["--test", "0", "--json", "no/such/folder.json"], "no/such"),
    ],
)
def test_flags_that_do_not_go_together_exit_with_2(capsys, flags, message):
    with pytest.raises(SystemExit) as stopped:
        explain_digit.main(flags)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
