"""Samples and statistics that several claims share. A sample is a mapping from seed to value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.analysis import stats
from harness.analysis.published import IMAGES, Published
from harness.analysis.stats import Estimate
from harness.analysis.verdicts import above, near
from harness.claims.claim import Evidence, MissingRuns, Setting, Statistic

Sample = Mapping[int, float]
Arm = Mapping[str, Any]
"""Values of keys that all nets of an arm have in common."""
PLAIN, RESIDUAL = {"shortcut": "none"}, {"shortcut": "identity"}
NAMES = {"none": "plain", "identity": "residual"}
SHALLOW = 20
"""Layers of the shallowest nets of He et al. 2015, Fig. 6."""
WINDOW = 50
"""Batches in a moving average of error or loss, as at the end of the warm-up. One batch of 128 is off by some points."""
HE_2016_WARM_UP = {"schedule.warmup": "steps"}
"""He et al. 2016, appendix: all CIFAR experiments begin with 400 steps at a learning rate of 0.01."""


def sample_name(arm: Arm, depth: int) -> str:
    return f"{NAMES.get(arm['shortcut'], arm['shortcut'])}, {depth} layers"


def mean(sample: Sample) -> Estimate:
    return stats.mean(list(sample.values()))


def difference(sample: Sample, other: Sample) -> Estimate:
    """Estimate the mean of `sample` minus that of `other`, unpaired (Welch)."""
    return stats.difference(list(sample.values()), list(other.values()))


def common_depths(setting: Setting, *arms: Arm) -> list[int]:
    """Return the depths that every arm has, ascending."""
    return sorted(set.intersection(*(set(setting.depths(**arm)) for arm in arms)))


def steps_to(steps: pd.DataFrame, column: str, level: float) -> pd.DataFrame:
    """Return a row with the number of updates after which the mean `column` of the last WINDOW batches is first below `level`.

    If the level is never reached, `reached` is False and `steps` is the length of the run.
    """
    low = steps[column].rolling(WINDOW).mean().to_numpy() < level
    reached = bool(low.any())
    return pd.DataFrame({"steps": [float(low.argmax()) + 1 if reached else float(len(steps))], "reached": [reached]})


def gap_grows(setting: Setting, arms: Sequence[Arm], names: Sequence[str], gap: str, nets: str) -> Evidence | MissingRuns:
    """Test that the training error of the first arm exceeds that of the second, by more at the deepest depth than the shallowest.

    Errors are paired by seed; both statistics must exceed 1 point. `names` are those of the arms' samples, `gap` and `nets`
    describe the difference and both arms in words.
    """
    depths = common_depths(setting, *arms)
    if len(depths) < 2:
        return MissingRuns(f"{nets}, both at two depths or more")
    ends = depths[0], depths[-1]
    shallow, deep = ([setting.values("train_error", depth=depth, **arm) for arm in arms] for depth in ends)
    widening = stats.difference_of_gaps((deep[0], deep[1]), (shallow[0], shallow[1]))
    if widening.seeds == 0:
        return MissingRuns(f"{nets} of the same seeds at {ends[0]} and at {ends[1]} layers")
    labels = [f"{name}, {depth} layers" for depth in ends for name in names]
    values = dict(zip(labels, (*shallow, *deep), strict=True))
    at_the_deepest = stats.paired_difference(*deep)
    return Evidence(
        Statistic(f"training error, {gap}, {ends[1]} layers", at_the_deepest, above(1), values, "points"),
        Statistic(f"that less the same at {ends[0]} layers", widening, above(1), values, "points"),
        used={"depth": ends},
    )


def as_published(
    setting: Setting,
    numbers: Mapping[str, Published],
    margin: float,
    nets: str,
    name: str = "{}",
    optional: Sequence[str] = (),
) -> Evidence | MissingRuns:
    """Compare the mean test error of each net with its published number, on CIFAR-10 only.

    The error must lie within `margin` points of the number, or above it if nothing else is known. `numbers` are keyed by short
    names of the nets. `nets` and `name` are templates for missing nets and for samples. A net in `optional` may be missing.
    """
    if set(setting.runs["data"]) - {"cifar10"}:
        return MissingRuns(IMAGES)
    samples = {
        short: setting.values("test_error", **{key: number.keys[key] for key in setting.keys})
        for short, number in numbers.items()
    }
    if missing := [short for short, sample in samples.items() if not sample and short not in optional]:
        return MissingRuns(nets.format(" and ".join(missing)))
    statistics, notes = [], []
    for short, number in numbers.items():
        if sample := samples[short]:
            title = f"test error, {name.format(short)} (published: {number.words}, {number.how})"
            allowed = above(number.error) if number.above else near(number.error, margin)
            statistics.append(Statistic(title, mean(sample), allowed, {name.format(short): sample}, "%"))
        else:
            keys = " ".join(f"{key}={value}" for key, value in number.net.items())
            notes.append(f"Not run here: {short} ({number.place}: {number.words}), {keys}.")
    return Evidence(*statistics, notes=notes)
