"""Time what is compared in turn, several times, so that a disturbance of the machine affects all of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

PAUSE = 0.02
"""Seconds between two timings, in which background work of the first ends, such as processes that read ahead."""
Repeat = Callable[[int], object]
"""Does something a number of times, and returns when the device has finished."""


class Spread(NamedTuple):
    """Minimum, median and maximum of several values, and their number."""

    min: float
    median: float
    max: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(min(values), statistics.median(values), max(values), len(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round, whose two values were measured right after each other."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]


def interleaved(repeats: Mapping[str, Repeat], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the seconds of a single repetition by name, one value a round.

    A round repeats each of them for about `seconds`, at least once, and starts with another one each time. Before the first
    round each runs once unmeasured, and once to find the number of repetitions.
    """
    names = list(repeats)
    for name in names:
        repeats[name](1)
    times = {name: max(1, int(seconds / timed(repeats[name], 1))) for name in names}
    results: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            results[name].append(timed(repeats[name], times[name]))
    return results


def timed(repeat: Repeat, times: int) -> float:
    """Return the mean seconds of a repetition."""
    started = time.perf_counter()
    repeat(times)
    return (time.perf_counter() - started) / times
