"""Identity construction: a deeper plain net can compute what a shallower one does, but training does not find this solution.

"The existence of this constructed solution indicates that a deeper model should produce no higher training error than its
shallower counterpart" (He et al. 2015, section 1). `start_from` makes this construction: it extends a trained plain net by
identity blocks (harness.models.identity_extension) and measures the loss over all training images before the first step. The
extended net is then trained for another whole schedule, and compared with a net of equal depth trained from scratch.
"""

from __future__ import annotations

import pandas as pd

from harness import plots
from harness.analysis import stats
from harness.analysis.tables import Measure
from harness.analysis.verdicts import above, near
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting, Statistic
from harness.claims.measures import PLAIN, difference

SCRATCH = {"start_from": "none"}


def at_start(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the loss over all training images before the first step; no row for a net trained from scratch."""
    return epochs.loc[epochs["step"] == 0, ["train_loss"]].rename(columns={"train_loss": "start_loss"})


START = Measure("epochs", ("step", "train_loss"), at_start)


def constructed(setting: Setting) -> Evidence | MissingRuns:
    """C1: the extended net has the loss of the shallower one; the deeper net from scratch ends worse than the shallower one."""
    started = setting.where(**PLAIN).query("start_from != 'none'")
    for depth, start in sorted(zip(started["depth"], started["start_from"], strict=True), reverse=True):
        shallow, deep = ({"depth": layers, **PLAIN, **SCRATCH} for layers in (start, depth))
        if len(setting.where(**shallow)) and len(setting.where(**deep)):
            return _compare(setting, int(start), int(depth))
    return MissingRuns(
        "a plain net extended with start_from, the shallower net that it starts from, and a net of its depth from scratch"
    )


def _compare(setting: Setting, start: int, depth: int) -> Evidence:
    extended = {"depth": depth, "start_from": start, **PLAIN}
    shallow, deep = ({"depth": layers, **PLAIN, **SCRATCH} for layers in (start, depth))
    before = setting.by_seed(setting.measured(START, **extended), "start_loss")
    after = setting.values("train_loss", **shallow)
    change = stats.paired_difference(before, after)
    low, high = (setting.values("train_error", **net) for net in (shallow, deep))
    errors = {f"plain, {start} layers": low, f"plain, {depth} layers, from scratch": high}
    trained_on = ", ".join(f"{error:.2f}" for error in setting.values("train_error", **extended).values())
    losses = {f"{depth} layers from {start}, step 0": before, f"{start} layers, end": after}
    return Evidence(
        Statistic("training loss of the extended net, change", change, near(0, 1e-5), losses, "nats"),
        Statistic(
            f"training error, {depth} layers from scratch minus {start}", difference(high, low), above(1), errors, "points"
        ),
        notes=(f"After another whole schedule the extended nets end at a training error of {trained_on} %.",),
        used={"depth": (depth,), "start_from": ("none", start)},
    )


C1 = Claim(
    id="C1",
    source="He et al. 2015, section 1",
    sentence="A deeper plain net contains the shallower one, and training does not find it.",
    rule="extended by identity layers: equal training loss in evaluation mode, to 1e-5; from scratch: more than 1 point worse",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", "start_from"),
    needs=({"depth": (56,), "shortcut": ("none",), "start_from": ("none", 20)},),
    find=constructed,
    measures=(START,),
)

EXPERIMENT = Experiment(
    "A deeper plain net contains the shallower one: does training find what construction does (He et al. 2015, section 1)?",
    (plots.ERROR, plots.CURVES, plots.FIRST_LAYER),
    (C1,),
)
