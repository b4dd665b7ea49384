"""A shortcut of strength lambda between 0, the plain net, and 1, the residual net: where does degradation begin?

Ours. He et al. 2016, section 3.1 (eq. 7), on shortcuts scaled by lambda: over L blocks the signal that shortcuts carry back is
scaled by lambda^L, so it vanishes exponentially in depth for every lambda below 1.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from harness import plots
from harness.analysis import stats
from harness.analysis.verdicts import above
from harness.claims.claim import Claim, Experiment, Found, Missing, Part, Protocol, Setting
from harness.plots import Picture

STRENGTH = "shortcut_scale"
SCALED = {"shortcut": "scaling", "branch_scale": 1.0}
HALF, WHOLE = 0.5, 1.0


def half_degrades(setting: Setting) -> Found | Missing:
    """K1: training error at lambda 0.5 minus at lambda 1, paired by seed, at the deepest depth and against the shallowest."""
    depths = sorted(set(setting.depths(**SCALED, **{STRENGTH: HALF})) & set(setting.depths(**SCALED, **{STRENGTH: WHOLE})))
    if len(depths) < 2:
        return Missing("nets with shortcut=scaling branch_scale=1, shortcut_scale 0.5 and 1, both at two depths or more")
    shallow, deep = ((_errors(setting, depth, HALF), _errors(setting, depth, WHOLE)) for depth in (depths[0], depths[-1]))
    growth = stats.difference_of_gaps(deep, shallow)
    if growth.seeds == 0:
        return Missing(f"nets of both strengths and the same seeds at {depths[0]} and at {depths[-1]} layers")
    names = [f"lambda {strength:g}, {depth} layers" for depth in (depths[0], depths[-1]) for strength in (HALF, WHOLE)]
    values = dict(zip(names, (*shallow, *deep), strict=True))
    gap = f"training error, lambda 0.5 minus 1, {depths[-1]} layers"
    return Found(
        Part(gap, stats.paired_difference(*deep), above(1), values, "points"),
        Part(f"that less the same at {depths[0]} layers", growth, above(1), values, "points"),
        notes=[_begins(setting, depth) for depth in depths],
        used={"depth": (depths[0], depths[-1])},
    )


def _errors(setting: Setting, depth: int, strength: float) -> dict[int, float]:
    return setting.values("train_error", depth=depth, **SCALED, **{STRENGTH: strength})


def _begins(setting: Setting, depth: int) -> str:
    """Say at which strengths the mean training error lies more than a point above that of the whole shortcut."""
    strengths = setting.distinct(STRENGTH, depth=depth, **SCALED)
    means = {strength: fmean(_errors(setting, depth, strength).values()) for strength in strengths}
    worse = [f"{strength:g}" for strength in strengths if means[strength] > means[WHOLE] + 1]
    others = ", ".join(f"{strength:g}" for strength in strengths if strength != WHOLE)
    return (
        f"{depth} layers: the mean training error is more than 1 point above that at lambda 1 ({means[WHOLE]:.3g} %) at lambda "
        f"{', '.join(worse) or 'none'}, of {others}."
    )


K1 = Claim(
    id="K1",
    source="ours, after He et al. 2016, section 3.1",
    sentence="A shortcut of half strength does not stop degradation: its gap to the whole shortcut grows with depth.",
    rule="training error, lambda 0.5 minus 1 (paired by seed): above 1 point at the deepest, and by more than 1 point above that "
    "at the shallowest",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", STRENGTH, "branch_scale"),
    needs=({"depth": (20, 56), "shortcut": ("scaling",), STRENGTH: (HALF, WHOLE), "branch_scale": (1.0,)},),
    find=half_degrades,
)


def _against_strength(picture: Picture, title: str) -> Picture:
    return replace(picture, title=title, x=STRENGTH)


EXPERIMENT = Experiment(
    "With the shortcut scaled by lambda from 0 (plain) to 1 (residual), where does degradation begin?",
    (
        _against_strength(plots.ERROR, "Error against the strength of the shortcut"),
        _against_strength(plots.FIRST_LAYER, "Gradient of the first layer against the strength of the shortcut"),
        _against_strength(plots.CURVES, plots.CURVES.title),
        _against_strength(plots.ACTIVATIONS, plots.ACTIVATIONS.title),
        _against_strength(plots.FORWARD, plots.FORWARD.title),
    ),
    (K1,),
)
