"""Media that people draw digits with: paint programs, paper, photos.

A digit is a list of strokes from `minicnn.recognizer.synthetic`, in units of its height. A medium
is a function of the strokes and a random generator that returns an image file.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from minicnn.recognizer.synthetic import Stroke, render_strokes

Random = np.random.Generator
Mask = NDArray[np.uint8]  # (H, W), 255 = ink
Strokes = Sequence[Stroke]
Medium = Callable[[Strokes, Random], bytes]


def draw(
    strokes: Strokes,
    rng: Random,
    side: int,
    pen: float,
    *,
    heights: tuple[float, float] = (0.5, 0.85),  # range of the digit's height, in sides
    margin: float = 0.0,  # in sides
    antialias: bool = False,
    pressure: float = 0.0,
) -> Mask:
    """Draw at a random position of a square canvas."""
    height = rng.uniform(*heights) * side
    width = max(float(stroke[:, 0].max()) for stroke in strokes)
    edge = margin * side + pen / 2
    height *= min(1.0, (side - 2 * edge) / max(1e-6, width * height))
    free = np.maximum(np.array([side - width * height, side - height]) - 2 * edge, 0.0)
    x, y = edge + rng.uniform(0, 1, 2) * free
    return render_strokes(
        strokes,
        (side, side),
        height=height,
        pen=pen,
        origin=(x, y),
        antialias=antialias,
        pressure=pressure,
    )


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode an image as JPEG."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def black_on_white(mask: Mask) -> Image.Image:
    """Return black ink on white."""
    return Image.fromarray(255 - mask)


def paint(side: int, pen: float, *, antialias: bool = False) -> Medium:
    """Draw black on white in a paint program, with a pen of `pen` pixels."""
    return lambda strokes, rng: png(
        black_on_white(draw(strokes, rng, side, pen, antialias=antialias, heights=(0.5, 0.9)))
    )


def large(smallest: int, largest: int, pen: tuple[float, float]) -> Medium:
    """Draw on a large canvas, with a pen relative to its side."""

    def medium(strokes: Strokes, rng: Random) -> bytes:
        side = int(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
        width = max(1.0, side * rng.uniform(*pen))
        return png(black_on_white(draw(strokes, rng, side, width, heights=(0.35, 0.9))))

    return medium


def reduced(strokes: Strokes, rng: Random) -> bytes:
    """Draw on a canvas of 100 to 499 pixels and resize it to 28×28."""
    side = int(rng.integers(100, 500))
    mask = draw(strokes, rng, side, side * rng.uniform(0.03, 0.12), heights=(0.5, 0.9))
    methods = [Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.BOX]
    return png(black_on_white(mask).resize((28, 28), methods[rng.integers(3)]))


def small_on_large(strokes: Strokes, rng: Random) -> bytes:
    """Draw a small digit on a large canvas."""
    side = int(rng.integers(300, 1500))
    height = rng.uniform(0.05, 0.12)
    pen = max(1.0, side * height * rng.uniform(0.05, 0.13))
    return png(black_on_white(draw(strokes, rng, side, pen, heights=(height, height))))


def transparent(kind: str) -> Medium:
    """Draw on transparency; kind "alpha" has white color in every pixel."""

    def medium(strokes: Strokes, rng: Random) -> bytes:
        side = int(rng.choice([28, 64, 280, 600]))
        pen = max(1.0, side * rng.uniform(0.04, 0.1))
        mask = draw(strokes, rng, side, pen, antialias=bool(rng.integers(2)))
        level = 0 if kind == "black" else 255
        color = np.full((side, side, 3), level, np.uint8)
        if kind == "white":
            color[mask == 0] = 0  # the color of fully transparent pixels is arbitrary
        return png(Image.fromarray(np.dstack([color, mask])))

    return medium


def colored(strokes: Strokes, rng: Random) -> bytes:
    """Draw in one color on another, with different brightness."""
    side = int(rng.choice([28, 64, 200, 500]))
    weights = np.array([0.299, 0.587, 0.114])
    while True:
        ink, paper = rng.integers(0, 256, (2, 3))
        if abs(float((ink - paper) @ weights)) > 50:
            break
    mask = draw(strokes, rng, side, max(1.0, side * rng.uniform(0.04, 0.12)), antialias=True)
    cover = mask[..., None] / 255
    return png(Image.fromarray(np.rint(paper * (1 - cover) + ink * cover).astype(np.uint8)))


def yellow(strokes: Strokes, rng: Random) -> bytes:
    """Draw in yellow on white: only the blue channel has contrast."""
    side = int(rng.integers(100, 600))
    mask = draw(strokes, rng, side, side * rng.uniform(0.04, 0.1))
    cover = mask[..., None] / 255
    return png(Image.fromarray(np.rint(255 - cover * [0, 0, 255]).astype(np.uint8)))


def white_on_black(strokes: Strokes, rng: Random) -> bytes:
    """Draw white on black."""
    side = int(rng.choice([28, 64, 280, 1000]))
    mask = draw(strokes, rng, side, max(1.0, side * rng.uniform(0.04, 0.12)), antialias=True)
    return png(Image.fromarray(mask))


def small_jpeg(strokes: Strokes, rng: Random) -> bytes:
    """Draw on a small canvas and encode it as a JPEG of low quality."""
    side = int(rng.choice([28, 48, 100, 200]))
    mask = draw(strokes, rng, side, max(1.5, side * rng.uniform(0.05, 0.12)), antialias=True)
    return jpeg(black_on_white(mask), int(rng.integers(30, 80)))


def smooth(rng: Random, side: int, cells: int) -> NDArray[np.float32]:
    """Return a smooth random surface with values 0 to 1."""
    coarse = Image.fromarray(rng.uniform(0, 1, (cells, cells)).astype(np.float32))
    surface: NDArray[np.float32] = np.asarray(
        coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32
    )
    return np.clip(surface, 0, 1)


def light(rng: Random, side: int) -> NDArray[np.float32]:
    """Return the light on a sheet: a slope, dark corners, a shadow."""
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    brightness = 1 + rng.uniform(0, 0.25) * along - rng.uniform(0, 0.2) * (x**2 + y**2)
    if rng.random() < 0.6:
        edge = (along * rng.choice([-1, 1]) - rng.uniform(-0.6, 0.8)) / rng.uniform(0.03, 0.4)
        brightness *= 1 - rng.uniform(0.15, 0.5) / (1 + np.exp(-np.clip(6 * edge, -50, 50)))
    return np.asarray(brightness / brightness.max() * rng.uniform(0.6, 1.0), np.float32)


def photo(*, pen: tuple[float, float], lines: str = "", board: bool = False) -> Medium:
    """Photograph a sheet: grain, shadows, perspective, noise, JPEG."""

    def medium(strokes: Strokes, rng: Random) -> bytes:
        side = int(np.exp(rng.uniform(np.log(250), np.log(1000))))
        width = max(1.5, side * rng.uniform(*pen))
        mask = draw(strokes, rng, side, width, heights=(0.25, 0.6), margin=0.15,
                    antialias=side < 1000, pressure=rng.uniform(0, 0.2))  # fmt: skip
        cover = np.asarray(
            Image.fromarray(mask).filter(ImageFilter.GaussianBlur(side / 800)), np.float32
        )
        paper = np.array([0.97, 0.95, 0.9]) if rng.random() < 0.5 else np.full(3, 0.96)
        ink = np.array([[0.1, 0.1, 0.12], [0.12, 0.18, 0.5], [0.3, 0.3, 0.3]])[rng.integers(3)]
        if board:
            paper, ink = np.array([0.15, 0.25, 0.2]), np.array([0.9, 0.9, 0.87])
        sheet = paper * (1 - 0.04 * smooth(rng, side, 40)[..., None])
        if lines:
            _rule(sheet, rng, squared=lines == "squared")
        opacity = (cover / 255 * (1 - rng.uniform(0, 0.3) * rng.random(mask.shape)))[..., None]
        scene = (sheet * (1 - opacity) + ink * opacity) * light(rng, side)[..., None]
        image = _change_view(Image.fromarray(np.rint(scene * 255).astype(np.uint8)), rng)
        noise = rng.normal(0, rng.uniform(1, 6), (side, side, 1))
        noisy = np.clip(np.asarray(image, np.float64) + noise, 0, 255)
        return jpeg(Image.fromarray(noisy.astype(np.uint8)), int(rng.integers(50, 92)))

    return medium


def _rule(sheet: NDArray[np.float64], rng: Random, *, squared: bool) -> None:
    """Print pale lines or squares on a sheet, in place."""
    side = len(sheet)
    spacing = max(8, round(side * rng.uniform(0.06, 0.16)))
    width = max(1, side // 400)
    color = np.array([0.6, 0.72, 0.88]) * rng.uniform(0.85, 1.05)
    for first in range(int(rng.integers(spacing)), side, spacing):
        sheet[first : first + width] = color
        if squared:
            sheet[:, first : first + width] = color


def _change_view(image: Image.Image, rng: Random) -> Image.Image:
    """Rotate by a few degrees, change the perspective and crop."""
    side = image.width
    rotated = image.rotate(float(rng.normal(0, 3)), Image.Resampling.BICUBIC)
    unit_square = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], float)  # the order of Pillow's QUAD
    inset = 0.06 + rng.uniform(0, 0.06, (4, 2))
    quad = np.where(unit_square == 0, inset, 1 - inset) * side
    return rotated.transform(
        (side, side), Image.Transform.QUAD, tuple(quad.ravel()), Image.Resampling.BICUBIC
    )


MEDIA: dict[str, Medium] = {
    "paint 28×28, pen of 1": paint(28, 1),
    "paint 28×28, pen of 2": paint(28, 2),
    "paint 28×28, pen of 3": paint(28, 3),
    "paint 28×28, pen of 4": paint(28, 4),
    "paint 28×28, soft pen of 1.5": paint(28, 1.5, antialias=True),
    "paint 28×28, soft pen of 2.5": paint(28, 2.5, antialias=True),
    "scaled down to 28×28": reduced,
    "paint 64×64, pen of 1": paint(64, 1),
    "paint 64×64, pen of 6": paint(64, 6),
    "large, hairline": large(200, 3000, (0.001, 0.008)),
    "large, thin pen": large(100, 3000, (0.01, 0.03)),
    "large, usual pen": large(100, 3000, (0.03, 0.08)),
    "large, thick pen": large(100, 3000, (0.1, 0.15)),
    "small on a large canvas": small_on_large,
    "black on transparency": transparent("black"),
    "white on transparency": transparent("white"),
    "ink in alpha only": transparent("alpha"),
    "colored": colored,
    "yellow on white": yellow,
    "white on black": white_on_black,
    "small JPEG": small_jpeg,
    "photo, ballpoint": photo(pen=(0.006, 0.012)),
    "photo, felt pen": photo(pen=(0.015, 0.05)),
    "photo, ruled paper": photo(pen=(0.008, 0.03), lines="ruled"),
    "photo, squared paper": photo(pen=(0.008, 0.03), lines="squared"),
    "photo, chalk board": photo(pen=(0.015, 0.04), board=True),
}
