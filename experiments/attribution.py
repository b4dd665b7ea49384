"""Attribution: is it the size of the gradients that makes deep plain nets with batch normalisation worse?

He et al. 2015, section 4.1, say of their plain nets that the difficulty is "unlikely to be caused by vanishing gradients". Here
the sizes are taken out (`update_scaling=layerwise`, harness.training.update_scaling): every layer moves by the same share of
its weights,
however small or large its gradient. What is left of the degradation has another cause. So the claim falls where equal steps take
a point or more off the rise of the error, and not where they add to it: what they add has another cause, too (steps that do not
get smaller with the gradient want a learning rate of their own), and the report gives it.

Without batch normalisation the same intervention shows that it can tell: there gradients do vanish, and a net that learned
nothing learns once its steps are equal.
"""

from __future__ import annotations

from harness import plots
from harness.analysis import stats
from harness.analysis.verdicts import above
from harness.claims.claim import Claim, Experiment, Found, Missing, Part, Protocol, Setting

BN = {"shortcut": "none", "norm": "batch"}
BARE = {"shortcut": "none", "norm": "none"}
LEAST = 1.0
"""Points by which the training error has to rise with depth before there is anything to attribute, and that count as a share."""


def change_of_rise(setting: Setting) -> Found | Missing:
    """G5: (deepest minus shallowest) with equal steps minus the same with steps as they are, paired by seed at each depth."""
    depths = sorted(set(setting.depths(**BN, update_scaling="none")) & set(setting.depths(**BN, update_scaling="layerwise")))
    if len(depths) < 2:
        return Missing("plain nets with batch normalisation at two depths, with update_scaling=none and layerwise")
    shallow, deep = (_both(setting, BN, depth) for depth in (depths[0], depths[-1]))
    rise = stats.difference(list(deep[1].values()), list(shallow[1].values())).value
    if rise <= LEAST:
        return Missing(
            f"plain nets with batch normalisation that get worse with depth (from {depths[0]} to {depths[-1]}: {rise:.2f})"
        )
    names = [f"{steps}, {depth} layers" for depth in (depths[0], depths[-1]) for steps in ("equal steps", "steps as they are")]
    values = dict(zip(names, (*shallow, *deep), strict=True))
    change = stats.difference_of_gaps(deep, shallow)
    words = [f"As it is the error rises by {rise:.2f} points, with equal steps by {rise + change.value:.2f}."]
    if change.value > LEAST:
        words.append("Equal steps are no neutral change here: they make the rise larger, which no size of a gradient explains.")
    return Found(
        Part(
            f"rise of the training error from {depths[0]} to {depths[-1]} layers, change", change, above(-LEAST), values, "points"
        ),
        notes=(" ".join(words), *_control(setting)),
        used={"depth": (depths[0], depths[-1])},
    )


def _control(setting: Setting) -> list[str]:
    """Say what equal steps do where there is no batch normalisation, at each depth that has both."""
    words = []
    for depth in setting.depths(**BARE):
        equal, own = _both(setting, BARE, depth)
        if change := stats.gaps(equal, own):
            after, before = (
                sum(values[seed] for seed in sorted(equal.keys() & own.keys())) / len(change) for values in (equal, own)
            )
            words.append(f"without normalisation, {depth} layers: {before:.2f} to {after:.2f} %")
    return [f"Where gradients vanish, equal steps change the training error: {'; '.join(words)}."] if words else []


def _both(setting: Setting, arm: dict[str, str], depth: int) -> tuple[dict[int, float], dict[int, float]]:
    """Return the training errors with equal steps and with steps as they are, by seed."""
    equal, own = (setting.values("train_error", **arm, depth=depth, update_scaling=steps) for steps in ("layerwise", "none"))
    return equal, own


G5 = Claim(
    id="G5",
    source="ours, after He et al. 2015, 4.1",
    sentence="Vanishing gradients do not cause the degradation of plain nets with batch normalisation.",
    rule="equal relative step sizes in all layers take less than 1 point off the rise of the training error with depth (until "
    "runs on digits had been seen in which they add to it, 1 point more told against it, too)",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", "norm", "update_scaling"),
    needs=({"depth": (20, 56), "shortcut": ("none",), "norm": ("batch", "none"), "update_scaling": ("none", "layerwise")},),
    find=change_of_rise,
)

EXPERIMENT = Experiment(
    "Do deep plain nets with batch normalisation get worse because their gradients vanish or explode (He et al. 2015, 4.1)?",
    (plots.ERROR, plots.CURVES, plots.FIRST_LAYER, plots.GRADIENTS),
    (G5,),
)
