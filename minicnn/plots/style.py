"""Figure style: white background, colors, fonts, and drawing in inches."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

# Colors that color-blind readers can tell apart (Okabe and Ito, "Color universal design", 2008).
BLUE, VERMILION, PALE = "#0072B2", "#D55E00", "#A9CCE3"
INK, GRAY, LIGHT = "#222222", "#666666", "#CCCCCC"
# A color for a sign is blue below 0 and orange above, here and in examples/explorer/format.js.
_STOPS = ["#0d366e", "#2166ac", "#78abd6", "#f4f4f1", "#f7b267", "#d16210", "#782d04"]
SIGNED = LinearSegmentedColormap.from_list("signed", _STOPS, 241)  # 40 shades between stops

FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same
SMALL, NORMAL, LARGE = 7.0, 9.0, 11.0  # points
MARGIN = 0.15  # inches, around a figure
NOTE: dict[str, Any] = {"fontsize": SMALL, "color": GRAY}
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}

STYLE: dict[str, Any] = {
    "figure.dpi": 120,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "font.family": FONT,
    "font.size": NORMAL,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRAY,
    "axes.titlesize": NORMAL,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": "#EEEEEE",
    "legend.frameon": False,
}


# A decorator. matplotlib reads its settings when an artist is made and again when it is drawn.
own_style = style.context(["default", STYLE])


class Sheet(Figure):
    """A figure on opaque white, whatever style the user has set.

    A notebook displays it without a backend and without pyplot. With `arranged` matplotlib
    lays out axes and labels; without it the caller does.
    """

    @own_style
    def __init__(self, width: float, height: float, *, arranged: bool = False) -> None:
        super().__init__(figsize=(width, height), layout="constrained" if arranged else None)

    @own_style
    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure in its own style."""
        super().draw(renderer)

    @own_style
    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure to a file in its own style."""
        super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def inches(width: float, height: float, title: str = "") -> tuple[Sheet, Axes]:
    """Make a sheet with axes in inches: x to the right, y down, no frame.

    A margin around width and height is added. A long title widens the sheet.
    """
    width = max(width, text_width(title, LARGE))
    sheet = Sheet(width + 2 * MARGIN, height + 2 * MARGIN)
    axes = sheet.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-MARGIN, width + MARGIN), ylim=(height + MARGIN, -MARGIN))
    write(axes, 0, 0.15, title, fontsize=LARGE, fontweight="bold")
    return sheet, axes


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Measure a line of bold text of a size in points; return inches."""
    plain = text.replace("$", r"\$") + "|"  # no mathematics, and a space at the end counts
    path = TextPath((0, 0), plain, size, prop=FontProperties(family=FONT, weight="bold"))
    return 1.03 * float(path.vertices[:, 0].max()) / 72  # drawn, a letter starts at a whole pixel


def readable(text: str, size: float, width: float = np.inf) -> str:
    """Shorten a text to `width` inches; replace characters without a glyph."""
    known = get_font(findfont(FONT)).get_charmap()
    text = "".join(sign if ord(sign) in known else "\N{REPLACEMENT CHARACTER}" for sign in text)
    if text_width(text, size) <= width:
        return text
    for keep in range(int(len(text) * width / text_width(text, size)), -1, -1):
        shorter = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
        if text_width(shorter, size) <= width:  # The remaining letters may be wide ones.
            break
    return shorter


def write(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Draw text without matplotlib's mathematics: ``$`` is a dollar sign."""
    axes.text(x, y, text, parse_math=False, **options)


def picture(
    axes: Axes,  # from `inches`
    image: NDArray[Any],  # (H, W), (H, W, 3) or (H, W, 4)
    x: float,  # the left edge
    y: float,  # the upper edge
    side: float,  # the longer side
    colors: str | Colormap = "gray",  # the color map of an image (H, W)
    limits: tuple[float, float] = (0, 1),  # the values at the ends of the color map
) -> None:
    """Draw an image with a thin frame."""
    H, W = image.shape[:2]
    width, height = side * W / max(H, W), side * H / max(H, W)
    extent = (x, x + width, y + height, y)
    low, high = limits
    axes.imshow(image, extent=extent, aspect="auto", cmap=colors, vmin=low, vmax=high)
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=LIGHT, linewidth=0.5))
