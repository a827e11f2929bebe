"""Draw the example scans in ``examples/digits/``, or check them.

    python examples/tools/draw_digits.py [--check] [--output FOLDER]

A file name begins with the label: ``7_crossed.jpg`` shows a 7, ``90210_postcode.jpg`` five digits
in a row. Points and commas do not count: ``124750_amount.png`` shows 1,247.50.

The digits are pen strokes (`minicnn.recognizer.synthetic`) or test images of the embedded MNIST
sample (names with ``mnist``); the paper is white, ruled, under uneven light, a board, or
transparent. The sample's test images belong to MNIST's 60,000 training images.
"""

import argparse
import io
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import minicnn

sys.path.insert(0, str(Path(__file__).parents[1]))
from console import Help, run_script

from minicnn.recognizer.synthetic import (
    GLYPHS,
    HandStyle,
    digit_strokes,
    random_hand,
    render_strokes,
)

FOLDER = Path(__file__).parents[1] / "digits"
# A check compares pixels, because encoders differ slightly from version to version.
MAX_DIFFERENCE = 0.5  # mean, in gray levels

Random = np.random.Generator
Color = tuple[int, int, int]
Ink = NDArray[np.uint8]  # (H, W), 255 = ink, 0 = paper
Paper = NDArray[np.float64]  # (H, W, 3), 0 to 255

BLACK, WHITE, GRAY = (0, 0, 0), (255, 255, 255), (198, 197, 193)
BLUE_BLACK, BLUE, RED, GREEN = (28, 30, 44), (32, 52, 138), (196, 30, 40), (20, 110, 60)
PENCIL, CHALK = (122, 120, 118), (236, 238, 232)
CREAM, YELLOW, PINK, BOARD = (244, 239, 224), (250, 224, 96), (248, 206, 214), (38, 66, 54)

# ---------------------------------------------------------------- ink


def pen(
    digit: int,
    rng: Random,
    size: tuple[int, int],
    height: float,
    width: float,
    *,
    glyph: str | None = None,
    hand: HandStyle | None = None,
    at: tuple[float, float] | None = None,
    antialias: bool = True,
    pressure: float = 0.0,
) -> Ink:
    """Write one digit; `at` is its top left corner, by default centered."""
    strokes = digit_strokes(digit, rng, glyph=glyph, hand=hand)
    return render_strokes(
        strokes, size, height=height, pen=width, origin=at, antialias=antialias, pressure=pressure
    )


def number(
    text: str, rng: Random, size: tuple[int, int], height: float, width: float, gap: float
) -> Ink:
    """Write digits, points and commas in one hand, about `gap` heights apart."""
    hand = random_hand(rng)._replace(wobble=0.012)
    glyphs = {digit: str(rng.choice(sorted(GLYPHS[digit]))) for digit in sorted(GLYPHS)}
    strokes, x = [], 0.0
    for char in text:
        if char == ".":
            parts = [np.array([[0.0, 0.97], [0.02, 1.0]])]
        elif char == ",":
            parts = [np.array([[0.05, 0.97], [0.0, 1.12]])]
        else:
            parts = digit_strokes(int(char), rng, glyph=glyphs[int(char)], hand=hand)
        offset = [x, rng.normal(0, 0.02)]
        strokes += [part + offset for part in parts]
        x = max(part[:, 0].max() for part in strokes) + gap * rng.uniform(0.7, 1.3)
    return render_strokes(strokes, size, height=height, pen=width)


def mnist(digit: int, index: int, scale: int, size: tuple[int, int], at: tuple[int, int]) -> Ink:
    """Enlarge a test image of the class `digit` and paste it on a canvas."""
    image = minicnn.load_mnist_sample().test_images[10 * index + digit]
    enlarged = Image.fromarray(image).resize((28 * scale, 28 * scale), Image.Resampling.BICUBIC)
    canvas = Image.new("L", size)
    canvas.paste(enlarged, at)
    return np.asarray(canvas, dtype=np.uint8)


# ---------------------------------------------------------------- paper


def paper(ink: Ink, color: Color, rng: Random, *, grain: float = 2.0, shade: float = 0.0) -> Paper:
    """Return a sheet of the ink's size, darker at the lower right."""
    h, w = ink.shape
    x, y = np.linspace(0, 1, w), np.linspace(0, 1, h)[:, None]
    light = 1 - shade * (0.55 * x + 0.45 * y) ** 1.5
    return np.array(color) * light[..., None] + rng.normal(0, grain, (h, w, 1))


def ruled(sheet: Paper, spacing: int, color: Color = (150, 178, 214), *, squares: bool) -> Paper:
    """Return the sheet with printed lines or squares."""
    lined = sheet.copy()
    lined[spacing // 2 :: spacing] = color
    if squares:
        lined[:, spacing // 2 :: spacing] = color
    return lined


def specks(sheet: Paper, count: int, rng: Random) -> Paper:
    """Return the sheet with specks of dirt."""
    h, w, _ = sheet.shape
    dirty = sheet.copy()
    for x, y in rng.integers(4, [w - 4, h - 4], (count, 2)):
        dirty[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = 90
    return dirty


def inked(sheet: Paper, ink: Ink, color: Color) -> Image.Image:
    """Return the sheet with the ink on it."""
    cover = ink[..., None] / 255.0
    pixels = sheet * (1 - cover) + np.array(color) * cover
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def plain(ink: Ink, color: Color = BLACK, background: Color = WHITE) -> Image.Image:
    """Return ink on a uniform background, as from a paint program."""
    return inked(np.broadcast_to(np.array(background, float), (*ink.shape, 3)), ink, color)


def transparent(ink: Ink, color: Color = BLACK) -> Image.Image:
    """Return ink on transparency: the shape is in the alpha channel."""
    image = Image.new("RGBA", (ink.shape[1], ink.shape[0]), (*color, 0))
    image.putalpha(Image.fromarray(ink))
    return image


# ---------------------------------------------------------------- file formats


def encode(image: Image.Image, kind: str, exif: Image.Exif | None = None) -> bytes:
    """Return the image as a file of the format `kind`."""
    file = io.BytesIO()
    options: dict[str, Any] = {"exif": exif} if exif else {}
    options |= {"quality": 72} if kind in ("JPEG", "WEBP") else {"optimize": True}
    image.save(file, kind, **options)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    """Return a PNG file."""
    return encode(image, "PNG")


def jpeg(image: Image.Image, turned: int = 0) -> bytes:
    """Return a JPEG file, turned by an angle that its EXIF entry undoes."""
    exif = Image.Exif()
    if turned:
        exif[0x0112] = {90: 8, 180: 3}[turned]  # EXIF orientation
        image = image.rotate(-turned, expand=True)
    return encode(image, "JPEG", exif)


def gray(ink: Ink) -> Image.Image:
    """Return black ink on white in one channel."""
    return Image.fromarray(255 - ink)


def gray16(ink: Ink) -> Image.Image:
    """Return dark ink on light gray in 16 bits, as from film scanners."""
    return Image.fromarray((52_000 - ink.astype(np.uint16) * 180).astype(np.uint16))


# ---------------------------------------------------------------- the scans

# fmt: off
SCANS: dict[str, Callable[[Random], bytes]] = {
    # Zero
    "0_chalk.jpg": lambda rng: jpeg(inked(
        paper(i := pen(0, rng, (420, 320), 190, 15, glyph="round", pressure=0.25),
              BOARD, rng, grain=5, shade=0.25), i, CHALK)),
    "0_slashed.png": lambda rng: png(plain(
        pen(0, rng, (120, 160), 110, 9, glyph="slashed", hand=HandStyle(slant=0.1)))),
    "0_mnist-on-cream.jpg": lambda rng: jpeg(inked(
        paper(i := mnist(0, 3, 7, (320, 260), (70, 30)), CREAM, rng, shade=0.3), i, BLUE_BLACK)),
    "0_paint.png": lambda rng: png(plain(
        pen(0, rng, (28, 28), 20, 2, glyph="open", antialias=False))),
    # One
    "1_flag-and-foot.png": lambda rng: png(plain(
        pen(1, rng, (200, 200), 130, 10, glyph="flag-foot", hand=HandStyle(slant=0.06)))),
    "1_thin-pencil.jpg": lambda rng: jpeg(inked(
        paper(i := pen(1, rng, (300, 400), 220, 5, glyph="flag"), WHITE, rng, shade=0.15),
        i, PENCIL)),
    "1_white-on-black.png": lambda rng: png(plain(
        pen(1, rng, (64, 64), 44, 6, glyph="bar"), WHITE, BLACK)),
    "1_mnist-original.png": lambda rng: png(Image.fromarray(mnist(1, 5, 1, (28, 28), (0, 0)))),
    # Two
    "2_ruled.jpg": lambda rng: jpeg(inked(
        ruled(paper(i := pen(2, rng, (360, 300), 150, 9, glyph="loop"), WHITE, rng, shade=0.1), 62,
              squares=False), i, BLUE)),
    "2_transparent.png": lambda rng: png(transparent(pen(2, rng, (280, 280), 190, 18))),
    "2_large.png": lambda rng: png(
        gray(pen(2, rng, (2400, 3000), 1500, 60, glyph="plain", antialias=False)).convert("1")),
    "2_mnist-corner.jpg": lambda rng: jpeg(inked(
        paper(i := mnist(2, 10, 4, (480, 360), (350, 240)), WHITE, rng, grain=3, shade=0.35),
        i, BLUE_BLACK)),
    # Three
    "3_flat-top.jpg": lambda rng: jpeg(inked(
        paper(i := pen(3, rng, (300, 300), 160, 12, glyph="flat"), GRAY, rng, shade=0.45),
        i, BLUE_BLACK)),
    "3_thick-marker.png": lambda rng: png(plain(
        pen(3, rng, (260, 300), 170, 42, glyph="round", hand=HandStyle(width=1.15)), RED)),
    "3_paint.png": lambda rng: png(plain(
        pen(3, rng, (28, 28), 20, 3, glyph="round", hand=HandStyle(), antialias=False))),
    "3_turned-by-exif.jpg": lambda rng: jpeg(inked(
        paper(i := pen(3, rng, (300, 400), 210, 14), CREAM, rng, shade=0.3), i, BLUE), turned=90),
    # Four
    "4_open.png": lambda rng: png(plain(
        pen(4, rng, (220, 220), 140, 12, glyph="open"), BLUE, YELLOW)),
    "4_closed.jpg": lambda rng: jpeg(inked(
        paper(i := pen(4, rng, (320, 320), 180, 15, glyph="closed"), CREAM, rng, shade=0.35),
        i, BLUE_BLACK)),
    "4_white-on-black-thin.png": lambda rng: png(plain(
        pen(4, rng, (500, 400), 230, 5, glyph="open"), WHITE, BLACK)),
    "4_mnist-squares.png": lambda rng: png(inked(
        ruled(paper(i := mnist(4, 12, 6, (240, 240), (36, 36)), WHITE, rng, grain=0), 24,
              squares=True), i, BLUE_BLACK).quantize(32, dither=Image.Dither.NONE)),
    # Five
    "5_loose-bar.png": lambda rng: png(plain(
        pen(5, rng, (200, 240), 140, 10, glyph="loose", hand=HandStyle(slant=0.12)))),
    "5_photo.jpg": lambda rng: jpeg(inked(
        paper(i := pen(5, rng, (640, 480), 200, 13, glyph="one", at=(120, 160)), GRAY, rng,
              grain=3, shade=0.55), i, BLUE)),
    "5_palette.png": lambda rng: png(
        plain(pen(5, rng, (150, 150), 100, 14, glyph="bar"), GREEN, PINK).quantize(
            16, dither=Image.Dither.NONE)),
    "5_mnist-red.jpg": lambda rng: jpeg(inked(
        paper(i := mnist(5, 20, 9, (400, 300), (90, 20)), WHITE, rng, shade=0.2), i, RED)),
    # Six
    "6_paint-thick.png": lambda rng: png(plain(
        pen(6, rng, (64, 64), 42, 9, glyph="round", hand=HandStyle(), antialias=False))),
    "6_off-center.jpg": lambda rng: jpeg(inked(
        paper(i := pen(6, rng, (600, 450), 110, 8, glyph="straight", at=(30, 300)), CREAM, rng,
              shade=0.3), i, BLUE_BLACK)),
    "6_16-bit.png": lambda rng: png(gray16(pen(6, rng, (160, 160), 110, 10, glyph="round"))),
    "6_upside-down-by-exif.jpg": lambda rng: jpeg(inked(
        paper(i := pen(6, rng, (300, 300), 180, 16, glyph="round"), WHITE, rng, shade=0.3),
        i, GREEN), turned=180),
    # Seven
    "7_crossed.jpg": lambda rng: jpeg(inked(
        paper(i := pen(7, rng, (320, 360), 200, 12, glyph="crossed", hand=HandStyle(slant=0.2)),
              CREAM, rng, shade=0.4), i, BLUE)),
    "7_hook.png": lambda rng: png(plain(pen(7, rng, (100, 100), 66, 5, glyph="hook"))),
    "7_transparent-marker.png": lambda rng: png(transparent(
        pen(7, rng, (300, 300), 190, 34, glyph="plain"), RED)),
    "7_mnist-board.jpg": lambda rng: jpeg(inked(
        paper(i := mnist(7, 30, 6, (300, 300), (60, 70)), BOARD, rng, grain=5), i, CHALK)),
    # Eight
    "8_one-stroke.png": lambda rng: png(plain(
        pen(8, rng, (240, 240), 150, 11, glyph="one", hand=HandStyle(slant=0.1)))),
    "8_circles.bmp": lambda rng: encode(plain(
        pen(8, rng, (120, 120), 80, 6, glyph="circles", antialias=False)).convert("1"), "BMP"),
    "8_specks.jpg": lambda rng: jpeg(inked(
        specks(paper(i := pen(8, rng, (400, 400), 180, 13, glyph="circles"), WHITE, rng,
                     shade=0.25), 25, rng),
        i, BLUE_BLACK)),
    "8_mnist-large.png": lambda rng: png(
        gray(mnist(8, 40, 60, (2200, 2000), (300, 150))).quantize(8)),
    # Nine
    "9_straight.gif": lambda rng: encode(
        plain(pen(9, rng, (140, 180), 110, 9, glyph="straight")).quantize(8), "GIF"),
    "9_curved.jpg": lambda rng: jpeg(inked(
        paper(i := pen(9, rng, (360, 360), 190, 16, glyph="curved"), YELLOW, rng, shade=0.3),
        i, BLUE_BLACK)),
    "9_white-on-black-thick.png": lambda rng: png(plain(
        pen(9, rng, (200, 200), 120, 30, glyph="straight", hand=HandStyle()), WHITE, BLACK)),
    "9_mnist-cream.webp": lambda rng: encode(inked(
        paper(i := mnist(9, 50, 8, (320, 320), (50, 40)), CREAM, rng, grain=1, shade=0.3),
        i, BLUE), "WEBP"),
    # More than one
    "90210_postcode.jpg": lambda rng: jpeg(inked(
        paper(i := number("90210", rng, (900, 300), 130, 10, gap=0.3), CREAM, rng, shade=0.35),
        i, BLUE)),
    "124750_amount.png": lambda rng: png(plain(
        number("1,247.50", rng, (700, 200), 90, 8, gap=0.28), BLUE_BLACK)),
    "38065_mnist-line.png": lambda rng: png(Image.fromarray(np.hstack(
        [mnist(digit, 60, 2, (52, 70), (-2, 6)) for digit in (3, 8, 0, 6, 5)]))),
}
# fmt: on


def draw_scan(name: str) -> bytes:
    """Return a scan as a file; its random seed is its name."""
    return SCANS[name](np.random.default_rng(zlib.crc32(name.encode())))


def decode(file: bytes) -> NDArray[np.float32]:
    """Return the pixels of a file, followed by its EXIF orientation."""
    with Image.open(io.BytesIO(file)) as image:
        orientation = image.getexif().get(0x0112, 0)
        deep = image.mode == "I;16"
        pixels = np.asarray(image if deep else image.convert("RGBA"), np.float32)
        return np.append(pixels, np.float32(orientation))


def differences(folder: Path) -> list[str]:
    """Return the names of missing, surplus and different files in the folder."""
    present = {path.name for path in folder.iterdir()}
    different = sorted(present ^ SCANS.keys())
    for name in sorted(present & SCANS.keys()):
        stored, expected = decode((folder / name).read_bytes()), decode(draw_scan(name))
        same = stored.shape == expected.shape and stored[-1] == expected[-1]
        if not same or np.abs(stored - expected).mean() > MAX_DIFFERENCE:
            different.append(name)
    return different


def main(argv: list[str] | None = None) -> int:
    """Draw the folder or check it; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Draw or check the example scans.", formatter_class=Help
    )
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 if different")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to fill or to check")
    args = parser.parse_args(argv)

    if args.check:
        different = differences(args.output)
        verdict = f"differs in {', '.join(different)}" if different else "matches the script"
        print(f"{args.output}: {verdict}")
        return 1 if different else 0
    args.output.mkdir(exist_ok=True)
    for name in SCANS:
        (args.output / name).write_bytes(draw_scan(name))
    total = sum((args.output / name).stat().st_size for name in SCANS)
    print(f"{args.output}: {len(SCANS)} files, {total} bytes")
    return 0


if __name__ == "__main__":
    run_script(main)
