"""Random images of CIFAR-10's shape, for what measures time alone and must not need the data."""

import numpy as np

from harness.data.datasets import Arrays, Facts


def source(train, test):
    """Return a source of so many random images, cropped and flipped as CIFAR-10's."""
    kind = Facts(train=train, test=test, channels=3, size=32, classes=10, padding=4, flip=True)
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (train, 3, 32, 32), dtype=np.uint8), random.integers(0, 10, train)

    class Source:
        @staticmethod
        def facts(config):
            return kind

        @staticmethod
        def read(config):
            return Arrays(images, labels, images[:test], labels[:test])

    return Source
