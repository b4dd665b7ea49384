"""Judge a claim by the two-sided 95 % interval of an estimate: reproduced, contradicted, undecided, or only a direction.

A verdict from an interval entirely beyond a threshold errs in at most 2.5 % of cases. An interval entirely within two limits is a
pair of one-sided tests for equivalence (Schuirmann 1987) at 2.5 %, stricter than the usual 5 %.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from harness.analysis.stats import Estimate

MIN_SEEDS = 3
"""Fewer seeds only give a direction."""
MOST_SEEDS = 1000
"""Upper bound of seeds considered: no number of them decides an effect at the threshold."""


class Verdict(Enum):
    """The verdict on a claim, in order of precedence: the verdict on several parts is the first that one of them has."""

    NOT_RUN = "not run"
    CONTRADICTED = "contradicted"
    INCONSISTENT = "inconsistent"
    UNDECIDED = "undecided"
    CONSISTENT = "consistent"
    REPRODUCED = "reproduced"


DECIDED = (Verdict.REPRODUCED, Verdict.CONTRADICTED)


@dataclass(frozen=True)
class Allowed:
    """The values that a claim allows: those strictly between two limits, either of which may be infinite.

    A limit itself is neither allowed nor excluded. Raises ValueError if nothing lies between the limits.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"nothing lies between {self.low} and {self.high}")


def above(threshold: float) -> Allowed:
    """Return the values allowed by "value > threshold"."""
    return Allowed(threshold, math.inf)


def below(threshold: float) -> Allowed:
    """Return the values allowed by "value < threshold"."""
    return Allowed(-math.inf, threshold)


def near(target: float, margin: float) -> Allowed:
    """Return the values allowed by "equal to `target` within `margin`"."""
    return Allowed(target - margin, target + margin)


@dataclass(frozen=True)
class Judgement:
    """A verdict and the requirements for a firmer one."""

    verdict: Verdict
    seeds: int | None = None
    """Seeds in every sample expected to decide; None if decided, unknown, or more than MOST_SEEDS."""
    needed: tuple[str, ...] = ()
    """The missing requirements in words; empty if decided."""


def judge(estimate: Estimate, allowed: Allowed, *, protocol: bool = True) -> Judgement:
    """Judge a claim by an estimate. `protocol`: whether the runs follow the claim's protocol."""
    result = verdict(estimate, allowed, protocol=protocol)
    if result in DECIDED:
        return Judgement(result)
    if result is Verdict.NOT_RUN:
        return Judgement(result, needed=("runs",))
    seeds = seeds_to_decide(estimate, allowed)
    needed = [] if protocol else ["the claim's protocol"]
    if estimate.seeds < MIN_SEEDS or result is Verdict.UNDECIDED:
        if estimate.known:
            needed.append(seeds_needed(seeds, estimate.seeds))
        elif estimate.seeds < MIN_SEEDS:
            needed.append(f"at least {MIN_SEEDS} seeds (has {estimate.seeds})")
        else:
            needed.append("values that are not censored")
    return Judgement(result, seeds, tuple(needed))


def verdict(estimate: Estimate, allowed: Allowed, *, protocol: bool = True) -> Verdict:
    """Return only the verdict.

    With the claim's protocol and at least MIN_SEEDS seeds the interval decides. Otherwise the value's side gives a direction,
    which is a coin toss at the threshold; it is undecided only if the values do not bound it.
    """
    if math.isnan(estimate.value):
        return Verdict.NOT_RUN
    if protocol and estimate.seeds >= MIN_SEEDS:
        return _decide(estimate.low, estimate.high, allowed)
    low, high = estimate.point
    direction = _decide(low, high, allowed)
    if direction is Verdict.UNDECIDED and low < high:
        return direction
    return Verdict.CONSISTENT if direction is Verdict.REPRODUCED else Verdict.INCONSISTENT


def seeds_to_decide(estimate: Estimate, allowed: Allowed) -> int | None:
    """Return the fewest seeds in every sample whose expected interval decides; None if unknown or above MOST_SEEDS.

    This is a guess, since it treats the estimated value and spread as true; even if they are, only about half of all repetitions
    with that many seeds decide.
    """

    def decides(seeds: int) -> bool:
        return _decide(*estimate.expected(seeds), allowed) is not Verdict.UNDECIDED

    seeds = bisect_left(range(MOST_SEEDS + 1), True, lo=MIN_SEEDS, key=decides)
    return seeds if seeds <= MOST_SEEDS else None


def seeds_needed(seeds: int | None, has: int) -> str:
    """Describe the number of seeds expected to decide; None means more than MOST_SEEDS."""
    return f"{seeds or f'more than {MOST_SEEDS}'} seeds expected to decide (has {has})"


def every(parts: Sequence[Judgement]) -> Judgement:
    """Return the judgement on a claim that holds if all its parts hold: the first Verdict that a part has.

    "Reproduced" errs no more often than for a single part (Berger 1982, intersection-union tests); the error rates of
    "contradicted" add up over the parts.
    """
    result = min((part.verdict for part in parts), key=list(Verdict).index, default=Verdict.NOT_RUN)
    if result in DECIDED:
        return Judgement(result)
    open_parts = [part for part in parts if part.needed]
    seeds = [part.seeds for part in open_parts if part.seeds is not None]
    needed = dict.fromkeys(words for part in open_parts for words in part.needed)
    return Judgement(result, max(seeds) if len(seeds) == len(open_parts) > 0 else None, tuple(needed))


def _decide(low: float, high: float, allowed: Allowed) -> Verdict:
    if (allowed.low < low or allowed.low == -math.inf) and (high < allowed.high or allowed.high == math.inf):
        return Verdict.REPRODUCED
    if high < allowed.low or low > allowed.high:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED
