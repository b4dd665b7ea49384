"""Nets of equal size: the DenseNet-BC that comes nearest to a given net in parameters, or in FLOPs."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from harness.config.network import Family
from harness.config.run import RunConfig
from harness.data.datasets import source
from harness.models.summary import inspect

DEPTH = 22
"""Layers of the DenseNets that are sized by their growth: three stages of three layers, near the 20 of the residual net."""
MOST = 64
"""The largest growth that is looked at."""


class Size(NamedTuple):
    """Parameters, and FLOPs of a forward pass of one image, a multiply-add counting as two."""

    parameters: int
    flops: int


@cache
def size(config: RunConfig) -> Size:
    """Return the size of a run's net on the images of its data."""
    facts = source(config.data).facts(config.data)
    found = inspect(config, facts.channels, facts.size, facts.classes, batch_size=1)
    return Size(found.parameters, found.flops)


def nearest_growth(like: RunConfig, what: str) -> int:
    """Return the growth of the DenseNet-BC of DEPTH layers whose `parameters` or `flops` are nearest to those of `like`."""
    wanted = getattr(size(like), what)

    def found(growth: int) -> int:
        return int(getattr(size(dense(like, growth)), what))

    low, high = 1, MOST  # sizes rise with the growth
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if found(middle) <= wanted else (low, middle)
    return min((low, high), key=lambda growth: abs(found(growth) - wanted))


def dense(like: RunConfig, growth: int) -> RunConfig:
    """Return the DenseNet-BC of DEPTH layers on the data and schedule of `like`."""
    return RunConfig(
        family=Family.densenet, depth=DEPTH, growth=growth, seed=like.seed, data=like.data, schedule=like.schedule, device="cpu"
    )
