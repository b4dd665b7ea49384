"""Decoding to 8-bit RGB: pixel values worked out by hand, and images refused because content would be lost."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.data import pixels
from support.images import png

DEEP = np.array([[0, 128, 129, 257], [385, 386, 65534, 65535]], np.uint16)


SHALLOW = [[0, 0, 1, 1], [1, 2, 255, 255]]
"""v / 257, rounded: 128/257 = 0.498, 129/257 = 0.502, 385/257 = 1.498, 386/257 = 1.502."""


def decoded(data):
    """Return the pixels [H, W, 3] of an image file's bytes."""
    with pixels.pillow_warnings():
        return np.asarray(pixels.to_rgb(pixels.open_image(data)))


def grey(data):
    """Return the levels [H, W], as lists, of a file whose pixels are all grey."""
    rgb = decoded(data)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0].tolist()


def saved(image, kind, **more):
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def interlaced(rows):
    """Return a grey PNG of 3x3 pixels in Adam7's order: 1x1, 1x1, 2x1, 1x2 and 3x1 of them in five of its seven passes."""
    data = bytearray(png(3, 3, 8, 0, rows))
    data[28] = 1
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def tiff(order, photometric, bits, kind, data, width, height):
    """Return an uncompressed TIFF of one strip with one sample per pixel and byte order II or MM."""
    e = "<" if order == "II" else ">"
    start = 8 + 2 + 12 * 10 + 4
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, start), (277, 1), (278, height), (279, len(data)), (339, kind)]
    entries = b"".join(struct.pack(f"{e}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return order.encode() + struct.pack(f"{e}HIH", 42, 8, len(tags)) + entries + struct.pack(f"{e}I", 0) + data


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(DEEP), "PNG"),
        saved(Image.fromarray(DEEP), "TIFF"),
        saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
        tiff("II", 1, 16, 1, DEEP.astype("<u2").tobytes(), 4, 2),
        tiff("MM", 1, 16, 1, DEEP.astype(">u2").tobytes(), 4, 2),
        tiff("II", 0, 16, 1, (65535 - DEEP).astype("<u2").tobytes(), 4, 2),
        b"P5\n4 2\n65535\n" + DEEP.astype(">u2").tobytes(),
        b"P2\n4 2\n65535\n" + b" ".join(b"%d" % value for value in DEEP.reshape(-1)),
    ],
    ids=["png", "tiff", "tiff lzw", "tiff II", "tiff MM", "tiff white is zero", "pgm", "plain pgm"],
)
def test_16_bits_become_8_by_their_range(data):
    assert grey(data) == SHALLOW


@pytest.mark.parametrize(
    ("data", "levels"),
    [
        (b"P5\n4 1\n1023\n" + np.array([0, 2, 3, 1023], ">u2").tobytes(), [0, 0, 1, 255]),  # 2: 0.499, 3: 0.748
        (b"P2\n3 1\n4095\n0 2048 4095", [0, 128, 255]),  # 127.53
        (b"P5\n3 1\n100\n" + bytes([0, 51, 100]), [0, 130, 255]),  # 130.05
        (b"P5\n2 1\n1\n" + bytes([0, 1]), [0, 255]),
        (b"P4\n3 1\n" + bytes([0b01000000]), [255, 0, 255]),
        (tiff("II", 1, 12, 1, bytes([0xFF, 0xF8, 0x00]), 2, 1), [255, 128]),  # 4095 and 2048 of 4095
        (png(4, 1, 2, 0, bytes([0, 0b00011011])), [0, 85, 170, 255]),
        (png(2, 1, 4, 0, bytes([0, 0x5F])), [85, 255]),
        (png(3, 1, 1, 0, bytes([0, 0b01000000])), [0, 255, 0]),
    ],
)
def test_other_ranges_are_scaled_to_8_bits(data, levels):
    assert grey(data) == [levels]


@pytest.mark.parametrize(
    "data",
    [b"P6\n1 1\n65535\n" + struct.pack(">HHH", 0, 257, 65535), png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 0, 257, 65535))],
)
def test_16_bit_colours_become_8(data):
    assert decoded(data).tolist() == [[[0, 1, 255]]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "floating-point numbers, whose range is unknown; convert"),
        (b"Pf\n1 1\n-1.0\n" + struct.pack("<f", 0.5), "floating-point numbers"),
        (saved(Image.fromarray(np.zeros((2, 2), np.int32)), "TIFF"), "32-bit integers, whose range is unknown; convert"),
        (tiff("II", 1, 32, 1, bytes(8), 2, 1), "32-bit integers"),
        (tiff("MM", 1, 16, 2, bytes(4), 2, 1), "signed"),
        (tiff("II", 1, 8, 2, bytes(2), 2, 1), "signed integers"),
        (saved(Image.new("LAB", (2, 2)), "TIFF"), "CIELAB colours; convert it to RGB"),
        (saved(Image.new("RGBA", (2, 2), (9, 9, 9, 0)), "PNG"), "is fully transparent"),
        (png(1, 1, 16, 2, bytes(7), (b"tRNS", bytes(6))), "16-bit colours of which one is transparent"),
        (tiff("II", 1, 64, 3, bytes(8), 1, 1), "is not an image that Pillow can read (JPEG, PNG, PPM, BMP, TIFF, WEBP, GIF)"),
        (b"", "is not an image"),
        (png(0, 1, 8, 0, b""), "is not an image"),
        (b"P5\n0 1\n255\n", "is not an image"),
        (png(10**5, 10**5, 8, 0, b""), "has more than 89,478,485 pixels"),
        (png(10**4, 10**4, 8, 0, b""), "has more than 89,478,485 pixels"),
        (png(2, 4, 8, 0, bytes(6)), "is truncated: 6 of 12 bytes of pixel data are missing"),
        (png(9, 9, 8, 0, bytes(range(90)))[:100], "is truncated"),
        (interlaced(bytes(14)), "is truncated: 1 of 15 bytes of pixel data are missing"),
        (b"P5\n2 2\n1023\n" + bytes(5), "not enough image data"),
        (tiff("II", 1, 16, 1, bytes(5), 2, 2), "truncated"),
    ],
)
def test_ambiguous_or_damaged_images_are_refused_with_a_reason(data, words):
    with pytest.raises(Exception) as refused:  # noqa: PT011  # decoders raise errors of many classes
        decoded(data)
    assert words in pixels.describe_fault(refused.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError(), "OSError"), (MemoryError(), "there is not enough memory to decode it"), (ValueError(""), "Value")],
)
def test_an_error_without_a_message_is_described(error, words):
    assert words in pixels.describe_fault(error)


TURNED = {1: "ab/cd/ef", 2: "ba/dc/fe", 3: "fe/dc/ba", 4: "ef/cd/ab", 5: "ace/bdf", 6: "eca/fdb", 7: "fdb/eca", 8: "bdf/ace"}
"""The rows ab, cd, ef after each EXIF orientation is applied; for 6 the file's first row is on the right."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied(orientation, kind):
    levels = dict(zip("abcdef", [10, 50, 90, 130, 170, 210], strict=True))
    blocks = np.kron([[levels[letter] for letter in row] for row in TURNED[1].split("/")], np.ones((16, 16))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"JPEG": {"quality": 100, "exif": exif}, "WEBP": {"lossless": True, "exif": exif}}.get(kind, {"exif": exif})
    seen = decoded(saved(Image.fromarray(blocks), kind, **more))[8::16, 8::16, 0]
    expected = [[levels[letter] for letter in row] for row in TURNED[orientation].split("/")]
    assert np.abs(seen.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_exif_orientation_of_a_16_bit_image_is_applied(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert grey(saved(Image.fromarray(DEEP), kind, exif=exif)) == [[1, 0], [2, 0], [255, 1], [255, 1]]


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0"])
def test_unreadable_exif_is_ignored(exif):
    assert decoded(saved(Image.new("L", (4, 2), 128), "JPEG", exif=exif)).shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # alpha a of v over white: 255 + (v - 255) a / 255
        (saved(Image.new("RGBA", (1, 1), (0, 0, 0, 51)), "PNG"), [204, 204, 204]),
        (saved(Image.new("RGBA", (1, 1), (255, 0, 155, 51)), "PNG"), [255, 204, 235]),
        (saved(Image.new("RGBA", (1, 1), (0, 0, 0, 51)), "TIFF"), [204, 204, 204]),
        (saved(Image.new("RGBA", (1, 1), (0, 0, 0, 51)), "WEBP", lossless=True, exact=True), [204, 204, 204]),
        (saved(Image.new("LA", (1, 1), (0, 51)), "PNG"), [204, 204, 204]),
        (saved(Image.new("RGBA", (1, 1), (100, 0, 0, 255)), "PNG"), [100, 0, 0]),
        (png(1, 1, 16, 4, b"\0" + struct.pack(">HH", 0, 0x3333)), [204, 204, 204]),
        (png(1, 1, 8, 3, b"\0\0", (b"PLTE", bytes(3)), (b"tRNS", bytes([51]))), [204, 204, 204]),
    ],
)
def test_transparency_is_over_white(data, expected):
    assert decoded(data).tolist() == [[expected]]


@pytest.mark.parametrize(
    ("data", "levels"),
    [
        (png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 514, 771), (b"tRNS", struct.pack(">H", 514))), [255, 3]),
        (png(2, 1, 8, 0, b"\0\5\3", (b"tRNS", struct.pack(">H", 5))), [255, 3]),
        (png(2, 1, 4, 0, b"\0\x53", (b"tRNS", struct.pack(">H", 5))), [255, 51]),
        (png(2, 1, 2, 0, b"\0\x60", (b"tRNS", struct.pack(">H", 1))), [255, 170]),
        (png(2, 1, 8, 2, b"\0\1\2\3\4\4\4", (b"tRNS", struct.pack(">HHH", 1, 2, 3))), [255, 4]),
        (png(2, 1, 8, 3, b"\0\0\1", (b"PLTE", bytes([9, 8, 7, 4, 4, 4])), (b"tRNS", b"\0")), [255, 4]),
        (saved(Image.fromarray(np.array([[0, 1]], np.uint8)), "GIF", transparency=0), [255, 1]),
    ],
)
def test_the_transparent_colour_is_white(data, levels):
    assert grey(data) == [levels]


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_the_first_of_several_frames_is_used(kind):
    first, second = Image.new("L", (8, 8), 7), Image.new("L", (8, 8), 99)
    data = saved(first, kind, save_all=True, append_images=[second])
    image = pixels.open_image(data)
    assert np.abs(np.asarray(pixels.to_rgb(image)).astype(int) - 7).max() <= 1
    assert pixels.has_several_frames(image)
    assert not pixels.has_several_frames(pixels.open_image(saved(first, kind)))


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("YCbCr", "JPEG"), ("P", "BMP")]
)
def test_other_colour_spaces_become_rgb(mode, kind):
    data = saved(Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode), kind)
    assert np.abs(decoded(data).astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 9)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_complete_png_is_not_truncated(mode, size):
    assert decoded(saved(Image.new("RGBA", size, "red").convert(mode), "PNG")).shape == (*size[::-1], 3)


def test_an_interlaced_png_is_complete_with_the_rows_of_its_passes():
    assert decoded(interlaced(bytes(15))).tolist() == np.zeros((3, 3, 3)).tolist()
