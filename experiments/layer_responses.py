"""Responses of layers: smaller in residual nets than in plain nets, and smaller in deeper residual nets.

He et al. 2015, section 4.2 and Fig. 7. A response is the output of a 3x3 convolution after BN, before ReLU and addition; its size
is its standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from harness import plots
from harness.analysis import stats
from harness.analysis.phases import hidden_layers
from harness.analysis.stats import Estimate
from harness.analysis.tables import Measure
from harness.analysis.verdicts import below
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting, Statistic
from harness.claims.measures import Sample, difference

PLAIN, RESIDUAL = {"shortcut": "none", "norm": "batch"}, {"shortcut": "identity", "norm": "batch"}


def response(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the standard deviation of the response at the last probed step, averaged over counted convolutions.

    No row if the mean is zero or not finite, as in a run that diverged.
    """
    end = hidden_layers(layers[layers["step"] == layers["step"].max()])
    mean = end["response_std"].to_numpy().mean() if len(end) else math.nan
    return pd.DataFrame({"response": [mean] if np.isfinite(mean) and mean > 0 else []})


RESPONSE = Measure("layers", ("step", "layer", "response_std"), response)


def smaller(setting: Setting) -> Evidence | MissingRuns:
    """G6: ratios of `response`: residual over plain at each common depth (paired by seed), deepest over shallowest residual."""
    plain, residual = (setting.measured(RESPONSE, **arm) for arm in (PLAIN, RESIDUAL))
    depths = sorted(set(residual["depth"]))
    common = [depth for depth in depths if depth in set(plain["depth"])]
    if not common or len(depths) < 2:
        return MissingRuns("residual nets of two depths or more, and plain nets of one of them, with batch normalisation")
    values = {
        f"{name}, {depth} layers": setting.by_seed(frame[frame["depth"] == depth], "response")
        for name, frame, among in (("plain", plain, common), ("residual", residual, depths))
        for depth in among
    }
    logs = {name: {seed: math.log(value) for seed, value in sample.items()} for name, sample in values.items()}

    def ratio(title: str, minus: Callable[[Sample, Sample], Estimate], *names: str) -> Statistic:
        estimate = stats.antilog(minus(*(logs[name] for name in names)))
        return Statistic(title, estimate, below(0.9), {name: values[name] for name in names}, "times")

    ratios = []
    for depth in common:
        names = f"residual, {depth} layers", f"plain, {depth} layers"
        ratios.append(ratio(f"residual over plain, {depth} layers", stats.paired_difference, *names))
    names = f"residual, {depths[-1]} layers", f"residual, {depths[0]} layers"
    ratios.append(ratio(f"residual, {depths[-1]} over {depths[0]} layers", difference, *names))
    absent = set(setting.depths(**RESIDUAL)) - set(depths)
    notes = [f"No run of {depth} layers has a finite response at its end." for depth in sorted(absent)]
    return Evidence(*ratios, notes=notes, used={"depth": tuple(depths)})


G6 = Claim(
    id="G6",
    source="He et al. 2015, section 4.2 and Fig. 7",
    sentence="Layers respond less in residual nets than in plain ones, and less in deeper residual nets than in shallower.",
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
