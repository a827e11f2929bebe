"""How well people's own digits are read: stand-in drawings in many media, read by a network.

    python benchmarks/own_digits.py plain.npz augmented.npz --data-dir FOLDER [--count N] [--placed]

There are two sources of shapes. Digits of MNIST's validation part are reduced to their middle lines
and drawn anew with other pens; some suffer from it, such as an 8 whose upper loop was full of ink.
The strokes of `minicnn.recognizer.synthetic` have forms (crossed 7, slashed 0, open 4) that are not
those of the Americans who wrote MNIST. For a model that was trained on drawn digits as well
(``train_mnist.py --augment``) these are other drawings, but by the same hand: only the first source
says something of strangers then. Each is drawn in all media of `own_media.py`, and read

- as most tutorials do: gray, scaled to 28×28, inverted; and
- through `minicnn.to_mnist_format`.

With ``--placed`` the 10,000 test images are read instead, as they are, and from a JPEG on which
each lies at a random place, at a random size, in one color on another. That is for the end:
nothing is chosen by it.
"""

import argparse
import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from own_media import MEDIA, Random, Strokes, jpeg
from PIL import Image

import minicnn
from minicnn.random import generator
from minicnn.recognizer.synthetic import digit_strokes

Images = NDArray[np.uint8]  # (N, 28, 28)
Labels = NDArray[np.uint8]
Reader = Callable[[bytes], NDArray[np.uint8]]


# ---------------------------------------------------------------- MNIST's digits as strokes


def middle_lines(image: NDArray[np.uint8], fine: int = 3) -> Strokes:
    """Reduce a digit of MNIST to its middle lines: short strokes in units of its height."""
    side = fine * 28
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    skeleton = thin(np.asarray(picture) > 100)
    points = np.argwhere(skeleton)[:, ::-1].astype(float)  # x, y
    gaps = np.abs(points[:, None] - points[None]).max(axis=2)
    near = gaps <= fine  # averaged with these, so that the stairs of the pixels go
    smooth = np.stack([points[row].mean(axis=0) for row in near])
    smooth -= smooth.min(axis=0)
    smooth /= max(np.ptp(smooth[:, 1]), 0.5 * np.ptp(smooth[:, 0]), 1.0)
    pairs = np.argwhere(np.triu(gaps == 1))
    return [smooth[pair] for pair in pairs] or [smooth[:1].repeat(2, axis=0)]


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Peel a shape until its lines are one pixel wide (Zhang and Suen, CACM 27, 1984)."""
    ink = np.pad(mask, 1)
    while True:
        before = ink.sum()
        for first in (True, False):
            up, down = np.roll(ink, 1, 0), np.roll(ink, -1, 0)
            around = [
                up, np.roll(up, -1, 1), np.roll(ink, -1, 1), np.roll(down, -1, 1),
                down, np.roll(down, 1, 1), np.roll(ink, 1, 1), np.roll(up, 1, 1),
            ]  # clockwise from above  # fmt: skip
            count = np.sum(around, axis=0)
            turns = np.sum(
                [~a & b for a, b in zip(around, around[1:] + around[:1], strict=True)], axis=0
            )
            n, e, s, w = around[0], around[2], around[4], around[6]
            open_sides = ~(n & e & s) & ~(e & s & w) if first else ~(n & e & w) & ~(n & s & w)
            ink = ink & ~((count >= 2) & (count <= 6) & (turns == 1) & open_sides)
        if ink.sum() == before:
            return ink[1:-1, 1:-1]


# ---------------------------------------------------------------- measuring


def sources(data: minicnn.ImageDataset, count: int) -> dict[str, list[tuple[Strokes, int]]]:
    """Return `count` digits from each source, with their labels.

    MNIST's come from the part that `minicnn.fit` puts aside at seed 0 and a share of 0.1.
    """
    N = len(data.train_images)
    aside = generator(0, "validation split").permutation(N)[: round(0.1 * N)][:count]
    rng = np.random.default_rng(5)
    return {
        "MNIST": [(middle_lines(data.train_images[i]), int(data.train_labels[i])) for i in aside],
        "strokes": [(digit_strokes(i % 10, rng), i % 10) for i in range(count)],
    }


def as_in_tutorials(file: bytes) -> NDArray[np.uint8]:
    """Read a picture the common way: gray, scaled to 28×28, inverted."""
    return 255 - np.asarray(Image.open(io.BytesIO(file)).convert("L").resize((28, 28)))


def read_all(files: Sequence[bytes], reader: Reader) -> Images:
    """Read pictures; one on which nothing is found stays black."""
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
    """Print a row for each medium and source."""
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
            common, ours = (
                read_all(files, how) for how in (as_in_tutorials, minicnn.to_mnist_format)
            )
            answers = [models[0].predict(common), *(model.predict(ours) for model in models)]
            rows.append([np.mean(answer == labels) for answer in answers])
            shares = " | ".join(f"{share:.1%}" for share in rows[-1])
            print(f"| {name} | {source} | {shares} |", flush=True)
    print("| **mean** |  | " + " | ".join(f"{share:.2%}" for share in np.mean(rows, axis=0)) + " |")


def placed(image: NDArray[np.uint8], rng: Random) -> bytes:
    """Put a digit somewhere on a larger canvas, enlarged, in colors, inverted, as a JPEG."""
    size = round(28 * rng.uniform(1, 6))
    H, W = size + rng.integers(4, 200, 2)
    top, left = rng.integers(0, (H - size, W - size))
    large = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    cover = np.zeros((H, W, 1))
    cover[top : top + size, left : left + size, 0] = np.asarray(large) / 255
    dark, pale = rng.integers(0, 90, 3), rng.integers(170, 256, 3)
    picture = np.rint(pale * (1 - cover) + dark * cover).astype(np.uint8)
    return jpeg(Image.fromarray(picture), int(rng.integers(60, 95)))


def compare_placed(
    models: list[minicnn.Sequential], names: list[str], args: argparse.Namespace
) -> None:
    """Print the accuracy of the test images as they are, and when found again."""
    data = minicnn.load_mnist(args.data_dir)
    images, labels = data.test_images, data.test_labels
    files = [placed(image, np.random.default_rng([7, i])) for i, image in enumerate(images)]
    found = read_all(files, minicnn.to_mnist_format)
    for name, model in zip(names, models, strict=True):
        before, after = (float(np.mean(model.predict(x) == labels)) for x in (images, found))
        print(f"{name}: {before:.2%} as they are, {after:.2%} when placed ({after - before:+.2%})")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how own digits are read.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.npz")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder with the four MNIST files")
    parser.add_argument("--count", type=int, default=100, help="digits of each source and medium")
    parser.add_argument("--placed", action="store_true", help="read the placed test images instead")
    args = parser.parse_args()
    models = [minicnn.load_model(path) for path in args.models]
    names = [path.stem for path in args.models]
    (compare_placed if args.placed else compare_media)(models, names, args)


if __name__ == "__main__":
    main()
