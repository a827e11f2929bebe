"""Recognize your own handwritten digits: postcodes, amounts, pages.

    python examples/tools/recognize.py examples/digits
    python examples/tools/recognize.py drawing.png photo.jpg --show figure.png
    python examples/tools/recognize.py scans --model model.npz --json

The table has one row per file: the digits, their probability, and the second guess. The
probability of a number is the product over its digits; its second guess changes the least certain
digit. Lines of a page are separated by ``/``. Points and commas are not read.

Without ``--model`` the newest model of digits among ``*.npz`` in the current folder is used, else
the one in the user's cache folder, beside MNIST. If there is none, one is trained and stored there.
"""

import argparse
import glob
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pooch
from numpy.typing import NDArray
from PIL import Image

import minicnn
from minicnn import DigitBox, ModelFileError, Sequential
from minicnn.recognizer.load_image import read_picture
from minicnn.table import percent

sys.path.insert(0, str(Path(__file__).parents[1]))
from console import Help, Terminated, run_script

CACHED_MODEL = Path(pooch.os_cache("minicnn")) / "digits.npz"
TRAIN_SCRIPT = Path(__file__).parents[1] / "train.py"
THUMBNAIL = 400  # longer side of an image in the figure, in pixels
MAX_IN_FIGURE = 300  # digits
WINDOWS_FILES = ("thumbs.db", "desktop.ini")  # in folders of images
TEST_DIGITS = 100  # a model of digits reads more than half of them


class Reading(NamedTuple):
    """Digits of one file, and their probabilities (digits, classes)."""

    path: Path
    digits: list[DigitBox]
    probabilities: NDArray[np.floating[Any]]
    class_names: list[str]

    def text(self, classes: NDArray[np.integer[Any]]) -> str:
        """Return one class per digit as text, with lines separated by "/"."""
        lines = [""] * (self.digits[-1].line + 1)
        for digit, index in zip(self.digits, classes, strict=True):
            lines[digit.line] += self.class_names[index]
        return "/".join(lines)

    def guesses(self) -> list[tuple[str, float]]:
        """Return the first and the second guess, with their probabilities."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")
        first, second = (
            np.take_along_axis(self.probabilities, order[:, k : k + 1], 1) for k in (0, 1)
        )
        ratio = (second / first).ravel()
        least_certain = ratio.argmax()
        other = order[:, 0].copy()
        other[least_certain] = order[least_certain, 1]
        probability = float(np.prod(first, dtype=np.float64))
        return [
            (self.text(order[:, 0]), probability),
            (self.text(other), probability * float(ratio.max())),
        ]


# ---------------------------------------------------------------- model


def why_no_digit_model(model: Sequential) -> str:
    """Return "" if a model reads digits, else the reason why not."""
    if model.input_shape != (28, 28, 1) or model.output_shape != (10,):
        return (
            f"the model must map (28, 28, 1) to (10,), not {model.input_shape} to "
            f"{model.output_shape}"
        )
    if set(names := class_names(model)) != set("0123456789"):
        return f"its classes are {', '.join(names)}, not the digits"
    # A model of clothes may have digits as class names, so it must read digits too.
    sample = minicnn.load_mnist_sample()
    images, labels = sample.test_images[:TEST_DIGITS], sample.test_labels[:TEST_DIGITS]
    try:
        correct = int((np.array(names)[model.predict(images)] == labels.astype(str)).sum())
    except ValueError as error:  # weights so large that the network overflows
        return str(error)
    data = model.metadata.get("dataset", "unknown data")
    if 2 * correct < TEST_DIGITS:
        return f"it reads {correct} of {TEST_DIGITS} MNIST digits rightly; it is of {data}"
    return ""


def class_names(model: Sequential) -> list[str]:
    """Return the class names of a model of digits."""
    return list(model.class_names or "0123456789")


def load_digit_model(path: Path) -> Sequential:
    """Load a model of digits; raise ModelFileError for another model."""
    model = minicnn.load_model(path)
    if reason := why_no_digit_model(model):
        raise ModelFileError(f"{path}: {reason}; give a model of digits")
    return model


def newest_model() -> tuple[Path, Sequential] | None:
    """Return the newest model of digits here, else the cached one."""
    files = [path for path in Path().glob("*.npz") if path.is_file()]
    for path in [*sorted(files, key=lambda path: -path.stat().st_mtime), CACHED_MODEL]:
        try:
            model = minicnn.load_model(path)
        except (OSError, ModelFileError):  # another kind of .npz, or no file
            continue
        if reason := why_no_digit_model(model):
            print(f"not using {printable(f'{path}: {reason}')}", file=sys.stderr)
        else:
            return path, model
    return None


def run_training(target: Path) -> int:
    """Run train.py with its output on stderr; return its exit status."""
    flags = ["--augment", "--synthetic-digits", "--save", str(target)]
    command = [sys.executable, str(TRAIN_SCRIPT), *flags]
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode


def train_model() -> Sequential:
    """Train a model and store it in the cache if possible."""
    print("no saved model found: training one, which takes a minute or two", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CACHED_MODEL.name
        status = run_training(path)
        if status in (130, 143):  # the same signal, or one to the child alone
            raise KeyboardInterrupt if status == 130 else Terminated
        if status != 0:
            raise RuntimeError(f"training failed with exit status {status}; see its output above")
        model = load_digit_model(path)
    try:
        CACHED_MODEL.parent.mkdir(parents=True, exist_ok=True)
        model.save(CACHED_MODEL)
        print(f"stored in {CACHED_MODEL} for the next time\n", file=sys.stderr)
    except OSError as error:
        print(f"cannot be stored in {CACHED_MODEL}: {error}\n", file=sys.stderr)
    return model


def choose_model(path: Path | None) -> Sequential:
    """Load the given model, else the newest, else train one."""
    if path:
        return load_digit_model(path)
    newest = newest_model()
    if newest is None:
        return train_model()
    path, model = newest
    print(f"using the model {printable(str(path))}", file=sys.stderr)
    return model


# ---------------------------------------------------------------- images


def iter_files(paths: list[Path]) -> Iterator[Path]:
    """Yield each file, and for each folder its files except hidden ones.

    A pattern such as ``*.png`` is expanded where the shell does not do it.
    """
    for path in itertools.chain.from_iterable(map(expand, paths)):
        try:
            files = sorted(entry for entry in path.iterdir() if not entry.is_dir())
        except OSError:  # a file, or an unreadable folder, which `read` will report
            yield path
        else:
            hidden = (".", *WINDOWS_FILES)
            yield from (file for file in files if not file.name.lower().startswith(hidden))


def expand(path: Path) -> list[Path]:
    """Return the files of a pattern, or the path if nothing matches."""
    names = [] if os.path.lexists(path) else glob.glob(str(path))
    return sorted(map(Path, names)) or [path]


def detect(files: list[Path]) -> Iterator[tuple[Path, list[DigitBox] | Exception]]:
    """Yield each file with its digits, or with the error of reading it."""
    for path in files:
        try:
            yield path, minicnn.detect_digits(path)
        except (OSError, ValueError) as error:
            yield path, error


def read(path: Path, digits: list[DigitBox], model: Sequential) -> Reading:
    """Classify the digits of one file."""
    probabilities = model.predict_proba(np.stack([digit.image for digit in digits]))
    return Reading(path, digits, probabilities, class_names(model))


def printable(text: str) -> str:
    """Replace control characters, which a terminal would interpret."""
    return "".join(char if char.isprintable() else "?" for char in text)


def to_json(reading: Reading) -> dict[str, Any]:
    """Return the entry of one file for `--json`."""
    (text, probability), (second, second_probability) = reading.guesses()
    digits = [
        {
            "digit": reading.class_names[int(row.argmax())],
            "confidence": float(row.max()),
            "box": list(digit.box),
            "line": digit.line,
        }
        for digit, row in zip(reading.digits, reading.probabilities, strict=True)
    ]
    return {
        "file": str(reading.path),
        "digit": text,
        "confidence": probability,
        "second_guess": second,
        "second_confidence": second_probability,
        "digits": digits,
    }


# ---------------------------------------------------------------- figure


def save_figure(readings: list[Reading], target: Path) -> None:
    """Draw each digit, the network's input and the probabilities."""
    from minicnn import plots  # takes a second to import

    originals, titles = [], []
    for reading in readings:
        image, scale = open_image(reading.path)
        single = len(reading.digits) == 1
        for index, digit in enumerate(reading.digits):
            part = image.copy() if single else image.crop(add_margin(digit, image, scale))
            part.thumbnail((THUMBNAIL, THUMBNAIL))
            originals.append(part)
            titles.append(reading.path.name + ("" if single else f", digit {index}"))
    inputs = np.concatenate([[digit.image for digit in reading.digits] for reading in readings])
    probabilities = np.concatenate([reading.probabilities for reading in readings])
    if len(originals) > MAX_IN_FIGURE:
        print(f"{target} shows the first {MAX_IN_FIGURE} of {len(originals)} digits",
              file=sys.stderr)  # fmt: skip
    first = slice(MAX_IN_FIGURE)
    figure = plots.predictions(
        originals[first],
        inputs[first],
        probabilities[first],
        titles=[printable(title) for title in titles[first]],
        class_names=readings[0].class_names,
    )
    figure.savefig(target)


def open_image(path: Path) -> tuple[Image.Image, int]:
    """Return an image, in color if it has 8 bits per channel, and its scale."""
    picture = read_picture(path)
    deep = picture.image.mode in ("I", "F")  # more than 8 bits
    return Image.fromarray(picture.gray) if deep else picture.image, picture.scale


def add_margin(digit: DigitBox, image: Image.Image, scale: int) -> tuple[int, int, int, int]:
    """Return the box of a digit with a margin, inside the reduced image."""
    left, top, right, bottom = (edge // scale for edge in digit.box)
    margin = (bottom - top) // 5
    return (
        max(left - margin, 0),
        max(top - margin, 0),
        min(right + margin, image.width),
        min(bottom + margin, image.height),
    )


# ---------------------------------------------------------------- command line


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Recognize handwritten digits in images.", formatter_class=Help
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE.npz",
        help="a saved model (default: the newest in the current folder, else the one in the "
        "user's cache folder, else a new one)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--show",
        type=Path,
        metavar="FILE.png",
        help="draw the digits, the network's inputs and the probabilities",
    )
    flags = parser.parse_args(argv)
    if flags.show and not flags.show.absolute().parent.is_dir():
        parser.error(f"--show: the folder {flags.show.absolute().parent} does not exist")
    if flags.show and flags.show.suffix.lower() not in (".png", ".pdf", ".svg"):
        parser.error(f"--show: {flags.show} must end in .png, .pdf or .svg")
    return flags


def recognize(flags: argparse.Namespace) -> int:
    """Read all files and print the results; return the exit status."""
    files = list(iter_files(flags.paths))
    if flags.show and flags.show.resolve() in [path.resolve() for path in files]:
        raise FileExistsError(f"--show: {flags.show} is one of the images; choose another name")
    # The first file with digits decides whether a model is worth its training.
    found = detect(files)
    checked: list[tuple[Path, list[DigitBox] | Exception]] = []
    model = None
    while model is None and (item := next(found, None)):
        checked.append(item)
        if not isinstance(item[1], Exception):
            model = choose_model(flags.model)
    width = max([len(printable(path.name)) for path in files], default=4)
    readings: list[Reading] = []
    results: list[dict[str, Any]] = []
    if model and not flags.json:
        print(f"{'file':{width}}  {'digit':8}  confidence  second guess")
    for path, digits in itertools.chain(checked, found):
        if model is None or isinstance(digits, Exception):
            results.append({"file": str(path), "error": str(digits)})
            if not flags.json:
                print(f"error: {printable(f'{path}: {digits}')}", file=sys.stderr)
            continue
        reading = read(path, digits, model)
        readings.append(reading)
        results.append(to_json(reading))
        if not flags.json:
            (text, first), (other, second) = reading.guesses()
            name = printable(path.name)
            print(f"{name:{width}}  {text:8}  {percent(first):>10}  {other} ({percent(second)})")
    if flags.json:
        print(json.dumps(results, indent=2))
    if flags.show and readings:
        save_figure(readings, flags.show)
    if not files:
        print("error: no files found; give images or a folder of images", file=sys.stderr)
    return 0 if len(readings) == len(files) > 0 else 1


def main(argv: list[str] | None = None) -> int:
    """Run; return 0 if all files were read, 1 if not, 2 without a model."""
    flags = parse_flags(argv)
    try:
        return recognize(flags)
    except (OSError, ModelFileError, RuntimeError) as error:
        print(f"recognize.py: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    run_script(main)
