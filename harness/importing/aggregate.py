"""Group foreign runs, and aggregate a metric over the seeds of each group, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analysis import stats
from harness.config.registry import unknown
from harness.importing.foreign import ForeignRun

LARGEST = 1e150
"""Values beyond count as infinite, since their squares are."""
COLUMNS = ("metric", "group", "step", "n", "mean", "low", "high")
"""Columns of the table: the mean over n seeds, and its two-sided 95 % t interval, empty for one seed."""


@dataclass(frozen=True)
class Curve:
    """A metric of one group.

    `table` has the COLUMNS, one row per step at which every run of the group that has the metric has a finite value. `partial`
    counts the other steps at which not every run has a value, `infinite` those at which the value of a run is NaN or infinite.
    """

    group: str
    table: pd.DataFrame
    runs: int
    lacking: int
    """Runs of the group without the metric."""
    partial: int
    infinite: int


def group(runs: Sequence[ForeignRun], keys: Sequence[str], seed: str) -> dict[str, list[ForeignRun]]:
    """Return the runs by the values of `keys`; without keys, by those of all keys that vary, except the seed.

    Raises ChoiceError for a key that no run has.
    """
    known = list(dict.fromkeys(key for run in runs for key in run.choices))
    for key in keys:
        if key not in known:
            raise unknown("--group", key, known)
    chosen = keys or [k for k in known if k != seed and len({str(run.choices.get(k)) for run in runs}) > 1]
    groups: dict[str, list[ForeignRun]] = {}
    for run in runs:
        label = ", ".join(f"{key}={run.choices.get(key, 'none')}" for key in chosen)
        groups.setdefault(label or "all runs", []).append(run)
    return groups


def curve(name: str, runs: Sequence[ForeignRun], metric: str) -> Curve:
    """Return the mean of a metric over the runs of a group, at every step that all of them have."""
    having: list[Mapping[int, float]] = [run.metrics[metric] for run in runs if metric in run.metrics]
    union = set().union(*having)
    common = [step for step in sorted(union) if all(step in values for values in having)]
    rows = []
    for step in common:
        values = [of_run[step] for of_run in having]
        if all(abs(value) < LARGEST for value in values):
            estimate = stats.mean(values)
            rows.append((metric, name, step, len(values), estimate.value, estimate.low, estimate.high))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Curve(name, table, len(having), len(runs) - len(having), len(union) - len(common), len(common) - len(rows))
