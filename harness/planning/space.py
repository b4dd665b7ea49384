"""The space of a search: the keys of a command line that have several values or a range, by Hydra's grammar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from harness.config.registry import ChoiceError, shown
from harness.planning.arguments import parse
from harness.planning.expansion import count, single_values

TAGS = ("int", "log")
"""Tags of an interval: whole numbers alone; uniform on a logarithmic scale."""
MOST_CHECKED = 1000
"""The most combinations that are checked before the first trial; in a larger space, only the first one is."""


@dataclass(frozen=True)
class Axis:
    """A key that is searched: one of `choices` (texts as on the command line), or a number from `low` to `high`, inclusive.

    Numbers are `low` plus a multiple of `step`, if it is given. With `log` they are uniform on a logarithmic scale.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether all numbers are whole."""
        return all(isinstance(number, int) for number in (self.low, self.step))

    def override(self, value: object) -> str:
        """Return the override for a value of the axis. A fraction on a range is rounded to 12 significant digits."""
        return f"{self.key}={value:.12g}" if isinstance(value, float) and self.step else f"{self.key}={value}"


@dataclass(frozen=True)
class Space:
    """Overrides with one value, which every trial has, and the axes that are searched.

    `samples` are the overrides of a sweep that covers the space: every choice, every number of a range, both ends of an
    interval; or only the first of each if they make more than MOST_CHECKED combinations.
    """

    fixed: tuple[str, ...]
    axes: tuple[Axis, ...]
    samples: tuple[str, ...]


def read(lines: Sequence[str]) -> Space:
    """Return the space of a command line. Raises ChoiceError for what cannot be searched, and if there is nothing to search."""
    overrides = parse(lines)
    for override in overrides:
        if override.key_or_group == "experiment":
            raise ChoiceError(f"{shown(override.input_line)}: is a sweep of its own; give the keys that are searched instead")
    searched = [override for override in overrides if override.is_sweep_override()]
    if not searched:
        raise ChoiceError("nothing to search: give a key a range or several values, as in 'width=range(4,17,4)'")
    axes = tuple(map(_axis, searched))
    few = math.prod(map(_count, searched)) <= MOST_CHECKED
    values = [_values(override) if few else [_first(axis)] for override, axis in zip(searched, axes, strict=True)]
    samples = tuple(f"{axis.key}={','.join(of_axis)}" for axis, of_axis in zip(axes, values, strict=True))
    fixed = tuple(str(override.input_line) for override in overrides if override not in searched)
    return Space(fixed, axes, samples)


def _axis(override: Override) -> Axis:
    key, line, value = override.key_or_group, shown(override.input_line), override.value()
    tags = sorted(getattr(value, "tags", ()))
    if not isinstance(value, IntervalSweep):
        if tags:
            raise ChoiceError(f"{line}: tags are for an interval")
        number = count(override)
        if not isinstance(value, RangeSweep):
            return Axis(key, choices=tuple(_values(override)))
        start, step = value.start or 0, value.step
        ends = sorted((start, start + (number - 1) * step))
        return Axis(key, low=ends[0], high=ends[1], step=abs(step))
    if unknown := [tag for tag in tags if tag not in TAGS]:
        raise ChoiceError(f"{line}: unknown tag {shown(unknown[0])}; allowed: {', '.join(TAGS)}")
    low, high = value.start or 0.0, value.end or 0.0
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ChoiceError(f"{line}: an interval goes from a finite number to a larger one")
    if "log" in tags and low <= 0:
        raise ChoiceError(f"{line}: a logarithmic interval begins above 0")
    if "int" in tags or (isinstance(low, int) and isinstance(high, int)):
        low, high = math.ceil(low), math.floor(high)
        if low > high:
            raise ChoiceError(f"{line}: has no whole number")
        return Axis(key, low=low, high=high, step=1, log="log" in tags)
    return Axis(key, low=low, high=high, log="log" in tags)


def _count(override: Override) -> int:
    return 2 if isinstance(override.value(), IntervalSweep) else count(override)


def _values(override: Override) -> list[str]:
    """Return the values of an override as texts; of an interval both ends."""
    axis = override.value()
    if isinstance(axis, IntervalSweep):
        ends = _axis(override)
        return [str(ends.low), str(ends.high)]
    return [str(single.input_line).partition("=")[2] for single in single_values(override)]


def _first(axis: Axis) -> str:
    return axis.choices[0] if axis.choices else axis.override(axis.low).partition("=")[2]
