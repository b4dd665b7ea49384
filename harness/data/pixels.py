"""Decode an image file to 8-bit RGB as a viewer shows it, or refuse it: no content is lost silently.

- Grey integers of more than 8 bits are scaled by their range (16 bits: v / 257) and rounded. Of 16-bit colours, Pillow keeps the
  upper 8 bits. Numbers without a known range (floating point, 32 bits, signed) are refused.
- The EXIF orientation is applied.
- Transparent images are composed onto white, the background of most drawings: transparent pixels and drawn lines are often both
  black.
- Of several frames or pages, the first is used.
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
"""Accepted formats, recognised by a file's content, not by its name."""
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
"""The transposition that makes each orientation upright (EXIF 2.3, tag 0x0112)."""
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
PHOTOMETRIC, BITS, SAMPLE_FORMAT = 262, 258, 339
"""Tags of TIFF 6.0: photometric interpretation (0: zero is white), bits per sample, sample format (2: signed)."""
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel for each colour type of PNG."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and column and row steps, of the seven passes of an interlaced PNG."""
SCALE = {"L;2": 85, "L;4": 17}
"""Factor by which Pillow multiplies PNG's greys of 2 and 4 bits, though not the transparent grey."""


class UnsupportedImage(ValueError):
    """An image that cannot be decoded without losing content; the message says why, and what to convert it to."""


def describe_fault(error: Exception) -> str:
    """Return the reason why an image cannot be read, never empty."""
    if isinstance(error, UnidentifiedImageError):
        return f"is not an image that Pillow can read ({', '.join(FORMATS)})"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels; scale it down"
    return reader.describe_error(error)


@contextmanager
def pillow_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings about odd metadata; turn its warning about decompression bombs into an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def open_image(data: bytes) -> Image.Image:
    """Open an image from a file's bytes without decoding its pixels; raises any exception of a decoder on damaged data."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if 0 in image.size:
        raise UnsupportedImage(f"has no pixels: it is {image.width}x{image.height}")
    if image.format == "PNG":
        _check_complete(data)
    return image


def _check_complete(data: bytes) -> None:
    """Raise UnsupportedImage if a PNG has less pixel data than its header declares; Pillow would fill the rest with black."""
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    bits = depth * SAMPLES.get(colour, 1)
    sizes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in (ADAM7 if interlace else ((0, 0, 1, 1),))]
    expected = missing = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    inflate, position = zlib.decompressobj(), 8
    while missing > 0 and position < len(data) - 8:
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"IDAT":
            missing -= len(inflate.decompress(data[position + 8 : position + 8 + length], missing))
        position += 12 + length
    if missing > 0:
        raise UnsupportedImage(f"is truncated: {missing:,} of {expected:,} bytes of pixel data are missing")


def has_several_frames(image: Image.Image) -> bool:
    """Return whether an image has more than one frame or page; the previews inside a camera's JPEG do not count."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def has_deep_samples(image: Image.Image) -> bool:
    """Return whether an image, not yet decoded, has more than 8 bits per sample."""
    return image.mode.startswith("I") or ";16" in _sample_format(image)[0]


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image to upright, opaque RGB, as described above.

    Raises UnsupportedImage if content would be lost, and any exception of a decoder on damaged data.
    """
    raw_mode, white = _sample_format(image)
    _check_supported(image, raw_mode)
    image.load()
    transposition = TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        image = _to_8_bits(image, white)
    elif raw_mode in SCALE and image.format == "PNG" and "transparency" in image.info:
        image.info["transparency"] *= SCALE[raw_mode]
    opaque = _over_white(image) if image.has_transparency_data else image.convert("RGB")
    return opaque if transposition is None else opaque.transpose(transposition)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a decoded image, 1 if there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the parser raises anything on damaged metadata; the pixels are intact
        return 1
    return orientation if isinstance(orientation, int) else 1


def _over_white(image: Image.Image) -> Image.Image:
    """Return an image with transparency as RGB over white; raises UnsupportedImage if it is fully transparent."""
    rgba = image.convert(PREMULTIPLIED.get(image.mode, image.mode)).convert("RGBA")
    if not rgba.getchannel("A").getbbox():
        raise UnsupportedImage("is fully transparent")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _sample_format(image: Image.Image) -> tuple[str, int]:
    """Return Pillow's raw mode of an image's samples, and the largest value of a grey sample.

    Only images that are not yet decoded have this information.
    """
    decoder, _, _, decoder_args = next(iter(getattr(image, "tile", ())), ("", None, 0, ()))
    args = decoder_args if isinstance(decoder_args, tuple) else (decoder_args,)
    raw_mode = args[0] if args and isinstance(args[0], str) else ""
    if image.format == "PPM" and decoder in ("ppm", "ppm_plain"):
        return raw_mode, int(args[-1]) if isinstance(args[-1], int) else 255
    if image.format == "TIFF":
        return raw_mode, 2 ** int(_tiff_tag(image, BITS, 16)) - 1
    return raw_mode, 65535


def _check_supported(image: Image.Image, raw_mode: str) -> None:
    """Raise UnsupportedImage if an image's numbers have no known range, or if Pillow cannot convert them."""
    if image.mode == "F":
        raise UnsupportedImage("holds floating-point numbers, whose range is unknown; convert it to 8 or 16 bits")
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise UnsupportedImage("holds signed or 32-bit integers, whose range is unknown; convert it to 8 or 16 bits, unsigned")
    if image.format == "TIFF" and _tiff_tag(image, SAMPLE_FORMAT, 1) == 2:
        raise UnsupportedImage("holds signed integers, whose range is unknown; convert it to 8 or 16 bits, unsigned")
    if image.mode == "LAB":
        raise UnsupportedImage("holds CIELAB colours; convert it to RGB")
    if image.format == "PNG" and raw_mode == "RGB;16B" and "transparency" in image.info:
        raise UnsupportedImage("holds 16-bit colours of which one is transparent; convert it to 8 bits")


def _tiff_tag(image: Image.Image, tag: int, default: int) -> int:
    """Return the first value of a TIFF tag."""
    values = getattr(image, "tag_v2", {}).get(tag, default)
    value: int = values[0] if isinstance(values, tuple) else values
    return value


def _to_8_bits(image: Image.Image, white: int) -> Image.Image:
    """Return a grey image of up to 16 bits as 8 bits, with alpha if a grey is transparent; `white` is the value of white."""
    samples: npt.NDArray[np.uint32] = np.asarray(image).astype(np.uint32)
    if image.format == "PPM":  # undoes Pillow's scaling to 65535
        samples = _rescale(samples, 65535, white)
    grey = Image.fromarray(_rescale(samples, white, 255).astype(np.uint8))
    if image.format == "TIFF" and _tiff_tag(image, PHOTOMETRIC, 1) == 0:
        grey = ImageOps.invert(grey)
    if "transparency" not in image.info:
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(samples == image.info["transparency"], 0, 255).astype(np.uint8))))


def _rescale(samples: npt.NDArray[np.uint32], before: int, after: int) -> npt.NDArray[np.uint32]:
    """Scale integers from 0..`before` to 0..`after`, both below 2**16, and round."""
    rescaled: npt.NDArray[np.uint32] = (samples * np.uint32(after) + np.uint32(before // 2)) // np.uint32(before)
    return rescaled
