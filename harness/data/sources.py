"""Data sets as arrays on the CPU. numpy only, so that a sweep's data are checked without torch.

A source is a class registered under its name; `facts` says what it holds, `check` whether it is there, `read` returns it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from harness.choices import DATA, ChoiceError
from harness.config import DataConfig, RunConfig, Split
from harness.data import cifar10
from harness.streams import stream_seed

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Facts:
    """What a data set holds, and how its images may be changed.

    `train` and `test` are numbers of images; `padding` is the margin in pixels for random crops; `flip` says whether a
    mirrored image keeps its meaning.
    """

    train: int
    test: int
    channels: int
    size: int
    classes: int
    padding: int
    flip: bool

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

    facts: ClassVar[Facts]

    @staticmethod
    def check(config: DataConfig) -> None:
        """Raise ChoiceError where the data are missing or damaged."""

    @staticmethod
    def read(config: DataConfig) -> Arrays: ...


def source(config: DataConfig) -> Source:
    found: Source = DATA[config.name]
    return found


def images_trained_on(config: DataConfig) -> int:
    """Return the number of training images that remain after the split."""
    train = source(config).facts.train
    return train - train // 10 if config.split is Split.holdout else train


def check_batch(config: RunConfig) -> None:
    """Raise ChoiceError if the run's data are too few for a batch."""
    images, batch = images_trained_on(config.data), config.schedule.batch_size
    if batch > images:
        raise ChoiceError(
            f"schedule.batch_size={batch}: larger than the data set; data={config.data.name}, "
            f"data.split={config.data.split.value} has {images} training images"
        )


def check(config: RunConfig) -> None:
    """Raise ChoiceError if the run's data are missing, damaged or too few for a batch."""
    check_batch(config)
    source(config.data).check(config.data)


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

    facts: ClassVar[Facts] = Facts(train=1437, test=360, channels=1, size=8, classes=10, padding=1, flip=False)

    @staticmethod
    def check(config: DataConfig) -> None:
        """The images come with scikit-learn."""

    @staticmethod
    def read(config: DataConfig) -> Arrays:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = bunch.images.astype(np.uint8)[:, None]
        labels = bunch.target.astype(np.int64)
        train, test = stratified_split(labels, proportional(labels, Digits.facts.test), "digits")
        return Arrays(images[train], labels[train], images[test], labels[test])


@DATA.register("cifar10")
class Cifar10:
    """CIFAR-10 (Krizhevsky 2009), from either official distribution below `data.root`, checked by MD5."""

    facts: ClassVar[Facts] = Facts(train=50_000, test=10_000, channels=3, size=32, classes=10, padding=4, flip=True)

    @staticmethod
    def check(config: DataConfig) -> None:
        cifar10.locate(config.root, config.download).check()

    @staticmethod
    def read(config: DataConfig) -> Arrays:
        return Arrays(*cifar10.locate(config.root, download=False).read())
