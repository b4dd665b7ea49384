"""Data sets as arrays on the CPU. numpy only, so that a sweep's data are checked without torch.

A source is a class registered under its name; `facts` says what it holds, `check` whether it is there and sound, `read`
returns it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from harness.config import network_size
from harness.config.data import DataConfig, LocatedData, Split
from harness.config.registry import DATA, ChoiceError
from harness.config.run import RunConfig
from harness.config.seeds import stream_seed
from harness.data import cifar, image_folder, places
from harness.system import memory

T = TypeVar("T")
Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Facts:
    """What a data set holds, and how its images may be changed.

    `train` and `test` are numbers of images, `size` is the side that a net sees. For random crops `padding` pixels of zero
    are added on each side, or images are kept larger than `size` by `margin` pixels on each side. `flip` says whether a
    mirrored image keeps its meaning.
    """

    train: int
    test: int
    channels: int
    size: int
    classes: int
    padding: int
    flip: bool
    margin: int = 0

    @property
    def bytes(self) -> int:
        """Memory that the images take."""
        return (self.train + self.test) * self.channels * (self.size + 2 * self.margin) ** 2

    @property
    def chance_error(self) -> float:
        """Error of a guess, in percent."""
        return 100.0 * (1 - 1 / self.classes)


@dataclass(frozen=True)
class Arrays:
    """Images as uint8 [N, C, H, W], labels as int64 [N]."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels

    def checksum(self) -> str:
        """Return the SHA-256 of all images and labels in order, whatever files they were read from."""
        found = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            found.update(np.ascontiguousarray(array).data)
        return f"sha256:{found.hexdigest()}"


class Source(Protocol):
    """A data set: facts, a check that needs no torch, and the arrays."""

    @staticmethod
    def facts(config: LocatedData) -> Facts:
        """Return what the data set holds, without reading the images; raises ChoiceError where that cannot be seen."""

    @staticmethod
    def check(config: LocatedData) -> str | None:
        """Return which images were found, as `data.content` has it; None where the data set's name says it.

        Raises ChoiceError where the data are missing or damaged.
        """

    @staticmethod
    def read(config: LocatedData) -> Arrays:
        """Return the arrays; raises ChoiceError where they are not those of `config.content`."""


def source(config: DataConfig) -> Source:
    found: Source = DATA[config.name]
    return found


def ask(question: Callable[[LocatedData], T], config: LocatedData) -> T:
    """Return what a source's method answers; an OSError becomes a ChoiceError naming the path."""
    with places.reading(f"data={config.name}"):
        return question(config)


def check(config: RunConfig) -> RunConfig:
    """Return `config` with `data.content` filled in where the data set's name does not say which images it holds.

    Raises ChoiceError if the run's data are missing, damaged, too few for a batch, or more than memory holds.
    """
    return check_all([config])[0]


def check_all(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Do what `check` does for every config; the images are looked at once for all."""
    located = [config.located_data() for config in configs]
    facts = {data: ask(source(data).facts, data) for data in dict.fromkeys(located)}
    for config, data in zip(configs, located, strict=True):
        _check_counts(config, facts[data])
    for data, about in facts.items():
        memory.check(about.bytes, f"data={data.name}: {about.train + about.test:,} images of {about.size}x{about.size}")
    by_place = {_place(data): data for data in facts}
    found = {place: ask(source(data).check, data) for place, data in by_place.items()}
    return [_with_content(config, found[_place(data)]) for config, data in zip(configs, located, strict=True)]


def _check_counts(config: RunConfig, facts: Facts) -> None:
    """Raise ChoiceError if the run's data are too few for a batch or to hold some back, or too small for its net."""
    held = facts.train // 10 if config.data.split is Split.holdout else 0
    images, batch = facts.train - held, config.schedule.batch_size
    config.check_images(facts.size, batch)
    network_size.check_memory(config, facts.size, batch, config.device == "cpu", memory.installed())
    if batch > images:
        raise ChoiceError(
            f"schedule.batch_size={batch}: larger than the data set; data={config.data.name}, "
            f"data.split={config.data.split.value} has {images} training images"
        )
    if (asked := config.schedule.precise_norm or 0) > images:
        raise ChoiceError(f"schedule.precise_norm={asked}: there are {images} training images; nearest is {images}")
    if config.data.split is Split.holdout and held == 0:
        raise ChoiceError(f"data.split=holdout: a tenth of {facts.train} training images is none")


def _place(config: LocatedData) -> tuple[str, str | None]:
    return config.name, config.root


def _with_content(config: RunConfig, found: str | None) -> RunConfig:
    if found is None:
        return config
    _agree(config.data.content, found)
    return replace(config, data=replace(config.data, content=found))


def _agree(asked: str | None, found: str) -> None:
    if asked not in (None, found):
        raise ChoiceError(f"data.content={asked}: the images below data.root are others, {found}")


def stratified_split(labels: Labels, counts: npt.NDArray[np.int64], name: str) -> tuple[Labels, Labels]:
    """Return (rest, taken): indices in rising order, `counts[c]` of each class c taken at random by a fixed stream."""
    generator = np.random.Generator(np.random.PCG64(stream_seed(0, name)))
    order = generator.permutation(len(labels))
    taken = np.concatenate([order[labels[order] == label][:count] for label, count in enumerate(counts)])
    mask = np.zeros(len(labels), dtype=bool)
    mask[taken] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def proportional(labels: Labels, total: int) -> npt.NDArray[np.int64]:
    """Return how many of each class make `total`, in proportion, by largest remainders."""
    exact = np.bincount(labels) * (total / len(labels))
    counts: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    most = np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]
    counts[most] += 1
    return counts


@DATA.register("digits")
class Digits:
    """UCI's optical recognition of handwritten digits, test part (Alpaydin and Kaynak 1998), as in scikit-learn.

    Pixels are counts from 0 to 16. The split into 1,437 and 360 is ours: stratified, fixed, independent of any seed.
    """

    @staticmethod
    def facts(config: DataConfig) -> Facts:
        return Facts(train=1437, test=360, channels=1, size=8, classes=10, padding=1, flip=False)

    @staticmethod
    def check(config: DataConfig) -> None:
        """The images come with scikit-learn."""

    @staticmethod
    def read(config: DataConfig) -> Arrays:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = bunch.images.astype(np.uint8)[:, None]
        labels = bunch.target.astype(np.int64)
        train, test = stratified_split(labels, proportional(labels, Digits.facts(config).test), "digits")
        return Arrays(images[train], labels[train], images[test], labels[test])


class _Cifar:
    """CIFAR-10 or CIFAR-100 (Krizhevsky 2009), from an official distribution below `data.root`, checked by MD5."""

    name: ClassVar[str]
    classes: ClassVar[int]

    @classmethod
    def facts(cls, config: LocatedData) -> Facts:
        return Facts(train=50_000, test=10_000, channels=3, size=32, classes=cls.classes, padding=4, flip=True)

    @classmethod
    def check(cls, config: LocatedData) -> None:
        cifar.locate(cls.name, config.root, config.download)

    @classmethod
    def read(cls, config: LocatedData) -> Arrays:
        return Arrays(*cifar.locate(cls.name, config.root, download=False).read())


@DATA.register("cifar10")
class Cifar10(_Cifar):
    name, classes = "CIFAR10", 10


@DATA.register("cifar100")
class Cifar100(_Cifar):
    """The labels are the fine ones."""

    name, classes = "CIFAR100", 100


@DATA.register("image_folder")
class ImageFolder:
    """A user's own images below `data.root`: see `harness.data.image_folder`."""

    @staticmethod
    def facts(config: LocatedData) -> Facts:
        folder, size = image_folder.scan(config.root), _size(config)
        margin = (image_folder.kept(folder, size, config.resize) - size) // 2
        counts = {"train": len(folder.train), "test": len(folder.test), "classes": len(folder.classes)}
        return Facts(**counts, channels=3, size=size, padding=0 if margin else max(1, size // 8), flip=True, margin=margin)

    @staticmethod
    def check(config: LocatedData) -> str:
        return image_folder.check(image_folder.scan(config.root))

    @staticmethod
    def read(config: LocatedData) -> Arrays:
        train, train_labels, test, test_labels, found = image_folder.read(
            image_folder.scan(config.root), _size(config), config.resize
        )
        _agree(config.content, found)
        return Arrays(train, train_labels, test, test_labels)


def _size(config: LocatedData) -> int:
    assert config.image_size is not None
    return config.image_size
