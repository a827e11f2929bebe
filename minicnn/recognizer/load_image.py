"""Load images from files, bytes, Pillow images and arrays as gray levels.

Files come from strangers: limits bound a decoder's work before it starts, large images are reduced
before any other step, and every failure is an `ImageError` that names the file.
"""

import contextlib
import io
import math
import os
import re
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

# Pillow reads more formats; several of them start other programs or hold no pixels.
FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "PPM",
    "TGA",
    "ICO",
    "AVIF",
    "JPEG2000",
)
KEPT_SIDE = 2400  # longer images are reduced
MAX_SIDE = 65_535  # as in JPEG
# With these limits no file takes more than 5 s or 0.5 GB.
MAX_BYTES = 64 * 1024**2
MAX_PIXELS = 64_000_000  # 8000 × 8000, as decoded: a large JPEG is decoded at 1/2 to 1/8
# Pixels and bytes of formats that decode slowly, or with several copies of all pixels.
LIMITS = {"WEBP": (16e6, 32e6), "AVIF": (16e6, 8e6), "JPEG2000": (8e6, 4e6)}
SLOW_LIMITS = 1e6, 4e6  # decoded by Python code, as plain-text PPM is
MAX_COMMENTS = 20_000  # of a plain-text PPM
MAX_PROGRESSIVE_PIXELS = 32_000_000  # of a JPEG whose coefficients are all kept
MAX_SCANNED_PIXELS = 400_000_000  # pixels of such a JPEG times its scans
MAX_CHUNKS = 20_000  # of a PNG
MAX_STRIP_BYTES = 800_000  # of the places of strips or tiles in a TIFF
MAX_READS = 200_000  # parts of a file that Pillow reads in a loop of Python
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


class CountedReads(io.BytesIO):
    """A file in memory that bounds the number of its parts."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes; raise ImageError after `MAX_READS` calls."""
        self.reads += 1
        if self.reads > MAX_READS:
            raise ImageError(f"it has more than {MAX_READS} parts; save it anew as PNG or JPEG")
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
        check_size(len(image), "bytes")
        return decode_file(bytes(image), "bytes")
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
    return decode_file(path.read_bytes(), str(path))


def check_size(size: int, name: str) -> None:
    """Raise ImageError if a file is empty or too large."""
    if not size:
        raise ImageError(f"{name}: the file is empty")
    if size > MAX_BYTES:
        raise ImageError(f"{name} has {size} bytes; the limit is {MAX_BYTES}")


def decode_file(data: bytes, name: str) -> Picture:
    """Decode the bytes of an image file; warn if it has several pages."""
    Image.init()  # without it Pillow has loaded half of the formats only
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd files that it reads well
        try:
            picture, has_more = decode_page(data, name)
        except ImageError:
            if not data.startswith(b"\x89PNG"):
                raise
            picture, has_more = decode_page(critical_chunks(data), name)
    if has_more:
        warnings.warn(f"{name} has several pages or frames; the first one is read", stacklevel=4)
    return picture


def decode_page(data: bytes, name: str) -> tuple[Picture, bool]:
    """Decode the first page; return it and whether there are more."""
    formats = [known for known in FORMATS if known in Image.OPEN]  # AVIF needs Pillow 11.3
    if data.startswith(b"\0\0\1\0"):  # ICO: as Pillow opens it, it decodes the PNG inside
        for sides in re.findall(rb"IHDR(.{8})", data, re.DOTALL):
            check_pixels(name, struct.unpack(">II", sides), MAX_PIXELS)
    try:
        check_strips(data)
        image: Any = Image.open(CountedReads(data), formats=formats)
        # A camera's MPO has a preview behind the photo.
        has_more = image.format != "MPO" and getattr(image, "is_animated", False)
        limit, size, load_end = max_pixels(image, data), image.size, image.load_end
    except (ImageError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # a hostile file can make a decoder raise any exception
        reason = f": {error}"
        if isinstance(error, UnidentifiedImageError):  # it names an object in memory
            heic = data[4:8] == b"ftyp"  # the container of HEIC, and of AVIF
            reason = "; save HEIC and AVIF as JPEG" if heic else "; save it as PNG or JPEG"
        raise ImageError(
            f"{name} is not a readable image ({', '.join(formats)}){reason}"
        ) from error
    check_pixels(name, size, limit)
    drafted = image.draft(None, (KEPT_SIDE, KEPT_SIDE))  # of a JPEG, fewer pixels are decoded

    def suppress_errors() -> None:
        with contextlib.suppress(Exception):  # wrong metadata behind sound pixels
            load_end()

    image.load_end = suppress_errors
    return decode(image, name, size if drafted else None), has_more


def check_strips(data: bytes) -> None:
    """Raise ImageError if a TIFF has too many strips or tiles."""
    if data.startswith((b"II*\0", b"II+\0", b"MM\0*")):  # Pillow lists them as it opens it
        file = io.BytesIO(data)
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if data[2:3] == b"+" else 8))
        file.seek(tags.next)
        tags.load(file)
        if max(len(tags._tagdata.get(tag, b"")) for tag in (273, 324)) > MAX_STRIP_BYTES:
            raise ImageError("it has too many strips or tiles; save it anew as PNG or JPEG")


def critical_chunks(png: bytes) -> bytes:
    """Drop the metadata of a PNG file."""
    kept, start = [png[:8]], 8
    for _ in range(MAX_CHUNKS):
        end = start + 12 + int.from_bytes(png[start : start + 4])
        kind = png[start + 4 : start + 8]
        if kind[:1].isupper() or kind == b"tRNS":  # critical chunks begin in upper case
            kept.append(png[start:end])
        start = end
    return b"".join(kept)


def max_pixels(image: Any, data: bytes) -> int:
    """Return how many pixels a file may have for its way of decoding."""
    if image.format in ("JPEG", "MPO"):
        start = image.fp.tell()  # behind the marker of the first scan
        if "progressive" in image.info or data[start + 2] < image.layers:
            scans = 1 + data.count(b"\xff\xda", start)
            return min(MAX_PROGRESSIVE_PIXELS, MAX_SCANNED_PIXELS // scans)
        return MAX_SIDE**2  # `decode` checks the pixels that are kept
    if image.format == "TIFF" and 322 in image.tag_v2:  # tiles, which may be larger than the image
        return MAX_PIXELS if image.tag_v2[322] * image.tag_v2[323] <= MAX_PIXELS else 0
    pixels, size = LIMITS.get(image.format, (MAX_PIXELS, MAX_BYTES))
    if image.tile and image.tile[0][0] in Image.DECODERS:  # a decoder in Python
        pixels, size = SLOW_LIMITS if data.count(b"#") <= MAX_COMMENTS else (0, 1)
    return int(pixels * size / max(len(data), size))


def check_pixels(name: str, size: tuple[int, ...], limit: int) -> None:
    """Raise ImageError unless an image has 1 to `limit` pixels."""
    W, H = size
    if not 1 <= W * H <= limit or max(size) > MAX_SIDE:
        raise ImageError(
            f"{name}: the number of pixels must be 1 to {limit} in such a file, and no side above "
            f"{MAX_SIDE}, not {W}×{H}; save a smaller image, as PNG"
        )


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
    mode = REDUCIBLE.get(image.mode.split(";")[0], "RGB")
    mode = "RGBA" if image.has_transparency_data else mode
    reduced = Image.new(mode, (-(-W // k), -(-H // k)))
    for top in range(0, H, STRIP_ROWS * k):  # a second copy of all pixels would be 256 MB
        strip = image.crop((0, top, W, min(top + STRIP_ROWS * k, H)))
        reduced.paste(strip.convert(mode).reduce(k), (0, top // k))
    return reduced


def to_gray(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """Convert to gray levels, with transparent pixels as paper."""
    if image.mode == "RGBA":
        papers = [Image.new("RGBA", image.size, color) for color in ("white", "black")]
        on_white, on_black = (brightness(Image.alpha_composite(paper, image)) for paper in papers)
        # White ink on transparency shows on black only.
        gray = on_black if 2 * int(np.ptp(on_white)) < int(np.ptp(on_black)) else on_white
    elif image.mode in ("I", "F"):
        gray = np.asarray(image)
        if not (gray.min() >= 0 and np.isfinite(gray.max())):  # NaN is neither
            raise ImageError(
                f"{name}: the gray levels must be 0 or more, not {gray.min()} to {gray.max()}"
            )
    else:
        gray = brightness(image)
    top = float(gray.max())
    if 1 < top <= MAX_BLACK and top != 15:
        raise ImageError(
            f"{name}: the gray levels are 0 to {top:g}, nearly black; scale them to 0 to 255"
        )
    full = full_range(top)
    return gray if gray.dtype == np.uint8 and full == 255 else scale_to_uint8(gray, full)


def brightness(image: Image.Image) -> NDArray[np.uint8]:
    """Return the gray levels, or the color channel that shows the ink."""
    gray = np.asarray(image.convert("L"))
    channel = max(image.convert("RGB").split(), key=lambda band: np.ptp(band.getextrema()))
    # Red ink on green of the same brightness.
    return np.asarray(channel) if 4 * int(np.ptp(gray)) < np.ptp(channel.getextrema()) else gray


def full_range(top: float) -> float:
    """Return the level of white, from the largest level of an image."""
    if top <= 1 or top == 15:  # black and white, four bits
        return max(1.0, top)
    return max(255.0, 2.0 ** math.ceil(math.log2(top + 1)) - 1)  # 9 to 16 bits, or more


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
    full = full_range(float(array.max()))
    if array.dtype != np.uint8 or full < 255:
        array = scale_to_uint8(array, full)
    return Image.fromarray(np.ascontiguousarray(array))
