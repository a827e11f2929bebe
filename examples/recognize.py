"""Read your own handwritten digits: single ones, postcodes, amounts, pages.

    python examples/recognize.py examples/digits
    python examples/recognize.py drawing.png photo.jpg --show seen.png
    python examples/recognize.py scans --model model.npz --json

One row for each file: what was read, how likely it is right, and the second guess. Of a number the
likelihood is the product of its digits'; its second guess differs in the digit that is least sure.
Lines of a page are set apart by ``/``. Points and commas are not read.

Without ``--model`` the newest model among ``*.npz`` in the current folder reads; or else one that
is kept in the user's cache folder, beside MNIST. Where there is none either, it is trained first.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pooch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from train_mnist import main as train_mnist

import minicnn
from minicnn import DigitBox, ModelFileError, Sequential
from minicnn.recognizer.load_image import read_gray

KEPT = Path(pooch.os_cache("minicnn")) / "digits.npz"
SHOWN = 400  # longer side of a picture in the figure
MOST_SHOWN = 300  # digits in the figure


class Reading(NamedTuple):
    """What was read in a file: its digits, and their probabilities (digits, classes)."""

    path: Path
    found: list[DigitBox]
    likely: NDArray[np.floating[Any]]
    class_names: list[str]

    def text(self, classes: NDArray[np.integer[Any]]) -> str:
        """Write classes, one for each digit, as lines."""
        lines = [""] * (self.found[-1].line + 1)
        for digit, number in zip(self.found, classes, strict=True):
            lines[digit.line] += self.class_names[number]
        return "/".join(lines)

    def guesses(self) -> list[tuple[str, float]]:
        """Return the likeliest and the second reading of the whole, with their probabilities."""
        order = np.argsort(-self.likely, axis=1, kind="stable")
        first, second = (np.take_along_axis(self.likely, order[:, k : k + 1], 1) for k in (0, 1))
        ratio = (second / first).ravel()
        other = order[:, 0].copy()
        other[ratio.argmax()] = order[ratio.argmax(), 1]
        sure = float(np.prod(first, dtype=np.float64))
        return [(self.text(order[:, 0]), sure), (self.text(other), sure * float(ratio.max()))]


# ---------------------------------------------------------------- the model


def load_reader(path: Path) -> Sequential:
    """Load a model that reads 28×28 pictures of ten digits; ModelFileError if it does not."""
    model = minicnn.load_model(path)
    if model.input_shape != (28, 28, 1) or model.output_shape != (10,):
        raise ModelFileError(
            f"{path} takes {model.input_shape} and tells {model.output_shape} apart, but pictures "
            f"of digits are (28, 28, 1) and (10,)"
        )
    return model


def newest_model() -> tuple[Path, Sequential] | None:
    """Return the newest sound model of the current folder, or the one that is kept."""
    files = [path for path in Path().glob("*.npz") if path.is_file()]
    for path in [*sorted(files, key=lambda path: -path.stat().st_mtime), KEPT]:
        with contextlib.suppress(OSError, ModelFileError):  # another kind of .npz, or none
            return path, load_reader(path)
    return None


def train_one() -> Sequential:
    """Train a model and keep it for the next time, or say that it cannot be kept."""
    print("no saved model was found: training one, which takes a minute or two", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        path = Path(folder) / KEPT.name
        status = train_mnist(["--augment", "--save", str(path)])
        if status == 130:
            raise KeyboardInterrupt
        if status != 0:
            raise RuntimeError("no model could be trained")
        model = load_reader(path)
        try:
            KEPT.parent.mkdir(parents=True, exist_ok=True)
            model.save(KEPT)
            print(f"kept for the next time in {KEPT}\n")
        except OSError as error:
            print(f"it cannot be kept in {KEPT}: {error}\n")
    return model


# ---------------------------------------------------------------- the pictures


def files_in(paths: list[Path]) -> Iterator[Path]:
    """Yield each file, and for a folder those in it, but for hidden ones."""
    for path in paths:
        try:
            inside = sorted(entry for entry in path.iterdir() if not entry.is_dir())
        except OSError:  # a file; or a folder that may not be read, which `read` will say
            yield path
        else:
            yield from (entry for entry in inside if not entry.name.startswith("."))


def read(path: Path, model: Sequential) -> Reading:
    """Find and read all digits of one file."""
    found = minicnn.detect_digits(path)
    likely = model.predict_proba(np.stack([digit.image for digit in found]))
    return Reading(path, found, likely, list(model.class_names or "0123456789"))


def printable(text: str) -> str:
    """Return the text on one line, without what a terminal would act upon."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def as_json(reading: Reading) -> dict[str, Any]:
    """Return what `--json` says about a file."""
    (text, sure), (other, less) = reading.guesses()
    digits = [
        {
            "digit": reading.class_names[int(row.argmax())],
            "confidence": float(row.max()),
            "box": list(digit.box),
            "line": digit.line,
        }
        for digit, row in zip(reading.found, reading.likely, strict=True)
    ]
    return {
        "file": str(reading.path),
        "digit": text,
        "confidence": sure,
        "second_guess": other,
        "second_confidence": less,
        "digits": digits,
    }


# ---------------------------------------------------------------- the figure


def show(readings: list[Reading], target: Path) -> None:
    """Draw each digit as given and as the network saw it, with the probabilities."""
    from minicnn import plots  # matplotlib takes a second: only where pictures are wanted

    given, titles = [], []
    for reading in readings:
        picture = upright(reading.path)
        for place, digit in enumerate(reading.found):
            alone = len(reading.found) == 1
            part = picture.copy() if alone else picture.crop(around(digit, picture))
            part.thumbnail((SHOWN, SHOWN))
            given.append(part)
            titles.append(reading.path.name + ("" if alone else f", digit {place + 1}"))
    seen = np.concatenate([[digit.image for digit in reading.found] for reading in readings])
    likely = np.concatenate([reading.likely for reading in readings])
    if len(given) > MOST_SHOWN:
        print(f"{target} shows the first {MOST_SHOWN} of {len(given)} digits", file=sys.stderr)
    some = slice(MOST_SHOWN)
    figure = plots.predictions(
        given[some],
        seen[some],
        likely[some],
        titles=[printable(title) for title in titles[some]],
        class_names=readings[0].class_names,
    )
    figure.savefig(target)


def upright(path: Path) -> Image.Image:
    """Open a picture that has been read before, in color where it is of the usual kind."""
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):  # more than 8 bits
            return Image.fromarray(read_gray(path)[1])
        keeps_alpha = image.has_transparency_data
        return ImageOps.exif_transpose(image).convert("RGBA" if keeps_alpha else "RGB")


def around(digit: DigitBox, picture: Image.Image) -> tuple[int, int, int, int]:
    """Return a digit's box with a margin."""
    left, top, right, bottom = digit.box
    margin = (bottom - top) // 5
    return (
        max(left - margin, 0),
        max(top - margin, 0),
        min(right + margin, picture.width),
        min(bottom + margin, picture.height),
    )


# ---------------------------------------------------------------- the program


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Read handwritten digits from pictures.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE.npz",
        help="a saved model (default: the newest in the current folder, or the one in the user's "
        "cache folder, or one trained on the spot)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--show",
        type=Path,
        metavar="FILE.png",
        help="draw what was given, what the network saw and the probabilities",
    )
    flags = parser.parse_args(argv)
    if flags.show and not flags.show.absolute().parent.is_dir():
        parser.error(f"--show: there is no folder {flags.show.absolute().parent}")
    if flags.show and flags.show.suffix not in (".png", ".pdf", ".svg"):
        parser.error(f"--show: {flags.show} must end in .png, .pdf or .svg")
    return flags


def choose_model(given: Path | None) -> Sequential:
    """Return the model that reads, and say which it is."""
    if given:
        return load_reader(given)
    newest = newest_model()
    if newest is None:
        return train_one()
    path, model = newest
    print(f"reading with {printable(str(path))}", file=sys.stderr)
    return model


def recognize(flags: argparse.Namespace) -> int:
    model = choose_model(flags.model)
    files = list(files_in(flags.paths))
    width = max([len(printable(path.name)) for path in files], default=4)
    readings: list[Reading] = []
    results: list[dict[str, Any]] = []
    if not flags.json:
        print(f"{'file':{width}}  {'digit':8}  confidence  second guess")
    for path in files:
        try:
            reading = read(path, model)
        except (OSError, ValueError) as error:
            results.append({"file": str(path), "error": str(error)})
            if not flags.json:
                print(f"error: {printable(f'{path}: {error}')}", file=sys.stderr)
            continue
        readings.append(reading)
        results.append(as_json(reading))
        if not flags.json:
            (text, sure), (other, less) = reading.guesses()
            print(f"{printable(path.name):{width}}  {text:8}  {sure:10.1%}  {other} ({less:.1%})")
    if flags.json:
        print(json.dumps(results, indent=2))
    if flags.show and readings:
        show(readings, flags.show)
    if not files:
        print("error: there are no files in what was given", file=sys.stderr)
    return 0 if len(readings) == len(files) > 0 else 1


def main(argv: list[str] | None = None) -> int:
    """Read the files; return the exit status: 0 if all could be read, 1 if not, 2 for no model."""
    flags = parse_flags(argv)
    try:
        return recognize(flags)
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        return 130
    except (OSError, ModelFileError, RuntimeError) as error:
        print(f"recognize.py: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
