"""Random images of CIFAR-10's shape: what is measured is time, and nothing has to be fetched."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from harness.config.data import DataConfig
from harness.config.registry import DATA
from harness.data.datasets import Arrays, Facts

RANDOM = "random_32x32"
"""The name of this data set; it is known where this module has been imported."""
TEST = 100
"""Test images: none is looked at."""


@DATA.register(RANDOM)
class Random:
    """50,000 training images of random pixels with random labels of 10 classes, cropped and flipped as CIFAR-10's."""

    @staticmethod
    def facts(config: DataConfig) -> Facts:
        return Facts(train=50_000, test=TEST, channels=3, size=32, classes=10, padding=4, flip=True)

    @staticmethod
    def check(config: DataConfig) -> None:
        """They are made, not found."""

    @staticmethod
    def read(config: DataConfig) -> Arrays:
        return _arrays()


@lru_cache(maxsize=1)
def _arrays() -> Arrays:
    facts, random = Random.facts(DataConfig()), np.random.default_rng(0)
    images = random.integers(0, 256, (facts.train, facts.channels, facts.size, facts.size), dtype=np.uint8)
    labels = random.integers(0, facts.classes, facts.train)
    return Arrays(images, labels, images[:TEST], labels[:TEST])
