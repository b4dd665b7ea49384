"""Schemas of values read from files: `Scalar`, `ListOf`, `MapOf` (with arbitrary keys) and `Object` (with given keys)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

LARGEST = 2**53
"""A float represents every whole number up to this one; the counts in records are far smaller."""
MAX_DEPTH = 32
"""Maximum levels of lists and objects in a JSON file; records have at most six."""
MAX_QUOTED = 60
"""Maximum characters of a value quoted in a message."""
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Scalar:
    """A single value: a description for messages, and a function that tells whether a value is accepted."""

    description: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True)
class Object:
    """An object with these keys; those in `optional` may be missing. Other keys are allowed and not checked."""

    keys: Mapping[str, Schema]
    optional: Collection[str] = ()


@dataclass(frozen=True)
class MapOf:
    """An object of any number of keys, whose values all have one schema."""

    values: Schema
    names: Scalar


@dataclass(frozen=True)
class ListOf:
    """A list of at least `least` values of one schema."""

    values: Schema
    least: int = 0


Schema = Scalar | Object | MapOf | ListOf


def _is_name(value: Any) -> bool:
    """Return whether a value is a valid name of a file that is not hidden, without a path."""
    if not isinstance(value, str) or value.startswith(".") or set(value) & {"/", "\0"}:
        return False
    return 0 < len(value.encode("utf-8", "surrogatepass")) < 256


TEXT = Scalar("text", lambda value: isinstance(value, str))
NAME = Scalar("the name of a file or folder, without a path", _is_name)
FLAG = Scalar("true or false", lambda value: isinstance(value, bool))
NUMBER = Scalar("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
SIZE = Scalar("a number, at least 0", lambda value: NUMBER.accepts(value) and value >= 0)
WHOLE = Scalar("a whole number, at least 0", lambda value: isinstance(value, int) and SIZE.accepts(value) and value <= LARGEST)
COUNT = Scalar("a whole number, at least 1", lambda value: WHOLE.accepts(value) and value >= 1)
_NULL = Scalar("null", lambda value: value is None)


def any_of(*scalars: Scalar) -> Scalar:
    return Scalar(" or ".join(s.description for s in scalars), lambda value: any(s.accepts(value) for s in scalars))


def or_null(scalar: Scalar) -> Scalar:
    return any_of(scalar, _NULL)


def one_of(*texts: str) -> Scalar:
    return Scalar(", ".join(texts[:-1]) + f" or {texts[-1]}", lambda value: isinstance(value, str) and value in texts)


def find_fault(value: Any, schema: Schema) -> str | None:
    """Return a description of the first place where a value does not fit its schema, or None.

    For example "seconds: must be a number, not 'x'".
    """
    return next(_faults(value, schema, ""), None)


def _faults(value: Any, schema: Schema, path: str) -> Iterator[str]:
    here = f"{path}: " if path else ""
    if isinstance(schema, Scalar):
        if not schema.accepts(value):
            yield f"{here}must be {schema.description}, not {quote(value)}"
    elif isinstance(schema, ListOf):
        if not isinstance(value, list):
            yield f"{here}must be a list, not {quote(value)}"
            return
        if len(value) < schema.least:
            yield f"{here}must have at least {schema.least} entr{'y' if schema.least == 1 else 'ies'}"
        for number, item in enumerate(value):
            yield from _faults(item, schema.values, f"{path}[{number}]")
    elif not isinstance(value, dict):
        yield f"{here}must be an object, not {quote(value)}"
    elif isinstance(schema, MapOf):
        for key, item in value.items():
            yield from _faults(key, schema.names, f"{here}a key")
            yield from _faults(item, schema.values, _join(path, key))
    else:
        for key, inner in schema.keys.items():
            if key in value:
                yield from _faults(value[key], inner, _join(path, key))
            elif key not in schema.optional:
                yield f"{_join(path, key)}: missing"


def find_malformation(value: Any, levels: int = MAX_DEPTH) -> str | None:
    """Return a description of invalid Unicode, or of more than `levels` levels of lists and objects, in a value; or None."""
    if isinstance(value, str) and SURROGATE.search(value):
        return f"contains invalid Unicode: {quote(value)}"
    if not isinstance(value, dict | list):
        return None
    if levels == 0:
        return f"is nested more than {MAX_DEPTH} levels deep"
    children = [*value, *value.values()] if isinstance(value, dict) else value
    return next(filter(None, (find_malformation(child, levels - 1) for child in children)), None)


def quote(value: Any) -> str:
    """Return a value for a message: shortened, in printable ASCII."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else ascii(value)
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def printable(text: str) -> str:
    """Return a text on one line, with unprintable characters replaced."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


STRICTER: Mapping[str, Schema] = {
    **dict.fromkeys(("depth", "width", "schedule.steps", "schedule.batch_size"), COUNT),
    "probes": ListOf(NAME),
}
"""Schemas of keys that are stricter than the type of the key."""


@cache
def schema_of(config: type, required: frozenset[str] = frozenset(), prefix: str = "") -> Object:
    """Return the schema of a recorded config, a frozen dataclass, from the types of its fields.

    Args:
        required: full names of the required keys ("schedule.steps"). The others are optional: an older record may lack them.
        prefix: prefix of the full names of the config's own fields ("schedule.").
    """
    hints = get_type_hints(config)
    schemas: dict[str, Schema] = {}
    for name in (f.name for f in fields(config) if f.compare):
        hint, key = hints[name], f"{prefix}{name}"
        nested = isinstance(hint, type) and is_dataclass(hint)
        schemas[name] = schema_of(hint, required, f"{key}.") if nested else STRICTER.get(key) or _schema_of_hint(hint)
    return Object(schemas, optional=[name for name in schemas if f"{prefix}{name}" not in required])


def _schema_of_hint(hint: Any) -> Schema:
    if get_origin(hint) in (Union, UnionType):
        schemas = [_schema_of_hint(part) for part in get_args(hint)]
        lists = [schema for schema in schemas if not isinstance(schema, Scalar)]
        return lists[0] if lists else any_of(*dict.fromkeys(schema for schema in schemas if isinstance(schema, Scalar)))
    if get_origin(hint) is Mapping:
        return MapOf(any_of(FLAG, NUMBER, TEXT), NAME)
    if get_origin(hint) is tuple:
        return ListOf(_schema_of_hint(get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, Enum | str):
        return TEXT
    scalars: dict[Any, Scalar] = {bool: FLAG, int: WHOLE, float: NUMBER, NoneType: _NULL}
    return scalars[hint]


def _join(path: str, key: str) -> str:
    name = key if key.isidentifier() or len(key) < MAX_QUOTED else quote(key)
    return f"{path}.{name}" if path else name
