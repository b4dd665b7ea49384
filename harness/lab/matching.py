"""Nets of equal size: the DenseNet-BC nearest to a given net in parameters, or in FLOPs."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache

from harness.config.network import Family
from harness.config.run import RunConfig
from harness.data.datasets import source
from harness.models.summary import Summary, summarize

DEPTH = 22
"""Layers of the DenseNets that are sized by their growth: three stages of three layers, near the 20 of the residual net."""
MAX_GROWTH = 64


@cache
def size(config: RunConfig) -> Summary:
    """Return the summary of a run's net on the images of its data, with its parameters and FLOPs."""
    facts = source(config.data).facts(config.located_data())
    return summarize(config, facts.channels, facts.size, facts.classes, batch_size=1)


def size_cells(config: RunConfig) -> tuple[str, str]:
    """Return the table cells of a net's parameters and MFLOPs for one image."""
    return f"{size(config).parameters:,}", f"{size(config).flops / 1e6:.2f}"


def nearest_growth(like: RunConfig, quantity: str) -> int:
    """Return the growth of the DenseNet-BC of DEPTH layers whose `parameters` or `flops` are nearest to those of `like`."""

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
