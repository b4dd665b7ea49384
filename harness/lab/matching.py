"""Nets of equal size: the DenseNet-BC nearest to a given net in parameters, or in FLOPs."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from typing import NamedTuple

from harness.config.network import Family
from harness.config.run import RunConfig
from harness.data.datasets import source
from harness.models.summary import summarize

DEPTH = 22
"""Layers of the DenseNets that are sized by their growth: three stages of three layers, near the 20 of the residual net."""
MAX_GROWTH = 64


class Size(NamedTuple):
    """Parameters, and FLOPs of a forward pass of one image, a multiply-add counting as two."""

    parameters: int
    flops: int

    @property
    def cells(self) -> tuple[str, str]:
        """Parameters and MFLOPs as table cells."""
        return f"{self.parameters:,}", f"{self.flops / 1e6:.2f}"


def size(config: RunConfig) -> Size:
    """Return the size of a run's net on the images of its data."""
    facts = source(config.data).facts(config.located_data())
    summary = summarize(config, facts.channels, facts.size, facts.classes, batch_size=1)
    return Size(summary.parameters, summary.flops)


def nearest_growth(like: RunConfig, quantity: str) -> int:
    """Return the growth of the DenseNet-BC of DEPTH layers whose `parameters` or `flops` are nearest to those of `like`."""

    @cache
    def amount(growth: int) -> int:
        return int(getattr(size(dense(like, growth)), quantity))

    target = getattr(size(like), quantity)
    below = max(1, bisect_right(range(1, MAX_GROWTH), target, key=amount))  # sizes rise with the growth
    return min((below, below + 1), key=lambda growth: abs(amount(growth) - target))


def dense(like: RunConfig, growth: int) -> RunConfig:
    """Return the DenseNet-BC of DEPTH layers on the data and schedule of `like`."""
    return RunConfig(
        family=Family.densenet, depth=DEPTH, growth=growth, seed=like.seed, data=like.data, schedule=like.schedule, device="cpu"
    )
