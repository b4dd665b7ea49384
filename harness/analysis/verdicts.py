"""What an estimate says of a claim: reproduced, contradicted, undecided, or only a direction.

The interval decides, and it is the two-sided 95 % one everywhere. Wholly beyond a threshold it errs in at most 2.5 % of cases
on that side; wholly within two limits it is the two one-sided tests of equivalence (Schuirmann 1987) at 2.5 %, stricter than
their usual 5 %.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from harness.analysis.stats import INFINITY, Estimate

MIN_SEEDS = 3
"""Seeds below which only a direction is given."""
MOST_SEEDS = 1000
"""Seeds beyond which none are counted: no number settles an effect at the threshold."""


class Verdict(Enum):
    """What is said of a claim, the weightiest first: the verdict on several parts is the first that one of them has."""

    NOT_RUN = "not run"
    CONTRADICTED = "contradicted"
    INCONSISTENT = "inconsistent"
    UNDECIDED = "undecided"
    CONSISTENT = "consistent"
    REPRODUCED = "reproduced"


@dataclass(frozen=True)
class Allowed:
    """The values that a claim allows: those strictly between two limits, either of which may be infinite.

    A limit itself is on neither side. Raises ValueError where nothing lies between.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"nothing lies between {self.low} and {self.high}")


def above(threshold: float) -> Allowed:
    """Return what "value > threshold" allows."""
    return Allowed(threshold, INFINITY)


def below(threshold: float) -> Allowed:
    """Return what "value < threshold" allows."""
    return Allowed(-INFINITY, threshold)


def near(target: float, margin: float) -> Allowed:
    """Return what equivalence with `target` within `margin` allows."""
    return Allowed(target - margin, target + margin)


@dataclass(frozen=True)
class Judgement:
    """A verdict and what would be needed for a firmer one."""

    verdict: Verdict
    seeds: int | None = None
    """Seeds in every sample expected to decide; None where decided, unknown, or more than MOST_SEEDS."""
    needed: tuple[str, ...] = ()
    """In words, what is missing; empty where it is decided."""


def judge(estimate: Estimate, allowed: Allowed, *, protocol: bool = True) -> Judgement:
    """Judge a claim by an estimate; `protocol`: whether the runs are those that the claim is about."""
    found = verdict(estimate, allowed, protocol=protocol)
    if found in (Verdict.REPRODUCED, Verdict.CONTRADICTED):
        return Judgement(found)
    if found is Verdict.NOT_RUN:
        return Judgement(found, needed=("runs",))
    seeds = seeds_to_decide(estimate, allowed)
    needed = [] if protocol else ["the claim's protocol"]
    if estimate.seeds < MIN_SEEDS or found is Verdict.UNDECIDED:
        if seeds is not None:
            needed.append(f"{seeds} seeds expected to decide (has {estimate.seeds})")
        elif estimate.known:
            needed.append(f"more than {MOST_SEEDS} seeds expected to decide (has {estimate.seeds})")
        elif estimate.seeds < MIN_SEEDS:
            needed.append(f"at least {MIN_SEEDS} seeds (has {estimate.seeds})")
        else:
            needed.append("values that are not censored")
    return Judgement(found, seeds, tuple(needed))


def verdict(estimate: Estimate, allowed: Allowed, *, protocol: bool = True) -> Verdict:
    """Return the verdict alone.

    With the claim's protocol and at least MIN_SEEDS seeds the interval decides; otherwise the side on which the value lies
    gives a direction, which at the threshold is a toss of a coin. It is undecided only where the values do not bound it.
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

    It takes the value and the spread for the truth, so it is a guess, and even where they are true about half of all
    repetitions with that many seeds decide.
    """

    def decides(seeds: int) -> bool:
        return _decide(*estimate.expected(seeds), allowed) is not Verdict.UNDECIDED

    seeds = bisect_left(range(MOST_SEEDS + 1), True, lo=MIN_SEEDS, key=decides)
    return seeds if seeds <= MOST_SEEDS else None


def every(parts: Sequence[Judgement]) -> Judgement:
    """Return the judgement on a claim that holds where all its parts hold: the first of Verdict that a part has.

    Its `reproduced` errs no more often than that of a part (Berger 1982, intersection-union tests); its `contradicted` adds up
    the errors of the parts.
    """
    order = list(Verdict)
    found = min((part.verdict for part in parts), key=order.index, default=Verdict.NOT_RUN)
    open_parts = [part for part in parts if part.needed] if found not in (Verdict.CONTRADICTED, Verdict.REPRODUCED) else []
    seeds = [part.seeds for part in open_parts if part.seeds is not None]
    needed = dict.fromkeys(words for part in open_parts for words in part.needed)
    complete = len(seeds) == len(open_parts) > 0
    return Judgement(found, max(seeds) if complete else None, tuple(needed))


def _decide(low: float, high: float, allowed: Allowed) -> Verdict:
    if (allowed.low < low or allowed.low == -INFINITY) and (high < allowed.high or allowed.high == INFINITY):
        return Verdict.REPRODUCED
    if high < allowed.low or low > allowed.high:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED
