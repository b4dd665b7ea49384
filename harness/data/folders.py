"""What lies below a user's folder, as torchvision's ImageFolder reads it: ROOT/train/CLASS/FILE and ROOT/test/CLASS/FILE.

Classes are numbered by the order of their names. The images of a class are the files below its folder, at any depth, whose
names end as an image's (`EXTENSIONS`); links to files and folders are followed. In two things it differs: what begins with a dot
is no image, and a folder that can be reached in several ways is read once, so that links in a circle end.

`val` stands for `test` where there is none, or where it holds no class of `train`: the test images of ImageNet and Tiny ImageNet
have no labels. Whatever is no part of the data set is passed over, and `passed_over` names it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.config.registry import ChoiceError
from harness.data import places

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those of torchvision's ImageFolder."""
ANNOTATIONS = "val_annotations.txt"
"""Where Tiny ImageNet has the labels of its validation images."""
NAMED = 3
"""How many of several faults a message names."""
KINDS = 12
"""How many kinds of what was passed over are named."""
REMEDY = "data=image_folder needs data.root=FOLDER with train/CLASS/* and test/CLASS/*"


@dataclass(frozen=True)
class Folder:
    """What lies below `root`: the classes in order, and every image with the number of its class; and what was passed over."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    passed_over: str = ""

    @property
    def files(self) -> list[Path]:
        """Every image, those to train on first."""
        return [file for file, _ in (*self.train, *self.test)]


@dataclass
class _Part:
    """What lies in train, test or val: folders of classes by name, and entries that are neither those nor images in them."""

    place: Path
    classes: list[str]
    others: list[Path] = field(default_factory=list)


def scan(root: str | None) -> Folder:
    """Return what lies below `root`, no image read; raises ChoiceError where that is no data set."""
    if root is None:
        raise ChoiceError(f"data.root is not given: {REMEDY}")
    place = places.folder(root, REMEDY)
    with places.reading(f"data.root={root}"):
        train, test, others = _parts(root, place)
        _check_classes(root, train, test)
        images = [_images(part) for part in (train, test)]
    passed = _summary(place, [*others, *train.others, *test.others], train.classes)
    return Folder(place, tuple(train.classes), images[0], images[1], passed)


def few(words: list[str], most: int = NAMED) -> str:
    """Return the first of some words, and how many more there are."""
    more = len(words) - most
    return ", ".join(words[:most]) + (f", and {more} more" if more > 0 else "")


def _parts(root: str, place: Path) -> tuple[_Part, _Part, list[Path]]:
    """Return train, test (or val in its place) and what else lies in the folder."""
    entries = {path.name: path for path in sorted(place.iterdir())}
    found = {name: _part(entries[name]) for name in ("train", "test", "val") if name in entries and entries[name].is_dir()}
    tests = [name for name in ("test", "val") if name in found]
    if not tests or "train" not in found:
        lacks = "test (nor val)" if "train" in found else "train"
        raise ChoiceError(f"data.root={root}: holds no folder {lacks}; {REMEDY}")
    classes = {*found["train"].classes}
    test = next((name for name in tests if classes & {*found[name].classes}), tests[-1])
    return found["train"], found[test], [path for name, path in entries.items() if name not in ("train", test)]


def _part(place: Path) -> _Part:
    entries = sorted(place.iterdir())
    classes = [path.name for path in entries if path.is_dir() and not path.name.startswith(".")]
    return _Part(place, classes, [path for path in entries if path.name not in classes])


def _check_classes(root: str, train: _Part, test: _Part) -> None:
    """Raise ChoiceError unless both have the same classes, two at least."""
    if len(train.classes) < 2:
        found = f"one class alone, {train.classes[0]}" if train.classes else "no class"
        raise ChoiceError(f"data.root: {train.place} holds {found}; two folders of images at least are needed")
    name = test.place.name
    if not {*train.classes} & {*test.classes}:
        holds = f"none of the classes of train ({few(train.classes)})"
        raise ChoiceError(f"data.root={root}: {name} holds {holds}: {_how_to_sort(test)}")
    for one, other in ((train, test), (test, train)):
        if lacking := sorted({*one.classes} - {*other.classes}):
            raise ChoiceError(
                f"data.root={root}: {one.place.name} and {other.place.name} differ in their classes: "
                f"{few(lacking)} only in {one.place.name}"
            )


def _how_to_sort(test: _Part) -> str:
    name = test.place.name
    if (test.place / ANNOTATIONS).is_file():
        return (
            f"its images are labelled in {name}/{ANNOTATIONS}, as Tiny ImageNet has them; "
            f"move each into {name}/CLASS/, as docs/guide.md says"
        )
    return f"its images must lie in {name}/CLASS/, the classes named as in train"


def _images(part: _Part) -> tuple[tuple[Path, int], ...]:
    """Return the images of every class, in the order of their names; raises ChoiceError if one has none."""
    found = []
    for label, name in enumerate(part.classes):
        images, others = _walk(part.place / name)
        if not images:
            holds = f"holds no image ({', '.join(EXTENSIONS)})" if others else "is empty"
            raise ChoiceError(f"data.root: {part.place / name} {holds}: a class has one image at least")
        found += [(image, label) for image in sorted(images)]
        part.others += others
    return tuple(found)


def _walk(place: Path) -> tuple[list[Path], list[Path]]:
    """Return the files below a class's folder that are named as images, and all else but folders.

    Each real folder is entered once, in the order of names, and none that the class lies in. A pipe or device that is named as
    an image is one that cannot be read.
    """
    images: list[Path] = []
    others: list[Path] = []
    waiting = [place]
    entered = {_identity(above) for above in place.parents[:2]}
    while waiting:
        here = waiting.pop()
        identity = _identity(here)
        if identity in entered:
            others.append(here)
            continue
        entered.add(identity)
        with os.scandir(here) as entries:
            below = sorted(entries, key=lambda entry: entry.name)
        folders = []
        for entry in below:
            path = here / entry.name
            if entry.name.startswith("."):
                others.append(path)
            elif _is_folder(entry):
                folders.append(path)
            else:
                (images if entry.name.lower().endswith(EXTENSIONS) else others).append(path)
        waiting += reversed(folders)
    return images, others


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, as os.walk takes it
        return False


def _identity(place: Path) -> tuple[int, int]:
    found = place.stat()
    return found.st_dev, found.st_ino


def _summary(root: Path, others: Iterable[Path], classes: list[str]) -> str:
    """Return in words what was passed over: one of each kind, and how many there are of it.

    Of one kind are files of one name, and files whose names differ by that of their class alone.
    """
    known, count = set(classes), Counter[str]()
    first: dict[str, Path] = {}
    for path in others:
        inside = path.relative_to(root)
        own = next((part for part in inside.parts[1:2] if part in known), None)
        kind = path.name.replace(own, "\0") if own else path.name if len(inside.parts) > 1 else str(inside)
        count[kind] += 1
        first.setdefault(kind, inside)
    return few([f"{path}{f' ({count[kind]} such)' if count[kind] > 1 else ''}" for kind, path in first.items()], KINDS)
