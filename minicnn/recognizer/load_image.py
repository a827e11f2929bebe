"""Load images from files, bytes, Pillow images and arrays as gray levels.

Files come from strangers: size limits are checked before anything is decoded, and every failure is
an `ImageError` that names the file.
"""

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Pillow reads more formats; several of them start other programs or hold no pixels.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO")
MAX_BYTES = 64 * 1024**2
MAX_PIXELS = 64_000_000  # 8000 × 8000

ImageSource = str | os.PathLike[str] | bytes | bytearray | Image.Image | NDArray[Any]


class ImageError(ValueError):
    """An image that cannot be used; the message names it and gives the reason."""


class BlankImageError(ImageError):
    """An image without ink."""


def read_gray(image: ImageSource) -> tuple[str, NDArray[np.uint8]]:
    """Return a name of the image for messages, and its gray levels (H, W)."""
    if isinstance(image, np.ndarray):
        name = f"array {image.shape} of {image.dtype}"
        return name, decode(array_to_pillow(image, name), name)
    if isinstance(image, Image.Image):
        name = f"{image.mode} image of {image.width}×{image.height}"
        return name, decode(image, name)
    if isinstance(image, (bytes, bytearray)):
        check_size(len(image), "bytes")
        return "bytes", decode_file(bytes(image), "bytes")
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(
            f"image must be a path, bytes, a Pillow image or an array, not {image!r}; "
            "for example, give the path of a PNG file"
        )
    path = Path(image)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the path of an image file")
    if not path.is_file():
        raise ImageError(f"{path} is a folder or a device; give the path of an image file")
    check_size(path.stat().st_size, str(path))
    return str(path), decode_file(path.read_bytes(), str(path))


def check_size(size: int, name: str) -> None:
    """Raise ImageError if a file is empty or too large."""
    if not size:
        raise ImageError(f"{name}: the file is empty")
    if size > MAX_BYTES:
        raise ImageError(f"{name} has {size} bytes; the limit is {MAX_BYTES}")


def decode_file(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file."""
    Image.init()  # without it Pillow has loaded half of the formats only
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd files that it reads well
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: {error}") from error
        except Exception as error:  # a hostile file can make a decoder raise any exception
            raise ImageError(
                f"{name} is not a readable image ({', '.join(FORMATS)}): {error}"
            ) from error
        return decode(image, name)


def decode(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """Decode pixels within the size limit, upright, as gray levels."""
    W, H = image.size
    if not 1 <= W * H <= MAX_PIXELS:
        raise ImageError(f"{name}: the number of pixels must be 1 to {MAX_PIXELS}, not {W}×{H}")
    try:
        return to_gray(ImageOps.exif_transpose(image))
    except Exception as error:  # a hostile file can make a decoder raise any exception
        raise ImageError(f"{name} is damaged or truncated: {error}") from error


def to_gray(image: Image.Image) -> NDArray[np.uint8]:
    """Convert to gray levels, with transparent pixels as paper."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        papers = [Image.new("RGBA", image.size, color) for color in ("white", "black")]
        on_white, on_black = (
            np.asarray(Image.alpha_composite(paper, rgba).convert("L")) for paper in papers
        )
        # White ink on transparency shows on black only.
        return on_black if 2 * int(np.ptp(on_white)) < int(np.ptp(on_black)) else on_white
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        levels = np.asarray(image)
        top = float(levels.max())
        # The smallest range that fits.
        return scale_to_uint8(levels, 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0)
    if image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def scale_to_uint8(array: NDArray[Any], full: float) -> NDArray[np.uint8]:
    """Scale from 0..`full` to 0..255."""
    return np.round(np.clip(array / full, 0, 1) * 255).astype(np.uint8)


def array_to_pillow(array: NDArray[Any], name: str) -> Image.Image:
    """Convert an array to a Pillow image with 8 bits per channel."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise ImageError(f"{name}: the shape must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16, np.bool_):
        raise ImageError(f"{name}: the dtype must be uint8, uint16, bool or float")
    if array.dtype.kind == "f" and not (array.min() >= 0 and array.max() <= 1):
        raise ImageError(f"{name}: floats must be 0 to 1; convert 0..255 to uint8")
    if array.dtype != np.uint8:
        array = scale_to_uint8(array, 65535.0 if array.dtype == np.uint16 else 1.0)
    return Image.fromarray(np.ascontiguousarray(array))
