"""Compare exponential with linear growth of the steps to a fixed loss over depth (He et al. 2015, section 4.1).

With t = (depth - least depth) / (greatest depth - least depth) and e ~ N(0, 1), both models are

    log(steps) = a + g(b, t) + s e,    exponential: g = b t,    linear: g = log(1 + (exp(b) - 1) t).

Both have the same three parameters: a, the log steps at the least depth; b, the rise of log steps to the greatest depth; and the
scatter s. So the difference of their AIC (Akaike 1974) is twice that of their log-likelihoods. A run that never reached the loss
needs more steps than it had (right-censored; Tobin 1958) and contributes the probability of that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr

from harness.analysis.verdicts import MIN_SEEDS, MOST_SEEDS, Judgement, Verdict, seeds_needed

MIN_DEPTHS = 5
MIN_ADVANTAGE = 4.0
"""AIC difference from which the worse model has "considerably less support" (Burnham and Anderson 2002, section 2.6)."""
SCATTER = (1e-3, 1e1)
"""Bounds of s. Steps are whole numbers, so equal ones do not mean that there is no scatter."""
MOST_RISE = 50.0
"""Bound of |b|, reached if only runs at the least depth reached the loss."""

Vector = NDArray[np.float64]
Model = Callable[[float, Vector], tuple[Vector, Vector]]
"""Returns g(b, t) and its derivative by b."""


@dataclass(frozen=True)
class Growth:
    """How the exponential model of steps to a fixed loss compares with the linear one."""

    advantage: float
    """AIC of the linear model minus that of the exponential one; NaN if fewer than three runs reached the loss."""
    rate: float
    """Growth of log(steps) per layer in the exponential model."""
    depths: int
    seeds: int
    """Runs at the depth that has fewest."""
    censored: int
    """Runs that never reached the loss."""


def compare_growth(depths: Sequence[float], steps: Sequence[float], reached: Sequence[bool]) -> Growth:
    """Fit both models by maximum likelihood.

    `steps` has the steps of each run to the loss, or all its steps if it has not `reached` the loss. Raises ValueError if lengths
    differ, or steps are not positive and finite.
    """
    if not len(depths) == len(steps) == len(reached):
        raise ValueError(f"{len(depths)} depths, {len(steps)} steps and {len(reached)} values of `reached`: lengths differ")
    if not all(0 < count < math.inf for count in steps):
        raise ValueError("steps to a loss are positive and finite")
    counts, seen = Counter(depths), np.asarray(reached, bool)
    facts = {"depths": len(counts), "seeds": min(counts.values(), default=0), "censored": int((~seen).sum())}
    if len(counts) < 2 or seen.sum() < 3:
        return Growth(math.nan, math.nan, **facts)
    depth, logs = np.asarray(depths, float), np.log(np.asarray(steps, float))
    span = float(np.ptp(depth))
    t = (depth - depth.min()) / span
    b, a = np.polyfit(t, logs, 1)
    start = np.array([a, b, np.log(np.clip(np.std(logs - a - b * t), *SCATTER))])
    exponential, b = _fit(_exponential, start, t, logs, seen)
    linear, _ = _fit(_linear, start, t, logs, seen)
    return Growth(2 * (exponential - linear), b / span, **facts)


def judge_growth(growth: Growth, *, protocol: bool = True) -> Judgement:
    """Judge "steps grow exponentially with depth".

    Reproduced if the exponential model rises and is better by more than MIN_ADVANTAGE; contradicted if the linear one is, or if
    the better exponential one falls. `protocol`: whether the runs follow the claim's protocol. The number of seeds expected to
    decide follows from the advantage, which is proportional to them.
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
        needed.append(seeds_needed(seeds, growth.seeds))
    direction = Verdict.CONSISTENT if evidence > 0 else Verdict.INCONSISTENT
    return Judgement(Verdict.UNDECIDED if enough else direction, seeds, tuple(needed))


def _exponential(b: float, t: Vector) -> tuple[Vector, Vector]:
    return b * t, t


def _linear(b: float, t: Vector) -> tuple[Vector, Vector]:
    factor = 1 - t + np.exp(b) * t
    return np.log(factor), t * np.exp(b) / factor


def _fit(model: Model, start: Vector, t: Vector, logs: Vector, seen: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the greatest log-likelihood and the b that gives it; `start` is (a, b, log s)."""

    def loss(parameters: Vector) -> tuple[float, Vector]:
        """Return the negative log-likelihood and its gradient."""
        a, b, log_s = parameters
        g, g_by_b = model(b, t)
        s = np.exp(log_s)
        z = (logs - a - g) / s
        log_density = -(z**2) / 2 - math.log(2 * math.pi) / 2
        log_survival = log_ndtr(-z)
        score = np.where(seen, z, np.exp(log_density - log_survival))
        gradient = np.array([score.sum() / s, (score * g_by_b).sum() / s, (score * z - seen).sum()])
        return -float(np.where(seen, log_density - log_s, log_survival).sum()), -gradient

    bounds = [(None, None), (-MOST_RISE, MOST_RISE), tuple(map(math.log, SCATTER))]
    optimum = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return -float(optimum.fun), float(optimum.x[1])
