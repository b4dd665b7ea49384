"""What the answers take from the records: errors by seed, gradients by block, losses by step, and how they are written."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.analysis import stats
from harness.analysis.phases import EARLY
from harness.lab.document import Said, said
from harness.records.run import Run

BySeed = Mapping[int, float]


def errors(runs: Mapping[int, Run], which: str) -> BySeed:
    """Return `train_error` or `test_error` at the end by seed, in percent; that of a guess where a run diverged."""
    return {seed: float(getattr(run, which)) for seed, run in runs.items()}


def mean(values: Iterable[float]) -> float:
    return statistics.fmean(list(values))


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Return mean, least and greatest: 2.1 [1.9, 2.4]."""
    each = list(values)
    return f"{mean(each):.{digits}f} [{min(each):.{digits}f}, {max(each):.{digits}f}]"


def magnitudes(values: Iterable[float]) -> str:
    """Return median, least and greatest of numbers that differ by magnitudes: 1.2e-05 [3e-06, 4e-05]."""
    each = [value for value in values if math.isfinite(value)]
    return f"{statistics.median(each):.2g} [{min(each):.2g}, {max(each):.2g}]" if each else ""


@dataclass(frozen=True)
class Comparison:
    """The mean of paired differences, its 95 % interval, and its sign where the interval leaves zero out, or else 0."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def words(self) -> str:
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def compare(first: BySeed, second: BySeed) -> Comparison:
    """Return `first` minus `second`, paired by seed (paired t)."""
    found = stats.paired_difference(first, second)
    return Comparison(found.value, found.low, found.high)


def choose(key: str, comparison: Comparison, **values: str | float | Said) -> Said:
    """Return the text KEY.more, KEY.less or KEY.same, as the comparison has it, with its numbers as {difference}."""
    end = {1: "more", -1: "less", 0: "same"}[comparison.sign]
    return said(f"{key}.{end}", difference=comparison.words, **values)


def gradient_ratio(run: Run, steps: tuple[int, int]) -> float:
    """Return ||dL/d(stem output)|| over ||dL/d(last block's output)||, the median over probed steps; NaN where there are none."""
    blocks = run.blocks[run.blocks["step"].between(*steps)]
    table = blocks.pivot(index="step", columns="block", values="grad_norm")
    return float((table[table.columns.min()] / table[table.columns.max()]).median()) if len(table) else math.nan


INITIAL = (0, 0)
MOMENTS = {"initial": INITIAL, "early": EARLY}


def steps_to(run: Run, loss: float, window: int = 10) -> float:
    """Return after how many steps the mean loss of the last `window` training batches is first below `loss`; inf if never."""
    smooth = run.steps["loss"].rolling(window).mean()
    reached = run.steps["step"][smooth < loss]
    return float(reached.iloc[0]) + 1 if len(reached) else math.inf


def at_step(frames: Iterable[pd.DataFrame], column: str) -> pd.Series:
    """Return the mean of a column over runs, by step."""
    return pd.concat([frame.set_index("step")[column] for frame in frames], axis=1).mean(axis=1)
