"""A user's own images, in the layout of torchvision's ImageFolder: ROOT/train/CLASS/FILE and ROOT/test/CLASS/FILE.

`val` may stand for `test`. Classes are numbered by the order of their names. Every file below a class's folder is one of its
images, at any depth, save those whose names begin with a dot.

The view is that of Krizhevsky et al. 2012, section 4.1, with the sizes of He et al. 2015, section 3.4 (224 of 256 pixels), in
proportion: the middle square is resized to `image_size` + 2 `margin`, a training image is a random `image_size` crop of it or
its mirror image, a test image the middle one. He et al. also draw the scale (shorter side 256 to 480) and the colours, and crop
off the middle square; that needs the original files in every epoch, and is not done.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from harness.choices import ChoiceError
from harness.config import available_cores

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""What torchvision's ImageFolder takes; told by a file's content, not by its name."""
NAMED = 3
"""How many of several faults a message names."""


@dataclass(frozen=True)
class Folder:
    """What lies below `root`: the classes in order, and every image with the number of its class."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]

    @property
    def files(self) -> list[Path]:
        """Every image, those to train on first."""
        return [file for file, _ in (*self.train, *self.test)]


def margin(image_size: int) -> int:
    """Return how many pixels more than `image_size` are kept on each side: 16 for 224."""
    return max(1, round(image_size / 14))


def scan(root: str | None) -> Folder:
    """Return what lies below `root`, no image read; raises ChoiceError where that is no data set."""
    layout = "data=image_folder needs data.root=FOLDER with train/CLASS/* and test/CLASS/*"
    if root is None:
        raise ChoiceError(f"data.root is not given: {layout}")
    place = Path(root).expanduser()
    if not place.is_dir():
        raise ChoiceError(f"data.root={root}: {'is a file, not a' if place.exists() else 'there is no such'} folder; {layout}")
    test = next((name for name in ("test", "val") if (place / name).is_dir()), None)
    if test is None or not (place / "train").is_dir():
        lacks = "test (nor val)" if (place / "train").is_dir() else "train"
        raise ChoiceError(f"data.root={root}: holds no folder {lacks}; {layout}")
    classes = _class_names(place / "train")
    if len(classes) < 2:
        found = f"one class alone, {classes[0]}" if classes else "no class"
        raise ChoiceError(f"data.root: {place / 'train'} holds {found}; two folders of images at least are needed")
    for first, second in (("train", test), (test, "train")):
        if lacking := sorted({*_class_names(place / first)} - {*_class_names(place / second)}):
            raise ChoiceError(
                f"data.root={root}: {first} and {test if first == 'train' else 'train'} differ in their classes: "
                f"{_few(lacking)} only in {first}"
            )
    return Folder(place, tuple(classes), _files(place / "train", classes), _files(place / test, classes))


def check(folder: Folder) -> str:
    """Decode every image and return which they are: the first 16 digits of a SHA-256 over all names and bytes, in order.

    Raises ChoiceError naming the first of those that cannot be read, and their number.
    """
    return _each(folder, lambda _, image: image.load())


def read(
    folder: Folder, side: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64], str]:
    """Return train images uint8 [N, 3, side, side] and labels int64 [N], the same of the test, and what `check` does.

    Raises ChoiceError as `check` does.
    """
    train, test = (np.empty((len(part), 3, side, side), np.uint8) for part in (folder.train, folder.test))
    labels = [np.array([label for _, label in part], np.int64) for part in (folder.train, folder.test)]

    def fill(place: int, image: Image.Image) -> None:
        array, row = (train, place) if place < len(train) else (test, place - len(train))
        array[row] = view(image, side)

    content = _each(folder, fill)
    return train, labels[0], test, labels[1], content


def view(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Return the middle square of an image, resized to uint8 [3, side, side] in RGB."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    square = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR, box)
    pixels: npt.NDArray[np.uint8] = np.asarray(square).transpose(2, 0, 1)
    return pixels


def _each(folder: Folder, use: Callable[[int, Image.Image], object]) -> str:
    """Hand every image with its place to `use`, on all cores, and return which they are; raises ChoiceError as `check` does."""

    def one(place: int, file: Path) -> tuple[bytes, str]:
        try:
            data = file.read_bytes()
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                use(place, image)
        except UnidentifiedImageError:
            return b"", f"is no image ({', '.join(FORMATS)})"
        except Exception as error:  # whatever a decoder says to damaged data
            return b"", getattr(error, "strerror", None) or str(error)
        return hashlib.sha256(data).digest(), ""

    files = folder.files
    names = [file.relative_to(folder.root) for file in files]
    with ThreadPoolExecutor(available_cores()) as pool:
        results = list(pool.map(one, range(len(files)), files))
    if faults := [f"{name}: {fault}" for name, (_, fault) in zip(names, results, strict=True) if fault]:
        raise ChoiceError(f"data.root={folder.root}: {len(faults)} of {len(files)} images cannot be read: {_few(faults)}")
    content = hashlib.sha256()
    for name, (digest, _) in zip(names, results, strict=True):
        content.update(os.fsencode(name) + b"\0" + digest)
    return f"sha256:{content.hexdigest()[:16]}"


def _class_names(place: Path) -> list[str]:
    return sorted(folder.name for folder in place.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _files(place: Path, classes: list[str]) -> tuple[tuple[Path, int], ...]:
    """Return the images of every class, in the order of their names; raises ChoiceError if one has none."""
    found = []
    for label, name in enumerate(classes):
        images = []
        for folder, below, names in os.walk(place / name, followlinks=True):
            below[:] = [one for one in below if not one.startswith(".")]
            images += [Path(folder, one) for one in names if not one.startswith(".")]
        if not images:
            raise ChoiceError(f"data.root: {place / name} is empty: a class has one image at least")
        found += [(image, label) for image in sorted(images)]
    return tuple(found)


def _few(words: list[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f", and {more} more" if more > 0 else "")
