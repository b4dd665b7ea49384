"""Degradation: the training error of plain nets rises with depth, that of residual nets does not (He et al. 2015, Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from harness import plots
from harness.analysis import stats
from harness.analysis.published import HE_2015, published_number
from harness.analysis.verdicts import Allowed, above, below, near
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting, Statistic
from harness.claims.measures import (
    PLAIN,
    RESIDUAL,
    SHALLOW,
    Arm,
    Sample,
    as_published,
    difference,
    gap_grows,
    mean,
    sample_name,
    steps_to,
)

SLOW_ERROR = 80.0
"""Training error in percent at which He et al. 2015 end the warm-up of 110 layers."""
UNTIL_ERROR = {"schedule.warmup": "until_error"}
WARM_UP_KEYS = tuple(f"schedule.warmup{end}" for end in ("", "_learning_rate", "_steps", "_error", "_max_steps"))


def change(setting: Setting, column: str, arm: Arm, ends: tuple[int, int], allowed: Allowed, name: str) -> Evidence:
    """Return the change of a column from the first of two depths to the second (Welch)."""
    first, last = (setting.values(column, depth=depth, **arm) for depth in ends)
    values = {sample_name(arm, ends[0]): first, sample_name(arm, ends[1]): last}
    title = f"{name}, {ends[1]} minus {ends[0]} layers"
    return Evidence(Statistic(title, difference(last, first), allowed, values, "points"), used={"depth": ends})


def rises(setting: Setting, column: str, least: float, name: str) -> Evidence | MissingRuns:
    """D1, D2: the error of the deepest plain nets minus that of 20 layers."""
    depths = setting.depths(**PLAIN)
    if SHALLOW not in depths or depths[-1] == SHALLOW:
        return MissingRuns(f"plain nets of {SHALLOW} layers and deeper")
    return change(setting, column, PLAIN, (SHALLOW, depths[-1]), above(least), f"plain: {name}")


def residual_change(setting: Setting, column: str, ends: tuple[int, int], allowed: Allowed, name: str) -> Evidence | MissingRuns:
    """D4, D11: the error of residual nets of the second depth minus that of the first."""
    if missing := set(ends) - set(setting.depths(**RESIDUAL)):
        return MissingRuns(f"residual nets of {' and '.join(map(str, sorted(missing)))} layers")
    return change(setting, column, RESIDUAL, ends, allowed, f"residual: {name}")


def plain_110(setting: Setting) -> Evidence | MissingRuns:
    """D3: the test error of plain nets of 110 layers."""
    errors = setting.values("test_error", depth=110, **PLAIN)
    if not errors:
        return MissingRuns("plain nets of 110 layers")
    return Evidence(Statistic("test error, plain, 110 layers", mean(errors), above(60), {sample_name(PLAIN, 110): errors}, "%"))


def not_overfitting(setting: Setting) -> Evidence | MissingRuns:
    """D7: the generalisation gap (test minus training error) makes up less than half of the rise of plain nets' test error.

    (test - train) / test < 1/2 is equivalent to 0.5 test - train < 0, where test and train are the rises of both errors. This is
    a difference of means. The interval of the ratio itself is unbounded as the rise of the test error nears 0.
    """
    depths = setting.depths(**PLAIN)
    if len(depths) < 2:
        return MissingRuns("plain nets of two depths or more")
    ends = depths[0], depths[-1]
    train, test = ({d: setting.values(column, depth=d, **PLAIN) for d in ends} for column in ("train_error", "test_error"))
    test_rise, train_rise = (difference(errors[ends[1]], errors[ends[0]]).value for errors in (test, train))
    if not test_rise > 0.5:
        here = f"here by {test_rise:.2g} from {ends[0]} to {ends[1]} layers"
        return MissingRuns(f"plain nets whose test error rises by more than 0.5 point ({here})")
    excess = {depth: {seed: 0.5 * test[depth][seed] - train[depth][seed] for seed in test[depth]} for depth in ends}
    values = {f"{sample_name(PLAIN, depth)}, half the test error minus the training error": excess[depth] for depth in ends}
    name = "half the rise of the test error minus the rise of the training error"
    note = (
        f"From {ends[0]} to {ends[1]} layers the test error rises by {test_rise:.3g} points and the training error by "
        f"{train_rise:.3g}: the share of the generalisation gap is {(test_rise - train_rise) / test_rise:.2f}."
    )
    statistic = Statistic(name, difference(excess[ends[1]], excess[ends[0]]), below(0), values, "points")
    return Evidence(statistic, notes=[note], used={"depth": ends})


def without_warm_up(setting: Setting) -> Evidence | MissingRuns:
    """D8: 110 residual layers with and without warm-up, paired by seed: steps to 80 % training error, test error at the end.

    A run that never reaches 80 % counts with all its steps. For nets without warm-up this can only understate the claim.
    """
    net = {"depth": 110, **RESIDUAL}
    runs = setting.where(**net)
    warm = runs[runs["schedule.warmup"] != "none"]
    without = runs[runs["schedule.warmup"] == "none"]
    if not set(without["seed"]) & set(warm["seed"]):
        return MissingRuns("residual nets of 110 layers of the same seeds, with warm-up and without")
    kinds = list(warm.groupby(list(WARM_UP_KEYS), dropna=False, sort=False))
    kinds.sort(key=lambda kind: kind[0][0] != UNTIL_ERROR["schedule.warmup"])
    warm_up = {key: value for key, value in zip(WARM_UP_KEYS, kinds[0][0], strict=True) if not pd.isna(value)}
    arms = {"without": without, "with": kinds[0][1]}
    reached = setting.reduce("steps", partial(steps_to, column="error", level=SLOW_ERROR), ("error",), **net)
    steps = {arm: setting.by_seed(reached[reached["run"].isin(rows["run"])], "steps") for arm, rows in arms.items()}
    tests = {arm: setting.by_seed(rows, "test_error") for arm, rows in arms.items()}
    compared = pd.concat(arms.values())["run"]
    late = reached.loc[~reached["reached"].astype(bool) & reached["run"].isin(compared), "run"].tolist()
    notes = [f"{len(late)} runs never had an error below {SLOW_ERROR:g} %: {', '.join(late)}."] if late else []
    notes += [f"The warm-up is {', '.join(f'{key}={value}' for key, value in warm_up.items())}."]
    notes += [f"{len(kinds) - 1} other kinds of warm-up are left out."] if len(kinds) > 1 else []

    def without_minus_with(name: str, samples: Mapping[str, Sample], allowed: Allowed, unit: str) -> Statistic:
        values = {f"residual, 110 layers, {arm} warm-up": sample for arm, sample in samples.items()}
        change = stats.paired_difference(samples["without"], samples["with"])
        return Statistic(f"{name}, without minus with warm-up", change, allowed, values, unit)

    return Evidence(
        without_minus_with(f"steps to {SLOW_ERROR:g} % training error", steps, above(0), "steps"),
        without_minus_with("test error at the end", tests, near(0, 0.5), "points"),
        notes=notes,
    )


DEPTHS = (20, 56, 110)
_paper_claim = partial(Claim, protocol=Protocol.PAPER, keys=("depth", "shortcut"), paper=UNTIL_ERROR)
D1 = _paper_claim(
    id="D1",
    source="He et al. 2015, Fig. 6 left",
    sentence="The training error of plain nets rises with depth.",
    rule="training error, deepest plain nets minus 20 layers (Welch): above 1 point",
    needs=({"depth": DEPTHS, "shortcut": ("none",)},),
    find=partial(rises, column="train_error", least=1, name="training error"),
)
D2 = _paper_claim(
    id="D2",
    source="He et al. 2015, Fig. 6 left",
    sentence="The test error of plain nets rises with depth.",
    rule="test error, deepest plain nets minus 20 layers (Welch): above 0.5 point",
    needs=({"depth": DEPTHS, "shortcut": ("none",)},),
    find=partial(rises, column="test_error", least=0.5, name="test error"),
)
D3 = _paper_claim(
    id="D3",
    source="He et al. 2015, Fig. 6",
    sentence="Plain nets of 110 layers have an error above 60 %.",
    rule="test error, one sample: above 60 %",
    needs=({"depth": (110,), "shortcut": ("none",)},),
    find=plain_110,
)
D4 = _paper_claim(
    id="D4",
    source="He et al. 2015, Fig. 6 middle",
    sentence="The training error of residual nets does not rise with depth.",
    rule="training error, 110 minus 20 layers (Welch): below 0.5 point",
    needs=({"depth": (20, 110), "shortcut": ("identity",)},),
    find=partial(residual_change, column="train_error", ends=(20, 110), allowed=below(0.5), name="training error"),
)
TABLE_6 = {
    "20": published_number(HE_2015, "Table 6", depth=20),
    "56": published_number(HE_2015, "Table 6", depth=56),
    "110": published_number(HE_2015, "Table 6", "mean of 5", depth=110),
}
D5 = _paper_claim(
    id="D5",
    source="He et al. 2015, Table 6",
    sentence="Residual nets of 20, 56 and 110 layers have test errors of 8.75, 6.97 and 6.61 %.",
    rule="test error, one sample each: within 0.5 point of the published number",
    needs=({"depth": DEPTHS, "shortcut": ("identity",)},),
    find=partial(as_published, numbers=TABLE_6, margin=0.5, nets="residual nets of {} layers", name="residual, {} layers"),
)
D6 = Claim(
    id="D6",
    source="He et al. 2015, Fig. 6",
    sentence="The gap between plain and residual nets grows with depth.",
    rule="training error, plain minus residual (paired by seed): above 1 point at the deepest, and by more than 1 point above "
    "that at the shallowest",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut"),
    needs=({"depth": (20, 110), "shortcut": ("none", "identity")},),
    find=partial(
        gap_grows, arms=(PLAIN, RESIDUAL), names=("plain", "residual"), gap="plain minus residual", nets="plain and residual nets"
    ),
)
D7 = Claim(
    id="D7",
    source="He et al. 2015, section 4.1",
    sentence="Degradation is not overfitting.",
    rule="share of the generalisation gap in the rise of the plain nets' test error (Welch): below 1/2, where that rise is above "
    "0.5 point",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut"),
    needs=({"depth": (20, 110), "shortcut": ("none",)},),
    find=not_overfitting,
)
D8 = Claim(
    id="D8",
    source="He et al. 2015, section 4.2, footnote",
    sentence="Without warm-up a residual net of 110 layers is slow at first and equal in the end.",
    rule="paired by seed: more steps to 80 % training error, and test errors at the end within 0.5 point",
    protocol=Protocol.PAPER,
    keys=("depth", "shortcut", *WARM_UP_KEYS),
    needs=({"depth": (110,), "shortcut": ("identity",), "schedule.warmup": ("none", "until_error")},),
    find=without_warm_up,
)
D11 = _paper_claim(
    id="D11",
    source="He et al. 2015, Table 6",
    sentence="Deeper residual nets are better.",
    rule="test error, 20 minus 110 layers (Welch): above 0.5 point",
    needs=({"depth": (20, 110), "shortcut": ("identity",)},),
    find=partial(residual_change, column="test_error", ends=(110, 20), allowed=above(0.5), name="test error"),
)
CLAIMS = (D1, D2, D3, D4, D5, D6, D7, D8, D11)

EXPERIMENT = Experiment(
    "Does the training error rise with depth, and do shortcuts stop it (He et al. 2015, sections 1 and 4.2)?",
    plots.ALL,
    CLAIMS,
)
