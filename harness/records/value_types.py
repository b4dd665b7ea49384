"""What a value that was read from a file must be: kinds of values, and the first misfit of a value, in words.

A schema is a `Kind` (one value), `Keys` (an object with these keys; others are allowed), `Named` (an object whose keys are
names), or `Listed` (a list).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

LARGEST = 2**53
"""The largest whole number that a float holds exactly; nothing that is counted here comes near it."""
DEEPEST = 32
"""Levels of lists and objects in a JSON file; the records have at most six."""
SHOWN = 60
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class Kind:
    """One value: what it must be in words, and whether a value is that."""

    words: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Keys:
    """An object that has the `needed` keys, and may have the `optional` ones."""

    needed: Mapping[str, Schema] = field(default_factory=dict)
    optional: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """An object whose keys are names and whose values are all of one schema."""

    values: Schema
    names: Kind


@dataclass(frozen=True)
class Listed:
    """A list of at least `least` values of one schema."""

    values: Schema
    least: int = 0


Schema = Kind | Keys | Named | Listed


def _is_name(value: Any) -> bool:
    """Return whether it can be one component of a path that stays in its folder; no hidden one."""
    return isinstance(value, str) and not value.startswith(".") and not set(value) & {"/", "\0"} and 0 < _bytes(value) < 256


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


TEXT = Kind("text", lambda value: isinstance(value, str))
NAME = Kind("the name of a file or folder, without a path", _is_name)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
SIZE = Kind("a number, at least 0", lambda value: NUMBER.fits(value) and value >= 0)
WHOLE = Kind("a whole number, at least 0", lambda value: isinstance(value, int) and SIZE.fits(value) and value <= LARGEST)
COUNT = Kind("a whole number, at least 1", lambda value: WHOLE.fits(value) and value >= 1)
_NULL = Kind("null", lambda value: value is None)


def either(*kinds: Kind) -> Kind:
    """Return the kind of a value that is of one of these kinds."""
    return Kind(" or ".join(kind.words for kind in kinds), lambda value: any(kind.fits(value) for kind in kinds))


def or_null(kind: Kind) -> Kind:
    """Return the kind of a value that may be null."""
    return either(kind, _NULL)


def one_of(*words: str) -> Kind:
    """Return the kind of a text that is one of these."""
    return Kind(", ".join(words[:-1]) + f" or {words[-1]}", lambda value: isinstance(value, str) and value in words)


def misfit(value: Any, schema: Schema, place: str = "") -> str | None:
    """Return in words where a value is first not what the schema says: "seconds: must be a number, not 'x'"; None if nowhere."""
    return next(_misfits(value, schema, place), None)


def _misfits(value: Any, schema: Schema, place: str) -> Iterator[str]:
    here = f"{place}: " if place else ""
    if isinstance(schema, Kind):
        if not schema.fits(value):
            yield f"{here}must be {schema.words}, not {shown(value)}"
    elif isinstance(schema, Listed):
        if not isinstance(value, list):
            yield f"{here}must be a list, not {shown(value)}"
            return
        if len(value) < schema.least:
            yield f"{here}must have at least {schema.least} entr{'y' if schema.least == 1 else 'ies'}"
        for number, one in enumerate(value):
            yield from _misfits(one, schema.values, f"{place}[{number}]")
    elif not isinstance(value, dict):
        yield f"{here}must be an object, not {shown(value)}"
    elif isinstance(schema, Named):
        for key, one in value.items():
            yield from _misfits(key, schema.names, f"{here}a key")
            yield from _misfits(one, schema.values, _inside(place, key))
    else:
        for key, of in (*schema.needed.items(), *schema.optional.items()):
            if key in value:
                yield from _misfits(value[key], of, _inside(place, key))
            elif key in schema.needed:
                yield f"{_inside(place, key)}: missing"


def unfit_anywhere(value: Any) -> str | None:
    """Return in words what no record may hold at any depth: text that is no Unicode, or more than DEEPEST levels; else None."""
    level = [value]
    for _ in range(DEEPEST):
        texts = [key for one in level if isinstance(one, dict) for key in one] + [one for one in level if isinstance(one, str)]
        if bad := next((text for text in texts if any("\ud800" <= letter <= "\udfff" for letter in text)), None):
            return f"holds text that is no Unicode: {shown(bad)}"
        level = [one for of in level if isinstance(of, dict | list) for one in (of.values() if isinstance(of, dict) else of)]
        if not level:
            return None
    return f"is nested more than {DEEPEST} levels deep"


def shown(value: Any) -> str:
    """Return a value as a message shows it: not all of a long one, and nothing that a terminal cannot print."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    words = {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else ascii(value)
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}..."


STRICTER: Mapping[str, Schema] = {
    **dict.fromkeys(("depth", "width", "schedule.steps", "schedule.batch_size"), COUNT),
    "probes": Listed(NAME),
}
"""Choices of which more is known than their type: what is counted from 1, and names of files."""


def printable(text: str) -> str:
    """Return a text in one line, without what no terminal or font can show."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


@cache
def of_choices(config: type, needed: frozenset[str] = frozenset(), place: str = "") -> Keys:
    """Return the schema of a frozen dataclass of choices, as recorded: each of its fields by the type that it is declared with.

    Keys are optional but for those `needed` ("depth", "schedule.steps"): a record may be older than a key.
    """
    hints = get_type_hints(config)
    found: dict[str, Schema] = {}
    for name in (field.name for field in fields(config) if field.compare):
        hint = hints[name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            found[name] = of_choices(hint, needed, f"{place}{name}.")
        else:
            found[name] = STRICTER.get(f"{place}{name}") or _of_hint(hint)
    return Keys(
        {name: of for name, of in found.items() if f"{place}{name}" in needed},
        {name: of for name, of in found.items() if f"{place}{name}" not in needed},
    )


def _of_hint(hint: Any) -> Schema:
    if get_origin(hint) in (Union, UnionType):
        parts = [_of_hint(one) for one in get_args(hint)]
        lists = [one for one in parts if not isinstance(one, Kind)]
        return lists[0] if lists else either(*dict.fromkeys(one for one in parts if isinstance(one, Kind)))
    if get_origin(hint) is Mapping:
        return Named(either(FLAG, NUMBER, TEXT), NAME)
    if get_origin(hint) is tuple:
        return Listed(_of_hint(get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, Enum | str):
        return TEXT
    kinds: dict[Any, Kind] = {bool: FLAG, int: WHOLE, float: NUMBER, NoneType: _NULL}
    return kinds[hint]


def _inside(place: str, key: str) -> str:
    name = key if key.isidentifier() or len(key) < SHOWN else shown(key)
    return f"{place}.{name}" if place else name
