"""Statistics of the lab's runs: errors by seed, ratios of gradients, losses by step, and how a chapter writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, median

import pandas as pd

from harness.analysis import stats
from harness.analysis.phases import EARLY
from harness.lab.document import Message, Value
from harness.records.run import Run

BySeed = Mapping[int, float]
INITIAL = (0, 0)
"""First and last step of the phase before training; EARLY has those of early training."""
PHASES = (INITIAL, EARLY)


def errors(runs: Mapping[int, Run], column: str) -> BySeed:
    """Return `train_error` or `test_error` by seed at the end, in percent; a diverged run has the error of a random guess."""
    return {seed: float(getattr(run, column)) for seed, run in runs.items()}


def error_cells(runs: Mapping[int, Run]) -> list[str]:
    """Return the table cells of the training and the test error."""
    return [spread(errors(runs, column).values()) for column in ("train_error", "test_error")]


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Format mean, minimum and maximum: 2.1 [1.9, 2.4]."""
    numbers = list(values)
    return f"{fmean(numbers):.{digits}f} [{min(numbers):.{digits}f}, {max(numbers):.{digits}f}]"


def magnitudes(values: Iterable[float]) -> str:
    """Format median, minimum and maximum of the finite values, which differ by orders of magnitude: 1.2e-05 [3e-06, 4e-05]."""
    numbers = [value for value in values if math.isfinite(value)]
    return f"{median(numbers):.2g} [{min(numbers):.2g}, {max(numbers):.2g}]" if numbers else ""


def compare(key: str, first: BySeed, second: BySeed, /, **values: Value) -> Message:
    """Return the message KEY.more, KEY.less or KEY.same for `first` minus `second`, the mean of differences paired by seed.

    It is `same` unless the 95 % interval (paired t) excludes zero. Both stand in {difference}.
    """
    estimate = stats.paired_difference(first, second)
    ending = "more" if estimate.low > 0 else "less" if estimate.high < 0 else "same"
    difference = f"{estimate.value:+.1f} [{estimate.low:+.1f}, {estimate.high:+.1f}]"
    return Message(f"{key}.{ending}", difference=difference, **values)


def gradient_ratio(run: Run, steps: tuple[int, int]) -> float:
    """Return ||dL/d(stem output)|| / ||dL/d(last block's output)||, the median over the probed steps from first to last.

    It is NaN if no step was probed.
    """
    blocks = run.blocks[run.blocks["step"].between(*steps)]
    norms = blocks.pivot(index="step", columns="block", values="grad_norm")
    return float((norms[norms.columns.min()] / norms[norms.columns.max()]).median()) if len(norms) else math.nan


def steps_to(run: Run, loss: float, window: int = 10) -> float:
    """Return the number of steps until the mean loss of the last `window` training batches is below `loss`; inf if never."""
    smooth = run.steps["loss"].rolling(window).mean()
    reached = run.steps["step"][smooth < loss]
    return float(reached.iloc[0]) + 1 if len(reached) else math.inf


def mean_by_step(frames: Iterable[pd.DataFrame], column: str) -> pd.Series:
    """Return the mean of a column over runs, by step."""
    return pd.concat([frame.set_index("step")[column] for frame in frames], axis=1).mean(axis=1)
