"""The degradation index: how many points the training error of a family of nets rises for each doubling of its depth.

The slope of the training error at the end, in percent, over the base-2 logarithm of depth: the mean over seeds of the slopes of
each seed (`stats.mean_of_slopes`). A family is an arm, all of its keys but depth and seed. The straight line is a summary, not a
law: over other depths, or another protocol, the same family has another index, so only families with equal depths and protocol
are ranked against each other.
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
    """Seeds that lack a depth."""


def degradation(tables: Tables) -> list[Index]:
    """Return the index of every family with two depths or more: those with equal protocol and depths together, best first."""
    keys = [key for key in tables.varying if key not in (*NO_ARM, "depth")]
    runs = tables.finished
    groups = runs.groupby(keys, sort=False, dropna=False) if keys else [((), runs)]
    found = [_index(keys, values, family) for values, family in groups if family["depth"].nunique() > 1]
    return sorted(found, key=lambda one: (one.protocol, one.depths, math.isnan(one.slope.value), one.slope.value))


def _index(keys: Sequence[str], values: Sequence[object], family: pd.DataFrame) -> Index:
    alone = family.drop_duplicates(["depth", "seed"])
    depths = tuple(sorted(alone["depth"].unique().tolist()))
    counts = alone["seed"].value_counts()
    whole = alone[alone["seed"].isin(counts[counts == len(depths)].index)]
    doublings = [math.log2(depth) for depth in whole["depth"]]
    slope = stats.mean_of_slopes(doublings, whole["train_error"].tolist(), whole["seed"].tolist())
    name = ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True)) or "all runs"
    first = family.iloc[0]
    protocol = ", ".join(f"{key}={first[key]}" for key in PROTOCOL)
    return Index(name, depths, protocol, slope, alone["seed"].nunique() - whole["seed"].nunique())
