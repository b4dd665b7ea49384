"""A shortcut of strength lambda between 0, the plain net, and 1, the residual net: where does degradation begin?

Our own experiment. He et al. 2016, section 3.1 (eq. 7): shortcuts scaled by lambda carry a signal back through L blocks scaled by
lambda^L. It vanishes exponentially with depth for every lambda below 1.
"""

from __future__ import annotations

from dataclasses import replace

from harness import plots
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting
from harness.claims.measures import common_depths, gap_grows, mean

STRENGTH = "shortcut_scale"
SCALED = {"shortcut": "scaling", "branch_scale": 1.0}
HALF, WHOLE = ({**SCALED, STRENGTH: strength} for strength in (0.5, 1.0))


def half_degrades(setting: Setting) -> Evidence | MissingRuns:
    """K1: training error at lambda 0.5 minus that at lambda 1, at the deepest depth and against the shallowest."""
    evidence = gap_grows(
        setting,
        arms=(HALF, WHOLE),
        names=("lambda 0.5", "lambda 1"),
        gap="lambda 0.5 minus 1",
        nets="nets with shortcut=scaling branch_scale=1, shortcut_scale 0.5 and 1",
    )
    if isinstance(evidence, MissingRuns):
        return evidence
    notes = [_onset(setting, depth) for depth in common_depths(setting, HALF, WHOLE)]
    return Evidence(*evidence.statistics, notes=notes, used=evidence.used)


def _onset(setting: Setting, depth: int) -> str:
    """List the strengths whose mean training error is more than a point above that of the whole shortcut."""
    strengths = setting.distinct(STRENGTH, depth=depth, **SCALED)
    means = {
        strength: mean(setting.values("train_error", depth=depth, **SCALED, **{STRENGTH: strength})).value
        for strength in strengths
    }
    worse = [f"{strength:g}" for strength in strengths if means[strength] > means[1.0] + 1]
    others = ", ".join(f"{strength:g}" for strength in strengths if strength != 1.0)
    return (
        f"{depth} layers: the mean training error is more than 1 point above that at lambda 1 ({means[1.0]:.3g} %) at lambda "
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
    needs=({"depth": (20, 56), "shortcut": ("scaling",), STRENGTH: (0.5, 1.0), "branch_scale": (1.0,)},),
    find=half_degrades,
)

PICTURES = (plots.ERROR, plots.FIRST_LAYER, plots.CURVES, plots.ACTIVATIONS, plots.FORWARD)
EXPERIMENT = Experiment(
    "With the shortcut scaled by lambda from 0 (plain) to 1 (residual), where does degradation begin?",
    tuple(
        replace(picture, title=picture.title.replace("against depth", "against the strength of the shortcut"), x=STRENGTH)
        for picture in PICTURES
    ),
    (K1,),
)
