"""Responses of layers: those of residual nets are smaller than those of plain ones, and smaller the deeper the net.

He et al. 2015, section 4.2 and Fig. 7: the standard deviation of each 3x3 convolution's output after BN, before ReLU and
addition.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness import plots
from harness.analysis import stats
from harness.analysis.tables import Measure
from harness.analysis.verdicts import below
from harness.claims.claim import Claim, Experiment, Found, Missing, Part, Protocol, Setting

PLAIN, RESIDUAL = {"shortcut": "none", "norm": "batch"}, {"shortcut": "identity", "norm": "batch"}


def response(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over counted convolutions of the standard deviation of their responses, at the last probed step.

    No row where it is zero or not finite, as in a run that diverged.
    """
    end = layers[(layers["step"] == layers["step"].max()) & layers["layer"].notna() & (layers["kind"] == "conv")]
    mean = end["response_std"].to_numpy().mean() if len(end) else math.nan
    return pd.DataFrame({"response": [mean] if np.isfinite(mean) and mean > 0 else []})


RESPONSE = Measure("layers", ("step", "layer", "kind", "response_std"), response)


def smaller(setting: Setting) -> Found | Missing:
    """G6: ratios of `response`: residual over plain at each depth that has both, paired by seed, and deepest over shallowest."""
    plain, residual = (setting.measured(RESPONSE, **arm) for arm in (PLAIN, RESIDUAL))
    deep = sorted(set(residual["depth"])) if len(residual) else []
    both = [depth for depth in deep if len(plain) and (plain["depth"] == depth).any()]
    if not both or len(deep) < 2:
        return Missing("residual nets of two depths or more, and plain nets of one of them, with batch normalisation")
    values = {
        f"{name}, {depth} layers": setting.by_seed(frame[frame["depth"] == depth], "response")
        for name, frame in (("plain", plain), ("residual", residual))
        for depth in sorted(set(frame["depth"]))
        if depth in deep
    }
    logs = {name: {seed: math.log(value) for seed, value in sample.items()} for name, sample in values.items()}
    parts = []
    for depth in both:
        names = f"residual, {depth} layers", f"plain, {depth} layers"
        ratio = stats.antilog(stats.paired_difference(*(logs[name] for name in names)))
        parts.append(
            Part(f"residual over plain, {depth} layers", ratio, below(0.9), {name: values[name] for name in names}, "times")
        )
    names = f"residual, {deep[-1]} layers", f"residual, {deep[0]} layers"
    ratio = stats.antilog(stats.difference(*(list(logs[name].values()) for name in names)))
    name = f"residual, {deep[-1]} over {deep[0]} layers"
    parts.append(Part(name, ratio, below(0.9), {name: values[name] for name in names}, "times"))
    asked = {int(depth) for depth in setting.where(**RESIDUAL)["depth"]} - set(deep)
    notes = [f"No run of {depth} layers has a finite response at its end." for depth in sorted(asked)]
    return Found(*parts, notes=notes, used={"depth": tuple(deep)})


G6 = Claim(
    id="G6",
    source="He et al. 2015, section 4.2 and Fig. 7",
    sentence="Residual nets have smaller responses than plain nets, and deeper residual nets smaller ones than shallower.",
    rule="mean over 3x3 convolutions of the standard deviation of the response after BN, at the end: residual over plain below "
    "0.9 at every depth of both, and deepest over shallowest residual net below 0.9",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", "norm"),
    needs=({"depth": (20, 56), "shortcut": ("none", "identity"), "norm": ("batch",)},),
    find=smaller,
    tables=("layers",),
    measures=(RESPONSE,),
)

EXPERIMENT = Experiment(
    "How strongly do the layers of plain and residual nets respond once they are trained (He et al. 2015, Fig. 7)?",
    (plots.RESPONSES, plots.BRANCHES, plots.FORWARD, plots.GRADIENTS, plots.ERROR, plots.CURVES),
    (G6,),
)
