"""Time several operations in turn, round after round, so that a disturbance of the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

PAUSE = 0.02
"""Seconds between two timings, so that background work of the first can end, such as processes that read ahead."""
Repeat = Callable[[int], object]
"""Repeats an operation the given number of times; returns when the device has finished."""


class Spread(NamedTuple):
    """Minimum, median and maximum of several values, and their number."""

    min: float
    median: float
    max: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of the values; there must be at least one."""
    return Spread(min(values), statistics.median(values), max(values), len(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]


def interleaved(repeats: Mapping[str, Repeat], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the seconds of a single repetition by name, one value a round.

    A round repeats each operation for about `seconds`, at least once. Each round starts with the next operation. Before the first
    round each operation runs once to warm up, and once to determine the number of repetitions.
    """
    names = list(repeats)
    for repeat in repeats.values():
        repeat(1)
    times = {name: max(1, int(seconds / timed(repeat, 1))) for name, repeat in repeats.items()}
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
