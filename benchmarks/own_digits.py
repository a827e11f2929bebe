"""Measure how well a network reads own digits, on synthetic drawings.

    python benchmarks/own_digits.py plain.npz augmented.npz --data-dir FOLDER [--count N] [--placed]

The strokes come from two sources. Digits of MNIST's validation images are thinned to skeletons and
drawn with other pens; thinning damages a few, such as an 8 with a filled loop. The strokes of
`minicnn.recognizer.synthetic` have glyphs (crossed 7, slashed 0, open 4) that are rare in MNIST. A
model trained with ``train_mnist.py --augment`` knows those glyphs, so for it only the first source
measures unknown writers. Each digit is drawn in all media of `digit_media.py`, and read

- as in most tutorials: gray, resized to 28×28, inverted; and
- through `minicnn.to_mnist_format`.

With ``--placed`` the 10,000 test images are read instead: as they are, and from a JPEG with the
digit at a random position, size and colors. Do not tune anything by that result.
"""

import argparse
import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from digit_media import MEDIA, Random, Strokes, jpeg
from numpy.typing import NDArray
from PIL import Image
from script import Help, run_script

import minicnn
from minicnn.random import generator
from minicnn.recognizer.synthetic import digit_strokes

Images = NDArray[np.uint8]  # (N, 28, 28)
Reader = Callable[[bytes], NDArray[np.uint8]]


# ---------------------------------------------------------------- skeletons of MNIST's digits


def skeleton_strokes(image: NDArray[np.uint8], scale: int = 3) -> Strokes:
    """Thin an MNIST digit to short strokes in units of its height."""
    side = scale * 28
    enlarged = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    skeleton = thin(np.asarray(enlarged) > 100)
    points = np.argwhere(skeleton)[:, ::-1].astype(float)  # x, y
    distance = np.abs(points[:, None] - points[None]).max(axis=2)
    # The mean over the neighborhood removes the steps of the pixel grid.
    smooth = np.stack([points[near].mean(axis=0) for near in distance <= scale])
    smooth -= smooth.min(axis=0)
    smooth /= max(np.ptp(smooth[:, 1]), 0.5 * np.ptp(smooth[:, 0]), 1.0)
    pairs = np.argwhere(np.triu(distance == 1))
    return [smooth[pair] for pair in pairs] or [smooth[:1].repeat(2, axis=0)]


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a shape to lines of one pixel (Zhang and Suen, CACM 27, 1984)."""
    ink = np.pad(mask, 1)
    while True:
        before = ink.sum()
        for first in (True, False):
            up, down = np.roll(ink, 1, 0), np.roll(ink, -1, 0)
            neighbors = [
                up, np.roll(up, -1, 1), np.roll(ink, -1, 1), np.roll(down, -1, 1),
                down, np.roll(down, 1, 1), np.roll(ink, 1, 1), np.roll(up, 1, 1),
            ]  # clockwise from above  # fmt: skip
            count = np.sum(neighbors, axis=0)
            pairs = zip(neighbors, neighbors[1:] + neighbors[:1], strict=True)
            transitions = np.sum([~a & b for a, b in pairs], axis=0)
            n, e, s, w = neighbors[::2]
            open_sides = ~(n & e & s) & ~(e & s & w) if first else ~(n & e & w) & ~(n & s & w)
            ink = ink & ~((count >= 2) & (count <= 6) & (transitions == 1) & open_sides)
        if ink.sum() == before:
            return ink[1:-1, 1:-1]


# ---------------------------------------------------------------- measurement


def sources(data: minicnn.ImageDataset, count: int) -> dict[str, list[tuple[Strokes, int]]]:
    """Return the strokes and labels of `count` digits from each source.

    MNIST's are validation images of `minicnn.fit` at seed 0 and a validation_split of 0.1.
    """
    N = len(data.train_images)
    held_out = generator(0, "validation split").permutation(N)[: round(0.1 * N)][:count]
    rng = np.random.default_rng(5)
    return {
        "MNIST": [
            (skeleton_strokes(data.train_images[i]), int(data.train_labels[i])) for i in held_out
        ],
        "strokes": [(digit_strokes(i % 10, rng), i % 10) for i in range(count)],
    }


def read_as_tutorial(file: bytes) -> NDArray[np.uint8]:
    """Read an image as most tutorials do: gray, resized to 28×28, inverted."""
    return 255 - np.asarray(Image.open(io.BytesIO(file)).convert("L").resize((28, 28)))


def read_all(files: Sequence[bytes], reader: Reader) -> Images:
    """Read all files; a blank one gives a black image."""
    images = np.zeros((len(files), 28, 28), np.uint8)
    for image, file in zip(images, files, strict=True):
        try:
            image[:] = reader(file)
        except minicnn.BlankImageError as error:
            print(f"not read: {error}")
    return images


def compare_media(
    models: list[minicnn.Sequential], names: list[str], args: argparse.Namespace
) -> None:
    """Print the accuracy for each source and medium."""
    print("| medium | digits from | tutorial code | " + " | ".join(names) + " |")
    print("| --- | --- |" + " ---: |" * (1 + len(models)))
    rows = []
    for source, digits in sources(minicnn.load_mnist(args.data_dir), args.count).items():
        labels = np.array([label for _, label in digits])
        for name, medium in MEDIA.items():
            key = zlib.crc32(name.encode())
            files = [
                medium(strokes, np.random.default_rng([key, i]))
                for i, (strokes, _) in enumerate(digits)
            ]
            tutorial = read_all(files, read_as_tutorial)
            converted = read_all(files, minicnn.to_mnist_format)
            predictions = [models[0].predict(tutorial), *(m.predict(converted) for m in models)]
            rows.append([np.mean(predicted == labels) for predicted in predictions])
            accuracies = " | ".join(f"{accuracy:.1%}" for accuracy in rows[-1])
            print(f"| {name} | {source} | {accuracies} |", flush=True)
    means = " | ".join(f"{accuracy:.2%}" for accuracy in np.mean(rows, axis=0))
    print(f"| **mean** |  | {means} |")


def place_randomly(image: NDArray[np.uint8], rng: Random) -> bytes:
    """Place a digit on a larger canvas in random colors, as a JPEG."""
    size = round(28 * rng.uniform(1, 6))
    H, W = size + rng.integers(4, 200, 2)
    top, left = rng.integers(0, (H - size, W - size))
    enlarged = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    cover = np.zeros((H, W, 1))
    cover[top : top + size, left : left + size, 0] = np.asarray(enlarged) / 255
    dark, pale = rng.integers(0, 90, 3), rng.integers(170, 256, 3)
    canvas = np.rint(pale * (1 - cover) + dark * cover).astype(np.uint8)
    return jpeg(Image.fromarray(canvas), int(rng.integers(60, 95)))


def compare_placed(
    models: list[minicnn.Sequential], names: list[str], args: argparse.Namespace
) -> None:
    """Print the accuracy on the test images, as they are and randomly placed."""
    data = minicnn.load_mnist(args.data_dir)
    images, labels = data.test_images, data.test_labels
    files = [place_randomly(image, np.random.default_rng([7, i])) for i, image in enumerate(images)]
    converted = read_all(files, minicnn.to_mnist_format)
    for name, model in zip(names, models, strict=True):
        before, after = (float(np.mean(model.predict(x) == labels)) for x in (images, converted))
        print(f"{name}: {before:.2%} as they are, {after:.2%} placed ({after - before:+.2%})")


def main(argv: list[str] | None = None) -> None:
    """Read the flags and print the comparison."""
    parser = argparse.ArgumentParser(
        description="Measure how well own digits are read.", formatter_class=Help
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.npz")
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with the four MNIST files (default: download them)",
    )
    parser.add_argument("--count", type=int, default=100, help="digits per source and medium")
    parser.add_argument("--placed", action="store_true", help="read the placed test images instead")
    args = parser.parse_args(argv)
    models = [minicnn.load_model(path) for path in args.models]
    names = [path.stem for path in args.models]
    (compare_placed if args.placed else compare_media)(models, names, args)


if __name__ == "__main__":
    run_script(main)
