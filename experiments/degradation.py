"""Degradation: the training error of plain nets rises with depth, that of residual nets does not (He et al. 2015, Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from harness import plots
from harness.analysis import stats
from harness.analysis.published import HE_2015, IMAGES, published
from harness.analysis.verdicts import Allowed, above, below, near
from harness.claims.claim import Claim, Experiment, Found, Missing, Part, Protocol, Setting
from harness.claims.measures import PLAIN, RESIDUAL, SHALLOW, sample, steps_to

SLOW_ERROR = 80.0
"""Training error in percent at which He et al. 2015 end the warm-up of 110 layers."""
WARM_UP = {"schedule.warmup": "until_error"}
WARM_UP_KEYS = tuple(f"schedule.warmup{end}" for end in ("", "_learning_rate", "_steps", "_error", "_max_steps"))


def change(setting: Setting, column: str, arm: Mapping[str, Any], ends: tuple[int, int], allowed: Allowed, name: str) -> Found:
    """Return what happens to a column from the first of two depths to the second (Welch: samples of their own)."""
    first, last = (setting.values(column, depth=depth, **arm) for depth in ends)
    values = {sample(arm, depth): one for depth, one in zip(ends, (first, last), strict=True)}
    estimate = stats.difference(list(last.values()), list(first.values()))
    part = Part(f"{name}, {ends[1]} minus {ends[0]} layers", estimate, allowed, values, "points")
    return Found(part, used={"depth": ends})


def rises(setting: Setting, column: str, least: float, name: str) -> Found | Missing:
    """D1, D2: the error of the deepest plain nets minus that of 20 layers."""
    depths = setting.depths(**PLAIN)
    if SHALLOW not in depths or depths[-1] == SHALLOW:
        return Missing(f"plain nets of {SHALLOW} layers and of more")
    return change(setting, column, PLAIN, (SHALLOW, depths[-1]), above(least), f"plain: {name}")


def residual_change(setting: Setting, column: str, allowed: Allowed, name: str, turned: bool = False) -> Found | Missing:
    """D4, D11: the error of residual nets of 110 layers minus that of 20, or, `turned`, of 20 minus 110."""
    lacking = [depth for depth in (SHALLOW, 110) if depth not in setting.depths(**RESIDUAL)]
    if lacking:
        return Missing(f"residual nets of {' and '.join(map(str, lacking))} layers")
    return change(setting, column, RESIDUAL, (110, SHALLOW) if turned else (SHALLOW, 110), allowed, f"residual: {name}")


def plain_110(setting: Setting) -> Found | Missing:
    """D3: the test error of plain nets of 110 layers against 60 %."""
    values = setting.values("test_error", depth=110, **PLAIN)
    if not values:
        return Missing("plain nets of 110 layers")
    estimate = stats.mean(list(values.values()))
    return Found(Part("test error, plain, 110 layers", estimate, above(60), {sample(PLAIN, 110): values}, "%"))


TABLE_6 = {depth: published(HE_2015, "Table 6", None if depth != 110 else "mean of 5", depth=depth) for depth in (20, 56, 110)}


def table_6(setting: Setting) -> Found | Missing:
    """D5: the test errors of residual nets against Table 6, each within half a point; judged on CIFAR-10 alone."""
    if set(setting.runs["data"]) - {"cifar10"}:
        return Missing(IMAGES)
    samples = {depth: setting.values("test_error", depth=depth, **RESIDUAL) for depth in TABLE_6}
    lacking = [str(depth) for depth, values in samples.items() if not values]
    if lacking:
        return Missing(f"residual nets of {' and '.join(lacking)} layers")
    parts = [
        Part(
            f"test error, residual, {depth} layers (published: {TABLE_6[depth].words}, {TABLE_6[depth].how})",
            stats.mean(list(values.values())),
            near(TABLE_6[depth].error, 0.5),
            {sample(RESIDUAL, depth): values},
            "%",
        )
        for depth, values in samples.items()
    ]
    return Found(*parts)


def gap_grows(setting: Setting) -> Found | Missing:
    """D6: plain minus residual training error, paired by seed, at the deepest depth and against the shallowest."""
    depths = sorted(set(setting.depths(**PLAIN)) & set(setting.depths(**RESIDUAL)))
    if len(depths) < 2:
        return Missing("plain and residual nets, both at two depths or more")
    shallow, deep = _both(setting, depths[0]), _both(setting, depths[-1])
    names = [sample(arm, depth) for depth in (depths[0], depths[-1]) for arm in (PLAIN, RESIDUAL)]
    values = dict(zip(names, (*shallow, *deep), strict=True))
    growth = stats.difference_of_gaps(deep, shallow)
    if growth.seeds == 0:
        return Missing(f"plain and residual nets of the same seeds at {depths[0]} and at {depths[-1]} layers")
    return Found(
        Part(
            f"training error, plain minus residual, {depths[-1]} layers",
            stats.paired_difference(*deep),
            above(1),
            values,
            "points",
        ),
        Part(f"that less the same at {depths[0]} layers", growth, above(1), values, "points"),
        used={"depth": (depths[0], depths[-1])},
    )


def _both(setting: Setting, depth: int) -> tuple[dict[int, float], dict[int, float]]:
    """Return the training errors of the plain and of the residual nets of one depth, by seed."""
    return setting.values("train_error", depth=depth, **PLAIN), setting.values("train_error", depth=depth, **RESIDUAL)


def not_overfitting(setting: Setting) -> Found | Missing:
    """D7: the share of the generalisation gap (test minus training error) in the rise of plain nets' test error is below 1/2.

    With the rises of test and training error, (test - train) / test < 1/2 is 0.5 test - train < 0: a difference of means, where
    the share itself is a ratio whose interval is unbounded as the rise nears 0.
    """
    depths = setting.depths(**PLAIN)
    if len(depths) < 2:
        return Missing("plain nets of two depths or more")
    ends = depths[0], depths[-1]
    train, test = (
        {depth: setting.values(column, depth=depth, **PLAIN) for depth in ends} for column in ("train_error", "test_error")
    )
    rise = stats.difference(list(test[ends[1]].values()), list(test[ends[0]].values())).value
    if not rise > 0.5:
        return Missing(
            f"plain nets whose test error rises by more than 0.5 point (here by {rise:.2g} from {ends[0]} to {ends[1]} layers)"
        )
    excess = {depth: {seed: 0.5 * test[depth][seed] - train[depth][seed] for seed in test[depth]} for depth in ends}
    estimate = stats.difference(list(excess[ends[1]].values()), list(excess[ends[0]].values()))
    of_train = stats.difference(list(train[ends[1]].values()), list(train[ends[0]].values())).value
    values = {f"{sample(PLAIN, depth)}, half the test error minus the training error": excess[depth] for depth in ends}
    return Found(
        Part("half the rise of the test error minus the rise of the training error", estimate, below(0), values, "points"),
        notes=(
            f"From {ends[0]} to {ends[1]} layers the test error rises by {rise:.3g} points and the training error by "
            f"{of_train:.3g}: the share of the generalisation gap is {(rise - of_train) / rise:.2f}.",
        ),
        used={"depth": ends},
    )


def without_warm_up(setting: Setting) -> Found | Missing:
    """D8: 110 residual layers with and without warm-up, paired by seed: steps to 80 % training error, test error in the end.

    A run that never gets there counts with all its steps: of nets without warm-up this can only understate what is claimed.
    """
    net = {"depth": 110, **RESIDUAL}
    runs = setting.where(**net)
    warm = runs[runs["schedule.warmup"] != "none"]
    arms = {"without": runs[runs["schedule.warmup"] == "none"], "with": warm}
    if not set(arms["without"]["seed"]) & set(warm["seed"]):
        return Missing("residual nets of 110 layers of the same seeds, with warm-up and without")
    ways = warm.drop_duplicates(WARM_UP_KEYS)[list(WARM_UP_KEYS)].to_dict("records")
    ways.sort(key=lambda way: way["schedule.warmup"] != WARM_UP["schedule.warmup"])
    for key, value in ways[0].items():
        arms["with"] = arms["with"][arms["with"][key].isna() if pd.isna(value) else arms["with"][key] == value]
    counted = setting.reduce("steps", partial(steps_to, column="error", level=SLOW_ERROR), ("error",), **net)
    steps = {arm: setting.by_seed(counted[counted["run"].isin(rows["run"])], "steps") for arm, rows in arms.items()}
    tests = {arm: setting.by_seed(rows, "test_error") for arm, rows in arms.items()}
    names = {arm: f"residual, 110 layers, {arm} warm-up" for arm in arms}
    compared = pd.concat(arms.values())["run"]
    late = counted.loc[~counted["reached"].astype(bool) & counted["run"].isin(compared), "run"].tolist()
    notes = [f"{len(late)} runs never had an error below {SLOW_ERROR:g} %: {', '.join(late)}."] if late else []
    notes += [f"The warm-up is {', '.join(f'{key}={value}' for key, value in ways[0].items() if not pd.isna(value))}."]
    notes += [f"{len(ways) - 1} other kinds of warm-up are left out."] if len(ways) > 1 else []
    return Found(
        Part(
            f"steps to {SLOW_ERROR:g} % training error, without minus with warm-up",
            stats.paired_difference(steps["without"], steps["with"]),
            above(0),
            {names[arm]: steps[arm] for arm in arms},
            "steps",
        ),
        Part(
            "test error at the end, without minus with warm-up",
            stats.paired_difference(tests["without"], tests["with"]),
            near(0, 0.5),
            {names[arm]: tests[arm] for arm in arms},
            "points",
        ),
        notes=notes,
    )


def _claim(number: int, place: str, sentence: str, rule: str, find: Any, *needs: Mapping[str, Any], **more: Any) -> Claim:
    paper = Protocol.PAPER if more.get("paper") is not None else Protocol.ANY
    fixed = {"protocol": paper, "keys": ("depth", "shortcut"), "needs": needs, "find": find}
    return Claim(
        **({"id": f"D{number}", "source": f"He et al. 2015, {place}", "sentence": sentence, "rule": rule} | fixed | more)
    )


DEPTHS = (20, 56, 110)
CLAIMS = (
    _claim(
        1,
        "Fig. 6 left",
        "The training error of plain nets rises with depth.",
        "training error, deepest plain nets minus 20 layers (Welch): above 1 point",
        partial(rises, column="train_error", least=1, name="training error"),
        {"depth": DEPTHS, "shortcut": ("none",)},
        paper=WARM_UP,
    ),
    _claim(
        2,
        "Fig. 6 left",
        "The test error of plain nets rises with depth.",
        "test error, deepest plain nets minus 20 layers (Welch): above 0.5 point",
        partial(rises, column="test_error", least=0.5, name="test error"),
        {"depth": DEPTHS, "shortcut": ("none",)},
        paper=WARM_UP,
    ),
    _claim(
        3,
        "Fig. 6",
        "Plain nets of 110 layers have an error above 60 %.",
        "test error, one sample: above 60 %",
        plain_110,
        {"depth": (110,), "shortcut": ("none",)},
        paper=WARM_UP,
    ),
    _claim(
        4,
        "Fig. 6 middle",
        "The training error of residual nets does not rise with depth.",
        "training error, 110 minus 20 layers (Welch): below 0.5 point",
        partial(residual_change, column="train_error", allowed=below(0.5), name="training error"),
        {"depth": (20, 110), "shortcut": ("identity",)},
        paper=WARM_UP,
    ),
    _claim(
        5,
        "Table 6",
        "Residual nets of 20, 56 and 110 layers have test errors of 8.75, 6.97 and 6.61 %.",
        "test error, one sample each: within 0.5 point of the published number",
        table_6,
        {"depth": DEPTHS, "shortcut": ("identity",)},
        paper=WARM_UP,
    ),
    _claim(
        6,
        "Fig. 6",
        "The gap between plain and residual nets grows with depth.",
        "training error, plain minus residual (paired by seed): above 1 point at the deepest, and by more than 1 point above "
        "that at the shallowest",
        gap_grows,
        {"depth": (20, 110), "shortcut": ("none", "identity")},
    ),
    _claim(
        7,
        "section 4.1",
        "Degradation is not overfitting.",
        "share of the generalisation gap in the rise of the plain nets' test error (Welch): below 1/2, where that rise is above "
        "0.5 point",
        not_overfitting,
        {"depth": (20, 110), "shortcut": ("none",)},
    ),
    _claim(
        8,
        "section 4.2, footnote",
        "Without warm-up a residual net of 110 layers is slow at first and equal in the end.",
        "paired by seed: more steps to 80 % training error, and test errors at the end within 0.5 point",
        without_warm_up,
        {"depth": (110,), "shortcut": ("identity",), "schedule.warmup": ("none", "until_error")},
        keys=("depth", "shortcut", *WARM_UP_KEYS),
        paper={},
    ),
    _claim(
        11,
        "Table 6",
        "Deeper residual nets are better.",
        "test error, 20 minus 110 layers (Welch): above 0.5 point",
        partial(residual_change, column="test_error", allowed=above(0.5), name="test error", turned=True),
        {"depth": (20, 110), "shortcut": ("identity",)},
        paper=WARM_UP,
    ),
)
EXPERIMENT = Experiment(
    "Does the training error rise with depth, and do shortcuts stop it (He et al. 2015, sections 1 and 4.2)?",
    plots.ALL,
    CLAIMS,
)
