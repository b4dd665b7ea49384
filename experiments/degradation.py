"""Degradation: the training error of plain nets rises with depth, that of residual nets does not (He et al. 2015, Fig. 6)."""

from __future__ import annotations

from experiments.declaration import Claim, Experiment, Found, Missing, Part, Protocol, Setting
from harness import plots, stats
from harness.verdicts import above

PLAIN, RESIDUAL = {"shortcut": "none"}, {"shortcut": "identity"}


def gap_grows(setting: Setting) -> Found | Missing:
    """D6: plain minus residual training error, paired by seed, at the deepest depth and against the shallowest."""
    depths = sorted(set(setting.depths(**PLAIN)) & set(setting.depths(**RESIDUAL)))
    if len(depths) < 2:
        return Missing("plain and residual nets at two depths or more")
    shallow, deep = _both(setting, depths[0]), _both(setting, depths[-1])
    names = [f"{arm}, {depth} layers" for depth in (depths[0], depths[-1]) for arm in ("plain", "residual")]
    values = dict(zip(names, (*shallow, *deep), strict=True))
    growth = stats.difference_of_gaps(deep, shallow)
    return Found(
        Part(f"gap at {depths[-1]} layers", stats.paired_difference(*deep), above(1), values, "points"),
        Part(f"gap at {depths[-1]} layers minus gap at {depths[0]}", growth, above(1), values, "points"),
        used={"depth": (depths[0], depths[-1])},
    )


def _both(setting: Setting, depth: int) -> tuple[dict[int, float], dict[int, float]]:
    """Return the training errors of the plain and of the residual nets of one depth, by seed."""
    return setting.values("train_error", depth=depth, **PLAIN), setting.values("train_error", depth=depth, **RESIDUAL)


D6 = Claim(
    id="D6",
    source="He et al. 2015, Fig. 6",
    sentence="The gap between plain and residual nets grows with depth.",
    rule="training error, plain minus residual: above 1 point at the deepest, and more than 1 point above that at the shallowest",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut"),
    needs=({"depth": (20, 110), "shortcut": ("none", "identity")},),
    find=gap_grows,
)

EXPERIMENT = Experiment(
    "Does the training error rise with depth, and do shortcuts stop it (He et al. 2015, sections 1 and 4.2)?",
    plots.ALL,
    (D6,),
)
