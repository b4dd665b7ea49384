"""Vanishing and exploding gradients, with and without batch normalisation and shortcuts.

He et al. 2015, section 4.1; Glorot and Bengio 2010; Yang et al. 2019 (arXiv:1902.08129). First is the stem, last the last
counted convolution or block; the linear layer is left out. A gradient is compared between two places of one net, by logarithm:
ratios go over many powers of ten, and their mean would be that of the largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import plots
from harness.analysis import stats
from harness.analysis.phases import EARLY
from harness.analysis.tables import Measure
from harness.analysis.theory import SMALLEST
from harness.analysis.verdicts import above, below, near
from harness.claims.claim import Claim, Experiment, Found, Missing, Part, Protocol, Setting
from harness.records import states

BOUND = 6.0
"""Powers of ten at which a ratio counts as no further from 1: what has vanished or exploded has no one size."""
Vector = NDArray[np.float64]
START, DURING, LATER = "at step 0", f"median of steps {EARLY[0]} to {EARLY[1]}", f"median of probes after step {EARLY[1]}"


def fall(blocks: pd.DataFrame) -> pd.DataFrame:
    """Return log10 of ||dL/d output|| at step 0, stem over last block, and the same of a stem whose every element is 1.

    The first is -inf where the stem's is exactly zero. No row where the last block's is zero, or either is not finite.
    """
    start = blocks[blocks["step"].to_numpy() == 0]
    _, first, last = _ends(start["step"], start["block"], start["grad_norm"])
    known = np.isfinite(first) & np.isfinite(last) & (last > 0)
    first, last = first[known], last[known]
    ones = np.sqrt(blocks["elements"].to_numpy()[blocks["block"].to_numpy() == 0].max(initial=0))
    with np.errstate(divide="ignore"):
        return pd.DataFrame({"fall": np.log10(first) - np.log10(last), "of_ones": np.log10(ones) - np.log10(last)})


def growth(blocks: pd.DataFrame) -> pd.DataFrame:
    """Return the growth of ln ||dL/d output|| per block towards the input at step 0, and the number of blocks.

    It is less the least-squares slope over stem and blocks. No row where one of them is zero or not finite.
    """
    start = blocks[(blocks["step"] == 0) & np.isfinite(blocks["grad_norm"]) & (blocks["grad_norm"] > 0)]
    count = blocks["block"].max()
    if len(start) < 2 or len(start) != count + 1:
        return pd.DataFrame({"growth": [], "blocks": []})
    slope = stats.slope(start["block"].tolist(), np.log(start["grad_norm"]).tolist())
    return pd.DataFrame({"growth": [-slope.value], "blocks": [count]})


def balance(layers: pd.DataFrame) -> pd.DataFrame:
    """Return log10 of ||dL/dW|| ||W||, first over last convolution, at step 0, early and later (medians over probed steps).

    By that product a BN net's gradient does not depend on the scale of its weights. Each probed step counts at most BOUND powers
    of ten: BOUND where either end is not finite, else -BOUND where the first is zero. Missing where no step was probed.
    """
    counted = layers[layers["layer"].notna() & (layers["kind"] == "conv")]
    step, first, last = _ends(counted["step"], counted["layer"], counted["grad_norm"] * counted["weight_norm"])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (np.log10(first) - np.log10(last)).clip(-BOUND, BOUND)
    ratio = np.where(np.isfinite(first) & np.isfinite(last), np.where(first == 0, -BOUND, ratio), BOUND)
    windows = {START: step == 0, DURING: (step >= EARLY[0]) & (step <= EARLY[1]), LATER: step > EARLY[1]}
    return pd.DataFrame({name: [np.median(ratio[of]) if of.any() else math.nan] for name, of in windows.items()})


def _ends(step: pd.Series, place: pd.Series, values: pd.Series) -> tuple[Vector, Vector, Vector]:
    """Return the steps, and the values at the first and at the last place at each; every step has both."""
    places = place.to_numpy(dtype=float)
    ends = places.min(initial=math.inf), places.max(initial=-math.inf)
    first, last = (np.flatnonzero(places == end) for end in ends)
    return step.to_numpy(dtype=float)[first], values.to_numpy(dtype=float)[first], values.to_numpy(dtype=float)[last]


FALL = Measure("blocks", ("step", "block", "grad_norm", "elements"), fall)
GROWTH = Measure("blocks", ("step", "block", "grad_norm"), growth)
BALANCE = Measure("layers", ("step", "layer", "kind", "grad_norm", "weight_norm"), balance)


def vanishes(setting: Setting) -> Found | Missing:
    """G1: slope over depth of `fall`, one a seed; a zero stands for the largest that it can have been."""
    found = setting.measured(FALL, shortcut="none", norm="none")
    if len(found):
        precision = setting.runs.set_index("run")["precision"].astype(str)
        limit = found["of_ones"] + np.log10(found["run"].map(precision).map(SMALLEST).astype(float))
        found = found.assign(zero=np.isneginf(found["fall"]), fall=found["fall"].where(np.isfinite(found["fall"]), limit))
    depths = sorted(set(found["depth"])) if len(found) else []
    if len(depths) < 2:
        return Missing("plain nets without normalisation of two depths or more")
    values = {f"{depth} layers": setting.by_seed(found[found["depth"] == depth], "fall") for depth in depths}
    alone = found.drop_duplicates(["depth", "seed"])
    slope = stats.mean_of_slopes(*(alone[column].tolist() for column in ("depth", "fall", "seed", "zero")))
    zeros = int(alone["zero"].sum())
    notes = [f"{zeros} of {len(alone)} gradients at the stem are exactly zero"] if zeros else []
    return Found(
        Part("slope over depth of log10 (stem over last block)", slope, below(0), values, "powers of ten per layer"),
        notes=notes,
        used={"depth": tuple(depths)},
    )


def explodes(setting: Setting) -> Found | Missing:
    """G2: `growth` per layer, at every depth."""
    found = setting.measured(GROWTH, shortcut="none", norm="batch")
    if found.empty:
        return Missing("plain nets with batch normalisation")
    per_layer = found.assign(growth=found["growth"] / ((found["depth"] - 2) / found["blocks"]))
    parts = []
    for depth in sorted(set(found["depth"])):
        logs = setting.by_seed(per_layer[per_layer["depth"] == depth], "growth")
        values = {f"{depth} layers": {seed: math.exp(log) for seed, log in logs.items()}}
        grown = stats.antilog(stats.mean(list(logs.values())))
        parts.append(Part(f"growth per layer, {depth} layers", grown, above(1.05), values, "times"))
    return Found(*parts, used={"depth": tuple(sorted(set(found["depth"])))})


def _balanced(setting: Setting, moments: Sequence[str], limit: float, arms: str, **keys: str) -> Found | Missing:
    """Return the parts that `balance` lies within `limit` powers of ten at these moments, at every depth.

    A diverged run that had ended before counts as BOUND; a moment that no run came to has no part.
    """
    found = setting.measured(BALANCE, **keys)
    if found.empty:
        return Missing(arms)
    diverged = set(setting.runs["run"][setting.runs["status"] == states.DIVERGED])
    parts, depths = [], sorted(set(found["depth"]))
    for depth in depths:
        rows = found[found["depth"] == depth]
        for moment in moments:
            ended = rows[moment].isna() & rows["run"].isin(diverged)
            known = rows.assign(value=rows[moment].mask(ended, BOUND)).dropna(subset=["value"])
            if len(known):
                values = setting.by_seed(known, "value")
                name = f"log10 of first over last, {depth} layers, {moment}"
                within = Part(
                    name, stats.mean(list(values.values())), near(0, limit), {f"{depth} layers": values}, "powers of ten"
                )
                parts.append(within)
    return Found(*parts, used={"depth": tuple(depths)}) if parts else Missing(f"{arms}, of more than {EARLY[1]} steps")


def healthy(setting: Setting) -> Found | Missing:
    """G3: `balance` once training has begun, plain nets with BN."""
    return _balanced(setting, (DURING, LATER), 2, "plain nets with batch normalisation", shortcut="none", norm="batch")


def kept(setting: Setting) -> Found | Missing:
    """G4: `balance` of nets with identity shortcuts, always."""
    return _balanced(setting, (START, DURING, LATER), 1, "nets with identity shortcuts", shortcut="identity")


DEPTHS = (20, 56, 110)
G1 = Claim(
    id="G1",
    source="Glorot and Bengio 2010, section 4; He et al. 2015, section 1",
    sentence="Without batch normalisation, the gradient of a plain net vanishes on its way to the first layers as depth grows.",
    rule="at initialisation: slope over depth of log10 of ||dL/d output||, stem over last block, below 0; a gradient that is "
    f"exactly zero is taken to be at most {SMALLEST['fp32']} in every element ({SMALLEST['bf16']} with precision=bf16)",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", "norm"),
    needs=({"depth": DEPTHS, "shortcut": ("none",), "norm": ("none",)},),
    find=vanishes,
    tables=("blocks",),
    measures=(FALL,),
)
G2 = Claim(
    id="G2",
    source="Yang et al. 2019, Theorem 8",
    sentence="With batch normalisation, the gradient of a plain net explodes towards the input at initialisation.",
    rule="at initialisation, at every depth: growth of ||dL/d output|| per layer towards the input, by the least-squares slope "
    "of its logarithm over blocks, above 1.05 (theory for infinite width and batch: 1.211)",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", "norm"),
    needs=({"depth": DEPTHS, "shortcut": ("none",), "norm": ("batch",)},),
    find=explodes,
    tables=("blocks",),
    measures=(GROWTH,),
)
"""Of activations, as in the theorem: what reaches ||dL/dW|| besides is the number of a layer's inputs, which rises from stage to
stage and hides some of the growth. The slope takes every block, where a ratio would take two; its scatter is that between seeds,
since the blocks of one net share their fluctuations."""
G3 = Claim(
    id="G3",
    source="He et al. 2015, section 4.1",
    sentence="With batch normalisation, the gradients of plain nets have healthy norms.",
    rule="at every depth, median over steps 1 to 10 and over all later probes: ||dL/dW|| ||W||, first over last convolution, "
    f"within 0.01 and 100; each probe counts at most {BOUND:g} powers of ten",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", "norm"),
    needs=({"depth": DEPTHS, "shortcut": ("none",), "norm": ("batch",)},),
    find=healthy,
    tables=("layers",),
    measures=(BALANCE,),
)
G4 = Claim(
    id="G4",
    source="He et al. 2016, section 2, eq. 5",
    sentence="Identity shortcuts keep the gradient of early layers.",
    rule="at every depth, at step 0, median over steps 1 to 10 and over all later probes: ||dL/dW|| ||W||, first over last "
    f"convolution, within 0.1 and 10; each probe counts at most {BOUND:g} powers of ten",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut"),
    needs=({"depth": DEPTHS, "shortcut": ("identity",)},),
    find=kept,
    tables=("layers",),
    measures=(BALANCE,),
)

EXPERIMENT = Experiment(
    "What becomes of the gradient on its way to the first layer, with and without batch normalisation and shortcuts?",
    (
        plots.FIRST_LAYER,
        plots.ACTIVATIONS,
        plots.FORWARD,
        plots.GRADIENTS,
        plots.BRANCHES,
        plots.HEAT_MAPS,
        plots.ERROR,
        plots.CURVES,
    ),
    (G1, G2, G3, G4),
)
