"""Checks of single values: each returns or passes what is right and raises ChoiceError, naming key and rule, otherwise."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, TypeVar, cast

from harness.choices import ChoiceError, unknown

E = TypeVar("E", bound=Enum)


def names(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ChoiceError(f"{key}={value}: must be a list of names, as in {key}=[NAME,NAME]")
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise ChoiceError(f"{key}={list(names)}: must be a list of names")
    return names


def whole(key: str, value: object, least: int | None, also: str = "") -> None:
    allowed = "a whole number" + ("" if least is None else f" of at least {least}") + (f", or {also}" if also else "")
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        raise ChoiceError(f"{key}={value}: must be {allowed}")


def real(
    key: str,
    value: object,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> float:
    number = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    if not number or not (least <= cast(float, value) <= most and above < cast(float, value) < below):
        bounds = [(least, "at least"), (above, "above"), (below, "below"), (most, "at most")]
        words = " and ".join(f"{word} {bound:g}" for bound, word in bounds if math.isfinite(bound))
        raise ChoiceError(f"{key}={value}: must be a finite number {words}")
    return float(cast(float, value))


def flag(key: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ChoiceError(f"{key}={value}: must be true or false")


def member(key: str, value: object, kind: type[E]) -> E:
    try:
        return kind(value)
    except ValueError:
        raise unknown(key, value, [str(member.value) for member in kind]) from None


def assign(config: object, **values: Any) -> None:
    """Set fields of a frozen dataclass, for use in its `__post_init__` alone."""
    for name, value in values.items():
        object.__setattr__(config, name, value)
