"""Timing of things that are compared: in turn, several times, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

REST = 0.02
"""Seconds between two things that are timed, in which ends what the first left running, such as processes that read ahead."""
Repeat = Callable[[int], object]
"""Does a thing so many times, and returns when the device is done with it."""


@dataclass(frozen=True)
class Spread:
    """The lowest, middle and highest of several values, and how many there are."""

    min: float
    median: float
    max: float
    rounds: int

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of the values, at least one."""
    return Spread(min(values), statistics.median(values), max(values), len(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round: a round's two values were measured one right after the other."""
    return [one / other for one, other in zip(above, below, strict=True)]


def interleaved(things: Mapping[str, Repeat], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the seconds that each thing takes, one value a round.

    In a round each thing is repeated for about `seconds`, at least once; who begins changes from round to round. Before the
    first each is done once unmeasured and once to find how often it is repeated.
    """
    names = list(things)
    for name in names:
        things[name](1)
    times = {name: max(1, math.floor(seconds / timed(things[name], 1))) for name in names}
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(REST)
            found[name].append(timed(things[name], times[name]))
    return found


def timed(thing: Repeat, times: int) -> float:
    """Return the seconds that the thing takes, on average over so many repetitions."""
    started = time.perf_counter()
    thing(times)
    return (time.perf_counter() - started) / times
