"""Vanishing and exploding gradients, with and without batch normalisation and shortcuts.

He et al. 2015, section 4.1; Glorot and Bengio 2010; Yang et al. 2019 (arXiv:1902.08129). "First" is the stem, "last" the last
counted convolution or block; the linear layer is excluded. Ratios of gradients are compared by logarithm, because they span many
powers of ten and the largest would dominate their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import plots
from harness.analysis import stats
from harness.analysis.phases import EARLY, hidden_layers
from harness.analysis.tables import Measure
from harness.analysis.theory import SMALLEST
from harness.analysis.verdicts import above, below, near
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting, Statistic
from harness.claims.measures import RESIDUAL, Arm, mean
from harness.records import states

BOUND = 6.0
"""Powers of ten at which ratios are clipped: beyond it a gradient has vanished or exploded, and its size says no more."""
PLAIN_BN = {"shortcut": "none", "norm": "batch"}
Vector = NDArray[np.float64]
START, DURING, LATER = "at step 0", f"median of steps {EARLY[0]} to {EARLY[1]}", f"median of probes after step {EARLY[1]}"


def fall(blocks: pd.DataFrame) -> pd.DataFrame:
    """Return log10 of ||dL/d output|| at step 0, stem over last block (`fall`), and the same for a stem of ones (`of_ones`).

    `fall` is -inf if the stem's gradient is exactly zero. No row if the last block's is zero, or if either is not finite.
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

    The growth is minus the least-squares slope over stem and blocks. No row if any gradient is zero or not finite.
    """
    start = blocks[(blocks["step"] == 0) & np.isfinite(blocks["grad_norm"]) & (blocks["grad_norm"] > 0)]
    count = blocks["block"].max()
    if len(start) < 2 or len(start) != count + 1:
        return pd.DataFrame({"growth": [], "blocks": []})
    slope = stats.slope(start["block"].tolist(), np.log(start["grad_norm"]).tolist())
    return pd.DataFrame({"growth": [-slope.value], "blocks": [count]})


def balance(layers: pd.DataFrame) -> pd.DataFrame:
    """Return log10 of ||dL/dW|| ||W||, first over last convolution, at step 0, early and later (medians over probed steps).

    The product does not depend on the scale of a BN net's weights. Each probed step is clipped to BOUND powers of ten:
    BOUND if either end is not finite, else -BOUND if the first is zero. NaN if no step was probed.
    """
    counted = hidden_layers(layers)
    step, first, last = _ends(counted["step"], counted["layer"], counted["grad_norm"] * counted["weight_norm"])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (np.log10(first) - np.log10(last)).clip(-BOUND, BOUND)
    ratio = np.where(np.isfinite(first) & np.isfinite(last), np.where(first == 0, -BOUND, ratio), BOUND)
    phases = {START: step == 0, DURING: (step >= EARLY[0]) & (step <= EARLY[1]), LATER: step > EARLY[1]}
    return pd.DataFrame({name: [np.median(ratio[among]) if among.any() else math.nan] for name, among in phases.items()})


def _ends(step: pd.Series, number: pd.Series, values: pd.Series) -> tuple[Vector, Vector, Vector]:
    """Return the steps, and for each step the values of the first and of the last layer or block, which every step has."""
    numbers = number.to_numpy(dtype=float)
    ends = numbers.min(initial=math.inf), numbers.max(initial=-math.inf)
    first, last = (np.flatnonzero(numbers == end) for end in ends)
    return step.to_numpy(dtype=float)[first], values.to_numpy(dtype=float)[first], values.to_numpy(dtype=float)[last]


FALL = Measure("blocks", ("step", "block", "grad_norm", "elements"), fall)
GROWTH = Measure("blocks", ("step", "block", "grad_norm"), growth)
BALANCE = Measure("layers", ("step", "layer", "grad_norm", "weight_norm"), balance)


def vanishes(setting: Setting) -> Evidence | MissingRuns:
    """G1: slope of `fall` over depth, averaged over seeds. A zero gradient is replaced by the largest that rounds to zero."""
    falls = setting.measured(FALL, shortcut="none", norm="none")
    depths = sorted(set(falls["depth"]))
    if len(depths) < 2:
        return MissingRuns("plain nets without normalisation of two depths or more")
    precision = setting.runs.set_index("run")["precision"].astype(str)
    limit = falls["of_ones"] + np.log10(falls["run"].map(precision).map(SMALLEST).astype(float))
    falls = falls.assign(zero=np.isneginf(falls["fall"]), fall=falls["fall"].where(np.isfinite(falls["fall"]), limit))
    values = {f"{depth} layers": setting.by_seed(falls[falls["depth"] == depth], "fall") for depth in depths}
    falls = falls.drop_duplicates(["depth", "seed"])
    slope = stats.mean_of_slopes(*(falls[column].tolist() for column in ("depth", "fall", "seed", "zero")))
    zeros = int(falls["zero"].sum())
    notes = [f"{zeros} of {len(falls)} gradients at the stem are exactly zero"] if zeros else []
    return Evidence(
        Statistic("slope over depth of log10 (stem over last block)", slope, below(0), values, "powers of ten per layer"),
        notes=notes,
        used={"depth": tuple(depths)},
    )


def explodes(setting: Setting) -> Evidence | MissingRuns:
    """G2: `growth` per layer, at every depth."""
    growths = setting.measured(GROWTH, **PLAIN_BN)
    if growths.empty:
        return MissingRuns("plain nets with batch normalisation")
    growths = growths.assign(growth=growths["growth"] / ((growths["depth"] - 2) / growths["blocks"]))
    statistics = []
    for depth, rows in growths.groupby("depth"):
        logs = setting.by_seed(rows, "growth")
        values = {f"{depth} layers": {seed: math.exp(log) for seed, log in logs.items()}}
        estimate = stats.antilog(mean(logs))
        statistics.append(Statistic(f"growth per layer, {depth} layers", estimate, above(1.05), values, "times"))
    return Evidence(*statistics, used={"depth": tuple(sorted(set(growths["depth"])))})


def balanced(setting: Setting, phases: Sequence[str], limit: float, nets: str, arm: Arm) -> Evidence | MissingRuns:
    """G3, G4: `balance` lies within `limit` powers of ten in these phases of training, at every depth.

    In phases after a run diverged it counts as BOUND. A phase that no run reached has no statistic.
    """
    ratios = setting.measured(BALANCE, **arm)
    if ratios.empty:
        return MissingRuns(nets)
    diverged = set(setting.runs["run"][setting.runs["status"] == states.DIVERGED])
    statistics = []
    for depth, rows in ratios.groupby("depth"):
        for phase in phases:
            ended = rows[phase].isna() & rows["run"].isin(diverged)
            known = rows.assign(value=rows[phase].mask(ended, BOUND)).dropna(subset=["value"])
            if len(known):
                values = setting.by_seed(known, "value")
                name = f"log10 of first over last, {depth} layers, {phase}"
                sample = {f"{depth} layers": values}
                statistics.append(Statistic(name, mean(values), near(0, limit), sample, "powers of ten"))
    if not statistics:
        return MissingRuns(f"{nets}, of more than {EARLY[1]} steps")
    return Evidence(*statistics, used={"depth": tuple(sorted(set(ratios["depth"])))})


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
"""The gradients are those of activations, as in the theorem. ||dL/dW|| also depends on a layer's number of inputs, which rises
from stage to stage and hides some of the growth. The slope uses every block, a ratio would use two. Its spread is taken between
seeds, because fluctuations of blocks in one net are correlated."""
G3 = Claim(
    id="G3",
    source="He et al. 2015, section 4.1",
    sentence="With batch normalisation, the gradients of plain nets have healthy norms.",
    rule="at every depth, median over steps 1 to 10 and over all later probes: ||dL/dW|| ||W||, first over last convolution, "
    f"within 0.01 and 100; each probe counts at most {BOUND:g} powers of ten",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", "norm"),
    needs=({"depth": DEPTHS, "shortcut": ("none",), "norm": ("batch",)},),
    find=partial(balanced, phases=(DURING, LATER), limit=2, nets="plain nets with batch normalisation", arm=PLAIN_BN),
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
    find=partial(balanced, phases=(START, DURING, LATER), limit=1, nets="nets with identity shortcuts", arm=RESIDUAL),
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
