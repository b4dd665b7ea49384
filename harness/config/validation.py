"""Checks of single values. Each raises ChoiceError, naming the key and the rule, for a value that is not allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from math import inf, isfinite
from typing import Any, TypeVar, cast

from harness.config.registry import ChoiceError, shown, unknown

E = TypeVar("E", bound=Enum)

MOST: Mapping[str, int] = {
    "depth": 100_000,  # 83 times the deepest net of a paper
    "width": 65_536,  # a single 3x3 convolution between so many channels has 144 GiB of weights
    "growth": 65_536,
    "start_from": 100_000,
    "seed": 2**63 - 1,  # the largest integer of a table's column
    "threads": 4_096,
    "runs_per_process": 1_024,
    "schedule.batch_size": 1_048_576,
    "data.image_size": 16_384,  # one batch of one such image takes 3 GiB
    "data.resize": 16_384,
    "image_size": 16_384,
    "channels": 65_536,
    "classes": 10_000_000,
}
"""Maxima of whole numbers, far above anything trainable: a slip is refused before it exhausts the computer."""
MOST_ELSE = 10**9
"""Maximum of all other keys, which count steps or images; at 1,000 steps a second this takes 12 days."""
MOST_REAL: Mapping[str, float] = {"checkpoint_minutes": 525_600.0}  # a year
MOST_REAL_ELSE = 3.4e38
"""The largest finite float32, the type in which networks compute."""


def check_names(key: str, value: object) -> tuple[str, ...]:
    """Return a list of names as a tuple."""
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise ChoiceError(f"{key}={shown(value)}: must be a list of names, as in {key}=[NAME,NAME]")
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise ChoiceError(f"{key}={shown(list(names))}: must be a list of names")
    return names


def check_whole(key: str, value: object, least: int | None, also: str = "") -> None:
    """Check a whole number.

    Args:
        least: minimum; None if there is none. The maximum is that of MOST.
        also: another allowed value, which the message names.
    """
    most = MOST.get(key, MOST_ELSE)
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        allowed = "a whole number" + ("" if least is None else f" of at least {least}") + (f", or {also}" if also else "")
        raise ChoiceError(f"{key}={shown(value)}: must be {allowed}{_hint(key, value)}")
    if value > most:
        raise ChoiceError(f"{key}={shown(value)}: must be at most {most}")


def _hint(key: str, value: object) -> str:
    """Return what to type instead of a whole number of another type; empty if the value is none."""
    if isinstance(value, float) and value.is_integer() and abs(value) < MOST_ELSE:
        return f"; write {key}={int(value)}"
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return f"; without quotes: {key}={shown(value)}"
    return ""


def check_real(key: str, value: object, least: float = -inf, above: float = -inf, below: float = inf, most: float = inf) -> float:
    """Return a finite number as a float. `least` and `most` are allowed, `above` and `below` are not."""
    highest = min(most, MOST_REAL.get(key, MOST_REAL_ELSE))
    number = not isinstance(value, bool) and isinstance(value, int | float) and -MOST_REAL_ELSE <= value <= highest
    if not number or not (least <= cast(float, value) and above < cast(float, value) < below):
        bounds = {"at least": least, "above": above, "below": below, "at most": highest if below == inf else inf}
        rule = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if isfinite(bound))
        raise ChoiceError(f"{key}={shown(value)}: must be a finite number {rule}")
    return float(cast(float, value)) + 0.0  # turns -0.0 into 0.0


def check_flag(key: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ChoiceError(f"{key}={shown(value)}: must be true or false")


def check_member(key: str, value: object, kind: type[E]) -> E:
    """Return the member of an enum that has this value."""
    try:
        return kind(value)
    except (ValueError, TypeError):  # TypeError: a value that cannot be hashed
        raise unknown(key, value, [str(member.value) for member in kind]) from None


def assign(config: object, **values: Any) -> None:
    """Set fields of a frozen dataclass; only for use in its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(config, name, value)
