"""A user's own images as arrays: each file below `harness.data.folders` decoded by `harness.data.pixels`, and cut to one size.

The view is that of Krizhevsky et al. 2012, section 4.1, with the sizes of He et al. 2015, section 3.4 (224 of 256 pixels), in
proportion: the middle square is resized to `resize`, by default `image_size` + 2 `margin`, a training image is a random
`image_size` crop of it or its mirror image, a test image the middle one. He et al. also draw the scale (shorter side 256 to 480)
and the colours, and crop off the middle square; that needs the original files in every epoch, and is not done.

An image that is `image_size` x `image_size` already is not resized unless `resize` says so. Where all are, they are cropped as
CIFAR-10's are, of the image and a border of zeros after normalisation; so are those of `resize` equal to `image_size`.
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
import numpy.typing as npt
from PIL import Image

from harness.config.registry import ChoiceError
from harness.data import pixels
from harness.data.folders import Folder, few, scan
from harness.records import reader
from harness.records.value_types import printable
from harness.system.cores import available_cores

__all__ = ["check", "kept", "margin", "read", "scan", "view"]

log = logging.getLogger("harness")

READING = b"2"
"""Part of what says which images they are: raised when a change of the code makes other pixels of the same files."""
DARK = 63
"""The brightest of 255 levels that makes one doubt whether images of 16 bits use them all."""
LARGEST = 512 * reader.MIB
"""Bytes of an image's file at most: the most pixels that are decoded, at 6 bytes each."""


def margin(image_size: int) -> int:
    """Return how many pixels more than `image_size` are kept on each side: 16 for 224."""
    return max(1, round(image_size / 14))


def kept(folder: Folder, image_size: int, resize: int | None) -> int:
    """Return the side in pixels of what is kept of each image, seen from the heads of the files alone."""
    if resize is not None:
        return image_size + 2 * ((resize - image_size) // 2)
    with pixels.quietly():
        plain = all(_size(file) == (image_size, image_size) for file in folder.files)
    return image_size if plain else image_size + 2 * margin(image_size)


def check(folder: Folder) -> str:
    """Decode every image and return which they are: the first 16 digits of a SHA-256 over all names and bytes, in order.

    Says what was passed over, and what may not be as it was meant. Raises ChoiceError naming the first of those that cannot be
    read, and their number, and where all images to train on, or all of the test, are the same.
    """
    seen: tuple[set[object], set[object]] = set(), set()
    several: list[int] = []
    brightest: list[int] = []

    def look(place: int, image: Image.Image) -> None:
        deep = pixels.deep(image)
        decoded, of = pixels.rgb(image), seen[place >= len(folder.train)]
        if len(of) < 2:
            of.add(_fingerprint(decoded))
        if pixels.frames(image):
            several.append(place)
        if deep:
            brightest.append(int(np.asarray(decoded).max()))

    found = _each(folder, look)
    for name, part, of in (("train", folder.train, seen[0]), ("test", folder.test, seen[1])):
        if len(part) > 1 and len(of) == 1:
            raise ChoiceError(
                f"data.root={folder.root}: all {len(part)} {name} images are the same, pixel for pixel "
                f"({part[0][0].relative_to(folder.root)}, ...): there is nothing to tell apart"
            )
    if folder.passed_over:
        _tell(folder, f"passed over, being no images of a class: {folder.passed_over}")
    if several:
        first = folder.files[min(several)].relative_to(folder.root)
        _tell(folder, f"of {len(several)} images with several frames or pages ({first}, ...) the first is taken")
    if brightest and max(brightest) <= DARK:
        _tell(
            folder,
            f"{len(brightest)} images of more than 8 bits are no brighter than {max(brightest)} of 255: "
            "if they use fewer bits than their files say, scale them up first",
        )
    return found


def _tell(folder: Folder, words: str) -> None:
    log.warning("%s", printable(f"data.root={folder.root}: {words}"))


def read(
    folder: Folder, image_size: int, resize: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64], str]:
    """Return train images uint8 [N, 3, side, side] and labels int64 [N], the same of the test, and what `check` does.

    `side` is that of `kept`. Raises ChoiceError as `check` does for images that cannot be read.
    """
    side = kept(folder, image_size, resize)
    train, test = (np.zeros((len(part), 3, side, side), np.uint8) for part in (folder.train, folder.test))
    labels = [np.array([label for _, label in part], np.int64) for part in (folder.train, folder.test)]

    def fill(place: int, image: Image.Image) -> None:
        array, row = (train, place) if place < len(train) else (test, place - len(train))
        decoded = pixels.rgb(image)
        if resize is None and decoded.size == (image_size, image_size):
            array[row] = _bordered(decoded, side)
        else:
            array[row] = _middle(_square(decoded, resize or side), side)

    content = _each(folder, fill)
    return train, labels[0], test, labels[1], content


def view(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Return the middle square of an image, resized to uint8 [3, side, side] in RGB."""
    return _square(pixels.rgb(image), side)


def _square(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    return _array(image.resize((side, side), Image.Resampling.BILINEAR, box))


def _array(image: Image.Image) -> npt.NDArray[np.uint8]:
    found: npt.NDArray[np.uint8] = np.asarray(image).transpose(2, 0, 1)
    return found


def _bordered(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Return an image as it is, in the middle of [3, side, side]; what is missing around it repeats its outermost pixels."""
    border = (side - image.width) // 2
    return np.pad(_array(image), ((0, 0), (border, border), (border, border)), mode="edge")


def _middle(square: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return the middle [3, side, side] of a square; where it is one pixel off, the upper left one."""
    first = (square.shape[-1] - side) // 2
    return square[:, first : first + side, first : first + side]


def _size(file: Path) -> tuple[int, int] | None:
    """Return width and height of an image; None where they cannot be told, of which `check` says why."""
    try:
        with reader.opened(file) as stream, Image.open(stream, formats=pixels.FORMATS) as image:
            return image.width, image.height
    except Exception:
        return None


def _fingerprint(image: Image.Image) -> object:
    """Return what two RGB images share if they are the same; those of one colour share it whatever their sizes."""
    colours = image.getcolors(1)
    return colours[0][1] if colours else (image.size, zlib.crc32(image.tobytes()))


def _each(folder: Folder, use: Callable[[int, Image.Image], object]) -> str:
    """Hand every image with its place to `use`, on all cores, and return which they are; raises ChoiceError as `check` does."""

    def one(place: int, file: Path) -> tuple[bytes, str | None]:
        try:
            file.stat()  # a link that leads nowhere says so
            data = reader.read_bytes(file, LARGEST)
            with pixels.opened(data) as image:
                use(place, image)
        except Exception as error:  # whatever a decoder says to damaged data
            return b"", pixels.fault(error).removeprefix(f"{file}: ")
        return hashlib.sha256(data).digest(), None

    files = folder.files
    names = [file.relative_to(folder.root) for file in files]
    with pixels.quietly(), ThreadPoolExecutor(available_cores()) as pool:
        results = list(pool.map(one, range(len(files)), files))
    if faults := [f"{name}: {fault}" for name, (_, fault) in zip(names, results, strict=True) if fault is not None]:
        raise ChoiceError(f"data.root={folder.root}: {len(faults)} of {len(files)} images cannot be read: {few(faults)}")
    content = hashlib.sha256(READING)
    for name, (digest, _) in zip(names, results, strict=True):
        content.update(os.fsencode(name) + b"\0" + digest)
    return f"sha256:{content.hexdigest()[:16]}"
