"""One image file becomes 8-bit RGB as a person sees it, or is refused: no content may be lost on the way without a word.

- Whole numbers of more than 8 bits are scaled by their range (16 bits: v / 257), rounded. Colours of 16 bits are decoded by
  Pillow, which keeps their upper 8. Numbers without a known range (floating point, 32 bits, signed) are refused.
- What EXIF says of the orientation is done.
- Transparent pixels show white, on which pictures with a transparent ground are mostly made to be seen: the pixels below them
  are often black, as are the lines beside them.
- Of several frames or pages the first is taken.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.records import reader

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""What is read; told by a file's content, not by its name."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.3, tag 0x0112: what makes each orientation upright."""
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
PHOTOMETRIC, BITS, SAMPLE_FORMAT = 262, 258, 339
"""Tags of TIFF 6.0: 0 for a scale from white to black, bits of a sample, and 2 for signed numbers."""
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel for each colour type of PNG."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps between them, of the seven passes of an interlaced PNG."""
SCALE = {"L;2": 85, "L;4": 17}
"""By what Pillow multiplies PNG's greys of 2 and 4 bits, but not the one that is transparent."""


class Unfit(ValueError):
    """An image whose content cannot be told; the message says what it holds, and what to convert it to."""


def fault(error: Exception) -> str:
    """Return in words, never empty, why an image cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return f"is no image ({', '.join(FORMATS)}), or of a kind that Pillow does not read"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels; scale it down"
    return reader.words(error)


@contextmanager
def quietly() -> Iterator[None]:
    """Let Pillow say nothing of odd metadata, but refuse images so large that decoding them may be an attack."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def opened(data: bytes) -> Image.Image:
    """Return the image in a file's bytes, its head read but no pixel; raises whatever a decoder says to damaged data."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if 0 in image.size:
        raise Unfit(f"has no pixels: it is {image.width}x{image.height}")
    if image.format == "PNG":
        _check_whole(data)
    return image


def _check_whole(data: bytes) -> None:
    """Raise Unfit where a PNG has fewer bytes of pixels than its head says; Pillow makes black of those that are missing."""
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    bits = depth * SAMPLES.get(colour, 1)
    sizes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in (ADAM7 if interlace else ((0, 0, 1, 1),))]
    expected = left = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    inflate, place = zlib.decompressobj(), 8
    while left > 0 and place < len(data) - 8:
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IDAT":
            left -= len(inflate.decompress(data[place + 8 : place + 8 + length], left))
        place += 12 + length
    if left > 0:
        raise Unfit(f"is cut short: {left:,} of {expected:,} bytes of pixels are missing")


def frames(image: Image.Image) -> bool:
    """Return whether an image has more than one frame or page; the previews inside a camera's JPEG do not count."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def deep(image: Image.Image) -> bool:
    """Return whether an image that is not decoded yet has more than 8 bits."""
    return image.mode.startswith("I") or ";16" in _packing(image)[0]


def rgb(image: Image.Image) -> Image.Image:
    """Return an opened image as RGB, decoded, turned and over white (see above).

    Raises Unfit where its content cannot be told, and whatever a decoder says to damaged data.
    """
    raw, top = _packing(image)
    _check(image, raw)
    image.load()
    turn = TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        shallow = _eight_bits(image, top)
    else:
        shallow = image
        if raw in SCALE and image.format == "PNG" and "transparency" in image.info:
            image.info["transparency"] *= SCALE[raw]
    flat = _over_white(shallow) if shallow.has_transparency_data else shallow.convert("RGB")
    return flat if turn is None else flat.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """Return what EXIF says of how a decoded image is to be turned, 1 for not at all; what cannot be read says nothing."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # no closed set; the pixels are sound
        return 1
    return found if isinstance(found, int) else 1


def _over_white(image: Image.Image) -> Image.Image:
    """Return an image with transparency as RGB over white; raises Unfit if nothing of it is to be seen."""
    seen = image.convert(PREMULTIPLIED.get(image.mode, image.mode)).convert("RGBA")
    if not seen.getchannel("A").getbbox():
        raise Unfit("is transparent everywhere: there is nothing to see")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _packing(image: Image.Image) -> tuple[str, int]:
    """Return how Pillow calls an image's samples in the file, and the largest number that a grey one can be.

    It has to be asked before decoding, which forgets it.
    """
    decoder, _, _, packing = next(iter(getattr(image, "tile", ())), ("", None, 0, ()))
    args = packing if isinstance(packing, tuple) else (packing,)
    raw = args[0] if args and isinstance(args[0], str) else ""
    if image.format == "PPM" and decoder in ("ppm", "ppm_plain"):
        return raw, int(args[-1]) if isinstance(args[-1], int) else 255
    if image.format == "TIFF":
        return raw, 2 ** int(_tag(image, BITS, 16)) - 1
    return raw, 65535


def _check(image: Image.Image, raw: str) -> None:
    """Raise Unfit where an image's numbers have no known range, or where Pillow cannot convert them."""
    if image.mode == "F":
        raise Unfit("holds floating-point numbers, whose range is unknown; convert it to 8 or 16 bits")
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise Unfit("holds signed or 32-bit whole numbers, whose range is unknown; convert it to 8 or 16 bits, unsigned")
    if image.format == "TIFF" and _tag(image, SAMPLE_FORMAT, 1) == 2:
        raise Unfit("holds signed whole numbers, whose range is unknown; convert it to 8 or 16 bits, unsigned")
    if image.mode == "LAB":
        raise Unfit("holds CIELAB colours; convert it to RGB")
    if image.format == "PNG" and raw == "RGB;16B" and "transparency" in image.info:
        raise Unfit("holds 16-bit colours of which one is transparent; convert it to 8 bits")


def _tag(image: Image.Image, number: int, default: int) -> int:
    """Return the first value of a TIFF's tag."""
    found = getattr(image, "tag_v2", {}).get(number, default)
    value: int = found[0] if isinstance(found, tuple) else found
    return value


def _eight_bits(image: Image.Image, top: int) -> Image.Image:
    """Return a grey image of up to 16 bits, white being `top`, as one of 8 bits, a transparent grey as transparency."""
    samples: npt.NDArray[np.uint32] = np.asarray(image).astype(np.uint32)
    if image.format == "PPM":  # which Pillow has scaled to 65535, so that it is undone
        samples = _rescaled(samples, 65535, top)
    grey = Image.fromarray(_rescaled(samples, top, 255).astype(np.uint8))
    if image.format == "TIFF" and _tag(image, PHOTOMETRIC, 1) == 0:
        grey = ImageOps.invert(grey)
    if "transparency" not in image.info:
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(samples == image.info["transparency"], 0, 255).astype(np.uint8))))


def _rescaled(samples: npt.NDArray[np.uint32], before: int, after: int) -> npt.NDArray[np.uint32]:
    """Return whole numbers from 0 to `before` on the scale from 0 to `after`, rounded; both are below 2**16."""
    found: npt.NDArray[np.uint32] = (samples * np.uint32(after) + np.uint32(before // 2)) // np.uint32(before)
    return found
