"""How the steps to a fixed training loss grow with depth in plain nets.

He et al. 2015, section 4.1: "We conjecture that the deep plain nets may have exponentially low convergence rates".
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from harness import plots
from harness.analysis import stats
from harness.analysis.growth_models import MIN_ADVANTAGE, MIN_DEPTHS, compare_growth, judge_growth
from harness.analysis.verdicts import above
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting, Statistic
from harness.claims.measures import PLAIN, WINDOW, sample_name, steps_to

LOSS = 1.0
"""Training loss to reach, in nats: less than half of the loss of a guess among ten classes (2.30)."""


def exponential(setting: Setting) -> Evidence | MissingRuns:
    """D9: do the steps to the loss grow exponentially or linearly with the depth of plain nets?

    The loss is the mean over the last WINDOW training batches. A run that never reaches it is censored at its number of steps.
    """
    depths = setting.depths(**PLAIN)
    if len(depths) < MIN_DEPTHS:
        return MissingRuns(f"plain nets of {MIN_DEPTHS} depths or more")
    runs = setting.reduce("steps", partial(steps_to, column="loss", level=LOSS), ("loss",), **PLAIN)
    runs = runs.drop_duplicates(["depth", "seed"])
    growth = compare_growth(*(runs[column].tolist() for column in ("depth", "steps", "reached")))
    values = {sample_name(PLAIN, depth): setting.by_seed(rows, "steps") for depth, rows in runs.groupby("depth")}
    late = runs.loc[~runs["reached"].astype(bool), "depth"].value_counts().sort_index()
    censored = ", ".join(f"{count} at {depth} layers" for depth, count in late.items())
    estimate = replace(stats.NOTHING, value=growth.advantage, seeds=growth.seeds)
    advantage = Statistic(
        "AIC of linear minus that of exponential growth",
        estimate,
        above(MIN_ADVANTAGE),
        values,
        rule=lambda protocol: judge_growth(growth, protocol=protocol),
    )
    notes = [f"Values are steps until the mean loss of {WINDOW} batches was below {LOSS:g}."]
    if math.isfinite(growth.rate):
        notes.append(f"In the exponential model ten more layers take {math.exp(10 * growth.rate):.3g} times the steps.")
    if growth.censored:
        notes.append(f"{growth.censored} of {len(runs)} runs never reached it and count as censored: {censored}.")
    return Evidence(advantage, notes=notes, used={"depth": depths})


D9 = Claim(
    id="D9",
    source="He et al. 2015, section 4.1",
    sentence="The convergence rate of plain nets falls exponentially with depth.",
    rule=f"steps to a training loss of {LOSS:g} at {MIN_DEPTHS} or more depths: AIC of linear minus exponential growth above "
    f"{MIN_ADVANTAGE:g}, and rising; runs that never reach it are censored",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut"),
    needs=({"depth": (8, 20, 32, 44, 56), "shortcut": ("none",)},),
    find=exponential,
)

EXPERIMENT = Experiment(
    "How do the steps to a fixed training loss grow with the depth of plain nets (He et al. 2015, section 4.1)?",
    (plots.CURVES, plots.ERROR, plots.FIRST_LAYER, plots.GRADIENTS),
    (D9,),
)
