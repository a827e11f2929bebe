"""People's own pictures of digits: opened with care, and brought into MNIST's form."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minicnn.recognizer.mnist_format import fit_to_mnist_field
from minicnn.recognizer.segmentation import Ink, connected_components, find_ink

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# Pillow reads many more, some of which run other programs or are no pictures.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO")
MAX_BYTES = 64 * 1024**2
MAX_PIXELS = 64_000_000  # 8000 × 8000
SPECK = 0.02  # a piece smaller than this share of the largest is no part of a digit
NEAR = 0.4  # nor is one that lies further from it than this share of its longer side

ImageSource = Any  # path, bytes, Pillow image or array


class ImageError(ValueError):
    """A picture that cannot be used; the message names it and says why."""


class BlankImageError(ImageError):
    """A picture on which nothing is drawn."""


def to_mnist_format(image: ImageSource) -> NDArray[np.uint8]:
    """Turn a picture of one digit into what a network trained on MNIST knows.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image or ndarray
        A file, a file's content, a picture in any of Pillow's modes, or an array ``(H, W)``,
        ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` of uint8, uint16, bool or float in 0..1.

    Returns
    -------
    ndarray of uint8 (28, 28)
        255 is ink. The longer side of the digit is 20 pixels, its center of mass within half a
        pixel of index 14 in both directions.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImageError
        If it is no picture, damaged, too large, or of a dtype or shape that is not listed.
    BlankImageError
        If nothing is drawn on it.
    """
    name, gray = read_gray(image)
    ink = find_ink(gray)
    if not ink.mask.any():
        raise BlankImageError(f"{name}: nothing is drawn on this picture; draw one digit, darker")
    return fit_to_mnist_field(_keep_digit(ink).darkness)


def _keep_digit(ink: Ink) -> Ink:
    """Keep the pieces of one digit: the largest, and those near it that are more than specks.

    On a photo the largest is looked for among the pieces that do not reach the border, if there are
    any: the edge of a table or a shadow does, the digit that the photo was taken of does not.
    """
    labels, boxes, areas = connected_components(ink.mask)
    H, W = ink.mask.shape
    inside = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < (H, W)).all(axis=1)
    inside &= areas > SPECK * areas.sum()
    candidates = inside if not ink.even and inside.any() else areas > 0
    main = int(np.where(candidates, areas, 0).argmax())
    top, left, bottom, right = boxes[main]
    reach = NEAR * max(bottom - top, right - left)
    gaps = np.maximum(boxes[:, :2] - (bottom, right), (top, left) - boxes[:, 2:])
    kept = candidates & (gaps <= reach).all(axis=1) & (areas >= SPECK * areas[main])
    mask = np.concatenate([[False], kept])[labels]
    return ink._replace(darkness=np.where(mask, ink.darkness, np.float32(0)), mask=mask)


# ---------------------------------------------------------------- opening


def read_gray(image: ImageSource) -> tuple[str, NDArray[np.uint8]]:
    """Open a picture and return its name for messages and its brightness.

    Parameters
    ----------
    image : path, bytes, PIL.Image.Image or ndarray
        As in `to_mnist_format`.

    Returns
    -------
    name : str
    gray : ndarray of uint8 (H, W)
        Transparency is laid on white, or on black if more is seen then.

    Raises
    ------
    FileNotFoundError, ImageError
        As in `to_mnist_format`.
    """
    from PIL import Image

    if isinstance(image, np.ndarray):
        name = f"array {image.shape} of {image.dtype}"
        return name, _gray(_from_array(image, name))
    if isinstance(image, Image.Image):
        name = f"{image.mode} image of {image.width}×{image.height}"
        return name, _decoded(image, name)
    if isinstance(image, (bytes, bytearray)):
        return "bytes", _from_bytes(bytes(image), "bytes")
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(
            f"to_mnist: image must be a path, bytes, a Pillow image or an array, not {image!r}"
        )
    path = Path(image)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; a picture is wanted")
    if not path.is_file():
        raise ImageError(f"{path} is a folder or a device, not a picture")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ImageError(f"{path} has {size} bytes; pictures may have {MAX_BYTES}")
    return str(path), _from_bytes(path.read_bytes(), str(path))


def _from_bytes(data: bytes, name: str) -> NDArray[np.uint8]:
    from PIL import Image

    Image.init()  # without which Pillow knows half of the formats by name only
    if not data:
        raise ImageError(f"{name}: the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{name} has {len(data)} bytes; pictures may have {MAX_BYTES}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks about odd files: what counts is below
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: {error}") from error
        except Exception as error:  # a hostile file can make a decoder raise anything
            raise ImageError(
                f"{name} is not a picture that can be read ({', '.join(FORMATS)}): {error}"
            ) from error
        return _decoded(image, name)


def _decoded(image: PillowImage, name: str) -> NDArray[np.uint8]:
    """Check the size before a pixel is decoded, then decode, turn upright and make gray."""
    from PIL import ImageOps

    if image.width * image.height > MAX_PIXELS or not image.width * image.height:
        raise ImageError(
            f"{name} is {image.width}×{image.height} pixels; a picture may have 1 to {MAX_PIXELS}"
        )
    try:
        return _gray(ImageOps.exif_transpose(image))
    except Exception as error:  # a hostile file can make a decoder raise anything
        raise ImageError(f"{name} is damaged or cut short: {error}") from error


def _gray(image: PillowImage) -> NDArray[np.uint8]:
    from PIL import Image

    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        grounds = [Image.new("RGBA", image.size, color) for color in ("white", "black")]
        on = [np.asarray(Image.alpha_composite(ground, rgba).convert("L")) for ground in grounds]
        return on[1] if 2 * int(np.ptp(on[0])) < int(np.ptp(on[1])) else on[0]
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _to_levels(np.asarray(image))
    if image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _to_levels(array: NDArray[Any]) -> NDArray[np.uint8]:
    top = float(array.max())
    full = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0
    return np.round(np.clip(array / full, 0, 1) * 255).astype(np.uint8)


def _from_array(array: NDArray[Any], name: str) -> PillowImage:
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise ImageError(f"{name}: wanted is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif array.dtype == np.uint16:
        array = np.round(array / 257).astype(np.uint8)
    elif array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"{name}: floats must lie in 0..1; give 0..255 as uint8")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"{name}: the dtype must be uint8, uint16, bool or float")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(f"{name}: a picture may have {MAX_PIXELS} pixels at most")
    return Image.fromarray(np.ascontiguousarray(array))
