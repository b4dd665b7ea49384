"""Does the number of steps to a fixed loss grow exponentially or linearly with depth (He et al. 2015, section 4.1)?

Both models have the same three parameters: the steps at the shallowest depth, those at the deepest, and the scatter of the
logarithm of steps about the curve. They differ only in how they go from one end to the other: the exponential one straight
in log steps, the linear one straight in steps. So they differ neither in noise nor in freedom, and the difference of their AIC
(Akaike 1974) is twice that of their log-likelihoods. A run that never reached the loss is known to need more steps than it
had (censored; Tobin 1958), and counts with the probability of that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr

from harness.analysis.verdicts import MIN_SEEDS, MOST_SEEDS, Judgement, Verdict

MIN_DEPTHS = 5
MIN_ADVANTAGE = 4.0
"""AIC difference from which the worse model has "considerably less support" (Burnham and Anderson 2002, section 2.6)."""
SCATTER = (1e-3, 1e1)
"""Least and largest scatter of log steps that is believed: steps are whole numbers, so equal ones do not mean none."""
LONGEST = 50.0
"""Largest believed logarithm of the ratio of steps at the two ends, reached where nothing but the shallowest arrived."""

Vector = NDArray[np.float64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Growth:
    """How the exponential model of steps to a fixed loss compares with the linear one."""

    advantage: float
    """AIC of the linear model less that of the exponential one; NaN where fewer than three runs reached the loss."""
    rate: float
    """Growth of the natural logarithm of steps per layer, in the exponential model."""
    depths: int
    seeds: int
    """Runs at the depth that has fewest."""
    censored: int
    """Runs that never reached the loss."""


def compare_growth(depths: Sequence[float], steps: Sequence[float], reached: Sequence[bool]) -> Growth:
    """Fit both models by maximum likelihood; `steps` of a run that has not `reached` the loss are those that it had.

    Raises ValueError where lengths differ or steps are not positive and finite.
    """
    if not len(depths) == len(steps) == len(reached):
        raise ValueError(f"{len(depths)} depths, {len(steps)} steps and {len(reached)} marks of what was reached: lengths differ")
    if not all(0 < count < math.inf for count in steps):
        raise ValueError("steps to a loss are positive and finite")
    counts = Counter(depths)
    facts = {"depths": len(counts), "seeds": min(counts.values(), default=0), "censored": len(steps) - sum(map(bool, reached))}
    if len(counts) < 2 or sum(map(bool, reached)) < 3:
        return Growth(math.nan, math.nan, **facts)
    depth, logs, seen = np.asarray(depths, float), np.log(np.asarray(steps, float)), np.asarray(reached, bool)
    where = (depth - depth.min()) / (depth.max() - depth.min())
    rise, first = np.polyfit(where, logs, 1)
    start = np.array([first, rise, np.log(np.clip(np.std(logs - first - rise * where), *SCATTER))])
    exponential, rise = _fit(_straight, start, where, logs, seen)
    linear, _ = _fit(_curved, start, where, logs, seen)
    return Growth(2 * (exponential - linear), rise / float(depth.max() - depth.min()), **facts)


def judge_growth(growth: Growth, *, protocol: bool = True) -> Judgement:
    """Judge "steps grow exponentially with depth": reproduced where the exponential model is better by more than MIN_ADVANTAGE
    and rises, contradicted where the linear one is, or where the better exponential one falls.

    The seeds expected to decide follow from the advantage, which grows in proportion to them.
    """
    if growth.depths < MIN_DEPTHS or growth.seeds == 0:
        return Judgement(Verdict.NOT_RUN, needed=(f"runs at {MIN_DEPTHS} depths (has {growth.depths})",))
    if math.isnan(growth.advantage):
        return Judgement(Verdict.UNDECIDED, needed=("more runs that reach the loss",))
    evidence = growth.advantage if growth.rate > 0 else -abs(growth.advantage)
    enough = protocol and growth.seeds >= MIN_SEEDS
    if enough and abs(evidence) > MIN_ADVANTAGE:
        return Judgement(Verdict.REPRODUCED if evidence > 0 else Verdict.CONTRADICTED)
    needed = [] if protocol else ["the claim's protocol"]
    expected = growth.seeds * MIN_ADVANTAGE / abs(evidence) if evidence else math.inf
    seeds = max(MIN_SEEDS, math.floor(expected) + 1) if expected < MOST_SEEDS else None
    if growth.seeds < MIN_SEEDS or abs(evidence) <= MIN_ADVANTAGE:
        needed.append(f"{seeds or f'more than {MOST_SEEDS}'} seeds expected to decide (has {growth.seeds})")
    direction = Verdict.CONSISTENT if evidence > 0 else Verdict.INCONSISTENT
    return Judgement(Verdict.UNDECIDED if enough else direction, seeds, tuple(needed))


def _straight(rise: float, where: Vector) -> tuple[Vector, Vector]:
    """Return log steps beyond those at the shallowest depth where they run straight, and their derivative by `rise`."""
    return rise * where, where


def _curved(rise: float, where: Vector) -> tuple[Vector, Vector]:
    """Return the same where steps themselves run straight."""
    times = 1 - where + np.exp(rise) * where
    return np.log(times), where * np.exp(rise) / times


def _fit(
    model: Callable[[float, Vector], tuple[Vector, Vector]], start: Vector, where: Vector, logs: Vector, seen: Marks
) -> tuple[float, float]:
    """Return the largest log-likelihood and the rise of log steps from the shallowest to the deepest that gives it."""

    def loss(parameters: Vector) -> tuple[float, Vector]:
        first, rise, log_scatter = parameters
        beyond, by_rise = model(rise, where)
        scatter = np.exp(log_scatter)
        score = (logs - first - beyond) / scatter
        density = -(score**2) / 2 - math.log(2 * math.pi) / 2
        missed = log_ndtr(-score)
        pull = np.where(seen, score, np.exp(density - missed))
        by_scatter = pull * score - seen
        gradient = np.array([pull.sum() / scatter, (pull * by_rise).sum() / scatter, by_scatter.sum()])
        return -float(np.where(seen, density - log_scatter, missed).sum()), -gradient

    bounds = [(None, None), (-LONGEST, LONGEST), tuple(map(math.log, SCATTER))]
    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return -float(found.fun), float(found.x[1])
