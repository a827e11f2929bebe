"""Recognition tool: table, JSON, figure, choice of a model, errors."""

import json
import os
import re
import shutil
from pathlib import Path

import digit_lines
import draw_digits
import numpy as np
import pytest
import recipes
import recognize
import train
from console import Terminated
from PIL import Image

import minicnn
from minicnn import Adam, Augment, Dense, DigitBox, Flatten, Sequential
from minicnn.optim import warmup_linear

DIGITS = draw_digits.FOLDER

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="the reference CNN takes hours without JIT"
)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Train a model for three epochs on the embedded sample."""
    data = minicnn.load_mnist_sample()
    model = recipes.reference_cnn(0)
    minicnn.fit(
        model, data.train_images, data.train_labels, epochs=3, batch_size=32, validation_split=0,
        optimizer=Adam(0.004, beta2=0.99), schedule=warmup_linear,
        augment=Augment.digits(), progress=False,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "model.npz"
    model.save(path)
    return path


@pytest.fixture(autouse=True)
def empty_folders(tmp_path, monkeypatch):
    """Use an empty current folder and an empty cache."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(recognize, "CACHED_MODEL", tmp_path / "cache" / "digits.npz")


@pytest.fixture
def mixed(tmp_path):
    """Make a folder of two images, three bad files, a hidden one, a folder."""
    folder = tmp_path / "mixed"
    (folder / "inner").mkdir(parents=True)
    for name in ("7_crossed.jpg", "90210_postcode.jpg"):
        shutil.copy(DIGITS / name, folder)
    (folder / "list.txt").write_text("not an image")
    (folder / "cut.png").write_bytes((DIGITS / "3_thick-marker.png").read_bytes()[:900])
    Image.new("L", (50, 50), 255).save(folder / "blank.png")
    (folder / ".hidden").write_bytes(b"")
    return folder


def test_the_table_has_a_row_per_file_and_errors_go_to_stderr(model_file, mixed, capsys):
    assert recognize.main([str(mixed), "--model", str(model_file)]) == 1
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["file", "digit", "confidence", "second", "guess"]
    assert [row[:2] for row in rows[1:]] == [
        ["7_crossed.jpg", "7"], ["90210_postcode.jpg", "90210"],
    ]  # fmt: skip
    assert [line.split(":")[0] for line in err.splitlines()] == ["error"] * 3
    assert all(name in err for name in ("list.txt", "cut.png", "blank.png"))
    assert "the image is blank" in err
    assert "Traceback" not in err


def test_json_includes_the_errors(model_file, mixed, capsys):
    assert recognize.main([str(mixed), "--json", "--model", str(model_file)]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    results = {Path(result["file"]).name: result for result in json.loads(out)}
    assert len(results) == 5
    assert "the image is blank" in results["blank.png"]["error"]
    number = results["90210_postcode.jpg"]
    assert number["digit"] == "90210"
    assert [digit["digit"] for digit in number["digits"]] == list("90210")
    assert 0 < number["second_confidence"] < number["confidence"] <= 1
    lefts = [digit["box"][0] for digit in number["digits"]]
    assert lefts == sorted(lefts)


def test_reading_all_files_gives_exit_status_0_and_a_figure(model_file, tmp_path, capsys):
    names = ["1_white-on-black.png", "6_16-bit.png", "2_transparent.png", "38065_mnist-line.png"]
    target = tmp_path / "seen.png"
    files = [str(DIGITS / name) for name in names]
    assert recognize.main([*files, "--model", str(model_file), "--show", str(target)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == names
    with Image.open(target) as figure:
        assert min(figure.size) > 300


def test_the_figure_is_limited_with_a_message(model_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recognize, "MAX_IN_FIGURE", 2)
    flags = ["--model", str(model_file), "--show", str(tmp_path / "seen.png")]
    assert recognize.main([str(DIGITS / "38065_mnist-line.png"), *flags]) == 0
    assert "shows the first 2 of 5 digits" in capsys.readouterr().err


def test_the_second_guess_changes_the_least_certain_digit():
    likely = np.full((3, 10), 0.001)
    likely[0, [1, 7]] = 0.9, 0.05
    likely[1, [4, 9]] = 0.6, 0.3
    likely[2, [0, 6]] = 0.99, 0.0
    found = [DigitBox((0, 0, 1, 1), np.zeros((28, 28), np.uint8), line) for line in (0, 0, 1)]
    reading = recognize.Reading(Path("a.png"), found, likely, list("0123456789"))
    (first, sure), (second, less) = reading.guesses()
    assert (first, second) == ("14/0", "19/0")
    assert sure == pytest.approx(0.9 * 0.6 * 0.99)
    assert less == pytest.approx(0.9 * 0.3 * 0.99)


def test_the_newest_valid_model_of_the_current_folder_is_used(model_file, capsys):
    for age, name in enumerate(("new.npz", "old.npz")):
        shutil.copy(model_file, name)
        os.utime(name, (1000 - age, 1000 - age))
    np.savez("newer_but_no_model.npz", a=np.zeros(3))
    Sequential([Flatten(), Dense(3)], input_shape=(28, 28, 1)).save("three_classes.npz")
    assert recognize.main([str(DIGITS / "1_white-on-black.png")]) == 0
    assert capsys.readouterr().err == (
        "not using three_classes.npz: the model must map (28, 28, 1) to (10,), not (28, 28, 1) to "
        "(3,)\nusing the model new.npz\n"
    )


def other_kind(model_file, class_names):
    """Save a model of digits as of another data set: each class is the next."""
    model = minicnn.load_model(model_file)
    last = model.layers[-1]
    for name, array in last.parameters.items():
        last.parameters[name][...] = np.roll(array, 1, axis=-1)
    model.class_names = class_names and tuple(class_names)
    model.metadata["dataset"] = "IDX files in fashion"
    model.save("fashion.npz")


@pytest.mark.parametrize(
    ("class_names", "reason"),
    [
        (None, "it reads {} of 100 MNIST digits rightly; it is of IDX files in fashion"),
        ("0123456789", "it reads {} of 100 MNIST digits rightly; it is of IDX files in fashion"),
        ("abcdefghij", "its classes are a, b, c, d, e, f, g, h, i, j, not the digits"),
    ],
)
def test_a_model_of_another_kind_is_not_used(model_file, capsys, class_names, reason):
    shutil.copy(model_file, "digits.npz")
    os.utime("digits.npz", (1000, 1000))
    other_kind(model_file, class_names)
    assert recognize.main([str(DIGITS / "1_white-on-black.png")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[1] == "1"
    skipped, used = err.splitlines()
    assert re.fullmatch(f"not using fashion.npz: {reason.format('[0-9]')}", skipped)
    assert used == "using the model digits.npz"
    assert recognize.main([str(DIGITS / "1_white-on-black.png"), "--model", "fashion.npz"]) == 2
    assert "give a model of digits" in capsys.readouterr().err


def test_a_model_that_overflows_is_not_used(model_file, capsys):
    shutil.copy(model_file, "digits.npz")
    os.utime("digits.npz", (1000, 1000))
    model = minicnn.load_model(model_file)
    model.parameters[...] = 1e30
    model.save("large.npz")
    assert recognize.main([str(DIGITS / "1_white-on-black.png")]) == 0
    skipped, used = capsys.readouterr().err.splitlines()
    assert skipped.startswith("not using large.npz: Sequential: the network computes infinity")
    assert used == "using the model digits.npz"


def test_the_class_names_give_the_order_of_the_digits(model_file, capsys):
    other_kind(model_file, "9012345678")
    assert recognize.main([str(DIGITS / "1_white-on-black.png"), "--model", "fashion.npz"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1] == "1"


def test_without_a_model_one_is_trained_and_cached(model_file, capsys, monkeypatch):
    calls = []

    def copy_model(target):
        calls.append(target.name)
        shutil.copy(model_file, target)
        return 0

    monkeypatch.setattr(recognize, "run_training", copy_model)
    for _ in range(2):
        assert recognize.main([str(DIGITS / "1_white-on-black.png"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["digit"] == "1"
    assert calls == ["digits.npz"]
    assert recognize.CACHED_MODEL.exists()


def test_a_model_that_cannot_be_cached_is_used(model_file, capsys, monkeypatch):
    recognize.CACHED_MODEL.parent.write_text("a file where the folder should be")
    monkeypatch.setattr(
        recognize, "run_training", lambda target: bool(shutil.copy(model_file, target)) - 1
    )
    assert recognize.main([str(DIGITS / "1_white-on-black.png")]) == 0
    err = capsys.readouterr().err
    assert "no saved model found: training one" in err
    assert "cannot be stored in" in err


def test_training_runs_the_script_and_prints_to_stderr(tmp_path, capfd, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text("import sys; print(sys.argv[1:]); sys.exit(3)")
    monkeypatch.setattr(recognize, "TRAIN_SCRIPT", script)
    assert recognize.run_training(Path("m.npz")) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert err.strip() == "['--augment', '--synthetic-digits', '--save', 'm.npz']"


def test_a_training_that_fails_or_is_stopped_ends_the_program(monkeypatch):
    monkeypatch.setattr(recognize, "run_training", lambda target: 2)
    assert recognize.main([str(DIGITS / "1_white-on-black.png")]) == 2
    for status, error in ((130, KeyboardInterrupt), (143, Terminated)):
        monkeypatch.setattr(recognize, "run_training", lambda target, status=status: status)
        with pytest.raises(error):
            recognize.main([str(DIGITS / "1_white-on-black.png")])


@pytest.mark.parametrize("flags", [["missing.png"], ["*.png"], ["blank.png"], ["folder"]])
def test_no_model_is_trained_where_there_are_no_digits(monkeypatch, capsys, flags):
    Image.new("L", (50, 50), 255).save("blank.png")
    Path("folder").mkdir()
    monkeypatch.setattr(recognize, "run_training", lambda target: pytest.fail("trains"))
    assert recognize.main(flags) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")


def test_patterns_are_expanded_and_the_files_of_windows_left_out(model_file, capsys):
    Path("scans").mkdir()
    for name in ("7_crossed.jpg", "1_white-on-black.png"):
        shutil.copy(DIGITS / name, "scans")
    Path("scans/Thumbs.db").write_bytes(b"")
    Path("scans/desktop.ini").write_text("[.ShellClassInfo]")
    for paths, names in (
        (["scans/*.png"], ["1_white-on-black.png"]),
        (["scans"], ["1_white-on-black.png", "7_crossed.jpg"]),
        (["sc*"], ["1_white-on-black.png", "7_crossed.jpg"]),
    ):
        assert recognize.main([*paths, "--model", str(model_file), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [Path(item["file"]).name for item in found] == names


def test_the_figure_may_have_any_case_and_no_name_of_an_image(model_file, capsys):
    shutil.copy(DIGITS / "1_white-on-black.png", "one.png")
    flags = ["one.png", "--model", str(model_file), "--show"]
    assert recognize.main([*flags, "out.PNG"]) == 0
    with Image.open("out.PNG") as picture:
        assert picture.format == "PNG"
    before = Path("one.png").read_bytes()
    assert recognize.main([*flags, "one.png"]) == 2
    assert "one.png is one of the images; choose another name" in capsys.readouterr().err
    assert Path("one.png").read_bytes() == before


def test_a_model_with_other_shapes_is_an_error(capsys):
    Sequential([Flatten(), Dense(10)], input_shape=(8, 8, 1)).save("small.npz")
    assert recognize.main([str(DIGITS), "--model", "small.npz"]) == 2
    assert "must map (28, 28, 1) to (10,), not (8, 8, 1) to (10,)" in capsys.readouterr().err
    assert recognize.main([str(DIGITS), "--model", "none.npz"]) == 2
    assert "none.npz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "the following arguments are required: IMAGE_OR_FOLDER"),
        (["a.png", "--show", "no/such/folder/a.png"], "--show: the folder "),
        (["a.png", "--show", "a.xyz"], "--show: a.xyz must end in .png, .pdf or .svg"),
    ],
)
def test_a_wrong_flag_is_an_error(flags, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        recognize.main(flags)
    assert message in capsys.readouterr().err


def test_an_empty_folder_and_a_missing_file_are_errors(model_file, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert recognize.main([str(tmp_path / "empty"), "--model", str(model_file)]) == 1
    assert "no files found" in capsys.readouterr().err
    assert recognize.main(["missing.png", "--model", str(model_file)]) == 1
    assert "missing.png does not exist" in capsys.readouterr().err


def test_control_characters_in_names_are_replaced(model_file, tmp_path, capsys):
    name = "\x1b[2J\nfake.png"
    shutil.copy(DIGITS / "1_white-on-black.png", tmp_path / name)
    assert recognize.main([str(tmp_path / name), "--model", str(model_file)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "?[2J?fake.png" in out


def test_the_benchmark_of_digit_lines(model_file, capsys):
    model, data = minicnn.load_model(model_file), minicnn.load_mnist_sample()
    case = digit_lines.measure(model, data, "gaps", (0.1, 0.6), 25)
    assert case["lines"] == 25
    assert case["digits_counted"] >= 0.92
    assert 0.3 < case["read_whole"] <= case["digits_counted"]
    assert case["read_directly"] > 0.3
    assert "gaps: 25 lines, " in digit_lines.format_case(case)


def correct_files(model_file, capsys):
    recognize.main([str(DIGITS), "--json", "--model", str(model_file)])
    results = json.loads(capsys.readouterr().out)
    return [r["file"] for r in results if r["digit"] == Path(r["file"]).name.split("_")[0]]


@pytest.mark.slow
def test_most_scans_are_read_after_training_on_the_sample_alone(model_file, capsys):
    assert len(correct_files(model_file, capsys)) >= 36


@pytest.mark.slow
def test_all_scans_are_read_after_training_on_mnist(tmp_path, capsys):
    if not os.environ.get("MINICNN_DATA"):
        pytest.skip("MINICNN_DATA is not set, so there is no real MNIST to train on")
    path = tmp_path / "m.npz"
    flags = ["--augment", "--synthetic-digits", "--epochs", "5", "--save", str(path)]
    assert train.main(flags) == 0
    capsys.readouterr()
    assert len(correct_files(path, capsys)) == len(draw_digits.SCANS)
