"""Read a user's own images: decode the files found by `harness.data.folders` and cut them to one size.

The views are those of Krizhevsky et al. 2012, section 4.1, with the sizes of He et al. 2015, section 3.4 (224 of 256 pixels), in
proportion. The central square is resized to `resize`, by default `image_size` + 2 `margin`. A training view is a random
`image_size` crop of it or its mirror image, a test view the central crop. He et al. also draw the scale (shorter side 256 to 480)
and the colours, and crop outside the central square; that would need the original files in every epoch and is not done.

An image of `image_size` x `image_size` is not resized unless `resize` is given. If all images have that size, or `resize` equals
`image_size`, they are cropped as in CIFAR-10, from the image and a border of zeros after normalisation.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from harness.config.registry import ChoiceError
from harness.data import Images, Labels, pixels
from harness.data.folders import Folder, abbreviate
from harness.records import reader
from harness.records.value_types import printable
from harness.system.cores import available_cores

log = logging.getLogger("harness")

READING = b"2"
"""Part of the hash of the images; increased when a code change decodes the same files to different pixels."""
DARK = 63
"""A warning is logged if no image of more than 8 bits is brighter than this level (of 255)."""
LARGEST = 512 * reader.MIB
"""Upper bound of an image file's size in bytes: the largest number of pixels that is decoded, at 6 bytes each."""


def margin(image_size: int) -> int:
    """Return the pixels stored beyond `image_size` on each side: 16 for 224."""
    return max(1, round(image_size / 14))


def stored_side(folder: Folder, image_size: int, resize: int | None) -> int:
    """Return the side in pixels at which images are stored; only the headers of the files are read."""
    if resize is not None:
        return image_size + 2 * ((resize - image_size) // 2)
    with pixels.pillow_warnings():
        no_resize = all(_size(file) == (image_size, image_size) for file in folder.files)
    return image_size if no_resize else image_size + 2 * margin(image_size)


def check(folder: Folder) -> str:
    """Decode every image and return their hash: the first 16 digits of a SHA-256 over all names and contents, in order.

    Logs warnings about ignored files, images with several frames, and dark images of more than 8 bits. Raises ChoiceError if
    images cannot be read, naming the first ones and their number, or if all training or all test images are identical.
    """
    fingerprints: tuple[set[object], set[object]] = set(), set()
    several_frames: list[int] = []
    brightest: list[int] = []

    def inspect(index: int, image: Image.Image) -> None:
        deep = pixels.has_deep_samples(image)
        rgb, seen = pixels.to_rgb(image), fingerprints[index >= len(folder.train)]
        if len(seen) < 2:
            seen.add(_fingerprint(rgb))
        if pixels.has_several_frames(image):
            several_frames.append(index)
        if deep:
            brightest.append(int(np.asarray(rgb).max()))

    content = _for_each(folder, inspect)
    for name, images, seen in (("training", folder.train, fingerprints[0]), ("test", folder.test, fingerprints[1])):
        if len(images) > 1 and len(seen) == 1:
            first = images[0][0].relative_to(folder.root)
            raise ChoiceError(
                f"data.root={folder.root}: all {len(images)} {name} images are identical, pixel for pixel ({first}, ...)"
            )
    if folder.ignored:
        _warn(folder, f"ignored, since they are not images of a class: {folder.ignored}")
    if several_frames:
        first = folder.files[min(several_frames)].relative_to(folder.root)
        _warn(folder, f"{len(several_frames)} images have several frames or pages ({first}, ...); only the first is used")
    if brightest and max(brightest) <= DARK:
        _warn(
            folder,
            f"{len(brightest)} images of more than 8 bits are no brighter than {max(brightest)} of 255: "
            "if they use fewer bits than their files declare, scale them up first",
        )
    return content


def _warn(folder: Folder, message: str) -> None:
    log.warning("%s", printable(f"data.root={folder.root}: {message}"))


def read(folder: Folder, image_size: int, resize: int | None) -> tuple[tuple[Images, Labels, Images, Labels], str]:
    """Return (training images uint8 [N, 3, side, side], their labels int64 [N], the same for the test images), and their hash.

    `side` is `stored_side`, and the hash that of `check`. Raises ChoiceError if images cannot be read.
    """
    side = stored_side(folder, image_size, resize)
    train, test = (np.zeros((len(images), 3, side, side), np.uint8) for images in (folder.train, folder.test))
    train_labels, test_labels = (np.array([label for _, label in images], np.int64) for images in (folder.train, folder.test))

    def store(index: int, image: Image.Image) -> None:
        array, row = (train, index) if index < len(train) else (test, index - len(train))
        rgb = pixels.to_rgb(image)
        if resize is None and rgb.size == (image_size, image_size):
            array[row] = _with_border(rgb, side)
        else:
            square = resized_square(rgb, resize or side)
            first = (square.shape[-1] - side) // 2  # half a pixel to the upper left of the centre if the difference is odd
            array[row] = square[:, first : first + side, first : first + side]

    content = _for_each(folder, store)
    return (train, train_labels, test, test_labels), content


def resized_square(image: Image.Image, side: int) -> Images:
    """Return the central square of an RGB image, resized to uint8 [3, side, side]."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    return _channels_first(image.resize((side, side), Image.Resampling.BILINEAR, box))


def _channels_first(image: Image.Image) -> Images:
    array: Images = np.asarray(image).transpose(2, 0, 1)
    return array


def _with_border(image: Image.Image, side: int) -> Images:
    """Return an image in the middle of [3, side, side]; the border repeats its outermost pixels."""
    border = (side - image.width) // 2
    return np.pad(_channels_first(image), ((0, 0), (border, border), (border, border)), mode="edge")


def _size(file: Path) -> tuple[int, int] | None:
    """Return width and height of an image; None if they cannot be read, which `check` reports."""
    try:
        with reader.open_file(file) as stream, Image.open(stream, formats=pixels.FORMATS) as image:
            return image.width, image.height
    except Exception:
        return None


def _fingerprint(image: Image.Image) -> object:
    """Return a value that identical RGB images share; images of one colour share it whatever their sizes."""
    colours = image.getcolors(1)
    return colours[0][1] if colours else (image.size, zlib.crc32(image.tobytes()))


def _for_each(folder: Folder, use: Callable[[int, Image.Image], object]) -> str:
    """Call `use` with the index of every image and the opened image, on all cores, and return the hash of the images.

    Raises ChoiceError, naming the first ones, if images cannot be read.
    """

    def process(index: int, file: Path) -> tuple[bytes, str | None]:
        try:
            file.stat()  # reports a broken link
            data = reader.read_bytes(file, LARGEST)
            with pixels.open_image(data) as image:
                use(index, image)
        except Exception as error:  # decoders raise anything on damaged data
            return b"", pixels.describe_fault(error).removeprefix(f"{file}: ")
        return hashlib.sha256(data).digest(), None

    files = folder.files
    names = [file.relative_to(folder.root) for file in files]
    with pixels.pillow_warnings(), ThreadPoolExecutor(available_cores()) as pool:
        results = list(pool.map(process, range(len(files)), files))
    if faults := [f"{name}: {fault}" for name, (_, fault) in zip(names, results, strict=True) if fault is not None]:
        raise ChoiceError(f"data.root={folder.root}: {len(faults)} of {len(files)} images cannot be read: {abbreviate(faults)}")
    content = hashlib.sha256(READING)
    for name, (digest, _) in zip(names, results, strict=True):
        content.update(os.fsencode(name) + b"\0" + digest)
    return f"sha256:{content.hexdigest()[:16]}"
