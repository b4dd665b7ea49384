"""Compute the degradation index: the rise of a family's training error, in points, per doubling of depth.

It is the slope of the training error at the end, in percent, over the base-2 logarithm of depth: the mean of one slope per seed
(`stats.mean_of_slopes`). A family is the runs that differ only in depth and seed. Its index depends on the depths and the
protocol, so only families with equal ones are ranked against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analysis import stats
from harness.analysis.request import NO_ARM
from harness.analysis.stats import Estimate
from harness.analysis.tables import Tables

PROTOCOL = ("data", "schedule.steps", "schedule.batch_size")


@dataclass(frozen=True)
class Index:
    """The degradation index of one family of nets."""

    family: str
    """The keys in which the sweep's families differ, as text."""
    depths: tuple[int, ...]
    protocol: str
    slope: Estimate
    """Points of training error for each doubling of depth; `seeds` are those that have every depth."""
    left_out: int
    """Number of seeds left out because they lack a depth."""


def degradation(tables: Tables) -> list[Index]:
    """Return the index of every family with at least two depths, grouped by protocol and depths, best first."""
    keys = [key for key in tables.varying if key not in (*NO_ARM, "depth")]
    runs = tables.finished
    groups = runs.groupby(keys, sort=False, dropna=False) if keys else [((), runs)]
    indices = [_index(keys, values, family) for values, family in groups if family["depth"].nunique() > 1]
    return sorted(indices, key=lambda index: (index.protocol, index.depths, math.isnan(index.slope.value), index.slope.value))


def _index(keys: Sequence[str], values: Sequence[object], family: pd.DataFrame) -> Index:
    runs = family.drop_duplicates(["depth", "seed"])
    depths = tuple(sorted(runs["depth"].unique().tolist()))
    counts = runs["seed"].value_counts()
    complete = runs[runs["seed"].isin(counts[counts == len(depths)].index)]
    doublings = [math.log2(depth) for depth in complete["depth"]]
    slope = stats.mean_of_slopes(doublings, complete["train_error"].tolist(), complete["seed"].tolist())
    name = ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True)) or "all runs"
    first = family.iloc[0]
    protocol = ", ".join(f"{key}={first[key]}" for key in PROTOCOL)
    return Index(name, depths, protocol, slope, len(counts) - complete["seed"].nunique())
