"""Random images of CIFAR-10's shape, for measuring time without data on disk."""

from __future__ import annotations

from functools import cache

import numpy as np

from harness.config.data import LocatedData
from harness.config.registry import DATA
from harness.data.datasets import Arrays, Facts, Source

RANDOM = "random_32x32"
"""Name of the data set with as many training images as CIFAR-10. Importing this module registers it."""


def random_images(train: int, test: int) -> type[Source]:
    """Return a data set of random pixels with random labels of 10 classes, cropped and flipped like CIFAR-10.

    The `test` images are the first of the `train` images.
    """
    contents = Facts(train=train, test=test, channels=3, size=32, classes=10, padding=4, flip=True)

    @cache
    def arrays() -> Arrays:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (train, 3, 32, 32), dtype=np.uint8)
        labels = random.integers(0, 10, train)
        return Arrays(images, labels, images[:test], labels[:test])

    class Random:
        @staticmethod
        def facts(config: LocatedData) -> Facts:
            return contents

        @staticmethod
        def check(config: LocatedData) -> None:
            """Nothing can be missing."""

        @staticmethod
        def read(config: LocatedData) -> Arrays:
            return arrays()

    return Random


DATA.register(RANDOM, "random images of CIFAR-10's shape")(random_images(train=50_000, test=100))
