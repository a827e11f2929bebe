"""The sheet that every figure is drawn on: opaque white, whatever the theme of the notebook."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

# Colors that can be told apart by everyone (Okabe and Ito, "Color universal design", 2008).
BLUE, VERMILION, PALE = "#0072B2", "#D55E00", "#A9CCE3"
INK, GRAY, LIGHT = "#222222", "#666666", "#CCCCCC"

FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same
SMALL, NORMAL, LARGE = 7.0, 9.0, 11.0  # points

STYLE: dict[str, Any] = {
    "figure.dpi": 120,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
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


# A decorator. matplotlib looks settings up when a part is made and again when it is drawn.
own_style = style.context(["default", STYLE])


class Sheet(Figure):
    """A figure on opaque white paper, the same whatever style the user has set.

    A notebook shows it by itself: no backend need be chosen, and nothing of pyplot is touched.

    Parameters
    ----------
    width, height : float
        In inches.
    arranged : bool
        Whether matplotlib finds places for axes and labels; otherwise the caller does.
    """

    @own_style
    def __init__(self, width: float, height: float, *, arranged: bool = False) -> None:
        super().__init__(figsize=(width, height), layout="constrained" if arranged else None)

    @own_style
    def draw(self, renderer: RendererBase) -> None:
        """Draw it in its own style.

        Parameters
        ----------
        renderer : matplotlib.backend_bases.RendererBase
        """
        super().draw(renderer)

    @own_style
    def savefig(self, fname: Any, **options: Any) -> None:
        """Write it to a file, in its own style.

        Parameters
        ----------
        fname : str, os.PathLike or binary file
        **options
            As for `matplotlib.figure.Figure.savefig`.
        """
        super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def inches(width: float, height: float) -> tuple[Sheet, Axes]:
    """Make a sheet to lay out by hand: x to the right, y down, both in inches, no frame.

    Parameters
    ----------
    width, height : float

    Returns
    -------
    sheet : Sheet
    axes : matplotlib.axes.Axes
    """
    sheet = Sheet(width, height)
    axes = sheet.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0))
    return sheet, axes


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Measure a line of text in bold letters, the widest.

    Parameters
    ----------
    text : str
    size : float
        In points.

    Returns
    -------
    float
        In inches.
    """
    plain = text.replace("$", r"\$") + "|"  # no mathematics, and a space at the end counts
    path = TextPath((0, 0), plain, size, prop=FontProperties(family=FONT, weight="bold"))
    return 1.03 * float(path.vertices[:, 0].max()) / 72  # drawn, a letter starts at a whole pixel


def readable(text: str, size: float, width: float = np.inf) -> str:
    """Make a text fit to be drawn: without signs that the font lacks, and short enough.

    Parameters
    ----------
    text : str
    size : float
        In points.
    width : float
        In inches; what is longer loses its middle.

    Returns
    -------
    str
    """
    known = get_font(findfont(FONT)).get_charmap()
    text = "".join(sign if ord(sign) in known else "\N{REPLACEMENT CHARACTER}" for sign in text)
    if text_width(text, size) <= width:
        return text
    keep = int(len(text) * width / text_width(text, size))
    while True:  # the letters that stay may be wide ones
        head, tail = -(-keep // 2), keep // 2
        shorter = f"{text[:head]}…{text[len(text) - tail :]}"
        if keep == 0 or text_width(shorter, size) <= width:
            return shorter
        keep -= 1


def percent(share: float) -> str:
    """Write a share in per cent, so that only nothing reads as 0 and only all as 100.

    Parameters
    ----------
    share : float
        0 to 1.

    Returns
    -------
    str
    """
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def write(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write plain text: signs that mean mathematics to matplotlib mean themselves.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    x, y : float
    text : str
    **options
        As for `matplotlib.axes.Axes.text`.
    """
    axes.text(x, y, text, parse_math=False, **options)


def picture(
    axes: Axes,
    image: NDArray[Any],
    place: tuple[float, float, float, float],
    colors: str = "gray",
    limits: tuple[float, float] = (0, 1),
) -> None:
    """Put an image on a sheet, with a thin frame.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        From `inches`.
    image : ndarray (H, W), (H, W, 3) or (H, W, 4)
    place : tuple of float
        Left, top, width and height.
    colors : str
        Color map of an image without colors.
    limits : tuple of float
        What its ends stand for.
    """
    x, y, width, height = place
    axes.imshow(
        image,
        extent=(x, x + width, y + height, y),
        aspect="auto",
        cmap=colors,
        vmin=limits[0],
        vmax=limits[1],
    )
    frame = Rectangle((x, y), width, height, fill=False, edgecolor=LIGHT, linewidth=0.5)
    axes.add_patch(frame)
