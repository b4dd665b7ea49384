"""Find the images and classes in a user's folder, laid out as for torchvision's ImageFolder: ROOT/{train,test}/CLASS/FILE.

Classes are numbered in the order of their names. The images of a class are the files below its folder, at any depth, with an
image's extension (`EXTENSIONS`); links to files and folders are followed. There are two differences to torchvision: names that
begin with a dot are ignored, and a folder that can be reached in several ways is read once, so circular links end.

`val` replaces `test` if `test` is missing or contains no class of `train`: the test images of ImageNet and Tiny ImageNet have no
labels. Everything that is not part of the data set is ignored, and listed in `ignored`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.config.registry import ChoiceError
from harness.data import filesystem

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those of torchvision's ImageFolder."""
ANNOTATIONS = "val_annotations.txt"
"""The file with the labels of Tiny ImageNet's validation images."""
NAMED = 3
"""Number of faults that a message names."""
KINDS = 12
"""Number of kinds of ignored files that a message names."""
REMEDY = "data=image_folder needs data.root=FOLDER with train/CLASS/* and test/CLASS/*"


@dataclass(frozen=True)
class Folder:
    """The classes below `root` in order, the images with the number of their class, and a description of what was ignored."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    ignored: str = ""

    @property
    def files(self) -> list[Path]:
        """All images, training images first."""
        return [file for file, _ in (*self.train, *self.test)]


@dataclass
class _Split:
    """The folder train, test or val: the names of its classes, and all paths that are neither classes nor their images."""

    path: Path
    classes: list[str]
    others: list[Path] = field(default_factory=list)


def scan(root: str | None) -> Folder:
    """Find the images below `root` without reading them; raises ChoiceError if it is not a data set."""
    if root is None:
        raise ChoiceError(f"data.root is not given: {REMEDY}")
    path = filesystem.root_folder(root, REMEDY)
    with filesystem.reading(f"data.root={root}"):
        train, test, others = _splits(root, path)
        _check_classes(root, train, test)
        images = [_images(split) for split in (train, test)]
    ignored = _describe([*others, *train.others, *test.others], path, {*train.classes})
    return Folder(path, tuple(train.classes), images[0], images[1], ignored)


def abbreviate(texts: list[str], most: int = NAMED) -> str:
    """Join the first `most` texts, and add how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f", and {more} more" if more > 0 else "")


def _splits(root: str, path: Path) -> tuple[_Split, _Split, list[Path]]:
    """Return train, test (or val in its place), and the other entries of the folder."""
    entries = {entry.name: entry for entry in sorted(path.iterdir())}
    splits = {name: _split(entries[name]) for name in ("train", "test", "val") if name in entries and entries[name].is_dir()}
    tests = [name for name in ("test", "val") if name in splits]
    if not tests or "train" not in splits:
        lacks = "test (nor val)" if "train" in splits else "train"
        raise ChoiceError(f"data.root={root}: holds no folder {lacks}; {REMEDY}")
    classes = {*splits["train"].classes}
    test = next((name for name in tests if classes & {*splits[name].classes}), tests[-1])
    return splits["train"], splits[test], [entry for name, entry in entries.items() if name not in ("train", test)]


def _split(path: Path) -> _Split:
    entries = sorted(path.iterdir())
    classes = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return _Split(path, classes, [entry for entry in entries if entry.name not in classes])


def _check_classes(root: str, train: _Split, test: _Split) -> None:
    """Raise ChoiceError unless both have the same classes, at least two."""
    if len(train.classes) < 2:
        holds = f"only one class, {train.classes[0]}" if train.classes else "no class"
        raise ChoiceError(f"data.root: {train.path} holds {holds}; at least two folders of images are needed")
    name = test.path.name
    if not {*train.classes} & {*test.classes}:
        remedy = f"its images must lie in {name}/CLASS/, with the classes named as in train"
        if (test.path / ANNOTATIONS).is_file():
            labelled = f"its images are labelled in {name}/{ANNOTATIONS}, as in Tiny ImageNet"
            remedy = f"{labelled}; move each into {name}/CLASS/, as docs/guide.md says"
        raise ChoiceError(f"data.root={root}: {name} holds none of the classes of train ({abbreviate(train.classes)}): {remedy}")
    for split, other in ((train, test), (test, train)):
        if extra := sorted({*split.classes} - {*other.classes}):
            differ = f"{split.path.name} and {other.path.name} differ in their classes"
            raise ChoiceError(f"data.root={root}: {differ}: {abbreviate(extra)} only in {split.path.name}")


def _images(split: _Split) -> tuple[tuple[Path, int], ...]:
    """Return the images of every class, in the order of their names; raises ChoiceError if a class has none."""
    labelled = []
    for label, name in enumerate(split.classes):
        images, others = _walk(split.path / name)
        if not images:
            fault = f"holds no image ({', '.join(EXTENSIONS)})" if others else "is empty"
            raise ChoiceError(f"data.root: {split.path / name} {fault}: every class needs at least one image")
        labelled += [(image, label) for image in sorted(images)]
        split.others += others
    return tuple(labelled)


def _walk(class_folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files below a class's folder that have an image's extension, and everything else except folders.

    Folders are entered in the order of their names, each only once, and never those that contain the class. A pipe or device
    with an image's extension counts as an image, which will be reported as unreadable.
    """
    images: list[Path] = []
    others: list[Path] = []
    entered = {_identity(parent) for parent in class_folder.parents[:2]}
    for path, folders, files in os.walk(class_folder, onerror=_raise, followlinks=True):
        folder = Path(path)
        identity = _identity(folder)
        if identity in entered:
            others.append(folder)
            folders.clear()
            continue
        entered.add(identity)
        hidden = [name for name in folders if name.startswith(".")]
        folders[:] = sorted({*folders} - {*hidden})
        for name in sorted([*files, *hidden]):
            is_image = name.lower().endswith(EXTENSIONS) and not name.startswith(".")
            (images if is_image else others).append(folder / name)
    return images, others


def _raise(error: OSError) -> None:
    raise error


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _describe(paths: Iterable[Path], root: Path, classes: set[str]) -> str:
    """Describe the ignored paths: the first path of each kind, and how many of that kind there are.

    Paths are of the same kind if their file names are equal, or differ only in containing the name of their class.
    """
    kinds: dict[str, list[Path]] = {}
    for path in paths:
        relative = path.relative_to(root)
        class_name = relative.parts[1] if len(relative.parts) > 1 else ""
        kind = path.name.replace(class_name, "\0") if class_name in classes else path.name
        kinds.setdefault(kind, []).append(relative)
    return abbreviate([f"{same[0]} ({len(same)} such)" if len(same) > 1 else str(same[0]) for same in kinds.values()], KINDS)
