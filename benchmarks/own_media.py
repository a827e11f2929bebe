"""Media on which people draw digits: paint programs, transparency, paper, boards, photos.

A digit is a list of strokes as in ``minicnn/recognizer/synthetic.py``: lines in units of its
height. Each medium draws it as somebody might, and returns a file or an array, as
`minicnn.to_mnist_format` takes them. What is random is drawn from the generator that is handed
 over.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from minicnn.recognizer.synthetic import Stroke, draw

Random = np.random.Generator
Mask = NDArray[np.uint8]  # (H, W): 255 where ink covers the paper
Strokes = Sequence[Stroke]
Medium = Callable[[Strokes, Random], bytes]


def written(
    strokes: Strokes,
    rng: Random,
    side: int,
    pen: float,
    *,
    share: tuple[float, float] = (0.5, 0.85),
    margin: float = 0.0,
    soft: bool = False,
    pressure: float = 0.0,
) -> Mask:
    """Draw at a random place of a square canvas, as high as a random share of its side."""
    height = rng.uniform(*share) * side
    widest = max(float(stroke[:, 0].max()) for stroke in strokes)
    edge = margin * side + pen / 2
    height *= min(1.0, (side - 2 * edge) / max(1e-6, widest * height))
    room = np.maximum(np.array([side - widest * height, side - height]) - 2 * edge, 0.0)
    x, y = edge + rng.uniform(0, 1, 2) * room
    return draw(
        strokes, (side, side), height=height, pen=pen, origin=(x, y), soft=soft, pressure=pressure
    )


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def black_on_white(mask: Mask) -> Image.Image:
    return Image.fromarray(255 - mask)


def paint(side: int, pen: float, *, soft: bool = False) -> Medium:
    """Black on white in a paint program, with a pen of so many pixels."""
    return lambda strokes, rng: png(
        black_on_white(written(strokes, rng, side, pen, soft=soft, share=(0.5, 0.9)))
    )


def large(smallest: int, largest: int, pen: tuple[float, float]) -> Medium:
    """Draw on a large canvas, with a pen of so large a share of its side."""

    def medium(strokes: Strokes, rng: Random) -> bytes:
        side = int(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
        width = max(1.0, side * rng.uniform(*pen))
        return png(black_on_white(written(strokes, rng, side, width, share=(0.35, 0.9))))

    return medium


def reduced(strokes: Strokes, rng: Random) -> bytes:
    """Draw on a canvas of some hundred pixels, then scale it to 28×28 as a program would."""
    side = int(rng.integers(100, 500))
    mask = written(strokes, rng, side, side * rng.uniform(0.03, 0.12), share=(0.5, 0.9))
    how = [Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.BOX]
    return png(black_on_white(mask).resize((28, 28), how[rng.integers(3)]))


def small_on_large(strokes: Strokes, rng: Random) -> bytes:
    """Draw a small digit somewhere on a large canvas."""
    side = int(rng.integers(300, 1500))
    share = rng.uniform(0.05, 0.12)
    pen = max(1.0, side * share * rng.uniform(0.05, 0.13))
    return png(black_on_white(written(strokes, rng, side, pen, share=(share, share))))


def transparent(kind: str) -> Medium:
    """Draw with ink on nothing; `kind` is the color, or "alpha": white throughout."""

    def medium(strokes: Strokes, rng: Random) -> bytes:
        side = int(rng.choice([28, 64, 280, 600]))
        pen = max(1.0, side * rng.uniform(0.04, 0.1))
        mask = written(strokes, rng, side, pen, soft=bool(rng.integers(2)))
        level = 0 if kind == "black" else 255
        color = np.full((side, side, 3), level, np.uint8)
        if kind == "white":
            color[mask == 0] = 0  # what lies under full transparency is left to chance
        return png(Image.fromarray(np.dstack([color, mask])))

    return medium


def colored(strokes: Strokes, rng: Random) -> bytes:
    """Draw in one color on another, of different brightness."""
    side = int(rng.choice([28, 64, 200, 500]))
    weights = np.array([0.299, 0.587, 0.114])
    while True:
        ink, paper = rng.integers(0, 256, (2, 3))
        if abs(float((ink - paper) @ weights)) > 50:
            break
    mask = written(strokes, rng, side, max(1.0, side * rng.uniform(0.04, 0.12)), soft=True)
    cover = mask[..., None] / 255
    return png(Image.fromarray(np.rint(paper * (1 - cover) + ink * cover).astype(np.uint8)))


def yellow(strokes: Strokes, rng: Random) -> bytes:
    """Draw in yellow on white, which is seen in the blue channel alone."""
    side = int(rng.integers(100, 600))
    mask = written(strokes, rng, side, side * rng.uniform(0.04, 0.1))
    cover = mask[..., None] / 255
    return png(Image.fromarray(np.rint(255 - cover * [0, 0, 255]).astype(np.uint8)))


def white_on_black(strokes: Strokes, rng: Random) -> bytes:
    side = int(rng.choice([28, 64, 280, 1000]))
    mask = written(strokes, rng, side, max(1.0, side * rng.uniform(0.04, 0.12)), soft=True)
    return png(Image.fromarray(mask))


def small_jpeg(strokes: Strokes, rng: Random) -> bytes:
    """Draw on a small canvas and store it as a JPEG of low quality."""
    side = int(rng.choice([28, 48, 100, 200]))
    mask = written(strokes, rng, side, max(1.5, side * rng.uniform(0.05, 0.12)), soft=True)
    return jpeg(black_on_white(mask), int(rng.integers(30, 80)))


def smooth(rng: Random, side: int, cells: int) -> NDArray[np.float32]:
    """Return a smooth random surface with values from 0 to 1."""
    coarse = Image.fromarray(rng.uniform(0, 1, (cells, cells)).astype(np.float32))
    surface: NDArray[np.float32] = np.asarray(
        coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32
    )
    return np.clip(surface, 0, 1)


def light(rng: Random, side: int) -> NDArray[np.float32]:
    """Return how much light falls where: a slope, darker corners, and often a shadow's edge."""
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    brightness = 1 + rng.uniform(0, 0.25) * along - rng.uniform(0, 0.2) * (x**2 + y**2)
    if rng.random() < 0.6:
        edge = (along * rng.choice([-1, 1]) - rng.uniform(-0.6, 0.8)) / rng.uniform(0.03, 0.4)
        brightness *= 1 - rng.uniform(0.15, 0.5) / (1 + np.exp(-np.clip(6 * edge, -50, 50)))
    return np.asarray(brightness / brightness.max() * rng.uniform(0.6, 1.0), np.float32)


def photo(*, pen: tuple[float, float], lines: str = "", board: bool = False) -> Medium:
    """Photograph a sheet: grain, uneven light, turned a little, seen at an angle, noise, JPEG."""

    def medium(strokes: Strokes, rng: Random) -> bytes:
        side = int(np.exp(rng.uniform(np.log(250), np.log(1000))))
        mask = written(strokes, rng, side, max(1.5, side * rng.uniform(*pen)), share=(0.25, 0.6),
                       margin=0.15, soft=side < 1000, pressure=rng.uniform(0, 0.2))  # fmt: skip
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
        picture = _from_aside(Image.fromarray(np.rint(scene * 255).astype(np.uint8)), rng)
        grain = rng.normal(0, rng.uniform(1, 6), (side, side, 1))
        noisy = np.clip(np.asarray(picture, np.float64) + grain, 0, 255)
        return jpeg(Image.fromarray(noisy.astype(np.uint8)), int(rng.integers(50, 92)))

    return medium


def _rule(sheet: NDArray[np.float64], rng: Random, *, squared: bool) -> None:
    """Print pale lines on a sheet."""
    side = len(sheet)
    every = max(8, round(side * rng.uniform(0.06, 0.16)))
    thick = max(1, side // 400)
    color = np.array([0.6, 0.72, 0.88]) * rng.uniform(0.85, 1.05)
    for first in range(int(rng.integers(every)), side, every):
        sheet[first : first + thick] = color
        if squared:
            sheet[:, first : first + thick] = color


def _from_aside(picture: Image.Image, rng: Random) -> Image.Image:
    """Turn a picture by some degrees and look at it from one side; nothing beyond it is seen."""
    side = picture.width
    turned = picture.rotate(float(rng.normal(0, 3)), Image.Resampling.BICUBIC)
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], float)  # as Pillow's QUAD wants them
    inset = 0.06 + rng.uniform(0, 0.06, (4, 2))
    quad = np.where(corners == 0, inset, 1 - inset) * side
    return turned.transform(
        (side, side), Image.Transform.QUAD, tuple(quad.ravel()), Image.Resampling.BICUBIC
    )


MEDIA: dict[str, Medium] = {
    "paint 28×28, pen of 1": paint(28, 1),
    "paint 28×28, pen of 2": paint(28, 2),
    "paint 28×28, pen of 3": paint(28, 3),
    "paint 28×28, pen of 4": paint(28, 4),
    "paint 28×28, soft pen of 1.5": paint(28, 1.5, soft=True),
    "paint 28×28, soft pen of 2.5": paint(28, 2.5, soft=True),
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
