"""Data sets as numpy arrays on the CPU. This module does not import torch, so a sweep's data are checked without it.

A source is a class registered under its name; `facts` describes the data, `check` verifies them, and `read` returns them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from harness.config import network_size
from harness.config.data import DataConfig, LocatedData, Split
from harness.config.registry import DATA, ChoiceError
from harness.config.run import RunConfig
from harness.config.seeds import stream_seed
from harness.data import Images, Labels, cifar, filesystem, folders, image_folder
from harness.system import memory

T = TypeVar("T")


@dataclass(frozen=True)
class Facts:
    """The contents of a data set, and how its images may be augmented.

    Attributes:
        train: number of training images.
        test: number of test images.
        size: side in pixels of the images that a net sees.
        padding: pixels of zeros added on each side for random crops.
        margin: pixels by which images are stored larger than `size` on each side, for random crops instead of padding.
        flip: whether mirrored images keep their meaning.
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
        """Memory of the images in bytes."""
        return (self.train + self.test) * self.channels * (self.size + 2 * self.margin) ** 2

    @property
    def chance_error(self) -> float:
        """Error at chance level, in percent."""
        return 100.0 * (1 - 1 / self.classes)


@dataclass(frozen=True)
class Arrays:
    """Images as uint8 [N, C, H, W], labels as int64 [N]."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels

    def checksum(self) -> str:
        """Return the SHA-256 of all images and labels in order, independent of the files they were read from."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(np.ascontiguousarray(array).data)
        return f"sha256:{digest.hexdigest()}"


class Source(Protocol):
    """The interface of a data set."""

    @staticmethod
    def facts(config: LocatedData) -> Facts:
        """Return the facts without reading the images; raises ChoiceError if that is impossible."""

    @staticmethod
    def check(config: LocatedData) -> str | None:
        """Return the hash of the images for `data.content`, or None if the name of the data set determines the images.

        Raises ChoiceError if the data are missing or damaged.
        """

    @staticmethod
    def read(config: LocatedData) -> Arrays:
        """Return the arrays; raises ChoiceError if they do not match `config.content`."""


def source(config: DataConfig) -> Source:
    """Return the source that `config` names."""
    source_class: Source = DATA[config.name]
    return source_class


def call(method: Callable[[LocatedData], T], config: LocatedData) -> T:
    """Call a source's method; an OSError becomes a ChoiceError that names the path."""
    with filesystem.reading(f"data={config.name}"):
        return method(config)


def check(config: RunConfig) -> RunConfig:
    """Check the data of a run and return `config`, with `data.content` filled in if the data set's name leaves it open.

    Raises ChoiceError if the data are missing, damaged, too few for a batch, or too large for memory.
    """
    return check_all([config])[0]


def check_all(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Like `check`, for several configs; each folder of images is checked only once."""
    located = [config.located_data() for config in configs]
    all_facts = {data: call(source(data).facts, data) for data in dict.fromkeys(located)}
    for config, data in zip(configs, located, strict=True):
        _check_counts(config, all_facts[data])
    for data, facts in all_facts.items():
        memory.check(facts.bytes, f"data={data.name}: {facts.train + facts.test:,} images of {facts.size}x{facts.size}")
    data_sets = {(data.name, data.root): data for data in all_facts}
    contents = {key: call(source(data).check, data) for key, data in data_sets.items()}
    return [_with_content(config, contents[data.name, data.root]) for config, data in zip(configs, located, strict=True)]


def _check_counts(config: RunConfig, facts: Facts) -> None:
    """Raise ChoiceError if there are too few images for a batch or a holdout, or if they are too small for the net."""
    holdout = facts.train // 10 if config.data.split is Split.holdout else 0
    images, batch = facts.train - holdout, config.schedule.batch_size
    config.rules.check_images(config, facts.size, batch)
    network_size.check_memory(config, facts.size, batch, config.device == "cpu", memory.installed())
    if batch > images:
        raise ChoiceError(
            f"schedule.batch_size={batch}: larger than the data set; data={config.data.name}, "
            f"data.split={config.data.split.value} has {images} training images"
        )
    if (precise := config.schedule.precise_norm or 0) > images:
        raise ChoiceError(f"schedule.precise_norm={precise}: there are {images} training images; nearest is {images}")
    if config.data.split is Split.holdout and holdout == 0:
        raise ChoiceError(f"data.split=holdout: a tenth of {facts.train} training images is less than one image")


def _with_content(config: RunConfig, content: str | None) -> RunConfig:
    if content is None:
        return config
    _check_content(config.data, content)
    return replace(config, data=replace(config.data, content=content))


def _check_content(config: DataConfig, content: str) -> None:
    if config.content not in (None, content):
        raise ChoiceError(f"data.content={config.content}: the images below data.root have content {content}")


def stratified_split(labels: Labels, counts: npt.NDArray[np.int64], name: str) -> tuple[Labels, Labels]:
    """Return (rest, taken), indices in ascending order: `counts[c]` of each class c are taken, drawn from the stream `name`."""
    generator = np.random.Generator(np.random.PCG64(stream_seed(0, name)))
    order = generator.permutation(len(labels))
    taken = np.concatenate([order[labels[order] == label][:count] for label, count in enumerate(counts)])
    mask = np.zeros(len(labels), dtype=bool)
    mask[taken] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def proportional(labels: Labels, total: int) -> npt.NDArray[np.int64]:
    """Return how many of each class make `total`, in proportion, by the largest remainder method."""
    exact = np.bincount(labels) * (total / len(labels))
    counts: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    most = np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]
    counts[most] += 1
    return counts


@DATA.register("digits")
class Digits:
    """The test set of UCI's optical recognition of handwritten digits (Alpaydin and Kaynak 1998, CC BY 4.0).

    The file digits.csv.gz beside this module is the one that scikit-learn distributes: a line of 64 pixels and a label for each
    image. Pixels are counts from 0 to 16. The split into 1,437 and 360 is ours: stratified and fixed, independent of any seed.
    """

    @staticmethod
    def facts(config: DataConfig) -> Facts:
        return Facts(train=1437, test=360, channels=1, size=8, classes=10, padding=1, flip=False)

    @staticmethod
    def check(config: DataConfig) -> None:
        """The images come with this package."""

    @staticmethod
    def read(config: DataConfig) -> Arrays:
        table = np.loadtxt(Path(__file__).with_name("digits.csv.gz"), dtype=np.uint8, delimiter=",")
        images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
        train, test = stratified_split(labels, proportional(labels, Digits.facts(config).test), "digits")
        return Arrays(images[train], labels[train], images[test], labels[test])


class _Cifar:
    """CIFAR-10 or CIFAR-100 (Krizhevsky 2009), from an official distribution below `data.root`, checked by MD5 sums."""

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
        return Arrays(*cifar.read(cifar.locate(cls.name, config.root, download=False)))


@DATA.register("cifar10")
class Cifar10(_Cifar):
    name, classes = "CIFAR10", 10


@DATA.register("cifar100")
class Cifar100(_Cifar):
    """With the fine labels."""

    name, classes = "CIFAR100", 100


@DATA.register("image_folder")
class ImageFolder:
    """The user's own images below `data.root`: see `harness.data.image_folder`."""

    @staticmethod
    def facts(config: LocatedData) -> Facts:
        folder, size = folders.scan(config.root), cast(int, config.image_size)
        margin = (image_folder.stored_side(folder, size, config.resize) - size) // 2
        counts = {"train": len(folder.train), "test": len(folder.test), "classes": len(folder.classes)}
        return Facts(**counts, channels=3, size=size, padding=0 if margin else max(1, size // 8), flip=True, margin=margin)

    @staticmethod
    def check(config: LocatedData) -> str:
        return image_folder.check(folders.scan(config.root))

    @staticmethod
    def read(config: LocatedData) -> Arrays:
        folder = folders.scan(config.root)
        arrays, content = image_folder.read(folder, cast(int, config.image_size), config.resize)
        _check_content(config, content)
        return Arrays(*arrays)
