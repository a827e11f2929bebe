"""Load images from files, bytes, Pillow images and arrays as gray levels.

Files come from strangers: limits bound a decoder's work before it starts, large images are reduced
before any other step, and every failure is an `ImageError` that names the file.
"""

import contextlib
import io
import math
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# Pillow reads more formats; several of them start other programs or hold no pixels.
FORMATS = "PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "AVIF", "JPEG2000"
KEPT_SIDE = 2400  # longer images are reduced
MAX_SIDE = 65_535  # as in JPEG
# With these limits no file takes more than 5 s or 0.5 GB.
MAX_BYTES = 64 * 1024**2
MAX_PIXELS = 64_000_000  # 8000 × 8000, as decoded: a large JPEG is decoded at 1/2 to 1/8
MAX_PARTS = 200_000  # of a file; Pillow reads them in a loop of Python
MAX_PART = 600_000  # bytes of a part of a header; a longer one may list millions of strips
# Pixels and bytes of formats that decode slowly, or with several copies of all pixels.
LIMITS = {"WEBP": (16e6, 32e6), "AVIF": (16e6, 8e6), "JPEG2000": (8e6, 4e6)}
PYTHON_LIMITS = 1e6, 250e3  # of files decoded by Python code, as plain-text PPM is
MAX_SCANNED_PIXELS = 400e6  # pixels times scans of a JPEG whose coefficients are all kept
MIN_SCANS = 12  # counted for any such JPEG; its coefficients take 200 MB
MAX_BLACK = 16  # of 255; a picture without a brighter pixel is nearly black
STRIP_ROWS = 64  # of the reduced image, converted together
REDUCIBLE = {"1": "L", "L": "L", "I": "I", "F": "F"}  # the modes without color

ImageSource = str | os.PathLike[str] | bytes | bytearray | Image.Image | NDArray[Any]


class ImageError(ValueError):
    """An image that cannot be used; the message names it and gives the reason."""


class BlankImageError(ImageError):
    """An image without ink."""


class Picture(NamedTuple):
    """A reduced image: one pixel is `scale`×`scale` pixels of the source.

    `name` is for messages, `image` has the colors, `gray` (H, W) uint8 the gray levels, and `size`
    the width and height of the source. All are upright.
    """

    name: str
    image: Image.Image
    gray: NDArray[np.uint8]
    scale: int
    size: tuple[int, int]


class BoundedFile(io.BytesIO):
    """A file in memory that bounds the parts that Pillow reads."""

    parts = 0
    max_part = MAX_PART

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes; raise ImageError if there are too many parts or bytes."""
        self.parts += 1
        if self.parts > MAX_PARTS or (size or 0) > self.max_part:
            raise ImageError("it has too many or too long parts; save it anew as PNG or JPEG")
        return super().read(size)


def read_picture(image: ImageSource) -> Picture:
    """Decode and reduce an image of any kind."""
    if isinstance(image, np.ndarray):
        name = f"array {image.shape} of {image.dtype}"
        return decode(array_to_pillow(image, name), name)
    if isinstance(image, Image.Image):
        name = f"{image.mode} image of {image.width}×{image.height}"
        return decode(image, name)
    if isinstance(image, (bytes, bytearray)):
        return decode_file(bytes(image), "bytes")
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(f"image must be a path, bytes, a Pillow image or an array, not {image!r}")
    path = Path(image)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the path of an image file")
    if not path.is_file():
        raise ImageError(f"{path} is a folder or a device; give the path of an image file")
    check_size(path.stat().st_size, str(path), MAX_BYTES)
    return decode_file(path.read_bytes(), str(path))


def check_size(size: int, name: str, limit: float) -> None:
    """Raise ImageError if a file is empty or too large."""
    if not size:
        raise ImageError(f"{name}: the file is empty")
    if size > limit:
        raise ImageError(f"{name} has {size} bytes; the limit is {limit:.0f}; reduce the image")


def check_pixels(name: str, size: tuple[int, int], limit: float) -> None:
    """Raise ImageError unless an image has 1 to `limit` pixels."""
    W, H = size
    if not 1 <= W * H <= limit or max(size) > MAX_SIDE:
        raise ImageError(
            f"{name}: the number of pixels must be 1 to {limit:.0f}, and no side above {MAX_SIDE}, "
            f"not {W}×{H}; save a smaller image, as PNG"
        )


def decode_file(data: bytes, name: str) -> Picture:
    """Decode the first page of an image file; warn if it has more."""
    check_size(len(data), name, MAX_BYTES)
    data = drop_metadata(data) if data.startswith(b"\x89PNG") else data
    Image.init()  # without it Pillow has loaded half of the formats only
    formats = [known for known in FORMATS if known in Image.OPEN]  # AVIF needs Pillow 11.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd files that it reads well
        try:
            file = BoundedFile(data)
            image: Any = Image.open(file, formats=formats)
            file.max_part = MAX_BYTES
            # A camera's MPO has a preview behind the photo.
            has_more = image.format != "MPO" and getattr(image, "is_animated", False)
            max_pixels, max_bytes = limits(image, data)
        except Exception as error:  # a hostile file can make a decoder raise any exception
            reason = f" is not a readable image: {error}"
            if isinstance(error, UnidentifiedImageError):
                # HEIC and AVIF have the same container.
                remedy = "HEIC and AVIF as JPEG" if data[4:8] == b"ftyp" else "it as PNG or JPEG"
                reason = f" is not a readable image ({', '.join(formats)}); save {remedy}"
            raise ImageError(name + reason) from error
        limited = f"{name} ({image.format})"  # the limits are those of the format
        check_size(len(data), limited, max_bytes)
        size, load_end = image.size, image.load_end
        check_pixels(limited, size, max_pixels)
        drafted = image.draft(None, (KEPT_SIDE, KEPT_SIDE))  # of a JPEG, fewer pixels are decoded

        def suppress_errors() -> None:
            with contextlib.suppress(Exception):  # wrong metadata behind sound pixels
                load_end()

        image.load_end = suppress_errors
        picture = decode(image, name, size if drafted else None)
    if has_more:
        warnings.warn(f"{name} has several pages or frames; the first one is read", stacklevel=4)
    return picture


def drop_metadata(png: bytes) -> bytes:
    """Keep the chunks of a PNG file that the pixels depend on."""
    kept, start = [png[:8]], 8
    while start < len(png) and len(kept) < MAX_PARTS:
        end = start + 12 + int.from_bytes(png[start : start + 4])
        kind = png[start + 4 : start + 8]
        # Critical chunks begin in upper case; then transparency, orientation, number of frames.
        needed = kind[:1].isupper() or kind in (b"tRNS", b"eXIf", b"acTL")
        kept.append(png[start:end] if needed else b"")
        start = end
    return b"".join(kept)


def limits(image: Any, data: bytes) -> tuple[float, float]:
    """Return the most pixels and bytes of a file for its way of decoding."""
    if image.format in ("JPEG", "MPO"):
        start = image.fp.tell()  # behind the marker of the first scan
        scans = max(MIN_SCANS, 1 + data.count(b"\xff\xda", start))
        keeps_coefficients = "progressive" in image.info or data[start + 2] < image.layers
        # Else `decode` checks the pixels that are decoded.
        return MAX_SCANNED_PIXELS / scans if keeps_coefficients else MAX_SIDE**2, MAX_BYTES
    tags = getattr(image, "tag_v2", {})  # of a TIFF, whose tiles may be larger than the image
    if tags.get(322, 1) * tags.get(323, 1) > MAX_PIXELS:
        raise ImageError("it has too large tiles; save it anew as PNG or JPEG")
    if image.tile and image.tile[0][0] in Image.DECODERS:
        return PYTHON_LIMITS
    return LIMITS.get(image.format, (MAX_PIXELS, MAX_BYTES))


def decode(image: Image.Image, name: str, size: tuple[int, int] | None = None) -> Picture:
    """Decode and reduce pixels; `size` is the full one of a drafted JPEG."""
    check_pixels(name, image.size, MAX_PIXELS)
    try:
        image.load()
    except Exception as error:  # a hostile file can make a decoder raise any exception
        raise ImageError(f"{name} is damaged or truncated: {error}") from error
    W, H = size or image.size  # a TIFF is upright now
    reduced = reduce(image)
    scale = -(-max(W, H) // max(reduced.size))
    with contextlib.suppress(Exception):  # wrong metadata beside sound pixels
        orientation = image.getexif()[ExifTags.Base.Orientation]
        reduced.getexif()[ExifTags.Base.Orientation] = orientation
        reduced = ImageOps.exif_transpose(reduced)
        W, H = (H, W) if orientation >= 5 else (W, H)
    return Picture(name, reduced, to_gray(reduced, name), scale, (W, H))


def reduce(image: Image.Image) -> Image.Image:
    """Reduce to at most `KEPT_SIDE` pixels, in a mode that has no palette."""
    W, H = image.size
    k = -(-max(W, H) // KEPT_SIDE)
    mode = "RGBA" if image.has_transparency_data else REDUCIBLE.get(image.mode.split(";")[0], "RGB")
    reduced = Image.new(mode, (-(-W // k), -(-H // k)))
    for top in range(0, H, STRIP_ROWS * k):  # a second copy of all pixels would be 256 MB
        strip = image.crop((0, top, W, min(top + STRIP_ROWS * k, H)))
        reduced.paste(strip.convert(mode).reduce(k), (0, top // k))
    return reduced


def to_gray(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """Convert to gray levels, with transparent pixels as paper."""
    if image.mode != "RGBA":
        gray = np.asarray(image) if image.mode in ("I", "F") else brightness(image)
        return scale_to_uint8(gray, name)
    papers = [Image.new("RGBA", image.size, color) for color in ("white", "black")]
    on_white, on_black = (brightness(Image.alpha_composite(paper, image)) for paper in papers)
    # White ink on transparency shows on black only.
    white_ink = 2 * int(np.ptp(on_white)) < int(np.ptp(on_black))
    return scale_to_uint8(on_black if white_ink else on_white, name)


def brightness(image: Image.Image) -> NDArray[np.uint8]:
    """Return the gray levels, or the color channel that shows the ink."""
    gray = np.asarray(image.convert("L"))
    channel = max(image.convert("RGB").split(), key=lambda band: np.ptp(band.getextrema()))
    # Red ink on green of the same brightness.
    return np.asarray(channel) if 4 * int(np.ptp(gray)) < np.ptp(channel.getextrema()) else gray


def scale_to_uint8(levels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Scale to 0..255 from the least range of 1, 4 or 8 to 32 bits."""
    low, top = float(levels.min()), float(levels.max())
    if not (low >= 0 and math.isfinite(top)):  # NaN is neither
        raise ImageError(f"{name}: the gray levels must be 0 or more, not {low} to {top}")
    if 1 < top <= MAX_BLACK and top != 15:
        raise ImageError(
            f"{name}: the gray levels are 0 to {top:g}, nearly black; scale them to 0 to 255"
        )
    white = max(1.0 if top <= 15 else 255.0, 2.0 ** math.ceil(math.log2(top + 1)) - 1)
    if levels.dtype == np.uint8 and white == 255:
        return np.asarray(levels, np.uint8)
    return np.round(levels / white * 255).astype(np.uint8)


def array_to_pillow(array: NDArray[Any], name: str) -> Image.Image:
    """Convert an array to a Pillow image with 8 bits per channel."""
    array = array[:, :, 0] if array.shape[2:] == (1,) else array
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise ImageError(f"{name}: the shape must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16, np.bool_):
        raise ImageError(f"{name}: the dtype must be uint8, uint16, bool or float")
    if array.dtype.kind == "f" and not (array.min() >= 0 and array.max() <= 1):
        raise ImageError(f"{name}: floats must be 0 to 1; convert 0..255 to uint8")
    return Image.fromarray(np.ascontiguousarray(scale_to_uint8(array, name)))
