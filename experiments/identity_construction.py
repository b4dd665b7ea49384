"""Identity construction: a deeper plain net contains the shallower one, and training does not find it.

"The existence of this constructed solution indicates that a deeper model should produce no higher training error than its
shallower counterpart" (He et al. 2015, section 1). With `start_from` the construction is carried out: a trained plain net is
extended by blocks of identity (harness.models.identity_extension), and the loss over all training images is measured before the
first step. Then it is trained on for another whole schedule, beside a net of equal depth from scratch.
"""

from __future__ import annotations

import pandas as pd

from harness import plots
from harness.analysis import stats
from harness.analysis.tables import Measure
from harness.analysis.verdicts import above, near
from harness.claims.claim import Claim, Experiment, Found, Missing, Part, Protocol, Setting

PLAIN = {"shortcut": "none"}
SCRATCH = {"start_from": "none"}


def at_start(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the loss over all training images before the first step; no row of a net that starts from scratch."""
    return epochs.loc[epochs["step"] == 0, ["train_loss"]].rename(columns={"train_loss": "start_loss"})


START = Measure("epochs", ("step", "train_loss"), at_start)


def constructed(setting: Setting) -> Found | Missing:
    """C1: the extended net's loss is the shallower one's; the deeper net from scratch ends worse than the shallower one."""
    started = setting.where(**PLAIN).query("start_from != 'none'")
    for depth, start in sorted(zip(started["depth"], started["start_from"], strict=True), reverse=True):
        shallow, deep = ({"depth": layers, **PLAIN, **SCRATCH} for layers in (start, depth))
        if len(setting.where(**shallow)) and len(setting.where(**deep)):
            return _compared(setting, int(start), int(depth))
    return Missing("plain nets: one that starts from a shallower one, that one, and one of the same depth from scratch")


def _compared(setting: Setting, start: int, depth: int) -> Found:
    extended = {"depth": depth, "start_from": start, **PLAIN}
    shallow, deep = ({"depth": layers, **PLAIN, **SCRATCH} for layers in (start, depth))
    before, after = (
        setting.by_seed(setting.measured(START, **extended), "start_loss"),
        setting.values("train_loss", **shallow),
    )
    errors = {
        f"plain, {start} layers": setting.values("train_error", **shallow),
        f"plain, {depth} layers, from scratch": setting.values("train_error", **deep),
    }
    rise = stats.difference(*reversed([list(values.values()) for values in errors.values()]))
    trained_on = ", ".join(f"{error:.2f}" for error in setting.values("train_error", **extended).values())
    losses = {f"{depth} layers from {start}, step 0": before, f"{start} layers, end": after}
    return Found(
        Part("training loss of the extended net, change", stats.paired_difference(before, after), near(0, 1e-5), losses, "nats"),
        Part(f"training error, {depth} layers from scratch minus {start}", rise, above(1), errors, "points"),
        notes=(f"Trained on for another whole schedule, the extended nets end at a training error of {trained_on} %.",),
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
